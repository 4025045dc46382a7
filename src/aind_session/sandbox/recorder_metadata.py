"""Assets, computations and records of a recording: which belong in it, and all of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from aind_session.errors import AccessDeniedError, ServiceError
from aind_session.identifiers import SessionID
from aind_session.lookup import belonging, folders, freshness, questions
from aind_session.lookup.questions import GENERATIONS
from aind_session.sandbox.catalogue import Json
from aind_session.sandbox.launches import KNOWN_CAPSULES
from aind_session.sandbox.scrub import Scrubber
from aind_session.services import codeocean, docdb, pool, storage
from aind_session.services.models import AssetSummary, summarise

_AT_ONCE = 40
_CLOSED = {401: "closed", 403: "forbidden"}


@dataclass(frozen=True)
class Choice:
    """What of a subject is to be recorded.

    Attributes
    ----------
    sessions
        Session IDs; None: everything of the subject.
    """

    subject_id: str
    sessions: frozenset[str] | None = None

    @property
    def name(self) -> str:
        """The name of this part of a recording."""
        some = "" if self.sessions is None else f": {' '.join(sorted(self.sessions))}"
        return f"subject {self.subject_id}{some}"

    def takes(self, name: str, subject_id: str) -> bool:
        """Whether an asset or record of a name, of a subject, belongs to it."""
        if subject_id != self.subject_id:
            return False
        found = belonging.session_of(name)
        if self.sessions is None:
            return True
        return found is not None and any(_same(found, other) for other in self.sessions)


def _same(session: SessionID, other_id: str) -> bool:
    """Whether two IDs are one session: a platform that is not told is no difference."""
    other = belonging.session_of(other_id)
    if other is None or (session.subject_id, session.dt) != (other.subject_id, other.dt):
        return False
    return session.platform == other.platform or None in (session.platform, other.platform)


def subject(choice: Choice, scrubber: Scrubber) -> Json:
    """Record the assets and the records of a subject, or of some of its sessions.

    Raises
    ------
    ServiceError, CredentialsError
        A service did not answer: a part without all of them would be told as whole.
    """
    subject_id = choice.subject_id
    freshness.forget_subject(subject_id)
    by_text, by_field, *by_generation = pool.gather(
        lambda: questions.assets_by_text(subject_id),
        lambda: questions.assets_by_field([subject_id]),
        *(lambda g=g: questions.rows_of_subjects(g, [subject_id]) for g in GENERATIONS),
    )
    searched: dict[str, AssetSummary] = {
        asset.id: asset
        for asset in (*by_text, *by_field)
        if choice.takes(asset.name, belonging.subject_of_asset(asset))
    }
    rows: dict[str, list[questions.Row]] = {
        generation: [r for r in found if choice.takes(r.name, r.subject_id)]
        for generation, found in zip(GENERATIONS, by_generation, strict=True)
    }
    linked = {i for found in rows.values() for row in found for i in row.record.codeocean_ids}
    wanted = sorted({*searched, *linked})
    assets = [one for one in pool.gather_all(lambda i: _asset(i, searched), wanted) if one]
    gaps: list[str] = []
    records = pool.gather(*(lambda g=g: _records(g, rows[g], assets, gaps) for g in GENERATIONS))
    return {
        "data_assets": [scrubber.entry(asset) for asset in assets],
        **{
            f"docdb_{g}": [scrubber.entry(one) for one in some]
            for g, some in zip(GENERATIONS, records, strict=True)
        },
        "gaps": gaps,
    }


def _asset(asset_id: str, searched: dict[str, AssetSummary]) -> Json | None:
    """Get an asset whole; one that cannot be had as far as it is told."""
    known = searched.get(asset_id)
    try:
        whole: Json = msgspec.json.decode(codeocean.get_asset(asset_id).raw)
        return whole
    except codeocean.CodeOceanNotFoundError:
        access = "gone"
    except codeocean.ClosedAssetError as error:
        access = _CLOSED.get(error.status or 0, "closed")
    if known is None:
        # Only a record links it: nothing to be found by a search.
        return None if access == "gone" else {"id": asset_id, "_access": access}
    return {**msgspec.json.decode(known.raw), "_access": access}


def _records(
    generation: str, rows: Sequence[questions.Row], assets: Sequence[Json], gaps: list[str]
) -> list[Json]:
    """Get the full records: of the rows, and those of the assets under any other name."""
    ids = {str(row.record.id) for row in rows if row.record.id}
    for chunk in _chunks(assets):
        names = [str(asset["name"]) for asset in chunk if asset.get("name")]
        places = [str(place) for asset in chunk if (place := _place(asset))]
        locations = [spelling for place in places for spelling in (place, f"{place}/")]
        either = [{"name": {"$in": names}}, {"location": {"$in": locations}}]
        ids.update(_ids(generation, {"$or": either}))
        links = {"$in": [asset["id"] for asset in chunk]}
        either = [{f"{key}.Code Ocean": links} for key in ("external_links", "other_identifiers")]
        try:
            ids.update(_ids(generation, {"$or": either}))
        except ServiceError as error:
            # No index helps with these keys: the database can take too long.
            gaps.append(
                f"records ({generation}) that link assets under other names: {_short(error)}"
            )
    return [record for chunk in _chunks(sorted(ids)) for record in _full(generation, chunk)]


def _short(error: ServiceError) -> str:
    # Addresses and times in a message would make two recordings differ.
    return f"{type(error).__name__}{f' {error.status}' if error.status else ''}"


def _ids(generation: str, match: Json) -> list[str]:
    found = docdb.aggregate(generation, [{"$match": match}, {"$project": {"_id": 1}}])
    return [str(record["_id"]) for record in found if record.get("_id")]


def _full(generation: str, ids: Sequence[str]) -> list[Json]:
    return docdb.find(generation, {"_id": {"$in": list(ids)}})


def _chunks(things: Iterable[Any]) -> Iterable[list[Any]]:
    rest = iter(things)
    return iter(lambda: list(itertools.islice(rest, _AT_ONCE)), [])


def _place(asset: Json) -> folders.Folder | None:
    if "_access" in asset and not asset.get("name"):
        return None
    return folders.of_asset(summarise(msgspec.json.encode(asset)))


def places(found: Json) -> dict[tuple[str, str], bool]:
    """Give the folders of recorded assets and records, and of each whether it is raw data."""
    known: dict[tuple[str, str], bool] = {}
    for asset in found["data_assets"]:
        if not asset.get("name"):
            continue
        summary = summarise(msgspec.json.encode(asset))
        place = folders.of_asset(summary)
        if place is not None:
            known[place.bucket, place.prefix] = belonging.is_raw(summary)
    for generation in GENERATIONS:
        for record in found[f"docdb_{generation}"]:
            location = str(record.get("location") or "")
            if location.startswith("s3://"):
                raw = belonging.named(str(record.get("name") or "")).is_session_name
                known.setdefault(storage.split(location), raw)
    return {place: raw for place, raw in known.items() if all(place)}


def sessions_of(found: Json) -> dict[str, bool]:
    """Name the sessions of recorded assets and records; whether a folder of raw data is known."""
    known: dict[str, bool] = {}
    lists = ("data_assets", *(f"docdb_{generation}" for generation in GENERATIONS))
    for one in (one for name in lists for one in found[name]):
        name = str(one.get("name") or "")
        session = belonging.session_of(name)
        if session is not None:
            placed = bool(one.get("source_bucket") or one.get("location"))
            raw = belonging.named(name).is_session_name and placed
            known[session.id] = known.get(session.id, False) or raw
    return known


def computations(capsule: str, asset_ids: set[str], scrubber: Scrubber) -> Json:
    """Record the runs of a capsule or pipeline that some assets had a part in."""
    try:
        listed = codeocean.list_computations(capsule)
    except (
        codeocean.CodeOceanNotFoundError,
        AccessDeniedError,
        codeocean.ClosedAssetError,
    ) as error:
        return {"gaps": [f"computations of {capsule}: {_short(error)}"]}
    found = [msgspec.json.decode(raw) for raw in listed]
    mine = [one for one in found if _concerns(one, asset_ids)]
    return {
        "computations": [scrubber.entry({**one, "_capsule": capsule}) for one in mine],
        "capsules": {capsule: {}},
    }


def _concerns(computation: Json, asset_ids: set[str]) -> bool:
    attached = {str(one.get("id")) for one in computation.get("data_assets") or ()}
    values = {str(one.get("value")) for one in computation.get("parameters") or ()}
    return bool((attached | values) & asset_ids)


def sessions_of_project(project: str) -> Json:
    """Name the sessions of a project."""
    from aind_session.search import get_sessions

    return {"sessions": [session.id for session in get_sessions(project=project)]}


def bucket(name: str) -> Json:
    """Record who may list a bucket."""
    access = storage.access(name)
    if access is None:
        return {"buckets": {}}
    options = {"public": access == "public", **({"denied": True} if access == "denied" else {})}
    return {"buckets": {name: options}}


CAPSULES: tuple[str, ...] = tuple(KNOWN_CAPSULES)
