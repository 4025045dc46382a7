"""Cached, traced requests: the decorator `query` that every function sending a request uses.

The answer of a query is immutable and shared: whoever hands out a part of it decodes it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Sized
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from aind_session import context, trace
from aind_session.errors import AindSessionError
from aind_session.threads import Outcome, outcome_of, outcomes

P = ParamSpec("P")
T = TypeVar("T")

CODE_OCEAN, DOCDB, S3 = "Code Ocean", "DocDB", "S3"


def count(noun: str) -> Callable[[Sized], str]:
    """Return a summary of a collection: `count("record")` makes "1 record", "2 records".

    Examples
    --------
    >>> count("data asset")([1, 2])
    '2 data assets'
    """
    return lambda found: f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"


class Query(Generic[P, T]):
    """A function that sends one request; its answer is cached by its arguments.

    Attributes
    ----------
    service : str
        "Code Ocean", "DocDB" or "S3".
    name : str
        Name of the function: with its arguments the key of the cached answer.
    """

    def __init__(
        self,
        service: str,
        title: str | Callable[..., str],
        send: Callable[P, T],
        summary: Callable[[Any], str],
        seconds: float | Callable[[Any], float | None] | None,
    ) -> None:
        self.service, self.title, self.send = service, title, send
        self.summary, self.seconds = summary, seconds
        self.name = send.__name__
        self.__doc__ = send.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the cached answer, or send the request; add it to the trace either way."""
        sent = False

        def fetch() -> T:
            nonlocal sent
            sent = True
            return self.send(*args, **kwargs)

        started = time.perf_counter()
        try:
            answer: T = context.current().cache.get(self._key(args), fetch, self.seconds)
        except AindSessionError as error:
            first_line = str(error).partition("\n")[0]
            self._trace(args, f"{type(error).__name__}: {first_line}", started, cached=False)
            raise
        self._trace(args, self.summary(answer), started, cached=not sent)
        return answer

    def _key(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.service, self.name, *args)

    def _trace(self, args: tuple[Any, ...], answer: str, started: float, cached: bool) -> None:
        title = self.title(*args) if callable(self.title) else self.title.format(*args)
        request = trace.Request(
            self.service, title, answer, time.perf_counter() - started, cached=cached
        )
        trace.add(request)
        if not cached:
            trace.logger.debug("%s", request)

    def cached(self, *args: Any) -> T | None:
        """Return the cached answer for these arguments, else None; never sends a request."""
        answer: T | None = context.current().cache.cached(self._key(args))
        return answer

    def store(self, answer: T, *args: Any, moment: int | None = None) -> None:
        """Cache the answer for these arguments that came with another request's answer.

        `moment` is `cache.moment()` before that request: unless nothing was requested.
        """
        context.current().cache.put(self._key(args), answer, None, moment)


def query(
    service: str,
    title: str | Callable[..., str],
    summary: Callable[[Any], str] = str,
    seconds: float | Callable[[Any], float | None] | None = None,
) -> Callable[[Callable[P, T]], Query[P, T]]:
    """Cache the answers of a function that sends a request, and add each call to the trace.

    Parameters
    ----------
    service
        The service that the request goes to.
    title
        A short description of the request for people: a format string of the arguments by
        position (`"records named {1}* ({0})"`), or a function of them.
    summary
        Describes the answer in a few words.
    seconds
        Lifetime of the answer, or a function of it; by default (None) the setting. 0: not cached.

    Examples
    --------
    >>> @query("S3", "the square of {0}", seconds=60)
    ... def square(number):
    ...     return number * number
    >>> square(3), square.cached(3)
    (9, 9)
    """

    def decorate(send: Callable[P, T]) -> Query[P, T]:
        return Query(service, title, send, summary, seconds)

    return decorate


def together(*requests: tuple[Any, ...]) -> list[Outcome[Any]]:
    """Send requests concurrently, each given by its query and arguments.

    Cached answers take no thread: in a loop over prefetched sessions, threads would cost more than
    the rest of a lookup.
    """
    calls: list[Callable[[], Any]] = [partial(one, *args) for one, *args in requests]
    missing = [one for one, *args in requests if one.cached(*args) is None]
    return outcomes(*calls) if len(missing) > 1 else [outcome_of(call) for call in calls]


def by_key(
    one: Query[..., tuple[T, ...]],
    several: Query[..., tuple[T, ...]],
    keys: Sequence[str],
    owner: Callable[[T, dict[str, Any]], str],
    *first: str,
) -> tuple[T, ...]:
    """Return the answers of a query for some keys: one request for those that are not cached.

    `several` requests what several keys have, and each key's part is cached. `owner` returns the
    key that an item belongs to; what belongs to none of them is left out. `first` are the queries'
    arguments before the key.
    """
    missing = [key for key in keys if one.cached(*first, key) is None]
    if len(missing) > 1:
        moment = context.current().cache.moment()
        found: dict[str, list[T]] = {key: [] for key in missing}
        for item in several(*first, tuple(missing)):
            found.get(owner(item, found), []).append(item)
        for key, some in found.items():
            one.store(tuple(some), *first, key, moment=moment)
    return tuple(item for key in keys for item in one(*first, key))
