"""Starting computations, each session's once."""

from __future__ import annotations

from collections.abc import Sequence

from aind_session.lookup import computations
from aind_session.runs import matching
from aind_session.runs.conducting import MAX_LOST, Conductor
from aind_session.runs.state import Attempt, Item, RunState
from aind_session.services import codeocean
from aind_session.services.clock import CLOCK
from aind_session.services.models import Computation
from aind_session.services.pool import Outcome
from aind_session.services.sdk import DataAssetsRunParam, NamedRunParam, RunParams

UNSURE = (
    "whether Code Ocean has started it is not known: it is asked for a computation with these data "
    "assets since"
)


def start(conductor: Conductor) -> None:
    """Find out what became of starts without an answer, and start as many more as may run.

    Each time, the capsule's computations are asked for first: nothing is started of which somebody,
    this process before it was killed included, has started a computation.
    """
    unsure = list(conductor.those("starting"))
    room = min(conductor.room(), conductor.pace.free(CLOCK.time()))
    if not unsure and (room < 1 or not any(conductor.those("waiting"))):
        return
    (listed,) = conductor.ask([lambda: matching.computations_of(conductor.state.capsule)])
    if listed.error is not None:
        return
    claimed = {c for item in conductor.state.items for c in item.computations}
    free = [c for c in listed.unwrap() if c.id not in claimed]
    # The most particular first: a computation with more data assets looks like one with fewer.
    for item in sorted(unsure, key=lambda item: -len(item.mounts)):
        _resolve(conductor, item, free)
    # A retry that is sure to be none of the unsure ones: what was freed above counts.
    room = min(conductor.room(), conductor.pace.free(CLOCK.time()))
    chosen: list[Item] = []
    for item in list(conductor.those("waiting")):
        if len(chosen) >= room:
            break
        if _is_to_start(conductor, item, free):
            chosen.append(item)
    _start(conductor, chosen, free)


def _take(conductor: Conductor, item: Item, found: Computation, free: list[Computation]) -> None:
    free[:] = [c for c in free if c.id != found.id]
    attempt = item.attempts[-1]
    attempt.computation, attempt.sent = found.id, attempt.sent or CLOCK.time()
    item.lost = 0
    conductor.put(item, "running")


def _since_intent(item: Item, free: Sequence[Computation]) -> Computation | None:
    """Give the computation that an attempt without an answer has started."""
    attempt = item.open_attempt
    if attempt is None:
        return None
    alike = matching.alike(free, item.mounts, item.parameters)
    return next((c for c in alike if c.id not in attempt.seen), None)


def _resolve(conductor: Conductor, item: Item, free: list[Computation]) -> None:
    found = _since_intent(item, free)
    if found is not None:
        _take(conductor, item, found, free)
    elif conductor.is_settled(item):
        if item.lost > MAX_LOST:
            item.attempts[-1].end = "failed"
            conductor.put(item, "failed", f"sent {item.lost} times, Code Ocean started nothing")
        else:
            # The attempt stays open: should it show after all, it is taken and not started again.
            conductor.put(item, "waiting", item.why)


def _is_to_start(conductor: Conductor, item: Item, free: list[Computation]) -> bool:
    found = _since_intent(item, free)
    if found is not None:
        _take(conductor, item, found, free)
        return False
    for other in matching.alike(free, item.mounts, item.parameters):
        if not computations.is_finished(other):
            item.action = "running" if not item.computations else item.action
            why = f"computation {other.id} is {other.state}: somebody else started it"
            conductor.put(item, "failed" if item.computations else "skipped", why)
            return False
    return True


def _start(conductor: Conductor, items: Sequence[Item], free: Sequence[Computation]) -> None:
    fresh: set[str] = set()

    def intend(item: Item) -> None:
        attempt = item.open_attempt
        if attempt is None:
            fresh.add(item.session)
            alike = matching.alike(free, item.mounts, item.parameters)
            item.attempts.append(Attempt(CLOCK.time(), tuple(c.id for c in alike)))
        else:
            attempt.intended, attempt.sent = CLOCK.time(), None
        conductor.put(item, "starting", UNSURE)

    def withdraw(item: Item) -> None:
        # One that was sent before, and may show yet, stays.
        if item.session in fresh:
            item.attempts.pop()
        conductor.put(item, "waiting")

    def then(item: Item, outcome: Outcome[Computation]) -> bool:
        now = CLOCK.time()
        conductor.pace.sent(now)
        attempt = item.attempts[-1]
        attempt.sent = now
        if outcome.error is None:
            attempt.computation = outcome.unwrap().id
            item.lost = 0
            conductor.put(item, "running")
        elif matching.is_too_fast(outcome.error):
            withdraw(item)
            return False
        elif matching.is_refusal(outcome.error):
            attempt.end, attempt.why = "failed", matching.in_a_line(outcome.error)
            conductor.put(item, "failed", attempt.why)
        else:
            attempt.why = matching.in_a_line(outcome.error)
            item.lost += 1
            conductor.is_settled(item)
        return True

    conductor.send(
        items, intend, lambda i: codeocean.run_capsule(_params(conductor.state, i)), then, withdraw
    )


def _params(state: RunState, item: Item) -> RunParams:
    positional = [p.value for p in item.parameters if p.name is None]
    named = [NamedRunParam(p.name, p.value) for p in item.parameters if p.name is not None]
    attached = [DataAssetsRunParam(mount.id, mount.mount) for mount in item.mounts]
    return RunParams(
        capsule_id=None if state.is_pipeline else state.capsule,
        pipeline_id=state.capsule if state.is_pipeline else None,
        version=state.options.version,
        nextflow_profile=state.options.nextflow_profile,
        data_assets=attached or None,
        parameters=positional or None,
        named_parameters=named or None,
    )
