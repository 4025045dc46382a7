"""One cache: bounded, timed, one request for a question asked twice at once, copies out.

Values are immutable (bytes, text, tuples, frozen structs of these): what a caller gets is decoded
from them anew, so that nobody can change what the next one sees. Keys begin with the kind of
question and the identity of who asks, so that one token never sees what another was told.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import math
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from aind_session.forking import when_forked
from aind_session.services.clock import NOTICE_SECONDS
from aind_session.services.pool import is_abandoned

T = TypeVar("T")
Key = tuple[str, ...]

MAX_ENTRIES = 50_000
MAX_BYTES = 256 * 2**20
# What an entry weighs beside its content: key, dictionary slot, objects.
OVERHEAD = 400


#: When an answer must have come to be good enough for who asks.
_since: contextvars.ContextVar[float] = contextvars.ContextVar("since", default=-math.inf)


@contextlib.contextmanager
def newer_than(moment: float) -> Iterator[None]:
    """Ask anew what was answered before a moment of the cache's clock, in the pool's threads too.

    Examples
    --------
    >>> cache = Cache()
    >>> cache.put(("square", "3"), "6", seconds=60)
    >>> with newer_than(cache.clock() + 1):
    ...     cache.get(("square", "3"), lambda: "9", seconds=60)
    '9'
    """
    token = _since.set(max(moment, _since.get()))
    try:
        yield
    finally:
        _since.reset(token)


@dataclass
class _Entry:
    value: Any
    asked: float
    expires: float
    weight: int


@dataclass
class _Flight:
    """A question on its way: who asks the same meanwhile waits for this one."""

    landed: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(default_factory=threading.current_thread)
    value: Any = None
    error: BaseException | None = None
    stale: bool = False


class Cache:
    """Answers to questions, for a time.

    Parameters
    ----------
    max_entries, max_bytes
        What is asked least recently goes first when either is passed.
    clock
        Seconds that never go back; tests pass their own.

    Examples
    --------
    >>> cache = Cache()
    >>> cache.get(("square", "3"), lambda: "9", seconds=60)
    '9'
    >>> cache.get(("square", "3"), lambda: "never asked again", seconds=60)
    '9'
    """

    def __init__(
        self,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_entries, self.max_bytes, self.clock = max_entries, max_bytes, clock
        self._reset()
        _caches.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._flights: dict[Key, _Flight] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Cache of {len(self._entries)} answers, {self._bytes / 2**20:.1f} MB>"

    def get(self, key: Key, ask: Callable[[], T], seconds: float | None = None) -> T:
        """Give the answer that is known, or ask.

        Parameters
        ----------
        key
            The question, the identity of who asks included.
        ask
            Called at most once however many threads want the answer. What it raises is raised in
            each of them and not kept.
        seconds
            How long the answer is good; by default as the settings say.
        """
        with self._lock:
            entry = self._fresh(key)
        while entry is None:
            flight = _Flight()
            try:
                with self._lock:
                    entry = self._fresh(key)
                    if entry is not None:
                        break
                    under_way = self._flights.setdefault(key, flight)
                    if under_way is not flight and is_abandoned(under_way.thread):
                        # Who wanted it was interrupted, and it may hang: it is sent anew.
                        under_way = self._flights[key] = flight
                if under_way is flight:
                    flight.value = value = ask()
                    if not flight.stale:
                        self.put(key, value, seconds)
                    return value
            except BaseException as error:
                flight.error = error
                raise
            finally:
                # An interrupt can come anywhere: whoever waits is woken all the same.
                with self._lock:
                    if self._flights.get(key) is flight:
                        del self._flights[key]
                flight.landed.set()
            while not under_way.landed.wait(NOTICE_SECONDS):
                pass
            if under_way.error is None:
                return cast(T, under_way.value)
            if isinstance(under_way.error, Exception):
                # A copy each: one exception raised in many threads would mix their tracebacks.
                raise _copy_of(under_way.error) from under_way.error
            # Who asked was interrupted: that says nothing about the answer.
        return cast(T, entry.value)

    def _fresh(self, key: Key) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self.clock():
            self._drop(key)
            return None
        if entry.asked < _since.get():
            return None
        self._entries.move_to_end(key)
        return entry

    def peek(self, key: Key) -> Any:
        """Give the answer if it is known, else None; never asks."""
        with self._lock:
            entry = self._fresh(key)
            return None if entry is None else entry.value

    def put(self, key: Key, value: object, seconds: float | None = None) -> None:
        """Keep an answer that came with another one."""
        if seconds is None:
            from aind_session import settings

            seconds = settings.current().cache_seconds.value
        now = self.clock()
        entry = _Entry(value, now, now + seconds, OVERHEAD + _weight(value))
        with self._lock:
            if key in self._entries:
                self._drop(key)
            # One large answer (a log of 200 MB) is not worth all the others.
            if entry.weight > self.max_bytes / 2 or seconds <= 0:
                return
            self._entries[key] = entry
            self._bytes += entry.weight
            while len(self._entries) > self.max_entries or self._bytes > self.max_bytes:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        self._bytes -= self._entries.pop(key).weight

    def forget(self, concerns: Callable[[Key], bool]) -> int:
        """Drop the answers whose key is concerned, those on their way included; say how many."""
        with self._lock:
            keys = [key for key in self._entries if concerns(key)]
            for key in keys:
                self._drop(key)
            # An answer on its way was asked for before: it serves who waits, and is not kept.
            for key in [key for key in self._flights if concerns(key)]:
                self._flights.pop(key).stale = True
            return len(keys)

    def clear(self) -> None:
        """Forget everything."""
        self.forget(lambda key: True)


def _copy_of(error: BaseException) -> BaseException:
    try:
        return copy.copy(error)
    except Exception:
        return error


def _weight(value: object) -> int:
    if isinstance(value, bytes | str):
        return len(value)
    if isinstance(value, tuple):
        return sum(_weight(item) + 50 for item in value)
    raw = getattr(value, "raw", None)
    if isinstance(raw, bytes):
        return len(raw) + 600
    return 50 + _weight(tuple(getattr(value, "__dict__", {}).values()))


_caches: weakref.WeakSet[Cache] = weakref.WeakSet()


def _after_fork() -> None:
    # A lock held, or a question on its way, in the parent is nobody's in the child.
    for cache in list(_caches):
        entries, size = cache._entries, cache._bytes
        cache._reset()
        cache._entries, cache._bytes = entries, size


when_forked(_after_fork)

#: The one cache.
answers = Cache()
