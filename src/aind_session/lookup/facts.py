"""The facts of one session: each looked up, or an error that tells what was asked of whom."""

from __future__ import annotations

from aind_session.errors import MissingAttributeError
from aind_session.identifiers import SessionID
from aind_session.lookup import advice, assets, folders, questions, trail
from aind_session.lookup.folders import Folder
from aind_session.services.models import AssetSummary


def raw_asset(session: SessionID) -> AssetSummary:
    """Give the raw data asset of a session.

    Raises
    ------
    MissingAttributeError
        There is none; the message tells what there is instead.
    """
    with trail.following(session.id, "raw data asset"):
        found, known = assets.with_linked(session)
        asset = assets.choose_raw(found)
        known.gaps.conclude(asset)
        if asset is None:
            raise _missing("raw_data_asset", advice.no_raw_asset(session))
        return asset


def raw_folder(session: SessionID) -> Folder:
    """Give the folder of a session's raw files.

    Raises
    ------
    MissingAttributeError
        Every service was asked and none knows a folder.
    ServiceError, CredentialsError
        None knows a folder, and one could not be asked.
    """
    with trail.following(session.id, "raw data folder"):
        folder, known = folders.find_raw(session, "a newer raw data folder")
        if folder is None:
            known.gaps.raise_first()
            raise _missing("raw_data_dir", advice.no_raw_folder(session))
        known.gaps.warn()
        return folder


def modalities(session: SessionID) -> tuple[str, ...]:
    """Give the names of the modality folders in the raw folder, sorted."""
    with trail.following(session.id, "modalities"):
        folder = raw_folder(session)
        listed = questions.listing(folder.bucket, folder.prefix)
        if not listed.exists:
            raise _missing(
                "modalities",
                f"{session.id} has the folder {folder} (told by {folder.source}), but S3 has "
                "nothing there: it was moved or deleted, or its upload has not begun.",
            )
        return folders.modality_names(listed)


def _missing(name: str, message: str) -> MissingAttributeError:
    return MissingAttributeError(message, name=name, trail=trail.lines())
