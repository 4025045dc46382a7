"""Runs as a newcomer meets them: notes of the plan, the progress bar, state files of sandboxes."""

from __future__ import annotations

import inspect
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

import aind_session
from aind_session.clock import use_clock
from aind_session.runs import RunStateError
from aind_session.runs.state import Options
from aind_session.runs.values import RunOptions
from aind_session.sandbox import Sandbox
from cli_calls import Here, error_of
from conducted import CAPSULE, LABEL, World, add_result, cohort

PIPELINE = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
HINT = "No result labelled 'srted' was found. Did you mean 'sorted'?"


class Terminal(io.StringIO):
    """A stream that passes for a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    with aind_session.sandbox(cohort(1, 3)[0]) as box:
        made = World(box)
        with use_clock(made):
            yield made


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """Return the state of a run in a sandbox that has ended."""
    catalogue, sessions = cohort(1, 1)
    path = tmp_path / "ended.json"
    with aind_session.sandbox(catalogue) as box, use_clock(World(box)):
        sessions.run(CAPSULE, state=path, wait=False)
    return path


def sessions_of(box: Sandbox) -> aind_session.Sessions:
    names = [asset["name"] for asset in box.catalogue.data_assets]
    return aind_session.Sessions(aind_session.Session(name) for name in names)


# -- labels ----------------------------------------------------------------------------------------


def test_run_misspelled_label_is_noted_in_the_plan(sandbox: Sandbox, here: Here) -> None:
    sessions = aind_session.get_sessions(676909, platform="ecephys")
    plan = sessions.run(PIPELINE, label="srted", dry_run=True)
    assert plan.note == HINT
    assert str(plan).splitlines()[-2:] == ["3 start", HINT]
    assert repr(plan).endswith(f": 3 start. {HINT}>")
    assert "Did you mean" in plan._repr_html_()
    used = sandbox.count()
    sandbox.reset()
    assert sessions.run(PIPELINE, label="lick-times", dry_run=True).note == ""
    assert sandbox.count() <= used
    run = ("run", PIPELINE, "676909", "--platform", "ecephys", "--dry-run", "--label", "srted")
    for form in ((), ("--json",), ("--csv",)):
        done = here(*run, *form)
        assert (done.returncode, done.stderr) == (0, f"note: {HINT}\n")


@pytest.mark.parametrize(
    ("existing", "label", "near"),
    [
        ("dlc-eye", "dlc-eyes", "dlc-eye"),
        ("dlc-eye", "DLC_EYE", ""),
        ("dlc-eye", "dlc-face", ""),
        ("", "dlc-eye", ""),
    ],
)
def test_run_label_is_noted_only_if_another_is_near(
    existing: str, label: str, near: str, world: World
) -> None:
    sessions = sessions_of(world.box)
    if existing:
        add_result(world.box.catalogue, sessions[0].id, existing, log="Command error:\n")
    note = sessions.run(CAPSULE, label=label, dry_run=True).note
    assert note == (
        f"No result labelled {label!r} was found. Did you mean {near!r}?" if near else ""
    )


def test_command_misspelled_label_is_noted_once(world: World, here: Here) -> None:
    name = sessions_of(world.box)[0].id
    add_result(world.box.catalogue, name)
    note = "note: No result labelled 'dlc-eyes' was found. Did you mean 'dlc-eye'?"
    for arguments in (
        ("list", "800000", "--columns", "id,derived:dlc-eyes"),
        ("run", CAPSULE, name, "--label", "dlc-eyes", "--yes"),
    ):
        done = here(*arguments)
        assert (done.returncode, done.stderr) == (0, f"{note}\n")


def test_run_misspelled_label_is_logged_and_kept(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = sessions_of(world.box)
    add_result(world.box.catalogue, sessions[0].id)
    plan = sessions.run(CAPSULE, label="dlc-eyes", dry_run=True)
    assert caplog.messages == []
    report = sessions.run(CAPSULE, label="dlc-eyes", state="a.json")
    assert caplog.messages == [plan.note]
    assert report.happened == plan
    assert aind_session.read_run("a.json") == report


@pytest.mark.parametrize("kind", ["derived", "result"])
def test_table_misspelled_label_is_logged(
    kind: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = aind_session.get_sessions(676909, platform="ecephys")
    sessions.to_pandas([f"{kind}:sorted", f"{kind}:nothing-like-it"])
    assert caplog.messages == []
    sandbox.reset()
    sessions.to_pandas(["derived:sorted"])
    used = sandbox.count()
    sandbox.reset()
    sessions.to_pandas([f"{kind}:srted"])
    assert caplog.record_tuples == [("aind_session", logging.WARNING, HINT)]
    assert sandbox.count() == used


# -- the progress bar ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3])
def test_run_bar_shows_the_current_counts_while_it_waits(
    number: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    sleep = world.sleep
    shown: list[str] = []

    def look_and_sleep(seconds: float) -> None:
        shown.append(terminal.getvalue().replace("\r", "\n").splitlines()[-1])
        sleep(seconds)

    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(world, "sleep", look_and_sleep)
    monkeypatch.delenv("AIND_SESSION_PROGRESS", raising=False)
    world.fates = {session.id: ("failed",) for session in sessions_of(world.box)[:1]}
    report = sessions_of(world.box)[:number].run(CAPSULE, label=LABEL, at_once=2, state="a.json")
    assert report.is_complete
    assert f"0/{number} [00:00<?, ?it/s, 0 running, {number} waiting]" in terminal.getvalue()
    counts = [re.findall(rf"(\d)/{number} .*, (\d) running, (\d) waiting", line) for line in shown]
    first = ("0", str(min(2, number)), str(max(0, number - 2)))
    assert counts[0] == [first]
    assert all(counts)
    if number == 3:
        # After the failed one ended.
        assert ("1", "1", "0") in [one[0] for one in counts]


# -- state files of sandboxes ----------------------------------------------------------------------


def test_run_and_resume_with_the_state_of_an_ended_sandbox_name_what_to_do(
    world: World, ended: Path
) -> None:
    expected = f"'{ended}' holds a run of a sandbox that has ended"
    with pytest.raises(RunStateError) as run:
        sessions_of(world.box).run(CAPSULE, state=ended)
    with pytest.raises(RunStateError) as resume:
        aind_session.resume_run(ended)
    for error in (run, resume):
        assert str(error.value).startswith(expected)
        assert "delete this file or choose another state file (`state=`)" in str(error.value)
    assert world.started == []


def test_command_with_the_state_of_an_ended_sandbox_names_what_to_do(
    world: World, ended: Path, here: Here
) -> None:
    default = Path(f"runs-{CAPSULE}.json")
    ended.rename(default)
    for arguments, advice in (
        (("run", CAPSULE, "800000", "--yes"), f"status {default}"),
        (("resume",), "resume --help"),
    ):
        done = here(*arguments)
        line, command = error_of(done)
        assert done.returncode == 2
        assert f"{default}' holds a run of a sandbox that has ended" in line
        assert "delete this file or choose another state file (`--state`)" in line
        assert command == f"Try: aind-session {advice}"
    default.unlink()
    assert here("run", CAPSULE, "800000", "--yes").returncode == 0


def test_run_existing_state_names_how_to_continue(world: World, here: Here) -> None:
    sessions = sessions_of(world.box)
    state = Path(f"runs-{CAPSULE}.json")
    sessions.run(CAPSULE, state=state)
    with pytest.raises(RunStateError, match=r"by `aind_session[.]resume_run`"):
        sessions.run(CAPSULE, state=state)
    done = here("run", CAPSULE, "800000", "--yes")
    assert "continue it by `aind-session resume`" in error_of(done)[0]
    state.write_text("{}", encoding="utf-8")
    with pytest.raises(RunStateError, match="another state file"):
        sessions.run(CAPSULE, state=state)


@pytest.mark.parametrize(("given", "seconds"), [(None, 0.5), (7.0, 7.0), (0.0, 0.0)])
def test_run_in_a_sandbox_waits_briefly_between_polls(
    given: float | None, seconds: float, world: World, here: Here
) -> None:
    sessions = sessions_of(world.box)
    assert sessions[:1].run(CAPSULE, state="a.json", poll_seconds=given).is_complete
    assert max(world.slept) == pytest.approx(seconds, abs=0.2)
    option = () if given is None else ("--poll", str(given))
    done = here("run", CAPSULE, sessions[1].id, "--yes", "--state", "b.json", *option)
    assert done.returncode == 0
    kept = [
        json.loads(Path(name).read_text())["options"]["poll_seconds"]
        for name in ("a.json", "b.json")
    ]
    assert kept == [seconds, seconds]


@pytest.mark.parametrize(
    ("parameter", "what"),
    [
        ("x={sesion_id}", "unknown placeholder {sesion_id}"),
        ("{", "a single {"),
        ("{session_id.x}", "unknown placeholder {session_id.x}"),
    ],
)
def test_run_wrong_placeholder_names_those_there_are(
    parameter: str, what: str, world: World, here: Here
) -> None:
    line, _ = error_of(here("run", "--yes", CAPSULE, "800000", "-p", parameter))
    assert f"{parameter!r}: {what}. Use {{session_id}}, {{subject_id}}" in line
    assert line.endswith("write {{ for a literal brace.")


# -- the options -----------------------------------------------------------------------------------


def test_run_signature_has_the_options_and_their_defaults() -> None:
    shown = inspect.signature(aind_session.Sessions.run).parameters
    assert {*shown} >= {*RunOptions.__annotations__}
    assert not any(one.kind is one.VAR_KEYWORD for one in shown.values())
    defaults = structs.asdict(Options())
    # The state has None for `share`; the poll depends on where the run is.
    for name in {*defaults} & {*shown} - {"share", "custom_metadata", "poll_seconds"}:
        assert shown[name].default == defaults[name], name


def test_run_misspelled_option_raises_the_error_of_python() -> None:
    wrong: dict[str, Any] = {"lable": "dlc-eye"}
    with pytest.raises(TypeError, match=r"run\(\) got an unexpected keyword argument 'lable'"):
        aind_session.Sessions().run(CAPSULE, **wrong)
