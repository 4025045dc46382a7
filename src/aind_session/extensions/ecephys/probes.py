"""Names of sorted streams: the probe, its serial number, its group of shanks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from aind_session.lookup import results
from aind_session.services.models import AssetSummary

#: Folders with one folder for each finished probe, the newer name first.
CURATED, PRECURATED = "curated", "sorting_precurated"
#: Results made since (epoch seconds, January 2024) have the newer name, earlier ones mostly not.
_NEWER = 1_704_067_200

_STREAM = re.compile(
    r"""(?:experiment(?P<experiment>\d+)_)?
    (?:(?P<node>[^#]*)\#)?                      # Record Node 102#
    (?:(?P<device>[^.]*)\.)?                    # Neuropix-PXI-100.
    (?P<probe>[^.#]+?)                          # ProbeA, 50213-1
    (?:-(?P<band>AP|LFP))?                      # Neuropixels 1 only
    (?:_recording(?P<recording>\d+))?
    (?:_group(?P<group>\d+))?
    (?:\.zarr)?""",
    re.VERBOSE,
)
_SERIAL = re.compile(r"\d+(?:-\d+)?")


class SortedProbe(NamedTuple):
    """One finished stream of a sorting: a probe, or a group of its shanks.

    Attributes
    ----------
    name : str
        The probe: `ProbeA`, or its serial number if the recording names it so.
    serial : str or None
        Serial number and port (`50213-1`), of a probe that is named so.
    group : int or None
        Number of the group of shanks, of a probe whose shanks were sorted apart.
    recording : int or None
        Number of the recording.
    stream : str
        Name of the folder: `experiment1_Record Node 102#Neuropix-PXI-100.ProbeA-AP_recording1`.
    """

    name: str
    serial: str | None
    group: int | None
    recording: int | None
    stream: str


def parse(stream: str) -> SortedProbe | None:
    """Read the name of a sorted stream.

    Examples
    --------
    >>> parse("experiment1_Record Node 104#Neuropix-PXI-100.ProbeF-AP_recording1").name
    'ProbeF'
    >>> parse("experiment1_Record Node 104#Neuropix-PXI-100.50213-1_recording1_group2")[:3]
    ('50213-1', '50213-1', 2)
    >>> parse("experiment1_Record Node 104#NI-DAQmx-101.PXI-6133_recording1")
    """
    found = _STREAM.fullmatch(stream)
    if found is None or (found["device"] or "").startswith("NI-DAQ"):
        return None
    name = found["probe"]
    return SortedProbe(
        name,
        name if _SERIAL.fullmatch(name) else None,
        _number(found["group"]),
        _number(found["recording"]),
        stream,
    )


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def of_streams(streams: Iterable[str]) -> tuple[SortedProbe, ...]:
    """Read the names of sorted streams, sorted by probe, recording and group."""
    found = [probe for stream in streams if (probe := parse(stream)) is not None]
    return tuple(sorted(found, key=lambda p: (p.name, p.recording or 0, p.group or 0, p.stream)))


def of_asset(asset: AssetSummary) -> tuple[SortedProbe, ...]:
    """Return the streams whose sorting was finished; none if no such folder exists."""
    if results.cached_listing(asset) is None:
        # Most likely there: one request less than with a listing of the root.
        likely = CURATED if asset.created >= _NEWER else PRECURATED
        finished = results.listing(asset, likely)
        if finished.exists:
            return of_streams(finished.folders)
    root = results.listing(asset)
    for name in (CURATED, PRECURATED):
        if name in root.folders:
            return of_streams(results.listing(asset, name).folders)
    return ()


def names(found: Iterable[SortedProbe]) -> tuple[str, ...]:
    """Return the probes of some streams, each once, in their order."""
    return tuple(dict.fromkeys(probe.name for probe in found))
