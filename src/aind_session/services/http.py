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
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar

from aind_session import context, settings
from aind_session.clock import CLOCK, time_left
from aind_session.errors import (
    AccessDeniedError,
    BadAnswerError,
    MissingFileError,
    ServiceError,
)
from aind_session.services import connections, redact
from aind_session.services.bodies import is_json, read_body
from aind_session.services.circuits import Circuits
from aind_session.services.exchange import (
    PASSING,
    Exchange,
    Failure,
    RequestConnectionError,
    exchange_of,
    failure_of,
    is_read,
)

log = logging.getLogger("aind_session.services")

MAX_REDIRECTS = 5
#: Connections that are kept to one host, at most as many as there were requests at one time.
CONNECTIONS = 256
#: A connection that is not open after this time is tried once more; users wait for it.
CONNECT_SECONDS = 4.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class _Failed:
    """An attempt without a response."""

    error: ServiceError
    failure: Failure


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
        How often a request is sent at most. What changes something is sent once.
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
        self.home = home if home in (None, "*") else redact.origin_of(str(home))
        super().__init__(max_retries=0, pool_maxsize=CONNECTIONS)
        self.renew()

    def __repr__(self) -> str:
        return f"<Transport to {self.service}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("connections are not pickled: each process makes its own")

    def renew(self) -> None:
        """Leave all connections and locks to their present users, and begin with new ones."""
        self.proxy_manager: dict[str, Any] = {}
        self.init_poolmanager(8, CONNECTIONS)
        self.circuits = Circuits()
        self.process = os.getpid()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Open connections that end in time."""
        super().init_poolmanager(*args, **options)
        connections.limit_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Open connections through a proxy that end in time."""
        if proxy not in self.proxy_manager and proxy.lower().startswith("https:"):
            options["proxy_ssl_context"] = connections.find_bundle(self.ca_variable).context()
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            # A SOCKS proxy needs connections of its own kind, limited for each packet only.
            connections.limit_pools(manager)
        return manager

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
            self.renew()
        exchange = Exchange(
            self.service,
            request.method or "GET",
            redact.bare_url(request.url),
            self._budget(timeout),
            self.attempts if is_read(request.method, request.url) else 1,
            redact.secrets_of(request),
        )
        options = {"verify": verify, "proxies": dict(proxies or {})}
        current, visited = self._at_home(request.copy(), exchange), set()
        while True:
            visited.add((current.method, current.url))
            response = self._attempts(current, exchange, options)
            following = self._redirected(current, response, exchange) if self.redirects else None
            if following is None:
                break
            if (following.method, following.url) in visited or len(visited) > MAX_REDIRECTS:
                raise ServiceError(
                    f"{self.service} redirects without end: {exchange.summary()}",
                    **exchange.facts(response.status_code),
                )
            current = following
            exchange.moved(redact.bare_url(current.url))
        exchange.ended = CLOCK.monotonic()
        vars(response)["exchange"] = exchange
        return response

    def _budget(self, timeout: Any) -> float:
        """Return the time for a request: the caller's limit, else the configured one."""
        if isinstance(timeout, tuple):
            timeout = timeout[-1]
        known = isinstance(timeout, int | float) and 0 < timeout < math.inf
        return min(float(timeout) if known else self.timeout, time_left())

    def _at_home(self, request: PreparedRequest, exchange: Exchange) -> PreparedRequest:
        """Remove credentials from a request that leaves home; refuse plain HTTP elsewhere."""
        request.url = url = redact.without_user(str(request.url))
        if self.home != "*" and (self.home is None or redact.origin_of(url) != self.home):
            for name in redact.CREDENTIAL_HEADERS:
                request.headers.pop(name, None)
        if self.plain and redact.is_loopback(url) and url.startswith("https:"):
            request.url = url = "http:" + url.removeprefix("https:")
        if not url.startswith("https:") and not redact.is_loopback(url):
            raise RequestConnectionError(
                f"{self.service} is contacted over https only, not at {redact.place_of(url)}",
                **exchange.facts(),
            )
        if self.decode:
            # Others cannot be decoded within a limit.
            request.headers["Accept-Encoding"] = "gzip, deflate"
        return request

    def _attempts(
        self, request: PreparedRequest, exchange: Exchange, options: dict[str, Any]
    ) -> Response:
        reads = is_read(request.method, request.url)
        if reads and (known := self.circuits.check(exchange)) is not None:
            return known
        while True:
            exchange.attempts += 1
            began = CLOCK.monotonic()
            send = partial(self._attempt, request, exchange, options)
            outcome: Response | _Failed = context.current().attempt(send)
            if log.isEnabledFor(logging.DEBUG):
                spent = 1000 * (CLOCK.monotonic() - began)
                status = "failed" if isinstance(outcome, _Failed) else outcome.status_code
                line = "%s %s %s %s %.0f ms"
                log.debug(line, self.service, request.method, exchange.place, status, spent)
            if isinstance(outcome, _Failed):
                wait = self._wait_after(outcome.failure, exchange)
                if wait is None:
                    if reads and self._is_down(outcome.failure, exchange):
                        self.circuits.open_after_error(exchange, outcome.error)
                    raise outcome.error
            else:
                exchange.request_id = redact.request_id_of(outcome, exchange.secrets)
                exchange.is_garbled = self._is_garbled(outcome, exchange)
                if outcome.status_code not in PASSING and not exchange.is_garbled:
                    self.circuits.close(exchange)
                    return outcome
                wait = exchange.next_wait(outcome.headers.get("Retry-After"))
                if wait is None:
                    if reads and outcome.status_code != 429:
                        self.circuits.open_after_response(exchange, outcome)
                    return outcome
            CLOCK.sleep(wait)

    def _wait_after(self, failure: Failure, exchange: Exchange) -> float | None:
        if exchange.attempts > failure.repeats or exchange.attempts >= exchange.allowed:
            return None
        if failure.timed_out:
            # Enough time has passed. The connections that are kept may hang as well.
            self.poolmanager.clear()
            self.proxy_manager = {}
            return 0.0 if exchange.remaining > 0 else None
        return exchange.next_wait()

    def _is_down(self, failure: Failure, exchange: Exchange) -> bool:
        # A caller in a hurry, by a limit of its own, has not shown that the service is down.
        hurried = failure.timed_out and exchange.budget < self.timeout
        return failure.repeats > 0 and not hurried

    def _attempt(
        self, request: PreparedRequest, exchange: Exchange, options: dict[str, Any]
    ) -> Response | _Failed:
        """Send a request once; return the error, since raising it here would chain its cause."""
        url = str(request.url)
        proxy = None if redact.is_loopback(url) else connections.proxy_for(url, options["proxies"])
        try:
            return self._once(request, exchange, proxy, options["verify"])
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            failure = failure_of(problem, url, proxy)
            return _Failed(failure.error(exchange, problem, url), failure)

    def _once(
        self, request: PreparedRequest, exchange: Exchange, proxy: str | None, verify: bool | str
    ) -> Response:
        limit = exchange.limit
        if limit <= 0:
            raise TimeoutError("no time left")
        url = str(request.url)
        manager = self.proxy_manager_for(proxy) if proxy else self.poolmanager
        tls = {"ssl_context": self._context(verify)} if url.startswith("https:") else None
        body: Any = request.body
        headers: Any = request.headers
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
            timeout=urllib3.Timeout(limit, connect=min(CONNECT_SECONDS, limit), read=limit),
            chunked=not (body is None or "Content-Length" in headers),
        )
        # Read here and not by the caller: a connection that ends in the middle of a body is one
        # more failure that may pass.
        content = read_body(raw, exchange, self.decode)
        response = self.build_response(request, raw)
        redact.fill(response, content)
        content_type = request.headers.get("Content-Type")
        response.request = redact.bare_request(request.method, request.url, content_type)
        return response

    def _context(self, verify: bool | str) -> ssl.SSLContext:
        if verify is False:
            return connections.insecure_context()
        if verify is True:
            return connections.find_bundle(self.ca_variable).context()
        return connections.Bundle(verify, "`verify`").context()

    def _is_garbled(self, response: Response, exchange: Exchange) -> bool:
        """Whether a response should be JSON and is not: a gateway's page, half of something."""
        expected = self.json and response.status_code < 300 and exchange.method != "HEAD"
        if not expected or exchange.origin != self.home:
            return False
        return is_read(exchange.method, exchange.first_url or exchange.url) and not is_json(
            response.content
        )

    def _redirected(
        self, request: PreparedRequest, response: Response, exchange: Exchange
    ) -> PreparedRequest | None:
        target = response.headers.get("Location")
        if response.status_code not in _REDIRECTS or not target:
            return None
        facts = exchange.facts(response.status_code)
        if not is_read(request.method, request.url):
            raise ServiceError(
                f"{self.service} redirects a request that is sent once only: {exchange.summary()}",
                **facts,
            )
        following = request.copy()
        try:
            following.url = requests.utils.requote_uri(urljoin(str(request.url), target))
            stays = redact.origin_of(following.url) == redact.origin_of(str(request.url))
        except ValueError:
            stays, following.url = False, ""
        if not following.url:
            raise BadAnswerError(
                f"{self.service} redirects to an invalid URL: {exchange.summary()}", **facts
            )
        if response.status_code == 303:
            following.method, following.body = "GET", None
            for name in ("Content-Length", "Content-Type", "Transfer-Encoding"):
                following.headers.pop(name, None)
        if not stays:
            # Signed for the host they went to: nothing of them is for another one.
            for name in redact.CREDENTIAL_HEADERS:
                following.headers.pop(name, None)
        return self._at_home(following, exchange)


class _NoCookies(RequestsCookieJar):
    """Keeps no cookies, and so takes no lock, which a forked child could inherit as held."""

    def extract_cookies(self, response: Any, request: Any) -> None:
        pass


def _no_auth(request: PreparedRequest) -> PreparedRequest:
    # Set as a session's credentials, it keeps `requests` from those in a URL or in ~/.netrc.
    return request


def guard_session(session: requests.Session, transport: Transport, *prefixes: str) -> None:
    """Send everything that a session sends, wherever it goes, through a transport."""
    for prefix in ("https://", "http://", *prefixes):
        replaced = session.adapters.get(prefix)
        session.mount(prefix, transport)
        if replaced is not None and replaced is not transport:
            replaced.close()
    # Proxies and certificates of the environment are the transport's.
    session.trust_env = False
    session.auth = session.auth or _no_auth
    session.cookies = _NoCookies()


def bare_session(transport: Transport) -> requests.Session:
    """Make a session without credentials."""
    session = requests.Session()
    guard_session(session, transport)
    return session


def link_session(service: str) -> requests.Session:
    """Return the session, without credentials, for presigned links or any web server."""
    current = settings.current()
    limits = (service, current.timeout.value, current.attempts.value)
    return context.current().client(
        ("links", *limits),
        lambda: bare_session(Transport(service, timeout=limits[1], attempts=limits[2])),
    )


def read_document(url: str) -> bytes:
    """Read a document from any web server, which is sent no credentials."""
    response = link_session("the web").get(url)
    place, status = redact.place_of(url), response.status_code
    facts = exchange_of(response).facts(status)
    if status in (404, 410):
        raise MissingFileError(f"There is no {place} (its server answered {status}).")
    if status in (401, 403):
        raise AccessDeniedError(f"{place} is not public ({status}).", **facts)
    shown = redact.excerpt(response.content)
    if status >= 300:
        raise ServiceError(f"{place}: its server answered {status}: {shown}", **facts)
    if redact.is_web_page(response):
        raise BadAnswerError(f"{place} is an HTML page: {shown}", **facts)
    return response.content


def _transports() -> Iterator[Transport]:
    """Yield the transports of this process's clients."""
    adapters: list[Any] = []
    for client in context.current().clients():
        session = getattr(client, "session", client)
        adapters += (getattr(client, "transport", None), *getattr(session, "adapters", {}).values())
    # One transport may have several prefixes, and serve the SDK's client too.
    yield from {id(one): one for one in adapters if isinstance(one, Transport)}.values()


def open_circuits() -> tuple[str, ...]:
    """Describe the requests that are not sent at present because their service failed."""
    return tuple(line for transport in _transports() for line in transport.circuits.describe())


def close_circuits() -> None:
    """Contact services that have failed again at once."""
    for transport in _transports():
        transport.circuits.clear()
