"""Clients that are made once and kept: one for each identity, none shared with a forked child."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from aind_session.forking import when_forked

T = TypeVar("T")


class Kept(Generic[T]):
    """Things made when first wanted and kept, the latest few of them.

    Parameters
    ----------
    most
        How many are kept.
    close
        Called with each that is dropped.

    Examples
    --------
    >>> made = Kept[list[int]]()
    >>> made.get("a", lambda: [1]) is made.get("a", lambda: [2])
    True
    """

    def __init__(self, most: int = 8, close: Callable[[T], None] | None = None) -> None:
        self.most, self.close = most, close
        self.renew()
        _all.add(self)

    def renew(self) -> None:
        """Forget everything, closing nothing: for a child process."""
        self._lock = threading.RLock()
        self._things: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Give what is kept under a key; make it if there is none."""
        with self._lock:
            if key not in self._things:
                self._things[key] = make()
                while len(self._things) > self.most:
                    self._drop(next(iter(self._things)))
            self._things.move_to_end(key)
            return self._things[key]

    def __contains__(self, key: Hashable) -> bool:
        return key in self._things

    def _drop(self, key: Hashable) -> None:
        thing = self._things.pop(key)
        if self.close is not None:
            self.close(thing)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            for key in list(self._things):
                self._drop(key)


_all: weakref.WeakSet[Kept[Any]] = weakref.WeakSet()


_also: list[Callable[[], None]] = []


def when_reset(do: Callable[[], None]) -> None:
    """Do something more whenever every client is dropped."""
    _also.append(do)


def reset() -> None:
    """Drop every client of every service, and what they remember of their service."""
    for kept in list(_all):
        kept.clear()
    for do in _also:
        do()


def _after_fork() -> None:
    for kept in list(_all):
        kept.renew()


when_forked(_after_fork)
