"""Folders in the known buckets of S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aind_session import settings
from aind_session.errors import InvalidIdentifierError, MissingFileError
from aind_session.lookup import folders, freshness, trail
from aind_session.lookup.partial import Gaps
from aind_session.services import storage

if TYPE_CHECKING:
    from upath import UPath

__all__ = ["S3_DATA_BUCKET_NAMES", "get_bucket_and_prefix", "get_source_dir_by_name"]

#: Buckets that are searched by name, unless `AIND_SESSION_BUCKETS` names others.
S3_DATA_BUCKET_NAMES: tuple[str, ...] = settings.DEFAULT_BUCKETS


def get_source_dir_by_name(name: str, ttl_hash: int | None = None) -> UPath:
    """Search the known buckets for a folder.

    Parameters
    ----------
    name
        Name of the folder: that of a session or data asset.
    ttl_hash
        A number that was not given before asks anew; see `get_ttl_hash`.

    Returns
    -------
    upath.UPath
        The folder, in the first bucket that has it.

    Raises
    ------
    MissingFileError
        No bucket has it (a `FileNotFoundError`).
    StorageError
        None of those that answered has it, and one did not answer.

    Examples
    --------
    >>> get_source_dir_by_name("ecephys_676909_2023-12-13_13-43-40").as_posix()
    's3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40'
    """
    wanted = name.strip().strip("/")
    if not wanted:
        raise InvalidIdentifierError("a folder in S3 has a name: an empty text was given")
    with (
        freshness.at_hash(ttl_hash, "folder by name", wanted),
        trail.following(wanted, "folder by name"),
    ):
        gaps = Gaps("a folder in a bucket that comes first")
        folder = folders.search(wanted, gaps)
        if folder is None:
            gaps.raise_first()
            raise MissingFileError(
                f"None of the known buckets that may be read has a folder {wanted}: "
                f"{', '.join(settings.current().buckets.value)}. "
                "Name others with AIND_SESSION_BUCKETS.",
                trail=trail.lines(),
            )
        return storage.path(folder.bucket, folder.prefix)


def get_bucket_and_prefix(path: object) -> tuple[str, str]:
    """Take a path in S3 apart.

    Parameters
    ----------
    path
        A `UPath`, or text such as `s3://bucket/prefix`.

    Returns
    -------
    tuple of str
        Bucket, and prefix without slashes at its ends.

    Raises
    ------
    InvalidIdentifierError
        It is no path in S3 (a `ValueError`).

    Examples
    --------
    >>> get_bucket_and_prefix("s3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40/")
    ('aind-ephys-data', 'ecephys_676909_2023-12-13_13-43-40')
    """
    try:
        return storage.split(path)
    except ValueError as error:
        raise InvalidIdentifierError(str(error)) from None
