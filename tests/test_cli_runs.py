"""`aind-session run`, `status` and `resume`, called as their users do."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import aind_session
from aind_session.clock import use_clock
from cli_calls import Here, error_of
from conducted import CAPSULE, LABEL, World, add_result, cohort, raw_id


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    catalogue, _ = cohort(2, 2)
    with aind_session.sandbox(catalogue) as box:
        made = World(box)
        with use_clock(made):
            yield made


FIRST = "ecephys_800000_2024-01-02_10-23-20"


def first(world: World) -> str:
    return str(world.box.catalogue.data_assets[0]["name"])


def test_run_subject_starts_its_sessions(world: World, here: Here) -> None:
    run = (
        "run",
        "--yes",
        CAPSULE,
        "800000",
        "--label",
        LABEL,
        "-p",
        "session={session_id}",
        "-p",
        "fast",
    )
    planned = here(*run, "--dry-run", "--json")
    assert planned.returncode == 0
    rows = json.loads(planned.stdout)
    name = first(world)
    assert rows[0] == {
        "session": name,
        "action": "start",
        "mounts": [f"{name}={raw_id(world.box.catalogue, name)}"],
        "parameters": [f"session={name}", "fast"],
        "why": "",
    }
    assert world.started == []
    done = here(*run)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "2 done"
    assert len(world.started) == 2
    assert world.box.launched[0]["parameters"] == [
        {"name": "", "value": "fast"},
        {"param_name": "session", "value": name},
    ]
    done = here("status", "--json")
    assert [row["status"] for row in json.loads(done.stdout)] == ["done", "done"]
    assert here("resume").returncode == 0
    again = here(*run, "--state", "other.json")
    assert again.stdout.splitlines()[-1] == "2 skipped"
    assert len(world.started) == 2


def test_run_placeholders_are_filled_per_session(world: World, here: Here) -> None:
    name = first(world)
    raw = raw_id(world.box.catalogue, name)
    other = str(world.box.catalogue.data_assets[1]["id"])
    places = "{{x}}/{subject_id}/{platform}/{date}/{raw_asset_id}"
    planned = here(
        *("run", "--yes", CAPSULE, name, "--dry-run", "--csv", "--parameter", places),
        *("--attach", "raw={raw_asset_id}", "--attach", other),
    )
    (row,) = planned.stdout.splitlines()[1:]
    assert row == f"{name},start,raw={raw};{other},{{x}}/800000/ecephys/2024-01-02/{raw},"


def test_run_reads_the_output_of_list(
    world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = here("list", "800000").stdout
    assert listed.startswith("id")
    monkeypatch.setattr("sys.stdin", io.StringIO(listed))
    planned = here("run", "--yes", CAPSULE, "-", "--dry-run", "--json")
    names = [session.id for session in aind_session.get_sessions(800000)]
    assert [row["session"] for row in json.loads(planned.stdout)] == names


def test_run_failed_session_sets_the_exit_code(world: World, here: Here) -> None:
    world.fates = {first(world): ("failed", "good")}
    done = here("run", "--yes", CAPSULE, "800000", "800001", "--label", LABEL, "--share")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "3 done, 1 failed"
    assert here("status").returncode == 1
    assert here("resume", "--retries", "1").returncode == 0


def test_run_incomplete_notes_how_to_resume(world: World, here: Here) -> None:
    done = here(
        "run", "--yes", CAPSULE, "800000", "--state", "a.json", "--no-wait", "--at-once", "1"
    )
    assert done.returncode == 0
    assert "aind-session resume a.json" in done.stderr
    assert here("resume", "a.json").stdout.splitlines()[-1] == "2 done"


def test_run_interrupted_notes_how_to_resume(
    world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(world, "sleep", interrupt)
        done = here("run", "--yes", CAPSULE, "800000", "--label", LABEL)
    assert done.returncode == 130
    assert done.stderr.splitlines() == [
        f"note: not complete: aind-session resume runs-dlc-eye-{CAPSULE}.json continues it",
        "Interrupted.",
    ]
    assert here("resume").returncode == 0
    assert len(world.started) == 2


def test_run_unknown_capsule_is_not_found(world: World, here: Here) -> None:
    done = here("run", "--yes", "nonsense", "800000", "--dry-run")
    assert done.returncode == 1
    line, advice = error_of(done)
    assert line.startswith("aind-session: There is no capsule or pipeline 'nonsense'")
    assert advice == "Try: aind-session run --help"


def test_run_state_in_a_missing_folder_is_refused(world: World, here: Here) -> None:
    done = here("run", "--yes", CAPSULE, "800000", "--state", "absent/runs.json")
    assert done.returncode == 2
    assert error_of(done)[1] == "Try: aind-session run --help"


def test_run_unknown_result_sets_the_exit_code(world: World, here: Here) -> None:
    name = add_result(world.box.catalogue, first(world))
    asset = next(a for a in world.box.catalogue.data_assets if a["name"] == name)
    world.box.fail(path=asset["id"], times=None)
    run = ("run", "--yes", CAPSULE, "800000", "--label", LABEL)
    assert here(*run, "--dry-run").returncode == 3
    done = here(*run)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (3, "1 skipped, 1 done")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (("run", "--yes", CAPSULE), 2, "run needs sessions, subjects, or a filter"),
        (("run", "--yes", CAPSULE, FIRST, "--platform", "ecephys"), 2, "filters are for subjects"),
        (("run", "--yes", CAPSULE, "800000", "--at-once", "0"), 2, "--at-once"),
        (("run", "--yes", CAPSULE, "800000", "--label", "a/b"), 2, "'a/b' is not a valid label"),
        (("run", "--yes", CAPSULE, "799999"), 1, "no session matches"),
        (("status",), 1, "no state file of a run"),
        (("resume", "nothing.json"), 1, "no state of a run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_run_wrong_usage_is_one_line(
    arguments: tuple[str, ...], code: int, line: str, world: World, here: Here
) -> None:
    done = here(*arguments)
    assert done.returncode == code
    assert done.stdout == ""
    assert line in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[1].startswith("Try: aind-session ")
    assert world.started == []


def test_run_existing_state_is_refused(world: World, here: Here) -> None:
    run = ("run", "--yes", CAPSULE, "800000")
    assert here(*run).returncode == 0
    done = here(*run)
    assert done.returncode == 2
    assert "already holds a run" in done.stderr
    assert done.stderr.splitlines()[1] == f"Try: aind-session status runs-{CAPSULE}.json"


def test_run_in_a_pipe_without_yes_is_refused_before_any_request(world: World, here: Here) -> None:
    done = here("run", CAPSULE, "800000", "--label", LABEL)
    assert done.returncode == 2
    assert "--yes" in done.stderr.splitlines()[0]
    assert world.box.count() == 0


@pytest.mark.parametrize(("answer", "started"), [("y", 2), ("", 0), ("no", 0)])
def test_run_in_a_terminal_shows_the_plan_and_asks(
    answer: str, started: int, world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[str] = []

    def reply(question: str) -> str:
        questions.append(question)
        return answer

    monkeypatch.setattr("builtins.input", reply)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    done = here("run", CAPSULE, "800000", "--label", LABEL)
    assert done.returncode == 0
    assert questions == ["Start 2 computations? [y/N] "]
    assert first(world) in done.stdout
    assert len(world.started) == started


class Terminal(io.StringIO):
    """A standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_resume_restart_unconfirmed_starts_again(world: World, here: Here) -> None:
    world.box.fail("codeocean", "/computations$", "POST", kind="reset")
    assert here("run", "--yes", CAPSULE, first(world), "--no-wait").returncode == 0
    resumed = here("resume", "--no-wait", "--restart-unconfirmed")
    assert resumed.stdout.splitlines()[-1] == "1 running"
    assert len(world.started) == 1
