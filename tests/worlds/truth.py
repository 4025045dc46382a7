"""What is true of an invented world, recorded while it is made; no lookup contributes to it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SessionTruth:
    """What is to be found of one invented session."""

    id: str
    subject_id: str
    #: As in its name, None for a name without one.
    platform: str | None
    #: Services that know it: of `codeocean`, `v1`, `v2`, `s3`.
    sources: set[str] = field(default_factory=set)
    #: Its readable assets that are not archived, also those that only a record links.
    assets: set[str] = field(default_factory=set)
    #: Assets that a search lists and that cannot be read: a lookup may show them or not.
    listed_but_closed: set[str] = field(default_factory=set)
    #: Assets that are not to be shown, and why: `closed`, `forbidden`, `gone`, `archived`.
    skipped: dict[str, str] = field(default_factory=dict)
    #: The newest raw asset.
    raw_asset: str | None = None
    #: `s3://` address of the raw folder.
    location: str | None = None
    folder_exists: bool = False
    #: The folder's sub-folders, None without a folder.
    modalities: tuple[str, ...] | None = None
    #: Whether there is a record of the raw data.
    recorded: bool = False
    #: As in that record.
    genotype: str | None = None
    #: By creation.
    sorted_assets: tuple[str, ...] = ()
    #: By sorted asset that did not fail.
    sorters: dict[str, str] = field(default_factory=dict)
    failed_sortings: set[str] = field(default_factory=set)
    #: What is unusual about it, for the message of a check that fails.
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
    """What is to be found of one invented subject."""

    id: str
    #: All that Code Ocean and DocDB know together, in order of time.
    sessions: tuple[str, ...] = ()
    #: Found by name only.
    only_in_s3: tuple[str, ...] = ()
    #: Also those without a session in their name.
    assets: set[str] = field(default_factory=set)
    listed_but_closed: set[str] = field(default_factory=set)


@dataclass
class Truth:
    """What is true of an invented world: its sessions and subjects by ID."""

    sessions: dict[str, SessionTruth] = field(default_factory=dict)
    subjects: dict[str, SubjectTruth] = field(default_factory=dict)
    #: Assets that belong to no session and mention subjects that are not their own.
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
