"""The name of the spike sorter, as the files of a sorted data asset write it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from aind_session.errors import MissingSorterNameError
from aind_session.lookup import results
from aind_session.records.processing import Processing
from aind_session.records.shape import at, text
from aind_session.services.models import AssetSummary
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

PROCESSING, PARAMS = "processing.json", "params.json"
#: Folders with one folder per probe, and the file in it that SpikeInterface wrote of the sorting.
SPIKEINTERFACE = (("spikesorted", "si_folder.json"), ("postprocessed", "sorting.json"))
_IN_SPIKEINTERFACE = ("annotations", "__sorting_info__", "params", "sorter_name")
_IN_PARAMS = ("spikesorting", "sorter_name")
#: Probes whose file is read: the sorter is the same for all.
_MAX_PROBES_READ = 4
_SHORT = {"ks": "kilosort", "sc": "spykingcircus", "ms": "mountainsort"}


def read_sorter_name(asset: AssetSummary) -> str | None:
    """Return the sorter's name as the files write it, None if the sorting finished for no probe."""
    root = results.cached_listing(asset)
    if root is None or PROCESSING in root.files:
        name = sorter_of_processing(_json(results.read(asset, PROCESSING)))
        if name is not None:
            return name
    return next(_other_names(asset), None)


def _other_names(asset: AssetSummary) -> Iterator[str]:
    root = results.cached_listing(asset) and results.listing(asset)
    for folder, file in SPIKEINTERFACE:
        if root is not None and folder not in root.folders:
            continue
        for path in islice(results.find(asset, folder, file), _MAX_PROBES_READ):
            name = text(at(_json(results.read(asset, path)), *_IN_SPIKEINTERFACE))
            if name is not None:
                note("%s of %s names the sorter: %s", path, asset.id, name)
                yield name
        # Only now: most results have the first folder, and do not need this request.
        root = results.listing(asset)
    if root is not None and PARAMS in root.files:
        name = text(at(_json(results.read(asset, PARAMS)), *_IN_PARAMS))
        if name is not None:
            yield name


def require_sorter_name(asset: AssetSummary) -> str:
    """Return the name of the sorter."""
    with tracing(asset.id, "sorter name"):
        name = read_sorter_name(asset)
        if name is None:
            raise MissingSorterNameError(
                f"No file of data asset {asset.id} ({asset.name}) names the sorter: the sorting "
                "did not finish for any probe.",
                trail=trace_lines(),
            )
        return name


def sorter_of_processing(core: Any) -> str | None:
    """Return the first sorter that the core file `processing` names, in any of its nestings.

    Examples
    --------
    >>> step = {"name": "Spike sorting", "parameters": {"sorter_name": "kilosort4"}}
    >>> sorter_of_processing({"processing_pipeline": {"data_processes": [[step]]}})
    'kilosort4'
    """
    names = (*Processing(core).sorter_names, *Processing(at(core, "processing")).sorter_names)
    return names[0] if names else None


def _json(content: bytes | None) -> Any:
    """Read a file's JSON; a broken one counts as empty."""
    try:
        # Python's own reader accepts NaN and Infinity, which Python writes into parameters.
        return None if not content else json.loads(content)
    except (ValueError, RecursionError):
        return None


def normalised_sorter(name: str) -> str:
    """Write a sorter's name in one way, so that its spellings compare equal.

    Examples
    --------
    >>> {normalised_sorter(n) for n in ("kilosort2_5", "Kilosort2.5", "kilosort_2_5", "ks25")}
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
