"""The AWS account that requests to S3 are made with, and their signatures."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aind_session import setting_values
from aind_session.errors import CredentialsError, SettingsError
from aind_session.services.redact import scrub

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
_FILES = {
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "": "~/.boto",
}


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

    Raises `CredentialsError` if the credentials cannot be read, `SettingsError` for a region or
    endpoint that is not valid.
    """
    env = os.environ.get
    key, secret = env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")
    files = (os.path.expanduser(env(name) or path) for name, path in _FILES.items())
    # Unless the environment is the only source of credentials and settings.
    if (
        bool(key) != bool(secret)
        or any(map(env, _OTHER_SOURCES))
        or any(map(os.path.isfile, files))
        or (not key and _uses_metadata())
    ):
        return _account_of_botocore()
    keys = Keys(key, secret, env("AWS_SESSION_TOKEN") or None) if key and secret else None
    return _account(lambda: keys, keys is not None, {}, {})


def _uses_metadata() -> bool:
    """Return True where the EC2 metadata address answers; elsewhere it costs seconds."""
    disabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower()
    return disabled == "false" or (disabled != "true" and any(map(os.environ.get, _IN_THE_CLOUD)))


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
    env = os.environ.get
    configured = "{} in the AWS configuration".format
    endpoints = {
        "AWS_ENDPOINT_URL_S3": env("AWS_ENDPOINT_URL_S3"),
        "AWS_ENDPOINT_URL": env("AWS_ENDPOINT_URL"),
        configured("endpoint_url"): services.get("endpoint_url") or profile.get("endpoint_url"),
    }
    if env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        endpoints = {}
    where, endpoint = next(((k, str(v)) for k, v in endpoints.items() if v), ("", ""))
    if endpoint and (why := _quoted(endpoint) or setting_values.check_url(endpoint)):
        raise _invalid(where, why, "a URL such as https://s3.us-west-2.amazonaws.com")
    where, region = "AWS_DEFAULT_REGION", env("AWS_DEFAULT_REGION")
    if not region:
        where, region = configured("region"), str(profile.get("region") or DEFAULT_REGION)
    form = r"[A-Za-z0-9-]{1,63}" if endpoint else r"[a-z]{2,}(-[a-z]+)+-\d+"
    if not re.fullmatch(form, region):
        why = _quoted(region) or "there can be no such region"
        raise _invalid(where, why, f"a region such as {DEFAULT_REGION}")
    variant = ""
    for name, part in (("use_fips_endpoint", "-fips"), ("use_dualstack_endpoint", ".dualstack")):
        wanted = env(f"AWS_{name.upper()}") or str(profile.get(name, ""))
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

    `region` is part of the signature; `now` is the time in seconds since 1970.
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
