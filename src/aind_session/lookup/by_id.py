"""Data assets, computations and records by what users have of them: ID, name, location, model."""

from __future__ import annotations

import uuid
from typing import TypeAlias

from aind_session import settings
from aind_session.errors import InvalidIdentifierError
from aind_session.identifiers import is_uuid, session_in_name
from aind_session.lookup import computations, folders, metadata, rules
from aind_session.query import CODE_OCEAN, query
from aind_session.services import codeocean, s3
from aind_session.services.assets import (
    NAME_QUERY_LENGTH,
    Assets,
    assets_mentioning,
    assets_named,
    get_asset,
    linked_asset,
)
from aind_session.services.models import (
    AssetSummary,
    decode_asset,
    decode_computation,
)
from aind_session.services.sdk import Computation, DataAsset

Model: TypeAlias = "DataAsset | Computation"
#: The ID, name or location of a data asset, or its model.
AssetLike: TypeAlias = "DataAsset | str | uuid.UUID"


# -- what users give -------------------------------------------------------------------------------


def normalised(id_or_model: object) -> str:
    """Return an ID as the service writes it, with hyphens.

    Examples
    --------
    >>> normalised("16D46411540A4122B47F8CB2A15D593A")
    '16d46411-540a-4122-b47f-8cb2a15d593a'
    """
    written = getattr(id_or_model, "id", id_or_model)
    try:
        return str(uuid.UUID(str(written).strip()))
    except ValueError:
        shown = repr(written) if isinstance(written, str) else f"a {type(written).__name__}"
        raise InvalidIdentifierError(
            f"{shown:.200} is not the ID of a data asset or computation, which would look like "
            "16d46411-540a-4122-b47f-8cb2a15d593a. A data asset's name? Search for it with "
            "`get_data_assets`."
        ) from None


def as_written(id_or_model: object) -> str:
    """Return an ID, normalised, or the text as it is if only the service can check it."""
    try:
        return normalised(id_or_model)
    except InvalidIdentifierError:
        own = getattr(id_or_model, "id", id_or_model)
        if isinstance(own, str) and own.strip():
            return own.strip()
        raise


def asset_key(asset: object) -> str:
    """Return the ID of a data asset's model, or the ID, name or location itself, normalised.

    The one place that decides what a function accepts as a data asset.
    """
    own = getattr(asset, "id", None)
    is_model = isinstance(asset, DataAsset | AssetSummary) or (
        # The model of another version of the SDK.
        isinstance(own, str) and is_uuid(own) and hasattr(asset, "source_bucket")
    )
    if not (is_model or isinstance(asset, str | uuid.UUID)):
        raise TypeError(
            "a data asset is given by its ID, its name, its location (s3://bucket/prefix) or its "
            f"model (DataAsset), not by a {type(asset).__name__}"
        )
    return as_written(asset)


def asset_id(asset: object) -> str:
    """Return the ID of a data asset, in whatever way it is given; other texts as they are."""
    key = asset_key(asset)
    found = None if is_uuid(key) else rules.newest_usable(named(key))
    return key if found is None else found.id


def summary_of(asset: object) -> AssetSummary:
    """Return what lookups need of a data asset, given by its ID, name, location or model."""
    if isinstance(asset, AssetSummary):
        return asset
    key = asset_key(asset)
    if not isinstance(asset, DataAsset):
        return _by_key(key)
    source = asset.source_bucket
    return AssetSummary(
        id=asset.id,
        name=asset.name,
        created=int(asset.created or 0),
        tags=tuple(asset.tags or ()),
        custom_metadata=asset.custom_metadata or {},
        bucket=(source.bucket if source is not None else None) or "",
        prefix=((source.prefix if source is not None else None) or "").strip("/"),
        external=bool(source is not None and source.external),
        state=str(asset.state),
        type=str(asset.type),
        archived=False,
        raw=b"",
    )


def _by_key(key: str) -> AssetSummary:
    if is_uuid(key):
        return get_asset(key)
    found = rules.newest_usable(named(key))
    # A text that no asset is named: Code Ocean's answer to it as an ID is the error.
    return get_asset(key) if found is None else found


def named(name_or_location: str) -> Assets:
    """Return the data assets of an exact name or location, ascending by creation."""
    name, location = name_or_location, None
    if name.startswith("s3://"):
        bucket, prefix = s3.split(name)
        location = bucket, prefix.strip("/")
        name = location[1].rpartition("/")[2]
        if bucket == settings.RESULTS_BUCKET and is_uuid(location[1].partition("/")[0]):
            linked = linked_asset(location[1].partition("/")[0])
            return () if linked is None else (linked,)
    session = session_in_name(name)
    if not name:
        return ()
    if session is not None and f"{session.subject_id}_" not in name[:NAME_QUERY_LENGTH]:
        # The query's length cuts the subject off.
        found = assets_mentioning(session.subject_id)
    else:
        found = assets_named(name[:NAME_QUERY_LENGTH])
    own = {a.id: a for a in found if a.name == name and not a.archived}.values()
    at_location = [a for a in own if (folders.of_asset(a) or ("", ""))[:2] == location]
    chosen = own if location is None else at_location
    return tuple(sorted(chosen, key=lambda a: (a.created, a.id)))


# -- from the services -----------------------------------------------------------------------------


def computation(computation_id: str) -> Computation:
    """Return a computation by its ID; one that has not ended is requested each time."""
    return decode_computation(_computation(computation_id))


def _lifetime(raw: bytes) -> float | None:
    return None if computations.is_finished(decode_computation(raw)) else 0.0


@query(CODE_OCEAN, "computation {0}", lambda raw: f"{len(raw)} bytes", _lifetime)
def _computation(computation_id: str) -> bytes:
    return codeocean.get_computation(computation_id)


def model(asset_or_computation: object, is_computation: bool | None = None) -> Model:
    """Return the model of a data asset or computation; a model is returned as it is.

    Without `is_computation`, a computation is looked for if no data asset is found.
    """
    if isinstance(asset_or_computation, DataAsset | Computation):
        return asset_or_computation
    if is_computation:
        return computation(as_written(asset_or_computation))
    key = asset_key(asset_or_computation)
    try:
        return decode_asset(_by_key(key).raw)
    except codeocean.CodeOceanNotFoundError:
        if is_computation is not None:
            raise
        return computation(key)


def record_of(asset: object) -> dict[str, bytes]:
    """Return the records of a data asset, given in any way, or by the record's own ID."""
    key = asset_key(asset)
    name = None if isinstance(asset, str) else getattr(asset, "name", None)
    return (metadata.record_of(name) if name else {}) or metadata.record_of(key)
