"""The clock that waiting and deadlines go by; tests replace it and nothing sleeps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

#: Seconds after which a wait for another thread looks whether it was interrupted. A wait without
#: a limit is deaf to Ctrl-C on Windows, and where another thread was given the signal.
NOTICE_SECONDS = 0.2


class Clock(Protocol):
    """The methods of a clock."""

    def monotonic(self) -> float:
        """Return the seconds of a clock that never goes back."""

    def time(self) -> float:
        """Return the seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class _CurrentClock:
    """The clock in use, whoever imported it before it was replaced."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def time(self) -> float:
        return self.clock.time()

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)


#: What everything in `services` waits with.
CLOCK = _CurrentClock(time)


@contextmanager
def use_clock(clock: Clock) -> Iterator[Clock]:
    """Wait with another clock, in all threads.

    Parameters
    ----------
    clock
        An object with `monotonic()`, `time()` and `sleep(seconds)`.

    Examples
    --------
    >>> class Hurried:
    ...     def __init__(self):
    ...         self.now = 0.0
    ...     def monotonic(self):
    ...         return self.now
    ...     time = monotonic
    ...     def sleep(self, seconds):
    ...         self.now += seconds
    >>> with use_clock(Hurried()) as clock:
    ...     CLOCK.sleep(3600)
    >>> clock.now
    3600.0
    """
    before, CLOCK.clock = CLOCK.clock, clock
    try:
        yield clock
    finally:
        CLOCK.clock = before


#: The moment at which the requests of a block end.
_over: ContextVar[float] = ContextVar("over", default=math.inf)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End all requests of a block within a time.

    Parameters
    ----------
    seconds
        For all of them together; the limit of the settings still holds for each.

    Examples
    --------
    >>> with at_most(5):
    ...     time_left() <= 5
    True
    """
    token = _over.set(min(CLOCK.monotonic() + seconds, _over.get()))
    try:
        yield
    finally:
        _over.reset(token)


def time_left() -> float:
    """Return the seconds left of the limit set by `at_most`; infinity outside of it."""
    return max(0.0, _over.get() - CLOCK.monotonic())
