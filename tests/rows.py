"""What lookups of many sessions return, and how many of their requests wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aind_session import Sandbox, Sessions
from aind_session.table import table

#: On a busy machine, requests that are sent at the same time can look sequential: one starts late,
#: when another has ended. The longer each takes, the less that happens.
LATENCIES = (0.05, 0.2, 0.6, 1.2)


def shortest_row(
    box: Sandbox,
    look: Callable[[], object],
    at_most: int,
    prepare: Callable[[], object] | None = None,
) -> int:
    """Return the longest chain of sequential requests, of the first lookup within a limit.

    `prepare` drops what the lookup before has cached; by default everything. The requests of the
    last lookup stay in `box`.
    """
    row = 0
    for latency in LATENCIES:
        (prepare or box.reset)()
        box.requests.clear()
        box.latency = latency
        try:
            look()
        finally:
            box.latency = 0.0
        row = box.longest_chain()
        if row <= at_most:
            break
    return row


def columns_of(sessions: Sessions, names: Iterable[str]) -> dict[str, list[Any]]:
    """Return columns of the table of some sessions."""
    return table([session._id for session in sessions], names, False)
