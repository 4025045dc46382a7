"""The Code Ocean SDK's client, with a token that does not show and errors that are ours."""

from __future__ import annotations

import hashlib
import logging
import re
from typing import Any, cast
from urllib.parse import quote

import msgspec
import requests
from urllib3.util import Retry

from aind_session import settings
from aind_session.errors import BadAnswerError, InvalidIdentifierError, ServiceError
from aind_session.services.addresses import origin_of
from aind_session.services.asked import asked_of
from aind_session.services.cache import answers
from aind_session.services.codeocean_errors import (
    SERVICE,
    ClosedAssetError,
    CodeOceanError,
    CodeOceanNotFoundError,
    RefusedTokenError,
    error_of,
)
from aind_session.services.keeping import Kept
from aind_session.services.pages import is_web_page
from aind_session.services.retrying import is_read
from aind_session.services.scrubbing import excerpt, without_text
from aind_session.services.sdk import CodeOcean
from aind_session.services.transport import Transport, guard_session

log = logging.getLogger("aind_session.services")

_json = msgspec.json.Decoder(msgspec.Raw)
#: What tells whether a token is good.
PROBE = "data_assets/search"
#: How long a token that was refused is not tried again.
REFUSED_SECONDS = 10.0


class Client(CodeOcean):  # type: ignore[misc]
    """The true SDK client; everything it asks goes through the house's transport.

    Its `repr` shows no token. A pickle holds none either: where it is loaded it becomes the client
    of that process, made of its own settings.
    """

    def __init__(self, domain: str, token: str, *, timeout: float, attempts: int) -> None:
        self._limits = (timeout, attempts)
        super().__init__(domain=domain, token=token)

    def __post_init__(self) -> None:
        super().__post_init__()
        timeout, attempts = self._limits
        # Mounted at the domain too: the SDK's own adapter there would be the nearer match.
        self.transport = Transport(SERVICE, home=self.domain, timeout=timeout, attempts=attempts)
        guard_session(self.session, self.transport, self.domain)
        self.session.hooks["response"] = [self._error_handler]

    def __repr__(self) -> str:
        return f"CodeOcean(domain={self.domain!r}, token=***)"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return get_client, ()

    def _error_handler(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Raise what an answer means; called by `requests` for each answer."""
        if response.status_code >= 400:
            raise self._meaning(response)
        if asked_of(response).origin == origin_of(self.domain):
            check_json(response)

    def _meaning(self, response: requests.Response) -> CodeOceanError:
        status = response.status_code
        if origin_of(str(response.url)) != origin_of(self.domain):
            # An answer from elsewhere says nothing about the token.
            return error_of(CodeOceanError, response)
        if status in (403, 404) and is_web_page(response):
            return error_of(
                CodeOceanError,
                response,
                "A gateway said so, not Code Ocean: it tells nothing of what was asked for.",
            )
        # A search has a place of its own: it finds nothing, but is always there.
        is_search = str(response.url).endswith(PROBE)
        if status == 404 and not is_search:
            return error_of(CodeOceanNotFoundError, response)
        if status == 403:
            return error_of(ClosedAssetError, response, "The token is not allowed to see it.")
        if status != 401:
            return error_of(CodeOceanError, response)
        try:
            # A search is closed to no good token: it is its own probe.
            accepted = not is_search and self.accepts_token()
        except ServiceError as problem:
            return error_of(
                CodeOceanError, response, f"Whether the token is good is not known ({problem})."
            )
        if accepted:
            return error_of(
                ClosedAssetError, response, "The token is good: it is this that is closed to it."
            )
        return error_of(
            RefusedTokenError,
            response,
            f"The token is refused: make a new one (scope `Datasets: Read`) and set "
            f"{settings.TOKEN_NAME}.",
        )

    def accepts_token(self) -> bool:
        """Tell whether the token is good; asked once, and again when the answer has aged.

        Raises
        ------
        ServiceError
            There was no answer.
        """
        who = hashlib.sha256(f"{self.domain}\0{self.token}".encode()).hexdigest()[:16]
        key = ("token", who)
        try:
            return answers.get(key, self._is_good)
        except (RefusedTokenError, ClosedAssetError):
            # A service that refuses for a moment does not make a good token bad for long.
            seconds = min(REFUSED_SECONDS, settings.current().cache_seconds.value)
            answers.put(key, False, seconds)
            return False

    def _is_good(self) -> bool:
        self.probe()
        return True

    def probe(self) -> None:
        """Put the question that any good token may ask; raises what comes of it."""
        # The least that the scope allows.
        self.session.post(PROBE, json={"limit": 1, "archived": False})


def check_json(response: requests.Response) -> None:
    """Refuse an answer to a question that is no JSON.

    Raises
    ------
    BadAnswerError
        It is HTML, nothing, half of something, or no UTF-8.
    """
    if not is_read(response.request.method, response.url):
        return
    try:
        response.content.decode()
        _json.decode(response.content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        asked = asked_of(response)
        shown = excerpt(response.content, asked.secrets) or "(nothing)"
        raise BadAnswerError(
            f"{SERVICE} answered {response.status_code} with no JSON to {asked.told()}: {shown}",
            **asked.facts(response.status_code),
        ) from without_text(error)


_clients: Kept[Client] = Kept(close=lambda client: client.session.close())


def get_client(check_credentials: bool = False, retries: int | Retry | None = None) -> CodeOcean:
    """Give the Code Ocean client of these settings.

    Parameters
    ----------
    check_credentials
        Ask Code Ocean whether the token is good (once; the answer is kept).
    retries
        How often a failed question is put again; by default as the settings say. What changes
        something is sent once, whatever this is.

    Returns
    -------
    codeocean.CodeOcean
        The true SDK client.

    Raises
    ------
    MissingTokenError, UnsafeDomainError
        There is no token that may be sent.
    RefusedTokenError
        The token is not accepted (with `check_credentials`).
    """
    current = settings.current()
    token = current.require_token()
    attempts = current.attempts.value if retries is None else 1 + _times(retries)
    key = (current.domain.value, token, current.timeout.value, attempts)

    def make() -> Client:
        return Client(current.domain.value, token, timeout=current.timeout.value, attempts=attempts)

    client = _clients.get(key, make)
    if check_credentials and not client.accepts_token():
        # Asked once more, so that the error tells the service's own words.
        client.probe()
    return client


def _times(retries: int | Retry) -> int:
    if isinstance(retries, Retry):
        return int(retries.total or 0)
    return max(0, int(retries))


def ask(method: str, path: str, **options: Any) -> requests.Response:
    """Send a request with the client's credentials; errors are raised by the client's hook."""
    client = cast("Client", get_client())
    response: requests.Response = client.session.request(method, path, **options)
    return response


_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def checked_id(text: str, what: str) -> str:
    """Give an ID that is safe in a URL.

    Raises
    ------
    InvalidIdentifierError
        It could be none (a `ValueError`).
    """
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidIdentifierError(f"{text!r:.80} is no ID of a {what}")
    return quote(text)


def ask_of_runnable(capsule_or_pipeline_id: str, rest: str = "") -> tuple[requests.Response, bool]:
    """Ask about what is a capsule or a pipeline; gives the answer, and whether it is a pipeline.

    Raises
    ------
    CodeOceanNotFoundError
        It is neither (a `ValueError`).
    """
    owner = checked_id(capsule_or_pipeline_id, "capsule or pipeline")
    try:
        return ask("GET", f"capsules/{owner}{rest}"), False
    except CodeOceanNotFoundError:
        # Pipelines have a route of their own since server 4.1; before, they were capsules here.
        pass
    try:
        return ask("GET", f"pipelines/{owner}{rest}"), True
    except CodeOceanNotFoundError as error:
        text = f"There is no capsule or pipeline {owner!r} that this token may see"
        raise error.retold(CodeOceanNotFoundError, text) from error
