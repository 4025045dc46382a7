"""Five hundred sessions, and kills at any moment: each started once, each result captured once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session.clock import use_clock
from aind_session.lookup import results
from aind_session.runs import RunReport
from aind_session.sandbox import Catalogue
from conducted import CAPSULE, LABEL, KilledError, World, add_result, add_running, cohort, raw_id
from rows import columns_of

AT_ONCE, PER_MINUTE = 70, 60


def parameters(session: aind_session.Session) -> dict[str, str]:
    return {"subject": session.subject_id, "session": session.id}


def conduct(
    world: World, sessions: aind_session.Sessions, path: Path, kills: Iterator[int], **options: Any
) -> tuple[RunReport, int]:
    """Run, and resume after each kill; return the report and the number of kills."""
    killed = 0
    while True:
        world.kill_in = next(kills, None)
        try:
            if path.exists():
                report = aind_session.resume_run(path)
            else:
                report = sessions.run(CAPSULE, parameters, label=LABEL, state=path, **options)
        except KilledError:
            killed += 1
            continue
        world.kill_in = None
        return report, killed


def status_by_catalogue(catalogue: Catalogue, session: str) -> str:
    """Return what the catalogue's own files contain of a session's results."""
    found = [a for a in catalogue.data_assets if a["name"].startswith(f"{session}_dlc")]
    logs = {
        entry["key"].split("/")[0]: entry.get("text", "")
        for entry in catalogue.objects
        if entry["key"].endswith("/output")
    }
    runs = {c["id"]: c["_files"]["output"] for c in catalogue.computations if "_files" in c}
    texts = [logs.get(a["id"]) or runs[a["provenance"]["computation"]] for a in found]
    if any(not results.is_output_error(text) for text in texts):
        return "good"
    return "failed" if texts else "never"


@pytest.mark.slow
def test_run_500_sessions_with_kills_starts_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue, sessions = cohort(50, 10)
    names = [session.id for session in sessions]
    chance = random.Random(7)
    odd = chance.sample(names, 130)
    chosen = iter(odd)
    good = {next(chosen) for _ in range(30)}
    for number, name in enumerate(sorted(good)):
        add_result(catalogue, name, "dlc_eye" if number % 2 else LABEL)
    before = [next(chosen) for _ in range(20)]
    for name in before:
        add_result(catalogue, name, log="Out of memory.\n")
    running = {next(chosen) for _ in range(10)}
    for name in running:
        add_running(catalogue, name)
    raw_of = {name: raw_id(catalogue, name) for name in names}
    with aind_session.sandbox(catalogue) as box:
        world = World(box, seed=7)
        once, twice, bad = ([next(chosen) for _ in range(n)] for n in (40, 10, 15))
        twice += before[:5]
        world.fates = {
            **dict.fromkeys(once, ("failed", "good")),
            **dict.fromkeys(twice, ("failed", "failed")),
            **dict.fromkeys(bad, ("bad log", "good")),
        }
        world.steps = (1, 3)
        world.watch_files(monkeypatch)
        with use_clock(world):
            plan = sessions.run(CAPSULE, parameters, label=LABEL, dry_run=True)
            assert box.launched == []
            kills = iter([chance.randrange(20, 1200) for _ in range(25)])
            report, killed = conduct(
                world,
                sessions,
                tmp_path / "runs.json",
                kills,
                at_once=AT_ONCE,
                per_minute=PER_MINUTE,
                retries=1,
                wait_ready=False,
            )
            assert killed >= 8
            # The dry run is what then happened, by the report and by the requests.
            assert report.happened == plan
            planned = {
                raw_of[one.session]: sorted(str(p) for p in one.parameters) for one in plan.starts
            }
            launched = [c for c in box.launched if "run_time" in c and "parameters" in c]
            assert {
                c["data_assets"][0]["id"]: sorted(
                    f"{p['param_name']}={p['value']}" for p in c["parameters"]
                )
                for c in launched
            } == planned
            assert {one.session for one in plan.skipped} == good | running
            # Each once, and those that failed once more.
            expected = Counter({one.session: 1 for one in plan.starts})
            expected.update([*once, *twice, *bad])
            assert Counter(start.session for start in world.started) == expected
            done = {one.session for one in report.sessions if one.status == "done"}
            assert done == set(expected) - set(twice)
            assert {one.session for one in report.failed} == set(twice)
            # Each result once.
            assert world.captured == Counter(dict.fromkeys(done, 1))
            assert world.most_at_once <= AT_ONCE
            assert world.most_in_a_minute <= PER_MINUTE
            # A limit that is never reached is not seen to hold.
            assert world.most_in_a_minute > 0.8 * PER_MINUTE
            # The run did not wait until its results are ready; a draft does not count as a result.
            world.advance()
            # A search by the run may have cached a draft.
            box.reset()
            # All that are odd, and some that are not.
            some = aind_session.Sessions(map(aind_session.Session, [*odd, *names[:50]]))
            table = columns_of(some, ["id", f"result:{LABEL}"])
            found = dict(zip(table["id"], table[f"result:{LABEL}"], strict=True))
            assert found == {name: status_by_catalogue(catalogue, name) for name in found}
            assert set(found.values()) == {"good", "failed", "never"}


def test_run_killed_at_each_moment_starts_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One session after the other is run, each killed a bit later than the one before."""
    catalogue, sessions = cohort(8, 10)
    with aind_session.sandbox(catalogue) as box:
        world = World(box)
        world.watch_files(monkeypatch)
        with use_clock(world):
            for number, session in enumerate(sessions):
                one = aind_session.Sessions([session])
                path = tmp_path / f"{number}.json"
                report, killed = conduct(world, one, path, iter([2 * number]))
                assert report.counts == {"done": 1}, number
                assert world.starts_of(session.id) == 1, number
                assert world.captured[session.id] == 1, number
                assert os.listdir(tmp_path) == [path.name], "a lock or a part is left"
                path.unlink()
                if not killed:
                    break
            else:
                pytest.fail("there are more moments than sessions")
    assert number > 30


CHILD = """
import sys, aind_session
sessions = aind_session.Sessions(map(aind_session.Session, sys.argv[3:]))
sessions.run(sys.argv[1], label="dlc-eye", state=sys.argv[2], poll_seconds=0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_run_process_killed_during_a_request_starts_each_once(tmp_path: Path) -> None:
    catalogue, sessions = cohort(2, 4)
    path = tmp_path / "runs.json"
    with aind_session.sandbox(catalogue) as box:
        world = World(box)
        noted = box.launches.on_run
        assert noted is not None

        def kill(computation: dict[str, Any]) -> None:
            noted(computation)
            if len(world.started) == 5:
                # It is started, and its answer is lost.
                child.send_signal(signal.SIGKILL)
                child.wait()

        box.launches.on_run = kill
        command = [sys.executable, "-c", CHILD, CAPSULE, str(path), *(s.id for s in sessions)]
        child = subprocess.Popen(command)
        assert child.wait(60) == -signal.SIGKILL
        assert aind_session.read_run(path).counts["starting"] == 8
        with use_clock(world):
            report = aind_session.resume_run(path)
    assert report.counts == {"done": 8}
    assert Counter(start.session for start in world.started) == Counter(s.id for s in sessions)
    assert world.captured == Counter(s.id for s in sessions)
