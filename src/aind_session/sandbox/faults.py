"""The gate before every stand-in: it counts requests, delays them, and breaks what it is told to.

A fault is chosen by service, path and method, so that a test says which request fails and how;
nothing here depends on the time of day, and on chance only where that is asked for, with a seed.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aind_session.sandbox.server import Answer, Asked, Dropped

SERVICES = ("codeocean", "docdb", "s3", "files")
KINDS = ("status", "reset", "hang", "truncate", "slow")
#: How often a held connection looks whether its client has given up.
LOOK_SECONDS = 0.02


@dataclass
class Request:
    """A request that the sandbox was sent.

    Attributes
    ----------
    service : str
        "codeocean", "docdb", "s3", or "files" (presigned links).
    method, path, query : str
        As on the wire, the path decoded.
    body : bytes
        What was posted.
    status : int
        Of the answer; 0 where the connection was cut.
    started, ended : float
        `time.perf_counter` before and after the answer was made, latency included.
    """

    service: str
    method: str
    path: str
    query: str
    body: bytes = field(repr=False)
    status: int = 0
    started: float = 0.0
    ended: float = 0.0

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters."""
        return dict(urllib.parse.parse_qsl(self.query, keep_blank_values=True))

    def json(self) -> Any:
        """Read the body as JSON; None where it is empty."""
        return json.loads(self.body) if self.body else None


@dataclass
class Fault:
    """What is to go wrong, and how often."""

    service: str | None
    path: re.Pattern[str] | None
    method: str | None
    status: int
    times: int | None
    after: int
    headers: Mapping[str, str]
    body: bytes
    kind: str
    seconds: float
    chance: float = 1.0
    dice: random.Random = field(default_factory=random.Random, repr=False)

    def takes(self, request: Request) -> bool:
        """Whether this request is to fail; counts down."""
        if self.service not in (None, request.service):
            return False
        if self.method is not None and self.method.upper() != request.method:
            return False
        if self.path is not None and not self.path.search(request.path):
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


class Gate:
    """Counts, delays and breaks requests on their way to the stand-ins.

    Parameters
    ----------
    services
        The stand-ins by name.
    """

    def __init__(self, services: Mapping[str, Callable[[Asked], Answer]]) -> None:
        self.services = services
        self.requests: list[Request] = []
        self.latency = 0.0
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._healed = threading.Event()

    def __call__(self, service: str, asked: Asked) -> Answer:
        """Let a request through to its stand-in, or not."""
        path = urllib.parse.unquote(asked.path)
        request = Request(service, asked.method, path, asked.query, asked.body)
        request.started = time.perf_counter()
        with self._lock:
            self.requests.append(request)
            fault = next((f for f in self._faults if f.takes(request)), None)
            healed = self._healed
        try:
            if self.latency > 0:
                self._closing.wait(self.latency)
            if fault is not None:
                return self._break(fault, request, asked, healed)
            return self._answer(request, asked)
        finally:
            # Before the answer is sent: whoever has the answer finds the request counted.
            request.ended = time.perf_counter()

    def _answer(self, request: Request, asked: Asked) -> Answer:
        try:
            answer = self.services[request.service](asked)
        except Exception as error:
            # A question so odd that no check foresaw it: told, not left to the thread to die of.
            answer = make_answer(400, f"not understood: {type(error).__name__}: {error}")
        request.status = answer.status
        return answer

    def _break(
        self, fault: Fault, request: Request, asked: Asked, healed: threading.Event
    ) -> Answer:
        if fault.kind == "reset":
            raise Dropped
        if fault.kind == "hang":
            while not (healed.wait(LOOK_SECONDS) or self._closing.is_set() or asked.gone()):
                pass
            raise Dropped
        if fault.kind == "status":
            request.status = fault.status
            return Answer(fault.status, fault.body, fault.headers)
        answer = self._answer(request, asked)
        if fault.kind == "truncate":
            raise Dropped(answer)
        self._closing.wait(fault.seconds)
        return answer

    def fail(self, fault: Fault) -> None:
        """Add a fault; the oldest that takes a request counts."""
        with self._lock:
            self._faults.append(fault)

    def remove(self, fault: Fault) -> None:
        """Take a fault away again."""
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)

    def heal(self) -> None:
        """Take all faults away and let go of held connections."""
        with self._lock:
            self._faults.clear()
            self._healed.set()
            self._healed = threading.Event()

    def close(self) -> None:
        """Let go of everything that waits."""
        self._closing.set()
        self.heal()


def make_answer(status: int, message: str) -> Answer:
    """Make an answer that is a message."""
    body = json.dumps({"message": message}).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


def make_fault(
    service: str | None = None,
    path: str | None = None,
    method: str | None = None,
    status: int = 503,
    times: int | None = 1,
    after: int = 0,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    kind: str = "status",
    seconds: float = 0.2,
    chance: float = 1.0,
    seed: int = 0,
) -> Fault:
    """Make a fault from what `Sandbox.fail` takes; see there."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if service not in (None, *SERVICES):
        # A fault that meets nothing would make a test that cannot fail.
        raise ValueError(f"service {service!r} is none of {', '.join(SERVICES)}")
    known = {"Content-Type": "application/json"}
    if body is None:
        body = {"message": f"broken on purpose: {status}"}
    if isinstance(body, str):
        known = {"Content-Type": "text/plain; charset=utf-8"}
        body = body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return Fault(
        service=service,
        path=re.compile(path) if path else None,
        method=method,
        status=status,
        times=times,
        after=after,
        headers={**known, **(headers or {})},
        body=body,
        kind=kind,
        seconds=seconds,
        chance=chance,
        dice=random.Random(seed),
    )


def longest_chain(requests: list[Request]) -> int:
    """Count the longest row of requests of which each began after the one before had ended.

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
