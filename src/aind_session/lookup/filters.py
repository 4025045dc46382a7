"""Filters of a search: what matches, and what to suggest where a value can match nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from aind_session.errors import InvalidFilterError
from aind_session.lookup.assets import Known
from aind_session.records.modalities import NAMES, OBSOLETE, modality_abbreviation

#: Platforms that names were seen to begin with, and those of the data schema.
PLATFORMS = (
    *("barseq", "behavior", "confocal", "diSPIM", "ecephys", "exaSPIM", "FIP", "HCR", "HSFP"),
    *("ISI", "MAPseq", "MRI", "merfish", "mesoSPIM", "motor-observatory", "multiplane-ophys"),
    *("single-plane-ophys", "slap2", "SLAP2", "SmartSPIM"),
)
# What the custom field `experiment type` was filled with before.
_OLDER = {"ephys": "ecephys"}


def same_platform(one: str | None, other: str) -> bool:
    """Tell whether two spellings name one platform: `exaspim` is `exaSPIM`."""
    return one is not None and _plain(one) == _plain(other)


def spellings(platform: str) -> list[str]:
    """Give the spellings under which a platform may be stored, the one as given included."""
    known = [name for name in (*PLATFORMS, *_OLDER) if same_platform(name, platform)]
    return sorted({platform, *known, *(name.lower() for name in known)})


def todays_platform(name: str) -> str:
    """Give today's word for a platform: `ephys` is `ecephys`."""
    return _OLDER.get(name, name)


def _plain(name: str) -> str:
    return todays_platform(name.strip().replace("_", "-").casefold())


def has_modality(known: Known, modality: str) -> bool:
    """Tell whether records, custom metadata or the platform of a session tell a modality."""
    wanted = modality_abbreviation(modality)
    if any(wanted in row.record.modalities for row in known.rows):
        return True
    told = {
        modality_abbreviation(str(asset.custom_metadata.get(key) or ""))
        for asset in known.assets
        for key in ("modality", "experiment type")
    }
    return wanted in told


def modality_filter(modality: str) -> dict[str, Any]:
    """Put a modality in Mongo's terms: each spelling, in each shape that records have."""
    wanted = modality_abbreviation(modality)
    spellings = {wanted, modality, *(old for old, new in OBSOLETE.items() if new == wanted)}
    alternatives = "|".join(re.escape(s) for s in sorted(spellings))
    whole = {"$regex": f"^(?:{alternatives})$", "$options": "i"}
    printed = {"$regex": f"abbreviation='(?:{alternatives})'", "$options": "i"}
    return {
        "$or": [
            {"data_description.modality.abbreviation": whole},
            {"data_description.modalities.abbreviation": whole},
            {"data_description.modality": whole},
            {"data_description.modality": printed},
        ]
    }


def check_platform(platform: str, found: Iterable[str | None]) -> None:
    """Raise where a platform is neither known nor found, with the nearest that is."""
    here = {name for name in found if name}
    known = {*PLATFORMS, *here}
    if not any(same_platform(name, platform) for name in known):
        raise _unknown("platform", platform, known)


def check_modality(modality: str) -> None:
    """Raise where a modality is not known, with the nearest that is."""
    known = {*NAMES, *OBSOLETE}
    if not any(same_platform(name, modality_abbreviation(modality)) for name in known):
        raise _unknown("modality", modality, known)


def check_project(project: str, known: set[str]) -> None:
    """Raise where no record has a project, with the nearest that one has."""
    if known and project not in known:
        raise _unknown("project", project, known)


def _unknown(what: str, value: str, known: Iterable[str]) -> InvalidFilterError:
    by_plain = {_plain(name): name for name in sorted(known)}
    near = difflib.get_close_matches(_plain(value), by_plain, n=3, cutoff=0.5)
    names = [by_plain[n] for n in near] or sorted(by_plain.values())[:12]
    listed = ", ".join(names)
    hint = f"did you mean {listed}?" if near else f"known ones are {listed}."
    return InvalidFilterError(f"No {what} is called {value!r}: {hint}")
