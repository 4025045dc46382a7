"""The parts of a recording: what is asked, in which order, and how it becomes a catalogue."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from aind_session import settings
from aind_session.errors import AccessDeniedError, IncompleteAnswerError, ServiceError
from aind_session.identifiers import find_session_id
from aind_session.lookup import belonging
from aind_session.progress import progress
from aind_session.sandbox import recorder_files as files
from aind_session.sandbox import recorder_metadata as metadata
from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.recorder_journal import Journal
from aind_session.sandbox.scrub import Scrubber
from aind_session.services import pool, storage

_LISTS = ("data_assets", "computations", "docdb_v1", "docdb_v2", "objects")
#: Where this package keeps what it writes for people: Neuroglancer states, manifests.
_OWN_FILES = "aind-session"

Asks = Mapping[str, Callable[[], Json]]


class Recording:
    """The parts of a recording, each asked once.

    Parameters
    ----------
    journal
        What is done so far.
    depth
        Levels of names in folders; None: as lookups read them.
    scrubber
        What everything goes through before it is written.
    shown
        Whether to show bars.
    """

    def __init__(
        self, journal: Journal, depth: int | None, scrubber: Scrubber, shown: bool
    ) -> None:
        self.journal, self.depth, self.scrubber, self.shown = journal, depth, scrubber, shown
        self.found: list[Json] = []

    @property
    def gaps(self) -> list[str]:
        """What could not be recorded, and why."""
        return [gap for part in self.found for gap in part.get("gaps") or ()]

    def sessions_of(self, projects: Iterable[str]) -> set[str]:
        """Name the sessions of projects."""
        asks = {f"project {p}": partial(metadata.sessions_of_project, p) for p in projects}
        return {session for part in self._ask("projects", asks) for session in part["sessions"]}

    def run(self, subjects: set[str], sessions: set[str]) -> None:
        """Record subjects, and sessions of others.

        Raises
        ------
        IncompleteAnswerError
            Some parts could not be had; the others are in the journal.
        """
        choices = list(_choices(subjects, sessions))
        parts = self._ask(
            "assets and records",
            {c.name: partial(metadata.subject, c, self.scrubber) for c in choices},
        )
        subject_ids = {choice.subject_id for choice in choices}
        self._ask(
            "files and runs", {**self._folders(parts, sessions), **self._others(parts, subject_ids)}
        )
        runs = [run for part in self.found for run in part.get("computations") or ()]
        finished = [str(run["id"]) for run in runs if run.get("has_results")]
        self._ask("results", {f"results {run}": partial(self._results, run) for run in finished})

    def _ask(self, what: str, asks: Asks) -> list[Json]:
        """Ask for parts, all at the same time, and keep each that came."""
        with progress(len(asks), f"recording {what}", self.shown) as bar:

            def ask(name: str, call: Callable[[], Json]) -> Json:
                try:
                    return self.journal.get(name, call)
                finally:
                    bar.update()

            outcomes = pool.outcomes(*(partial(ask, n, call) for n, call in asks.items()))
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        if errors:
            # What follows from these parts would be asked of half of them, and kept as whole.
            raise self._told(errors)
        found = [outcome.unwrap() for outcome in outcomes]
        self.found += found
        return found

    def _told(self, errors: list[Exception]) -> Exception:
        for error in errors:
            if not isinstance(error, ServiceError):
                return error
        first = errors[0]
        parts = f"{len(errors)} part{'' if len(errors) == 1 else 's'}"
        told = IncompleteAnswerError(
            f"{parts} could not be recorded. What came is kept in {self.journal.path}: the same "
            f"again asks only for what is missing. The first: {first}",
            service=getattr(first, "service", ""),
            status=getattr(first, "status", None),
        )
        told.__cause__ = first
        return told

    def _folders(self, parts: list[Json], named: set[str]) -> Asks:
        """Name the folders of assets and records, and those that are searched by name."""
        told: dict[tuple[str, str], bool] = {}
        # A session that was named may be known to S3 alone.
        sessions: dict[str, bool] = dict.fromkeys(named, False)
        for part in parts:
            told.update(metadata.places(part))
            for session, has_folder in metadata.sessions_of(part).items():
                sessions[session] = sessions.get(session, False) or has_folder
        asks: dict[str, Callable[[], Json]] = {
            f"folder s3://{bucket}/{prefix}": partial(self._folder, bucket, prefix, is_raw, True)
            for (bucket, prefix), is_raw in sorted(told.items())
        }
        for session in (session for session, has_folder in sessions.items() if not has_folder):
            for bucket in settings.current().buckets.value:
                if (bucket, session) not in told:
                    name = f"folder s3://{bucket}/{session}"
                    asks[name] = partial(self._folder, bucket, session, True, False)
        return asks

    def _others(self, parts: list[Json], subjects: set[str]) -> Asks:
        """Name what else follows from assets and records: runs, buckets, own files."""
        asset_ids = {asset["id"] for part in parts for asset in part["data_assets"]}
        # Of these assets and no others: a recording that goes on with more asks again.
        whose = hashlib.sha256(" ".join(sorted(asset_ids)).encode()).hexdigest()[:16]
        used = {bucket for part in parts for bucket, _ in metadata.places(part)}
        used |= {
            *settings.current().buckets.value,
            settings.RESULTS_BUCKET,
            settings.SCRATCH_BUCKET,
        }
        return {
            **{
                f"computations {capsule} of {whose}": partial(
                    metadata.computations, capsule, asset_ids, self.scrubber
                )
                for capsule in metadata.CAPSULES
            },
            **{f"bucket {name}": partial(metadata.bucket, name) for name in sorted(used)},
            **{f"own files {s}": partial(self._own_files, s) for s in sorted(subjects)},
        }

    def _folder(self, bucket: str, prefix: str, is_raw: bool, is_told: bool) -> Json:
        depth = self.depth or (files.RAW_DEPTH if is_raw else files.RESULT_DEPTH)
        try:
            return {"objects": files.folder(bucket, prefix, depth, self.scrubber)}
        except AccessDeniedError:
            return {"gaps": [f"folder s3://{bucket}/{prefix}: access denied"] if is_told else []}

    def _own_files(self, subject: str) -> Json:
        """Record what this package has written for a subject: states, manifests."""
        bucket = settings.SCRATCH_BUCKET
        try:
            kinds = storage.list_folder(bucket, _OWN_FILES).folders
            found = pool.gather_all(
                lambda kind: self._own_files_in(bucket, f"{_OWN_FILES}/{kind}", subject), kinds
            )
        except AccessDeniedError:
            return {"gaps": [f"s3://{bucket}/{_OWN_FILES}: access denied"]}
        return {"objects": [one for some in found for one in some]}

    def _own_files_in(self, bucket: str, folder: str, subject: str) -> list[Json]:
        # One folder a file, as this package writes them, or the file alone, as people put it.
        whole = re.compile(rf"(?<![A-Za-z0-9]){re.escape(subject)}(?![A-Za-z0-9])")
        depth = self.depth or files.RAW_DEPTH
        listed = storage.list_folder(bucket, folder)
        mine = [f"{folder}/{name}" for name in listed.folders if _is_of(name, subject, whole)]
        found = pool.gather_all(lambda p: files.folder(bucket, p, depth, self.scrubber), mine)
        alone = [
            files.single(bucket, folder, name, size, self.scrubber)
            for name, size in zip(listed.files, listed.sizes, strict=True)
            if _is_of(name, subject, whole)
        ]
        return [*alone, *(one for some in found for one in some)]

    def _results(self, computation_id: str) -> Json:
        return {"results": {computation_id: files.results(computation_id, self.scrubber)}}

    def join(self, before: Catalogue | None) -> Catalogue:
        """Make a catalogue of the parts, and of what was recorded before."""
        result = before or Catalogue()
        known = {name: {_key(e): e for e in getattr(result, name)} for name in _LISTS}
        results: dict[str, Any] = {}
        for part in self.found:
            for name in _LISTS:
                known[name].update({_key(entry): entry for entry in part.get(name) or ()})
            result.buckets.update(part.get("buckets") or {})
            result.capsules.update(part.get("capsules") or {})
            results.update(part.get("results") or {})
        for run in known["computations"].values():
            if results.get(run["id"]):
                run["_files"] = results[run["id"]]
        for name in _LISTS:
            getattr(result, name)[:] = known[name].values()
        return result


def _choices(subjects: set[str], sessions: set[str]) -> Iterator[metadata.Choice]:
    yield from (metadata.Choice(subject) for subject in sorted(subjects))
    by_subject: dict[str, set[str]] = {}
    for session in sorted(sessions):
        found = find_session_id(session)
        if found is not None and found.subject_id not in subjects:
            by_subject.setdefault(found.subject_id, set()).add(session)
    for subject, some in by_subject.items():
        yield metadata.Choice(subject, frozenset(some))


def _key(entry: Json) -> tuple[str, ...]:
    if "bucket" in entry and "key" in entry:
        return entry["bucket"], entry["key"]
    return (str(entry.get("id") or entry.get("_id")),)


def _is_of(name: str, subject: str, whole: re.Pattern[str]) -> bool:
    session = belonging.session_of(name)
    return session.subject_id == subject if session is not None else bool(whole.search(name))
