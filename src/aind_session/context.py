"""The process state: settings, cached answers, clients, threads and traces, in one `Context`.

`current()` returns the context of this process. A new one takes its place when the settings change
(another token, a sandbox) and in a forked child, so that answers and connections never pass from
one identity or process to another. Nothing else in the package is mutable at module level, except
the registry of namespaces.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

from aind_session import settings as _settings
from aind_session.cache import Cache
from aind_session.threads import Threads

if TYPE_CHECKING:
    from aind_session.trace import Trace

T = TypeVar("T")

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
    attempt : callable
        Makes each attempt of a request by calling its argument; `selfcheck` counts them here.
    """

    def __init__(self, settings: _settings.Settings, threads: Threads | None = None) -> None:
        self.settings = settings
        self.process = os.getpid()
        self.cache = Cache(settings.cache_seconds.value)
        self.threads = threads or Threads()
        self.traces: OrderedDict[str, dict[str, Trace]] = OrderedDict()
        self.attempt: Callable[[Callable[[], Any]], Any] = _call
        self.lock = threading.RLock()
        self._clients: OrderedDict[Hashable, Any] = OrderedDict()
        self._kept: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()

    def keep_once(self, key: Hashable, made: T) -> T:
        """Return what was made before under a key if it is equal: several searches find the same."""
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


def _call(send: Callable[[], T]) -> T:
    return send()


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
