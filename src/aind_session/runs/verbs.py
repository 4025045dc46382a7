"""Running over sessions: plan, conduct, go on, look."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aind_session import settings
from aind_session.errors import InvalidFilterError
from aind_session.identifiers import split_asset_name
from aind_session.progress import progress as showing
from aind_session.runs import capturing, planning, starting, watching
from aind_session.runs import state as states
from aind_session.runs.conducting import Conductor
from aind_session.runs.state import ENDED, Item, Options, RunState, RunStateError
from aind_session.runs.values import RunPlan, RunReport
from aind_session.services import codeocean
from aind_session.services.clock import CLOCK
from aind_session.services.redact import is_loopback

if TYPE_CHECKING:
    from aind_session.session import Session

AnyPath = str | os.PathLike[str]


def run(
    sessions: Iterable[Session],
    capsule_or_pipeline_id: str,
    *,
    label: str | None = None,
    parameters: Any = None,
    attach: Any = None,
    dry_run: bool = False,
    state: AnyPath = "runs.json",
    at_once: int = 20,
    per_minute: int | None = 30,
    retries: int = 0,
    poll_seconds: float = 60.0,
    tags: Sequence[str] = (),
    custom_metadata: Mapping[str, Any] | None = None,
    share: bool | Mapping[str, Any] | Any = False,
    wait: bool = True,
    wait_ready: bool = True,
    is_pipeline: bool | None = None,
    version: int | None = None,
    nextflow_profile: str | None = None,
    progress: bool = True,
) -> RunPlan | RunReport:
    """Start one computation a session, and conduct them; see `Sessions.run`."""
    some = list(sessions)
    if label is not None:
        _check_label(label)
    options = Options(
        at_once=_at_least(1, "at_once", at_once),
        per_minute=None if per_minute is None else _at_least(1, "per_minute", per_minute),
        retries=_at_least(0, "retries", retries),
        poll_seconds=float(_at_least(0, "poll_seconds", poll_seconds)),
        wait_ready=wait_ready,
        share=_permissions(share),
        tags=tuple(tags),
        custom_metadata=dict(custom_metadata or {}),
        version=version,
        nextflow_profile=nextflow_profile,
    )
    path = Path(state)
    if dry_run:
        return planning.plan(some, capsule_or_pipeline_id, label, parameters, attach)[0]
    with states.locked(path):
        if path.exists():
            raise RunStateError(
                f"{str(path)!r} is the state of a run already: go on with it by "
                f"aind_session.resume_run({str(path)!r}), or name another file (state=...)."
            )
        if is_pipeline is None:
            is_pipeline = codeocean.is_pipeline(capsule_or_pipeline_id)
        plan, platforms = planning.plan(some, capsule_or_pipeline_id, label, parameters, attach)
        made = RunState(
            domain=settings.current().domain.value,
            capsule=capsule_or_pipeline_id,
            is_pipeline=is_pipeline,
            label=label,
            options=options,
            items=[
                Item(
                    session=one.session,
                    action=one.action,
                    status="waiting" if one.action == "start" else "skipped",
                    why=one.why,
                    mounts=one.mounts,
                    parameters=one.parameters,
                    platform=platforms[one.session],
                )
                for one in plan.sessions
            ],
            created=CLOCK.time(),
        )
        states.save(path, made)
        return _conduct(path, made, wait=wait, progress=progress)


def resume_run(
    state: AnyPath = "runs.json",
    *,
    at_once: int | None = None,
    per_minute: int | None = None,
    retries: int | None = None,
    poll_seconds: float | None = None,
    wait: bool = True,
    progress: bool = True,
) -> RunReport:
    """Go on with a run, whatever ended it.

    Before a session is started again, Code Ocean is asked for a computation with its data assets
    since the intent was written; before results are captured again, their data asset is searched.

    Parameters
    ----------
    state
        Path of the state's file.
    at_once, per_minute, poll_seconds
        As for `Sessions.run`; by default as before.
    retries
        As well; where it is more than before, sessions that failed are started again.
    wait
        False: one round, without waiting for anything.
    progress
        Show a bar where there is a terminal or a notebook.

    Returns
    -------
    RunReport
        How it went. A run that is complete is told again.

    Raises
    ------
    MissingFileError
        There is no such file (a `FileNotFoundError`).
    RunStateError
        Another process drives it, it is no state, or that of another Code Ocean (a `ValueError`).

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import aind_session
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "runs.json"
    >>> pipeline = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
    >>> with aind_session.sandbox() as box:
    ...     box.launches.files = {"output": "done", "result.csv": "1,2"}
    ...     sessions = aind_session.get_sessions(676909, platform="ecephys")
    ...     report = sessions.run(pipeline, label="lick-times", state=path, wait=False)
    ...     print(report.counts)
    ...     report = aind_session.resume_run(path, poll_seconds=0)
    ...     print(report.counts, len(sessions[0].get_derived_data_assets("lick-times")))
    {'running': 3}
    {'done': 3} 1
    >>> aind_session.read_run(path) == report
    True
    """
    path = Path(state)
    # Where there is none, no lock is left beside it either.
    states.load(path)
    with states.locked(path):
        found = states.load(path)
        domain = settings.current().domain.value
        if found.domain != domain:
            place, why = f"at {found.domain}", ""
            if is_loopback(found.domain):
                place, why = "in another sandbox", ": a sandbox ends with its program"
            raise RunStateError(f"{str(path)!r} is a run {place}, not at {domain}{why}.")
        options = found.options
        if at_once is not None:
            options.at_once = _at_least(1, "at_once", at_once)
        if per_minute is not None:
            options.per_minute = _at_least(1, "per_minute", per_minute)
        if retries is not None:
            options.retries = _at_least(0, "retries", retries)
        if poll_seconds is not None:
            options.poll_seconds = float(_at_least(0, "poll_seconds", poll_seconds))
        for item in found.items:
            if item.status == "failed":
                _try_again(item, options.retries)
        return _conduct(path, found, wait=wait, progress=progress)


def _try_again(item: Item, retries: int) -> None:
    """Put a session that failed back, where it may be tried once more."""
    if item.attempts and item.attempts[-1].end == "succeeded":
        if item.result is not None and item.result.asset is None:
            item.status, item.why, item.lost = "ended", "", 0
    elif item.computations and sum(a.end == "failed" for a in item.attempts) <= retries:
        item.status, item.lost = "waiting", 0


def read_run(state: AnyPath = "runs.json") -> RunReport:
    """Tell how far a run is, by its state alone: no service is asked.

    Parameters
    ----------
    state
        Path of the state's file; another process may be driving it.

    Raises
    ------
    MissingFileError
        There is no such file (a `FileNotFoundError`).
    RunStateError
        It is no state (a `ValueError`).
    """
    return states.load(Path(state)).report(Path(state))


def _conduct(path: Path, state: RunState, *, wait: bool, progress: bool) -> RunReport:
    total = sum(item.action == "start" for item in state.items)
    with showing(total, state.label or "runs", progress) as bar:
        bar.update(sum(i.action == "start" and i.status in ENDED for i in state.items))
        conductor = Conductor(path, state, bar)
        conductor.conduct(watching.look, capturing.capture, starting.start, wait=wait)
    return state.report(path)


def _check_label(label: str) -> None:
    name = split_asset_name(f"ecephys_676909_2023-12-13_13-43-40_{label}_2024-01-01_00-00-00")
    if name.label != label or len(name.steps) != 1 or not label.isprintable() or "/" in label:
        raise InvalidFilterError(
            f"{label!r} is no label: a word or a few, such as dlc-eye, without dates and slashes"
        )


def _at_least(least: int, name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
        raise InvalidFilterError(f"{name} is a number of {least} or more, not {value!r}")
    return value


def _permissions(share: Any) -> dict[str, Any] | None:
    if share is True:
        return {"everyone": "viewer"}
    if not share:
        return None
    from aind_session.services.sdk import Permissions

    try:
        given = share if isinstance(share, Permissions) else Permissions.from_dict(dict(share))
        told = given.to_dict()
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFilterError(f"share={share!r:.200} are no permissions: {error}") from None
    return {key: value for key, value in told.items() if value is not None}
