"""`aind-session run`, `status` and `resume`: a computation for each of many sessions."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aind_session.cli import output
from aind_session.cli.app import FOUND, NOT_FOUND, UNKNOWN
from aind_session.cli.output import AsCsv, AsJson
from aind_session.cli.sessions import Date, End, Modality, Platform, Project, Start, words_of
from aind_session.errors import InvalidFilterError

if TYPE_CHECKING:
    from aind_session.runs import RunPlan, RunReport
    from aind_session.session import Session
    from aind_session.sessions import Sessions

#: The names of Python in errors of the state file, as those of the command.
_IN_COMMAND = {"aind_session.resume_run": "aind-session resume", "`state=`": "`--state`"}

#: What stands for a value of the session, each looked up only if it is used.
PLACES: dict[str, Callable[[Session], str]] = {
    "{session_id}": lambda session: session.id,
    "{subject_id}": lambda session: session.subject_id,
    "{raw_asset_id}": lambda session: session.raw_data_asset.id,
    "{platform}": lambda session: session.platform or "",
    "{date}": lambda session: str(session.date),
    "{time}": lambda session: str(session.time),
}
_BRACES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")

StateFile = Annotated[
    str | None,
    typer.Argument(
        metavar="STATE", help="The state file; by default the only one in the working directory."
    ),
]
AtOnce = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Run at most N computations at once.")
]
PerMinute = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Start at most N computations per minute.")
]
Retries = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="Start a failed one again up to N times.")
]
Poll = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="Seconds between two checks; by default 60, in a sandbox 0.5.",
    ),
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Start what may start now; `resume` continues.")
]


def run(
    capsule: Annotated[
        str, typer.Argument(metavar="CAPSULE", help="ID of a capsule or a pipeline.")
    ],
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SESSION|SUBJECT",
            help="IDs of sessions, or of subjects for all of theirs; - reads them from standard "
            "input, as `list` writes them. May be left out where a filter is given.",
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="[NAME=]VALUE",
            help="A parameter, by name, or by position where there is no name. In the value, "
            f"{', '.join(PLACES)} stand for those of the session, {{{{ for a brace. No secrets: "
            "the value is kept in the state. May be given several times.",
        ),
    ] = None,
    attach: Annotated[
        list[str] | None,
        typer.Option(
            "--attach",
            metavar="[MOUNT=]ASSET",
            help="ID of a data asset to attach, as for --parameter; by default {raw_asset_id}.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The label in the names of the results: SESSION_NAME_TIME. Without it, results "
            "are neither searched nor captured.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="A new file for the run's state; default: runs-LABEL-CAPSULE.json."
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Start without confirmation; needed in a pipe.")
    ] = False,
    at_once: AtOnce = 20,
    per_minute: PerMinute = 30,
    retries: Retries = 0,
    poll: Poll = None,
    share: Annotated[bool, typer.Option("--share", help="Let everyone see the results.")] = False,
    no_wait: NoWait = False,
    project: Project = None,
    platform: Platform = None,
    modality: Modality = None,
    date: Date = None,
    start: Start = None,
    end: End = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """Start a Code Ocean computation for each session.

    Shows the plan and asks for confirmation, except with --yes. With a label, results are captured
    as data assets, and sessions that have a good one are left out. Sessions whose computation is in
    progress are left out in any case. After Ctrl-C, or if the process is killed, `aind-session
    resume` continues.

    The exit code is 0 if all are done, 1 if a session failed or none matches, 3 if the result of at
    least one session could not be checked.
    """
    from aind_session.runs import RunPlan as Plan
    from aind_session.runs import run as conduct
    from aind_session.runs.state import default_path

    if not (dry_run or yes or (sys.stdin.isatty() and sys.stdout.isatty())):
        raise InvalidFilterError(
            "run asks for confirmation, which needs a terminal: add --yes to start without it, or "
            "--dry-run to show the plan."
        )
    parameters = _filled("--parameter", parameter)
    filters = {
        "project": project,
        "platform": platform,
        "modality": modality,
        "date": date,
        "start_date": start,
        "end_date": end,
    }
    with output.waiting("searching Code Ocean and DocDB"):
        sessions = _sessions(what or [], filters)
    if not sessions:
        output.complain("no session matches.", "list", "--help")
        return NOT_FOUND
    state = state or str(default_path(label, capsule))
    with _refusing(state, "run"), _noting_resume("" if dry_run else state):
        done = conduct(
            sessions,
            capsule,
            label=label,
            parameters=parameters and (lambda session: _as_parameters(parameters(session))),
            attach=_mounts(attach),
            dry_run=dry_run,
            confirm=_noted if yes else _confirmed,
            state=state,
            at_once=at_once or 1,
            per_minute=per_minute,
            retries=retries or 0,
            poll_seconds=poll,
            share=share,
            wait=not no_wait,
        )
    if isinstance(done, Plan):
        if not dry_run:
            output.note("nothing was started.")
            return FOUND
        _write_plan(done, as_json, as_csv)
        if "error" in done.counts:
            return NOT_FOUND
        return UNKNOWN if "unknown" in done.counts else FOUND
    code = _show(done, state, as_json, as_csv)
    return UNKNOWN if "unknown" in done.happened.counts and code == FOUND else code


def _noted(plan: RunPlan) -> bool:
    """Write the note of a plan that needs no confirmation."""
    if plan.note:
        output.note(plan.note)
    return True


def _confirmed(plan: RunPlan) -> bool:
    """Show a plan, and ask whether to start it."""
    _write_plan(plan, as_json=False, as_csv=False)
    number = len(plan.starts)
    question = f"Start {number} computation{'s' if number != 1 else ''}? [y/N] "
    return input(question).strip().lower() in ("y", "yes")


def status(state: StateFile = None, as_json: AsJson = False, as_csv: AsCsv = False) -> int:
    """Show the state of a run, without any request.

    The exit code is 1 if a session failed.
    """
    from aind_session.runs import read_run

    with _refusing(state, "status"):
        report = read_run(state)
    return _show(report, state or report.state, as_json, as_csv)


def resume(
    state: StateFile = None,
    at_once: AtOnce = None,
    per_minute: PerMinute = None,
    retries: Retries = None,
    poll: Poll = None,
    restart_unconfirmed: Annotated[
        bool,
        typer.Option(
            "--restart-unconfirmed",
            help="Start again at once what Code Ocean has not confirmed; otherwise only after it "
            "is not listed for ten minutes.",
        ),
    ] = False,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """Continue a run; no session is started twice.

    Options are unchanged by default. More --retries than before start failed sessions again. The
    exit code is 1 if a session failed.
    """
    from aind_session.runs import resume_run

    with _refusing(state, "resume"), _noting_resume(state or ""):
        report = resume_run(
            state,
            at_once=at_once,
            per_minute=per_minute,
            retries=retries,
            poll_seconds=poll,
            restart_unconfirmed=restart_unconfirmed,
            wait=not no_wait,
        )
    return _show(report, state or report.state, as_json, as_csv)


# -- sessions and inputs ---------------------------------------------------------------------------


def _sessions(what: Sequence[str], filters: dict[str, Any]) -> Sessions:
    """Find the sessions that are named, and those of the subjects that are."""
    from aind_session import search
    from aind_session.identifiers import find_session_id
    from aind_session.session import Session
    from aind_session.sessions import Sessions

    named = words_of(what)
    found = [Session(word) for word in named if find_session_id(word) is not None]
    subjects = [word for word in named if find_session_id(word) is None]
    filtered = any(filters.values())
    if found and filtered:
        raise InvalidFilterError("filters are for subjects: sessions are named one by one.")
    if not named and not filtered:
        raise InvalidFilterError("run needs sessions, subjects, or a filter: --project, ...")
    if subjects or filtered:
        found += search.get_sessions(subjects or None, **filters)
    return Sessions(list(dict.fromkeys(found)))


def _filled(
    option: str, given: Sequence[str] | None
) -> Callable[[Session], list[tuple[str, str]]] | None:
    """Read an option's NAME=VALUE; what a session is put in for is put in for each."""
    if not given:
        return None
    pairs = [_split(option, text) for text in given]

    def fill(session: Session) -> list[tuple[str, str]]:
        def value(found: re.Match[str]) -> str:
            return PLACES[found[0]](session) if found[0] in PLACES else found[0][0]

        return [(name, _BRACES.sub(value, text)) for name, text in pairs]

    return fill


def _split(option: str, text: str) -> tuple[str, str]:
    """Split NAME=VALUE; a VALUE may contain `=` itself."""
    name, equals, value = text.partition("=")
    if not equals or "{" in name or " " in name:
        name, value = "", text
    for found in _BRACES.findall(value):
        if found not in PLACES and found not in ("{{", "}}"):
            what = f"unknown placeholder {found}" if len(found) > 1 else f"a single {found}"
            raise InvalidFilterError(
                f"{option} {text!r}: {what}. Use {', '.join(PLACES)}; write {{{{ for a literal "
                "brace."
            )
    return name, value


def _as_parameters(pairs: list[tuple[str, str]]) -> list[Any]:
    from aind_session.runs import Parameter

    return [Parameter(value, name or None) for name, value in pairs]


def _mounts(given: Sequence[str] | None) -> Callable[[Session], list[Any]] | None:
    from aind_session.runs import Mount

    fill = _filled("--attach", given)
    if fill is None:
        return None
    return lambda session: [Mount(asset, mount or None) for mount, asset in fill(session)]


# -- output ----------------------------------------------------------------------------------------


def _show(report: RunReport, state: str, as_json: bool, as_csv: bool) -> int:
    _write(report.to_rows(), report.summary(), as_json, as_csv)
    if not report.is_complete:
        _note_resume(state)
    return NOT_FOUND if report.failed else FOUND


def _write_plan(plan: RunPlan, as_json: bool, as_csv: bool) -> None:
    _write(plan.to_rows(), plan.summary(), as_json, as_csv)
    if plan.note:
        output.note(plan.note)


def _write(rows: list[dict[str, Any]], summary: str, as_json: bool, as_csv: bool) -> None:
    from aind_session.runs.values import columns_used

    if as_json:
        output.write_json(rows)
    elif as_csv:
        output.write_csv(rows, list(rows[0]) if rows else [])
    else:
        names = columns_used(rows)
        output.write_table(names, [[row[name] for name in names] for row in rows])
        output.write_line(summary)


@contextlib.contextmanager
def _noting_resume(state: str) -> Iterator[None]:
    """After Ctrl-C, note the command that continues."""
    try:
        yield
    except KeyboardInterrupt:
        if os.path.exists(state):
            _note_resume(state)
        raise


def _note_resume(state: str) -> None:
    output.note(f"not complete: {shlex.join([*output.command, 'resume', state])} continues it")


@contextlib.contextmanager
def _refusing(state: str | None, command: str) -> Iterator[None]:
    """Turn an error of the state file into one of usage, with the next command to try."""
    from aind_session.runs import RunStateError

    try:
        yield
    except RunStateError as error:
        exists = state is not None and os.path.exists(state)
        advice = ("status", state) if exists else (command, "--help")
        text = str(error)
        for name, option in _IN_COMMAND.items():
            text = text.replace(name, option)
        raise InvalidFilterError(text, advice=advice) from error
