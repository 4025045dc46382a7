"""Abbreviations of modalities: current ones, and earlier spellings in records and folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aind_session.records.shape import items, text

#: Full names, by current abbreviation.
NAMES: dict[str, str] = {
    "BARseq": "Barcoded anatomy resolved by sequencing",
    "behavior": "Behavior",
    "behavior-videos": "Behavior videos",
    "brightfield": "Brightfield microscopy",
    "confocal": "Confocal microscopy",
    "ecephys": "Extracellular electrophysiology",
    "EMG": "Electromyography",
    "fib": "Fiber photometry",
    "fMOST": "Fluorescence micro-optical sectioning tomography",
    "icephys": "Intracellular electrophysiology",
    "ISI": "Intrinsic signal imaging",
    "MAPseq": "Multiplexed analysis of projections by sequencing",
    "merfish": "Multiplexed error-robust fluorescence in situ hybridization",
    "MRI": "Magnetic resonance imaging",
    "pophys": "Planar optical physiology",
    "scRNAseq": "Single cell RNA sequencing",
    "slap2": "Random access projection microscopy",
    "SPIM": "Selective plane illumination microscopy",
    "STPT": "Serial two-photon tomography",
}

#: Obsolete spellings in lower case, with the current abbreviation.
OBSOLETE: dict[str, str] = {
    "dispim": "SPIM",
    "exaspim": "SPIM",
    "fip": "fib",
    "mesospim": "SPIM",
    "multiplane-ophys": "pophys",
    "ophys": "pophys",
    "single-plane-ophys": "pophys",
    "slap": "slap2",
    "smartspim": "SPIM",
    "trained-behavior": "behavior",
}

_KNOWN = {
    **{name.casefold(): abbreviation for abbreviation, name in NAMES.items()},
    **{abbreviation.casefold(): abbreviation for abbreviation in NAMES},
    **OBSOLETE,
}
# Some 1.x records contain the `repr` of a Python object.
_PRINTED = re.compile(r"\babbreviation\s*=\s*(['\"])(.+?)\1")


def modality_abbreviation(name: str) -> str:
    """Return the current abbreviation of a modality."""
    known = name.strip().casefold()
    return _KNOWN.get(known) or _KNOWN.get(known.replace("_", "-")) or name.strip()


def written_modalities(value: Any) -> tuple[str, ...]:
    """Return modalities as written: abbreviations, or names if the abbreviation is missing.

    `value` is one modality or a list: mappings, abbreviations, or printed Python objects.
    """
    found = []
    for item in items(value):
        if isinstance(item, Mapping):
            name = text(item.get("abbreviation")) or text(item.get("name"))
        else:
            name = text(item)
            printed = _PRINTED.search(name or "")
            name = printed.group(2) if printed else name
        if name is not None:
            found.append(name)
    return tuple(found)


def current_modalities(value: Any) -> tuple[str, ...]:
    """Return the current abbreviations of what is written, sorted, without duplicates."""
    return tuple(sorted(set(map(modality_abbreviation, written_modalities(value)))))
