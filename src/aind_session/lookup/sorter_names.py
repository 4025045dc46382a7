"""Which spike sorter made a result: as its files tell, the most trusted first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from aind_session.lookup import asset_files, trail
from aind_session.records.processing import Processing
from aind_session.records.shape import at, text
from aind_session.services.models import AssetSummary

PROCESSING = "processing.json"
PARAMS = "params.json"
#: Folders with one folder a probe, and the file there that SpikeInterface wrote of the sorting.
SPIKEINTERFACE = (("spikesorted", "si_folder.json"), ("postprocessed", "sorting.json"))
_IN_SPIKEINTERFACE = ("annotations", "__sorting_info__", "params", "sorter_name")
_IN_PARAMS = ("spikesorting", "sorter_name")
#: Probes whose file is looked at: the sorter is the same for all.
_PROBES = 4

_SHORT = {"ks": "kilosort", "sc": "spykingcircus", "ms": "mountainsort"}


def of_asset(asset: AssetSummary) -> str | None:
    """Give the sorter's name as its files write it.

    Returns
    -------
    str or None
        None where none of them does: the sorting did not finish for any probe.

    Raises
    ------
    ServiceError, CredentialsError
        The files could not be read.
    """
    root = asset_files.known_listing(asset)
    if root is None or PROCESSING in root.files:
        name = of_processing(_json(asset_files.read(asset, PROCESSING)))
        if name is not None:
            return name
    return next(_of_other_files(asset), None)


def _of_other_files(asset: AssetSummary) -> Iterator[str]:
    root = asset_files.known_listing(asset) and asset_files.listing(asset)
    for folder, file in SPIKEINTERFACE:
        if root is not None and folder not in root.folders:
            continue
        for path in islice(asset_files.find(asset, folder, file), _PROBES):
            name = text(at(_json(asset_files.read(asset, path)), *_IN_SPIKEINTERFACE))
            if name is not None:
                trail.tell("%s of %s names the sorter: %s", path, asset.id, name)
                yield name
        # Asked for only now: most results have the first folder, and the rest do not need it.
        root = asset_files.listing(asset)
    if root is not None and PARAMS in root.files:
        name = text(at(_json(asset_files.read(asset, PARAMS)), *_IN_PARAMS))
        if name is not None:
            yield name


def of_processing(core: Any) -> str | None:
    """Give the first sorter that the core file `processing` names, in any of its nestings.

    Examples
    --------
    >>> step = {"name": "Spike sorting", "parameters": {"sorter_name": "kilosort4"}}
    >>> of_processing({"processing_pipeline": {"data_processes": [[step]]}})
    'kilosort4'
    """
    names = (*Processing(core).sorter_names, *Processing(at(core, "processing")).sorter_names)
    return names[0] if names else None


def _json(content: bytes | None) -> Any:
    """Read a file's JSON; one that is broken says nothing."""
    try:
        # Python's own reader: it knows NaN and Infinity, which Python writes into parameters.
        return None if not content else json.loads(content)
    except (ValueError, RecursionError):
        return None


def normalise(name: str) -> str:
    """Write a sorter's name in one way, so that its spellings compare equal.

    Examples
    --------
    >>> {normalise(n) for n in ("kilosort2_5", "Kilosort2.5", "kilosort_2_5", "ks25")}
    {'kilosort25'}
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    short = re.fullmatch(r"([a-z]{2})(\d+)", plain)
    if short is not None and short[1] in _SHORT:
        return _SHORT[short[1]] + short[2]
    return plain


def as_attribute(name: str) -> str:
    """Write a sorter's name so that it can be an attribute.

    Examples
    --------
    >>> as_attribute("kilosort2.5"), as_attribute("kilosort2_5")
    ('kilosort2_5', 'kilosort2_5')
    """
    plain = re.sub(r"\W", "_", name.strip(), flags=re.ASCII)
    return plain if plain.isidentifier() else f"_{plain}"
