"""Traces: which requests a lookup made, what each service returned, and how long it took.

A lookup opens a trace; every request adds a line to it, those made in the pool's threads included.
Errors carry the trace of their lookup, and `Session.explain()` prints those of a session.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from aind_session import context
from aind_session.settings import Lookup, lookup

logger = logging.getLogger("aind_session")

#: Sessions and subjects whose traces are kept for `explain()`.
MAX_TRACES = 256


@dataclass(frozen=True)
class Request:
    """A request and a summary of its answer; without a service, a choice that was made."""

    service: str
    title: str
    answer: str
    seconds: float
    cached: bool = False

    def __str__(self) -> str:
        if not self.service:
            return self.title
        took = "cached" if self.cached else f"{self.seconds * 1000:.0f} ms"
        return f"{self.service}: {self.title} -> {self.answer} ({took})"


@dataclass
class Trace(Lookup):
    """The requests of one lookup, in the order in which their answers came."""

    about: str
    what: str
    at: float = field(default_factory=time.time)
    requests: list[Request] = field(default_factory=list)
    _seen: set[tuple[str, str, str]] = field(default_factory=set, repr=False, compare=False)

    def add(self, request: Request) -> None:
        """Add a request; one that only repeats a cached answer of this trace is left out."""
        # Kept in a set: the trace of a cohort's lookup has thousands of requests.
        seen = (request.service, request.title, request.answer)
        if request.cached and seen in self._seen:
            return
        self._seen.add(seen)
        self.requests.append(request)

    @property
    def lines(self) -> tuple[str, ...]:
        """Each request as a line of text."""
        return tuple(str(request) for request in self.requests)

    def __str__(self) -> str:
        return "\n".join([f"{self.what}:", *(f"  {line}" for line in self.lines)])


@contextlib.contextmanager
def tracing(about: str, what: str) -> Iterator[Trace]:
    """Open the trace of a lookup; within another lookup, continue that one's.

    `about` is the session or subject ID; `what` is the attribute: "raw data asset".
    """
    outer = lookup.get()
    if isinstance(outer, Trace):
        yield outer
        return
    trace = Trace(about, what)
    token = lookup.set(trace)
    try:
        yield trace
    finally:
        # Also if a setting is invalid, or Ctrl-C comes while the trace is kept.
        try:
            _keep(trace)
        finally:
            lookup.reset(token)


def _keep(trace: Trace) -> None:
    now = context.current()
    trace.settings = None
    with now.lock:
        traces = now.traces.setdefault(trace.about, {})
        earlier = traces.get(trace.what)
        # A later lookup of cached answers does not hide how they were first obtained.
        if earlier is None or not all(request.cached for request in trace.requests):
            traces[trace.what] = trace
        now.traces.move_to_end(trace.about)
        while len(now.traces) > MAX_TRACES:
            now.traces.popitem(last=False)


def kept(about: str) -> tuple[Trace, ...]:
    """Return the latest traces of a session or subject, one per attribute."""
    now = context.current()
    with now.lock:
        return tuple(now.traces.get(about, {}).values())


def forget(about: str) -> None:
    """Drop the traces of a session or subject."""
    now = context.current()
    with now.lock:
        now.traces.pop(about, None)


def lines() -> tuple[str, ...]:
    """Return the requests of the lookup under way, for an error to carry."""
    trace = lookup.get()
    return trace.lines if isinstance(trace, Trace) else ()


def note(message: str, *args: object) -> None:
    """Log a choice, or why nothing was found, and keep it in the trace."""
    logger.info(message, *args)
    add(Request("", message % args if args else message, "", 0.0, cached=True))


def add(request: Request) -> None:
    """Add a request to the trace of the lookup under way, if there is one."""
    trace = lookup.get()
    if isinstance(trace, Trace):
        trace.add(request)
