"""What is to be started: a session at a time, by what the services know now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from aind_session import derived
from aind_session.errors import CredentialsError, NotFoundError, ServiceError
from aind_session.lookup import assets, cohort, computations, freshness, platform, results, trail
from aind_session.lookup.assets import Known
from aind_session.lookup.questions import CODE_OCEAN, Assets
from aind_session.runs import inputs, matching
from aind_session.runs.values import Action, Mount, Parameter, Planned, RunPlan
from aind_session.services import pool
from aind_session.services.codeocean import CodeOceanNotFoundError
from aind_session.services.models import AssetSummary, Computation

if TYPE_CHECKING:
    from aind_session.session import Session

Given = tuple[tuple[Mount, ...], tuple[Parameter, ...]]


def plan(
    sessions: Iterable[Session], capsule: str, label: str | None, parameters: object, attach: object
) -> tuple[RunPlan, dict[str, str | None]]:
    """Decide what is started, and why the others are not; nothing is started here.

    Everything is asked anew: what was known may be older than somebody else's run.

    Parameters
    ----------
    sessions
        Each counts once.
    capsule
        ID of the capsule or pipeline.
    label
        What sessions may have a good result of; None: that is not looked for.
    parameters, attach
        As `inputs.parameters_of` and `inputs.mounts_of` take them.

    Returns
    -------
    tuple
        The plan, and the platform of each session, as far as it is known.
    """
    some = list({session.id: session for session in sessions}.values())
    with trail.following(capsule, "plan of a run"):
        under_way = [
            c for c in matching.computations_of(capsule) if not computations.is_finished(c)
        ]
        known = _known(some)
        good = [_good(known[s.id], label) for s in some]
        results = pool.outcomes(*good)
        wanted = pool.outcomes(
            *(lambda s=s: _given(s, known[s.id], parameters, attach) for s in some)
        )
        mounted = Counter(given.unwrap()[0] for given in wanted if given.error is None)
        taken: dict[Given, str] = {}
        planned = []
        for session, result, outcome in zip(some, results, wanted, strict=True):
            action, why = _told(result)
            if action is not None:
                planned.append(Planned(session.id, action, why))
                continue
            if outcome.error is not None:
                planned.append(Planned(session.id, *_reason(outcome.error)))
                continue
            inputs_of: Given = outcome.unwrap()
            action, why = _decide(inputs_of, under_way, alone=mounted[inputs_of[0]] == 1)
            if action == "start" and taken.setdefault(inputs_of, session.id) != session.id:
                action, why = "same", f"the computation of {taken[inputs_of]} is the same"
            planned.append(Planned(session.id, action, why, *inputs_of))
    platforms = {s.id: s._id.platform or platform.of_known(known[s.id]) for s in some}
    return RunPlan(capsule, label, tuple(planned)), platforms


def _known(sessions: list[Session]) -> dict[str, Known]:
    """Ask for the assets of all sessions at once."""
    ids = [session._id for session in sessions]
    for subject in dict.fromkeys(session.subject_id for session in ids):
        freshness.forget_subject(subject)
    # What a function of the session asks for is fetched for all of them, too.
    cohort.remember(session.id for session in ids)
    found = {session.id: known for session, known in cohort.known(ids).items()}
    for session in ids:
        gap = found[session.id].gaps.errors.get(CODE_OCEAN)
        if gap is not None:
            # Half of the assets could hide a good result: nothing is started by them.
            raise gap
    return found


def _good(known: Known, label: str | None) -> Callable[[], tuple[Action, str] | None]:
    def look() -> tuple[Action, str] | None:
        if label is None:
            return None
        of_label: Assets = derived.by_label(known.assets).get(derived.same_label(label), ())
        for asset in reversed(of_label):
            if asset.state.lower() == "draft":
                return "running", f"{asset.name} ({asset.id}) is being made"
            if results.failure(asset) is None:
                return "good", f"has {asset.name} ({asset.id})"
        return None

    return look


def _told(result: pool.Outcome[tuple[Action, str] | None]) -> tuple[Action | None, str]:
    if result.error is not None:
        return _reason(result.error)
    return result.value or (None, "")


def _reason(error: Exception) -> tuple[Action, str]:
    """Say why an error leaves a session out; what leaves none out is raised."""
    if isinstance(error, NotFoundError | CodeOceanNotFoundError):
        return "missing", matching.in_a_line(error)
    if isinstance(error, ServiceError) and not isinstance(error, CredentialsError):
        return "unknown", matching.in_a_line(error)
    raise error


def _given(session: Session, known: Known, parameters: object, attach: object) -> Given:
    def raw() -> AssetSummary:
        asset = assets.choose_raw(known.assets)
        if asset is None:
            raise NotFoundError("there is no raw data asset in Code Ocean")
        return asset

    return inputs.mounts_of(attach, session, raw), inputs.parameters_of(parameters, session)


def _decide(given: Given, under_way: list[Computation], *, alone: bool) -> tuple[Action, str]:
    """Start it, unless it runs.

    Where no other session has these mounts, a run with them is this session's whatever its
    parameters.
    """
    mounts, parameters = given
    for computation in matching.alike(under_way, mounts, () if alone and mounts else parameters):
        return "running", f"computation {computation.id} is {computation.state}"
    return "start", ""
