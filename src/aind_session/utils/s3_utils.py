"""Folders in the data buckets in S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aind_session import settings
from aind_session.errors import InvalidIdentifierError, MissingFileError
from aind_session.identifiers import is_uuid
from aind_session.lookup import by_id, folders, refresh
from aind_session.lookup.failures import Failures
from aind_session.services import s3
from aind_session.services.files import listing
from aind_session.trace import lines as trace_lines
from aind_session.trace import tracing

if TYPE_CHECKING:
    from upath import UPath

__all__ = ["S3_DATA_BUCKET_NAMES", "get_bucket_and_prefix", "get_source_dir_by_name"]

#: The bucket of Code Ocean's results, whose folders are named by asset ID; then the buckets that
#: are searched by name, unless `AIND_SESSION_BUCKETS` names others.
S3_DATA_BUCKET_NAMES: tuple[str, ...] = (settings.RESULTS_BUCKET, *settings.DEFAULT_BUCKETS)


@refresh.with_cache_clear
def get_source_dir_by_name(name: str, ttl_hash: int | None = None) -> UPath:
    """Search the data buckets for a folder.

    Parameters
    ----------
    name
        Name of the folder: a session, a data asset, or the ID of a result in Code Ocean.
    ttl_hash
        A number that was not given before requests anew; see `get_ttl_hash`.

    Returns
    -------
    upath.UPath
        The folder, in the first bucket that has it.

    Raises
    ------
    MissingFileError
        No bucket has it (a `FileNotFoundError`).
    StorageError
        It was not found, and one of the buckets could not be searched.

    Examples
    --------
    >>> get_source_dir_by_name("ecephys_676909_2023-12-13_13-43-40").as_posix()
    's3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40'
    """
    wanted = name.strip().strip("/")
    if not wanted:
        raise InvalidIdentifierError("a folder in S3 has a name: an empty text was given")
    with (
        refresh.at_hash(ttl_hash, "folder by name", wanted),
        tracing(wanted, "folder by name"),
    ):
        if is_uuid(wanted):
            return _result_dir(by_id.normalised(wanted))
        failures = Failures("a folder in a bucket that comes first")
        folder = folders.search(wanted, failures)
        if folder is None:
            failures.raise_error()
            raise MissingFileError(
                f"None of the data buckets that may be read has a folder {wanted}: "
                f"{', '.join(settings.current().buckets.value)}. "
                "Name others with AIND_SESSION_BUCKETS.",
                trail=trace_lines(),
            )
        return s3.path(folder.bucket, folder.prefix)


def _result_dir(asset_id: str) -> UPath:
    bucket = settings.RESULTS_BUCKET
    if not listing(bucket, asset_id).exists:
        raise MissingFileError(f"s3://{bucket} has no folder {asset_id}.", trail=trace_lines())
    return s3.path(bucket, asset_id)


def get_bucket_and_prefix(path: object) -> tuple[str, str]:
    """Return the bucket and the folder that hold a file in S3.

    Parameters
    ----------
    path
        A `UPath`, or text such as `s3://bucket/folder/file.csv`.

    Returns
    -------
    tuple of str
        Bucket, and prefix without slashes at its ends and without the last part of the path.

    Raises
    ------
    InvalidIdentifierError
        It is not a path in S3 (a `ValueError`).

    Examples
    --------
    >>> get_bucket_and_prefix("s3://aind-scratch-data/manifests/717381/717381_manifest.csv")
    ('aind-scratch-data', 'manifests/717381')
    """
    try:
        bucket, key = s3.split(path)
    except ValueError as error:
        raise InvalidIdentifierError(str(error)) from None
    return bucket, key.strip("/").rpartition("/")[0]
