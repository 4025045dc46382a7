"""What is asked of S3: one listing, one object, one folder's name.

botocore signs, resolves and parses; the house's transport sends, so that time limits, repetition
and log are those of the other services. Without credentials, and where they are refused, buckets
are read anonymously.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from aind_session import settings
from aind_session.errors import IncompleteAnswerError, ServiceError
from aind_session.services.keeping import Kept
from aind_session.services.storage_client import client, forget_listings, has_credentials
from aind_session.services.storage_errors import (
    SERVICE,
    StorageAccessError,
    StorageError,
    StorageNotFoundError,
    translated,
)

if TYPE_CHECKING:
    from upath import UPath

__all__ = [
    "Listing",
    "StorageAccessError",
    "StorageError",
    "StorageNotFoundError",
    "access",
    "forget_listings",
    "list_folder",
    "list_keys",
    "path",
    "read",
    "split",
    "write",
]

log = logging.getLogger("aind_session.services")
T = TypeVar("T")

MAX_PAGES = 200


@dataclass(frozen=True)
class Listing:
    """What one folder of a bucket holds.

    Attributes
    ----------
    folders, files : tuple of str
        Names in the folder, without its own.
    exists : bool
        Whether there is anything; S3 knows no empty folders.
    sizes : tuple of int
        Bytes of each file, where S3 listed them.
    """

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    exists: bool = False
    sizes: tuple[int, ...] = field(default=(), compare=False, repr=False)


#: Buckets that refused the credentials, and gave themselves to anybody.
_anonymous: Kept[bool] = Kept(most=1000)


def _key(bucket: str) -> tuple[str, str]:
    return settings.current().identity(SERVICE), bucket


def is_anonymous(bucket: str) -> bool:
    """Tell whether a bucket is read without credentials, as far as is known."""
    return not has_credentials() or _key(bucket) in _anonymous


def _call(bucket: str, operation: Callable[[Any], T], place: str) -> T:
    """Do something with a bucket; with credentials, and where they are refused without."""
    if is_anonymous(bucket):
        return translated(lambda: operation(client(anonymous=True)), place)
    try:
        return translated(lambda: operation(client(anonymous=False)), place)
    except StorageAccessError as refusal:
        try:
            answer = translated(lambda: operation(client(anonymous=True)), place)
        except StorageAccessError:
            raise refusal from None
        except StorageNotFoundError:
            _anonymous.get(_key(bucket), lambda: True)
            raise
    log.info("The credentials are refused by bucket %s: it is read anonymously", bucket)
    _anonymous.get(_key(bucket), lambda: True)
    return answer


def _pages(bucket: str, prefix: str, delimiter: str, limit: int) -> Iterator[dict[str, Any]]:
    token, seen = None, set()
    place = f"s3://{bucket}/{prefix}"
    for number in range(1, MAX_PAGES + 1):
        options: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": limit}
        if delimiter:
            options["Delimiter"] = delimiter
        if token:
            options["ContinuationToken"] = token

        def ask(s3: Any, options: dict[str, Any] = options) -> dict[str, Any]:
            answer: dict[str, Any] = s3.list_objects_v2(**options)
            return answer

        try:
            page = _call(bucket, ask, place)
        except ServiceError as error:
            if number == 1:
                raise
            raise IncompleteAnswerError(
                f"Page {number} of the listing of {place} did not come: {error}",
                service=SERVICE,
                status=error.status,
                attempts=error.attempts,
            ) from error
        yield page
        token = page.get("NextContinuationToken")
        if not page.get("IsTruncated"):
            return
        if not token or token in seen:
            break
        seen.add(token)
    raise IncompleteAnswerError(f"The listing of {place} does not end", service=SERVICE)


def list_folder(bucket: str, prefix: str) -> Listing:
    """List a folder: one request for each 1000 names in it.

    Parameters
    ----------
    bucket
        Name of the bucket.
    prefix
        The folder, without slashes at its ends; "" for the bucket's root.

    Returns
    -------
    Listing
        `exists` is False where there is no such folder, or no such bucket.

    Raises
    ------
    StorageAccessError
        The bucket may not be listed: whether there is such a folder is not known.
    """
    start = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    folders: list[str] = []
    files: dict[str, int] = {}
    exists = False
    try:
        for page in _pages(bucket, start, "/", 1000):
            common = [item["Prefix"] for item in page.get("CommonPrefixes", ())]
            keys = {item["Key"]: int(item.get("Size", 0)) for item in page.get("Contents", ())}
            exists = exists or bool(common or keys)
            folders += [name[len(start) :].rstrip("/") for name in common]
            # The key that ends in a slash is what consoles write for an empty folder.
            files.update({k[len(start) :]: size for k, size in keys.items() if k != start})
    except StorageNotFoundError as error:
        log.debug("%s", error)
        return Listing()
    return Listing(tuple(dict.fromkeys(folders)), tuple(files), exists, tuple(files.values()))


def list_keys(bucket: str, prefix: str, limit: int = 1000) -> tuple[str, ...]:
    """List the keys that begin with a prefix, in order, `limit` at most.

    Parameters
    ----------
    bucket
        Name of the bucket.
    prefix
        Any beginning of a key.
    limit
        More are left out.
    """
    found: list[str] = []
    try:
        for page in _pages(bucket, prefix.lstrip("/"), "", min(1000, max(1, limit))):
            found += [item["Key"] for item in page.get("Contents", ())]
            if len(found) >= limit:
                break
    except StorageNotFoundError as error:
        log.debug("%s", error)
        return ()
    return tuple(found[:limit])


def read(bucket: str, key: str) -> bytes:
    """Read an object, by one request.

    Parameters
    ----------
    bucket, key
        Where it is.

    Raises
    ------
    StorageNotFoundError
        There is no such object (a `FileNotFoundError`).
    StorageAccessError
        It may not be read (a `PermissionError`).
    """

    def ask(s3: Any) -> bytes:
        body: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    return _call(bucket, ask, f"s3://{bucket}/{key}")


def write(bucket: str, key: str, data: bytes) -> None:
    """Write an object, over what is there.

    Parameters
    ----------
    bucket, key
        Where it goes.
    data
        Its content.

    Raises
    ------
    StorageAccessError
        It may not be written (a `PermissionError`).
    """
    place = f"s3://{bucket}/{key}"
    anonymous = not has_credentials()
    translated(
        lambda: client(anonymous=anonymous).put_object(Bucket=bucket, Key=key, Body=data), place
    )


def access(bucket: str) -> str | None:
    """Tell who may list a bucket.

    Returns
    -------
    str or None
        "public": anybody; "private": these credentials; "denied": not these; None: there is no
        such bucket.
    """

    def ask(s3: Any) -> str:
        s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
        return "listed"

    place = f"s3://{bucket}"
    try:
        translated(lambda: ask(client(anonymous=True)), place)
        return "public"
    except StorageNotFoundError:
        return None
    except StorageAccessError:
        if not has_credentials():
            return "denied"
    try:
        translated(lambda: ask(client(anonymous=False)), place)
        return "private"
    except StorageNotFoundError:
        return None
    except StorageAccessError:
        return "denied"


def path(bucket: str, key: str = "") -> UPath:
    """Give a path that the user can read with, without asking S3.

    Parameters
    ----------
    bucket
        Name of the bucket.
    key
        Key in it; "" for the bucket.

    Returns
    -------
    upath.UPath
        Without any option but `anon`, and that only where there are no credentials, or the
        bucket refuses them: a path is pickled and shown with its options.
    """
    from upath import UPath

    place = f"s3://{bucket}/{key.strip('/')}" if key.strip("/") else f"s3://{bucket}"
    return UPath(place, anon=True) if is_anonymous(bucket) else UPath(place)


def split(path: object) -> tuple[str, str]:
    """Take a path apart into bucket and key.

    Parameters
    ----------
    path
        A `UPath`, or text such as `s3://bucket/key`.

    Returns
    -------
    tuple of str
        Bucket, and key without slashes at its ends.

    Raises
    ------
    ValueError
        It is no path in S3.

    Examples
    --------
    >>> split("s3://aind-open-data/ecephys_676909_2023-12-13_13-43-40/")
    ('aind-open-data', 'ecephys_676909_2023-12-13_13-43-40')
    """
    as_posix = getattr(path, "as_posix", None)
    text = str(as_posix() if callable(as_posix) else path)
    # Not by a URL parser: keys may hold `#` and `?`.
    scheme, colon, rest = text.partition("://")
    if not colon or scheme.lower() not in ("s3", "s3a"):
        raise ValueError(f"{text!r:.200} is no path in S3 (s3://bucket/key)")
    bucket, _, key = rest.strip("/").partition("/")
    return bucket, key.strip("/")
