"""One request with its repetitions: how long it may take, what may be repeated, why it failed.

The rule follows the operation, not the HTTP verb: a search is a POST that reads, and may be
repeated; a POST that starts or creates something may not, however it failed. A service that has
just failed is not contacted by the next request: a circuit breaker returns the same failure.
"""

from __future__ import annotations

import copy
import email.utils
import functools
import os
import random
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timezone
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import requests
import urllib3.exceptions as urllib3_errors

from aind_session.clock import CLOCK
from aind_session.errors import (
    BadAnswerError,
    ServiceConnectionError,
    ServiceError,
    ServiceTimeoutError,
)
from aind_session.services.redact import (
    REQUEST_ID_HEADERS,
    bare_response,
    excerpt,
    facts_of,
    place_of,
    scrub,
    secrets_of,
)

if TYPE_CHECKING:
    from typing_extensions import Self

#: Statuses after which a request may be repeated.
PASSING = frozenset({429, 500, 502, 503, 504})
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
#: The longest `Retry-After`, in seconds, that is respected.
LONGEST_RETRY_AFTER = 15.0
#: How long a service that has used up a request's attempts is not contacted.
CIRCUIT_SECONDS = 30.0
LONGEST_MESSAGE = 1000
#: No attempt begins with less time than this left.
LEAST_SECONDS = 0.01

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


class BundleError(OSError):
    """The CA certificates that a variable names cannot be read."""

    def __init__(self, path: str, source: str) -> None:
        super().__init__(f"the CA certificates in {path}, set by {source}, cannot be read")
        self.source = source


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
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_RETRY_AFTER)
    try:
        date = email.utils.parsedate_to_datetime(text)
        ahead = date.replace(tzinfo=date.tzinfo or timezone.utc).timestamp() - CLOCK.time()
    except (TypeError, ValueError, IndexError, OverflowError):
        ahead = 0.0
    if ahead > 0:
        return min(ahead, LONGEST_RETRY_AFTER)
    full = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 30))
    return full * (0.5 + 0.5 * _random.random())


@dataclass
class Exchange:
    """The attempts of one request: how many, how long, what time is left.

    Attributes
    ----------
    url, first_url : str
        Where the last attempt went, and the first one if that was to another URL; without query.
    allowed : int
        Maximum number of attempts.
    headers, answered : mapping
        Headers of the request, whose secrets no message contains, and of the last response.
    is_read, is_local : bool
        Whether it changes nothing, and whether it goes to this machine.
    must_be_json, is_garbled : bool
        Whether the response should be JSON, and whether it should have been and was not.
    """

    service: str
    method: str
    budget: float
    url: str = ""
    allowed: int = 1
    headers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    answered: Mapping[str, str] = field(default_factory=dict, repr=False)
    started: float = field(default_factory=CLOCK.monotonic)
    ended: float | None = None
    attempts: int = 0
    first_url: str = ""
    is_read: bool = False
    is_local: bool = False
    must_be_json: bool = False
    is_garbled: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may contain."""
        return secrets_of(self.headers)

    @property
    def request_id(self) -> str | None:
        """The service's own ID of the request, if there is one."""
        ids = filter(None, map(self.answered.get, REQUEST_ID_HEADERS))
        return next((excerpt(found, self.secrets) for found in ids), None)

    @property
    def place(self) -> str:
        """Host and path of the last attempt."""
        return scrub(place_of(self.url), self.secrets)

    @property
    def seconds(self) -> float:
        """Time spent, to the end of the exchange or to now."""
        return (CLOCK.monotonic() if self.ended is None else self.ended) - self.started

    @property
    def remaining(self) -> float:
        """Time that may still be spent."""
        return self.budget - (CLOCK.monotonic() - self.started)

    def next_wait(self, retry_after: str | None = None) -> float | None:
        """Return the time to wait before the next attempt; None if there may be none."""
        if self.attempts >= self.allowed:
            return None
        wait = wait_before(self.attempts, retry_after)
        return wait if wait + LEAST_SECONDS < self.remaining else None

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

    def bare(self) -> Exchange:
        """Return a copy that has ended and holds no secret."""
        answered = {REQUEST_ID_HEADERS[0]: self.request_id or ""}
        return replace(self, ended=CLOCK.monotonic(), headers={}, answered=answered)


def exchange_of(response: requests.Response) -> Exchange:
    """Return the exchange that ended with a response of the transport."""
    exchange: Exchange = vars(response)["exchange"]
    return exchange


def unreadable(response: requests.Response, what: str) -> BadAnswerError:
    """Return the error for a response that does not contain what was requested."""
    exchange, status = exchange_of(response), response.status_code
    shown = excerpt(response.content, exchange.secrets) or "(nothing)"
    text = f"{exchange.service} answered {status} without {what} to {exchange.summary()}: {shown}"
    return BadAnswerError(text, **exchange.facts(status))


def facts_in(error: ServiceError) -> dict[str, Any]:
    """Return the facts of an error, for another one that takes its place."""
    names = ("service", "status", "attempts", "seconds", "request_id")
    return {name: getattr(error, name) for name in names}


class ResponseError(ServiceError, requests.HTTPError):
    """A service answered with an error.

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
    http_err : requests.HTTPError
        What `requests` would have raised.
    """

    response: requests.Response
    status_code: int

    def __init__(self, text: str, answer: dict[str, Any], **facts: Any) -> None:
        # Not through `super()`: the SDK's own constructor takes a `requests` error.
        Exception.__init__(self, text)
        self.message = text
        self.__dict__.update(facts)
        self._answer = answer
        self.response = bare_response(**answer)
        self.request = self.response.request
        self.status = self.status_code = answer["status"]
        self.http_err = requests.HTTPError(
            f"{self.status_code} {self.response.reason} for url: {self.response.url}",
            response=self.response,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {key: fact for key, fact in facts_in(self).items() if key != "status"}
        return functools.partial(type(self), **facts), (str(self), self._answer)

    def with_message(self, message: str) -> Self:
        """Return an equal error with another message."""
        make, (_, answer) = self.__reduce__()
        return cast("Self", make(message, answer))

    @classmethod
    def of(cls, response: requests.Response, advice: str = "") -> Self:
        """Make an error of a response of the transport."""
        exchange = exchange_of(response)
        answer = facts_of(response, exchange.secrets)
        message = cls.message_in(answer["body"])
        error = cls(
            f"{exchange.service} answered {response.status_code} to {exchange.summary()}."
            f"{advice and f' {advice}'}{message and f' Its message: {message}'}",
            answer,
            **exchange.facts(response.status_code),
        )
        error.__cause__ = error.http_err
        return error

    @staticmethod
    def message_in(body: bytes) -> str:
        """Return the service's own message in the body of a response."""
        return excerpt(body.strip(), limit=LONGEST_MESSAGE)


# -- why there was no response ---------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """An attempt without a response, and how often a request may be repeated after it."""

    error: ServiceError
    repeats: float = 0
    timed_out: bool = False


def failure_of(
    cause: BaseException, exchange: Exchange, url: str, proxy: str | None = None
) -> Failure:
    """Return the failure that an exception of urllib3 or of the system stands for."""
    reason, step, repeats, timed_out = _reason(cause, url, proxy)
    service, facts = exchange.service, exchange.facts()
    error: ServiceError
    if exchange.budget <= 0:
        why = f"the limit of time was used up before. Request: {exchange.method} {exchange.place}"
        return Failure(RequestTimeoutError(f"{service} was not contacted: {why}", **facts))
    text = f"({reason}).{f' {step}' if step else ''} Request: {exchange.summary()}"
    if timed_out:
        text = f"{service} did not answer in {round(exchange.budget, 2):g} s {text}"
        error = RequestTimeoutError(text, **facts)
    else:
        error = RequestConnectionError(f"{service} could not be reached {text}", **facts)
    # One link only, without the requests and connections that the real one holds.
    link = requests.Timeout if timed_out else requests.ConnectionError
    shown = excerpt(_without_query(str(cause), url), exchange.secrets)
    error.__cause__ = link(f"{type(cause).__name__}: {shown}")
    return Failure(error, repeats, timed_out)


def _without_query(text: str, url: str) -> str:
    # The query of a presigned link is as good as a password while it lasts.
    query = urlsplit(url).query
    return text.replace(f"?{query}", "") if query else text


_NETWORK = "Check the network connection (VPN)"
_ALWAYS = float("inf")


def _reason(error: BaseException, url: str, proxy: str | None) -> tuple[str, str, float, bool]:
    """Return the reason, the next step, how often to repeat, and whether time ran out."""
    links = tuple(_links(error))
    root = links[-1]
    host = place_of(url).partition("/")[0]
    later = f"{_NETWORK}, or try again later."

    def first(*kinds: type[Any]) -> Any:
        return next((link for link in links if isinstance(link, kinds)), None)

    if isinstance(error, BundleError):
        return str(error), f"Correct or unset {error.source}.", 0, False
    if isinstance(error, urllib3_errors.LocationValueError):
        return f"{host or 'the URL'} is not a valid address", "Check the settings.", 0, False
    refused_tunnel = "Tunnel connection failed" in str(root)
    if proxy and (refused_tunnel or first(urllib3_errors.ProxyError)):
        source = proxy_variable(proxy)
        named = f"{place_of(proxy)}{f', set by {source}' if source else ''}"
        step = f"Correct or unset {source or 'the proxy'}, or add {host} to NO_PROXY."
        repeats = 0 if refused_tunnel else 1
        return f"the proxy {named}, failed: {excerpt(str(root))}", step, repeats, False
    if untrusted := first(ssl.SSLCertVerificationError):
        why = f"the certificate of {host} is not trusted: {untrusted.verify_message}"
        step = "Set REQUESTS_CA_BUNDLE to the file with your network's CA certificates."
        return why, step, 0, False
    if unknown := first(socket.gaierror):
        step = f"{_NETWORK} and the spelling of the host."
        again = int(unknown.errno == socket.EAI_AGAIN)
        return f"DNS: the host name {host} cannot be resolved", step, again, False
    # A connection that could not be made counts as a timeout for urllib3, whatever the reason.
    refused = isinstance(error, urllib3_errors.NewConnectionError)
    if first(TimeoutError) or (first(urllib3_errors.TimeoutError) and not refused):
        why = f"{host} sent no complete response in time"
        if isinstance(error, urllib3_errors.ConnectTimeoutError):
            why = f"no connection to {host} could be opened in time"
        return why, f"{_NETWORK}, or set AIND_SESSION_TIMEOUT to more seconds.", 1, True
    if first(ConnectionRefusedError):
        return f"{host} refused the connection", later, _ALWAYS, False
    if first(ssl.SSLError) and not first(ssl.SSLEOFError):
        return f"the TLS handshake with {host} failed: {excerpt(str(root))}", later, 0, False
    if first(ConnectionError, urllib3_errors.ProtocolError):
        why = f"the connection to {host} was reset or ended early: {type(root).__name__}"
        return why, later, _ALWAYS, False
    why = excerpt(_without_query(str(root), url)) or type(root).__name__
    return why, later, _ALWAYS, False


def proxy_variable(proxy: str) -> str:
    """Return the variable that names a proxy, or an empty string."""
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    return next((name for name in names if os.environ.get(name) == proxy), "")


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


# -- circuit breakers ------------------------------------------------------------------------------


@dataclass
class _Circuit:
    """What a request that used up its attempts ended with, for those that come after it."""

    until: float
    outcome: ServiceError | dict[str, Any]
    exchange: Exchange

    def __str__(self) -> str:
        why = f"status {self.outcome['status']}" if isinstance(self.outcome, dict) else ""
        why = why or f"no {'answer' if isinstance(self.outcome, TimeoutError) else 'connection'}"
        seconds = self.until - CLOCK.monotonic()
        return (
            f"{self.exchange.service} is not contacted for another {seconds:.0f} s: "
            f"{why} after {self.exchange.summary()}"
        )


class Circuits(dict[str, _Circuit]):
    """The circuits of one transport, each keeping requests from what has failed.

    A status counts for one path only (an aggregation may fail where a search works), a hang for
    the first part of the path (each schema of DocDB), a failed connection for the whole host.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def check(self, exchange: Exchange) -> requests.Response | None:
        """Return or raise what an earlier request failed with; None to contact the service."""
        now = CLOCK.monotonic()
        with self._lock:
            for circuit in filter(None, map(self.get, _keys(exchange.url))):
                if circuit.until <= now:
                    # This request is the probe: others do not wait for what it finds out.
                    circuit.until = now + exchange.budget
                    continue
                before = circuit.exchange
                exchange.attempts, exchange.is_garbled = before.attempts, before.is_garbled
                exchange.answered = before.answered
                exchange.started = now - before.seconds
                if isinstance(circuit.outcome, ServiceError):
                    raise copy.copy(circuit.outcome)
                return bare_response(**circuit.outcome)
        return None

    def open(self, exchange: Exchange, outcome: ServiceError | requests.Response) -> None:
        """Keep requests from what every attempt failed at."""
        path, group, host = _keys(exchange.url)
        now = CLOCK.monotonic()
        if isinstance(outcome, requests.Response):
            self.close(exchange, path=False)
            circuit = _Circuit(now, facts_of(outcome, exchange.secrets), exchange.bare())
            key = path
        else:
            circuit = _Circuit(now, outcome, exchange.bare())
            key = group if isinstance(outcome, TimeoutError) else host
        circuit.until += CIRCUIT_SECONDS
        with self._lock:
            for old in [old for old, one in self.items() if one.until <= now]:
                del self[old]
            self[key] = circuit

    def close(self, exchange: Exchange, *, path: bool = True) -> None:
        """Contact a service again that has answered; also its path, if that worked."""
        with self._lock:
            for key in _keys(exchange.url)[0 if path else 1 :]:
                self.pop(key, None)

    def describe(self) -> tuple[str, ...]:
        """Return a line for each circuit that is open."""
        now = CLOCK.monotonic()
        with self._lock:
            return tuple(str(circuit) for circuit in self.values() if circuit.until > now)

    def clear(self) -> None:
        """Contact everything again at once."""
        with self._lock:
            super().clear()


def _keys(url: str) -> tuple[str, str, str]:
    """Return the names of a request's circuits: path, first part of the path, host."""
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.netloc}"
    return f"{host}{parts.path or '/'}", f"{host}/{parts.path[1:].partition('/')[0]}/*", host
