"""The steps of a round: look at what runs, capture results, start computations."""

from __future__ import annotations

import datetime
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from aind_session.clock import CLOCK
from aind_session.errors import CredentialsError, ServiceError
from aind_session.identifiers import SessionID, parse_session_id
from aind_session.lookup import computations, rules
from aind_session.runs import plan
from aind_session.runs.conduct import Conductor
from aind_session.runs.plan import in_a_line
from aind_session.runs.state import Attempt, Item, Result, RunState
from aind_session.runs.values import Action
from aind_session.services import codeocean
from aind_session.services.codeocean import CodeOceanError, CodeOceanNotFoundError
from aind_session.services.models import AssetSummary, decode_computation
from aind_session.services.sdk import (
    Computation,
    ComputationSource,
    DataAsset,
    DataAssetParams,
    DataAssetsRunParam,
    NamedRunParam,
    RunParams,
    Source,
)
from aind_session.threads import Outcome

#: Requests without a trace after which a session has failed.
MAX_LOST = 3
#: Number of attempts to share.
MAX_SHARE_TRIES = 3
UNCONFIRMED_START = "Code Ocean has not confirmed the start: its computations are searched"
UNCONFIRMED_CAPTURE = "Code Ocean has not confirmed the capture: its data assets are searched"
_MAYBE_PROCESSED = frozenset({408, 425, 429})


def is_refusal(error: Exception) -> bool:
    """Whether Code Ocean refused a request: after any other error it may have been processed."""
    return (
        isinstance(error, CodeOceanError)
        and not isinstance(error, CredentialsError)
        and 400 <= error.status_code < 500
        and error.status_code not in _MAYBE_PROCESSED
    )


def is_too_fast(error: Exception) -> bool:
    """Whether Code Ocean refused a request for now only."""
    return isinstance(error, CodeOceanError) and error.status_code == 429


# -- look ------------------------------------------------------------------------------------------


def look(conductor: Conductor) -> None:
    """Request each computation that has not ended, and each data asset that is not ready."""
    running = list(conductor.those("running"))
    creating = [i for i in conductor.those("captured") if i.result and not i.result.ready]
    if not conductor.options.wait_ready:
        creating = []
    ends = conductor.ask([_ended(item, conductor.state.label) for item in running])
    for item, end in zip(running, ends, strict=True):
        if isinstance(end.error, CodeOceanNotFoundError):
            _end(conductor, item, "the computation was deleted")
        elif end.value is not None:
            _end(conductor, item, end.value.problem)
    requests = [
        functools.partial(codeocean.get_asset, str(i.result and i.result.asset)) for i in creating
    ]
    for item, asset in zip(creating, conductor.ask(requests), strict=True):
        _take_asset_state(conductor, item, asset.value, asset.error)


class _Ended(NamedTuple):
    """A computation that has ended, and why it failed, if it did."""

    problem: str | None


def _ended(item: Item, label: str | None) -> Callable[[], _Ended | None]:
    is_sorting = bool(label) and rules.is_sorted(f"{item.session}_{label}")

    def request() -> _Ended | None:
        computation = decode_computation(codeocean.get_computation(str(item.computation)))
        if not computations.is_finished(computation):
            return None
        return _Ended(computations.why_failed(computation, is_sorting=is_sorting))

    return request


def _end(conductor: Conductor, item: Item, problem: str | None) -> None:
    attempt = item.attempts[-1]
    attempt.end, attempt.why = ("failed", problem) if problem else ("succeeded", "")
    if not problem:
        conductor.put(item, "ended" if conductor.state.label else "done")
    elif item.n_failed <= conductor.options.retries:
        conductor.put(item, "waiting", problem)
    else:
        conductor.put(item, "failed", f"{problem} (computation {attempt.computation})")


def _take_asset_state(
    conductor: Conductor, item: Item, asset: AssetSummary | None, error: Exception | None
) -> None:
    if isinstance(error, CodeOceanNotFoundError):
        conductor.put(item, "failed", "the data asset of its results was deleted")
    elif isinstance(error, ServiceError) or asset is None or item.result is None:
        return
    elif asset.state.lower() == "failed":
        conductor.put(item, "failed", f"data asset {asset.id} of its results could not be created")
    elif asset.state.lower() != "draft":
        item.result.ready = True
        conductor.changed()


# -- capture ---------------------------------------------------------------------------------------


def capture(conductor: Conductor) -> None:
    """Capture the results of computations that succeeded as data assets, then share them."""
    unsure: dict[str, list[Item]] = {}
    for item in conductor.those("capturing"):
        unsure.setdefault(_subject(item), []).append(item)
    # One search per subject, however many of its sessions are unconfirmed.
    found = conductor.ask([functools.partial(codeocean.search_assets, query=s) for s in unsure])
    for items, outcome in zip(unsure.values(), found, strict=True):
        if outcome.error is None:
            _resolve_captures(conductor, items, outcome.unwrap())
    _create(conductor, list(conductor.those("ended")))
    _share(conductor, list(conductor.those("captured")))


def result_name(session: SessionID, label: str, at: float) -> str:
    """Return the name of a session's results, with the time in UTC.

    Examples
    --------
    >>> result_name(parse_session_id("ecephys_676909_2023-12-13_13-43-40"), "dlc-eye", 1.7e9)
    'ecephys_676909_2023-12-13_13-43-40_dlc-eye_2023-11-14_22-13-20'
    """
    when = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    return f"{session.id}_{label}_{when:%Y-%m-%d_%H-%M-%S}"


def _subject(item: Item) -> str:
    return parse_session_id(item.session).subject_id


def _computation_of(asset: AssetSummary) -> str:
    own = msgspec.json.decode(asset.raw)
    provenance = own.get("provenance") if isinstance(own, dict) else None
    return str(provenance.get("computation")) if isinstance(provenance, dict) else ""


def _resolve_captures(
    conductor: Conductor, items: Sequence[Item], found: Sequence[AssetSummary]
) -> None:
    """Find the data assets of unconfirmed captures, by name or computation."""
    named = {asset.name: asset for asset in found}
    made = {_computation_of(asset): asset for asset in found}
    for item in items:
        name = item.result.name if item.result else ""
        asset = named.get(name) or made.get(str(item.computation))
        if asset is not None:
            _take_asset(conductor, item, asset.id, asset.name)
        elif conductor.is_overdue(item):
            if item.lost > MAX_LOST:
                why = f"captured {item.lost} times, but Code Ocean has no data asset"
                conductor.put(item, "failed", why)
            else:
                conductor.put(item, "ended")


def _take_asset(conductor: Conductor, item: Item, asset_id: str, name: str) -> None:
    if item.result is not None:
        item.result.asset, item.result.name, item.lost = asset_id, name, 0
    conductor.touch(item)
    conductor.put(item, "captured")


def _create(conductor: Conductor, items: Sequence[Item]) -> None:
    def intend(item: Item) -> None:
        if item.result is None:
            now = CLOCK.time()
            session = parse_session_id(item.session)
            item.result = Result(result_name(session, str(conductor.state.label), now), now)
        conductor.put(item, "capturing", UNCONFIRMED_CAPTURE)

    def withdraw(item: Item) -> None:
        conductor.put(item, "ended")

    def then(item: Item, outcome: Outcome[DataAsset]) -> bool:
        if outcome.error is None:
            asset = outcome.unwrap()
            _take_asset(conductor, item, asset.id, asset.name)
        elif is_too_fast(outcome.error):
            withdraw(item)
            return False
        elif is_refusal(outcome.error):
            why = f"its results are not captured: {in_a_line(outcome.error)}"
            conductor.put(item, "failed", why)
        else:
            item.lost += 1
            conductor.is_overdue(item)
        return True

    conductor.send(
        items, intend, lambda i: codeocean.create_asset(_asset_params(conductor, i)), then, withdraw
    )


def _asset_params(conductor: Conductor, item: Item) -> DataAssetParams:
    """Describe the data asset with the tags and custom metadata that searches use."""
    subject = _subject(item)
    metadata: dict[str, Any] = {"data level": "derived", "subject id": subject}
    if item.platform:
        metadata["experiment type"] = item.platform
    tags = ["derived", subject, *([item.platform] if item.platform else [])]
    name = item.result.name if item.result else ""
    return DataAssetParams(
        name=name,
        mount=name,
        tags=list(dict.fromkeys([*tags, *conductor.options.tags])),
        custom_metadata={**metadata, **conductor.options.custom_metadata},
        source=Source(computation=ComputationSource(id=str(item.computation))),
    )


def _share(conductor: Conductor, items: Sequence[Item]) -> None:
    share = conductor.options.share
    for item in items:
        result = item.result
        if result is None or (conductor.options.wait_ready and not result.ready):
            continue
        problem = ""
        if share and not result.shared:
            result.tries += 1
            conductor.changed()
            sharing = functools.partial(codeocean.share_asset, str(result.asset), share)
            (outcome,) = conductor.ask([sharing])
            result.shared = outcome.error is None
            if outcome.error is not None:
                if not is_refusal(outcome.error) and result.tries < MAX_SHARE_TRIES:
                    continue
                problem = f"not shared: {in_a_line(outcome.error)}"
        conductor.put(item, "done", problem)


# -- start -----------------------------------------------------------------------------------------


def start(conductor: Conductor) -> None:
    """Resolve unconfirmed starts, and start as many more computations as may run.

    The capsule's computations are listed first: a session is not started while any process, this
    one before it was killed included, has a computation of it in progress.
    """
    unsure = list(conductor.those("starting"))
    room = min(conductor.room(), conductor.pace.free(CLOCK.time()))
    if not unsure and (room < 1 or not any(conductor.those("waiting"))):
        return
    (listed,) = conductor.ask([lambda: plan.computations_of(conductor.state.capsule)])
    if listed.value is None:
        return
    claimed = {c for item in conductor.state.items for c in item.computations}
    free = [c for c in listed.value.computations if c.id not in claimed]
    answered = _request_hidden(conductor, unsure, free)
    # The most specific first: a computation with more data assets matches a session with fewer.
    for item in sorted(unsure, key=lambda item: -len(item.mounts)):
        _resolve_start(conductor, item, free, listed.value)
    if answered:
        _start(conductor, _choose(conductor, free, listed.value), free)


def _request_hidden(conductor: Conductor, unsure: Sequence[Item], free: list[plan.Shown]) -> bool:
    """Request each computation that may belong to a session and hides data assets in the list.

    Returns False if one was not answered: it may be in progress for any session.
    """
    may_be = {one.id for item in unsure for one in _new_since_intent(item, free)}
    hidden = [c for c in free if c.hides_assets and (c.id in may_be or not c.is_finished)]
    answers = conductor.ask([functools.partial(plan.requested_alone, c) for c in hidden])
    found = {c.id: a.value for c, a in zip(hidden, answers, strict=True) if a.value is not None}
    free[:] = [found.get(c.id, c) for c in free]
    return len(found) == len(hidden)


def _take(conductor: Conductor, item: Item, found: plan.Shown, free: list[plan.Shown]) -> None:
    free[:] = [c for c in free if c.id != found.id]
    attempt = item.attempts[-1]
    attempt.computation, attempt.sent = found.id, attempt.sent or CLOCK.time()
    item.lost = 0
    conductor.put(item, "running")


def _new_since_intent(item: Item, free: Sequence[plan.Shown]) -> list[plan.Shown]:
    """Return the computations that an unconfirmed attempt may have started."""
    attempt = item.open_attempt
    if attempt is None:
        return []
    return [
        c for c in free if c.id not in attempt.seen and c.may_have(item.mounts, item.parameters)
    ]


def _own(item: Item, candidates: Sequence[plan.Shown]) -> plan.Shown | None:
    """Return the candidate that is certainly the session's."""
    ids = (item.session, *(mount.id for mount in item.mounts))
    for one in candidates:
        if one.has(item.mounts, item.parameters):
            return one
        # Its data assets are not shown, but its parameters name the session or its data asset.
        given = {parameter.value for parameter in item.parameters}
        shown = [p.value for p in one.computation.parameters or () if p.value in given]
        if any(i in value for i in ids for value in shown):
            return one
    return None


def _resolve_start(
    conductor: Conductor, item: Item, free: list[plan.Shown], listed: plan.Listed
) -> None:
    candidates = _new_since_intent(item, free)
    found = _own(item, candidates)
    if found is not None:
        _take(conductor, item, found, free)
    elif conductor.is_released(item):
        conductor.put(item, "waiting")
    elif not conductor.is_overdue(item):
        return
    elif candidates:
        names = ", ".join(c.id for c in candidates)
        conductor.block(item, f"not confirmed; computation {names} may belong to this session")
    elif listed.may_hide(item.mounts, in_progress=False):
        conductor.block(item, f"not confirmed; {plan.UNREADABLE}")
    elif item.lost > MAX_LOST:
        item.attempts[-1].end = "failed"
        conductor.put(item, "failed", f"sent {item.lost} times, but Code Ocean started nothing")
    else:
        # The attempt stays open: should it show up after all, it is not started again.
        conductor.put(item, "waiting", item.why)


def _choose(conductor: Conductor, free: list[plan.Shown], listed: plan.Listed) -> list[Item]:
    """Choose the sessions to start now; those that need no start any more are skipped."""
    room = min(conductor.room(), conductor.pace.free(CLOCK.time()))
    shared = Counter(item.mounts for item in conductor.state.items)
    candidates: list[Item] = []
    for item in list(conductor.those("waiting")):
        if len(candidates) >= room:
            break
        found = _own(item, _new_since_intent(item, free))
        alone = shared[item.mounts] == 1
        verdict = plan.running(free, item.mounts, item.parameters, alone=alone)
        if verdict is None and listed.may_hide(item.mounts, in_progress=True):
            verdict = "unknown", plan.UNREADABLE
        if found is not None:
            _take(conductor, item, found, free)
        elif verdict is not None and (verdict[0] == "running" or item.open_attempt is None):
            _skip(conductor, item, verdict)
        else:
            candidates.append(item)
    if not candidates or conductor.state.label is None:
        return candidates
    sessions = [parse_session_id(item.session) for item in candidates]
    (results,) = conductor.ask([lambda: plan.verdicts(sessions, conductor.state.label)])
    if results.value is None:
        # A good result may be among those that were not returned.
        return []
    for item, session in zip(candidates, sessions, strict=True):
        verdict = results.value[session.id]
        if verdict is not None:
            _skip(conductor, item, verdict)
    return [item for item in candidates if item.status == "waiting"]


def _skip(conductor: Conductor, item: Item, verdict: tuple[Action, str]) -> None:
    item.action, why = verdict
    conductor.put(item, "skipped", why)


def _start(conductor: Conductor, items: Sequence[Item], free: Sequence[plan.Shown]) -> None:
    fresh: set[str] = set()

    def intend(item: Item) -> None:
        attempt = item.open_attempt
        if attempt is None:
            seen = (c.id for c in free if c.may_have(item.mounts, item.parameters))
            item.attempts.append(Attempt(CLOCK.time(), tuple(seen)))
            fresh.add(item.session)
        else:
            attempt.intended, attempt.sent = CLOCK.time(), None
        conductor.put(item, "starting", UNCONFIRMED_START)

    def withdraw(item: Item) -> None:
        # An attempt that was sent before, and may show up yet, stays.
        if item.session in fresh:
            fresh.remove(item.session)
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
        elif is_too_fast(outcome.error):
            withdraw(item)
            return False
        elif is_refusal(outcome.error):
            attempt.end, attempt.why = "failed", in_a_line(outcome.error)
            conductor.put(item, "failed", attempt.why)
        else:
            attempt.why = in_a_line(outcome.error)
            item.lost += 1
            conductor.is_overdue(item)
        return True

    conductor.send(
        items,
        intend,
        lambda i: codeocean.run_capsule(_run_params(conductor.state, i)),
        then,
        withdraw,
    )


def _run_params(state: RunState, item: Item) -> RunParams:
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
