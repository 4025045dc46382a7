"""Questions at the same time, in one bounded pool of threads.

A question that waits in the pool for a free thread is run by who waits for it: questions that put
further questions never lock each other out, however small the pool.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aind_session.forking import when_forked
from aind_session.services.clock import NOTICE_SECONDS

T = TypeVar("T")

#: At most so many questions at the same time, beside those that the callers' threads put.
WORKERS = 32

_lock = threading.Lock()
_executor: ThreadPoolExecutor | None = None


def _pool() -> ThreadPoolExecutor:
    global _executor
    with _lock:
        if _executor is None:
            _executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="aind_session")
        return _executor


def close() -> None:
    """End the pool's threads; the next question starts it anew."""
    global _executor
    with _lock:
        executor, _executor = _executor, None
    if executor is not None:
        executor.shutdown(wait=True)


def _after_fork() -> None:
    # The parent's threads do not exist in the child, and its lock may be held by one of them.
    global _executor, _lock
    _executor, _lock = None, threading.Lock()


when_forked(_after_fork)


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of a question: a value or an error."""

    value: T | None = None
    error: Exception | None = None

    def unwrap(self) -> T:
        """Give the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


def outcomes(*questions: Callable[[], Any]) -> list[Outcome[Any]]:
    """Put all questions at the same time and wait for all; an error of one stops no other.

    Examples
    --------
    >>> [o.value for o in outcomes(lambda: 1, lambda: 2)]
    [1, 2]
    """
    if len(questions) < 2:
        return [_run(question) for question in questions]
    pool = _pool()
    futures: list[Future[Outcome[Any]]] = []
    try:
        # Each runs in the context of who asks: the trail of the lookup goes with it.
        futures.extend(pool.submit(contextvars.copy_context().run, _run, q) for q in questions[1:])
        first = _run(questions[0])
        rest = [
            _run(question) if future.cancel() else wait_for(future)
            for question, future in zip(questions[1:], futures, strict=True)
        ]
    except BaseException:
        # Interrupted: nobody waits any more for what has not begun.
        for future in futures:
            future.cancel()
        raise
    return [first, *rest]


def wait_for(future: Future[T]) -> T:
    """Give what a future has in the end, and hear an interrupt meanwhile."""
    while not wait([future], NOTICE_SECONDS).done:
        pass
    return future.result()


def _run(question: Callable[[], T]) -> Outcome[T]:
    try:
        return Outcome(question())
    except Exception as error:
        return Outcome(error=error)


def gather(*questions: Callable[[], Any]) -> list[Any]:
    """Put all questions at the same time; raise the first error once all have ended.

    Examples
    --------
    >>> gather(lambda: "a", lambda: "b")
    ['a', 'b']
    """
    return [outcome.unwrap() for outcome in outcomes(*questions)]


def gather_all(ask: Callable[[T], Any], things: Iterable[T]) -> list[Any]:
    """Put one question about each of many things; as `gather`."""
    return gather(*[lambda thing=thing: ask(thing) for thing in things])
