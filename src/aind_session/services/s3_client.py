"""Requests to S3: the AWS account that they are made with, their signatures, and errors.

boto3 is not used: its client costs 80 ms of CPU time to make and twice as much per listing, and it
logs session tokens at DEBUG.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import requests
from requests.structures import CaseInsensitiveDict

from aind_session import setting_values
from aind_session.clock import CLOCK
from aind_session.errors import (
    AccessDeniedError,
    BadAnswerError,
    CredentialsError,
    ServiceError,
    SettingsError,
)
from aind_session.services.exchange import exchange_of
from aind_session.services.http import Transport
from aind_session.services.redact import excerpt, scrub

log = logging.getLogger("aind_session.services")

SERVICE = "S3"
#: Region of AIND's buckets.
DEFAULT_REGION = "us-west-2"
# Set by Code Ocean and AWS Batch, where the address of the EC2 metadata service answers.
_IN_THE_CLOUD = ("CO_CAPSULE_ID", "CO_COMPUTATION_ID", "AWS_BATCH_JOB_ID")
# Set if botocore may find credentials elsewhere than in environment variables.
_OTHER_SOURCES = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CREDENTIAL_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    "BOTO_CONFIG",
)
#: The variable for CA certificates that AWS clients read.
CA_VARIABLE = "AWS_CA_BUNDLE"
_FILES = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "": "~/.boto",
}
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
class Keys:
    """Credentials as they are at one moment; never shown."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False, default=None)


@dataclass(frozen=True)
class Account:
    """What requests to S3 are made with.

    Attributes
    ----------
    keys : callable
        Returns the current credentials, renewed if they expire, or None.
    region : str
        Region of buckets whose own is not known.
    endpoint : str
        URL that replaces AWS, or "".
    variant : str
        Part of AWS host names for FIPS and dual-stack endpoints.
    """

    keys: Callable[[], Keys | None] = field(repr=False)
    has_credentials: bool
    region: str
    endpoint: str = ""
    variant: str = ""

    def host(self, region: str) -> str:
        """Return the host of S3 in a region."""
        china = ".cn" if region.startswith("cn-") else ""
        return f"s3{self.variant}.{region}.amazonaws.com{china}"


def find_account() -> Account:
    """Return the account that environment and AWS configuration select.

    Raises
    ------
    CredentialsError
        The credentials cannot be read.
    SettingsError
        The region or endpoint is not valid.
    """
    if _needs_botocore():
        return _account_of_botocore()
    key, secret = (_env(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    keys = Keys(key, secret, _env("AWS_SESSION_TOKEN") or None) if key else None
    return _account(lambda: keys, keys is not None, {}, {})


def _env(name: str) -> str:
    return os.environ.get(name, "")


def _needs_botocore() -> bool:
    """Return True unless the environment is the only source of credentials and settings."""
    if bool(_env("AWS_ACCESS_KEY_ID")) != bool(_env("AWS_SECRET_ACCESS_KEY")):
        return True
    if any(map(_env, _OTHER_SOURCES)) or (_uses_metadata() and not _env("AWS_ACCESS_KEY_ID")):
        return True
    paths = (os.path.expanduser(_env(name) or path) for name, path in _FILES.items())
    return any(map(os.path.isfile, paths))


def _uses_metadata() -> bool:
    """Return True where the EC2 metadata address answers; elsewhere it costs seconds."""
    disabled = _env("AWS_EC2_METADATA_DISABLED").lower()
    return disabled == "false" or (disabled != "true" and any(map(_env, _IN_THE_CLOUD)))


def _account_of_botocore() -> Account:
    import botocore.exceptions
    import botocore.session

    problem = ""
    try:
        session = botocore.session.Session()
        if not _uses_metadata():
            session.get_component("credential_provider").remove("iam-role")
        session.set_config_variable("metadata_service_timeout", 1)
        session.set_config_variable("metadata_service_num_attempts", 1)
        credentials = session.get_credentials()
        profile, everything = session.get_scoped_config(), session.full_config
    except botocore.exceptions.BotoCoreError as error:
        problem = scrub(str(error))[:200]
    if problem:
        raise CredentialsError(
            f"The AWS credentials cannot be read: {problem}. Check AWS_PROFILE and the files in "
            "~/.aws; without both, public buckets are read anonymously.",
            service=SERVICE,
        )

    def keys() -> Keys | None:
        try:
            found = None if credentials is None else credentials.get_frozen_credentials()
        except botocore.exceptions.BotoCoreError as error:
            why = type(error).__name__
        else:
            return None if found is None else Keys(found.access_key, found.secret_key, found.token)
        raise CredentialsError(
            f"The AWS credentials cannot be renewed ({why}): log in again (`aws sso login`, or a "
            "new AWS secret in the capsule).",
            service=SERVICE,
        )

    services = everything.get("services", {}).get(profile.get("services"), {}).get("s3", {})
    return _account(keys, credentials is not None, profile, services)


def _account(
    keys: Callable[[], Keys | None],
    has_credentials: bool,
    profile: Mapping[str, Any],
    services: Mapping[str, Any],
) -> Account:
    configured = "{} in the AWS configuration".format
    endpoints = [
        ("AWS_ENDPOINT_URL_S3", _env("AWS_ENDPOINT_URL_S3")),
        ("AWS_ENDPOINT_URL", _env("AWS_ENDPOINT_URL")),
        (configured("endpoint_url"), str(services.get("endpoint_url") or "")),
        (configured("endpoint_url"), str(profile.get("endpoint_url") or "")),
    ]
    if _env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS").lower() == "true":
        endpoints = []
    where, endpoint = next((one for one in endpoints if one[1]), ("", ""))
    if endpoint and (why := _quoted(endpoint) or setting_values.check_url(endpoint)):
        raise _invalid(where, why, "a URL such as https://s3.us-west-2.amazonaws.com")
    regions = [
        ("AWS_DEFAULT_REGION", _env("AWS_DEFAULT_REGION")),
        (configured("region"), str(profile.get("region") or "")),
    ]
    where, region = next((one for one in regions if one[1]), ("", DEFAULT_REGION))
    form = r"[A-Za-z0-9-]{1,63}" if endpoint else r"[a-z]{2,}(-[a-z]+)+-\d+"
    if not re.fullmatch(form, region):
        why = _quoted(region) or "there can be no such region"
        raise _invalid(where, why, f"a region such as {DEFAULT_REGION}")
    variant = ""
    for name, part in (("use_fips_endpoint", "-fips"), ("use_dualstack_endpoint", ".dualstack")):
        wanted = _env(f"AWS_{name.upper()}") or str(profile.get(name, ""))
        variant += part if wanted.lower() == "true" else ""
    return Account(keys, has_credentials, region, endpoint.rstrip("/"), variant)


def _quoted(text: str) -> str:
    is_bare = text == setting_values.bare(text)
    return "" if is_bare else "it has quotes or spaces around it, which AWS clients do not remove"


def _invalid(where: str, why: str, expected: str) -> SettingsError:
    place = where if " " in where else f"{where} in the environment"
    return SettingsError(
        f"{place} is not valid: {why}. Expected: {expected}.", service=SERVICE, variable=where
    )


def sign(keys: Keys, region: str, method: str, url: str, body: bytes, now: float) -> dict[str, str]:
    """Return the headers of AWS's signature, version 4, for a request with a sorted query.

    Parameters
    ----------
    keys, region
        Credentials, and the region that is part of the signature.
    method, url, body
        The request.
    now
        Time in seconds since 1970.
    """
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    parts = urlsplit(url)
    payload = hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": payload, "x-amz-date": moment}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = ";".join(headers)
    lines = [method, parts.path or "/", parts.query, *(f"{k}:{v}" for k, v in headers.items())]
    canonical = "\n".join([*lines, "", names, payload])
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{keys.secret_key}".encode()
    for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = f"Credential={keys.access_key}/{scope}"
    signature = f"SignedHeaders={names}, Signature={key.hex()}"
    del headers["host"]
    return {**headers, "Authorization": f"AWS4-HMAC-SHA256 {credential}, {signature}"}


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


class Client:
    """Send requests with one set of credentials.

    Attributes
    ----------
    anonymous : set of str
        Buckets that refused the credentials and answered without.
    regions : dict
        Region by bucket, if S3 named another one than the account's.
    """

    def __init__(self, account: Account, timeout: float, attempts: int) -> None:
        self.account = account
        self.anonymous: set[str] = set()
        self.regions: dict[str, str] = {}
        self.transport = Transport(
            SERVICE,
            home="*",
            timeout=timeout,
            attempts=attempts,
            redirects=False,
            decode=False,
            ca_variable=CA_VARIABLE,
        )

    def close(self) -> None:
        """Close all connections."""
        self.transport.close()

    def is_anonymous(self, bucket: str) -> bool:
        """Return True if a bucket is read without credentials."""
        return not self.account.has_credentials or bucket in self.anonymous

    def get(self, request: Request) -> requests.Response:
        """Read with credentials, and anonymously if they are refused."""
        if self.is_anonymous(request.bucket):
            return self.send(request, signed=False)
        try:
            return self.send(request)
        except StorageAccessError as error:
            refusal = error
        # Outside of the block above: the refusal is not the cause of what follows.
        try:
            response = self.send(request, signed=False)
        except StorageAccessError:
            raise refusal from None
        except StorageNotFoundError:
            self.anonymous.add(request.bucket)
            raise
        log.info("The credentials are refused by bucket %s: it is read anonymously", request.bucket)
        self.anonymous.add(request.bucket)
        return response

    def send(self, request: Request, signed: bool = True) -> requests.Response:
        """Send a request, again if S3 names another region; raise an error for its status."""
        if not _BUCKET.fullmatch(request.bucket):
            raise StorageError(f"{request.bucket!r:.80} is not a valid bucket name")
        region = self.regions.get(request.bucket, self.account.region)
        response = self._send_to(region, request, signed)
        other = _other_region(response)
        if other not in ("", region):
            self.regions[request.bucket] = other
            response = self._send_to(other, request, signed)
        if response.status_code >= 400:
            raise _error_of(response, request.place)
        return response

    def _send_to(self, region: str, request: Request, signed: bool) -> requests.Response:
        keys = self.account.keys() if signed else None
        url = request.url(self.account, region)
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = request.method, url
        prepared.body = request.body or None
        prepared.headers = CaseInsensitiveDict({"Host": urlsplit(url).netloc})
        if request.method == "PUT":
            prepared.headers["Content-Length"] = str(len(request.body))
        if request.range is not None:
            prepared.headers["Range"] = f"bytes={request.range[0]}-{request.range[1]}"
        if request.etag:
            prepared.headers["If-Match"] = request.etag
        if keys is not None:
            prepared.headers.update(
                sign(keys, region, request.method, url, request.body, CLOCK.time())
            )
        prepared.hooks = {"response": []}
        return self.transport.send(prepared)


def xml(body: bytes) -> ElementTree.Element | None:
    """Return the root of an XML document, or None if it is not one."""
    try:
        return ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None


def tag(element: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def texts(element: ElementTree.Element | None) -> dict[str, str]:
    """Return the text of each child by its name."""
    return {} if element is None else {tag(child): child.text or "" for child in element}


def _other_region(response: requests.Response) -> str:
    """Return the region of a bucket, if S3 reported it instead of answering."""
    if response.status_code not in (301, 307, 400):
        return ""
    named = response.headers.get("x-amz-bucket-region") or texts(xml(response.content)).get(
        "Region", ""
    )
    return named if re.fullmatch(r"[a-z0-9-]{1,63}", named) else ""


def _error_of(response: requests.Response, place: str) -> StorageError:
    """Return the error for a status; it keeps nothing of the response but facts."""
    status, asked = response.status_code, exchange_of(response)
    details = texts(xml(response.content))
    code = scrub(details.get("Code", ""), asked.secrets)[:80]
    # Hidden before it is cut: a part of a token must not remain.
    message = scrub(details.get("Message", ""), asked.secrets)[:200]
    cls, meaning = StorageError, "failed"
    if code in _EXPIRED:
        cls, meaning = StorageCredentialsError, "renew your AWS credentials, which are not accepted"
    elif status in (401, 403) or code == "RequestExpired":
        cls, meaning = StorageAccessError, "no access"
    elif code in _ABSENT:
        cls, meaning = StorageNotFoundError, "not found"
    text = f"{place}: {meaning} (S3 answered {status} {code} to {asked.summary()}: {message})"
    return cls(text, **asked.facts(status))


def unreadable(response: requests.Response, what: str) -> BadAnswerError:
    """Return the error for a response that does not contain what was requested."""
    asked = exchange_of(response)
    shown = excerpt(response.content, asked.secrets) or "(nothing)"
    return BadAnswerError(
        f"S3 answered {response.status_code} without a {what} to {asked.summary()}: {shown}",
        **asked.facts(response.status_code),
    )
