"""boto3's client for S3, sending through the house's transport.

boto3 decides on credentials, addresses and signatures. What it hands over to be sent goes
out by our adapter (its own documented `before-send` event), so that there is one place for time
limits, repetition, log and connections.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3.session
import botocore.awsrequest
import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.session
import requests
from botocore import UNSIGNED
from requests.structures import CaseInsensitiveDict

from aind_session import settings
from aind_session.errors import BadAnswerError, CredentialsError
from aind_session.services.exchange import exchange_of
from aind_session.services.http import Transport, bare_session
from aind_session.services.keeping import Kept, when_reset
from aind_session.services.redact import excerpt, is_no_file, scrub
from aind_session.services.storage_errors import SERVICE, last_asked

#: Where AIND's buckets are: asked there first, no request is spent on being sent elsewhere.
DEFAULT_REGION = "us-west-2"
# Variables that tell that Code Ocean or AWS Batch runs this, where a metadata address answers.
_IN_THE_CLOUD = ("CO_CAPSULE_ID", "CO_COMPUTATION_ID", "AWS_BATCH_JOB_ID")


_loader = botocore.loaders.create_loader()


@dataclass(frozen=True)
class _Identity:
    session: boto3.session.Session
    has_credentials: bool


def _find_identity() -> _Identity:
    try:
        return _read_identity()
    except botocore.exceptions.BotoCoreError as error:
        raise CredentialsError(
            f"The AWS credentials cannot be read: {scrub(str(error))}. Check AWS_PROFILE and the "
            "files in ~/.aws; without both, public buckets are read anonymously.",
            service=SERVICE,
        ) from error


def _read_identity() -> _Identity:
    session = botocore.session.Session()
    # Reading the descriptions of S3 is what takes time; they are the same for every session.
    session.register_component("data_loader", _loader)
    wanted = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "false"
    if not wanted and not any(os.environ.get(name) for name in _IN_THE_CLOUD):
        # Anywhere else the address of the EC2 metadata service is asked in vain, for seconds.
        session.get_component("credential_provider").remove("iam-role")
    session.set_config_variable("metadata_service_timeout", 1)
    session.set_config_variable("metadata_service_num_attempts", 1)
    return _Identity(
        boto3.session.Session(botocore_session=session), session.get_credentials() is not None
    )


_identities: Kept[_Identity] = Kept()
_clients: Kept[Any] = Kept(most=16, close=lambda client: client.close())


def _identity() -> _Identity:
    return _identities.get(settings.current().identity(SERVICE), _find_identity)


def has_credentials() -> bool:
    """Tell whether there are AWS credentials: environment, configuration, container, role."""
    return _identity().has_credentials


def client(anonymous: bool) -> Any:
    """Give the S3 client, with credentials or without.

    Parameters
    ----------
    anonymous
        Whether requests go out unsigned.
    """
    current = settings.current()
    key = (current.identity(SERVICE), anonymous, current.timeout.value, current.attempts.value)
    return _clients.get(
        key, lambda: _make(anonymous, current.timeout.value, current.attempts.value)
    )


def _make(anonymous: bool, timeout: float, attempts: int) -> Any:
    identity = _identity()
    options: dict[str, Any] = {
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "connect_timeout": timeout,
        "read_timeout": timeout,
    }
    if anonymous:
        options["signature_version"] = UNSIGNED
    config = botocore.config.Config(**options)
    with contextlib.suppress(TypeError):
        # Unknown to an older botocore; a newer one would send small files in signed pieces.
        config = config.merge(botocore.config.Config(request_checksum_calculation="when_required"))
    region = identity.session.region_name or DEFAULT_REGION
    client = identity.session.client("s3", region_name=region, config=config)
    transport = Transport(
        SERVICE, home="*", timeout=timeout, attempts=attempts, redirects=False, decode=False
    )
    client.meta.events.register("before-send.s3", _Sender(transport).send)
    return client


class _Sender:
    """Sends what botocore prepared, and gives it back as botocore reads it."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        # Only asked for the proxies and certificates of this environment.
        self.session = bare_session(transport)

    def send(self, request: Any, **_: Any) -> Any:
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url = request.method, request.url
        prepared.headers = CaseInsensitiveDict(
            {name: _text(value) for name, value in request.headers.items()}
        )
        # Made for servers that would refuse a long body: it costs a second round trip.
        prepared.headers.pop("Expect", None)
        body = request.body
        prepared.body = body.read() if hasattr(body, "read") else body
        prepared.hooks = {"response": []}
        bundle = os.environ.get("AWS_CA_BUNDLE") or None
        options = self.session.merge_environment_settings(request.url, {}, True, bundle, None)
        response = self.transport.send(prepared, **options)
        last_asked.asked = exchange_of(response)
        _check(response)
        return botocore.awsrequest.AWSResponse(
            response.url, response.status_code, dict(response.headers), _Body(response.content)
        )


def _check(response: requests.Response) -> None:
    """Refuse what botocore would read as an empty folder or a file, or ask again without end."""
    status, method = response.status_code, response.request.method
    place = urlsplit(response.url)
    what = "listing" if "list-type=2" in place.query else "file"
    start, end = response.content[:1000], response.content[-1000:]
    if 300 <= status < 400:
        # To learn where a bucket is, botocore asks by HEAD: sent on from there, it asks again.
        what, good = "place", method != "HEAD" or "x-amz-bucket-region" in response.headers
    elif status >= 400 or method != "GET":
        good = True
    elif what == "listing":
        good = b"<ListBucketResult" in start and b"</ListBucketResult>" in end
    else:
        # A file may hold anything, a page too; S3 has a tag for each, other servers have none.
        is_file = "ETag" in response.headers or not is_no_file(response, place.path)
        good = status in (200, 206) and is_file
    if good:
        return
    asked = exchange_of(response)
    raise BadAnswerError(
        f"S3 answered {status} with no {what} to {asked.summary()}: "
        f"{excerpt(start) or '(nothing)'}",
        **asked.facts(status),
    )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class _Body(io.BytesIO):
    """A body that has been read, in the form that botocore reads it from."""

    def stream(self, amt: int = 2**16, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


def forget_listings() -> None:
    """Forget the listings that paths keep: s3fs keeps them for as long as the process."""
    s3fs = sys.modules.get("s3fs")
    if s3fs is not None:
        for file_system in list(s3fs.S3FileSystem._cache.values()):
            file_system.invalidate_cache()


def _forget_file_systems() -> None:
    forget_listings()
    s3fs = sys.modules.get("s3fs")
    if s3fs is not None:
        s3fs.S3FileSystem.clear_instance_cache()


when_reset(_forget_file_systems)
