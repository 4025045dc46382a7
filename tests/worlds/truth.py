"""What is true of an invented world, recorded while it is made; no lookup contributes to it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SessionTruth:
    """What is to be found of one invented session.

    Attributes
    ----------
    id, subject_id, platform
        As in its name; `platform` is None for a name of today's kind.
    sources
        Where something is known of it: of `codeocean`, `v1`, `v2`, `s3`.
    assets
        Its data assets: readable and not archived, those that only a record links included.
    listed_but_closed
        Assets that a search lists and that cannot be read: a lookup may show them or not.
    skipped
        Linked or archived assets that are not its own to show, and why: `closed`, `forbidden`,
        `gone`, `archived`.
    raw_asset
        The newest raw asset.
    location
        `s3://` address of the raw folder.
    folder_exists
        Whether S3 has that folder.
    modalities
        As in the folder's sub-folders, None if there is no folder.
    recorded
        Whether there is a record of the raw data.
    genotype
        As in that record.
    sorted_assets
        Sorted assets, by creation.
    sorters, failed_sortings
        The sorter of each sorted asset, and those that failed.
    oddities
        What is unusual about it, for the message of a check that fails.
    """

    id: str
    subject_id: str
    platform: str | None
    sources: set[str] = field(default_factory=set)
    assets: set[str] = field(default_factory=set)
    listed_but_closed: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    raw_asset: str | None = None
    location: str | None = None
    folder_exists: bool = False
    modalities: tuple[str, ...] | None = None
    recorded: bool = False
    genotype: str | None = None
    sorted_assets: tuple[str, ...] = ()
    sorters: dict[str, str] = field(default_factory=dict)
    failed_sortings: set[str] = field(default_factory=set)
    oddities: set[str] = field(default_factory=set)

    @property
    def uploaded(self) -> bool:
        """Whether there is a raw asset, or a raw folder in S3."""
        return self.raw_asset is not None or self.folder_exists

    @property
    def findable(self) -> bool:
        """Whether a search by subject finds it: S3 is searched by name only."""
        return bool(self.sources - {"s3"})

    @property
    def order(self) -> tuple[str, str]:
        """Where it comes among others: by time, then by ID."""
        return "_".join(self.id.split("_")[-2:]), self.id


@dataclass
class SubjectTruth:
    """What is to be found of one invented subject.

    Attributes
    ----------
    id
        The subject.
    sessions
        Its session IDs in order of time: all that Code Ocean and DocDB know together.
    only_in_s3
        Sessions that S3 alone has, found by name only.
    assets
        Its data assets, those without a session in their name included.
    listed_but_closed
        As for a session.
    """

    id: str
    sessions: tuple[str, ...] = ()
    only_in_s3: tuple[str, ...] = ()
    assets: set[str] = field(default_factory=set)
    listed_but_closed: set[str] = field(default_factory=set)


@dataclass
class Truth:
    """What is true of an invented world: its sessions and subjects by ID.

    Attributes
    ----------
    sessions, subjects
        By ID.
    strangers
        Assets that belong to no session, and mention subjects whose they are not.
    """

    sessions: dict[str, SessionTruth] = field(default_factory=dict)
    subjects: dict[str, SubjectTruth] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)

    def settle(self) -> None:
        """Gather the subjects from the sessions; loose assets stay as they are."""
        for subject_id in {s.subject_id for s in self.sessions.values()}:
            subject = self.subjects.setdefault(subject_id, SubjectTruth(subject_id))
            own = [s for s in self.sessions.values() if s.subject_id == subject_id]
            own.sort(key=lambda session: session.order)
            subject.sessions = tuple(s.id for s in own if s.findable)
            subject.only_in_s3 = tuple(s.id for s in own if not s.findable)
            for session in own:
                subject.assets |= session.assets
                subject.listed_but_closed |= session.listed_but_closed
