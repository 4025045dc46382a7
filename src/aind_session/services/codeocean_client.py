"""The Code Ocean SDK's client, with a token that does not show, and errors that are ours.

Code that catches `codeocean.error.Error` or `requests.HTTPError`, and looks at `status_code` or
`response.status_code`, works with these errors. They hold facts only: no request header, no token.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any, cast
from urllib.parse import quote

import requests
from requests import HTTPError, Response
from urllib3.util import Retry

from aind_session import context, settings
from aind_session.errors import (
    AccessDeniedError,
    BadAnswerError,
    CredentialsError,
    IncompleteAnswerError,
    InvalidIdentifierError,
    ServiceError,
)
from aind_session.services import redact
from aind_session.services.exchange import Exchange, exchange_of
from aind_session.services.http import Transport, guard_session
from aind_session.services.sdk import CodeOcean, Error

SERVICE = "Code Ocean"
LONGEST_MESSAGE = 1000
#: The route that shows whether a token is good.
PROBE = "data_assets/search"
#: How long a token that was refused is not tried again.
REFUSED_SECONDS = 10.0
#: A header of the SDK; an older server answers 400 to every request that has it.
SERVER_HEADER = "Min-Server-Version"
#: The oldest server that each version of the SDK is made for.
OLDEST_SERVERS: Mapping[str, tuple[int, ...]] = {
    "0.17": (4, 8, 0),
    "0.16": (4, 6, 0),
    "0.15": (4, 3, 0),
    "0.14": (4, 2, 0),
    "0.13": (4, 1, 0),
    "0.12": (4, 0, 0),
}
_VERSION_MESSAGE = re.compile(r"min(imum)?[-_ ]?server[-_ ]?version|server version", re.IGNORECASE)
_VERSION = re.compile(r"\b\d+\.\d+(?:\.\d+)?\b")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class CodeOceanError(ServiceError, Error, HTTPError):  # type: ignore[misc]
    """Code Ocean answered with an error.

    Parameters
    ----------
    text
        The request, the response, the next step.
    answer
        Facts of the response: `status`, `body`, `url`, `method`, `headers`, `reason`.

    Attributes
    ----------
    response : requests.Response
        Status, body, few headers; nothing of the request but its URL.
    message : str
        The service's own message.
    data : object
        The response's JSON; None if it was not JSON.
    http_err : requests.HTTPError
        What `requests` would have raised.
    """

    response: Response
    status_code: int
    data: Any
    http_err: HTTPError

    def __init__(self, text: str, answer: dict[str, Any], **facts: Any) -> None:
        # Not through `super()`: the SDK's own constructor takes a `requests` error.
        Exception.__init__(self, text)
        self.__dict__.update(facts)
        self.service = SERVICE
        self._text, self._answer = text, answer
        self.response = redact.bare_response(**answer)
        self.request = self.response.request
        self.status = self.status_code = answer["status"]
        self.http_err = HTTPError(
            f"{self.status_code} {self.response.reason} for url: {self.response.url}",
            response=self.response,
        )
        self.data, message = None, "An error occurred."
        try:
            self.data = json.loads(answer["body"])
        except (ValueError, RecursionError):
            message = answer["body"].decode("utf-8", "replace")
        if isinstance(self.data, dict):
            message = str(self.data.get("message", message))
        self.message = redact.escape(message)

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), **self._facts()), (self._text, self._answer)

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("attempts", "seconds", "request_id")}

    def as_kind(self, cls: type[CodeOceanError], text: str) -> CodeOceanError:
        """Return the same response as an error of another class, with text before the message."""
        return cls(f"{text}: {self._text}", self._answer, **self._facts())


class CodeOceanNotFoundError(CodeOceanError, ValueError):
    """No asset, computation or file has this ID or name."""


class ClosedAssetError(CodeOceanError, AccessDeniedError):
    """It exists, and the token is good, but has no access to it."""


class RefusedTokenError(CredentialsError, CodeOceanError, ValueError):
    """The token itself is not accepted: expired, revoked, mistyped, or without the scope."""


class IncompleteSearchError(CodeOceanError, IncompleteAnswerError):
    """A later page of a search failed: the pages before it are not the whole result."""


def error_of(cls: type[CodeOceanError], response: Response, advice: str = "") -> CodeOceanError:
    """Make an error of a response of the transport."""
    exchange: Exchange = getattr(response, "exchange", None) or Exchange(
        SERVICE, response.request.method or "GET", str(response.url), 0.0, 1
    )
    answer = redact.facts_of(response, exchange.secrets)
    said = f" Its message: {_message(answer['body'])}" if answer["body"].strip() else ""
    advice = f" {advice}" if advice else ""
    text = f"{SERVICE} answered {response.status_code} to {exchange.summary()}.{advice}{said}"
    error = cls(text, answer, **exchange.facts(response.status_code))
    error.__cause__ = error.http_err
    return error


def _message(body: bytes) -> str:
    """Return the service's own message, or the start of what came in its place."""
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        return redact.excerpt(str(json.loads(body)["message"]), limit=LONGEST_MESSAGE)
    return redact.excerpt(body)


def version_advice(message: str) -> str:
    """Return what to install if a server refuses this version of the SDK; else an empty string.

    Examples
    --------
    >>> print(version_advice("Min-Server-Version 4.8.0 is newer than this server, 4.2.1"))
    ... # doctest: +ELLIPSIS
    The server (4.2.1) refuses the installed SDK, codeocean ...: pip install "codeocean==0.14.*"
    """
    if not _VERSION_MESSAGE.search(message):
        return ""
    demanded = CodeOcean.MIN_SERVER_VERSION
    versions = [text for text in _VERSION.findall(message) if text != demanded]
    server = min(map(_numbers, versions), default=None)
    fitting = [sdk for sdk, oldest in OLDEST_SERVERS.items() if server and oldest <= server]
    named = f" ({'.'.join(map(str, server))})" if server else f", older than {demanded},"
    return (
        f"The server{named} refuses the installed SDK, codeocean {metadata.version('codeocean')}, "
        f"which demands {demanded}: "
        f'pip install "codeocean=={fitting[0] if fitting else min(OLDEST_SERVERS)}.*"'
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class Client(CodeOcean):  # type: ignore[misc]
    """The real SDK client; everything it sends goes through the package's transport.

    Its `repr` shows no token. A pickle holds none either: where it is loaded it becomes the client
    of that process, made of its own settings.
    """

    def __init__(self, domain: str, token: str, *, timeout: float, attempts: int) -> None:
        self._limits = (timeout, attempts)
        super().__init__(domain=domain, token=token)

    def __post_init__(self) -> None:
        super().__post_init__()
        timeout, attempts = self._limits
        self.transport = Transport(
            SERVICE, home=self.domain, timeout=timeout, attempts=attempts, json=True
        )
        # Mounted at the domain too: the SDK's own adapter there would be the nearer match.
        guard_session(self.session, self.transport, self.domain)
        self.session.hooks["response"] = [self._error_handler]
        # Nothing that is read here needs a newer server than 4.0.
        self.session.headers.pop(SERVER_HEADER, None)

    def __repr__(self) -> str:
        return f"CodeOcean(domain={self.domain!r}, token=***)"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return get_client, ()

    def _error_handler(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Raise the error for a response, if any; called by `requests` for each response."""
        if response.status_code >= 400:
            raise self._error(response)
        exchange = exchange_of(response)
        if exchange.is_garbled:
            shown = redact.excerpt(response.content, exchange.secrets) or "(nothing)"
            raise BadAnswerError(
                f"{SERVICE} answered {response.status_code} with no JSON to "
                f"{exchange.summary()}: {shown}",
                **exchange.facts(response.status_code),
            )

    def _error(self, response: requests.Response) -> CodeOceanError:
        status = response.status_code
        if redact.origin_of(str(response.url)) != redact.origin_of(self.domain):
            # A response from another host does not show whether the token is valid.
            return error_of(CodeOceanError, response)
        if status == 400:
            text = response.content[:10_000].decode("utf-8", "replace")
            return error_of(CodeOceanError, response, version_advice(text))
        if status in (403, 404) and redact.is_web_page(response):
            return error_of(
                CodeOceanError,
                response,
                "This is a page of a gateway: it does not show whether the item exists.",
            )
        # A search has a route of its own: it may find nothing, but always exists.
        is_search = str(response.url).endswith(PROBE)
        if status == 404 and not is_search:
            return error_of(CodeOceanNotFoundError, response)
        if status == 403:
            return error_of(ClosedAssetError, response, "The token has no access to it.")
        if status != 401:
            return error_of(CodeOceanError, response)
        return self._refusal(response, is_search)

    def _refusal(self, response: requests.Response, is_search: bool) -> CodeOceanError:
        """Return the error of a 401: whether the token, or only this asset, is refused."""
        try:
            # Every good token may search: a search is its own probe.
            accepted = not is_search and self.accepts_token()
        except ServiceError as problem:
            advice = f"Whether the token is good is not known ({problem})."
            return error_of(CodeOceanError, response, advice)
        if accepted:
            advice = "The token is good, but has no access to this."
            return error_of(ClosedAssetError, response, advice)
        advice = (
            "The token is refused: make a new one (scope `Datasets: Read`) and set "
            f"{settings.TOKEN_NAME}."
        )
        return error_of(RefusedTokenError, response, advice)

    def accepts_token(self) -> bool:
        """Whether the token is good; cached for a time."""
        who = hashlib.sha256(f"{self.domain}\0{self.token}".encode()).hexdigest()[:16]
        key = ("token", who)
        try:
            return context.current().cache.get(key, self._is_good)
        except (RefusedTokenError, ClosedAssetError):
            # A service that refuses for a moment does not make a good token bad for long.
            seconds = min(REFUSED_SECONDS, settings.current().cache_seconds.value)
            context.current().cache.put(key, False, seconds)
            return False

    def _is_good(self) -> bool:
        self.probe()
        return True

    def probe(self) -> None:
        """Send the smallest request that every good token may send; raise its error."""
        self.session.post(PROBE, json={"limit": 1, "archived": False})


def get_client(check_credentials: bool = False, retries: int | Retry | None = None) -> CodeOcean:
    """Return the Code Ocean client of the current settings."""
    current = settings.current()
    token = current.require_token()
    attempts = current.attempts.value if retries is None else 1 + _times(retries)
    key = (current.domain.value, token, current.timeout.value, attempts)

    def make() -> Client:
        return Client(current.domain.value, token, timeout=current.timeout.value, attempts=attempts)

    client = context.current().client((SERVICE, *key), make)
    if check_credentials and not client.accepts_token():
        # Sent once more, so that the error has the service's own message.
        client.probe()
    return client


def _times(retries: int | Retry) -> int:
    if isinstance(retries, Retry):
        return int(retries.total or 0)
    return max(0, int(retries))


def request(method: str, path: str, **options: Any) -> requests.Response:
    """Send a request with the client's credentials; its hook raises the errors."""
    client = cast("Client", get_client())
    response: requests.Response = client.session.request(method, path, **options)
    return response


def checked_id(text: str, what: str) -> str:
    """Return an ID that is safe in a URL."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidIdentifierError(f"{text!r:.80} is not a valid ID of a {what}")
    return quote(text)


def request_runnable(capsule_or_pipeline_id: str, rest: str = "") -> tuple[requests.Response, bool]:
    """Send a request about a capsule or pipeline; return the response and if it is a pipeline."""
    owner = checked_id(capsule_or_pipeline_id, "capsule or pipeline")
    try:
        return request("GET", f"capsules/{owner}{rest}"), False
    except CodeOceanNotFoundError:
        # Pipelines have a route of their own since server 4.1; before, they were capsules here.
        pass
    try:
        return request("GET", f"pipelines/{owner}{rest}"), True
    except CodeOceanNotFoundError as error:
        text = f"There is no capsule or pipeline {owner!r} that this token may see"
        raise error.as_kind(CodeOceanNotFoundError, text) from error
