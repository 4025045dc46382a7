"""The conductor: rounds of looking, capturing and starting, until every session has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from aind_session.errors import AindSessionError, CredentialsError, ServiceError
from aind_session.lookup import belonging, freshness, trail
from aind_session.progress import Bar
from aind_session.runs import state as states
from aind_session.runs.matching import in_a_line
from aind_session.runs.pace import Pace
from aind_session.runs.state import ENDED, Item, RunState
from aind_session.runs.values import Status
from aind_session.services import pool
from aind_session.services.clock import CLOCK

T = TypeVar("T")

#: Seconds that Code Ocean is given to show what may have been started or made, before it is held
#: that it was not.
SETTLE_SECONDS = 60.0
#: Seconds without a single answer after which conducting ends with the error; it can be gone on
#: with.
GIVE_UP_SECONDS = 3600.0
#: Requests that may be without a trace before a session is given up.
MAX_LOST = 3
#: Intents that are written at once, before their requests are sent one by one.
WRITTEN_AT_ONCE = 16


class Conductor:
    """What drives a state; everything that it knows is in there.

    Parameters
    ----------
    path
        Of the state, which is locked.
    state
        The state.
    bar
        Moved on for each session that has ended.
    """

    def __init__(self, path: Path, state: RunState, bar: Bar) -> None:
        self.path, self.state, self.bar = path, state, bar
        self.options = state.options
        now = CLOCK.time()
        # What was intended before a kill may have been sent up to this moment.
        sent = [
            now if attempt.sent is None else attempt.sent
            for item in state.items
            for attempt in item.attempts
        ]
        self.pace = Pace(self.options.per_minute, sent, now)
        self.touched: set[str] = set()
        self._dirty = False
        self._next_look = 0.0
        self._answers = 0
        self._error: ServiceError | None = None
        self._silent_since: float | None = None

    # -- rounds ------------------------------------------------------------------------------------

    def conduct(self, look: Step, *steps: Step, wait: bool) -> None:
        """Go on until every session has ended; without `wait`, for one round.

        Parameters
        ----------
        look
            Done as often as was asked for.
        *steps
            Done in each round.
        """
        with trail.following(self.state.capsule, "run"):
            try:
                while True:
                    self._answers, self._error = 0, None
                    if CLOCK.time() >= self._next_look:
                        self._next_look = CLOCK.time() + self.options.poll_seconds
                        look(self)
                    for step in steps:
                        step(self)
                    self.write()
                    if self.is_over or not wait:
                        return
                    self._check_silence()
                    CLOCK.sleep(self._pause())
            except Exception:
                # A token that is refused, or an hour of silence: what is known by now is kept.
                self.write()
                raise
            finally:
                for subject in self.touched:
                    freshness.forget_subject(subject)

    @property
    def is_over(self) -> bool:
        """Whether every session has ended."""
        return all(item.status in ENDED for item in self.state.items)

    def _pause(self) -> float:
        """Give the seconds until there is something to do."""
        now = CLOCK.time()
        until = self._next_look
        if self.room() > 0 and any(self.those("waiting")):
            until = min(until, self.pace.next_free(now))
        for item in self.those("starting", "capturing"):
            if item.unsure is not None:
                until = min(until, item.unsure + SETTLE_SECONDS)
        # A clock that was put back is no reason to sleep for as long.
        return min(max(0.0, until - now), max(self.options.poll_seconds, SETTLE_SECONDS))

    def _check_silence(self) -> None:
        if self._error is None or self._answers:
            self._silent_since = None
            return
        now = CLOCK.time()
        if self._silent_since is None:
            self._silent_since = now
            trail.tell("Code Ocean does not answer; the run waits: %s", in_a_line(self._error))
        elif now - self._silent_since >= GIVE_UP_SECONDS:
            raise self._error

    # -- what the steps share ----------------------------------------------------------------------

    def those(self, *statuses: Status) -> Iterator[Item]:
        """Give the sessions of some statuses, in the order of the plan."""
        return (item for item in self.state.items if item.status in statuses)

    def room(self) -> int:
        """Give how many computations may run beside those that do, or may do."""
        return self.options.at_once - sum(1 for _ in self.those("starting", "running"))

    def put(self, item: Item, status: Status, why: str = "") -> None:
        """Move a session on."""
        item.status, item.why = status, why
        self._dirty = True
        if status not in ("starting", "capturing"):
            item.unsure = None
        if status in ENDED:
            self.bar.update()
            trail.tell("%s: %s%s", item.session, status, f" ({why})" if why else "")

    def changed(self) -> None:
        """Note that there is something to be written."""
        self._dirty = True

    def touch(self, item: Item) -> None:
        """Note that what is known of a session's assets is out of date."""
        session = belonging.session_of(item.session)
        if session is not None:
            self.touched.add(session.subject_id)

    def write(self) -> None:
        """Write the state, if it has changed."""
        if self._dirty:
            states.save(self.path, self.state)
            self._dirty = False

    def is_settled(self, item: Item) -> bool:
        """Tell whether what may have been sent would show by now; the wait begins when asked."""
        now = CLOCK.time()
        # A clock may have been put back.
        if item.unsure is None or item.unsure > now:
            item.unsure = now
            self._dirty = True
        return now - item.unsure >= SETTLE_SECONDS

    def ask(self, questions: Sequence[Callable[[], T]]) -> list[pool.Outcome[T]]:
        """Put questions at the same time; a service that does not answer is asked again later."""
        found: list[pool.Outcome[T]] = pool.outcomes(*questions)
        for outcome in found:
            self._judge(outcome.error)
        return found

    def _judge(self, error: Exception | None) -> None:
        if error is None:
            self._answers += 1
        elif isinstance(error, ServiceError) and not isinstance(error, CredentialsError):
            # A refusal is an answer, too.
            self._answers += error.status is not None and 400 <= error.status < 500
            self._error = error
        else:
            raise error

    def send(
        self,
        items: Sequence[Item],
        intend: Callable[[Item], None],
        request: Callable[[Item], T],
        then: Callable[[Item, pool.Outcome[T]], bool],
        withdraw: Callable[[Item], None],
    ) -> None:
        """Send a request for each session: its intent is on the disk before it goes out.

        Parameters
        ----------
        intend
            Notes what is about to be sent.
        request
            Sends it, once.
        then
            Takes what came of it; False: no more is sent in this round.
        withdraw
            Takes the intent back, of a request that is not sent.
        """
        for first in range(0, len(items), WRITTEN_AT_ONCE):
            some = list(items[first : first + WRITTEN_AT_ONCE])
            for item in some:
                intend(item)
            self.changed()
            self.write()
            going_on = True
            while some and going_on:
                item = some[0]
                try:
                    outcome: pool.Outcome[T] = pool.Outcome(request(item))
                except CredentialsError:
                    self._withdraw(some, withdraw)
                    raise
                except AindSessionError as error:
                    outcome = pool.Outcome(error=error)
                    self._judge(error)
                else:
                    self._answers += 1
                del some[0]
                self.changed()
                going_on = then(item, outcome)
            if some:
                self._withdraw(some, withdraw)
                return

    def _withdraw(self, items: Sequence[Item], withdraw: Callable[[Item], None]) -> None:
        for item in items:
            withdraw(item)
        self.changed()
        self.write()


#: What is done in a round.
Step = Callable[[Conductor], None]
