"""How everything is asked over HTTP: one adapter for Code Ocean, DocDB, S3 and presigned links.

It sets a time limit on every question, repeats what may be repeated, keeps credentials to the
one host they belong to, and lets no secret out in an error. The clients above (`requests`
sessions, the Code Ocean SDK, botocore) send through it and know nothing of it.
"""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar

from aind_session.errors import BadAnswerError, ServiceError
from aind_session.forking import when_forked
from aind_session.services.addresses import bare_url, is_loopback, origin_of, place_of
from aind_session.services.asked import Asked, RequestConnectionError
from aind_session.services.clock import CLOCK, time_left
from aind_session.services.failures import failure, make_bare, may_pass
from aind_session.services.retrying import PASSING, is_read
from aind_session.services.scrubbing import (
    CREDENTIAL_HEADERS,
    bare_request,
    request_id_of,
    scrub,
    secrets_of,
)

log = logging.getLogger("aind_session.services")

MAX_REDIRECTS = 5
HOSTS = 8
#: Connections that are kept to one host. More than a program has threads that ask, the pool's own
#: beside them: urllib3 warns of each that it cannot keep.
CONNECTIONS = 256
CONNECT_SECONDS = 10.0
_CHUNK = 2**16
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
        Seconds for a whole question, repetitions and waiting included.
    attempts
        How often a question is put at most. What changes something is sent once.
    plain
        Speak plain HTTP where the URL says https, on loopback only.
    redirects
        Whether to follow redirects.
    decode
        Whether to undo a body's compression; S3 keeps files that are compressed themselves.
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
    ) -> None:
        self.service, self.attempts = service, attempts
        self.plain, self.redirects, self.decode = plain, redirects, decode
        self.timeout = timeout if 0 < timeout < math.inf else 30.0
        self.home = home if home in (None, "*") else origin_of(str(home))
        super().__init__(max_retries=0, pool_connections=HOSTS, pool_maxsize=CONNECTIONS)
        _transports.add(self)

    def __repr__(self) -> str:
        return f"<Transport to {self.service}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("connections are not pickled: each process makes its own")

    def renew(self) -> None:
        """Leave all connections, and their locks, to whoever has them."""
        self.proxy_manager = {}
        self.init_poolmanager(HOSTS, CONNECTIONS)

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Put a question, and again if need be, until it is answered or its time is over.

        Returns
        -------
        requests.Response
            Read to its end; `.asked` tells the course of the question; its request is bare. Any
            status: whoever asked knows what it means.

        Raises
        ------
        ServiceTimeoutError, ServiceConnectionError
            There was no answer.
        """
        asked = Asked(
            self.service,
            request.method or "GET",
            bare_url(request.url),
            self._budget(timeout),
            self.attempts if is_read(request.method, request.url) else 1,
            secrets_of(request),
        )
        options = {"verify": verify, "cert": cert}
        current, been = self._at_home(request.copy(), asked), set()
        while True:
            been.add((current.method, current.url))
            response = self._ask(current, asked, dict(proxies or {}), options)
            following = self._redirected(current, response, asked) if self.redirects else None
            if following is None:
                break
            if (following.method, following.url) in been or len(been) > MAX_REDIRECTS:
                raise ServiceError(
                    f"{self.service} redirects without end: {asked.told()}",
                    **asked.facts(response.status_code),
                )
            current = following
        asked.ended = CLOCK.monotonic()
        vars(response)["asked"] = asked
        return response

    def _budget(self, timeout: Any) -> float:
        """Give the time for a question: what its caller set, else what is configured."""
        if isinstance(timeout, tuple):
            timeout = timeout[-1]
        known = isinstance(timeout, int | float) and 0 < timeout < math.inf
        return min(float(timeout) if known else self.timeout, time_left())

    def _at_home(self, request: PreparedRequest, asked: Asked) -> PreparedRequest:
        """Take credentials off a request that leaves home; refuse to speak in the clear."""
        url = str(request.url)
        if self.home != "*" and (self.home is None or origin_of(url) != self.home):
            for name in CREDENTIAL_HEADERS:
                request.headers.pop(name, None)
        if self.plain and is_loopback(url) and url.startswith("https:"):
            request.url = url = "http:" + url.removeprefix("https:")
        if not url.startswith("https:") and not is_loopback(url):
            raise RequestConnectionError(
                f"{self.service} is asked over https only, not at {place_of(url)}",
                **asked.facts(),
            )
        return request

    def _ask(
        self,
        request: PreparedRequest,
        asked: Asked,
        proxies: dict[str, str],
        options: dict[str, Any],
    ) -> Response:
        if is_loopback(str(request.url)):
            proxies = {}
        while True:
            asked.attempts += 1
            began = CLOCK.monotonic()
            try:
                response = self._once(request, asked, proxies, options)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                make_bare(error, request)
                log.debug(
                    "%s %s %s: %s", self.service, request.method, asked.place, type(error).__name__
                )
                wait = asked.next_wait() if may_pass(error) else None
                if wait is None:
                    raise failure(error, asked) from error
            else:
                place = scrub(place_of(request.url))
                spent = 1000 * (CLOCK.monotonic() - began)
                log.debug(
                    "%s %s %s %d %.0f ms",
                    *(self.service, request.method, place, response.status_code, spent),
                )
                asked.request_id = request_id_of(response, asked.secrets)
                if response.status_code not in PASSING:
                    return response
                wait = asked.next_wait(response.headers.get("Retry-After"))
                if wait is None:
                    return response
            CLOCK.sleep(wait)

    def _once(
        self,
        request: PreparedRequest,
        asked: Asked,
        proxies: dict[str, str],
        options: dict[str, Any],
    ) -> Response:
        remaining = asked.remaining
        if remaining <= 0:
            raise requests.Timeout("no time left")
        response = super().send(
            request,
            stream=True,
            timeout=(min(CONNECT_SECONDS, remaining), remaining),
            proxies=proxies,
            **options,
        )
        # Read here and not by the caller: a connection that breaks off in the middle of a body is
        # one more failure that may pass.
        response._content = _read(response, asked, self.decode)
        response._content_consumed = True
        response.request = bare_request(request)
        return response

    def _redirected(
        self, request: PreparedRequest, response: Response, asked: Asked
    ) -> PreparedRequest | None:
        target = response.headers.get("Location")
        if response.status_code not in _REDIRECTS or not target:
            return None
        if not is_read(request.method, request.url):
            raise ServiceError(
                f"{self.service} redirects a request that is sent once only: {asked.told()}",
                **asked.facts(response.status_code),
            )
        following = request.copy()
        try:
            following.url = requests.utils.requote_uri(urljoin(str(request.url), target))
            stays = origin_of(following.url) == origin_of(str(request.url))
        except ValueError as error:
            raise BadAnswerError(
                f"{self.service} redirects to what is no URL: {asked.told()}",
                **asked.facts(response.status_code),
            ) from error
        if response.status_code == 303:
            following.method, following.body = "GET", None
            for name in ("Content-Length", "Content-Type", "Transfer-Encoding"):
                following.headers.pop(name, None)
        if not stays:
            # Signed for the host they went to: nothing of them is for another one.
            for name in CREDENTIAL_HEADERS:
                following.headers.pop(name, None)
        return self._at_home(following, asked)


def _read(response: Response, asked: Asked, decode: bool) -> bytes:
    """Read a body to its end, or to the end of the question's time."""
    chunks = []
    raw = response.raw
    try:
        while True:
            remaining = asked.remaining
            if remaining <= 0:
                raise requests.ReadTimeout("no time left")
            _limit(raw, remaining)
            chunk = raw.read1(_CHUNK, decode_content=decode)
            if not chunk:
                break
            chunks.append(chunk)
    except BaseException:
        response.close()
        raise
    raw.release_conn()
    return b"".join(chunks)


def _limit(raw: Any, seconds: float) -> None:
    # The limit that a connection was opened with counts anew for each packet: a server that
    # sends a byte a second would be waited for without end.
    sock = getattr(getattr(raw, "connection", None), "sock", None)
    if sock is not None:
        sock.settimeout(seconds)


class _NoCookies(DefaultCookiePolicy):
    """Keep none: each question stands for itself, whichever thread puts it."""

    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False


def guard_session(session: requests.Session, transport: Transport, *prefixes: str) -> None:
    """Send everything that a session asks, wherever it goes, through a transport."""
    for prefix in ("https://", "http://", *prefixes):
        replaced = session.adapters.get(prefix)
        session.mount(prefix, transport)
        if replaced is not None and replaced is not transport:
            replaced.close()
    session.cookies = RequestsCookieJar(_NoCookies())
    _sessions.add(session)


def bare_session(transport: Transport) -> requests.Session:
    """Make a session without credentials."""
    session = requests.Session()
    guard_session(session, transport)
    return session


_transports: weakref.WeakSet[Transport] = weakref.WeakSet()
_sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()


def _after_fork() -> None:
    # Two processes on one connection would read each other's answers, and a lock that another
    # thread of the parent held is never released in the child.
    for transport in list(_transports):
        transport.renew()
    # A cookie jar has a lock too.
    for session in list(_sessions):
        session.cookies = RequestsCookieJar(_NoCookies())


when_forked(_after_fork)
