"""Full metadata records: by session, asset, location or subject, from schema 1.x and 2.x."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from aind_session.errors import (
    ServiceConnectionError,
    ServiceError,
    ServiceTimeoutError,
    first_line,
)
from aind_session.identifiers import SessionID, is_uuid, split_asset_name
from aind_session.lookup import evidence
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.failures import Failures, note_not_recorded
from aind_session.query import DOCDB, Query, together
from aind_session.records import Record
from aind_session.services.assets import count_assets
from aind_session.services.metadata import (
    SCHEMAS,
    FullRecord,
    RecordSummary,
    full_records_of_subject,
    prefetch_records,
    record_at,
    record_named,
    record_of_asset,
    records_of_subject,
)
from aind_session.threads import outcomes
from aind_session.trace import note, tracing

D = TypeVar("D", bound=Mapping[str, Any])


def records(session: SessionID, group: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Return a session's record, as JSON, by schema.

    `group` is the IDs of sessions that were found together: in all likelihood a loop asks for the
    records of all of them, so that they are requested together.
    """
    with tracing(session.id, "metadata records"):
        failures = Failures("the record of the other schema")
        found = _by_name(session.id, group, failures)
        if not found:
            failures.raise_error()
            others = evidence.of(session, "")
            name = _other_name(session, others)
            if name is not None:
                found = _by_name(name, (), failures)
            if not found:
                failures.raise_error()
                has = count_assets(others.assets)
                pending = f", though it has {has}: it may not be registered yet"
                note(
                    "No metadata record was found for %s%s",
                    session.id,
                    pending if others.assets else "",
                )
                note_not_recorded(session.id)
        failures.warn()
        return found


def _by_name(name: str, group: tuple[str, ...], failures: Failures) -> dict[str, bytes]:
    schemas = list(SCHEMAS)
    if len(group) > 1:
        missing = [s for s in SCHEMAS if record_named.cached(s, name) is None]
        answers = outcomes(*(partial(_prefetch, s, existing(group, s)) for s in missing))
        for schema, answer in zip(missing, answers, strict=True):
            failures.value_or(None, answer, DOCDB)
            if answer.error is not None:
                schemas.remove(schema)
    return _from_both(failures, record_named, name, schemas)


def _prefetch(schema: str, names: list[str]) -> None:
    """Request records together; if that is refused as too much, each is requested on its own."""
    if len(names) < 2:
        return
    try:
        prefetch_records(schema, names)
    except (ServiceTimeoutError, ServiceConnectionError):
        raise
    except ServiceError as error:
        note("%d records could not be requested together: %s", len(names), first_line(error))


def existing(session_ids: tuple[str, ...], schema: str) -> list[str]:
    """Leave out sessions without a record, as far as their subject's records are cached."""
    names = []
    for session_id in session_ids:
        session = split_asset_name(session_id).session
        if session is None:
            continue
        summaries = records_of_subject.cached(schema, session.subject_id)
        if summaries is None or any(record.name == session_id for record in summaries):
            names.append(session_id)
        else:
            # Cached as "none", so that it is not requested.
            record_named.store((), schema, session_id)
    return names


def _from_both(
    failures: Failures,
    query: Query[..., FullRecord],
    what: str,
    schemas: Sequence[str] = SCHEMAS,
) -> dict[str, bytes]:
    """Send a request to both endpoints concurrently; return the records that exist."""
    answers = together(*((query, schema, what) for schema in schemas))
    found: dict[str, bytes] = {}
    for schema, answer in zip(schemas, answers, strict=True):
        for record in failures.value_or((), answer, DOCDB):
            found[schema] = record
    return found


def in_order(records: Iterable[RecordSummary]) -> list[RecordSummary]:
    """Sort records as they answer questions about their session: raw first, 1.x before 2.x."""
    return sorted(records, key=lambda r: (not split_asset_name(r.name).is_raw, r.schema))


def of_derived(session: SessionID) -> Iterator[dict[str, Any]]:
    """Yield the records of a session's derived assets: a few fields of each, then the newest's all.

    The first answer in this order is the one that a table shows.
    """
    found = evidence.of(session, "the record of a derived data asset").records
    for summary in in_order(found):
        yield summary.record.raw
    newest = max(found, key=lambda record: record.created, default=None)
    for raw in record_of(newest.name).values() if newest else ():
        yield msgspec.json.decode(raw)


def record_of(what: str) -> dict[str, bytes]:
    """Return the record, by schema, of a data asset's name or ID, or of a location."""
    query: Query[..., FullRecord]
    if what.startswith("s3://"):
        query, key = record_at, what.rstrip("/")
    elif is_uuid(what):
        query, key = record_of_asset, what
    else:
        query, key = record_named, what
    with tracing(what, "metadata records"):
        failures = Failures("the record of the other schema")
        found = _from_both(failures, query, key)
        if not found:
            failures.raise_error()
            note_not_recorded(what)
        failures.warn()
        return found


def all_of_subject(subject_id: str) -> dict[str, tuple[bytes, ...]]:
    """Return every full record of a subject, by schema."""
    with tracing(subject_id, "metadata records"):
        failures = Failures("records of the other schema")
        answers = together(*((full_records_of_subject, s, subject_id) for s in SCHEMAS))
        found = [failures.value_or((), answer, DOCDB) for answer in answers]
        if not any(found):
            failures.raise_error()
        note_not_recorded(subject_id, empty=not any(found))
        failures.warn()
        return dict(zip(SCHEMAS, found, strict=True))


def _other_name(session: SessionID, others: Evidence) -> str | None:
    """Return the name of the record under the other spelling, or with `raw` after the ID."""
    names = [r.name for r in others.records if split_asset_name(r.name).is_raw]
    if not names:
        return None
    note("No record is named %s: that of %s is used", session.id, names[-1])
    return names[-1]


def one_per_asset(found: Mapping[str, Iterable[D]]) -> tuple[D, ...]:
    """Choose one record for each data asset, of schema 1.x if there is one; ascending by creation.

    `found` is the decoded records by schema.
    """
    kept: dict[str, D] = {}
    for schema in SCHEMAS:
        for record in found.get(schema, ()):
            # The records of 1.x and 2.x for one asset share the location.
            kept.setdefault(str(record.get("location") or record.get("_id")).rstrip("/"), record)
    return tuple(sorted(kept.values(), key=lambda record: str(Record(record).created or "")))
