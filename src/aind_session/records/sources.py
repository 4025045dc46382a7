"""The inputs of a data asset, and the session of a `data_description`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aind_session.identifiers import SessionID, find_session_id, split_asset_name
from aind_session.records.processing import Processing
from aind_session.records.record import Record
from aind_session.records.shape import all_named, at, items, text, unique

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: A data asset mounted in a capsule or in a task of a pipeline: `../data/NAME`, `/data/NAME`.
_MOUNT = re.compile(r"(?:\.\.|/root/capsule|/tmp/nxf[^/]*/capsule)?/data/+([^/]+)")


def input_names(record: Record | Mapping[str, Any]) -> tuple[str, ...]:
    """Return the inputs of a data asset, from all fields of its record that can contain them.

    Parameters
    ----------
    record
        The metadata record of a data asset, of either schema version.

    Returns
    -------
    tuple of str
        Names of data assets, locations (`s3://bucket/prefix`) or Code Ocean IDs: one for each
        input, without duplicates. First those of `input_data_name`, then those of `source_data`
        and of each processing step. Paths on a file share and of temporary files are left out,
        because they are not data assets.

    Examples
    --------
    >>> raw = "SmartSPIM_700101_2024-01-11_12-00-00"
    >>> code = {"input_data": [{"url": f"s3://aind-open-data/{raw}/SPIM", "name": raw}]}
    >>> input_names({"processing": {"data_processes": [{"code": code}]}})
    ('SmartSPIM_700101_2024-01-11_12-00-00',)
    """
    raw = record.raw if isinstance(record, Record) else record
    description = at(raw, "data_description")
    found = [_asset_in(name, name) for name in _described(description)]
    for step in Processing(at(raw, "processing")).steps:
        found += [_asset_in(place, "") for place in items(at(step.raw, "input_location"))]
        found += _inputs_of_code(at(step.raw, "code", "input_data"))
    own = text(at(raw, "name")) or text(at(description, "name"))
    return unique(tuple(name for name in found if name and name != own))


def session_of_description(description: object) -> SessionID | None:
    """Return the session in the content of a `data_description.json`.

    Parameters
    ----------
    description
        The decoded JSON, of either schema version.

    Returns
    -------
    SessionID or None
        The session in `name`, else in `input_data_name` (1.x), else in `source_data` (2.x). None
        if none of them contains one, or the inputs belong to several sessions.

    Examples
    --------
    >>> session_of_description({"name": "sorted", "source_data": ["366122_2023-12-13_13-43-40"]}).id
    '366122_2023-12-13_13-43-40'
    """
    for key in ("name", "input_data_name", "source_data"):
        named = map(find_session_id, all_named(at(description, key)))
        sessions = {session for session in named if session is not None}
        if sessions:
            return sessions.pop() if len(sessions) == 1 else None
    return None


def _described(description: Any) -> tuple[str, ...]:
    keys = ("input_data_name", "source_data")
    return tuple(name for key in keys for name in all_named(at(description, key)))


def _inputs_of_code(value: Any) -> Iterator[str]:
    """Yield the inputs of one step of 2.x: assets, strings, or nested lists of them."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (list, tuple)):
            waiting.extend(reversed(item))
        elif isinstance(item, Mapping):
            # A combined asset lists its parts; its own name may be any text.
            if items(item.get("assets")):
                waiting.append(item["assets"])
            else:
                yield _asset_in(item.get("url"), text(item.get("name")) or "")
        else:
            yield _asset_in(item, "")


def _asset_in(place: Any, name: str) -> str:
    """Return the asset's name or ID in a location, else the name or location as written."""
    written = (text(place) or "").strip()
    scheme, separator, rest = written.partition("://")
    if separator:
        parts = rest.split("/")[1:]
    elif "/" in written or "\\" in written:
        mount = _MOUNT.match(written)
        parts = [mount.group(1)] if mount else []
    else:
        parts = [written]
    for part in parts:
        if split_asset_name(part).session is not None or _UUID.fullmatch(part):
            return part
    if name and (split_asset_name(name).session is not None or not separator):
        return name if "/" not in name and "\\" not in name else ""
    return written.rstrip("/") if scheme == "s3" else name
