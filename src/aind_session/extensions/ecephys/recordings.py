"""The folders of an Open Ephys recording: `ecephys_clipped` and `ecephys_compressed`."""

from __future__ import annotations

from collections.abc import Callable

from aind_session.errors import MissingAttributeError, MissingFileError
from aind_session.identifiers import SessionID
from aind_session.lookup import folders, results
from aind_session.lookup.folders import Folder
from aind_session.services.files import listing
from aind_session.services.models import AssetSummary
from aind_session.services.s3 import Listing
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

CLIPPED, COMPRESSED = "ecephys_clipped", "ecephys_compressed"
#: Newer assets have both in the modality's folder, older ones in the root.
MODALITY = "ecephys"


def paths(list_folder: Callable[[str], Listing]) -> dict[str, str]:
    """Return the path of each of the two folders that exists; the newer place wins."""
    root = list_folder("")
    found = {name: name for name in (CLIPPED, COMPRESSED) if name in root.folders}
    if MODALITY in root.folders:
        inside = list_folder(MODALITY).folders
        for name in (CLIPPED, COMPRESSED):
            if name in inside:
                if name in found:
                    note("%s is in two places: the one in %s/ is used", name, MODALITY)
                found[name] = f"{MODALITY}/{name}"
    return found


def of_session(session: SessionID, name: str, attribute: str) -> Folder:
    """Return one of the two folders of a session.

    Raises
    ------
    MissingAttributeError
        It, or the folder of raw data, does not exist (an `AttributeError`).
    """
    with tracing(session.id, name):
        raw = folders.raw(session)
        found = paths(lambda path: listing(raw.bucket, f"{raw.prefix}/{path}"))
        if name not in found:
            raise MissingAttributeError(
                f"{session.id} has no folder {name} in {raw}, nor in its {MODALITY}/.",
                name=attribute,
                trail=trace_lines(),
            )
        return Folder(raw.bucket, f"{raw.prefix}/{found[name]}", "S3")


def of_asset(asset: AssetSummary) -> tuple[Folder, Folder]:
    """Return both folders of a raw data asset.

    Raises
    ------
    MissingFileError
        One of them does not exist (a `FileNotFoundError`).
    """
    with tracing(asset.id, "recording folders"):
        found = paths(lambda path: results.listing(asset, path))
        place = folders.of_asset(asset)
        missing = [name for name in (CLIPPED, COMPRESSED) if name not in found]
        if missing or place is None:
            raise MissingFileError(
                f"Data asset {asset.id} ({asset.name}) has no folder "
                f"{' and no folder '.join(missing) or 'in S3'}"
                f"{f' in {place}, nor in its {MODALITY}/' if place else ''}.",
                trail=trace_lines(),
            )
        clipped, compressed = (
            Folder(place.bucket, f"{place.prefix}/{found[name]}", "S3")
            for name in (CLIPPED, COMPRESSED)
        )
        return clipped, compressed
