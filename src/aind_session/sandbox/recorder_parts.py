"""The parts of a recording: assets, records, runs, folders, and files that lookups read."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import msgspec

from aind_session.errors import AccessDeniedError, ServiceError
from aind_session.identifiers import session_in_name, split_asset_name
from aind_session.lookup import folders, refresh, rules
from aind_session.sandbox.catalogue import Json
from aind_session.sandbox.scrub import Scrubber
from aind_session.services import codeocean, docdb, s3
from aind_session.services.assets import (
    assets_mentioning,
    assets_of_subject,
    subjects_of,
)
from aind_session.services.metadata import SCHEMAS, RecordSummary, records_of_subject
from aind_session.services.models import AssetSummary, summarise
from aind_session.settings import RESULTS_BUCKET
from aind_session.threads import gather, gather_all

IDS_PER_QUERY = 40
#: Levels of names: lookups read two of raw data (`ecephys/ecephys_clipped`), three of results
#: (`spikesorted/<stream>/si_folder.json`).
RAW_DEPTH, RESULT_DEPTH = 2, 3
MAX_BYTES = 5_000_000
#: Files read wherever they are listed; in a folder's root every JSON file is.
READ = frozenset(
    {"si_folder.json", "sorting.json", "params.json", "processing.json", ".zattrs"}
    | {"data_description.json"}
)
OUTPUT = "output"
_UNREADABLE = (codeocean.CodeOceanNotFoundError, codeocean.ClosedAssetError)
_CLOSED = {401: "closed", 403: "forbidden"}
_RECORDS = tuple(f"docdb_{generation}" for generation in SCHEMAS)

#: Name, whether it is a folder, size.
Item = tuple[str, bool, int]


@dataclass(frozen=True)
class Choice:
    """What of a subject is to be recorded: some sessions (their IDs), or everything (None)."""

    subject_id: str
    sessions: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """The name of this part of a recording."""
        some = "" if self.sessions is None else f": {' '.join(sorted(self.sessions))}"
        return f"subject {self.subject_id}{some}"

    def includes(self, name: str, subject_id: str) -> bool:
        """Whether an asset or record with this name, of this subject, belongs to it."""
        if subject_id != self.subject_id or self.sessions is None:
            return subject_id == self.subject_id
        found = session_in_name(name)
        if found is None:
            return False
        # A missing platform is not a difference.
        any_platform = (f"_{found.bare}",) if found.platform is None else ()
        return any(s in (found.id, found.bare) or s.endswith(any_platform) for s in self.sessions)


# Assets, records and runs


def subject(choice: Choice, scrubber: Scrubber) -> Json:
    """Record the assets and the records of a subject, or of some of its sessions.

    Raises
    ------
    ServiceError, CredentialsError
        A service failed: an incomplete part would be taken for a complete one.
    """
    subject_id = choice.subject_id
    refresh.subject(subject_id)
    by_text, by_field, *by_schema = gather(
        lambda: assets_mentioning(subject_id),
        lambda: assets_of_subject(subject_id),
        *(lambda s=s: records_of_subject(s, subject_id) for s in SCHEMAS),
    )
    listed: dict[str, AssetSummary] = {
        asset.id: asset
        for asset in (*by_text, *by_field)
        if choice.includes(asset.name, next(iter(subjects_of(asset)), ""))
    }
    rows: dict[str, list[RecordSummary]] = {
        schema: [r for r in found if choice.includes(r.name, r.subject_id)]
        for schema, found in zip(SCHEMAS, by_schema, strict=True)
    }
    linked = {i for found in rows.values() for row in found for i in row.record.codeocean_ids}
    wanted = sorted({*listed, *linked})
    assets = [one for one in gather_all(lambda i: _asset(i, listed), wanted) if one]
    failures: list[str] = []
    records = gather(*(lambda g=g: _records(g, rows[g], assets, failures) for g in SCHEMAS))
    found = {"data_assets": assets, **dict(zip(_RECORDS, records, strict=True))}
    cleaned = {name: [scrubber.entry(one) for one in entries] for name, entries in found.items()}
    return {**cleaned, "failures": failures}


def _asset(asset_id: str, listed: dict[str, AssetSummary]) -> Json | None:
    """Get a whole asset; of one that cannot be read, what a search returned."""
    known = listed.get(asset_id)
    try:
        return msgspec.json.decode(codeocean.get_asset(asset_id).raw, type=Json)
    except codeocean.CodeOceanNotFoundError:
        access = "gone"
    except codeocean.ClosedAssetError as error:
        access = _CLOSED.get(error.status or 0, "closed")
    if known is None:
        # Only a record links it: a search does not find it.
        return None if access == "gone" else {"id": asset_id, "_access": access}
    return {**msgspec.json.decode(known.raw), "_access": access}


def _records(
    schema: str, rows: Sequence[RecordSummary], assets: Sequence[Json], failures: list[str]
) -> list[Json]:
    """Get the full records: those of the rows, and those of the assets under any other name."""
    ids = {str(row.record.id) for row in rows if row.record.id}
    for chunk in _chunks(assets):
        names = [str(asset["name"]) for asset in chunk if asset.get("name")]
        places = [str(place) for asset in chunk if (place := _place(asset))]
        locations = [spelling for place in places for spelling in (place, f"{place}/")]
        either = [{"name": {"$in": names}}, {"location": {"$in": locations}}]
        ids.update(_ids(schema, {"$or": either}))
        links = {"$in": [asset["id"] for asset in chunk]}
        either = [{f"{key}.Code Ocean": links} for key in ("external_links", "other_identifiers")]
        try:
            ids.update(_ids(schema, {"$or": either}))
        except ServiceError as error:
            # These keys are not indexed: the database can take too long.
            failures.append(
                f"records ({schema}) that link assets under other names: {_short(error)}"
            )
    return [
        record
        for chunk in _chunks(sorted(ids))
        for record in docdb.find(schema, {"_id": {"$in": chunk}})
    ]


def _short(error: ServiceError) -> str:
    # Addresses and times in a message would make two recordings differ.
    return f"{type(error).__name__}{f' {error.status}' if error.status else ''}"


def _ids(schema: str, match: Json) -> list[str]:
    found = docdb.aggregate(schema, [{"$match": match}, {"$project": {"_id": 1}}])
    return [str(record["_id"]) for record in found if record.get("_id")]


def _chunks(things: Sequence[Any]) -> list[Sequence[Any]]:
    return [things[at : at + IDS_PER_QUERY] for at in range(0, len(things), IDS_PER_QUERY)]


def _place(asset: Json) -> folders.Folder | None:
    if "_access" in asset and not asset.get("name"):
        return None
    return folders.of_asset(summarise(msgspec.json.encode(asset)))


def places(found: Json) -> dict[tuple[str, str], bool]:
    """Return the folders of recorded assets and records, each with whether it is raw data."""
    known: dict[tuple[str, str], bool] = {}
    for asset in (one for one in found["data_assets"] if one.get("name")):
        place = _place(asset)
        if place is not None:
            summary = summarise(msgspec.json.encode(asset))
            known[place.bucket, place.prefix] = rules.is_raw(summary)
    for record in (one for name in _RECORDS for one in found[name]):
        location = str(record.get("location") or "")
        if location.startswith("s3://"):
            raw = split_asset_name(str(record.get("name") or "")).is_session_name
            known.setdefault(s3.split(location), raw)
    return {place: raw for place, raw in known.items() if all(place)}


def sessions_of(found: Json) -> dict[str, bool]:
    """Return the sessions of assets and records, each with whether its raw folder is known."""
    known: dict[str, bool] = {}
    for one in (one for name in ("data_assets", *_RECORDS) for one in found[name]):
        name = str(one.get("name") or "")
        session = session_in_name(name)
        if session is not None:
            placed = bool(one.get("source_bucket") or one.get("location"))
            raw = split_asset_name(name).is_session_name and placed
            known[session.id] = known.get(session.id, False) or raw
    return known


def computations(capsule: str, asset_ids: set[str], scrubber: Scrubber) -> Json:
    """Record the runs of a capsule or pipeline that have some of the assets as inputs."""
    try:
        listed = codeocean.list_computations(capsule)
    except (AccessDeniedError, *_UNREADABLE) as error:
        return {"failures": [f"computations of {capsule}: {_short(error)}"]}
    found = [msgspec.json.decode(raw) for raw in listed]
    mine = [one for one in found if _has_input(one, asset_ids)]
    return {
        "computations": [scrubber.entry({**one, "_capsule": capsule}) for one in mine],
        "capsules": {capsule: {}},
    }


def _has_input(computation: Json, asset_ids: set[str]) -> bool:
    attached = {str(one.get("id")) for one in computation.get("data_assets") or ()}
    values = {str(one.get("value")) for one in computation.get("parameters") or ()}
    return bool((attached | values) & asset_ids)


def sessions_of_project(project: str) -> Json:
    """Return the IDs of a project's sessions."""
    from aind_session.search import get_sessions

    return {"sessions": [session.id for session in get_sessions(project=project)]}


def bucket(name: str) -> Json:
    """Record who may list a bucket."""
    access = s3.access(name)
    if access is None:
        return {"buckets": {}}
    options = {"public": access == "public", **({"denied": True} if access == "denied" else {})}
    return {"buckets": {name: options}}


# Folders and files


def list_folder(bucket: str, path: str) -> list[Item]:
    """List a folder in S3: its folders, then its files."""
    listed = s3.list_folder(bucket, path)
    files = zip(listed.files, listed.sizes, strict=True)
    return [*((n, True, 0) for n in listed.folders), *((n, False, size) for n, size in files)]


@dataclass(frozen=True)
class _Source:
    """A folder of a bucket; or an internal data asset, whose files Code Ocean lists."""

    bucket: str
    prefix: str
    asset_id: str = ""

    def items(self, path: str) -> list[Item]:
        if not self.asset_id:
            return list_folder(self.bucket, f"{self.prefix}/{path}".strip("/"))
        try:
            found = codeocean.list_asset_files(self.asset_id, path)
        except codeocean.CodeOceanNotFoundError:
            return []
        return [(name, is_folder, size or 0) for name, is_folder, size in found]

    def read(self, path: str) -> bytes:
        if self.asset_id:
            return codeocean.read_asset_file(self.asset_id, path)
        return s3.read(self.bucket, f"{self.prefix}/{path}".strip("/"))


def folder(bucket: str, prefix: str, depth: int, scrubber: Scrubber) -> list[Json]:
    """Record a folder: its names to a depth, and the content of the files that lookups read.

    A folder on the last level is a key that ends in a slash.

    Raises
    ------
    StorageAccessError
        It may not be listed.
    """
    source = _Source(bucket, prefix)
    try:
        first = source.items("")
    except s3.StorageAccessError:
        if bucket != RESULTS_BUCKET:
            raise
        # Code Ocean shows the files to users who may not list them in S3.
        source = _Source(bucket, prefix, prefix.partition("/")[0])
        first = source.items("")

    def one(inside: str, number: int, item: Item) -> list[Json]:
        name, is_folder, size = item
        path = f"{inside}{name}"
        if is_folder and number < depth:
            return level(f"{path}/", source.items(path), number + 1)
        known = {} if is_folder else _content(source, path, size, scrubber)
        end = "/" if is_folder else ""
        return [{"bucket": bucket, "key": f"{prefix}/{path}{end}".lstrip("/"), **known}]

    def level(inside: str, items: Iterable[Item], number: int) -> list[Json]:
        return list(chain.from_iterable(gather_all(partial(one, inside, number), items)))

    return level("", first, 1)


def single(bucket: str, folder: str, name: str, size: int, scrubber: Scrubber) -> Json:
    """Record one file of a folder."""
    known = _content(_Source(bucket, folder), name, size, scrubber)
    return {"bucket": bucket, "key": f"{folder}/{name}", **known}


def _content(source: _Source, path: str, size: int, scrubber: Scrubber) -> Json:
    if size == 0:
        return {}
    if not is_read(path) or size > MAX_BYTES:
        return {"size": size}
    try:
        content = source.read(path)
    except (s3.StorageAccessError, s3.StorageNotFoundError, FileNotFoundError):
        # Listed, but not readable, or removed since.
        return {"size": size}
    # Bytes that are not text are kept as they are; the text between them is scrubbed.
    text = _scrubbed(scrubber, path, content.decode("utf-8", "surrogateescape"))
    if text is None:
        return {"size": size}
    for errors in ("strict", "surrogateescape", "replace"):
        # The last for half a character, which JSON can spell out and UTF-8 cannot.
        with contextlib.suppress(UnicodeEncodeError):
            encoded = text.encode("utf-8", errors)
            break
    return {"text": text} if errors == "strict" else {"base64": base64.b64encode(encoded).decode()}


def _scrubbed(scrubber: Scrubber, path: str, text: str) -> str | None:
    """Scrub a file's text; None if it is nested too deeply to be sure of all its content."""
    try:
        return scrubber.file(path, text)
    except RecursionError:
        return None


def is_read(path: str) -> bool:
    """Whether the content of a file belongs in a recording, by its path in its folder."""
    name = path.rpartition("/")[2]
    in_root = "/" not in path
    return name in READ or (in_root and (name == OUTPUT or name.endswith((".json", ".csv"))))


def results(computation_id: str, scrubber: Scrubber) -> dict[str, str | None]:
    """Record the result files of a computation: their names, and the texts that lookups read."""
    try:
        items = codeocean.list_result_files(computation_id)
    except _UNREADABLE:
        return {}

    def read(name: str, is_folder: bool, size: int | None) -> str | None:
        if is_folder or (size and (not is_read(name) or size > MAX_BYTES)):
            return None
        if not size:
            return ""
        try:
            content = codeocean.read_result_file(computation_id, name)
        except _UNREADABLE:
            return None
        return _scrubbed(scrubber, name, content.decode("utf-8", "replace"))

    texts = gather(*(partial(read, *item) for item in items))
    names = (f"{name}/" if is_folder else name for name, is_folder, _ in items)
    return dict(zip(names, texts, strict=True))
