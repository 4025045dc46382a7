"""One request with its repetitions: how long it may take, what may be repeated, why it failed.

The rule follows the operation, not the HTTP verb: a search is a POST that reads, and may be
repeated; a POST that starts or creates something may not, however it failed.
"""

from __future__ import annotations

import email.utils
import random
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timezone
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3.exceptions as urllib3_errors

from aind_session.clock import CLOCK
from aind_session.errors import ServiceConnectionError, ServiceError, ServiceTimeoutError
from aind_session.services.connections import BundleError, proxy_variable
from aind_session.services.redact import Origin, excerpt, origin_of, place_of, scrub

#: Statuses after which a request may be repeated.
PASSING = frozenset({429, 500, 502, 503, 504})
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0
#: The longest `Retry-After`, in seconds, that is respected.
LONGEST_RETRY_AFTER = 15.0

_READING_VERBS = frozenset({"GET", "HEAD", "OPTIONS"})
# Code Ocean lists the files of an asset, and the results of a computation, by POST as well.
_READING_POST = re.compile(
    r"/(search|aggregate|data_assets/[^/]+/files|computations/[^/]+/results)/?$"
)
_random = random.Random()


class RequestTimeoutError(ServiceTimeoutError, requests.Timeout):
    """No response in the configured time; also what `requests` would have raised."""


class RequestConnectionError(ServiceConnectionError, requests.ConnectionError):
    """The service could not be reached; also what `requests` would have raised."""


def is_read(method: str | None, url: str | None) -> bool:
    """Whether a request changes nothing, so that it may be repeated.

    Examples
    --------
    >>> is_read("POST", "https://host/api/v1/data_assets/search")
    True
    >>> is_read("POST", "https://host/api/v1/computations")
    False
    """
    verb = (method or "GET").upper()
    if verb in _READING_VERBS:
        return True
    return verb == "POST" and bool(_READING_POST.search(urlsplit(url or "").path))


def wait_before(attempt: int, retry_after: str | None = None) -> float:
    """Return the seconds to wait before the next attempt, after `attempt` attempts.

    A valid `Retry-After` (seconds or a date) counts, up to `LONGEST_RETRY_AFTER`; else the time
    doubles with each attempt up to `LONGEST_WAIT`, less up to a half at random, so that many
    clients do not come back at the same moment.
    """
    wanted = _seconds(retry_after)
    if wanted is not None:
        return min(wanted, LONGEST_RETRY_AFTER)
    full = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 30))
    return full * (0.5 + 0.5 * _random.random())


def _seconds(retry_after: str | None) -> float | None:
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    ahead = date.timestamp() - CLOCK.time()
    return ahead if ahead > 0 else None


@dataclass
class Exchange:
    """The attempts of one request: how many, how long, what time is left.

    Attributes
    ----------
    url : str
        Where the last attempt went.
    first_url : str
        Where the first attempt went, if to another URL.
    secrets : tuple of str
        What no message may contain.
    """

    service: str
    method: str
    url: str
    budget: float
    allowed: int
    secrets: tuple[str, ...] = field(default=(), repr=False)
    started: float = field(default_factory=lambda: CLOCK.monotonic())
    attempts: int = 0
    ended: float | None = None
    request_id: str | None = None
    first_url: str = ""
    #: Whether the response should have been JSON and was not.
    is_garbled: bool = False

    @property
    def place(self) -> str:
        """Host and path of the last attempt."""
        return scrub(place_of(self.url), self.secrets)

    @property
    def origin(self) -> Origin:
        """Scheme, host and port of the first attempt."""
        return origin_of(self.first_url or self.url)

    @property
    def seconds(self) -> float:
        """Time spent, to the end of the exchange or to now."""
        return (CLOCK.monotonic() if self.ended is None else self.ended) - self.started

    @property
    def remaining(self) -> float:
        """Time that may still be spent."""
        return self.budget - (CLOCK.monotonic() - self.started)

    @property
    def limit(self) -> float:
        """Seconds to wait for the response to this attempt; the first leaves time for another."""
        half = self.attempts == 1 and self.allowed > 1
        return self.remaining / 2 if half else self.remaining

    def next_wait(self, retry_after: str | None = None) -> float | None:
        """Return the time to wait before the next attempt; None if there may be none."""
        if self.attempts >= self.allowed:
            return None
        wait = wait_before(self.attempts, retry_after)
        return wait if wait < self.remaining else None

    def moved(self, url: str) -> None:
        """Note a redirect."""
        self.first_url, self.url = self.first_url or self.url, url

    def facts(self, status: int | None = None) -> dict[str, Any]:
        """Return what every error holds of its exchange."""
        return {
            "service": self.service,
            "status": status,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 3),
            "request_id": self.request_id,
        }

    def summary(self) -> str:
        """Return request, attempts and time for a message."""
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        request = f", request {self.request_id}" if self.request_id else ""
        elsewhere = urlsplit(self.first_url).netloc not in ("", urlsplit(self.url).netloc)
        moved = f", redirected by {place_of(self.first_url)}" if elsewhere else ""
        return f"{self.method} {self.place} ({times}, {self.seconds:.1f} s{request}{moved})"


def exchange_of(response: requests.Response) -> Exchange:
    """Return the exchange that ended with a response of the transport."""
    exchange: Exchange = vars(response)["exchange"]
    return exchange


@dataclass(frozen=True)
class Failure:
    """Why there was no response, and how often the request may be repeated for it."""

    reason: str
    next_step: str = ""
    repeats: float = 0
    timed_out: bool = False

    def error(self, exchange: Exchange, cause: BaseException, url: str) -> ServiceError:
        """Return the error of a request that failed for this reason."""
        service, facts = exchange.service, exchange.facts()
        step = f" {self.next_step}" if self.next_step else ""
        text = f"({self.reason}).{step} Request: {exchange.summary()}"
        error: ServiceError
        if exchange.budget <= 0:
            why = "the limit of time was used up before"
            request = f"{exchange.method} {exchange.place}"
            return RequestTimeoutError(
                f"{service} was not contacted: {why}. Request: {request}", **facts
            )
        if self.timed_out:
            text = f"{service} did not answer in {round(exchange.budget, 2):g} s {text}"
            error = RequestTimeoutError(text, **facts)
        else:
            error = RequestConnectionError(f"{service} could not be reached {text}", **facts)
        # One link only, without the requests and connections that the real one holds.
        said = excerpt(_without_query(str(cause), url), exchange.secrets)
        link = requests.Timeout if self.timed_out else requests.ConnectionError
        error.__cause__ = link(f"{type(cause).__name__}: {said}")
        return error


def _without_query(text: str, url: str) -> str:
    # The query of a presigned link is as good as a password while it lasts.
    query = urlsplit(url).query
    return text.replace(f"?{query}", "") if query else text


def failure_of(error: BaseException, url: str, proxy: str | None = None) -> Failure:
    """Return why a request had no response."""
    links = tuple(_links(error))
    root = links[-1]
    host = place_of(url).partition("/")[0]
    if isinstance(error, BundleError):
        return Failure(str(error), f"Correct or unset {error.source}.")
    if isinstance(error, urllib3_errors.LocationValueError):
        return Failure(f"{host or 'the URL'} is not a valid address", "Check the settings.")
    refused_tunnel = "Tunnel connection failed" in str(root)
    if proxy and (refused_tunnel or _first(links, urllib3_errors.ProxyError)):
        source = proxy_variable(proxy)
        named = f"{place_of(proxy)}{f', set by {source}' if source else ''}"
        return Failure(
            f"the proxy {named}, failed: {excerpt(str(root))}",
            f"Correct or unset {source or 'the proxy'}, or add {host} to NO_PROXY.",
            repeats=0 if refused_tunnel else 1,
        )
    if untrusted := _first(links, ssl.SSLCertVerificationError):
        return Failure(
            f"the certificate of {host} is not trusted: {untrusted.verify_message}",
            "Set REQUESTS_CA_BUNDLE to the file with your network's CA certificates.",
        )
    if unknown := _first(links, socket.gaierror):
        again = unknown.errno == socket.EAI_AGAIN
        return Failure(
            f"DNS: the host name {host} cannot be resolved",
            "Check the network connection (VPN) and the spelling of the host.",
            repeats=1 if again else 0,
        )
    # A connection that could not be made counts as a timeout for urllib3, whatever the reason.
    refused = isinstance(error, urllib3_errors.NewConnectionError)
    timed_out = _first(links, urllib3_errors.TimeoutError) and not refused
    if timed_out or _first(links, TimeoutError):
        if isinstance(error, urllib3_errors.ConnectTimeoutError):
            why = f"no connection to {host} could be opened in time"
        else:
            why = f"{host} sent no complete response in time"
        step = "Check the network connection (VPN), or set AIND_SESSION_TIMEOUT to more seconds."
        return Failure(why, step, repeats=1, timed_out=True)
    check = "Check the network connection (VPN), or try again later."
    if _first(links, ConnectionRefusedError):
        return Failure(f"{host} refused the connection", check, repeats=float("inf"))
    if _first(links, ssl.SSLError) and not _first(links, ssl.SSLEOFError):
        return Failure(f"the TLS handshake with {host} failed: {excerpt(str(root))}", check)
    if _first(links, ConnectionError) or _first(links, urllib3_errors.ProtocolError):
        why = f"the connection to {host} was reset or ended early: {type(root).__name__}"
        return Failure(why, check, repeats=float("inf"))
    why = excerpt(_without_query(str(root), url)) or type(root).__name__
    return Failure(why, check, repeats=float("inf"))


def _links(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it: urllib3 wraps a name, a certificate, a socket's error."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        behind = (
            getattr(following, "reason", None),
            getattr(following, "original_error", None),
            *following.args,
            following.__cause__,
            following.__context__,
        )
        following = next((one for one in behind if isinstance(one, BaseException)), None)


def _first(links: tuple[BaseException, ...], kind: type[Any]) -> Any:
    return next((link for link in links if isinstance(link, kind)), None)
