"""S3: list folders, read and write objects, and make the paths that users get."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus

import requests

from aind_session import context, settings
from aind_session.errors import (
    CredentialsError,
    IncompleteAnswerError,
    ServiceError,
    SettingsError,
)
from aind_session.services.connections import CA_VARIABLES, find_bundle
from aind_session.services.redact import is_no_file
from aind_session.services.s3_client import (
    CA_VARIABLE,
    SERVICE,
    Client,
    Request,
    StorageAccessError,
    StorageCredentialsError,
    StorageError,
    StorageNotFoundError,
    find_account,
    tag,
    texts,
    unreadable,
    xml,
)

if TYPE_CHECKING:
    from upath import UPath

__all__ = [
    "Listing",
    "StorageAccessError",
    "StorageCredentialsError",
    "StorageError",
    "StorageNotFoundError",
    "access",
    "forget_listings",
    "has_credentials",
    "is_anonymous",
    "list_folder",
    "list_keys",
    "path",
    "read",
    "split",
    "write",
]

log = logging.getLogger("aind_session.services")

MAX_PAGES = 200
KEYS_PER_PAGE = 1000


@dataclass(frozen=True)
class Listing:
    """Content of one folder of a bucket.

    Attributes
    ----------
    folders, files : tuple of str
        Names in the folder, without the folder's own.
    exists : bool
        Whether it contains anything; S3 has no empty folders.
    sizes : tuple of int
        Size of each file in bytes.
    """

    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    exists: bool = False
    sizes: tuple[int, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class _Page:
    folders: list[str]
    files: dict[str, int]
    etags: dict[str, str]
    next_token: str
    is_last: bool


def _client() -> Client:
    now = settings.current()
    timeout, attempts = now.timeout.value, now.attempts.value
    key = (now.identity(SERVICE), timeout, attempts)
    return context.current().client(
        (SERVICE, *key), lambda: Client(find_account(), timeout, attempts)
    )


def has_credentials() -> bool:
    """Return True if there are AWS credentials: environment, configuration, container, role."""
    return _client().account.has_credentials


def is_anonymous(bucket: str) -> bool:
    """Return True if a bucket is read without credentials, as far as is known."""
    return _client().is_anonymous(bucket)


def _page(response: requests.Response) -> _Page:
    root = xml(response.content)
    if response.status_code != 200 or root is None or tag(root) != "ListBucketResult":
        raise unreadable(response, "listing")
    facts = texts(root)
    decoded = unquote_plus if facts.get("EncodingType") == "url" else str
    folders: list[str] = []
    files: dict[str, int] = {}
    etags: dict[str, str] = {}
    for child in root:
        kind = tag(child)
        if kind == "CommonPrefixes":
            folders.append(decoded(texts(child).get("Prefix", "")))
        elif kind == "Contents":
            item = texts(child)
            size = item.get("Size", "")
            key = decoded(item.get("Key", ""))
            files[key] = int(size) if size.isdigit() else 0
            etags[key] = item.get("ETag", "")
    is_last = facts.get("IsTruncated", "").strip() != "true"
    return _Page(folders, files, etags, facts.get("NextContinuationToken", ""), is_last)


def _pages(bucket: str, prefix: str, delimiter: str, limit: int) -> Iterator[_Page]:
    token, seen = "", set()
    place = f"s3://{bucket}/{prefix}"
    client = _client()
    for number in range(1, MAX_PAGES + 1):
        query = {
            "continuation-token": token,
            "delimiter": delimiter,
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(limit),
            "prefix": prefix,
        }
        # In the order of the alphabet, as the signature requires.
        text = "&".join(
            f"{name}={quote(value, safe='~')}" for name, value in query.items() if value
        )
        try:
            page = _page(client.get(Request("GET", bucket, query=text, prefix=prefix)))
        except ServiceError as error:
            if number == 1:
                raise
            raise IncompleteAnswerError(
                f"Page {number} of the listing of {place} could not be read: {error}",
                service=SERVICE,
                status=error.status,
                attempts=error.attempts,
            ) from error
        yield page
        token = page.next_token
        if page.is_last:
            return
        if not token or token in seen:
            break
        seen.add(token)
    raise IncompleteAnswerError(f"The listing of {place} does not end", service=SERVICE)


def list_folder(bucket: str, prefix: str) -> Listing:
    """List a folder with one request per 1000 names.

    Parameters
    ----------
    bucket
        Name of the bucket.
    prefix
        The folder, without slashes at its ends; "" for the bucket's root.

    Returns
    -------
    Listing
        With `exists` False if the folder or bucket does not exist.

    Raises
    ------
    StorageAccessError
        The bucket may not be listed, so it is unknown whether the folder exists.
    """
    start = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    folders: list[str] = []
    files: dict[str, int] = {}
    exists = False
    try:
        for page in _pages(bucket, start, "/", KEYS_PER_PAGE):
            exists = exists or bool(page.folders or page.files)
            folders += [name[len(start) :].rstrip("/") for name in page.folders]
            # A key that ends in a slash is what consoles write for an empty folder.
            files.update({k[len(start) :]: size for k, size in page.files.items() if k != start})
    except StorageNotFoundError as error:
        log.debug("%s", error)
        return Listing()
    return Listing(tuple(dict.fromkeys(folders)), tuple(files), exists, tuple(files.values()))


def list_objects(bucket: str, prefix: str) -> Iterator[tuple[str, int, str]]:
    """Yield key, size in bytes and ETag of every object below a prefix, in order."""
    for page in _pages(bucket, prefix.lstrip("/"), "", KEYS_PER_PAGE):
        for key, size in page.files.items():
            yield key, size, page.etags[key]


def read_part(bucket: str, key: str, start: int, size: int, etag: str = "") -> bytes:
    """Read `size` bytes of an object from `start`, with one request; 412 for another ETag."""
    part = start, start + size - 1
    response = _client().get(Request("GET", bucket, key, range=part, etag=etag))
    if response.status_code not in (200, 206):
        raise unreadable(response, "file")
    # A server that ignores the range returns the whole object.
    return response.content if response.status_code == 206 else response.content[start:][:size]


def list_keys(bucket: str, prefix: str, limit: int = 1000) -> tuple[str, ...]:
    """Return the first `limit` keys that begin with a prefix, in order.

    Parameters
    ----------
    bucket
        Name of the bucket.
    prefix
        Any beginning of a key.
    limit
        Largest number of keys.
    """
    found: list[str] = []
    try:
        for page in _pages(bucket, prefix.lstrip("/"), "", min(KEYS_PER_PAGE, max(1, limit))):
            found += page.files
            if len(found) >= limit:
                break
    except StorageNotFoundError as error:
        log.debug("%s", error)
        return ()
    return tuple(found[:limit])


def read(bucket: str, key: str) -> bytes:
    """Read an object with one request.

    Parameters
    ----------
    bucket, key
        Its place.

    Raises
    ------
    StorageNotFoundError
        The object does not exist (a `FileNotFoundError`).
    StorageAccessError
        It may not be read (a `PermissionError`).
    """
    response = _client().get(Request("GET", bucket, key))
    # A file may be a web page, too; S3 sends an ETag with each, other servers do not.
    is_file = "ETag" in response.headers or not is_no_file(response, f"/{bucket}/{key}")
    if response.status_code not in (200, 206) or not is_file:
        raise unreadable(response, "file")
    return response.content


def write(bucket: str, key: str, data: bytes) -> None:
    """Write an object, replacing one that exists.

    Parameters
    ----------
    bucket, key
        Its place.
    data
        Its content.

    Raises
    ------
    StorageAccessError
        It may not be written (a `PermissionError`).
    """
    client = _client()
    request = Request("PUT", bucket, key, body=data)
    response = client.send(request, signed=client.account.has_credentials)
    if response.status_code >= 300:
        raise unreadable(response, "confirmation")


def access(bucket: str) -> str | None:
    """Return who may list a bucket.

    Returns
    -------
    str or None
        "public" for everyone, "private" for these credentials, "denied" if neither may; None if
        there is no such bucket.
    """
    client, request = _client(), Request("GET", bucket, query="list-type=2&max-keys=1")
    for signed, name in ((False, "public"), (True, "private")):
        if signed and not client.account.has_credentials:
            break
        try:
            client.send(request, signed)
        except StorageNotFoundError:
            return None
        except StorageAccessError:
            continue
        return name
    return "denied"


def path(bucket: str, key: str = "") -> UPath:
    """Return a path that the user can read with; makes no request.

    Parameters
    ----------
    bucket
        Name of the bucket.
    key
        Key in it; "" for the bucket.

    Returns
    -------
    upath.UPath
        With no option but `anon=True`, if there are no credentials or the bucket refuses them: a
        path is shown and pickled with its options.
    """
    from upath import UPath

    place = f"s3://{bucket}/{key.strip('/')}" if key.strip("/") else f"s3://{bucket}"
    configure_s3fs()
    try:
        anonymous = is_anonymous(bucket)
    except (CredentialsError, SettingsError) as error:
        # Reading the path will fail, but where it is does not depend on that.
        log.debug("%s", error)
        anonymous = False
    found: UPath = UPath(place, anon=True) if anonymous else UPath(place)
    return found


class _ClientOptions(dict[str, str]):
    """Options for s3fs that this package set, as opposed to the user's own."""


def configure_s3fs() -> None:
    """Configure s3fs to use CA certificates of variables that AWS clients do not read."""
    from fsspec.config import conf

    found = find_bundle(CA_VARIABLE)
    options = conf.setdefault("s3", {})
    if not isinstance(options.get("client_kwargs", _ClientOptions()), _ClientOptions):
        return
    options.pop("client_kwargs", None)
    is_unread = found.source in CA_VARIABLES and found.source != CA_VARIABLE
    if is_unread and os.path.isfile(found.path):
        options["client_kwargs"] = _ClientOptions(verify=found.path)


def split(path: object) -> tuple[str, str]:
    """Split a path into bucket and key.

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
        It is not a path in S3.

    Examples
    --------
    >>> split("s3://aind-open-data/ecephys_676909_2023-12-13_13-43-40/")
    ('aind-open-data', 'ecephys_676909_2023-12-13_13-43-40')
    """
    as_posix = getattr(path, "as_posix", None)
    text = str(as_posix() if callable(as_posix) else path)
    # Not with a URL parser: keys may contain `#` and `?`.
    scheme, colon, rest = text.partition("://")
    if not colon or scheme.lower() not in ("s3", "s3a"):
        raise ValueError(f"{text!r:.200} is not a path in S3 (s3://bucket/key)")
    bucket, _, key = rest.strip("/").partition("/")
    return bucket, key.strip("/")


def forget_listings(instances: bool = False) -> None:
    """Drop the listings that s3fs keeps as long as the process; optionally its instances, too."""
    s3fs = sys.modules.get("s3fs")
    if s3fs is not None:
        # s3fs has no public way to reach the instances of other threads.
        for file_system in list(s3fs.S3FileSystem._cache.values()):
            file_system.invalidate_cache()
        if instances:
            s3fs.S3FileSystem.clear_instance_cache()
