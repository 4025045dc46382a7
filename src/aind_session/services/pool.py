"""Questions at the same time, in one bounded pool of threads.

A question that waits in the pool for a free thread is run by who waits for it: questions that put
further questions never lock each other out, however small the pool.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from aind_session.forking import when_forked
from aind_session.services.clock import NOTICE_SECONDS

T = TypeVar("T")

#: At most so many questions at the same time, beside those that the callers' threads put.
WORKERS = 32

_lock = threading.Lock()
_executor: DaemonPool | None = None


class _Worker(threading.Thread):
    """A thread of the pool; abandoned once the caller that it works for was interrupted."""

    def __init__(self, pool: DaemonPool) -> None:
        super().__init__(daemon=True, name="aind_session")
        self.pool = pool
        self.caller: threading.Thread | None = None
        self.abandoned = False

    def run(self) -> None:
        while not self.abandoned and (job := self._next()) is not None:
            future, self.caller, do = job
            if future.set_running_or_notify_cancel():
                self.pool.running[future] = self
                try:
                    future.set_result(do())
                except BaseException as error:
                    future.set_exception(error)
                finally:
                    self.pool.running.pop(future, None)
            self.caller = None

    def _next(self) -> Any:
        with contextlib.suppress(Empty):
            return self.pool.jobs.get_nowait()
        self.pool.idle.release()
        return self.pool.jobs.get()


def is_abandoned(thread: threading.Thread | None) -> bool:
    """Whether nobody waits any more for what a thread does, because of an interrupt."""
    while isinstance(thread, _Worker):
        if thread.abandoned:
            return True
        thread = thread.caller
    return False


class DaemonPool:
    """A bounded pool of daemon threads: a hanging request does not keep a script from ending.

    `ThreadPoolExecutor` joins its threads when the interpreter exits.
    """

    def __init__(self, workers: int) -> None:
        self.jobs: SimpleQueue[Any] = SimpleQueue()
        self.idle = threading.Semaphore(0)
        self.running: dict[Future[Any], _Worker] = {}
        self.threads: list[_Worker] = []
        self.workers = workers

    def submit(self, do: Callable[[], T]) -> Future[T]:
        """Run something in a thread of the pool."""
        future: Future[T] = Future()
        self.jobs.put((future, threading.current_thread(), do))
        if not self.idle.acquire(blocking=False) and len(self.threads) < self.workers:
            thread = _Worker(self)
            # While the interpreter exits no thread can be started: the caller does it itself.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self.threads.append(thread)
        return future

    def abandon(self, futures: Iterable[Future[Any]]) -> None:
        """Leave futures to themselves, and the threads that run them."""
        for future in futures:
            if not future.cancel() and (worker := self.running.get(future)) is not None:
                worker.abandoned = True
                with contextlib.suppress(ValueError):
                    self.threads.remove(worker)

    def close(self) -> None:
        """End the threads once they are idle, and wait for that."""
        threads = list(self.threads)
        for _ in threads:
            self.jobs.put(None)
        for thread in threads:
            thread.join()


def _pool() -> DaemonPool:
    global _executor
    with _lock:
        if _executor is None:
            _executor = DaemonPool(WORKERS)
        return _executor


def close() -> None:
    """End the pool's threads; the next request starts it anew."""
    global _executor
    with _lock:
        executor, _executor = _executor, None
    if executor is not None:
        executor.close()


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
        for question in questions[1:]:
            context = contextvars.copy_context()
            futures.append(pool.submit(functools.partial(context.run, _run, question)))
        first = _run(questions[0])
        rest = [
            _run(question) if future.cancel() else wait_for(future)
            for question, future in zip(questions[1:], futures, strict=True)
        ]
    except BaseException:
        # Interrupted: what has not begun is not done, what has begun has no one waiting for it.
        pool.abandon(futures)
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
