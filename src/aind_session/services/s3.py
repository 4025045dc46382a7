"""S3: list folders, read and write objects, and make the paths that users get.

boto3 is not used: its client costs 80 ms of CPU time to make and twice as much per listing, and it
logs session tokens at DEBUG.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote_plus, urlencode, urlsplit
from xml.etree import ElementTree

import requests
from requests.structures import CaseInsensitiveDict

from aind_session.clock import CLOCK
from aind_session.errors import (
    AccessDeniedError,
    CredentialsError,
    IncompleteAnswerError,
    ServiceError,
    SettingsError,
)
from aind_session.services.connections import CA_VARIABLES, find_bundle
from aind_session.services.exchange import exchange_of, facts_in, unreadable
from aind_session.services.http import Transport, client_of
from aind_session.services.redact import is_no_file, scrub
from aind_session.services.s3_account import SERVICE, Account, find_account, sign

if TYPE_CHECKING:
    from upath import UPath

log = logging.getLogger("aind_session.services")

MAX_PAGES = 200
KEYS_PER_PAGE = 1000
#: The variable for CA certificates that AWS clients read.
CA_VARIABLE = "AWS_CA_BUNDLE"
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")
# Only such names are part of a host name; others, and those with a dot, go into the path.
_HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# Sent with status 400 or 403: a new login is needed, or the key was withdrawn.
_EXPIRED = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"})
# A 404 without one of these codes may come from a gateway that does not know the bucket.
_ABSENT = frozenset({"NoSuchKey", "NoSuchBucket"})


class StorageError(ServiceError, OSError):
    """S3 returned an error."""

    service: str = SERVICE


class StorageAccessError(StorageError, AccessDeniedError):
    """These credentials, and anonymous users, have no access to the bucket or object."""


class StorageCredentialsError(CredentialsError, StorageAccessError):
    """The AWS credentials have expired or are not valid."""

    service: str = SERVICE


class StorageNotFoundError(StorageError, FileNotFoundError):
    """The bucket or object does not exist."""


@dataclass(frozen=True)
class Request:
    """One request to S3."""

    method: str
    bucket: str
    key: str = ""
    query: str = ""
    body: bytes = b""
    #: What a listing is limited to, for errors.
    prefix: str = ""
    #: First and last byte to read.
    range: tuple[int, int] | None = None
    #: Read only this version of the object; S3 answers 412 if it changed.
    etag: str = ""

    @property
    def place(self) -> str:
        """Bucket and key as a URL, for errors."""
        return f"s3://{self.bucket}/{self.key or self.prefix}"

    def url(self, account: Account, region: str) -> str:
        """Return the URL at the account's endpoint, or in a region of AWS."""
        host = account.endpoint or f"https://{account.host(region)}"
        path = quote(self.key, safe="/~")
        if account.endpoint or not _HOST_LABEL.fullmatch(self.bucket):
            url = f"{host}/{self.bucket}/{path}" if path else f"{host}/{self.bucket}"
        else:
            url = f"https://{self.bucket}.{account.host(region)}/{path}"
        return f"{url}?{self.query}" if self.query else url


class Client(Transport):
    """Send requests with one set of credentials.

    Attributes
    ----------
    anonymous : set of str
        Buckets that refused the credentials and answered without.
    regions : dict
        Region by bucket, if S3 named another one than the account's.
    """

    def __init__(self, **limits: Any) -> None:
        self.account = find_account()
        self.anonymous: set[str] = set()
        self.regions: dict[str, str] = {}
        ours: dict[str, Any] = {"home": "*", "redirects": False, "decode": False}
        super().__init__(SERVICE, ca_variable=CA_VARIABLE, **ours, **limits)

    def is_anonymous(self, bucket: str) -> bool:
        """Return True if a bucket is read without credentials."""
        return not self.account.has_credentials or bucket in self.anonymous

    def get(self, request: Request) -> requests.Response:
        """Read with credentials, and anonymously if they are refused."""
        if self.is_anonymous(request.bucket):
            return self.fetch(request, signed=False)
        try:
            return self.fetch(request)
        except StorageAccessError as error:
            refusal = error
        # Outside of the block above: the refusal is not the cause of what follows.
        try:
            response = self.fetch(request, signed=False)
        except StorageAccessError:
            raise refusal from None
        except StorageNotFoundError:
            self.anonymous.add(request.bucket)
            raise
        log.info("The credentials are refused by bucket %s: it is read anonymously", request.bucket)
        self.anonymous.add(request.bucket)
        return response

    def fetch(self, request: Request, signed: bool = True) -> requests.Response:
        """Send a request, again if S3 names another region; raise an error for its status."""
        if not _BUCKET.fullmatch(request.bucket):
            raise StorageError(f"{request.bucket!r:.80} is not a valid bucket name")
        region = self.regions.get(request.bucket, self.account.region)
        response = self.send(self._prepared(region, request, signed))
        other = _other_region(response)
        if other not in ("", region):
            self.regions[request.bucket] = other
            response = self.send(self._prepared(other, request, signed))
        if response.status_code >= 400:
            raise _error_of(response, request.place)
        return response

    def _prepared(self, region: str, request: Request, signed: bool) -> requests.PreparedRequest:
        url = request.url(self.account, region)
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = request.method, url, request.body or None
        prepared.headers = CaseInsensitiveDict({"Host": urlsplit(url).netloc})
        prepared.hooks = {"response": []}
        if request.method == "PUT":
            prepared.headers["Content-Length"] = str(len(request.body))
        if request.range is not None:
            prepared.headers["Range"] = f"bytes={request.range[0]}-{request.range[1]}"
        if request.etag:
            prepared.headers["If-Match"] = request.etag
        if signed and (keys := self.account.keys()) is not None:
            moment = CLOCK.time()
            signed_as = sign(keys, region, request.method, url, request.body, moment)
            prepared.headers.update(signed_as)
        return prepared


def _parse(body: bytes) -> tuple[ElementTree.Element, str]:
    """Return the root of an XML document, empty if it is not one, and how its names begin."""
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError):
        root = ElementTree.Element("")
    return root, root.tag[: root.tag.find("}") + 1]


def _other_region(response: requests.Response) -> str:
    """Return the region of a bucket, if S3 reported it instead of answering."""
    if response.status_code not in (301, 307, 400):
        return ""
    root, names = _parse(response.content)
    found = response.headers.get("x-amz-bucket-region", root.findtext(f"{names}Region", ""))
    return found if re.fullmatch(r"[a-z0-9-]{1,63}", found) else ""


def _error_of(response: requests.Response, place: str) -> StorageError:
    """Return the error for a status; it keeps nothing of the response but facts."""
    status, exchange = response.status_code, exchange_of(response)
    root, names = _parse(response.content)
    # Hidden before it is cut: a part of a token must not remain.
    code = scrub(root.findtext(f"{names}Code", ""), exchange.secrets)[:80]
    message = scrub(root.findtext(f"{names}Message", ""), exchange.secrets)[:200]
    cls, meaning = StorageError, "failed"
    if code in _EXPIRED:
        cls, meaning = StorageCredentialsError, "renew your AWS credentials, which are not accepted"
    elif status in (401, 403) or code == "RequestExpired":
        cls, meaning = StorageAccessError, "no access"
    elif code in _ABSENT:
        cls, meaning = StorageNotFoundError, "not found"
    answer = f"{status} {code}" if code else str(status)
    because = f": {message}" if message else ""
    text = f"{place}: {meaning} (S3 answered {answer} to {exchange.summary()}{because})"
    return cls(text, **exchange.facts(status))


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


class _Page(NamedTuple):
    folders: list[str]
    files: dict[str, int]
    etags: dict[str, str]
    next_token: str
    is_last: bool


def has_credentials() -> bool:
    """Return True if there are AWS credentials: environment, configuration, container, role."""
    return client_of(Client).account.has_credentials


def is_anonymous(bucket: str) -> bool:
    """Return True if a bucket is read without credentials, as far as is known."""
    return client_of(Client).is_anonymous(bucket)


def _page(response: requests.Response) -> _Page:
    root, names = _parse(response.content)
    if response.status_code != 200 or root.tag != f"{names}ListBucketResult":
        raise unreadable(response, "a listing")
    is_encoded = root.findtext(f"{names}EncodingType") == "url"
    decoded = unquote_plus if is_encoded else str
    prefixes = root.iterfind(f"{names}CommonPrefixes/{names}Prefix")
    files: dict[str, int] = {}
    etags: dict[str, str] = {}
    for item in root.iterfind(f"{names}Contents"):
        key, size = decoded(item.findtext(f"{names}Key", "")), item.findtext(f"{names}Size", "")
        files[key] = int(size) if size.isdigit() else 0
        etags[key] = item.findtext(f"{names}ETag", "")
    return _Page(
        [decoded(prefix.text or "") for prefix in prefixes],
        files,
        etags,
        root.findtext(f"{names}NextContinuationToken", ""),
        root.findtext(f"{names}IsTruncated", "").strip() != "true",
    )


def _pages(bucket: str, prefix: str, delimiter: str, limit: int) -> Iterator[_Page]:
    token, seen = "", set()
    place = f"s3://{bucket}/{prefix}"
    client = client_of(Client)
    for number in range(1, MAX_PAGES + 1):
        # In the order of the alphabet, as the signature requires.
        query = {
            "continuation-token": token,
            "delimiter": delimiter,
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(limit),
            "prefix": prefix,
        }
        text = urlencode({k: v for k, v in query.items() if v}, safe="~", quote_via=quote)
        try:
            page = _page(client.get(Request("GET", bucket, query=text, prefix=prefix)))
        except ServiceError as error:
            if number == 1:
                raise
            raise IncompleteAnswerError(
                f"Page {number} of the listing of {place} could not be read: {error}",
                **facts_in(error),
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
    """List a folder with one request per 1000 names; `exists` is False if it or its bucket is not.

    Raises `StorageAccessError` if the bucket may not be listed, so that neither is known.
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
    response = client_of(Client).get(Request("GET", bucket, key, range=part, etag=etag))
    if response.status_code not in (200, 206):
        raise unreadable(response, "a file")
    # A server that ignores the range returns the whole object.
    return response.content if response.status_code == 206 else response.content[start:][:size]


def list_keys(bucket: str, prefix: str, limit: int = 1000) -> tuple[str, ...]:
    """Return the first `limit` keys that begin with a prefix, in order."""
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
    """Read an object with one request; raises `StorageNotFoundError` or `StorageAccessError`."""
    response = client_of(Client).get(Request("GET", bucket, key))
    # A file may be a web page, too; S3 sends an ETag with each, other servers do not.
    is_file = "ETag" in response.headers or not is_no_file(response, f"/{bucket}/{key}")
    if response.status_code not in (200, 206) or not is_file:
        raise unreadable(response, "a file")
    return response.content


def write(bucket: str, key: str, data: bytes) -> None:
    """Write an object, replacing one that exists; raises `StorageAccessError` if that is denied."""
    client = client_of(Client)
    request = Request("PUT", bucket, key, body=data)
    response = client.fetch(request, signed=client.account.has_credentials)
    if response.status_code >= 300:
        raise unreadable(response, "a confirmation")


def access(bucket: str) -> str | None:
    """Return who may list a bucket: "public", "private" (these credentials), "denied", or None.

    None if there is no such bucket.
    """
    client, request = client_of(Client), Request("GET", bucket, query="list-type=2&max-keys=1")
    for signed, name in ((False, "public"), (True, "private")):
        if signed and not client.account.has_credentials:
            break
        try:
            client.fetch(request, signed)
        except StorageNotFoundError:
            return None
        except StorageAccessError:
            continue
        return name
    return "denied"


def path(bucket: str, key: str = "") -> UPath:
    """Return a path that the user can read with; makes no request.

    Its only option is `anon=True`, without credentials or if the bucket refuses them: a path is
    shown and pickled with its options.
    """
    from upath import UPath

    key = key.strip("/")
    configure_s3fs()
    try:
        anonymous = client_of(Client).is_anonymous(bucket)
    except (CredentialsError, SettingsError) as error:
        # Reading the path will fail, but where it is does not depend on that.
        log.debug("%s", error)
        anonymous = False
    place = f"s3://{bucket}/{key}" if key else f"s3://{bucket}"
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
    """Return bucket and key of a `UPath` or of text such as `s3://bucket/key`.

    Raises `ValueError` if it is not a path in S3.

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
