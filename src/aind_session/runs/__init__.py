"""Runs: one Code Ocean computation per session, conducted until all have ended; see `Sessions.run`.

Code Ocean does the work. A run decides what to start, starts it at a limited pace and captures the
results; its whole state is in one small file, so that it can be resumed if the process is killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from aind_session import settings
from aind_session.clock import CLOCK
from aind_session.errors import InvalidFilterError, MissingFileError
from aind_session.identifiers import split_asset_name
from aind_session.progress import progress as showing
from aind_session.runs import plan as planning
from aind_session.runs import state as states
from aind_session.runs import steps
from aind_session.runs.conduct import Conductor
from aind_session.runs.state import ENDED, Item, Options, RunState, RunStateError
from aind_session.runs.values import (
    Mount,
    Parameter,
    Planned,
    RunPlan,
    RunReport,
    SessionRun,
    Status,
)
from aind_session.services import codeocean
from aind_session.services.redact import is_loopback

if TYPE_CHECKING:
    from aind_session.session import Session

__all__ = [
    "Mount",
    "Parameter",
    "Planned",
    "RunPlan",
    "RunReport",
    "RunStateError",
    "SessionRun",
    "read_run",
    "resume_run",
    "run",
]

logger = logging.getLogger("aind_session")

AnyPath = str | os.PathLike[str]
#: Seconds between two checks; a sandbox moves its computations on at each check.
POLL_SECONDS, SANDBOX_POLL_SECONDS = 60.0, 0.5
#: The status of a session at the beginning, by the plan's action; of others "skipped".
_FIRST: dict[str, Status] = {"start": "waiting", "error": "failed"}


def run(
    sessions: Iterable[Session],
    capsule_or_pipeline_id: str,
    *,
    parameters: Any = None,
    attach: Any = None,
    dry_run: bool = False,
    confirm: Callable[[RunPlan], bool] | None = None,
    label: str | None = None,
    state: AnyPath | None = None,
    is_pipeline: bool | None = None,
    poll_seconds: float | None = None,
    wait: bool = True,
    progress: bool = True,
    **options: Any,
) -> RunPlan | RunReport:
    """Start one computation per session and conduct them; see `Sessions.run`.

    `confirm` is called with a plan that starts anything; if it returns False, the plan is returned.
    """
    some = list(sessions)
    if label is not None:
        _check_label(label)
    if poll_seconds is None:
        # The settings start a sandbox that the environment requests.
        settings.current()
        in_sandbox = bool(os.environ.get(settings.SANDBOX_ACTIVE))
        poll_seconds = SANDBOX_POLL_SECONDS if in_sandbox else POLL_SECONDS
    checked = Options(**_checked({**options, "poll_seconds": poll_seconds}))

    def make_plan(strict: bool) -> tuple[RunPlan, dict[str, str | None]]:
        return planning.plan(some, capsule_or_pipeline_id, label, parameters, attach, strict=strict)

    if dry_run:
        return make_plan(strict=False)[0]
    path = states.resolve(state or states.default_path(label, str(capsule_or_pipeline_id)))
    with states.locked(path):
        _check_new(path)
        if is_pipeline is None:
            is_pipeline = codeocean.is_pipeline(capsule_or_pipeline_id)
        plan, platforms = make_plan(strict=True)
        if confirm is None and plan.note:
            logger.warning(plan.note)
        if confirm is not None and plan.starts and not confirm(plan):
            return plan
        made = RunState(
            domain=settings.current().domain.value,
            capsule=capsule_or_pipeline_id,
            is_pipeline=is_pipeline,
            label=label,
            options=checked,
            items=[
                Item(
                    **structs.asdict(one),
                    status=_FIRST.get(one.action, "skipped"),
                    platform=platforms[one.session],
                )
                for one in plan.sessions
            ],
            created=CLOCK.time(),
            note=plan.note,
        )
        states.save(path, made)
        return _conduct(path, made, wait=wait, progress=progress)


def resume_run(
    state: AnyPath | None = None,
    *,
    at_once: int | None = None,
    per_minute: int | None = None,
    retries: int | None = None,
    poll_seconds: float | None = None,
    restart_unconfirmed: bool = False,
    wait: bool = True,
    progress: bool = True,
) -> RunReport:
    """Continue a run, whatever interrupted it.

    A session whose start Code Ocean has not confirmed is not started again until the list of
    computations, read completely, has lacked it for `AIND_SESSION_UNCONFIRMED_SECONDS` (at least 10
    minutes) of this process; the same holds for results. Sessions that were left out because they
    were running are checked again.

    Parameters
    ----------
    state
        Path of the state file; by default the only one in the working directory.
    at_once, per_minute, poll_seconds
        As for `Sessions.run`; by default unchanged.
    retries
        As well; if it is more than before, sessions that failed are started again.
    restart_unconfirmed
        Start again at once what is not confirmed and not found, even if a computation that does not
        show its data assets may be it.
    wait
        False: one round, without waiting. One round never restarts what is unconfirmed, except with
        `restart_unconfirmed`.
    progress
        Show a bar in a terminal or a notebook.

    Returns
    -------
    RunReport
        The state of the run; of a complete run, the same as before.

    Raises
    ------
    MissingFileError
        The file does not exist (a `FileNotFoundError`).
    RunStateError
        Another process drives it, or the file is not a state, or one of another Code Ocean (a
        `ValueError`).

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
    path = states.find() if state is None else states.resolve(state)
    # Without a state file, no lock is created either.
    states.load(path)
    with states.locked(path):
        found = states.load(path)
        domain = settings.current().domain.value
        _check_sandbox(path, found)
        if found.domain != domain:
            raise RunStateError(f"{str(path)!r} is a run at {found.domain}, not at {domain}.")
        given = {
            "at_once": at_once,
            "per_minute": per_minute,
            "retries": retries,
            "poll_seconds": poll_seconds,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        found.options = structs.replace(found.options, **_checked(changes))
        for item in found.items:
            _take_up(item, found.options.retries)
        return _conduct(
            path, found, wait=wait, progress=progress, restart_unconfirmed=restart_unconfirmed
        )


def _check_new(path: Path) -> None:
    if not path.exists():
        return
    found = None
    with contextlib.suppress(MissingFileError, RunStateError):
        found = states.load(path)
    if found is not None:
        _check_sandbox(path, found)
    raise RunStateError(
        f"{str(path)!r} already holds a run: continue it by `aind_session.resume_run`, or choose "
        "another state file (`state=`)."
    )


def _check_sandbox(path: Path, found: RunState) -> None:
    """Raise an error if a run belongs to a sandbox that has ended: it cannot be resumed."""
    if is_loopback(found.domain) and found.domain != settings.current().domain.value:
        raise RunStateError(
            f"{str(path)!r} holds a run of a sandbox that has ended, so it cannot be resumed. To "
            "run again, delete this file or choose another state file (`state=`)."
        )


def _take_up(item: Item, retries: int) -> None:
    """Make a session wait again that failed, or that was left out for a reason that may be gone."""
    # Without inputs it was not known what to start.
    has_inputs = bool(item.mounts or item.parameters)
    if item.status == "failed":
        if item.attempts and item.attempts[-1].end == "succeeded":
            if item.result is not None and item.result.asset is None:
                item.status, item.why, item.lost = "ended", "", 0
        elif item.computations and item.n_failed <= retries:
            item.status, item.lost = "waiting", 0
    elif item.status == "skipped" and item.action in ("running", "unknown") and has_inputs:
        item.action, item.status, item.why = "start", "waiting", ""


def read_run(state: AnyPath | None = None) -> RunReport:
    """Read the state of a run from its file, without any request.

    Parameters
    ----------
    state
        Path of the state file, by default the only one in the working directory; another process
        may be driving it.

    Raises
    ------
    MissingFileError
        The file does not exist (a `FileNotFoundError`).
    RunStateError
        It is not the state of a run (a `ValueError`).
    """
    path = states.find() if state is None else states.resolve(state)
    return states.load(path).report(path)


def _conduct(
    path: Path, state: RunState, *, wait: bool, progress: bool, restart_unconfirmed: bool = False
) -> RunReport:
    total = sum(item.action == "start" for item in state.items)
    with showing(total, state.label or "runs", progress, at_once=True) as bar:
        bar.update(sum(i.action == "start" and i.status in ENDED for i in state.items))
        conductor = Conductor(path, state, bar, restart_unconfirmed=restart_unconfirmed)
        conductor.conduct(steps.look, steps.capture, steps.start, wait=wait)
    return state.report(path)


def _check_label(label: str) -> None:
    name = split_asset_name(f"ecephys_676909_2023-12-13_13-43-40_{label}_2024-01-01_00-00-00")
    if name.label != label or len(name.steps) != 1 or not label.isprintable() or "/" in label:
        raise InvalidFilterError(
            f"{label!r} is not a valid label: a word or a few, such as dlc-eye, without dates and "
            "slashes"
        )


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Check and convert the options that the state keeps."""
    checked = dict(options)
    for name, least in (("at_once", 1), ("per_minute", 1), ("retries", 0), ("poll_seconds", 0)):
        value = checked.get(name)
        if name not in checked or (value is None and name == "per_minute"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= least:
            raise InvalidFilterError(f"{name} must be a number of {least} or more, not {value!r}")
    if "share" in checked:
        checked["share"] = _permissions(checked["share"])
    if "tags" in checked:
        checked["tags"] = tuple(checked["tags"])
    if "custom_metadata" in checked:
        checked["custom_metadata"] = dict(checked["custom_metadata"] or {})
    return checked


def _permissions(share: Any) -> dict[str, Any] | None:
    if share is True:
        return {"everyone": "viewer"}
    if not share:
        return None
    from aind_session.services.sdk import Permissions

    try:
        given = share if isinstance(share, Permissions) else Permissions.from_dict(dict(share))
        permissions = given.to_dict()
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidFilterError(f"share={share!r:.200} are not permissions: {error}") from None
    return {key: value for key, value in permissions.items() if value is not None}
