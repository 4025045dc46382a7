"""The conductor: rounds of looking, capturing and starting, until every session has ended."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from aind_session import settings
from aind_session.clock import CLOCK
from aind_session.errors import AindSessionError, CredentialsError, ServiceError
from aind_session.identifiers import parse_session_id
from aind_session.lookup import refresh
from aind_session.progress import Bar
from aind_session.runs import state as states
from aind_session.runs.plan import in_a_line
from aind_session.runs.state import ENDED, Item, RunState, RunStateError
from aind_session.runs.values import Status
from aind_session.threads import Outcome, outcomes
from aind_session.trace import note, tracing

T = TypeVar("T")

#: Seconds without a single answer after which conducting ends with the error; `resume` continues.
GIVE_UP_SECONDS = 3600.0
#: The pause between two searches of what is unconfirmed.
SEARCH_SECONDS = 60.0
#: Intents that are written at once, before their requests are sent one by one.
REQUESTS_PER_WRITE = 16
MINUTE = 60.0


class Pace:
    """A limit on starts in any minute, interruptions included.

    Examples
    --------
    >>> pace = Pace(2, sent=[100.0], now=130.0)
    >>> pace.free(130.0), pace.next_free(130.0)
    (1, 130.0)
    >>> pace.sent(131.0)
    >>> pace.free(140.0), pace.next_free(140.0)
    (0, 160.0)
    """

    def __init__(self, per_minute: int | None, sent: Iterable[float], now: float) -> None:
        self.per_minute = per_minute
        # A time in the future comes from a clock that was put back.
        self._sent = deque(sorted(min(at, now) for at in sent))

    def sent(self, at: float) -> None:
        """Note a start, by the time at which its answer arrived: it was sent before."""
        self._sent.append(at)

    def free(self, now: float) -> int:
        """Return how many may be started now."""
        if self.per_minute is None:
            return 1_000_000
        while self._sent and self._sent[0] <= now - MINUTE:
            self._sent.popleft()
        return max(0, self.per_minute - len(self._sent))

    def next_free(self, now: float) -> float:
        """Return when one may be started."""
        if self.per_minute is None or self.free(now) > 0:
            return now
        return self._sent[-self.per_minute] + MINUTE


class Conductor:
    """Drives a run; everything worth keeping is in its state."""

    def __init__(
        self, path: Path, state: RunState, bar: Bar, *, restart_unconfirmed: bool = False
    ) -> None:
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
        self.delay = settings.current().unconfirmed_seconds.value
        # Since when each unconfirmed request is waited for, by the monotonic clock. It means
        # nothing to another process: a process that resumes a run waits the whole delay again.
        self._unconfirmed: dict[str, float] = {}
        if restart_unconfirmed:
            self._unconfirmed = {i.session: -math.inf for i in self.those("starting", "capturing")}
        self._blocked: set[str] = set()
        self._touched: set[str] = set()
        self._dirty = False
        self._next_look = 0.0
        self._answers = 0
        self._error: ServiceError | None = None
        self._silent_since: float | None = None

    # -- rounds ------------------------------------------------------------------------------------

    def conduct(self, look: Step, *steps: Step, wait: bool) -> None:
        """Repeat rounds until every session has ended; without `wait`, do one round."""
        with tracing(self.state.capsule, "run"):
            try:
                self._show()
                while True:
                    self._answers, self._error = 0, None
                    if CLOCK.time() >= self._next_look:
                        self._next_look = CLOCK.time() + self.options.poll_seconds
                        look(self)
                    for step in steps:
                        step(self)
                    self.write()
                    self._show()
                    if self.is_over or not wait:
                        return
                    self._check_silence()
                    CLOCK.sleep(self._pause())
            except BaseException:
                # Also after Ctrl-C nothing that was answered is lost; the first error is the one
                # to raise.
                with contextlib.suppress(RunStateError):
                    self.write()
                raise
            finally:
                for subject in self._touched:
                    refresh.subject(subject)

    def _show(self) -> None:
        """Draw the bar now: it leaves out updates that follow each other quickly."""
        running, waiting = (
            sum(1 for _ in self.those(*some)) for some in (("starting", "running"), ("waiting",))
        )
        self.bar.set_postfix_str(f"{running} running, {waiting} waiting")

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be done without the user."""
        full = self.room() < 1
        return all(
            item.status in ENDED
            or item.session in self._blocked
            or (item.status == "waiting" and full and bool(self._blocked) and self._is_idle)
            for item in self.state.items
        )

    @property
    def _is_idle(self) -> bool:
        return all(item.session in self._blocked for item in self.those("starting", "running"))

    def _pause(self) -> float:
        """Return the seconds until there is something to do."""
        now = CLOCK.time()
        # What is unconfirmed is searched in each round: once a minute is enough, and a poll of 0
        # seconds must not send requests without a pause for ten minutes.
        is_idle = not any(self.those("running", "ended", "captured"))
        pause = SEARCH_SECONDS if is_idle else self._next_look - now
        if self._error is not None:
            pause = max(pause, 1.0)
        elif self.room() > 0 and any(self.those("waiting")):
            pause = min(pause, self.pace.next_free(now) - now)
        for since in self._unconfirmed.values():
            left = since + self.delay - CLOCK.monotonic()
            # One that is overdue waits for the next look.
            pause = min(pause, left) if left > 0 else pause
        # A clock that was put back does not prolong the pause.
        return min(max(0.0, pause), max(self.options.poll_seconds, self.delay))

    def _check_silence(self) -> None:
        if self._error is None or self._answers:
            self._silent_since = None
            return
        now = CLOCK.time()
        if self._silent_since is None:
            self._silent_since = now
            note("Code Ocean does not answer; the run waits: %s", in_a_line(self._error))
        elif now - self._silent_since >= GIVE_UP_SECONDS:
            raise self._error

    # -- what the steps share ----------------------------------------------------------------------

    def those(self, *statuses: Status) -> Iterator[Item]:
        """Return the sessions of some statuses, in the order of the plan."""
        return (item for item in self.state.items if item.status in statuses)

    def room(self) -> int:
        """Return how many computations may start beside those that run, or may run."""
        return self.options.at_once - sum(1 for _ in self.those("starting", "running"))

    def put(self, item: Item, status: Status, why: str = "") -> None:
        """Change a session's status."""
        item.status, item.why = status, why
        self._dirty = True
        self._blocked.discard(item.session)
        if status not in ("starting", "capturing"):
            self._unconfirmed.pop(item.session, None)
        if status in ENDED:
            self.bar.update()
            note("%s: %s%s", item.session, status, f" ({why})" if why else "")

    def changed(self) -> None:
        """Note that the state is to be written."""
        self._dirty = True

    def touch(self, item: Item) -> None:
        """Note that the cached data assets of a session's subject are out of date."""
        self._touched.add(parse_session_id(item.session).subject_id)

    def write(self) -> None:
        """Write the state, if it has changed."""
        if self._dirty:
            states.save(self.path, self.state)
            self._dirty = False

    def is_overdue(self, item: Item) -> bool:
        """Whether an unconfirmed request may be sent again; the first call starts the delay."""
        now = CLOCK.monotonic()
        return now - self._unconfirmed.setdefault(item.session, now) >= self.delay

    def is_released(self, item: Item) -> bool:
        """Whether the user decided that an unconfirmed request is sent again."""
        return self._unconfirmed.get(item.session) == -math.inf

    def block(self, item: Item, why: str) -> None:
        """Note that only the user can decide what to do with an unconfirmed start."""
        self.put(
            item, "starting", f"{why}: `aind-session resume --restart-unconfirmed` starts it again"
        )
        self._blocked.add(item.session)

    def ask(self, requests: Sequence[Callable[[], T]]) -> list[Outcome[T]]:
        """Send requests at the same time; one without an answer is sent again in a later round."""
        found: list[Outcome[T]] = outcomes(*requests)
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
        then: Callable[[Item, Outcome[T]], bool],
        withdraw: Callable[[Item], None],
    ) -> None:
        """Send one request per session, each after its intent is on the disk.

        Parameters
        ----------
        intend
            Notes what is about to be sent.
        request
            Sends it, once.
        then
            Takes the outcome; False: no more is sent in this round.
        withdraw
            Takes back the intent of a request that was not sent, whatever the reason.
        """
        for first in range(0, len(items), REQUESTS_PER_WRITE):
            unsent = deque(items[first : first + REQUESTS_PER_WRITE])
            try:
                for item in unsent:
                    intend(item)
                self.changed()
                self.write()
                while unsent:
                    # Interrupted from here on, it may have been sent: its intent stays.
                    item = unsent.popleft()
                    try:
                        outcome: Outcome[T] = Outcome(request(item))
                    except CredentialsError:
                        withdraw(item)
                        raise
                    except AindSessionError as error:
                        outcome = Outcome(error=error)
                    self.changed()
                    if outcome.error is None or isinstance(outcome.error, ServiceError):
                        self._judge(outcome.error)
                    if not then(item, outcome):
                        return
            finally:
                for item in unsent:
                    withdraw(item)


#: One step of a round.
Step = Callable[[Conductor], None]
