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
from aind_session.cli.exits import FOUND, NOT_FOUND, UNKNOWN, USAGE
from aind_session.cli.output import AsCsv, AsJson

if TYPE_CHECKING:
    from aind_session.runs import RunReport
    from aind_session.session import Session
    from aind_session.sessions import Sessions

PLACES = "{session_id}, {subject_id}, {raw_asset_id}, {platform}, {date}, {time}"

StateFile = Annotated[str, typer.Argument(metavar="[STATE]", help="The file of the run's state.")]
AtOnce = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Computations that run at once, at most.")
]
PerMinute = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Starts in any minute, at most.")
]
Retries = Annotated[
    int | None, typer.Option(min=0, metavar="N", help="How often one that failed is started again.")
]
Poll = Annotated[
    float | None, typer.Option(min=0, metavar="SECONDS", help="Between two looks at what runs.")
]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Start what may be started now; `resume` goes on.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command("run")(run)
    app.command("status")(status)
    app.command("resume")(resume)


def run(
    capsule: Annotated[
        str, typer.Argument(metavar="CAPSULE", help="ID of a capsule or a pipeline.")
    ],
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SESSION|SUBJECT]...",
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
            f"{PLACES} stand for those of the session, {{{{ for a brace. No secrets: the value is "
            "kept in the state. May be given several times.",
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
            help="What is done, in the names of the results: SESSION_NAME_TIME. Without it, "
            "results are neither looked for nor captured.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
    state: Annotated[
        str, typer.Option(metavar="FILE", help="Where the run's state is kept; a new file.")
    ] = "runs.json",
    at_once: AtOnce = 20,
    per_minute: PerMinute = 30,
    retries: Retries = 0,
    poll: Poll = 60.0,
    share: Annotated[bool, typer.Option("--share", help="Let everyone see the results.")] = False,
    no_wait: NoWait = False,
    project: Annotated[str | None, typer.Option(metavar="NAME", help="As for `list`.")] = None,
    platform: Annotated[str | None, typer.Option(metavar="NAME", help="As for `list`.")] = None,
    modality: Annotated[str | None, typer.Option(metavar="NAME", help="As for `list`.")] = None,
    start: Annotated[str | None, typer.Option(metavar="DATE", help="As for `list`.")] = None,
    end: Annotated[str | None, typer.Option(metavar="DATE", help="As for `list`.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """Start a Code Ocean computation for each session.

    With a label, results are captured as data assets, and sessions that have a good one are left
    out. Those whose computation runs are left out in any case. After Ctrl-C, or a kill at any
    moment, `aind-session resume` goes on.

    The exit code is 0 where all is done, 1 where a session failed or there is none, 3 where of one
    could not be found out whether it has a result.
    """
    output.checked(as_json, as_csv)
    from aind_session.runs import RunPlan, RunStateError
    from aind_session.runs import run as conduct

    parameters = _filled("--parameter", parameter)
    filters = {
        "project": project,
        "platform": platform,
        "modality": modality,
        "start_date": start,
        "end_date": end,
    }
    with output.waiting("asking Code Ocean and DocDB"):
        sessions = _sessions(what or [], filters)
    if not sessions:
        output.complain("no session matches.", "list", "--help")
        return NOT_FOUND
    try:
        with _told_how_to_go_on("" if dry_run else state):
            done = conduct(
                sessions,
                capsule,
                label=label,
                parameters=parameters and (lambda session: _as_parameters(parameters(session))),
                attach=_mounts(attach),
                dry_run=dry_run,
                state=state,
                at_once=at_once or 1,
                per_minute=per_minute,
                retries=retries or 0,
                poll_seconds=60.0 if poll is None else poll,
                share=share,
                wait=not no_wait,
            )
    except RunStateError as error:
        return _refuse(error, state)
    if isinstance(done, RunPlan):
        _write(done.to_rows(), done.summary(), as_json, as_csv)
        unknown = any(one.action == "unknown" for one in done.sessions)
        return UNKNOWN if unknown else FOUND
    code = _tell(done, as_json, as_csv)
    unknown = any(one.action == "unknown" for one in done.happened.sessions)
    return UNKNOWN if unknown and code == FOUND else code


def status(state: StateFile = "runs.json", as_json: AsJson = False, as_csv: AsCsv = False) -> int:
    """Show how far a run is, without asking any service.

    The exit code is 1 where a session failed.
    """
    output.checked(as_json, as_csv)
    from aind_session.runs import RunStateError, read_run

    try:
        return _tell(read_run(state), as_json, as_csv)
    except RunStateError as error:
        return _refuse(error, state)


def resume(
    state: StateFile = "runs.json",
    at_once: AtOnce = None,
    per_minute: PerMinute = None,
    retries: Retries = None,
    poll: Poll = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """Go on with a run; no session is started twice.

    Whatever ended the run, at any moment.
    Options are by default as they were. More --retries than before start failed ones again. The
    exit code is 1 where a session failed.
    """
    output.checked(as_json, as_csv)
    from aind_session.runs import RunStateError, resume_run

    try:
        with _told_how_to_go_on(state):
            report = resume_run(
                state,
                at_once=at_once,
                per_minute=per_minute,
                retries=retries,
                poll_seconds=poll,
                wait=not no_wait,
            )
    except RunStateError as error:
        return _refuse(error, state)
    return _tell(report, as_json, as_csv)


# -- what is run -----------------------------------------------------------------------------------


def _sessions(what: Sequence[str], filters: dict[str, Any]) -> Sessions:
    """Find the sessions that are named, and those of the subjects that are."""
    from aind_session import search
    from aind_session.errors import InvalidFilterError
    from aind_session.identifiers import find_session_id
    from aind_session.session import Session
    from aind_session.sessions import Sessions

    named = [w for word in what for w in (_piped() if word == "-" else [word])]
    found = [Session(word) for word in named if find_session_id(word) is not None]
    subjects = [word for word in named if find_session_id(word) is None]
    filtered = any(filters.values())
    if found and filtered:
        raise InvalidFilterError("filters are for subjects: sessions are named one by one.")
    if not named and not filtered:
        raise InvalidFilterError("run needs sessions, subjects, or a filter: --project, ...")
    if subjects or filtered:
        found += search.get_sessions(subjects or None, **filters)
    return Sessions(dict.fromkeys(found))


def _piped() -> list[str]:
    """Read words from standard input; of a table that `list` wrote, its first column."""
    text = sys.stdin.read()
    if not re.match(r"id\b", text):
        return text.split()
    return re.findall(r"^[^\s,]+", text, re.MULTILINE)[1:]


def _filled(
    option: str, given: Sequence[str] | None
) -> Callable[[Session], list[tuple[str, str]]] | None:
    """Read an option's NAME=VALUE; what a session is put in for is put in for each."""
    if not given:
        return None
    pairs = [_split(option, text) for text in given]

    def fill(session: Session) -> list[tuple[str, str]]:
        return [(name, value.format_map(_Places(session))) for name, value in pairs]

    return fill


def _split(option: str, text: str) -> tuple[str, str]:
    """Split NAME=VALUE; what stands before `=` is no name where it could be none."""
    from aind_session.errors import InvalidFilterError

    name, equals, value = text.partition("=")
    if not equals or "{" in name or " " in name:
        name, value = "", text
    try:
        value.format_map(_Any())
    except (ValueError, KeyError, IndexError, AttributeError):
        raise InvalidFilterError(
            f"{option} {text!r}: in braces stand {PLACES}; a brace itself is written twice."
        ) from None
    return name, value


class _Any(dict[str, str]):
    def __missing__(self, name: str) -> str:
        if "{" + name + "}" not in PLACES:
            raise KeyError(name)
        return name


class _Places(dict[str, str]):
    """What stands for a session's own, each looked up only where it is used."""

    def __init__(self, session: Session) -> None:
        super().__init__(
            session_id=session.id,
            subject_id=session.subject_id,
            date=str(session.date),
            time=str(session.time),
        )
        self._session = session

    def __missing__(self, name: str) -> str:
        if name == "platform":
            return self._session.platform or ""
        asset_id: str = self._session.raw_data_asset.id
        return asset_id


def _as_parameters(pairs: list[tuple[str, str]]) -> list[Any]:
    from aind_session.runs import Parameter

    return [Parameter(value, name or None) for name, value in pairs]


def _mounts(given: Sequence[str] | None) -> Callable[[Session], list[Any]] | None:
    from aind_session.runs import Mount

    fill = _filled("--attach", given)
    if fill is None:
        return None
    return lambda session: [Mount(asset, mount or None) for mount, asset in fill(session)]


# -- what is told ----------------------------------------------------------------------------------


def _tell(report: RunReport, as_json: bool, as_csv: bool) -> int:

    _write(report.to_rows(), report.summary(), as_json, as_csv)
    if not report.is_complete:
        _note_resume(report.state)
    return NOT_FOUND if report.failed else FOUND


def _write(rows: list[dict[str, Any]], summary: str, as_json: bool, as_csv: bool) -> None:
    names = list(rows[0]) if rows else []
    if as_json:
        output.write_json(rows)
    elif as_csv:
        output.write_csv(rows, names)
    else:
        shown = [name for name in names if any(row[name] for row in rows)]
        output.write_table(shown, [[row[name] for name in shown] for row in rows])
        output.write_line(summary)


@contextlib.contextmanager
def _told_how_to_go_on(state: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if os.path.exists(state):
            _note_resume(state)
        raise


def _note_resume(state: str) -> None:
    output.note(f"not complete: {shlex.join([*output.command, 'resume', state])} goes on")


def _refuse(error: Exception, state: str) -> int:

    advice = ("status", state) if os.path.exists(state) else ("run", "--help")
    output.complain(str(error), *advice)
    return USAGE
