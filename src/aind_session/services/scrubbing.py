"""Requests and responses without the secrets they went out with.

Errors carry them, logs show them, pickles keep them: what leaves the transport has been through
here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from requests import PreparedRequest, Response
from requests.structures import CaseInsensitiveDict

from aind_session.services.addresses import bare_url

#: Headers that say who asks.
CREDENTIAL_HEADERS = ("Authorization", "Proxy-Authorization", "Cookie", "X-Amz-Security-Token")
_KEPT_HEADERS = ("Content-Type", "Content-Length", "Date", "Retry-After", "Location")
REQUEST_ID_HEADERS = (
    "X-Request-Id",
    "X-Amzn-RequestId",
    "X-Amz-Request-Id",
    "Apigw-Requestid",
    "X-Amz-Apigw-Id",
    "X-Correlation-Id",
)
# As it is, and in base64, as it goes over the wire.
_TOKEN = re.compile(r"(?i:cop_[A-Z0-9]{8,})|Y29wX[A-Za-z0-9+/]{8,}={0,2}")
HIDDEN = "***"
EXCERPT = 200


def secrets_of(request: PreparedRequest) -> tuple[str, ...]:
    """Give the secrets that a request carries, in every form they could come back in."""
    found: list[str] = []
    for name in CREDENTIAL_HEADERS:
        value = request.headers.get(name)
        if not value:
            continue
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        found.append(text)
        scheme, _, credentials = text.partition(" ")
        if scheme.lower() not in ("basic", "bearer") or not credentials:
            continue
        found.append(credentials)
        try:
            user, _, password = base64.b64decode(credentials).decode("latin-1").partition(":")
        except (binascii.Error, ValueError):
            continue
        found += [part for part in (user, password) if part]
    return tuple(sorted(set(found), key=len, reverse=True))


def scrub(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Hide secrets in a text, and whatever looks like a token.

    Examples
    --------
    >>> scrub("token cop_0123456789abcdef refused")
    'token *** refused'
    >>> scrub("Authorization: Basic Y29wXzAxMjM0NTY3ODlhYmNkZWY6")
    'Authorization: Basic ***'
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _TOKEN.sub(HIDDEN, text)


def excerpt(body: bytes, secrets: tuple[str, ...] = (), limit: int = EXCERPT) -> str:
    """Give the first characters of a body, to show what came instead of an answer."""
    return scrub(body[: 8 * limit].decode("utf-8", "replace"), secrets)[:limit]


def without_text(error: Exception) -> Exception:
    """Take what could not be decoded out of the error that tells so: it holds all of it."""
    if isinstance(error, json.JSONDecodeError):
        error.doc = ""
    elif isinstance(error, UnicodeDecodeError):
        error.object = b""
        error.args = (error.encoding, b"", *error.args[2:])
    return error


def bare_request(request: PreparedRequest) -> PreparedRequest:
    """Give a request with method, place and content type, and nothing else."""
    bare = PreparedRequest()
    bare.method, bare.url = request.method, bare_url(request.url)
    bare.headers = CaseInsensitiveDict()
    if "Content-Type" in request.headers:
        bare.headers["Content-Type"] = request.headers["Content-Type"]
    bare.hooks = {"response": []}
    return bare


def bare_response(
    status: int,
    body: bytes = b"",
    *,
    url: str = "",
    method: str = "GET",
    headers: dict[str, str] | None = None,
    reason: str = "",
) -> Response:
    """Make a response that holds facts only: no connection, no history, no request headers."""
    response = Response()
    response.status_code = status
    response.reason = reason
    response.url = bare_url(url)
    response.encoding = "utf-8"
    response.headers = CaseInsensitiveDict(headers or {})
    response._content = body
    response._content_consumed = True
    request = PreparedRequest()
    request.method, request.url, request.headers = method, response.url, CaseInsensitiveDict()
    request.hooks = {"response": []}
    response.request = request
    return response


def facts_of(response: Response, secrets: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give what an error may carry of an answer: the arguments of `bare_response`."""
    headers = {
        name: bare_url(value) if name == "Location" else scrub(value, secrets)
        for name in (*_KEPT_HEADERS, *REQUEST_ID_HEADERS)
        if (value := response.headers.get(name))
    }
    return {
        "status": response.status_code,
        "body": scrub(response.content.decode("utf-8", "replace"), secrets).encode(),
        "url": scrub(bare_url(response.url), secrets),
        "method": response.request.method or "GET",
        "headers": headers,
        "reason": scrub(response.reason or "", secrets),
    }


def request_id_of(response: Response, secrets: tuple[str, ...] = ()) -> str | None:
    """Give the service's own name for a request, if it gave one."""
    ids = (response.headers.get(name) for name in REQUEST_ID_HEADERS)
    return next((scrub(found, secrets)[:EXCERPT] for found in ids if found), None)
