"""Data assets and computations by their ID, or by the model that somebody has of them already."""

from __future__ import annotations

import uuid
from typing import TypeAlias

from aind_session.errors import InvalidIdentifierError
from aind_session.lookup import outputs, trail
from aind_session.lookup.questions import CODE_OCEAN
from aind_session.services import codeocean
from aind_session.services.models import (
    AssetSummary,
    Computation,
    DataAsset,
    decode_asset,
    decode_computation,
)

Model: TypeAlias = "DataAsset | Computation"


def normalised(id_or_model: object) -> str:
    """Give an ID as the service writes it, with hyphens.

    Raises
    ------
    InvalidIdentifierError
        It is no UUID (a `ValueError`).

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
            f"{shown:.200} is no ID of a data asset or computation, which would look like "
            "16d46411-540a-4122-b47f-8cb2a15d593a. A data asset's name? Ask for it with "
            "`get_data_assets`."
        ) from None


def as_written(id_or_model: object) -> str:
    """Give an ID to ask with: normalised, or as it is where the service may know better."""
    try:
        return normalised(id_or_model)
    except InvalidIdentifierError:
        if isinstance(id_or_model, str) and id_or_model.strip():
            return id_or_model.strip()
        return _own_id(id_or_model)


def _own_id(model: object) -> str:
    own = getattr(model, "id", None)
    if isinstance(own, str) and own:
        return own
    return normalised(model)


def asset(asset_id: str) -> AssetSummary:
    """Give a data asset; one that is not ready is asked for each time.

    Raises
    ------
    CodeOceanNotFoundError
        There is none of this ID (a `ValueError`).
    """
    known = trail.peek(CODE_OCEAN, ("asset", asset_id))
    if known is not None and isinstance(known[0], AssetSummary) and is_ready(known[0]):
        return known[0]
    found = trail.ask(
        CODE_OCEAN,
        f"data asset {asset_id}",
        ("asset as it is", asset_id),
        lambda: codeocean.get_asset(asset_id),
        lambda answer: answer.name,
        seconds=0.0,
    )
    if is_ready(found):
        trail.learn(CODE_OCEAN, ("asset", asset_id), (found,))
    return found


def is_ready(asset: AssetSummary) -> bool:
    """Tell whether a data asset's files can be read."""
    return asset.state.lower() == "ready"


def computation(computation_id: str) -> Computation:
    """Give a computation; one that has not ended is asked for each time.

    Raises
    ------
    CodeOceanNotFoundError
        There is none of this ID (a `ValueError`).
    """
    key = ("computation", computation_id)
    raw: bytes | None = trail.peek(CODE_OCEAN, key)
    if raw is not None:
        return decode_computation(raw)
    raw = trail.ask(
        CODE_OCEAN,
        f"computation {computation_id}",
        ("computation as it is", computation_id),
        lambda: codeocean.get_computation(computation_id),
        lambda answer: f"{len(answer)} bytes",
        seconds=0.0,
    )
    found = decode_computation(raw)
    if outputs.is_finished(found):
        trail.learn(CODE_OCEAN, key, raw)
    return found


def model(id_or_model: object, is_computation: bool | None = None) -> Model:
    """Give the data asset or computation of an ID; a model is given back as it is.

    Parameters
    ----------
    id_or_model
        The ID, or the model.
    is_computation
        Which of them it is; None: a data asset, or a computation where there is no such asset.

    Raises
    ------
    CodeOceanNotFoundError
        There is neither (a `ValueError`).
    """
    if isinstance(id_or_model, DataAsset | Computation):
        return id_or_model
    name = as_written(id_or_model)
    if is_computation:
        return computation(name)
    try:
        return decode_asset(asset(name).raw)
    except codeocean.CodeOceanNotFoundError:
        if is_computation is not None:
            raise
        return computation(name)


def summary_of(id_or_model: object) -> AssetSummary:
    """Give what lookups need of a data asset, by its model or its ID.

    Raises
    ------
    CodeOceanNotFoundError
        There is no asset of this ID (a `ValueError`).
    """
    if not isinstance(id_or_model, DataAsset):
        return asset(as_written(id_or_model))
    source = id_or_model.source_bucket
    return AssetSummary(
        id=id_or_model.id,
        name=id_or_model.name,
        created=int(id_or_model.created or 0),
        tags=tuple(id_or_model.tags or ()),
        custom_metadata=id_or_model.custom_metadata or {},
        bucket=(source.bucket if source is not None else None) or "",
        prefix=((source.prefix if source is not None else None) or "").strip("/"),
        external=bool(source is not None and source.external),
        state=str(id_or_model.state),
        type=str(id_or_model.type),
        archived=False,
        raw=b"",
    )
