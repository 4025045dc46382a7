"""The connection to Code Ocean: credentials, errors, and the SDK's client on top of it.

Lookups send through `request`, without the SDK, whose import takes 60 ms.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from aind_session import context, settings
from aind_session.errors import (
    AccessDeniedError,
    BadAnswerError,
    CredentialsError,
    InvalidIdentifierError,
    ServiceError,
)
from aind_session.services import redact
from aind_session.services.exchange import exchange_of
from aind_session.services.http import Transport, bare_session, guard_session

if TYPE_CHECKING:
    from urllib3.util import Retry

    from aind_session.services.sdk import CodeOcean, CodeOceanError

SERVICE = "Code Ocean"
#: The route that shows whether a token is good.
PROBE = "data_assets/search"
#: How long a token that was refused is not tried again.
REFUSED_SECONDS = 10.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Connection:
    """Sends requests with one token, and raises the errors that responses stand for."""

    def __init__(self, domain: str, token: str, *, timeout: float, attempts: int) -> None:
        self.domain, self.token = domain, token
        self.base = f"{domain}/api/v1/"
        self.transport = Transport(
            SERVICE, home=domain, timeout=timeout, attempts=attempts, json=True
        )
        self.session = bare_session(self.transport)
        self.attach(self.session)

    def attach(self, session: requests.Session) -> None:
        """Let a session, this one's or the SDK's, send with the token and raise the errors."""
        guard_session(session, self.transport, self.domain)
        session.auth = (self.token, "")
        session.hooks["response"] = [self.check]

    def __repr__(self) -> str:
        return f"<Connection to {self.domain}>"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request; raises the error that its response stands for."""
        return self.session.request(method, f"{self.base}{path}", **options)

    def check(self, response: requests.Response, *_: Any, **__: Any) -> None:
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
        from aind_session.services.sdk import (
            ClosedAssetError,
            CodeOceanError,
            CodeOceanNotFoundError,
            error_of,
            version_advice,
        )

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
        from aind_session.services.sdk import (
            ClosedAssetError,
            CodeOceanError,
            RefusedTokenError,
            error_of,
        )

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
        except (CredentialsError, AccessDeniedError):
            # A service that refuses for a moment does not make a good token bad for long.
            seconds = min(REFUSED_SECONDS, settings.current().cache_seconds.value)
            context.current().cache.put(key, False, seconds)
            return False

    def _is_good(self) -> bool:
        self.probe()
        return True

    def probe(self) -> None:
        """Send the smallest request that every good token may send; raise its error."""
        self.request("POST", PROBE, json={"limit": 1, "archived": False})


def get_connection(retries: int | Retry | None = None) -> Connection:
    """Return the connection of the current settings, which its requests share."""
    current = settings.current()
    token = current.require_token()
    attempts = current.attempts.value if retries is None else 1 + _times(retries)
    key = (current.domain.value, token, current.timeout.value, attempts)
    return context.current().client(
        (SERVICE, *key),
        lambda: Connection(key[0], token, timeout=key[2], attempts=attempts),
    )


def get_client(check_credentials: bool = False, retries: int | Retry | None = None) -> CodeOcean:
    """Return the SDK's client of the current settings."""
    from aind_session.services.sdk import Client

    connection = get_connection(retries)
    client = context.current().client(
        ("SDK", id(connection)), lambda: Client(connection, get_client)
    )
    if check_credentials and not connection.accepts_token():
        # Sent once more, so that the error has the service's own message.
        connection.probe()
    return client


def _times(retries: int | Retry) -> int:
    total = retries if isinstance(retries, int) else retries.total
    return max(0, int(total or 0))


def request(method: str, path: str, **options: Any) -> requests.Response:
    """Send a request with the token of the current settings; raises its error."""
    return get_connection().request(method, path, **options)


def checked_id(text: str, what: str) -> str:
    """Return an ID that is safe in a URL."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidIdentifierError(f"{text!r:.80} is not a valid ID of a {what}")
    return quote(text)


def request_runnable(capsule_or_pipeline_id: str, rest: str = "") -> tuple[requests.Response, bool]:
    """Send a request about a capsule or pipeline; return the response and if it is a pipeline."""
    from aind_session.services.sdk import CodeOceanNotFoundError

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
