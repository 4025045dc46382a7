"""Shapes of invented DocDB records: the envelopes of both generations around core files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from aind_session.sandbox.invent_assets import Json, SessionName, invented_id
from aind_session.sandbox.invent_cores import (
    SCHEMA,
    Mouse,
    acquired,
    data_description,
    procedures,
    subject,
    utc,
)


def record(
    name: str,
    generation: str,
    *,
    location: str,
    created: float,
    asset_ids: Sequence[str] = (),
    links: Any = ...,
    record_id: str | None = None,
    **core: Any,
) -> Json:
    """Make a record: the envelope of a generation around core files.

    Parameters
    ----------
    name, location
        Of the asset it speaks of.
    generation
        "v1" or "v2".
    created
        When the record was written (epoch seconds).
    asset_ids
        Code Ocean assets that it links.
    links
        `external_links` or `other_identifiers` as given, where they are not the usual dict.
    record_id
        Its `_id`.
    **core
        Core files by name; those not given are null, and `quality_control` is left out of 1.x.

    Returns
    -------
    dict
        The record, keys in the order of the database.

    Examples
    --------
    >>> record("a_1_2024-01-01_10-00-00", "v1", location="s3://b/a", created=0)["external_links"]
    {'Code Ocean': []}
    """
    moment = utc(created)
    linked = {"Code Ocean": list(asset_ids)} if links is ... else links
    own = record_id or invented_id("record", generation, location)
    if generation == "v1":
        old: Json = {
            "_id": own,
            "created": f"{moment.isoformat()}.153541",
            "describedBy": f"{SCHEMA}/core/metadata.py",
            "external_links": linked,
            "last_modified": f"{(moment + timedelta(days=1)).isoformat()}.724Z",
            "location": location,
            "metadata_status": "Unknown",
            "name": name,
            "schema_version": "1.0.0",
        }
        for key in ("acquisition", "data_description", "instrument", "procedures"):
            old[key] = core.pop(key, None)
        for key in ("processing", "rig", "session", "subject"):
            old[key] = core.pop(key, None)
        old |= core
        return dict(sorted(old.items()))
    new: Json = {
        "_id": own,
        "_created": f"{moment.isoformat()}.410Z",
        "_last_modified": f"{(moment + timedelta(days=1)).isoformat()}.724Z",
        "object_type": "Metadata",
        "describedBy": f"{SCHEMA}/core/metadata.py",
        "schema_version": "2.6.1",
        "name": name,
        "location": location,
        "other_identifiers": linked,
    }
    for key in ("subject", "data_description", "procedures", "instrument", "processing"):
        new[key] = core.pop(key, None)
    for key in ("acquisition", "quality_control", "model"):
        new[key] = core.pop(key, None)
    return new | core


def session_record(
    name: str,
    generation: str,
    mouse: Mouse,
    modalities: Sequence[str],
    *,
    location: str,
    created: float,
    asset_ids: Sequence[str] = (),
    links: Any = ...,
    source: str | None = None,
    process: str | None = None,
    **core: Any,
) -> Json:
    """Make the full record of a raw asset, or of one derived from `source`.

    Parameters
    ----------
    name
        The asset's name.
    generation, location, created, asset_ids, links
        As for `record`.
    mouse, modalities
        Of the session.
    source, process
        Of a derived asset: the raw asset's name, and the process.
    **core
        Core files over the invented ones.

    Returns
    -------
    dict
        The record.
    """
    parts = SessionName.read(source or name)
    described = data_description(
        name,
        mouse,
        modalities,
        generation,
        start=parts.start,
        platform=parts.platform,
        level="derived" if source else "raw",
        source=source,
        process=process,
    )
    files: Json = {
        "subject": subject(mouse, generation),
        "data_description": described,
        "procedures": procedures(mouse, generation),
        **acquired(mouse, parts.start, modalities, generation),
    }
    return record(
        name,
        generation,
        location=location,
        created=created,
        asset_ids=asset_ids,
        links=links,
        **(files | core),
    )
