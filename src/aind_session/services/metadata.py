"""Requests for metadata records in DocDB, schema 1.x and 2.x; each is cached and traced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from aind_session import context, settings
from aind_session.identifiers import session_in_name
from aind_session.query import DOCDB, by_key, count, query
from aind_session.records import Record
from aind_session.services import docdb
from aind_session.threads import gather_all
from aind_session.trace import logger

#: The two schemas of DocDB, each with an endpoint of its own.
SCHEMAS = ("v1", "v2")
#: Full records requested at once: one has 100 kB on average, the gateway's limit is 10 MB.
RECORDS_PER_REQUEST = 50

count_records = count("record")


class RecordSummary(msgspec.Struct, frozen=True, weakref=True):
    """What joins and tables need of a record: a few fields, as JSON."""

    name: str
    location: str
    created: str
    schema: str
    raw: bytes
    #: IDs of the data assets that it links.
    linked: tuple[str, ...] = ()

    @property
    def record(self) -> Record:
        """The record with the fields of `PROJECTION` only."""
        return Record(msgspec.json.decode(self.raw))

    @property
    def subject_id(self) -> str:
        """The subject: by the session in the name, else by the record."""
        session = session_in_name(self.name)
        return session.subject_id if session else self.record.subject_id or ""


Records = tuple[RecordSummary, ...]

#: The fields that joins and tables read; no other field is requested.
PROJECTION = dict.fromkeys(
    (
        *("_id", "name", "location", "schema_version"),
        *("created", "_created", "external_links", "other_identifiers"),
        *("subject.subject_id", "subject.genotype", "subject.sex", "subject.date_of_birth"),
        *("subject.subject_details", "subject.schema_version"),
        *("data_description.schema_version", "data_description.subject_id"),
        *("data_description.project_name", "data_description.data_level"),
        *("data_description.modality", "data_description.modalities"),
        *("data_description.platform", "data_description.experiment_type"),
        *("data_description.name", "data_description.input_data_name"),
        *("session.session_start_time", "session.session_type", "session.subject_id"),
        *("session.schema_version", "acquisition.acquisition_type"),
        *("acquisition.acquisition_start_time", "acquisition.session_start_time"),
        *("acquisition.subject_id", "acquisition.schema_version"),
    ),
    1,
)


# -- a few fields of many records ------------------------------------------------------------------


@query(DOCDB, "records named {1}* ({0})", count_records)
def records_named(schema: str, session_id: str) -> Records:
    """Request a few fields of every record whose name begins with a session ID."""
    return _summaries(schema, {"name": {"$regex": f"^{re.escape(session_id)}"}})


@query(DOCDB, "records of subject {1} ({0})", count_records)
def records_of_subject(schema: str, subject_id: str) -> Records:
    """Request a few fields of every record of a subject, by subject or by name."""
    return _summaries(schema, _of_subjects([subject_id]))


@query(
    DOCDB,
    lambda schema, subject_ids: f"records of {len(subject_ids)} subjects ({schema})",
    count_records,
    seconds=0.0,
)
def _records_of_subjects(schema: str, subject_ids: tuple[str, ...]) -> Records:
    return _summaries(schema, _of_subjects(subject_ids))


def records_of_subjects(schema: str, subject_ids: Sequence[str]) -> Records:
    """Request a few fields of every record of some subjects: one request for several."""
    return by_key(
        records_of_subject, _records_of_subjects, subject_ids, lambda r, _: r.subject_id, schema
    )


@query(DOCDB, "records with {1} ({0})", count_records)
def records_matching(schema: str, words: str, match: str) -> Records:
    """Request a few fields of the records that match a filter, given as JSON."""
    return _summaries(schema, msgspec.json.decode(match))


@query(
    DOCDB,
    lambda schema, paths, match: f"all values of {' and '.join(paths)} ({schema})",
    count("value"),
)
def distinct_values(schema: str, paths: tuple[str, ...], match: str = "{}") -> tuple[str, ...]:
    """Request the distinct texts in some fields over all records that match a filter, as JSON."""
    fields = {f"field{number}": f"${path}" for number, path in enumerate(paths)}
    pipeline = [{"$match": msgspec.json.decode(match)}, {"$group": {"_id": fields}}]
    return tuple(sorted(set(_texts([row.get("_id") for row in docdb.aggregate(schema, pipeline)]))))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in nested lists and objects: a field in a list comes as a list of values."""
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _of_subjects(subject_ids: Sequence[str]) -> dict[str, Any]:
    """Match the records of some subjects; a few are others', with a copied core file."""
    names = "|".join(map(re.escape, subject_ids))
    return {
        "$or": [
            {"subject.subject_id": {"$in": list(subject_ids)}},
            # Records without a subject: by name, with any platform or none.
            {"name": {"$regex": f"^(?:[A-Za-z0-9-]+_)?(?:{names})_"}},
        ]
    }


def _summaries(schema: str, match: dict[str, Any]) -> Records:
    pipeline = [{"$match": match}, {"$project": PROJECTION}]
    return tuple(
        docdb.read_aggregate(schema, pipeline, lambda record, raw: _summary(schema, record, raw))
    )


def _summary(schema: str, record: dict[str, Any], raw: bytes) -> RecordSummary:
    read = Record(record)
    if not read.name:
        logger.warning("A record without a name belongs to no session: %s", record.get("_id"))
    summary = RecordSummary(
        name=read.name or "",
        location=read.location or "",
        created=_created(record),
        schema=schema,
        raw=raw,
        linked=read.codeocean_ids,
    )
    key = (schema, summary.name, summary.location)
    return context.current().keep_once(key, summary)


def _created(record: dict[str, Any]) -> str:
    return str(record.get("created") or record.get("_created") or "")


# -- full records, as JSON: `()` or one, so that "there is none" is cached, too --------------------

FullRecord = tuple[bytes, ...]


def _has_record(found: FullRecord) -> str:
    return "1 record" if found else "no record"


@query(DOCDB, "the record named {1} ({0})", _has_record)
def record_named(schema: str, name: str) -> FullRecord:
    """Request the newest record with a name."""
    return _newest(schema, {"name": name})


@query(DOCDB, "the record of asset {1} ({0})", _has_record)
def record_of_asset(schema: str, asset_id: str) -> FullRecord:
    """Request the newest record that links a data asset, or that has this ID itself."""
    matches = [
        {"external_links.Code Ocean": asset_id},
        {"other_identifiers.Code Ocean": asset_id},
        {"_id": asset_id},
        # Not every record of a result links it: its folder is named after it all the same.
        {"location": f"s3://{settings.RESULTS_BUCKET}/{asset_id}"},
    ]
    return _newest(schema, {"$or": matches})


@query(DOCDB, "the record at {1} ({0})", _has_record)
def record_at(schema: str, location: str) -> FullRecord:
    """Request the record of a location, which is unique; 1.x and 2.x records share it."""
    return _newest(schema, {"location": {"$in": [location, f"{location}/"]}})


@query(DOCDB, "all records of subject {1} ({0})", count_records)
def full_records_of_subject(schema: str, subject_id: str) -> tuple[bytes, ...]:
    """Request every full record of a subject: large, as many as there are data assets."""
    found = docdb.read_aggregate(
        schema,
        [{"$match": _of_subjects([subject_id])}],
        lambda record, raw: (_summary(schema, record, raw).subject_id, raw),
    )
    return tuple(raw for subject, raw in found if subject == subject_id)


def _newest(schema: str, match: dict[str, Any]) -> FullRecord:
    found = docdb.find_one(schema, match, {"created": -1} if schema == "v1" else {"_created": -1})
    return () if found is None else (found,)


def prefetch_records(schema: str, names: Iterable[str]) -> None:
    """Request the records of many names with few requests, and cache each."""
    missing = sorted({name for name in names if record_named.cached(schema, name) is None})
    size = RECORDS_PER_REQUEST
    chunks = [tuple(missing[i : i + size]) for i in range(0, len(missing), size)]
    gather_all(lambda chunk: _prefetch_chunk(schema, chunk), chunks)


def _prefetch_chunk(schema: str, names: tuple[str, ...]) -> None:
    moment = context.current().cache.moment()
    newest = {name: raw for _, name, raw in sorted(_records_by_name(schema, names))}
    for name in names:
        found = (newest[name],) if name in newest else ()
        record_named.store(found, schema, name, moment=moment)


@query(
    DOCDB,
    lambda schema, names: f"{len(names)} records by name ({schema})",
    count_records,
    seconds=0.0,
)
def _records_by_name(schema: str, names: tuple[str, ...]) -> list[tuple[str, str, bytes]]:
    return docdb.read_aggregate(
        schema,
        [{"$match": {"name": {"$in": list(names)}}}],
        lambda record, raw: (_created(record), str(record.get("name")), raw),
    )
