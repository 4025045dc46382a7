"""How many requests of a look stand in a row."""

from __future__ import annotations

from collections.abc import Callable

from aind_session import Sandbox

#: A busy machine can only make requests that were put at the same time look as if they stood in a
#: row: one starts late, when another has ended. The longer each takes, the less that happens.
LATENCIES = (0.05, 0.2, 0.6, 1.2)


def shortest_row(
    box: Sandbox,
    look: Callable[[], object],
    at_most: int,
    prepare: Callable[[], object] | None = None,
) -> int:
    """Return the longest chain of requests, in the first lookup that kept to a number.

    Parameters
    ----------
    box
        Counts the requests; what remains of them is those of the last look.
    look
        What is looked up, anew each time.
    at_most
        No further look is taken once this was kept.
    prepare
        Forgets what the look before has learned; by default everything is forgotten.
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
