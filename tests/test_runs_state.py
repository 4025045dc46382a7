"""The state of a run: its file, its lock, what it says; and the pace of starts."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aind_session
from aind_session.clock import use_clock
from aind_session.errors import MissingFileError
from aind_session.runs import RunStateError
from aind_session.runs import state as states
from aind_session.runs.conduct import Pace
from conducted import CAPSULE, LABEL, World, cohort


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return the state of a run that has started two computations."""
    catalogue, sessions = cohort(1, 2)
    path = tmp_path / "runs.json"
    with aind_session.sandbox(catalogue) as box, use_clock(World(box)):
        sessions.run(CAPSULE, lambda s: [s.id], label=LABEL, state=path, share=True, wait=False)
        assert box.token not in path.read_text(encoding="utf-8")
    return path


def test_state_file_is_complete_and_reads_back(state: Path) -> None:
    written = json.loads(state.read_text(encoding="utf-8"))
    assert (written["format"], written["version"]) == ("aind-session run", 1)
    assert [item["status"] for item in written["items"]] == ["running", "running"]
    before = state.read_bytes()
    states.save(state, states.load(state))
    assert state.read_bytes() == before
    assert os.listdir(state.parent) == [state.name]


def test_read_run_sends_no_request(state: Path) -> None:
    report = aind_session.read_run(state)
    assert report.counts == {"running": 2}
    assert repr(report) == f"<RunReport of {state}: 2 running>"
    assert str(report).splitlines()[-1] == "2 running"


def test_run_existing_state_raises_and_is_kept(state: Path) -> None:
    catalogue, sessions = cohort(1, 2)
    before = state.read_bytes()
    with aind_session.sandbox(catalogue) as box:
        with pytest.raises(RunStateError, match="holds a run of a sandbox that has ended"):
            sessions.run(CAPSULE, label=LABEL, state=state)
        assert box.count() == 0
    assert state.read_bytes() == before


def test_resume_run_of_another_server_raises(state: Path) -> None:
    with (
        aind_session.sandbox(cohort(1, 2)[0]) as box,
        pytest.raises(RunStateError, match="holds a run of a sandbox that has ended"),
    ):
        aind_session.resume_run(state)
    assert box.count() == 0


def test_read_and_resume_missing_file_raise(tmp_path: Path) -> None:
    for ask in (aind_session.read_run, aind_session.resume_run):
        with pytest.raises(MissingFileError, match="no state of a run"):
            ask(tmp_path / "nothing.json")
    assert os.listdir(tmp_path) == []
    with pytest.raises(RunStateError, match="no folder"), states.locked(tmp_path / "no" / "a.json"):
        pytest.fail("there is nothing to lock")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not the state"),
        (b"[]", "not the state"),
        (b"\xff", "not the state"),
        (b'{"format": "something else"}', "not the state"),
        (b'{"format": "aind-session run", "version": 2}', "another release"),
        (b'{"format": "aind-session run", "version": 1}', "not the state"),
        (b"[" * 100_000, "not the state"),
        (b'{"format": ' * 50_000, "not the state"),
    ],
)
def test_read_run_of_another_file_raises(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    path.write_bytes(content)
    with pytest.raises(RunStateError, match=why):
        aind_session.read_run(path)
    assert path.read_bytes() == content


# -- one at a time ---------------------------------------------------------------------------------

HOLDING = """
import sys, pathlib
from aind_session.runs import state
with state.locked(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_resume_in_two_processes_raises(state: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RunStateError, match=r"Another process drives the run of .*runs\.json'"):
            aind_session.resume_run(state)
        # Reading does not need the lock.
        assert aind_session.read_run(state).counts == {"running": 2}
    finally:
        other.kill()
        other.communicate()
    # A lock dies with its owner, whatever it leaves behind.
    with states.locked(state), pytest.raises(RunStateError), states.locked(state):
        pytest.fail("locked twice")
    assert os.listdir(state.parent) == [state.name]


# -- the pace --------------------------------------------------------------------------------------

failures = st.lists(st.floats(0, 40), min_size=1, max_size=40)


@given(failures, st.integers(1, 5), st.integers(0, 39))
@settings(max_examples=80)
def test_pace_never_exceeds_the_limit_in_any_minute(
    pauses: list[float], limit: int, killed_at: int
) -> None:
    now = 1000.0
    starts: list[float] = []
    pace = Pace(limit, [], now)
    for number, pause in enumerate(pauses):
        if number == killed_at:
            pace = Pace(limit, starts, now)
        now = max(now + pause, pace.next_free(now))
        for _ in range(pace.free(now)):
            starts.append(now)
            now += 0.5
            pace.sent(now)
    assert starts
    for first in starts:
        assert sum(first <= start < first + 60 for start in starts) <= limit


def test_pace_with_a_clock_put_back_does_not_block() -> None:
    pace = Pace(2, [5000.0, 6000.0], now=1000.0)
    assert pace.next_free(1000.0) == 1060.0
    assert pace.free(1060.0) == 2


def test_save_while_a_reader_is_open_leaves_the_old_file_to_it(state: Path) -> None:
    other = states.load(state)
    other.items.clear()
    with open(state, encoding="utf-8") as file:
        states.save(state, other)
        assert len(json.load(file)["items"]) == 2
    assert states.load(state) == other


def test_locked_lock_removed_meanwhile_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = tmp_path / "runs.json", tmp_path / "runs.json.lock"
    taken: list[int] = []

    def take(handle: int) -> None:
        taken.append(handle)
        if len(taken) == 1:
            # The last owner leaves between our opening and taking it.
            lock.unlink()

    monkeypatch.setattr(states, "lock_file", take)
    with states.locked(path):
        assert lock.exists()
    assert len(taken) == 2


# -- paths, links, disks ---------------------------------------------------------------------------


def test_resume_through_a_symbolic_link_keeps_the_link(tmp_path: Path) -> None:
    catalogue, sessions = cohort(1, 2)
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "runs.json", tmp_path / "link.json"
    link.symlink_to(target)
    with aind_session.sandbox(catalogue) as box, use_clock(World(box)):
        sessions.run(CAPSULE, label=LABEL, state=link, wait=False)
        with states.locked(states.resolve(target)), pytest.raises(RunStateError, match="Another"):
            aind_session.resume_run(link)
        assert aind_session.resume_run(link).counts == {"done": 2}
    assert link.is_symlink()
    assert aind_session.read_run(target) == aind_session.read_run(link)
    assert sorted(os.listdir(tmp_path)) == ["disk", "link.json"]


def test_run_relative_path_while_a_function_changes_the_directory_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, sessions = cohort(1, 2)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)

    def wander(session: aind_session.Session) -> list[str]:
        os.chdir(there)
        return [session.id]

    with aind_session.sandbox(catalogue) as box, use_clock(World(box)):
        report = sessions.run(CAPSULE, wander, label=LABEL, state="a.json")
    assert report.counts == {"done": 2}
    assert (os.listdir(here), os.listdir(there)) == (["a.json"], [])


def test_save_does_not_follow_a_link_in_place_of_its_part(state: Path) -> None:
    victim = state.parent / "victim"
    victim.write_text("mine")
    state.with_name(f"{state.name}.part").symlink_to(victim)
    states.save(state, states.load(state))
    assert victim.read_text() == "mine"
    assert not state.is_symlink()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_locked_file_system_without_locks_is_reported_as_such(
    code: int, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(states, "lock_file", refuse)
    with pytest.raises(RunStateError, match=r"does not support file locks.*local disk"):
        aind_session.resume_run(state)
    assert os.listdir(state.parent) == [state.name]


def test_run_full_disk_is_a_state_error_and_resume_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, sessions = cohort(1, 3)
    path = tmp_path / "runs.json"
    with aind_session.sandbox(catalogue) as box:
        world = World(box)
        noted = box.launches.on_run
        assert noted is not None

        def fill(computation: dict[str, Any]) -> None:
            noted(computation)
            full.setattr(os, "fsync", refuse)

        def refuse(handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        box.launches.on_run = fill
        with (
            use_clock(world),
            monkeypatch.context() as full,
            pytest.raises(RunStateError, match=r"runs\.json.*No space left.*resume_run"),
        ):
            sessions.run(CAPSULE, label=LABEL, state=path)
        box.launches.on_run = noted
        with use_clock(world):
            assert aind_session.resume_run(path).counts == {"done": 3}
        assert sorted(start.session for start in world.started) == [s.id for s in sessions]
    assert os.listdir(tmp_path) == [path.name]
