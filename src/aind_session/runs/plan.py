"""What is to be started: the inputs of each session, its results, and computations in progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aind_session.errors import (
    AindSessionError,
    BadAnswerError,
    CredentialsError,
    InvalidFilterError,
    InvalidIdentifierError,
    NotFoundError,
    ServiceError,
    name_session,
)
from aind_session.identifiers import SessionID
from aind_session.lookup import batch, refresh, rules
from aind_session.lookup.computations import (
    ComputationSummary,
    is_finished,
    of_owner,
    summarise,
    unreadable_may_have,
)
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.results import is_good as is_good_asset
from aind_session.query import CODE_OCEAN
from aind_session.runs.values import Action, Mount, Parameter, Planned, RunPlan
from aind_session.services import codeocean
from aind_session.services.codeocean import ClosedAssetError, CodeOceanNotFoundError
from aind_session.services.models import AssetSummary, decode_asset, decode_computation
from aind_session.services.sdk import Computation
from aind_session.threads import Outcome, outcomes
from aind_session.trace import tracing

if TYPE_CHECKING:
    from aind_session.session import Session

Inputs = tuple[tuple[Mount, ...], tuple[Parameter, ...]]
#: Why a session is left out; None: it is not.
Verdict = tuple[Action, str] | None
UNREADABLE = "a computation of the capsule cannot be read, and may belong to this session"
NO_SESSION = "attach returned None: skip this session"


class _LeftOutError(AindSessionError):
    """A session is left out; the cause is the error of a function of the user, if there is one."""

    def __init__(self, action: Action, why: str) -> None:
        super().__init__(why)
        self.action: Action = action


def plan(
    sessions: Iterable[Session],
    capsule: str,
    label: str | None,
    parameters: object,
    attach: object,
    *,
    strict: bool,
) -> tuple[RunPlan, dict[str, str | None]]:
    """Decide what to start from current answers; also return each session's platform if known."""
    some = list({session.id: session for session in sessions}.values())
    with tracing(capsule, "plan of a run"):
        listed = computations_of(capsule)
        in_progress = _in_progress(listed)
        known = _fetch([session._id for session in some])
        results = outcomes(*(lambda s=s: _verdict(known[s.id], label) for s in some))
        wanted = outcomes(*(lambda s=s: _inputs(s, known[s.id], parameters, attach) for s in some))
        _check_attached(wanted, known)
        for outcome in wanted:
            if strict and isinstance(outcome.error, _LeftOutError) and outcome.error.__cause__:
                raise outcome.error.__cause__
        shared = Counter(outcome.value[0] for outcome in wanted if outcome.value is not None)
        taken: dict[Inputs, str] = {}
        planned = []
        for session, result, outcome in zip(some, results, wanted, strict=True):
            verdict: Verdict = _reason(result.error) if result.error else result.value
            inputs: Inputs = outcome.value or ((), ())
            if verdict is None or verdict[0] == "running":
                verdict = _reason(outcome.error) if outcome.error else verdict
            if verdict is None:
                verdict = running(in_progress, *inputs, alone=shared[inputs[0]] == 1)
            if verdict is None and listed.may_hide(inputs[0], in_progress=True):
                verdict = "unknown", UNREADABLE
            if verdict is None and taken.setdefault(inputs, session.id) != session.id:
                verdict = "same", f"the computation of {taken[inputs]} is the same"
            action, why = verdict or ("start", "")
            # Only a session that may be started later keeps its inputs.
            keeps = action in ("start", "running", "same", "unknown")
            planned.append(Planned(session.id, action, why, *(inputs if keeps else ((), ()))))
    platforms = {s.id: s._id.platform or rules.platform_of(known[s.id]) for s in some}
    hint = ""
    if label is not None and not any(result.value for result in results):
        assets = (asset for one in known.values() for asset in one.assets)
        hint = rules.label_hint(label, rules.by_label(assets))
    return RunPlan(capsule, label, tuple(planned), hint), platforms


# -- results of a label ----------------------------------------------------------------------------


def verdicts(sessions: Sequence[SessionID], label: str | None) -> dict[str, Verdict]:
    """Return for each session why its results make a start superfluous; None: they do not."""
    if label is None:
        return dict.fromkeys((session.id for session in sessions), None)
    known = _fetch(sessions)
    answers = outcomes(*(lambda s=s: _verdict(known[s.id], label) for s in sessions))
    return {
        session.id: _reason(outcome.error) if outcome.error else outcome.value
        for session, outcome in zip(sessions, answers, strict=True)
    }


def _fetch(sessions: Sequence[SessionID]) -> dict[str, Evidence]:
    """Search the data assets of all sessions, whatever is cached."""
    for subject in dict.fromkeys(session.subject_id for session in sessions):
        refresh.subject(subject)
    found = {session.id: one for session, one in batch.with_assets(sessions).items()}
    for known in found.values():
        gap = known.failures.errors.get(CODE_OCEAN)
        if gap is not None:
            raise gap
    return found


def _verdict(known: Evidence, label: str | None) -> Verdict:
    if label is None:
        return None
    for asset in reversed(rules.by_label(known.assets).get(rules.same_label(label), ())):
        if asset.state.lower() == "draft":
            return "running", f"{asset.name} ({asset.id}) is being created"
        if is_good(asset):
            return "good", f"has {asset.name} ({asset.id})"
    return None


def is_good(asset: AssetSummary) -> bool:
    """Whether a data asset is a good result: the only place where runs judge one."""
    return is_good_asset(asset)


def _reason(error: Exception) -> tuple[Action, str]:
    """Return why an error leaves one session out; an error that concerns all is raised."""
    if isinstance(error, _LeftOutError):
        return error.action, in_a_line(error)
    if isinstance(error, NotFoundError | CodeOceanNotFoundError):
        return "missing", in_a_line(error)
    if isinstance(error, ServiceError) and not isinstance(error, CredentialsError):
        return "unknown", in_a_line(error)
    raise error


def in_a_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


# -- inputs ----------------------------------------------------------------------------------------


def _inputs(session: Session, known: Evidence, parameters: object, attach: object) -> Inputs:
    def raw() -> AssetSummary:
        asset = rules.choose_raw(known.assets)
        if asset is None:
            raise NotFoundError("there is no raw data asset in Code Ocean")
        return asset

    mounts = _of_function(attach, session, lambda value: mounts_of(value, session.id, raw))
    return mounts, _of_function(parameters, session, parameters_of)


def _of_function(given: object, session: Session, read: Callable[[Any], Any]) -> Any:
    """Read a constant, or what a function returns for a session."""
    if not callable(given):
        return read(given)
    try:
        value = given(session)
        if value is None and read is not parameters_of:
            raise _LeftOutError("skip", NO_SESSION)
        return read(value)
    except CredentialsError as error:
        name_session(error, session.id)
        raise
    except (NotFoundError, CodeOceanNotFoundError, ServiceError, _LeftOutError):
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {in_a_line(error)}"
        raise _LeftOutError("error", message) from name_session(error, session.id)


def parameters_of(value: object) -> tuple[Parameter, ...]:
    """Read parameters: a list by position, a mapping by name, or None for none.

    Examples
    --------
    >>> parameters_of({"subject": 676909, "fast": True})
    (Parameter(value='676909', name='subject'), Parameter(value='true', name='fast'))
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return tuple(Parameter(_text(v), str(k)) for k, v in value.items())
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidFilterError(
            f"parameters must be a list (by position) or a mapping (by name), not {value!r:.80}"
        )
    return tuple(v if isinstance(v, Parameter) else Parameter(_text(v)) for v in value)


def _text(value: object) -> str:
    if value is None:
        raise InvalidFilterError("a parameter is None: Code Ocean accepts text only")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def mounts_of(value: object, session_id: str, raw: Callable[[], AssetSummary]) -> tuple[Mount, ...]:
    """Read the data assets to attach: one, several, a mapping of mounts; None: the raw asset."""
    if value is None:
        asset = decode_asset(raw().raw)
        return (Mount(asset.id, asset.mount or asset.name),)
    found = dict.fromkeys(_mounts(value))
    named = [mount.mount for mount in found if mount.mount]
    if len(set(named)) < len(named):
        raise InvalidFilterError(f"{session_id}: two data assets have the same mount")
    return tuple(found)


def _mounts(value: Any) -> list[Mount]:
    if isinstance(value, Mapping):
        return [Mount(_id_of(asset), str(mount)) for mount, asset in value.items()]
    if isinstance(value, Mount):
        return [value]
    if isinstance(value, str):
        return [Mount(_id_of(value))]
    if hasattr(value, "id"):
        mount = getattr(value, "mount", None) or getattr(value, "name", None)
        return [Mount(_id_of(value), mount)]
    if not isinstance(value, Iterable):
        raise InvalidFilterError(f"{value!r:.80} cannot be attached: it is not a data asset")
    return [mount for one in value for mount in _mounts(one)]


def _id_of(asset: Any) -> str:
    text = asset if isinstance(asset, str) else getattr(asset, "id", None)
    if not isinstance(text, str) or not text.strip():
        raise InvalidFilterError(f"{asset!r:.80} cannot be attached: it is not a data asset")
    return text.strip()


def _check_attached(wanted: list[Outcome[Inputs]], known: Mapping[str, Evidence]) -> None:
    """Replace the inputs that name a data asset which does not exist by an error."""
    exists = {asset.id for one in known.values() for asset in one.assets}
    named = {mount.id for one in wanted if one.value is not None for mount in one.value[0]}
    unsure = sorted(named - exists)
    found = outcomes(*(lambda i=i: codeocean.get_asset(i) for i in unsure))
    errors = {i: outcome.error for i, outcome in zip(unsure, found, strict=True) if outcome.error}
    for number, outcome in enumerate(wanted):
        for mount in outcome.value[0] if outcome.value is not None else ():
            error = errors.get(mount.id)
            if isinstance(error, ValueError) and not isinstance(error, BadAnswerError):
                # Not found, or not even an ID.
                why = f"data asset {mount.id!r} to attach does not exist"
                error = _LeftOutError("error", why)
            if error is not None:
                wanted[number] = Outcome(error=error)


# -- computations ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A computation, and whether it may have data assets that its JSON does not show."""

    computation: Computation
    hides_assets: bool

    @property
    def id(self) -> str:
        """Its ID."""
        return str(self.computation.id)

    @property
    def is_finished(self) -> bool:
        """Whether it has ended."""
        return is_finished(self.computation)

    def has(self, mounts: Sequence[Mount], parameters: Sequence[Parameter]) -> bool:
        """Whether it has these data assets and parameters; it may have more of both."""
        attached = {asset.id for asset in self.computation.data_assets or ()}
        wanted = {mount.id for mount in mounts}
        return wanted <= attached and _fits(self.computation, parameters)

    def may_have(self, mounts: Sequence[Mount], parameters: Sequence[Parameter]) -> bool:
        """Whether it has these inputs, or may have them among what its JSON does not show."""
        is_hidden = self.hides_assets and _fits(self.computation, parameters)
        return is_hidden or self.has(mounts, parameters)


@dataclass(frozen=True)
class Listed:
    """The computations of a capsule, ascending; and the JSON of those that cannot be read."""

    computations: tuple[Shown, ...]
    unreadable: tuple[bytes, ...]

    def may_hide(self, mounts: Sequence[Mount], *, in_progress: bool) -> bool:
        """Whether one that cannot be read may have these data assets attached."""
        ids = [mount.id for mount in mounts]
        return any(unreadable_may_have(r, ids, in_progress=in_progress) for r in self.unreadable)


def computations_of(capsule: str) -> Listed:
    """List the computations of a capsule or pipeline; never from the cache."""
    read = {one.raw: _read_or_none(one) for one in of_owner(capsule)}
    found = tuple(one for one in read.values() if one is not None)
    return Listed(found, tuple(raw for raw, one in read.items() if one is None))


def _read_or_none(summary: ComputationSummary) -> Shown | None:
    if not summary.id:
        return None
    try:
        found = decode_computation(summary.raw)
    except BadAnswerError:
        return None
    # A cloud workstation is never a computation of a session.
    is_workstation = bool(getattr(found, "cloud_workstation", None))
    return Shown(found, summary.data_assets is None and not is_workstation)


def requested_alone(listed: Shown) -> Shown:
    """Request a computation by its ID, which may show data assets that a list leaves out."""
    try:
        found = _read_or_none(summarise(codeocean.get_computation(listed.id)))
    except (CodeOceanNotFoundError, ClosedAssetError, BadAnswerError, InvalidIdentifierError):
        # It is listed, and still hides its data assets.
        found = None
    return found or listed


def _in_progress(listed: Listed) -> list[Shown]:
    """Return the computations that have not ended, with all data assets that they show."""
    found = {one.id: one for one in listed.computations if not one.is_finished}
    hidden = [one for one in found.values() if one.hides_assets]
    answers = outcomes(*(lambda c=c: requested_alone(c) for c in hidden))
    for one, answer in zip(hidden, answers, strict=True):
        if answer.error is None:
            found[one.id] = answer.unwrap()
        else:
            # Only an error that concerns all is raised: without an answer, it may be anyone's.
            _reason(answer.error)
    return list(found.values())


def _fits(computation: Computation, parameters: Sequence[Parameter]) -> bool:
    if getattr(computation, "cloud_workstation", None):
        return False
    shown = computation.parameters or ()
    by_name = {name: p.value for p in shown for name in (p.param_name, p.name) if name}
    values = Counter(p.value for p in shown)
    for parameter in parameters if shown else ():
        if parameter.name in by_name:
            if by_name[parameter.name] != parameter.value:
                return False
        elif values[parameter.value] < 1:
            return False
        else:
            values[parameter.value] -= 1
    return True


def running(
    computations: Iterable[Shown],
    mounts: Sequence[Mount],
    parameters: Sequence[Parameter],
    *,
    alone: bool,
) -> Verdict:
    """Return "running" or "unknown" if a computation in progress has, or may have, these inputs.

    With `alone`, no other session has these data assets: any parameters count.
    """
    wanted = () if alone and mounts else parameters
    in_progress = [one for one in computations if not one.is_finished]
    for one in in_progress:
        if one.has(mounts, wanted):
            return "running", f"computation {one.id} is {one.computation.state}"
    if any(one.may_have(mounts, wanted) for one in in_progress):
        return "unknown", UNREADABLE
    return None
