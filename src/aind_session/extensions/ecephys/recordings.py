"""The folders of an Open Ephys recording: `ecephys_clipped` and `ecephys_compressed`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from aind_session.errors import MissingAttributeError, MissingFileError
from aind_session.identifiers import SessionID
from aind_session.lookup import folders, results
from aind_session.services import s3
from aind_session.services.files import listing
from aind_session.services.models import AssetSummary
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

if TYPE_CHECKING:
    from upath import UPath

CLIPPED, COMPRESSED = "ecephys_clipped", "ecephys_compressed"
#: Newer assets have both in the modality's folder, older ones in the root.
MODALITY = "ecephys"


def _find(
    place: object, folders_in: Callable[[str], Collection[str]], *wanted: str
) -> tuple[str, ...]:
    """Return the path of each wanted folder in a raw folder; the newer place wins."""
    root = folders_in("")
    inside = folders_in(MODALITY) if MODALITY in root else ()
    found = {name: name for name in root} | {name: f"{MODALITY}/{name}" for name in inside}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise MissingFileError(
            f"{place} has no folder {' and no folder '.join(missing)}, nor has its {MODALITY}/.",
            trail=trace_lines(),
        )
    if {*wanted} & {*root} & {*inside}:
        note("%s has folders of the recording in two places: %s/ is used", place, MODALITY)
    return tuple(found[name] for name in wanted)


def dir_of_session(session: SessionID, name: str, attribute: str) -> UPath:
    """Return one of the two folders of a session."""
    with tracing(session.id, name):
        raw = folders.raw(session)
        try:
            (path,) = _find(
                raw, lambda path: listing(raw.bucket, f"{raw.prefix}/{path}").folders, name
            )
        except MissingFileError as error:
            raise MissingAttributeError(
                f"{session.id}: {error}", name=attribute, trail=error.trail
            ) from None
        return s3.path(raw.bucket, f"{raw.prefix}/{path}")


def dirs_of_asset(asset: AssetSummary) -> tuple[UPath, UPath]:
    """Return both folders of a raw data asset; a `MissingFileError` if one does not exist."""
    with tracing(asset.id, "recording folders"):
        place = folders.of_asset(asset)
        about = f"Data asset {asset.id} ({asset.name}), in {place or 'no folder of S3'},"
        found = _find(about, lambda path: results.listing(asset, path).folders, CLIPPED, COMPRESSED)
        if place is None:
            raise MissingFileError(f"{about} has no path in S3.", trail=trace_lines())
        clipped, compressed = (s3.path(place.bucket, f"{place.prefix}/{path}") for path in found)
        return clipped, compressed


def dirs_in(raw: UPath) -> tuple[UPath, UPath]:
    """Return both folders in a raw folder that a program chose, in S3 or local."""

    def folders_in(path: str) -> list[str]:
        return [p.name for p in (raw / path if path else raw).iterdir() if p.is_dir()]

    clipped, compressed = _find(raw, folders_in, CLIPPED, COMPRESSED)
    return raw / clipped, raw / compressed
