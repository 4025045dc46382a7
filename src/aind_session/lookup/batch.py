"""Evidence, records and listings of many sessions at once, with a few requests for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from aind_session.errors import ServiceError
from aind_session.identifiers import SessionID
from aind_session.lookup import evidence, folders
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.failures import Failures
from aind_session.lookup.metadata import existing
from aind_session.lookup.rules import ascending, other_spelling
from aind_session.query import DOCDB
from aind_session.services.files import listing
from aind_session.services.metadata import (
    RECORDS_PER_REQUEST,
    SCHEMAS,
    RecordSummary,
    prefetch_records,
    records_of_subjects,
)
from aind_session.threads import gather_all, outcomes
from aind_session.trace import tracing

T = TypeVar("T")

#: Subjects named in one request: their IDs in a filter stay far below the limit of a URL, in case
#: the request has to be sent as a GET.
SUBJECTS_PER_REQUEST = 100


def chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """Split items into parts of a size, in order."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def _by_subject(sessions: Iterable[SessionID]) -> dict[str, list[SessionID]]:
    groups: dict[str, list[SessionID]] = {}
    for session in sessions:
        groups.setdefault(session.subject_id, []).append(session)
    return groups


def with_records(sessions: Sequence[SessionID]) -> dict[SessionID, Evidence]:
    """Gather each session's records, no assets: one request per schema and 100 subjects."""
    failures = Failures("columns from its records")
    wanted = _by_subject(sessions)
    with tracing(next(iter(wanted), ""), "records of a cohort"):
        answers = outcomes(
            *(
                lambda s=s, c=c: records_of_subjects(s, c)
                for c in chunks(list(wanted), SUBJECTS_PER_REQUEST)
                for s in SCHEMAS
            )
        )
        records: dict[str, list[RecordSummary]] = {subject_id: [] for subject_id in wanted}
        for answer in answers:
            for record in failures.value_or((), answer, DOCDB):
                records.get(record.subject_id, []).append(record)
        failures.warn()
        found: dict[SessionID, Evidence] = {}
        for subject_id, some in records.items():
            of_subject = Evidence((), tuple(some), failures)
            found.update(_split(of_subject, wanted[subject_id]))
        return found


def with_assets(
    sessions: Sequence[SessionID], failures: Failures | None = None
) -> dict[SessionID, Evidence]:
    """Gather each session's evidence, linked assets included.

    One request per subject, and three per 100 of them. Services that failed are noted in
    `failures`; without it, reported in a warning.
    """
    noted = Failures("sessions' assets and records") if failures is None else failures
    wanted = _by_subject(sessions)
    found: dict[SessionID, Evidence] = {}
    with tracing(next(iter(wanted), ""), "assets of a cohort"):
        of_subjects: dict[str, Evidence] = {}
        for chunk in chunks(list(wanted), SUBJECTS_PER_REQUEST):
            of_subjects.update(evidence.of_subjects(chunk, noted.missing, noted))
        complete = gather_all(evidence.with_linked, of_subjects.values())
        for subject_id, of_subject in zip(of_subjects, complete, strict=True):
            noted.update(of_subject.failures)
            found.update(_split(of_subject, wanted[subject_id]))
        if failures is None:
            noted.warn()
        return found


def _split(
    of_subject: Evidence, sessions: Iterable[SessionID]
) -> Iterator[tuple[SessionID, Evidence]]:
    """Yield for each session its own part of its subject's evidence."""
    groups = evidence.by_session(of_subject)
    by_id = {asset.id: asset for asset in of_subject.assets}
    nothing = replace(of_subject, assets=(), records=())
    for session in sessions:
        other = session if session in groups else other_spelling(session, groups)
        own = groups.get(other or session, nothing)
        # Assets that its records link are its own, whatever their name.
        linked = (by_id[i] for record in own.records for i in record.linked if i in by_id)
        assets = ascending((*evidence.without_others(session, own.assets), *linked))
        yield session, replace(own, assets=assets, of_subject=of_subject.records)


def prefetch(
    sessions: Sequence[SessionID], what: Iterable[str], progress: Callable[[float], object]
) -> None:
    """Fetch "assets", "records", "modalities" of sessions into the cache.

    `progress` is called with the number of sessions whenever some are done. Services that failed
    are reported in one warning.
    """
    failures = Failures("data of these sessions that only it has")
    with tracing(sessions[0].subject_id if sessions else "", "prefetched data"):
        if not {"assets", "modalities"}.isdisjoint(what):
            with_assets(sessions, failures)
            progress(len(sessions))
        # A service that is down is not queried again here, but when the sessions are looked up.
        if "records" in what and DOCDB not in failures.errors:
            _prefetch_records(sessions, progress, failures)
        is_down = any(isinstance(error, ServiceError) for error in failures.errors.values())
        if "modalities" in what and not is_down:
            _prefetch_listings(sessions, progress)
        failures.warn()


def _prefetch_records(
    sessions: Sequence[SessionID], progress: Callable[[float], object], failures: Failures
) -> None:
    """Fetch the full records of sessions: one request per 50 sessions and schema."""
    ids = [session.id for session in sessions]

    def fetch(chunk: Sequence[str], schema: str) -> None:
        prefetch_records(schema, existing(tuple(chunk), schema))
        if schema == SCHEMAS[-1]:
            progress(len(chunk))

    for answer in outcomes(
        *(lambda c=c, s=s: fetch(c, s) for c in chunks(ids, RECORDS_PER_REQUEST) for s in SCHEMAS)
    ):
        failures.value_or(None, answer, DOCDB)


def _prefetch_listings(sessions: Sequence[SessionID], progress: Callable[[float], object]) -> None:
    """List the raw folder of each session; failed requests are sent again when looked up."""

    def look_up(session: SessionID) -> None:
        folder, _ = folders.find_raw(session, "")
        if folder is not None:
            listing(folder.bucket, folder.prefix)
        progress(1)

    outcomes(*(lambda s=s: look_up(s) for s in sessions))
