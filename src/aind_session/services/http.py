"""The HTTP adapter that every request goes through: Code Ocean, DocDB, S3, presigned links.

It limits the time of a request, repeats what may be repeated, sends credentials only to the host
that they belong to, limits the size of responses, and keeps secrets out of errors. A service that
has just failed is not contacted again at once. The clients above (sessions of
`requests`, the Code Ocean SDK, botocore) send through it and do not depend on it.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import urljoin

import requests
import urllib3
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from aind_session import context
from aind_session.clock import CLOCK, time_left
from aind_session.errors import (
    AccessDeniedError,
    BadAnswerError,
    MissingFileError,
    ServiceError,
)
from aind_session.services import redact
from aind_session.services.connections import LIMITED_POOLS, proxy_for, read_body, ssl_context
from aind_session.services.decode import is_json
from aind_session.services.exchange import (
    LEAST_SECONDS,
    PASSING,
    Circuits,
    Exchange,
    Failure,
    RequestConnectionError,
    exchange_of,
    failure_of,
    is_read,
    unreadable,
)

T = TypeVar("T")

log = logging.getLogger("aind_session.services")

MAX_REDIRECTS = 5
#: Largest number of connections that are kept open to one host.
CONNECTIONS = 256
#: Hosts whose connections are kept open; each bucket of S3 is one.
HOSTS = 64
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Transport(HTTPAdapter):
    """Send requests of one service.

    Parameters
    ----------
    service
        Its name in errors: "Code Ocean", "DocDB", "S3".
    home
        URL of the one place that credentials are sent to; None: they are sent nowhere;
        "*": wherever the request goes (requests that are signed for their host).
    timeout
        Seconds for a whole request, repetitions and waiting included.
    attempts
        Maximum number of attempts. What changes something is sent once.
    plain
        Send plain HTTP although the URL has https, on loopback only.
    redirects
        Whether to follow redirects.
    decode
        Whether to undo a body's compression; S3 keeps files that are compressed themselves.
    json
        Whether successful responses from `home` must be JSON; others are repeated.
    ca_variable
        The variable for CA certificates that counts before the others.
    """

    def __init__(
        self,
        service: str,
        *,
        home: str | None = None,
        timeout: float = 30.0,
        attempts: int = 4,
        plain: bool = False,
        redirects: bool = True,
        decode: bool = True,
        json: bool = False,
        ca_variable: str = "",
    ) -> None:
        self.service, self.attempts, self.ca_variable = service, attempts, ca_variable
        self.plain, self.redirects, self.decode, self.json = plain, redirects, decode, json
        self.timeout = timeout if 0 < timeout < math.inf else 30.0
        self.home = home if home in (None, "*") else redact.target_of(str(home)).origin
        self.headers = requests.utils.default_headers()
        self.base, self.auth = "", cast("Any", None)
        super().__init__(max_retries=0, pool_connections=HOSTS, pool_maxsize=CONNECTIONS)

    def __repr__(self) -> str:
        return f"<Transport to {self.service}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("connections are not pickled: each process makes its own")

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Open connections that end in time; the present ones are left to their users."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = LIMITED_POOLS
        self.proxy_manager: dict[str, Any] = {}
        self.circuits, self.process = Circuits(), os.getpid()

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Open connections through a proxy that end in time."""
        if proxy not in self.proxy_manager and proxy.lower().startswith("https:"):
            options["proxy_ssl_context"] = ssl_context(True, self.ca_variable)
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            # A SOCKS proxy needs connections of its own kind, limited for each packet only.
            manager.pool_classes_by_scheme = LIMITED_POOLS
        return manager

    def error_of(self, response: Response) -> Exception | None:
        """Return the error to raise for a response with status 400 or above."""

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Response:
        """Send a request with `auth`, without the costs of a session; `base` begins its URL."""
        prepared, headers = PreparedRequest(), {**self.headers, **(headers or {})}
        prepared.prepare(method, self.base + url, headers, auth=self.auth, **options)
        return self.send(prepared)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request, repeated if necessary, until there is a response or its time is over."""
        if self.process != os.getpid():
            # In a forked child: on the parent's connections each would read the other's responses.
            self.init_poolmanager(HOSTS, CONNECTIONS)
        limit = timeout[-1] if isinstance(timeout, tuple) else timeout
        if not isinstance(limit, int | float) or not 0 < limit < math.inf:
            limit = self.timeout
        exchange = Exchange(
            self.service,
            request.method or "GET",
            min(float(limit), time_left()),
            headers=request.headers,
        )
        here, current, visited = context.current(), request.copy(), set()
        options = (here.settings.max_response_bytes.value, verify, dict(proxies or {}))
        self._address(current, exchange)
        while True:
            visited.add((current.method, current.url))
            attempt: Any = partial(self._attempt, current, exchange, *options)
            if here.attempt is not None:
                attempt = partial(here.attempt, attempt)
            # What has just failed is not tried again.
            check = exchange.is_read and self.circuits
            response = self.circuits.check(exchange) if check else None
            while response is None:
                exchange.attempts += 1
                began = CLOCK.monotonic()
                response = self._settled(attempt(), exchange, began)
            target = response.headers.get("Location")
            if not self.redirects or response.status_code not in _REDIRECTS or not target:
                break
            current = self._redirected(current, response, exchange)
            if (current.method, current.url) in visited or len(visited) > MAX_REDIRECTS:
                raise _redirect_error(response, exchange, "without end")
            self._address(current, exchange)
        exchange.ended = CLOCK.monotonic()
        vars(response)["exchange"] = exchange
        if exchange.is_garbled:
            raise unreadable(response, "JSON")
        if response.status_code >= 400 and (error := self.error_of(response)) is not None:
            raise error
        return response

    def _address(self, request: PreparedRequest, exchange: Exchange) -> None:
        """Note where a request goes; remove credentials if that is not home.

        Plain HTTP is refused, except on this machine.
        """
        target = redact.target_of(str(request.url))
        is_home = self.home == "*" or self.home == target.origin
        exchange.is_read = is_read(request.method, target.bare)
        exchange.allowed = self.attempts if exchange.is_read else exchange.attempts + 1
        if exchange.url:
            exchange.first_url = exchange.first_url or exchange.url
        else:
            is_answer = self.json and is_home and exchange.is_read
            exchange.must_be_json = is_answer and request.method != "HEAD"
        request.url, exchange.url, exchange.is_local = target.url, target.bare, target.is_local
        if not is_home:
            _remove_credentials(request)
        if self.plain and target.is_local and target.url.startswith("https:"):
            request.url = "http:" + target.url.removeprefix("https:")
        elif target.origin[0] != "https" and not target.is_local:
            place = redact.place_of(target.url)
            raise RequestConnectionError(
                f"{self.service} is contacted over https only, not at {place}", **exchange.facts()
            )
        if self.decode:
            # Others cannot be decoded within a limit.
            request.headers["Accept-Encoding"] = "gzip, deflate"

    def _settled(
        self, outcome: Response | Failure, exchange: Exchange, began: float
    ) -> Response | None:
        """Return a response that counts, or raise an error; None, after a wait, to try again."""
        status = None if isinstance(outcome, Failure) else outcome.status_code
        if log.isEnabledFor(logging.DEBUG):
            facts = (self.service, exchange.method, exchange.place, status or "failed")
            times = (exchange.attempts, 1000 * (CLOCK.monotonic() - began))
            log.debug("%s %s %s %s (attempt %d, %.0f ms)", *facts, *times)
        if isinstance(outcome, Failure):
            wait = self._wait_after(outcome, exchange)
            if wait is None:
                # A caller in a hurry, by a limit of its own, does not show that it is down.
                hurried = outcome.timed_out and exchange.budget < self.timeout
                if exchange.is_read and outcome.repeats > 0 and not hurried:
                    self.circuits.open(exchange, outcome.error)
                raise outcome.error
        else:
            success = outcome.status_code < 300
            exchange.is_garbled = exchange.must_be_json and success and not is_json(outcome.content)
            if status not in PASSING and not exchange.is_garbled:
                if self.circuits:
                    self.circuits.close(exchange)
                return outcome
            wait = exchange.next_wait(outcome.headers.get("Retry-After"))
            if wait is None:
                if exchange.is_read and status != 429:
                    self.circuits.open(exchange, outcome)
                return outcome
        CLOCK.sleep(wait)
        return None

    def _wait_after(self, failure: Failure, exchange: Exchange) -> float | None:
        if exchange.attempts > failure.repeats or exchange.attempts >= exchange.allowed:
            return None
        if failure.timed_out:
            # Enough time has passed. The connections that are kept may hang as well.
            self.poolmanager.clear()
            self.proxy_manager = {}
            return 0.0 if exchange.remaining > LEAST_SECONDS else None
        return exchange.next_wait()

    def _attempt(
        self,
        request: PreparedRequest,
        exchange: Exchange,
        most: int,
        verify: bool | str,
        proxies: dict[str, str],
    ) -> Response | Failure:
        """Send a request once; return the error, since raising it here would chain its cause."""
        url = str(request.url)
        body: Any = request.body
        headers: Any = request.headers
        proxy = None if exchange.is_local else proxy_for(url, proxies)
        try:
            # The first attempt leaves time for another.
            limit = exchange.remaining / (2 if exchange.attempts == 1 < exchange.allowed else 1)
            if limit <= 0:
                raise TimeoutError("no time left")
            manager = self.proxy_manager_for(proxy) if proxy else self.poolmanager
            is_tls = url.startswith("https:")
            tls = {"ssl_context": ssl_context(verify, self.ca_variable)} if is_tls else None
            raw = manager.connection_from_url(url, pool_kwargs=tls).urlopen(
                request.method or "GET",
                self.request_url(request, {"http": proxy, "https": proxy} if proxy else {}),
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(limit, connect=limit, read=limit),
                chunked=not (body is None or "Content-Length" in headers),
            )
            exchange.answered = raw.headers
            # Read here and not by the caller: a connection that ends in the middle of a body is
            # one more failure that may pass.
            content = read_body(raw, exchange, most, self.decode)
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            return failure_of(problem, exchange, url, proxy)
        return redact.bare_response(
            raw.status,
            content,
            url=exchange.url,
            method=exchange.method,
            headers=raw.headers,
            reason=raw.reason or "",
        )

    def _redirected(
        self, request: PreparedRequest, response: Response, exchange: Exchange
    ) -> PreparedRequest:
        """Return the request that a redirect leads to."""
        if not exchange.is_read:
            raise _redirect_error(response, exchange, "a request that is sent once only")
        following = request.copy()
        try:
            location = urljoin(str(request.url), response.headers["Location"])
            following.url = requests.utils.requote_uri(location)
            origin = redact.origin_of(following.url)
        except ValueError:
            raise _redirect_error(response, exchange, "to an invalid URL", BadAnswerError) from None
        if response.status_code == 303:
            exchange.method = following.method = "GET"
            following.body = None
            for name in ("Content-Length", "Content-Type", "Transfer-Encoding"):
                following.headers.pop(name, None)
        if origin != redact.origin_of(str(request.url)):
            # Signed for the host they went to: nothing of them is for another one.
            _remove_credentials(following)
        return following


def _redirect_error(
    response: Response, exchange: Exchange, how: str, kind: type[ServiceError] = ServiceError
) -> ServiceError:
    text = f"{exchange.service} redirects {how}: {exchange.summary()}"
    return kind(text, **exchange.facts(response.status_code))


def _remove_credentials(request: PreparedRequest) -> None:
    for name in redact.CREDENTIAL_HEADERS:
        request.headers.pop(name, None)


def bare_session(transport: Transport, session: requests.Session | None = None) -> requests.Session:
    """Make a session send everything through a transport, and without credentials."""
    session = requests.Session() if session is None else session
    for adapter in session.adapters.values():
        adapter.close()
    session.adapters.clear()
    session.hooks = {"response": []}
    for prefix in ("https://", "http://"):
        session.mount(prefix, transport)
    # Proxies and certificates of the environment are the transport's.
    session.trust_env = False
    # Keeps `requests` from the credentials in a URL or in ~/.netrc.
    session.auth = lambda request: request
    return session


def client_of(kind: Callable[..., T], *values: Any, retries: int | None = None) -> T:
    """Return the client of a kind for the current settings, made the first time."""
    here = context.current()
    attempts = here.settings.attempts.value if retries is None else 1 + max(0, retries)
    make = partial(kind, *values, timeout=here.settings.timeout.value, attempts=attempts)
    return here.client((kind, values, attempts), make)


def get_link(service: str, url: str) -> Response:
    """Send a GET request, without credentials, for a presigned link or to any web server."""
    return client_of(Transport, service).request("GET", url)


def read_document(url: str) -> bytes:
    """Read a document from any web server, which is sent no credentials."""
    response = get_link("the web", url)
    place, status = redact.place_of(url), response.status_code
    facts = exchange_of(response).facts(status)
    if status in (404, 410):
        raise MissingFileError(f"There is no {place} (its server answered {status}).")
    if status in (401, 403):
        raise AccessDeniedError(f"{place} is not public ({status}).", **facts)
    shown = redact.excerpt(response.content)
    if status >= 300:
        because = f": {shown}" if shown else ""
        raise ServiceError(f"{place}: its server answered {status}{because}", **facts)
    if redact.is_web_page(response):
        raise BadAnswerError(f"{place} is an HTML page: {shown}", **facts)
    return response.content


def _circuits() -> list[Circuits]:
    return [one.circuits for one in context.current().clients() if isinstance(one, Transport)]


def open_circuits() -> tuple[str, ...]:
    """Describe the requests that are not sent at present because their service failed."""
    return tuple(line for circuits in _circuits() for line in circuits.describe())


def close_circuits() -> None:
    """Contact services that have failed again at once."""
    for circuits in _circuits():
        circuits.clear()
