"""Runs that go on from what is written: of which request it is not known what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session.clock import use_clock
from aind_session.errors import ServiceError
from aind_session.sandbox.server import Request, Response
from conducted import CAPSULE, LABEL, World, add_result, add_running, cohort, raw_id

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def world() -> Iterator[World]:
    with aind_session.sandbox(cohort(2, 1)[0]) as box:
        made = World(box)
        with use_clock(made):
            yield made


@pytest.fixture
def sessions() -> aind_session.Sessions:
    return cohort(2, 1)[1]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "runs.json"


def rewrite(state: Path, *edits: Edit) -> None:
    """Edit the state's sessions, one after the other."""
    whole = json.loads(state.read_text())
    for item, edit in zip(whole["items"], edits, strict=False):
        edit(item)
    state.write_text(json.dumps(whole))


def never_answered(item: dict[str, Any]) -> None:
    """Write a start as a kill leaves it: intended, sent or not."""
    item["status"] = "starting"
    item["attempts"][-1].update(computation=None, sent=None)


def not_captured(item: dict[str, Any]) -> None:
    item["status"] = "capturing"
    item["result"].update(asset=None, ready=False)


# -- starts ----------------------------------------------------------------------------------------


def test_resume_start_left_open_by_a_kill_counts_as_sent_now(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    sessions.run(CAPSULE, state=state, at_once=1, per_minute=1, wait=False)
    rewrite(state, never_answered)
    # Intended long ago, and sent at the last moment.
    world.now += 1000
    killed = world.now
    assert aind_session.resume_run(state, at_once=2).counts == {"done": 2}
    assert world.started[-1].at - killed >= 60


def test_resume_computation_with_more_assets_is_not_taken_for_one_with_fewer(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    raw = [raw_id(world.box.catalogue, session.id) for session in sessions]
    attach = {sessions[0].id: raw[:1], sessions[1].id: raw}
    started = sessions.run(
        CAPSULE, attach=lambda session: attach[session.id], state=state, wait=False
    )
    (lost,), (kept,) = (one.computations for one in started.sessions)
    catalogue = world.box.catalogue
    catalogue.computations[:] = [c for c in catalogue.computations if c["id"] != lost]
    # Known or not to be the other session's.
    for second in (never_answered, lambda item: None):
        rewrite(state, never_answered, second)
        report = aind_session.resume_run(state, wait=False)
        assert report.sessions[0].computations == ()
        assert report.sessions[1].computations == (kept,)


def test_resume_start_that_shows_after_another_was_refused_is_taken(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/computations$", "POST", kind="reset")
    report = sessions[:1].run(CAPSULE, state=state, wait=False)
    assert report.counts == {"starting": 1}
    world.box.fail("codeocean", "/computations$", "POST", status=429)
    again = aind_session.resume_run(state, wait=False, restart_unconfirmed=True)
    assert again.counts == {"waiting": 1}
    late = add_running(world.box.catalogue, sessions[0].id)
    assert aind_session.resume_run(state, wait=False).sessions[0].computations == (late,)
    assert world.started == []


@pytest.mark.parametrize(("setting", "least"), [("", 600), ("1200", 1200)])
def test_resume_unconfirmed_start_waits_by_the_clock_of_its_own_process(
    setting: str,
    least: float,
    world: World,
    sessions: aind_session.Sessions,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIND_SESSION_UNCONFIRMED_SECONDS", setting)
    world.box.fail("codeocean", "/computations$", "POST", kind="reset")
    sessions[:1].run(CAPSULE, state=state, wait=False)
    # A wall clock that jumps, and processes that do not wait, confirm nothing.
    for _ in range(3):
        world.now += 10_000
        assert aind_session.resume_run(state, wait=False).counts == {"starting": 1}
    begun = world.now
    assert aind_session.resume_run(state).counts == {"done": 1}
    assert world.started[0].at - begun >= least


def test_resume_restart_unconfirmed_starts_again_at_once(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/computations$", "POST", kind="reset")
    sessions[:1].run(CAPSULE, state=state, wait=False)
    report = aind_session.resume_run(state, wait=False, restart_unconfirmed=True)
    assert report.counts == {"running": 1}
    assert len(world.started) == 1


@pytest.mark.parametrize("hidden", ["null", "missing"])
@pytest.mark.parametrize("named", [True, False], ids=["parameters name it", "nothing names it"])
def test_run_listed_computation_without_data_assets_is_a_candidate(
    hidden: str,
    named: bool,
    world: World,
    sessions: aind_session.Sessions,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = world.box.codeocean
    listing: Callable[..., Any] = service._list_computations
    single: Callable[..., Any] = service._get

    def without_assets(computation: dict[str, Any]) -> dict[str, Any]:
        shown = {k: v for k, v in computation.items() if k != "data_assets"}
        return shown | ({"data_assets": None} if hidden == "null" else {})

    monkeypatch.setattr(
        service, "_list_computations", lambda *a: list(map(without_assets, listing(*a)))
    )
    monkeypatch.setattr(service, "_get", lambda *a: without_assets(single(*a)))
    world.box.fail("codeocean", "/computations$", "POST", kind="truncate")
    report = sessions[:1].run(CAPSULE, [sessions[0].id] if named else ["fast"], state=state)
    assert world.starts_of(sessions[0].id) == 1
    assert report.counts == ({"done": 1} if named else {"starting": 1})
    if not named:
        assert world.started[0].computation in report.sessions[0].why
        again = aind_session.resume_run(state, restart_unconfirmed=True)
        assert again.counts == {"done": 1}
        assert world.starts_of(sessions[0].id) == 2


#: Ways in which a computation of a list cannot be read.
UNREADABLE: dict[str, Callable[[dict[str, Any]], str]] = {
    "no ID": lambda c: json.dumps({k: v for k, v in c.items() if k != "id"}),
    "surrogate": lambda c: json.dumps(c | {"name": "x"}).replace('"x"', '"\\ud800"'),
    "deep": lambda c: json.dumps(c | {"name": "x"}).replace('"x"', "[" * 100_000 + "]" * 100_000),
}


@pytest.fixture(params=UNREADABLE)
def garbled(request: pytest.FixtureRequest, world: World) -> set[str]:
    """Return the set of the IDs whose computations cannot be read in a list."""
    chosen: set[str] = set()

    def garble(computation: dict[str, Any]) -> str:
        is_chosen = computation["id"] in chosen
        return UNREADABLE[request.param](computation) if is_chosen else json.dumps(computation)

    edit_lists(world, garble)
    return chosen


def edit_lists(world: World, edit: Callable[[dict[str, Any]], str]) -> None:
    """Change each computation of each list."""

    def change(service: str, answer: Callable[[Request], Response], request: Request) -> Response:
        response = answer(request)
        if request.method != "GET" or not request.path.endswith("/computations"):
            return response
        listed = ",".join(map(edit, json.loads(response.body)))
        return replace(response, body=f"[{listed}]".encode())

    world.box.middleware.intercept(change)


#: Data assets as a computation in progress shows them: in a list, and if requested alone.
HIDDEN: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], bool]] = {
    "one without an ID": (lambda c: c | {"data_assets": [*c["data_assets"], {"mount": "x"}]}, True),
    "null": (lambda c: c | {"data_assets": None}, False),
    "missing": (lambda c: {k: v for k, v in c.items() if k != "data_assets"}, False),
}
NOT_READ = "a computation of the capsule cannot be read, and may belong to this session"


def count_single(world: World) -> int:
    """Return how many requests asked for one computation."""
    return sum(r.method == "GET" and "/computations/running-" in r.path for r in world.box.requests)


@pytest.mark.parametrize("kind", HIDDEN)
@pytest.mark.parametrize("everywhere", [False, True], ids=["in lists", "everywhere"])
def test_run_computation_in_progress_with_hidden_data_assets_is_not_started_again(
    kind: str, everywhere: bool, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    hide, shows_own = HIDDEN[kind]
    catalogue, (first, second) = world.box.catalogue, sessions
    # One starts; the other has to wait until a computation of it, of another process, shows up.
    sessions[::-1].run(CAPSULE, label=LABEL, state=state, at_once=1, wait=False)
    running = add_running(catalogue, first.id)
    (found,) = (c for c in catalogue.computations if c["id"] == running)
    if everywhere:
        shown = dict(found)
        found.clear()
        found.update(hide(shown))
    else:
        edit_lists(world, lambda c: json.dumps(hide(c) if c["id"] == running else c))
    is_known = shows_own or not everywhere
    action, why = (
        ("running", f"computation {running} is running") if is_known else ("unknown", NOT_READ)
    )
    before = count_single(world)
    plan = sessions.run(CAPSULE, dry_run=True)
    assert (plan.sessions[0].action, plan.sessions[0].why) == (action, why)
    # Once for all sessions, which have no other one in common.
    assert count_single(world) - before == 1
    report = aind_session.resume_run(state, at_once=2, wait=False)
    assert [one.action for one in report.happened.sessions] == ["start", action]
    assert [(one.status, one.why) for one in report.sessions] == [("running", ""), ("skipped", why)]
    assert world.starts_of(first.id) == 0
    found.update(state="failed", end_status="failed")
    assert aind_session.resume_run(state).counts == {"done": 2}
    assert [world.starts_of(one.id) for one in (first, second)] == [1, 1]


def test_run_computation_without_an_answer_delays_the_starts(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    sessions[::-1].run(CAPSULE, state=state, at_once=1, wait=False)
    running = add_running(world.box.catalogue, sessions[0].id)
    edit_lists(world, lambda c: json.dumps(HIDDEN["null"][0](c) if c["id"] == running else c))
    world.box.fail("codeocean", f"/computations/{running}$", "GET", status=500, times=None)
    report = aind_session.resume_run(state, at_once=2, wait=False)
    assert report.counts == {"running": 1, "waiting": 1}
    world.box.heal()
    report = aind_session.resume_run(state, at_once=2, wait=False)
    assert report.sessions[1].why == f"computation {running} is running"
    assert world.starts_of(sessions[0].id) == 0


def test_run_unreadable_computation_is_not_taken_for_none(
    garbled: set[str], world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    catalogue, (first, second) = world.box.catalogue, (session.id for session in sessions)
    running = add_running(catalogue, first)
    garbled.add(running)
    # A list in which nothing can be read is an error; this one is readable.
    add_running(catalogue, second, id="ended", state="completed", end_status="succeeded")
    plan = sessions.run(CAPSULE, label=LABEL, dry_run=True)
    assert [one.action for one in plan.sessions] == ["unknown", "start"]
    assert "cannot be read" in plan.sessions[0].why
    report = sessions.run(CAPSULE, label=LABEL, state=state)
    assert report.counts == {"skipped": 1, "done": 1}
    ended = next(c for c in catalogue.computations if c["id"] == running)
    ended.update(state="failed", end_status="failed")
    # It has ended, readable or not: it is not in progress.
    assert aind_session.resume_run(state).counts == {"done": 2}
    assert world.starts_of(first) == 1


def test_resume_unreadable_computation_may_be_the_unconfirmed_one(
    garbled: set[str], world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    add_running(world.box.catalogue, sessions[1].id, state="completed", end_status="succeeded")
    world.box.fail("codeocean", "/computations$", "POST", kind="truncate")
    sessions[:1].run(CAPSULE, state=state, wait=False)
    garbled.add(world.started[0].computation)
    report = aind_session.resume_run(state)
    assert report.counts == {"starting": 1}
    assert "cannot be read" in report.sessions[0].why
    assert world.starts_of(sessions[0].id) == 1
    garbled.clear()
    assert aind_session.resume_run(state).counts == {"done": 1}
    assert world.starts_of(sessions[0].id) == 1


@pytest.mark.parametrize("odd", [["an ID"], [{"id": None}], {}, 7], ids=str)
def test_run_odd_data_assets_of_a_computation_do_not_prove_absence(
    odd: object, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    edit_lists(world, lambda computation: json.dumps(computation | {"data_assets": odd}))
    world.box.fail("codeocean", "/computations$", "POST", kind="truncate")
    # The computation itself shows what the list does not.
    report = sessions[:1].run(CAPSULE, state=state)
    assert report.counts == {"done": 1}
    assert world.starts_of(sessions[0].id) == 1


def test_run_intent_to_send_again_is_written(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    noted = world.box.launches.on_run
    assert noted is not None
    written: list[Any] = []

    def read(computation: dict[str, Any]) -> None:
        noted(computation)
        (item,) = json.loads(state.read_text())["items"]
        written.append((item["status"], item["attempts"][-1]["sent"]))

    world.box.launches.on_run = read
    world.box.fail("codeocean", "/computations$", "POST", kind="reset")
    assert sessions[:1].run(CAPSULE, state=state).counts == {"done": 1}
    assert written == [("starting", None)]


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("told_by", ["name", "computation"])
def test_resume_finds_a_result_by_name_or_computation(
    told_by: str, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    report = sessions[:1].run(CAPSULE, label=LABEL, state=state)
    rewrite(state, not_captured)
    asset = next(a for a in world.box.launched if "tags" in a)
    if told_by == "name":
        asset["provenance"] = {}
    else:
        asset["name"] = f"{sessions[0].id}_renamed_2024-06-01_12-00-00"
    again = aind_session.resume_run(state)
    assert again.sessions[0].asset_id == report.sessions[0].asset_id
    assert again.sessions[0].asset_name == asset["name"]
    assert len([a for a in world.box.launched if "tags" in a]) == 1


def test_resume_uncaptured_result_keeps_its_name(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/data_assets$", "POST", kind="reset")
    report = sessions[:1].run(CAPSULE, label=LABEL, state=state, poll_seconds=0, wait=False)
    world.advance()
    report = aind_session.resume_run(state, wait=False)
    assert report.counts == {"capturing": 1}
    name = report.sessions[0].asset_name
    assert aind_session.resume_run(state).sessions[0].asset_name == name


def test_resume_failed_asset_is_reported_and_not_made_again(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    sessions[:1].run(CAPSULE, label=LABEL, state=state, wait=False)
    world.advance()
    aind_session.resume_run(state, wait=False)
    (asset,) = (a for a in world.box.launched if "tags" in a)
    asset["state"] = "failed"
    for _ in range(2):
        report = aind_session.resume_run(state, poll_seconds=0)
        assert "could not be created" in report.failed[0].why
    assert world.captured[sessions[0].id] == 1


@pytest.mark.parametrize("status", [429, 503])
def test_run_sharing_is_tried_again(
    status: int, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/permissions$", status=status, times=2)
    report = sessions[:1].run(CAPSULE, label=LABEL, state=state, share=True)
    assert [(one.status, one.why) for one in report.sessions] == [("done", "")]


# -- what is planned -------------------------------------------------------------------------------


def test_run_result_being_created_counts_as_running(
    world: World, sessions: aind_session.Sessions
) -> None:
    name = add_result(world.box.catalogue, sessions[0].id)
    next(a for a in world.box.catalogue.data_assets if a["name"] == name)["state"] = "draft"
    plan = sessions.run(CAPSULE, label=LABEL, dry_run=True)
    assert [one.action for one in plan.sessions] == ["running", "start"]
    assert "is being created" in plan.sessions[0].why


def test_run_incomplete_search_starts_nothing(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "data_assets/search", status=400, times=None)
    with pytest.raises(ServiceError), pytest.warns(aind_session.PartialAnswerWarning):
        sessions.run(CAPSULE, label=LABEL, state=state)
    assert world.started == []
    assert not list(state.parent.iterdir())


def test_run_finds_a_session_under_its_other_spelling(
    world: World, sessions: aind_session.Sessions
) -> None:
    other = aind_session.Sessions([aind_session.Session(sessions[0].id.partition("_")[2])])
    plan = other.run(CAPSULE, label=LABEL, dry_run=True)
    assert [mount.mount for one in plan.starts for mount in one.mounts] == [sessions[0].id]


def test_run_other_parameters_count_as_running_for_own_data(
    world: World, sessions: aind_session.Sessions
) -> None:
    value = [{"name": "", "param_name": "speed", "value": "slow"}]
    add_running(world.box.catalogue, sessions[0].id, parameters=value)
    plan = sessions.run(CAPSULE, {"speed": "fast"}, dry_run=True)
    assert [one.action for one in plan.sessions] == ["running", "start"]
    # If several sessions share them, the parameters decide whose it is.
    shared = raw_id(world.box.catalogue, sessions[0].id)
    plan = sessions.run(CAPSULE, lambda session: {"speed": session.id}, shared, dry_run=True)
    assert [one.action for one in plan.sessions] == ["start", "start"]


def test_run_version_and_profile_are_sent(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    options: dict[str, Any] = {"is_pipeline": True, "version": 3, "nextflow_profile": "slurm"}
    sessions[:1].run(CAPSULE, state=state, wait=False, **options)
    (sent,) = (r for r in world.box.requests if r.method == "POST" and "computations" in r.path)
    body = json.loads(sent.body)
    assert (body["pipeline_id"], body["version"]) == (CAPSULE, 3)
    assert body["nextflow_profile"] == "slurm"
    assert body["capsule_id"] is None
