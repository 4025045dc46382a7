"""Concurrent calls in one bounded pool of daemon threads.

A call that waits for a free thread is run by the caller instead, so that calls that make further
concurrent calls never block each other. Daemon threads: a process that is interrupted, or that
ends, does not wait for a service.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from aind_session.clock import NOTICE_SECONDS

T = TypeVar("T")

#: Concurrent calls at most, beside those that run in the callers' own threads.
WORKERS = 32
#: Seconds after which an idle thread ends.
IDLE_SECONDS = 30.0


class Threads:
    """A pool of daemon threads, started when needed."""

    def __init__(self, size: int = WORKERS) -> None:
        self.size = size
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._lock = threading.Lock()
        self._alive = self._idle = 0

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Run a call in a thread; return its future."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        with self._lock:
            if self._calls.qsize() <= self._idle or self._alive >= self.size:
                return future
            self._alive += 1
        threading.Thread(target=self._work, daemon=True, name="aind_session").start()
        return future

    def close(self) -> None:
        """Let each thread end once it is idle; the pool stays usable."""
        for _ in range(self._alive):
            self._calls.put(None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                item = self._calls.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                item = None
            with self._lock:
                self._idle -= 1
                if item is None:
                    self._alive -= 1
                    return
            _complete(*item)
            # Else an idle thread would keep the last answer, and its caller's frames, alive.
            del item


def _complete(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:
        future.set_exception(error)


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The result of a call: a value or an error."""

    value: T | None = None
    error: Exception | None = None

    def unwrap(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


def outcomes(*calls: Callable[[], Any]) -> list[Outcome[Any]]:
    """Make all calls concurrently and wait for all; an error of one stops no other.

    Examples
    --------
    >>> [outcome.value for outcome in outcomes(lambda: 1, lambda: 2)]
    [1, 2]
    """
    if len(calls) < 2:
        return [_run(call) for call in calls]
    from aind_session import context

    pool = context.current().threads
    futures: list[Future[Outcome[Any]]] = []
    try:
        for call in calls[1:]:
            # Each runs in the caller's context variables: the trace of the lookup, its deadline.
            variables = contextvars.copy_context()
            futures.append(pool.submit(lambda v=variables, c=call: v.run(_run, c)))  # type: ignore[misc]
        first = _run(calls[0])
        rest = [
            _run(call) if future.cancel() else wait_for(future)
            for call, future in zip(calls[1:], futures, strict=True)
        ]
    except BaseException:
        # Interrupted: calls that have not begun are withdrawn.
        for future in futures:
            future.cancel()
        raise
    return [first, *rest]


def wait_for(future: Future[T]) -> T:
    """Return the result of a future; an interrupt ends the wait."""
    while not wait([future], NOTICE_SECONDS).done:
        pass
    return future.result()


def _run(call: Callable[[], T]) -> Outcome[T]:
    try:
        return Outcome(call())
    except Exception as error:
        return Outcome(error=error)


def gather(*calls: Callable[[], Any]) -> list[Any]:
    """Make all calls concurrently; raise the first error once all have ended.

    Examples
    --------
    >>> gather(lambda: "a", lambda: "b")
    ['a', 'b']
    """
    return [outcome.unwrap() for outcome in outcomes(*calls)]


def gather_all(call: Callable[[T], Any], items: Iterable[T]) -> list[Any]:
    """Make one call per item; as `gather`."""
    return gather(*[lambda item=item: call(item) for item in items])
