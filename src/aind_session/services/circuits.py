"""Circuit breakers: a service that has just failed is not contacted by the next request."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, replace
from typing import Any

from requests import Response

from aind_session.clock import CLOCK
from aind_session.errors import ServiceError
from aind_session.services.exchange import Exchange
from aind_session.services.redact import bare_response, bare_url, facts_of, origin_of

#: How long a service that has used up a request's attempts is not contacted.
CIRCUIT_SECONDS = 30.0


@dataclass
class _Circuit:
    """What a request that used up its attempts ended with, for those that come after it."""

    until: float
    outcome: ServiceError | dict[str, Any]
    exchange: Exchange


class Circuits:
    """The circuits of one transport, each keeping requests from what has failed.

    A status counts for one path only (an aggregation may fail where a search works), a hang for
    the first part of the path (each schema of DocDB), a failed connection for the whole host.
    """

    def __init__(self) -> None:
        self._circuits: dict[str, _Circuit] = {}
        self._lock = threading.Lock()

    def check(self, exchange: Exchange) -> Response | None:
        """Return or raise what an earlier request failed with; None to contact the service."""
        now = CLOCK.monotonic()
        with self._lock:
            for key in _keys(exchange.url):
                circuit = self._circuits.get(key)
                if circuit is None:
                    continue
                if circuit.until <= now:
                    # This request is the probe: others do not wait for what it finds out.
                    circuit.until = now + exchange.budget
                    continue
                before = circuit.exchange
                exchange.attempts, exchange.is_garbled = before.attempts, before.is_garbled
                exchange.request_id = before.request_id
                exchange.started = now - before.seconds
                if isinstance(circuit.outcome, ServiceError):
                    raise copy.copy(circuit.outcome)
                return bare_response(**circuit.outcome)
        return None

    def open_after_error(self, exchange: Exchange, error: ServiceError) -> None:
        """Keep requests from a service that did not answer any attempt."""
        _, group, host = _keys(exchange.url)
        self._open(group if isinstance(error, TimeoutError) else host, exchange, error)

    def open_after_response(self, exchange: Exchange, response: Response) -> None:
        """Keep requests from a path that answered every attempt with a failure."""
        self.close(exchange, path=False)
        self._open(_keys(exchange.url)[0], exchange, facts_of(response, exchange.secrets))

    def _open(self, key: str, exchange: Exchange, outcome: Any) -> None:
        now = CLOCK.monotonic()
        with self._lock:
            self._circuits = {k: c for k, c in self._circuits.items() if c.until > now}
            ended = replace(exchange, ended=now, secrets=())
            self._circuits[key] = _Circuit(now + CIRCUIT_SECONDS, outcome, ended)

    def close(self, exchange: Exchange, *, path: bool = True) -> None:
        """Contact a service again that has answered; also its path, if that worked."""
        if self._circuits:
            keys = _keys(exchange.url)
            with self._lock:
                for key in keys if path else keys[1:]:
                    self._circuits.pop(key, None)

    def clear(self) -> None:
        """Contact everything again at once."""
        with self._lock:
            self._circuits = {}

    def describe(self) -> tuple[str, ...]:
        """Return a line for each circuit that is open."""
        now = CLOCK.monotonic()
        with self._lock:
            circuits = [c for c in self._circuits.values() if c.until > now]
        return tuple(
            f"{c.exchange.service} is not contacted for another {c.until - now:.0f} s: "
            f"{_name(c.outcome)} after {c.exchange.summary()}"
            for c in circuits
        )


def _name(outcome: ServiceError | dict[str, Any]) -> str:
    if isinstance(outcome, ServiceError):
        return "no answer in time" if isinstance(outcome, TimeoutError) else "no connection"
    return f"status {outcome['status']}"


def _keys(url: str) -> tuple[str, str, str]:
    """Return the names of a request's circuits: path, first part of the path, host."""
    scheme, host, port = origin_of(url)
    path = bare_url(url).split("/", 3)[3:] or [""]
    place = f"{scheme}://{host}:{port}"
    return f"{place}/{path[0]}", f"{place}/{path[0].partition('/')[0]}/*", place
