"""The process state: settings, cached answers, clients, threads and traces, in one `Context`.

The cache is bounded and timed, and sends one request for concurrent callers of one key. Its values
are immutable (bytes, text, tuples, frozen structs of these): public functions decode a new object
from them, so that a caller's change never reaches the next caller.

`current()` returns the context of this process. A new one takes its place when the settings change
(another token, a sandbox) and in a forked child, so that answers and connections never pass from
one identity or process to another. Nothing else in the package is mutable at module level, except
the registry of namespaces.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import math
import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aind_session import settings as _settings
from aind_session.clock import NOTICE_SECONDS
from aind_session.progress import size_text
from aind_session.threads import Threads, is_abandoned

if TYPE_CHECKING:
    from aind_session.trace import Trace

T = TypeVar("T")
Key = tuple[Any, ...]

MAX_ENTRIES = 50_000
MAX_BYTES = 256 * 2**20
# Bytes of an entry in addition to its value: key, dictionary slot, objects.
OVERHEAD = 400
#: How many calls of `forget` are remembered, for requests in progress.
MAX_FORGOTTEN = 1_000


#: Answers cached before this moment are requested again.
_since: contextvars.ContextVar[float] = contextvars.ContextVar("since", default=-math.inf)


@contextlib.contextmanager
def newer_than(moment: float) -> Iterator[None]:
    """Request again what was cached before a moment of the cache's clock, in threads too.

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
    requested: float
    expires: float
    weight: int


@dataclass
class _Flight:
    """A request under way: concurrent callers of the same key wait for it."""

    landed: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(default_factory=threading.current_thread)
    value: Any = None
    error: BaseException | None = None


class Cache:
    """Answers by key, each for a limited time.

    Parameters
    ----------
    lifetime
        Seconds for which an answer counts, unless it is stored with a lifetime of its own.
    max_entries, max_bytes
        The least recently used entries are dropped when either is exceeded.
    clock
        A monotonic clock, in seconds.

    Examples
    --------
    >>> cache = Cache()
    >>> cache.get(("square", "3"), lambda: "9", seconds=60)
    '9'
    >>> cache.get(("square", "3"), lambda: "not called", seconds=60)
    '9'
    """

    def __init__(
        self,
        lifetime: float = 600.0,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lifetime, self.clock = lifetime, clock
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._flights: dict[Key, _Flight] = {}
        self._bytes = 0
        self._forgotten: deque[Callable[[Key], bool]] = deque(maxlen=MAX_FORGOTTEN)
        self._forgets = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Cache of {len(self._entries)} answers, {size_text(self._bytes)}>"

    def get(
        self,
        key: Key,
        fetch: Callable[[], T],
        seconds: float | Callable[[T], float | None] | None = None,
    ) -> T:
        """Return the cached answer, or fetch it: once, however many threads want it.

        An exception is raised in each waiting thread and is not cached. `seconds` is the lifetime
        of the answer, or a function of it.
        """
        with self._lock:
            entry = self._fresh(key)
        while entry is None:
            flight = _Flight()
            moment = self.moment()
            try:
                with self._lock:
                    entry = self._fresh(key)
                    if entry is not None:
                        break
                    under_way = self._flights.setdefault(key, flight)
                    if under_way is not flight and is_abandoned(under_way.thread):
                        # The thread that sent it was interrupted, and it may hang: send it again.
                        under_way = self._flights[key] = flight
                if under_way is flight:
                    flight.value = value = fetch()
                    lifetime = seconds(value) if callable(seconds) else seconds
                    self.put(key, value, lifetime, moment)
                    return value
            except BaseException as error:
                flight.error = error
                raise
            finally:
                # An interrupt can come anywhere: waiting threads are woken all the same.
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
            # The sending thread was interrupted: the answer is still unknown.
        return cast(T, entry.value)

    def _fresh(self, key: Key) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self.clock():
            self._drop(key)
            return None
        if entry.requested < _since.get():
            return None
        self._entries.move_to_end(key)
        return entry

    def cached(self, key: Key) -> Any:
        """Return the cached answer, else None; never fetches."""
        with self._lock:
            entry = self._fresh(key)
            return None if entry is None else entry.value

    def moment(self) -> int:
        """Return a number to pass to `put`, so that a `forget` in between is noticed."""
        return self._forgets

    def _is_forgotten_since(self, key: Key, moment: int) -> bool:
        later = self._forgets - moment
        return later > len(self._forgotten) or any(
            self._forgotten[-number](key) for number in range(1, later + 1)
        )

    def put(
        self, key: Key, value: object, seconds: float | None = None, moment: int | None = None
    ) -> None:
        """Cache an answer that came with another one, requested at a moment (default: now).

        It is not cached if it was forgotten since: it may be older than what changed.
        """
        seconds = self.lifetime if seconds is None else seconds
        now = self.clock()
        entry = _Entry(value, now, now + seconds, OVERHEAD + _weight(value))
        with self._lock:
            if moment is not None and self._is_forgotten_since(key, moment):
                return
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
        """Drop the answers whose key is concerned; return their number."""
        with self._lock:
            self._forgotten.append(concerns)
            self._forgets += 1
            keys = [key for key in self._entries if concerns(key)]
            for key in keys:
                self._drop(key)
            # A request under way serves its waiting callers, but its answer is not cached.
            for key in [key for key in self._flights if concerns(key)]:
                del self._flights[key]
            return len(keys)

    def clear(self) -> None:
        """Drop everything."""
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


#: Clients kept at the same time: one per service and set of options.
MAX_CLIENTS = 32


class Context:
    """What a process keeps between lookups.

    Parameters
    ----------
    settings
        The settings that everything in this context was made with.
    threads
        The pool to use; by default a new one.

    Attributes
    ----------
    cache : Cache
        Answers of the services.
    threads : Threads
        The pool in which concurrent requests run.
    traces : OrderedDict
        The latest traces of each session or subject, for `explain()`.
    attempt : callable or None
        Makes each attempt of a request by calling its argument; `selfcheck` counts them here.
    """

    def __init__(self, settings: _settings.Settings, threads: Threads | None = None) -> None:
        self.settings = settings
        self.process = os.getpid()
        self.cache = Cache(settings.cache_seconds.value)
        self.threads = threads or Threads()
        self.traces: OrderedDict[str, dict[str, Trace]] = OrderedDict()
        self.attempt: Callable[[Callable[[], Any]], Any] | None = None
        self.lock = threading.RLock()
        self._clients: OrderedDict[Hashable, Any] = OrderedDict()
        self._kept: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()

    def keep_once(self, key: Hashable, made: T) -> T:
        """Return an equal object that is kept already, to save memory."""
        before: T | None = self._kept.get(key)
        if before is not None and before == made:
            return before
        self._kept[key] = made
        return made

    def client(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the client kept under a key; make it the first time."""
        with self.lock:
            if key not in self._clients:
                self._clients[key] = make()
                if len(self._clients) > MAX_CLIENTS:
                    _close(self._clients.popitem(last=False)[1])
            self._clients.move_to_end(key)
            client: T = self._clients[key]
            return client

    def clients(self) -> list[Any]:
        """Return every client kept at present."""
        with self.lock:
            return list(self._clients.values())

    def close_clients(self) -> None:
        """Close and drop every client; the next request makes a new one."""
        with self.lock:
            clients, self._clients = self._clients, OrderedDict()
        for client in clients.values():
            _close(client)


def _close(client: Any) -> None:
    # The clients of Code Ocean and DocDB have a session to close.
    close = getattr(client, "close", None) or getattr(
        getattr(client, "session", None), "close", None
    )
    if close is not None:
        with contextlib.suppress(Exception):
            close()


_current: Context | None = None


def current() -> Context:
    """Return the context of this process and of the settings as they are now."""
    global _current
    now = _settings.current()
    context = _current
    if context is not None and context.process == os.getpid():
        if context.settings is now:
            return context
        if context.settings == now:
            context.settings = now
            return context
        # Threads carry nothing of the settings: the next context uses the same pool.
        _current = Context(now, context.threads)
        context.close_clients()
        return _current
    # The first one, or a forked child: the parent's locks, threads and sockets stay untouched.
    _current = Context(now)
    return _current


def reset() -> None:
    """Drop the context: cached answers, connections and traces; threads end when idle."""
    global _current
    context, _current = _current, None
    _settings.forget()
    if context is not None and context.process == os.getpid():
        context.close_clients()
        context.threads.close()
