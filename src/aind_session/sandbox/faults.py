"""Counts every request on its way to the fake services, delays it, and makes it fail on request.

A fault is selected by service, path and method, so that a test decides which request fails and how.
Nothing depends on the time of day, and on chance only if a test requests it, with a seed.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import partial
from typing import Any

from aind_session.sandbox.server import ConnectionCut, Response
from aind_session.sandbox.server import Request as Request

SERVICES = ("codeocean", "docdb", "s3", "files")
KINDS = ("status", "reset", "hang", "truncate", "slow")
#: Seconds between checks whether the client of a hanging connection has given up.
POLL_SECONDS = 0.02


#: Called with the service's name, the function that answers, and the request.
Handler = Callable[[str, Callable[[Request], Response], Request], Response]


@dataclass
class Fault:
    """Which requests fail, how, and how often; see `Sandbox.fail`."""

    service: str | None = None
    path: str | None = None
    method: str | None = None
    status: int = 503
    times: int | None = 1
    after: int = 0
    headers: Mapping[str, str] | None = None
    body: Any = None
    kind: str = "status"
    seconds: float = 0.2
    chance: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(_unknown("kind", self.kind, KINDS))
        if self.service not in (None, *SERVICES):
            # A fault that matches nothing would make a test that cannot fail.
            raise ValueError(_unknown("service", self.service, SERVICES))
        self._pattern = re.compile(self.path) if self.path else None
        self.dice = random.Random(self.seed)
        content, body = "application/json", self.body
        if body is None:
            body = {"message": f"broken on purpose: {self.status}"}
        if isinstance(body, str):
            content, body = "text/plain; charset=utf-8", body.encode()
        elif not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Content-Type": content, **(self.headers or {})}
        self.response = Response(self.status, body, headers)

    def matches(self, request: Request) -> bool:
        """Whether this request is to fail; counts down."""
        if self.service not in (None, request.service):
            return False
        if self.method is not None and self.method.upper() != request.method:
            return False
        if self._pattern is not None and not self._pattern.search(request.path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.chance < 1.0 and self.dice.random() >= self.chance:
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


def _unknown(what: str, value: object, values: tuple[str, ...]) -> str:
    return f"Unknown {what} {value!r}: use {', '.join(values[:-1])} or {values[-1]}."


class Middleware:
    """Counts, delays and breaks requests on their way to the fake services.

    Parameters
    ----------
    services
        The fake services by name.
    prefixes
        The secret beginning of a service's paths, which keeps other users of this machine out.
    latency
        Minimum duration of each request, in seconds.
    """

    def __init__(
        self,
        services: Mapping[str, Callable[[Request], Response]],
        prefixes: Mapping[str, str],
        latency: float,
    ) -> None:
        self.services, self.prefixes = services, prefixes
        self.requests: list[Request] = []
        self.latency = latency
        self._faults: list[Fault] = []
        self._handlers: list[Handler] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._healed = threading.Event()

    def __call__(self, request: Request) -> Response:
        """Pass a request to its service, or make it fail."""
        prefix = self.prefixes.get(request.service, "")
        if not request.path.startswith(prefix):
            return json_response(404, {"message": "not found"})
        request.path = request.path.removeprefix(prefix)
        request.raw_path = request.raw_path.removeprefix(prefix)
        request.started = time.perf_counter()
        with self._lock:
            self.requests.append(request)
            fault = next((f for f in self._faults if f.matches(request)), None)
            healed = self._healed
        try:
            if self.latency > 0:
                self._closing.wait(self.latency)
            response = (
                self._answer(request) if fault is None else self._fail(fault, request, healed)
            )
            request.status = response.status
            return response
        finally:
            # Before the response is sent: a client that has it finds the request counted.
            request.ended = time.perf_counter()
            # What is kept to be looked at holds no token and no socket.
            request.headers, request.disconnected = Message(), bool

    def _answer(self, request: Request) -> Response:
        answer = self.services[request.service]
        for handler in self._handlers:
            answer = partial(handler, request.service, answer)
        try:
            return answer(request)
        except Exception as error:
            # No check foresaw this request: report it; the thread would die without a response.
            message = f"not understood: {type(error).__name__}: {error}"
            return json_response(400, {"message": message})

    def _fail(self, fault: Fault, request: Request, healed: threading.Event) -> Response:
        if fault.kind == "reset":
            raise ConnectionCut
        if fault.kind == "hang":
            gone = (self._closing.is_set, request.disconnected)
            while not healed.wait(POLL_SECONDS) and not any(each() for each in gone):
                pass
            raise ConnectionCut
        if fault.kind == "status":
            return fault.response
        response = self._answer(request)
        if fault.kind == "truncate":
            request.status = response.status
            raise ConnectionCut(response)
        self._closing.wait(fault.seconds)
        return response

    def add(self, fault: Fault) -> None:
        """Add a fault; of several that match a request the oldest counts."""
        with self._lock:
            self._faults.append(fault)

    def remove(self, fault: Fault) -> None:
        """Remove a fault."""
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)

    def intercept(self, handler: Handler) -> None:
        """Change requests or responses: `handler(service, answer, request)` returns a response.

        It may make it of `answer(request)`; `heal` removes it.
        """
        with self._lock:
            self._handlers.append(handler)

    def heal(self) -> None:
        """Remove all faults and handlers, and release connections that hang."""
        with self._lock:
            self._faults.clear()
            self._handlers = []
            self._healed.set()
            self._healed = threading.Event()

    def close(self) -> None:
        """Release everything that waits."""
        self._closing.set()
        self.heal()


@dataclass(frozen=True)
class Counts:
    """What a sandbox counted since its start or the last `Sandbox.reset`.

    Attributes
    ----------
    requests : int
        Requests received.
    in_sequence : int
        The longest chain of requests of which each began after the one before had ended.
    connections : int
        Connections opened.
    received, sent : int
        Bytes of requests and of responses, headers included.
    """

    requests: int
    in_sequence: int
    connections: int
    received: int
    sent: int


def json_response(status: int, value: Any) -> Response:
    """Make a response of a value as JSON."""
    import msgspec

    body = msgspec.json.encode(value, enc_hook=str)
    return Response(status, body, {"Content-Type": "application/json"})


def longest_chain(requests: list[Request]) -> int:
    """Count the longest chain of requests of which each began after the one before had ended.

    Examples
    --------
    >>> from aind_session.sandbox.faults import Request, longest_chain
    >>> def at(started, ended):
    ...     return Request("s3", "GET", "/", "", b"", 200, started, ended)
    >>> longest_chain([at(0, 2), at(1, 3), at(2.5, 4)])
    2
    """
    length, free = 0, float("-inf")
    for request in sorted(requests, key=lambda r: r.ended):
        if request.started >= free:
            length, free = length + 1, request.ended
    return length


class Refused(Exception):
    """A fake service refuses a request: an HTTP status, a message, and S3's code of the error."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
