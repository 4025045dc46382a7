"""Runs: functions of the user, the checks before each start, interruptions, files and HTML."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session.clock import use_clock
from aind_session.runs import RunStateError
from aind_session.sandbox import Catalogue
from aind_session.services import codeocean
from conducted import CAPSULE, LABEL, World, add_result, add_running, cohort, each_once, ids


@pytest.fixture
def catalogue() -> Catalogue:
    return cohort(2, 3)[0]


@pytest.fixture
def sessions() -> aind_session.Sessions:
    return cohort(2, 3)[1]


@pytest.fixture
def world(catalogue: Catalogue, sessions: aind_session.Sessions) -> Iterator[World]:
    with aind_session.sandbox(catalogue) as box:
        made = World(box)
        with use_clock(made):
            yield made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "runs.json"


def test_run_function_raises_row_in_dry_run_and_error_with_session_id(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    def broken(session: aind_session.Session) -> list[float]:
        return [1 / 0] if session == sessions[1] else []

    for options in ({"parameters": broken}, {"attach": broken}):
        plan = sessions[:2].run(CAPSULE, dry_run=True, **options)  # type: ignore[call-overload]
        assert [one.action for one in plan.sessions] == ["start", "error"]
        assert plan.sessions[1].why == "ZeroDivisionError: division by zero"
        assert plan.counts == {"start": 1, "error": 1}
        with pytest.raises(ZeroDivisionError) as caught:
            sessions.run(CAPSULE, state=state, **options)  # type: ignore[call-overload]
        assert sessions[1].id in "".join(traceback.format_exception(caught.value))
    assert world.started == []


def test_run_attach_returns_none_skips_the_session(
    world: World, sessions: aind_session.Sessions
) -> None:
    asset = sessions[1].raw_data_asset.id
    plan = sessions[:2].run(
        CAPSULE, attach=lambda s: None if s == sessions[0] else asset, dry_run=True
    )
    assert [one.action for one in plan.sessions] == ["skip", "start"]
    assert "attach returned None" in plan.sessions[0].why


@pytest.mark.parametrize("absent", ["no-such-asset", "00000000-0000-4000-8000-000000000000"])
def test_run_attached_asset_does_not_exist_is_an_error_row(
    absent: str, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    raw = sessions[1].raw_data_asset.id

    def attach(session: aind_session.Session) -> str:
        return absent if session == sessions[0] else str(raw)

    plan = sessions[:2].run(CAPSULE, attach=attach, dry_run=True)
    assert [one.action for one in plan.sessions] == ["error", "start"]
    assert absent in plan.sessions[0].why
    report = sessions[:2].run(CAPSULE, attach=attach, state=state)
    assert ids(report.failed) == [sessions[0].id]
    assert report.happened == plan


# -- before each start -----------------------------------------------------------------------------


def test_resume_result_of_a_colleague_since_the_plan_skips_the_session(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    sessions.run(CAPSULE, label=LABEL, state=state, at_once=1, wait=False)
    name = add_result(catalogue, sessions[3].id)
    add_running(catalogue, sessions[4].id)
    world.box.reset()
    world.box.requests.clear()
    report = aind_session.resume_run(state, at_once=6, wait=False)
    assert [one.status for one in report.sessions] == [
        *("running", "running", "running", "skipped", "skipped", "running")
    ]
    assert name in report.sessions[3].why
    searches = [r for r in world.box.requests if r.path.endswith("data_assets/search")]
    assert len(searches) <= 2 * 2 + 2, "per subject, not per session"


def test_run_result_of_a_colleague_while_it_runs_skips_the_session(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    noted = world.box.launches.on_run
    assert noted is not None

    def finish_another(computation: dict[str, Any]) -> None:
        noted(computation)
        if len(world.started) == 1:
            add_result(catalogue, sessions[5].id)

    world.box.launches.on_run = finish_another
    report = sessions.run(CAPSULE, label=LABEL, state=state, at_once=1)
    assert report.counts == {"done": 5, "skipped": 1}
    assert report.happened.sessions[5].action == "good"


def test_resume_session_skipped_as_running_is_taken_up(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    add_running(catalogue, sessions[0].id)
    report = sessions[:2].run(CAPSULE, label=LABEL, state=state)
    assert report.counts == {"skipped": 1, "done": 1}
    assert aind_session.resume_run(state).counts == {"skipped": 1, "done": 1}
    running = next(c for c in catalogue.computations if c["id"].startswith("running-"))
    running.update(state="failed", end_status="failed")
    assert aind_session.resume_run(state).counts == {"done": 2}
    each_once(world, sessions[:2])


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_run_interrupted_among_starts_keeps_every_answer(
    interruption: type[BaseException], world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    noted = codeocean.run_capsule
    calls: list[int] = []

    def interrupted(params: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise interruption
        return noted(params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codeocean, "run_capsule", interrupted)
        with pytest.raises(interruption):
            sessions.run(CAPSULE, label=LABEL, state=state)
    counts = {"running": 2, "starting": 1, "waiting": 3}
    assert aind_session.read_run(state).counts == counts
    assert aind_session.resume_run(state).counts == {"done": 6}
    each_once(world, sessions)


def test_run_without_state_names_the_file_after_label_and_capsule(
    world: World, sessions: aind_session.Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sessions[:1].run(CAPSULE, label=LABEL)
    assert aind_session.resume_run().counts == {"done": 1}
    sessions[:1].run(CAPSULE, label="dlc-face")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"runs-dlc-eye-{CAPSULE}.json", f"runs-dlc-face-{CAPSULE}.json"]
    with pytest.raises(RunStateError, match=r"several state files.*dlc-eye.*dlc-face"):
        aind_session.read_run()


def test_plan_and_report_html_escapes_names(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    evil = "<script>alert(1)</script>"
    plan = sessions.run(CAPSULE, [evil], label=LABEL, dry_run=True)
    report = sessions[:1].run(CAPSULE, [evil], label=LABEL, state=state)
    for html in (plan._repr_html_(), report._repr_html_(), report.happened._repr_html_()):
        assert evil not in html
        assert sessions[0].id in html
    assert "&lt;script&gt;" in plan._repr_html_()
    assert repr(plan) == f"<RunPlan of {CAPSULE}: 6 start>"
