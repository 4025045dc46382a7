"""Answers of the core file `data_description`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from aind_session.records.modalities import written_modalities
from aind_session.records.shape import all_named, at, either, known, text

DataLevel = Literal["raw", "derived", "simulated"]

_LEVELS: dict[str, DataLevel] = {
    "raw": "raw",
    "raw data": "raw",
    "derived": "derived",
    "derived data": "derived",
    "simulated": "simulated",
    "simulated data": "simulated",
}


def name(core: Any) -> str | None:
    """Read the asset's name, which may differ from the record's: trust that one."""
    return text(at(core, "name"))


def subject_id(core: Any) -> str | None:
    """Read the subject's ID."""
    return text(at(core, "subject_id"))


def project(core: Any) -> str | None:
    """Read the project's name."""
    return known(at(core, "project_name"))


def investigators(core: Any) -> tuple[str, ...]:
    """Read the investigators' names."""
    return all_named(at(core, "investigators"))


def modalities(core: Any) -> tuple[str, ...]:
    """Read the modalities as they are written."""
    return either(core, ("modality",), ("modalities",), written_modalities)


def platform(core: Any) -> str | None:
    """Read the platform's abbreviation, which 2.x does not have."""
    found = at(core, "platform")
    if isinstance(found, Mapping):
        found = text(found.get("abbreviation")) or text(found.get("name"))
    return text(found) or text(at(core, "experiment_type"))


def data_level(core: Any) -> DataLevel | None:
    """Read the level that the description tells; it may be the raw asset's copied description."""
    return _LEVELS.get((text(at(core, "data_level")) or "").strip().casefold().replace("_", " "))


def source_data(core: Any) -> tuple[str, ...]:
    """Read the names of the assets from which this one was made."""
    return either(core, ("input_data_name",), ("source_data",), all_named)


def tags(core: Any) -> tuple[str, ...]:
    """Read the tags, which 1.x does not have."""
    return all_named(at(core, "tags"))
