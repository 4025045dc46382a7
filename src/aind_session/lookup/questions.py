"""Every question that a lookup puts to a service, each asked once and kept for a time.

Answers are immutable and shared: whoever hands something of them out decodes it anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from aind_session import settings
from aind_session.lookup import belonging, trail
from aind_session.records import Record
from aind_session.services import codeocean, docdb, pool, storage
from aind_session.services.models import AssetSummary, NoRecordError

CODE_OCEAN, DOCDB, S3 = "Code Ocean", "DocDB", "S3"
GENERATIONS = ("v1", "v2")
FOREVER = float("inf")

#: Longer `name:` queries were seen to find nothing (Code Ocean, October 2024).
NAME_QUERY_LENGTH = 20

Assets = tuple[AssetSummary, ...]


# -- Code Ocean ------------------------------------------------------------------------------------


def assets_by_name(beginning: str) -> Assets:
    """Search data assets by the first characters of their name."""
    query = f"name:{beginning[:NAME_QUERY_LENGTH]}"
    return trail.ask(
        CODE_OCEAN,
        f"data assets for the query {query!r}",
        ("assets by name", query),
        lambda: codeocean.search_assets(query=query, archived=False),
        count_assets,
    )


def assets_by_text(subject_id: str) -> Assets:
    """Search data assets by a subject's ID as free text: names, tags, custom metadata."""
    return trail.ask(
        CODE_OCEAN,
        f"data assets for the free text {subject_id!r}",
        ("assets by text", subject_id),
        lambda: codeocean.search_assets(query=subject_id, archived=False),
        count_assets,
    )


def assets_by_names(subject_ids: Sequence[str]) -> Assets:
    """Search data assets named after one of some subjects: the same field twice means "or"."""
    query = " ".join(f"name:{subject_id}" for subject_id in subject_ids)
    return trail.ask(
        CODE_OCEAN,
        f"data assets named after one of {len(subject_ids)} subjects",
        ("assets by names", *subject_ids),
        lambda: codeocean.search_assets(query=query, archived=False),
        count_assets,
        seconds=0.0,
    )


def assets_by_field(subject_ids: Sequence[str]) -> Assets:
    """Search data assets by the custom field `subject id`, for several subjects at once."""
    if len(subject_ids) == 1:
        return _ask_field(subject_ids, ("assets by field", *subject_ids), None)
    unknown = [s for s in subject_ids if trail.peek(CODE_OCEAN, ("assets by field", s)) is None]
    found: dict[str, list[AssetSummary]] = {}
    if len(unknown) > 1:
        # One search for all; what it found is kept for each.
        found = {s: [] for s in unknown}
        for asset in _ask_field(unknown, ("assets by field", *sorted(unknown)), 0.0):
            field = belonging.subject_field(asset)
            found.get(field, found.get(belonging.subject_of_asset(asset), [])).append(asset)
        for subject_id, some in found.items():
            trail.learn(CODE_OCEAN, ("assets by field", subject_id), tuple(some))
    rest = [_ask_field([s], ("assets by field", s), None) for s in subject_ids if s not in found]
    return tuple(asset for some in (*found.values(), *rest) for asset in some)


def _ask_field(subject_ids: Sequence[str], key: tuple[str, ...], seconds: float | None) -> Assets:
    whose = repr(subject_ids[0]) if len(subject_ids) == 1 else f"one of {len(subject_ids)}"
    return trail.ask(
        CODE_OCEAN,
        f"data assets whose `subject id` is {whose}",
        key,
        lambda: _search_field(subject_ids),
        count_assets,
        seconds,
    )


def _search_field(subject_ids: Sequence[str]) -> Assets:
    field: dict[str, Any] = {"key": "subject id"}
    if len(subject_ids) == 1:
        field["value"] = subject_ids[0]
    else:
        field["values"] = list(subject_ids)
    return codeocean.search_assets(filters=[field], archived=False)


def count_assets(assets: Assets) -> str:
    """Put a list of assets in a few words."""
    return f"{len(assets)} data asset{'' if len(assets) == 1 else 's'}"


def linked_asset(asset_id: str) -> AssetSummary | None:
    """Get an asset that a DocDB record links; None where it is gone, closed or odd."""

    def call() -> tuple[AssetSummary | str, ...]:
        try:
            return (codeocean.get_asset(asset_id),)
        except codeocean.CodeOceanNotFoundError:
            return ("gone (404)",)
        except codeocean.ClosedAssetError as error:
            return (f"closed ({error.status})",)

    answer: AssetSummary | str
    try:
        answer = trail.ask(
            CODE_OCEAN,
            f"data asset {asset_id} (linked by DocDB)",
            ("asset", asset_id),
            call,
            lambda found: found[0] if isinstance(found[0], str) else found[0].name,
        )[0]
    except NoRecordError:
        # Not kept as an answer, which it is none.
        answer = "odd (without an ID)"
    if isinstance(answer, str):
        trail.tell("Linked data asset %s is left out: it is %s", asset_id, answer)
        return None
    return answer


# -- DocDB -----------------------------------------------------------------------------------------


class Row(msgspec.Struct, frozen=True):
    """What joins and tables need of a record: a few fields, as JSON."""

    name: str
    location: str
    created: str
    generation: str
    raw: bytes
    #: IDs of the data assets that it links.
    linked: tuple[str, ...] = ()

    @property
    def record(self) -> Record:
        """The sparse record: the fields of `PROJECTION` only."""
        return Record(msgspec.json.decode(self.raw))

    @property
    def subject_id(self) -> str:
        """The subject: by the session in the name, which is there already, else by the record."""
        session = belonging.session_of(self.name)
        return session.subject_id if session else belonging.subject_of_record(self.record)


Rows = tuple[Row, ...]

#: The fields that joins and tables read; every other one stays at the server.
PROJECTION: dict[str, dict[str, int]] = {
    "v1": dict.fromkeys(
        (
            *("_id", "name", "location", "created", "schema_version", "external_links"),
            *("subject.subject_id", "subject.genotype", "subject.sex", "subject.date_of_birth"),
            *("subject.subject_details", "subject.schema_version"),
            *(
                f"data_description.{key}"
                for key in (
                    *("schema_version", "subject_id", "project_name", "data_level", "modality"),
                    *("modalities", "platform", "experiment_type", "name", "input_data_name"),
                )
            ),
            *("session.session_start_time", "session.session_type", "session.subject_id"),
            *("session.schema_version", "acquisition.acquisition_type"),
            *("acquisition.acquisition_start_time", "acquisition.session_start_time"),
            *("acquisition.subject_id", "acquisition.schema_version"),
            *("_created", "other_identifiers"),
        ),
        1,
    ),
}
PROJECTION["v2"] = PROJECTION["v1"]


def rows_of_session(generation: str, session_id: str) -> Rows:
    """Ask for a few fields of every record whose name begins with a session ID."""
    match = {"name": {"$regex": f"^{re.escape(session_id)}"}}
    return _rows(
        generation,
        f"records named {session_id}*",
        ("rows of session", generation, session_id),
        match,
    )


def rows_of_subjects(generation: str, subject_ids: Sequence[str]) -> Rows:
    """Ask for a few fields of every record of some subjects, by subject or by name."""
    if len(subject_ids) == 1:
        return _ask_rows(generation, subject_ids, None)
    unknown = [s for s in subject_ids if known_rows(generation, s) is None]
    found: dict[str, list[Row]] = {}
    if len(unknown) > 1:
        # One request for all; what came is kept for each.
        found = {s: [] for s in unknown}
        for row in _ask_rows(generation, unknown, 0.0):
            found.get(row.subject_id, []).append(row)
        for subject_id, some in found.items():
            trail.learn(DOCDB, ("rows of subject", generation, subject_id), tuple(some))
    rest = [_ask_rows(generation, [s], None) for s in subject_ids if s not in found]
    return tuple(row for some in (*found.values(), *rest) for row in some)


def _ask_rows(generation: str, subject_ids: Sequence[str], seconds: float | None) -> Rows:
    one = len(subject_ids) == 1
    return _rows(
        generation,
        f"records of subject {subject_ids[0]}"
        if one
        else f"records of {len(subject_ids)} subjects",
        ("rows of subject", generation, *subject_ids),
        _of_subjects(subject_ids),
        seconds,
    )


def _of_subjects(subject_ids: Sequence[str]) -> dict[str, Any]:
    """Match the records of some subjects; a few are others', whose core file was copied."""
    names = "|".join(map(re.escape, subject_ids))
    return {
        "$or": [
            {"subject.subject_id": {"$in": list(subject_ids)}},
            # Records without a subject: by name, of any platform or none.
            {"name": {"$regex": f"^(?:[A-Za-z0-9-]+_)?(?:{names})_"}},
        ]
    }


def known_rows(generation: str, subject_id: str) -> Rows | None:
    """Give the rows of a subject's records, if they are known."""
    known: Rows | None = trail.peek(DOCDB, ("rows of subject", generation, subject_id))
    return known


def rows_matching(generation: str, words: str, match: dict[str, Any]) -> Rows:
    """Ask for a few fields of the records that match a filter."""
    key = ("rows matching", generation, msgspec.json.encode(match).decode())
    return _rows(generation, f"records with {words}", key, match)


def _rows(
    generation: str,
    words: str,
    key: tuple[str, ...],
    match: dict[str, Any],
    seconds: float | None = None,
) -> Rows:
    pipeline = [{"$match": match}, {"$project": PROJECTION[generation]}]

    def call() -> Rows:
        found = docdb.aggregate(generation, pipeline)
        return tuple(_row(generation, record) for record in found)

    return trail.ask(DOCDB, f"{words} ({generation})", key, call, count_records, seconds)


def _row(generation: str, record: dict[str, Any]) -> Row:
    read = Record(record)
    if not read.name:
        trail.logger.warning("A record without a name belongs to no session: %s", record.get("_id"))
    return Row(
        name=read.name or "",
        location=read.location or "",
        created=str(record.get("created") or record.get("_created") or ""),
        generation=generation,
        raw=msgspec.json.encode(record),
        linked=read.codeocean_ids,
    )


def count_records(rows: Sequence[object]) -> str:
    """Put a list of records in a few words."""
    return f"{len(rows)} record{'' if len(rows) == 1 else 's'}"


def record_by_name(generation: str, name: str) -> bytes | None:
    """Get the newest record of a name, as JSON, or None."""
    return _record(generation, f"named {name}", ("record", generation, name), {"name": name})


def record_of_asset(generation: str, asset_id: str) -> bytes | None:
    """Get the newest record that links a data asset, or that has this ID itself."""
    match = {
        "$or": [
            {"external_links.Code Ocean": asset_id},
            {"other_identifiers.Code Ocean": asset_id},
            {"_id": asset_id},
            # Not every record of a result links it: its folder is named after it all the same.
            {"location": f"s3://{settings.RESULTS_BUCKET}/{asset_id}"},
        ]
    }
    return _record(generation, f"of asset {asset_id}", ("record", generation, asset_id), match)


def record_at(generation: str, location: str) -> bytes | None:
    """Get the record of a location, which is unique and shared by both generations' twins."""
    where = location.rstrip("/")
    match = {"location": {"$in": [where, f"{where}/"]}}
    return _record(generation, f"at {where}", ("record", generation, where), match)


def records_of_subject(generation: str, subject_id: str) -> tuple[bytes, ...]:
    """Get every full record of a subject: large, as many as there are data assets."""
    return trail.ask(
        DOCDB,
        f"all records of subject {subject_id} ({generation})",
        ("records of subject", generation, subject_id),
        lambda: tuple(
            msgspec.json.encode(record)
            for record in docdb.aggregate(generation, [{"$match": _of_subjects([subject_id])}])
            if belonging.subject_of_record(Record(record)) == subject_id
        ),
        count_records,
    )


def _record(
    generation: str, words: str, key: tuple[str, ...], match: dict[str, Any]
) -> bytes | None:
    newest = {"created": -1} if generation == "v1" else {"_created": -1}

    def call() -> tuple[bytes, ...]:
        found = docdb.find_one(generation, match, newest)
        return () if found is None else (found,)

    answer = trail.ask(
        DOCDB,
        f"the record {words} ({generation})",
        key,
        call,
        lambda found: "1 record" if found else "no record",
    )
    return answer[0] if answer else None


def learn_records(generation: str, names: Iterable[str]) -> None:
    """Get the records of many names with few requests, and keep each."""
    unknown = sorted({n for n in names if trail.peek(DOCDB, ("record", generation, n)) is None})
    if not unknown:
        return
    chunks = [unknown[i : i + 50] for i in range(0, len(unknown), 50)]
    pool.gather_all(lambda chunk: _learn_chunk(generation, chunk), chunks)


def _learn_chunk(generation: str, names: list[str]) -> None:
    def call() -> tuple[bytes, ...]:
        found = docdb.aggregate(generation, [{"$match": {"name": {"$in": names}}}])
        newest: dict[str, dict[str, Any]] = {}
        for record in sorted(found, key=lambda r: str(r.get("created") or r.get("_created") or "")):
            newest[str(record.get("name"))] = record
        for name in names:
            latest = newest.get(name)
            kept = () if latest is None else (msgspec.json.encode(latest),)
            trail.learn(DOCDB, ("record", generation, name), kept)
        return ()

    trail.ask(
        DOCDB,
        f"{len(names)} records by name ({generation})",
        ("records", generation, *names),
        call,
        lambda _: "kept for each name",
        seconds=0.0,
    )


# -- S3 --------------------------------------------------------------------------------------------


def listing(bucket: str, prefix: str) -> storage.Listing:
    """List a folder, one level deep; an empty one does not exist, to S3."""
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    return trail.ask(
        S3,
        f"list s3://{bucket}/{prefix}",
        ("listing", bucket, prefix),
        lambda: storage.list_folder(bucket, prefix),
        lambda found: (
            f"{len(found.folders)} folders, {len(found.files)} files"
            if found.exists
            else "not there"
        ),
    )


def text(bucket: str, key: str) -> bytes | None:
    """Read a small file in S3, or None where it is not there."""
    return small_file(
        S3,
        f"read s3://{bucket}/{key}",
        ("text", bucket, key),
        lambda: storage.read(bucket, key),
        storage.StorageNotFoundError,
    )


def small_file(
    service: str,
    what: str,
    key: tuple[str, ...],
    read: Callable[[], bytes],
    *absent: type[Exception],
) -> bytes | None:
    """Read a small file, or None where reading raises one of the errors of what is not there."""

    def call() -> tuple[bytes, ...]:
        try:
            return (read(),)
        except absent:
            return ()

    def told(found: tuple[bytes, ...]) -> str:
        return f"{len(found[0])} bytes" if found else "not there"

    answer = trail.ask(service, what, key, call, told)
    return answer[0] if answer else None


def buckets() -> tuple[str, ...]:
    """Give the buckets that are searched by name."""
    return settings.current().buckets.value
