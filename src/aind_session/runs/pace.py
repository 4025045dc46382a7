"""How fast computations are started: never more than so many in any minute, kills included."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

MINUTE = 60.0


class Pace:
    """A limit on starts in any minute.

    Parameters
    ----------
    per_minute
        Starts a minute at most; None: no limit.
    sent
        When earlier starts were sent, at the latest.
    now
        What is later is taken for now: a clock may have been put back.

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
        self._sent = deque(sorted(min(at, now) for at in sent))

    def sent(self, at: float) -> None:
        """Note a start, by the time at which its answer was there: it was sent before."""
        self._sent.append(at)

    def free(self, now: float) -> int:
        """Give how many may be started now."""
        if self.per_minute is None:
            return 1_000_000
        while self._sent and self._sent[0] <= now - MINUTE:
            self._sent.popleft()
        return max(0, self.per_minute - len(self._sent))

    def next_free(self, now: float) -> float:
        """Give when one may be started."""
        if self.per_minute is None or self.free(now) > 0:
            return now
        return self._sent[-self.per_minute] + MINUTE
