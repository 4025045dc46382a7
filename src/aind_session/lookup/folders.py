"""Folders: where a session's raw files are, what is in them, where a result's files are."""

from __future__ import annotations

from typing import NamedTuple

from aind_session import settings
from aind_session.errors import AccessDeniedError, AindSessionError, ServiceError
from aind_session.identifiers import SessionID
from aind_session.lookup import assets, belonging, offline, questions, trail
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import S3, Rows
from aind_session.services import pool, storage
from aind_session.services.models import AssetSummary

#: Folders that hold a modality under another name.
MODALITY_OF_FOLDER = {"ecephys_compressed": "ecephys", "ecephys_clipped": "ecephys"}
#: Folders beside the modalities (data organisation of the field, 2024).
NO_MODALITY = frozenset({"derivatives", "logs"})


class Folder(NamedTuple):
    """A folder in S3, and who knows of it."""

    bucket: str
    prefix: str
    source: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def of_asset(asset: AssetSummary) -> Folder | None:
    """Give the folder of an asset's files; None where the asset does not say.

    External assets name their bucket; the files of internal results are in Code Ocean's own, in a
    folder named after the asset.
    """
    if asset.bucket:
        return Folder(asset.bucket, asset.prefix.strip("/"), "Code Ocean")
    if asset.type == "result" or not asset.external:
        return Folder(settings.RESULTS_BUCKET, asset.id, "Code Ocean")
    return None


def _told(known: assets.Known) -> Folder | None:
    """Give the raw folder that Code Ocean or DocDB tell; DocDB wins where they differ."""
    from_docdb = location(known.rows)
    raw = assets.choose_raw(assets.open_linked(known) if not from_docdb else known.assets)
    from_code_ocean = of_asset(raw) if raw is not None else None
    if from_docdb and from_code_ocean and from_docdb[:2] != from_code_ocean[:2]:
        trail.tell("DocDB's location %s is used, not %s", from_docdb, from_code_ocean)
    return from_docdb or from_code_ocean


def location(rows: Rows) -> Folder | None:
    """Give the raw folder that a session's records tell; the newest record counts."""
    for row in sorted(rows, key=lambda r: r.created, reverse=True):
        if row.location.startswith("s3://") and belonging.named(row.name).is_raw:
            # Between the generations' twins the location is the same.
            bucket, prefix = storage.split(row.location)
            if prefix.strip("/"):
                return Folder(bucket, prefix.strip("/"), "DocDB")
    return None


def search(name: str, gaps: Gaps) -> Folder | None:
    """Look for a folder by its name in the known buckets, all at once."""
    names = questions.buckets()
    outcomes = pool.outcomes(*(lambda b=b: questions.listing(b, name) for b in names))
    closed: dict[str, AindSessionError] = {}
    for bucket, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome.error, AccessDeniedError):
            closed[bucket] = outcome.error
        elif outcome.error is not None:
            gaps.fill(S3, outcome, None)
        elif outcome.unwrap().exists:
            trail.tell("No service tells a folder: s3://%s/%s was found by name", bucket, name)
            return Folder(bucket, name, "S3")
    if closed:
        if len(closed) == len(names):
            # No bucket was searched: nothing is known.
            gaps.errors.setdefault(S3, closed[names[0]])
        trail.tell("Not readable, so not searched: %s", ", ".join(closed))
    return None


def find_raw(session: SessionID, missing: str) -> tuple[Folder | None, assets.Known]:
    """Find the raw folder: told by Code Ocean or DocDB, else searched by name."""
    known = assets.of_session(session, missing)
    folder = _told(known)
    if folder is None:
        folder = search(session.id, known.gaps)
    return folder, known


def is_uploaded(session: SessionID) -> bool:
    """Tell whether there is a raw asset, or a folder that S3 has."""
    with trail.following(session.id, "uploaded"):
        known = assets.of_session(session, "uploads that only this service knows")
        if assets.choose_raw(known.assets) is not None:
            return True
        if any(belonging.is_raw(asset) for asset in assets.open_linked(known)):
            return True
        folder = location(known.rows)
        if folder is not None:
            try:
                if questions.listing(folder.bucket, folder.prefix).exists:
                    known.gaps.warn()
                    return True
            except AccessDeniedError:
                trail.tell("%s is closed: DocDB's word is taken for it", folder)
                return True
            except ServiceError as error:
                known.gaps.errors.setdefault(S3, error)
        found = search(session.id, known.gaps) is not None
        if not found:
            known.gaps.raise_first()
            offline.tell(session.id)
        known.gaps.warn()
        return found


def modality_names(listed: storage.Listing) -> tuple[str, ...]:
    """Give the modalities among the sub-folders of a raw folder, sorted."""
    return tuple(
        sorted(
            {
                MODALITY_OF_FOLDER.get(name, name)
                for name in listed.folders
                if "metadata" not in name and name not in NO_MODALITY
            }
        )
    )
