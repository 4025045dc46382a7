"""Concurrent calls in one bounded pool of daemon threads.

A call that waits for a free thread is run by the caller instead, so that calls that make further
concurrent calls never block each other. A script that is interrupted, or ends, does not wait for a
service that hangs.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from aind_session.clock import NOTICE_SECONDS

S = TypeVar("S")
T = TypeVar("T")

#: Concurrent calls at most, beside those that run in the callers' own threads.
WORKERS = 32


class _Worker(threading.Thread):
    """A thread of the pool; abandoned once the caller that it works for was interrupted."""

    def __init__(self, pool: Threads) -> None:
        super().__init__(daemon=True, name="aind_session")
        # Not the pool's own later: once it is closed, it has others.
        self.jobs, self.idle, self.running = pool.jobs, pool.idle, pool.running
        self.caller: threading.Thread | None = None
        self.abandoned = False

    def run(self) -> None:
        while not self.abandoned:
            try:
                job = self.jobs.get_nowait()
            except Empty:
                self.idle.release()
                job = self.jobs.get()
            if job is None:
                # For the next thread: a job added meanwhile may have started one more.
                self.jobs.put(None)
                return
            future, self.caller, call = job
            if future.set_running_or_notify_cancel():
                self.running[future] = self
                try:
                    settle = functools.partial(future.set_result, call())
                except BaseException as error:
                    settle = functools.partial(future.set_exception, error)
                # Ctrl-C in a thread that waits can leave its lock released, which is an error here.
                with contextlib.suppress(RuntimeError):
                    settle()
                self.running.pop(future, None)
            self.caller = None


def is_abandoned(thread: threading.Thread | None) -> bool:
    """Return True if no caller waits for a thread any more, because of an interrupt."""
    while isinstance(thread, _Worker):
        if thread.abandoned:
            return True
        thread = thread.caller
    return False


class Threads:
    """A bounded pool of daemon threads.

    `ThreadPoolExecutor` joins its threads when the interpreter exits, however long they take.
    """

    def __init__(self, workers: int = WORKERS) -> None:
        self.running: dict[Future[Any], _Worker] = {}
        self.workers = workers
        self._open()

    def _open(self) -> None:
        self.threads: list[_Worker] = []
        self.jobs: SimpleQueue[Any] = SimpleQueue()
        self.idle = threading.Semaphore(0)

    def submit(self, function: Callable[..., T], /, *args: object) -> Future[T]:
        """Call a function in a thread of the pool."""
        future: Future[T] = Future()
        call = functools.partial(function, *args) if args else function
        self.jobs.put((future, threading.current_thread(), call))
        if not self.idle.acquire(blocking=False) and len(self.threads) < self.workers:
            thread = _Worker(self)
            # While the interpreter exits, no thread can be started: the caller runs the call.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self.threads.append(thread)
        return future

    def abandon(self, futures: Iterable[Future[Any]]) -> None:
        """Cancel futures, and give up the threads that run them."""
        for future in futures:
            if not future.cancel() and (worker := self.running.get(future)) is not None:
                worker.abandoned = True
                with contextlib.suppress(ValueError):
                    self.threads.remove(worker)

    def close(self) -> None:
        """End the threads once they are idle, and wait for that; calls made later have new ones."""
        threads, jobs = self.threads, self.jobs
        self._open()
        jobs.put(None)
        for thread in threads:
            thread.join()


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
        return [outcome_of(call) for call in calls]
    from aind_session import context

    pool = context.current().threads
    futures: list[Future[Outcome[Any]]] = []
    try:
        # Each runs with the caller's context variables: the trace of the lookup, its deadline.
        for call in calls[1:]:
            variables = contextvars.copy_context()
            futures.append(pool.submit(functools.partial(variables.run, outcome_of, call)))
        first = outcome_of(calls[0])
        rest = [
            outcome_of(call) if future.cancel() else wait_for(future)
            for call, future in zip(calls[1:], futures, strict=True)
        ]
    except BaseException:
        # Interrupted: calls that have not begun are withdrawn, the others run on unattended.
        pool.abandon(futures)
        raise
    return [first, *rest]


def wait_for(future: Future[T]) -> T:
    """Return the result of a future; an interrupt ends the wait."""
    while not wait([future], NOTICE_SECONDS).done:
        pass
    return future.result()


def outcome_of(call: Callable[[], T]) -> Outcome[T]:
    """Make a call; return its value or its error."""
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


def call(
    function: Callable[[S], T],
    values: Sequence[S],
    executor: Executor | None,
    done: Callable[[], object],
    failed: Callable[[S, Exception], object],
    raises: bool,
) -> list[Any]:
    """Call a function with each session; return results in order, and errors unless it raises.

    Without an executor, in threads of their own: those of the context are for requests. `done` is
    called after each result, `failed` with each error.
    """
    own = Threads(min(WORKERS, len(values) or 1))
    futures: list[Future[T]] = []
    results: list[Any] = []
    try:
        futures.extend((executor or own).submit(function, value) for value in values)
        for value, future in zip(values, futures, strict=True):
            try:
                results.append(wait_for(future))
            except Exception as error:
                failed(value, error)
                if raises:
                    raise
                results.append(error)
            done()
    except Exception:
        # An executor would wait for calls that have not begun.
        for future in futures:
            future.cancel()
        own.close()
        raise
    except BaseException:
        # Interrupted: calls that have begun run on unattended.
        own.abandon(futures)
        raise
    own.close()
    return results
