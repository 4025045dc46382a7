"""Odd shapes that assets and links have been seen in; each changes an ordinary asset in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aind_session.sandbox.catalogue import Json


def _drop(*keys: str) -> Callable[[Json], None]:
    def change(asset: Json) -> None:
        for key in keys:
            asset.pop(key, None)

    return change


def _put(key: str, value: Any) -> Callable[[Json], None]:
    def change(asset: Json) -> None:
        asset[key] = value

    return change


def _float_created(asset: Json) -> None:
    asset["created"] = asset["created"] + 0.25


#: Changes that leave an asset's name, tags, custom metadata and place as they are.
ODD_ASSETS: dict[str, Callable[[Json], None]] = {
    "no owner": _drop("owner"),
    "no mount": _drop("mount"),
    "no size, files, last_used": _drop("size", "files", "last_used"),
    "no description": _drop("description"),
    "null description": _put("description", None),
    "renamed mount": _put("mount", "data"),
    "float created": _float_created,
    "unknown type": _put("type", "hologram"),
    "unknown state": _put("state", "thawing"),
    "unknown field": _put("something_new", {"nested": [1, 2, 3]}),
    "null provenance": _put("provenance", None),
}

#: Values of `source_bucket` that have been seen and contain no location.
EMPTY_BUCKETS: dict[str, Any] = {
    "source_bucket {}": {},
    "source_bucket null": None,
    "source_bucket blank": {"bucket": "", "external": False, "origin": "local", "prefix": ""},
}


def old_links(ids: Sequence[str], shape: str) -> Any:
    """Return the `external_links` of a 1.x record; only "dict" and "list" contain the IDs."""
    return {
        "dict": {"Code Ocean": list(ids)},
        "list": [{"Code Ocean": asset_id} for asset_id in ids],
        "empty list": [],
        "empty dict": {},
        "null": None,
        "text": "see Code Ocean",
        "no id": {"Code Ocean": [None, ""]},
    }[shape]


def new_links(ids: Sequence[str], shape: str) -> Any:
    """Return the `other_identifiers` of a 2.x record, without links that were a list."""
    return {"dict": {"Code Ocean": list(ids)}, "null": None}.get(shape, {})
