"""URLs, requests, responses and text without the secrets they were sent with.

Errors, logs and pickles hold only what has passed through here.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from requests import PreparedRequest, Response
from requests.structures import CaseInsensitiveDict

Origin = tuple[str, str, int]

#: Headers that identify the sender.
CREDENTIAL_HEADERS = ("Authorization", "Proxy-Authorization", "Cookie", "X-Amz-Security-Token")
REQUEST_ID_HEADERS = (
    "X-Request-Id",
    "X-Amzn-RequestId",
    "X-Amz-Request-Id",
    "Apigw-Requestid",
    "X-Amz-Apigw-Id",
    "X-Correlation-Id",
)
HIDDEN = "***"
EXCERPT = 200

_KEPT_HEADERS = ("Content-Type", "Content-Length", "Date", "Retry-After", "Location")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:-]*")
# As it is, and in base64, as it goes over the wire.
_TOKEN = re.compile(r"(?i:cop_[A-Z0-9]{8,})|Y29wX[A-Za-z0-9+/]{8,}={0,2}")
# C0, DEL, C1, line separators, and marks that change the direction of text.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Target(NamedTuple):
    """A URL without user, also without query; its origin; whether it is on this machine."""

    url: str
    bare: str
    origin: Origin
    is_local: bool


def target_of(url: str) -> Target:
    """Return where a URL leads; raises `ValueError` for an invalid one."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return Target(
        parts.geturl(),
        parts._replace(query="", fragment="").geturl(),
        (scheme, host, parts.port or _DEFAULT_PORTS.get(scheme, 0)),
        _is_local(host),
    )


def origin_of(url: str) -> Origin:
    """Return scheme, host and port: what credentials belong to."""
    return target_of(url).origin


def is_url(text: str) -> bool:
    """Whether text from a server is a URL that a request can be sent to.

    Examples
    --------
    >>> is_url("https://example.org/a"), is_url("example.org/a"), is_url("http://[")
    (True, False, False)
    """
    try:
        scheme, host, _ = origin_of(text)
    except ValueError:
        return False
    return scheme in _DEFAULT_PORTS and _HOST.fullmatch(host) is not None


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine.

    Examples
    --------
    >>> is_loopback("http://127.0.0.1:8000/api"), is_loopback("https://example.org")
    (True, False)
    """
    return _is_local(urlsplit(url).hostname or "")


@functools.lru_cache(maxsize=64)
def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def place_of(url: str | None) -> str:
    """Return host and path of a URL, without user and query (a presigned link's signature)."""
    parts = urlsplit(url or "")
    return escape(f"{parts.netloc.rpartition('@')[2]}{parts.path}")


def bare_url(url: str | None) -> str:
    """Return a URL without user and query; an empty string for an invalid URL."""
    try:
        return target_of(url or "").bare
    except ValueError:
        return ""


def secrets_of(headers: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the secrets in a request's headers, in every form a server could repeat them in."""
    found: set[str] = set()
    for value in filter(None, map(headers.get, CREDENTIAL_HEADERS)):
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        found.add(text)
        scheme, _, credentials = text.partition(" ")
        if scheme.lower() in ("basic", "bearer"):
            found.add(credentials)
            with contextlib.suppress(ValueError):
                found.update(base64.b64decode(credentials).decode("latin-1").split(":", 1))
    return tuple(sorted(filter(None, found), key=len, reverse=True))


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


def escape(text: str) -> str:
    r"""Escape characters that could control a terminal or forge a line of a log.

    Examples
    --------
    >>> escape("a\x1b[31mred\u202e\n")
    'a\\x1b[31mred\\u202e\\n'
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def excerpt(text: bytes | str, secrets: tuple[str, ...] = (), limit: int = EXCERPT) -> str:
    """Return the first characters of text from a service, scrubbed and escaped."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # Hidden in all of it before it is cut: a part of a secret is not recognized, and session tokens
    # can have thousands of characters.
    return escape(scrub(text, secrets)[:limit])


def without_text(error: Exception) -> Exception:
    """Remove the text that could not be decoded from a decoding error, which holds all of it."""
    if isinstance(error, json.JSONDecodeError):
        error.doc = ""
    elif isinstance(error, UnicodeDecodeError):
        error.object = b""
        error.args = (error.encoding, b"", *error.args[2:])
    return error


def bare_response(
    status: int,
    body: bytes = b"",
    *,
    url: str = "",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    reason: str = "",
) -> Response:
    """Make a response that holds facts only: no connection, no history, no request headers.

    The URL must have no user or query.
    """
    response, request = Response(), PreparedRequest()
    response.status_code, response.reason, response.url = status, reason, url
    response.encoding = "utf-8"
    response.headers = CaseInsensitiveDict(headers or {})
    request.method, request.url, request.headers = method, url, CaseInsensitiveDict()
    request.hooks = {"response": []}
    response.request = request
    response.raw = io.BytesIO(body)
    # Reading it once makes the response keep it.
    _ = response.content
    return response


def facts_of(response: Response, secrets: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what an error may hold of a response: the arguments of `bare_response`."""
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
        "reason": excerpt(response.reason or "", secrets),
    }


def is_web_page(response: Response) -> bool:
    """Whether a response is an HTML page; not every gateway sets the content type."""
    kind = response.headers.get("Content-Type", "")
    return kind.startswith("text/html") or _start(response).startswith(
        (b"<!doctype html", b"<html")
    )


def is_no_file(response: Response, path: str) -> bool:
    """Whether a page, or S3's XML of an error, came in place of a file."""
    start = _start(response)
    is_error = start.startswith((b"<?xml", b"<error>")) and b"<error>" in start
    return is_error or (is_web_page(response) and not path.lower().endswith((".html", ".htm")))


def _start(response: Response) -> bytes:
    return response.content[:500].lstrip().lower()
