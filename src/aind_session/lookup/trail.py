"""The trail: what was asked of which service, what came back, and how long it took.

A lookup opens a trail; each question on the way adds a step, those put from the pool's threads
included. Errors carry the trail of their lookup, and `Session.explain()` prints those of a session.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aind_session import settings
from aind_session.errors import AindSessionError
from aind_session.forking import when_forked
from aind_session.services.cache import Key, answers

T = TypeVar("T")

logger = logging.getLogger("aind_session")

#: Subjects of which the trails are kept for `explain()`.
KEPT = 256


@dataclass(frozen=True)
class Step:
    """One question and its answer in a few words; without a service, a choice that was made."""

    service: str
    question: str
    answer: str
    seconds: float
    known: bool = False

    def __str__(self) -> str:
        if not self.service:
            return self.question
        took = "known already" if self.known else f"{self.seconds * 1000:.0f} ms"
        return f"{self.service}: {self.question} -> {self.answer} ({took})"


@dataclass
class Trail:
    """The steps of one lookup, in the order in which their answers came."""

    about: str
    what: str
    at: float = field(default_factory=time.time)
    steps: list[Step] = field(default_factory=list)
    _said: set[tuple[str, str, str]] = field(default_factory=set, repr=False, compare=False)

    def add(self, step: Step) -> None:
        """Add a step; one that only looks again at what this trail tells already is left out."""
        # Kept in a set: the trail of a cohort's lookup has thousands of steps.
        said = (step.service, step.question, step.answer)
        if step.known and said in self._said:
            return
        self._said.add(said)
        self.steps.append(step)

    @property
    def lines(self) -> tuple[str, ...]:
        """Each step as a line of text."""
        return tuple(str(step) for step in self.steps)

    def __str__(self) -> str:
        return "\n".join([f"{self.what}:", *(f"  {line}" for line in self.lines)])


_current: contextvars.ContextVar[Trail | None] = contextvars.ContextVar("trail", default=None)
_kept: OrderedDict[str, dict[str, Trail]] = OrderedDict()
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


when_forked(_after_fork)


@contextlib.contextmanager
def following(about: str, what: str) -> Iterator[Trail]:
    """Open the trail of a lookup; inside another lookup, go on with the trail of that one.

    Parameters
    ----------
    about
        The session or subject ID that is looked up.
    what
        What of it: "raw data asset".
    """
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    trail = Trail(about, what)
    token = _current.set(trail)
    try:
        yield trail
    finally:
        _current.reset(token)
        _keep(trail)


def _keep(trail: Trail) -> None:
    with _lock:
        trails = _kept.setdefault(trail.about, {})
        earlier = trails.get(trail.what)
        # A later look at what was known already does not hide how it was first learned.
        if earlier is None or not all(step.known for step in trail.steps):
            trails[trail.what] = trail
        _kept.move_to_end(trail.about)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)


def kept(about: str) -> tuple[Trail, ...]:
    """Give the latest trails of a session or subject, one for each thing that was looked up."""
    with _lock:
        return tuple(_kept.get(about, {}).values())


def clear() -> None:
    """Drop all trails: what they tell of was said by services that are no longer asked."""
    with _lock:
        _kept.clear()


def forget(about: str) -> None:
    """Drop the trails of a session or subject."""
    with _lock:
        _kept.pop(about, None)


def lines() -> tuple[str, ...]:
    """Give the steps of the lookup that is under way, for an error to carry."""
    trail = _current.get()
    return () if trail is None else trail.lines


def tell(message: str, *args: object) -> None:
    """Log a choice that was made, or why nothing was found, and keep it in the trail."""
    logger.info(message, *args)
    _add(Step("", message % args if args else message, "", 0.0, known=True))


def _add(step: Step) -> None:
    trail = _current.get()
    if trail is not None:
        trail.add(step)


def ask(
    service: str,
    question: str,
    key: Key,
    call: Callable[[], T],
    say: Callable[[T], str],
    seconds: float | None = None,
) -> T:
    """Put a question, or take the answer that is known; either way, add a step to the trail.

    Parameters
    ----------
    service
        "Code Ocean", "DocDB" or "S3".
    question
        In words, for people.
    key
        Names the question for the cache; the identity of who asks is added here.
    call
        Puts the question.
    say
        Puts the answer in a few words.
    seconds
        How long the answer is good; by default as the settings say.
    """
    asked = False

    def put() -> T:
        nonlocal asked
        asked = True
        return call()

    started = time.perf_counter()
    try:
        answer = answers.get((*identified(service), *key), put, seconds)
    except AindSessionError as error:
        took = time.perf_counter() - started
        words = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        _add(Step(service, question, words, took))
        raise
    took = time.perf_counter() - started
    step = Step(service, question, say(answer), took, known=not asked)
    _add(step)
    if asked:
        logger.debug("%s", step)
    return answer


def peek(service: str, key: Key) -> Any:
    """Give the answer to a question if it is known, else None; never asks."""
    return answers.peek((*identified(service), *key))


def learn(service: str, key: Key, answer: object, seconds: float | None = None) -> None:
    """Keep the answer to a question that came with the answer to another one."""
    answers.put((*identified(service), *key), answer, seconds)


def identified(service: str) -> tuple[str, str]:
    """Begin a key of the cache: the service, and who asks it."""
    return service, settings.current().identity(service)
