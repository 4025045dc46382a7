"""What Code Ocean says is attached to this computation, and where an asset's files are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from aind_session import settings
from aind_session.errors import CredentialsError, InvalidIdentifierError, ServiceError
from aind_session.lookup import folders, metadata, trail
from aind_session.lookup.folders import Folder
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import CODE_OCEAN
from aind_session.records import Record
from aind_session.records.shape import at, mappings
from aind_session.services import codeocean, pool, storage
from aind_session.services.models import AssetSummary

COMPUTATION_NAME = "CO_COMPUTATION_ID"


class Listed(NamedTuple):
    """An attached asset, as Code Ocean lists it.

    Attributes
    ----------
    mount
        Its folder below the root of all mounts.
    asset
        The asset, where it could be had.
    """

    id: str
    mount: str
    asset: AssetSummary | None

    @property
    def contained(self) -> dict[str, str]:
        """IDs of the assets that it combines, by their folders in it."""
        raw: Any = msgspec.json.decode(self.asset.raw) if self.asset is not None else {}
        parts = _with_ids(at(raw, "contained_data_assets"))
        return {str(part.get("mount")): part["id"] for part in parts}


def of_computation() -> list[Listed]:
    """List what this computation has attached; nothing, where Code Ocean cannot be asked."""
    computation = os.environ.get(COMPUTATION_NAME, "").strip()
    if not computation or not settings.current().has_token:
        return []
    gaps = Gaps("IDs of attached data assets, and names of renamed mounts")
    (outcome,) = pool.outcomes(lambda: _attached_to(computation))
    if isinstance(outcome.error, InvalidIdentifierError):
        trail.tell("%s names no computation: %s", COMPUTATION_NAME, outcome.error)
        return []
    told = gaps.fill(CODE_OCEAN, outcome, ())
    outcomes = pool.outcomes(*(partial(get, asset_id) for asset_id, _ in told))
    found = []
    for (asset_id, mount), outcome in zip(told, outcomes, strict=True):
        asset: AssetSummary | None = outcome.value
        if outcome.error is not None:
            trail.tell("Data asset %s, attached here, cannot be had: %s", asset_id, outcome.error)
        folder = mount or (asset.name if asset is not None else "")
        found.append(Listed(asset_id, folder.strip("/"), asset))
    gaps.warn()
    return found


def _attached_to(computation: str) -> tuple[tuple[str, str], ...]:
    def call() -> tuple[tuple[str, str], ...]:
        told = msgspec.json.decode(codeocean.get_computation(computation))
        some = _with_ids(at(told, "data_assets"))
        return tuple((one["id"], str(one.get("mount") or "")) for one in some)

    return trail.ask(
        CODE_OCEAN,
        f"data assets attached to computation {computation}",
        ("attached to", computation),
        call,
        lambda found: f"{len(found)} data assets",
    )


def _with_ids(listed: Any) -> list[Mapping[str, Any]]:
    """Give what can be asked for of a list in an answer, whatever else is in it."""
    return [one for one in mappings(listed) if isinstance(one.get("id"), str) and one["id"]]


def get(asset_id: str) -> AssetSummary:
    """Give a data asset by its ID.

    Raises
    ------
    CodeOceanNotFoundError
        There is none (a `ValueError`).
    """
    return trail.ask(
        CODE_OCEAN,
        f"data asset {asset_id}",
        ("asset by ID", asset_id),
        lambda: (codeocean.get_asset(asset_id),),
        lambda found: found[0].name,
    )[0]


def place(asset_id: str, name: str) -> tuple[str, Folder | None]:
    """Give an asset's name, and its folder in S3 where that is known.

    Raises
    ------
    CodeOceanNotFoundError
        There is no asset of this ID (a `ValueError`).
    ServiceError, CredentialsError
        Code Ocean could not be asked, and DocDB has no record.
    """
    if not asset_id:
        return name, _recorded(name)[1]
    try:
        found = get(asset_id)
    except codeocean.CodeOceanNotFoundError:
        raise
    except (ServiceError, CredentialsError):
        # DocDB needs no token, and knows where most assets are.
        told, folder = _recorded(asset_id)
        if folder is None:
            raise
        return name or told, folder
    return found.name, folders.of_asset(found)


def _recorded(what: str) -> tuple[str, Folder | None]:
    """Give name and location of an asset's record, by its name or ID."""
    for raw in metadata.record_of(what).values():
        record = Record(msgspec.json.decode(raw))
        if record.location and record.location.startswith("s3://"):
            return record.name or "", Folder(*storage.split(record.location), "DocDB")
    return "", None
