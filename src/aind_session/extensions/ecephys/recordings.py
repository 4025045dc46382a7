"""The folders of an Open Ephys recording: `ecephys_clipped` and `ecephys_compressed`."""

from __future__ import annotations

from collections.abc import Callable

from aind_session.errors import MissingAttributeError, MissingFileError
from aind_session.identifiers import SessionID
from aind_session.lookup import facts, folders, questions, results, trail
from aind_session.lookup.folders import Folder
from aind_session.services.models import AssetSummary
from aind_session.services.storage import Listing

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
                    trail.tell("%s is in two places: the one in %s/ is used", name, MODALITY)
                found[name] = f"{MODALITY}/{name}"
    return found


def of_session(session: SessionID, name: str, attribute: str) -> Folder:
    """Return one of the two folders of a session.

    Raises
    ------
    MissingAttributeError
        It, or the folder of raw data, does not exist (an `AttributeError`).
    """
    with trail.following(session.id, name):
        raw = facts.raw_folder(session)
        found = paths(lambda path: questions.listing(raw.bucket, f"{raw.prefix}/{path}"))
        if name not in found:
            raise MissingAttributeError(
                f"{session.id} has no folder {name} in {raw}, nor in its {MODALITY}/.",
                name=attribute,
                trail=trail.lines(),
            )
        return Folder(raw.bucket, f"{raw.prefix}/{found[name]}", "S3")


def of_asset(asset: AssetSummary) -> tuple[Folder, Folder]:
    """Return both folders of a raw data asset.

    Raises
    ------
    MissingFileError
        One of them does not exist (a `FileNotFoundError`).
    """
    with trail.following(asset.id, "recording folders"):
        found = paths(lambda path: results.listing(asset, path))
        place = folders.of_asset(asset)
        missing = [name for name in (CLIPPED, COMPRESSED) if name not in found]
        if missing or place is None:
            raise MissingFileError(
                f"Data asset {asset.id} ({asset.name}) has no folder "
                f"{' and no folder '.join(missing) or 'in S3'}"
                f"{f' in {place}, nor in its {MODALITY}/' if place else ''}.",
                trail=trail.lines(),
            )
        clipped, compressed = (
            Folder(place.bucket, f"{place.prefix}/{found[name]}", "S3")
            for name in (CLIPPED, COMPRESSED)
        )
        return clipped, compressed
