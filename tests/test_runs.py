"""Runs over sessions: what is planned, started, waited for, captured and shared."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session.clock import use_clock
from aind_session.errors import (
    CredentialsError,
    InvalidFilterError,
    InvalidIdentifierError,
    NotFoundError,
    ServiceError,
)
from aind_session.runs import Mount, Parameter, RunReport
from aind_session.sandbox import Catalogue
from aind_session.services.codeocean import CodeOceanNotFoundError
from conducted import CAPSULE, LABEL, World, add_result, add_running, cohort, each_once, ids, raw_id

GROUP = {"groups": [{"group": "g", "role": "viewer"}]}


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


# -- the plan --------------------------------------------------------------------------------------


def test_run_dry_shows_why_each_session_is_left_out(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions
) -> None:
    good, failed, running, missing, unknown, plain = (session.id for session in sessions)
    add_result(catalogue, good, "dlc_eye")
    add_result(catalogue, good, "dlc-face")
    add_result(catalogue, failed, log="Command error:\n")
    under_way = add_running(catalogue, running)
    hidden = add_result(catalogue, unknown)
    catalogue.data_assets[:] = [a for a in catalogue.data_assets if a["name"] != missing]
    result = next(a for a in catalogue.data_assets if a["name"] == hidden)
    world.box.fail(path=f"{result['id']}", times=None)
    plan = sessions.run(CAPSULE, label=LABEL, dry_run=True)
    assert [one.action for one in plan.sessions] == [
        *("good", "start", "running", "missing", "unknown", "start")
    ]
    assert ids(plan.starts) == [failed, plain]
    assert f"has {good}_dlc_eye_2024-06-01_12-00-00" in plan.sessions[0].why
    assert under_way in plan.sessions[2].why
    assert "no raw data asset" in plan.sessions[3].why
    assert "503" in plan.sessions[4].why
    assert plan.starts[0].mounts == (Mount(raw_id(catalogue, failed), failed),)
    assert world.box.launched == []
    lines = str(plan).splitlines()
    assert lines[0].split() == ["session", "action", "mounts", "why"]
    assert len(lines) == 8
    assert lines[-1] == "2 start, 1 good, 1 running, 1 missing, 1 unknown"
    world.box.heal()
    again = sessions.run(CAPSULE, label=LABEL, dry_run=True)
    assert again != plan
    assert again == sessions.run(CAPSULE, label=LABEL, dry_run=True)
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_run_dry_uses_current_answers(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions
) -> None:
    assert sessions.run(CAPSULE, label=LABEL, dry_run=True).skipped == ()
    add_result(catalogue, sessions[3].id)
    plan = sessions.run(CAPSULE, label=LABEL, dry_run=True)
    assert ids(plan.skipped) == [sessions[3].id]


def test_run_result_of_another_label_does_not_count(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions
) -> None:
    add_result(catalogue, sessions[0].id, "dlc-eye")
    assert sessions[:1].run(CAPSULE, label="dlc", dry_run=True).starts
    assert sessions[:1].run(CAPSULE, label="DLC_eye", dry_run=True).skipped
    assert sessions[:1].run(CAPSULE, dry_run=True).starts


def test_run_workstation_does_not_count_as_running(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions
) -> None:
    add_running(catalogue, sessions[0].id, cloud_workstation=True)
    assert ids(sessions[:1].run(CAPSULE, dry_run=True).starts) == [sessions[0].id]


def test_run_equal_computations_are_started_once(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions
) -> None:
    plan = sessions.run(CAPSULE, attach=raw_id(catalogue, sessions[0].id), dry_run=True)
    assert [one.action for one in plan.sessions] == ["start", *["same"] * 5]
    plan = sessions.run(
        CAPSULE,
        parameters=lambda session: [session.id],
        attach=raw_id(catalogue, sessions[0].id),
        dry_run=True,
    )
    assert len(plan.starts) == 6
    assert len((sessions + sessions).run(CAPSULE, dry_run=True).sessions) == 6


def test_run_function_that_finds_nothing_leaves_the_session_out(
    world: World, sessions: aind_session.Sessions
) -> None:
    def attach(session: aind_session.Session) -> str:
        if session == sessions[0]:
            raise NotFoundError("no table of contents")
        return str(session.raw_data_asset.id)

    plan = sessions.run(CAPSULE, attach=attach, dry_run=True)
    assert [(one.session, one.why) for one in plan.skipped] == [
        (sessions[0].id, "no table of contents")
    ]


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        (["a", 1, True], {"parameters": ["a", "1", "true"]}),
        ({"n": 2.5}, {"named_parameters": [{"param_name": "n", "value": "2.5"}]}),
        (
            lambda session: [session.subject_id, Parameter("x", "n")],
            {"parameters": ["800000"], "named_parameters": [{"param_name": "n", "value": "x"}]},
        ),
    ],
    ids=["by position", "by name", "of a function"],
)
def test_run_parameters_are_sent_as_planned(
    parameters: Any,
    sent: dict[str, Any],
    world: World,
    sessions: aind_session.Sessions,
    state: Path,
) -> None:
    plan = sessions[:1].run(CAPSULE, parameters, dry_run=True)
    report = sessions[:1].run(CAPSULE, parameters, state=state)
    (request,) = [r for r in world.box.requests if r.path.endswith("/v1/computations")]
    body = {k: v for k, v in request.json().items() if v is not None}
    assets = [{"id": m.id, "mount": m.mount} for m in plan.starts[0].mounts]
    assert body == {"capsule_id": CAPSULE, "data_assets": assets, **sent}
    assert report.happened == plan
    assert report.counts == {"done": 1}
    assert world.captured == {}, "without a label nothing is captured"


def test_run_attach_accepts_all_kinds_of_assets(
    world: World, sessions: aind_session.Sessions
) -> None:
    asset, other = sessions[1].raw_data_asset, sessions[2].raw_data_asset.id
    given: list[tuple[Any, list[Mount]]] = [
        (other, [Mount(other)]),
        (asset, [Mount(asset.id, asset.name)]),
        ({"raw": asset, "model": other}, [Mount(asset.id, "raw"), Mount(other, "model")]),
        ([asset, other, other], [Mount(asset.id, asset.name), Mount(other)]),
        (None, [Mount(sessions[0].raw_data_asset.id, sessions[0].id)]),
    ]
    for attach, mounts in given:
        plan = sessions[:1].run(CAPSULE, attach=attach, dry_run=True)
        assert plan.starts[0].mounts == tuple(mounts)


@pytest.mark.parametrize(
    "options",
    [
        {"at_once": 0},
        {"per_minute": 0},
        {"retries": -1},
        {"poll_seconds": float("nan")},
        {"label": "a/b"},
        {"label": "x_2024-01-01"},
        {"label": ""},
        {"parameters": "text"},
        {"parameters": [None]},
        {"attach": 3},
        {"attach": [Mount("a", "m"), Mount("b", "m")]},
        {"share": {"everyone": "nobody"}},
    ],
    ids=str,
)
def test_run_invalid_options_raise_and_start_nothing(
    options: dict[str, Any], world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    with pytest.raises(InvalidFilterError):
        sessions.run(CAPSULE, state=state, **options)
    assert world.started == []
    assert not list(state.parent.iterdir())


def test_run_unknown_capsule_raises(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    with pytest.raises(CodeOceanNotFoundError, match="no capsule or pipeline 'nothing-of-this-id'"):
        sessions.run("nothing-of-this-id", dry_run=True)
    odd: Any
    for odd in (None, "", "a/../b"):
        with pytest.raises(InvalidIdentifierError, match="not a valid ID of a capsule"):
            sessions.run(odd, dry_run=True)
    with pytest.raises(CodeOceanNotFoundError):
        sessions.run("nothing-of-this-id", state=state)
    assert not list(state.parent.iterdir())


# -- results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "permissions"),
    [
        (False, None),
        (True, {"everyone": "viewer"}),
        (
            {"groups": [{"group": "g", "role": "viewer"}]},
            {"groups": [{"group": "g", "role": "viewer"}]},
        ),
    ],
    ids=["not shared", "with everyone", "with a group"],
)
def test_run_results_have_standard_names_tags_and_metadata(
    share: Any, permissions: Any, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    assert sessions[0].get_derived_data_assets(LABEL) == ()
    report = sessions.run(
        CAPSULE, label=LABEL, state=state, share=share, tags=["pilot"], custom_metadata={"a": "b"}
    )
    assert report.counts == {"done": 6}
    each_once(world, sessions)
    # What was known before does not hide them.
    (asset,) = sessions[0].get_derived_data_assets(LABEL)
    assert re.fullmatch(rf"{sessions[0].id}_{LABEL}_\d{{4}}-\d\d-\d\d_\d\d-\d\d-\d\d", asset.name)
    assert asset.tags == ["derived", "800000", "ecephys", "pilot"]
    assert asset.custom_metadata == {
        "data level": "derived",
        "experiment type": "ecephys",
        "subject id": "800000",
        "a": "b",
    }
    assert (asset.mount, str(asset.state)) == (asset.name, "ready")
    assert asset.made_by.computation == report.sessions[0].computations[0]
    assert report.sessions[0].asset_id == asset.id
    assert asset.provenance_chain == (sessions[0].raw_data_asset,)
    made = next(a for a in world.box.launched if a["id"] == asset.id)
    assert made.get("_permissions") == permissions


def test_run_failed_computations_are_retried(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    once, twice, log, *_ = (session.id for session in sessions)
    world.fates = {once: ("failed", "good"), twice: ("failed",), log: ("bad log",)}
    report = sessions.run(CAPSULE, label=LABEL, state=state, retries=1)
    assert [world.starts_of(session.id) for session in sessions] == [2, 2, 2, 1, 1, 1]
    assert ids(report.failed) == [twice, log]
    assert "ended as failed" in report.failed[0].why
    assert "log" in report.failed[1].why
    world.fates = {}
    assert aind_session.resume_run(state) == report, "nothing more is allowed"
    again = aind_session.resume_run(state, retries=2)
    assert again.counts == {"done": 6}
    assert [world.starts_of(session.id) for session in sessions] == [2, 3, 3, 1, 1, 1]
    assert aind_session.read_run(state) == again
    assert max(world.captured.values()) == 1


def test_run_at_once_limits_computations(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.steps = (0, 1, 2)
    report = sessions.run(CAPSULE, label=LABEL, state=state, at_once=2, per_minute=None)
    assert report.counts == {"done": 6}
    assert world.most_at_once == 2


def test_run_without_waiting_leaves_the_rest_to_resume(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    report = sessions.run(CAPSULE, label=LABEL, state=state, at_once=4, wait=False)
    assert report.counts == {"running": 4, "waiting": 2}
    assert not report.is_complete
    assert world.slept == []
    assert [one.action for one in report.happened.sessions] == ["start"] * 4 + ["waiting"] * 2
    assert aind_session.resume_run(state, at_once=6).counts == {"done": 6}
    each_once(world, sessions)


def test_resume_keeps_the_pace(world: World, sessions: aind_session.Sessions, state: Path) -> None:
    sessions.run(CAPSULE, label=LABEL, state=state, per_minute=2, wait=False)
    assert aind_session.resume_run(state).counts == {"done": 6}
    assert world.most_in_a_minute == 2


def test_run_session_started_by_another_process_is_skipped(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    noted = world.box.launches.on_run
    assert noted is not None
    late = sessions[5].id

    def start_another(computation: dict[str, Any]) -> None:
        noted(computation)
        if len(world.started) == 1:
            add_running(catalogue, late)

    world.box.launches.on_run = start_another
    plan = sessions.run(CAPSULE, label=LABEL, dry_run=True)
    report = sessions.run(CAPSULE, label=LABEL, state=state, at_once=1)
    assert report.counts == {"done": 5, "skipped": 1}
    assert report.happened != plan
    assert ids(report.happened.skipped) == [late]
    each_once(world, sessions[:5])


def test_resume_deleted_computation_has_failed(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    report = sessions[:1].run(CAPSULE, label=LABEL, state=state, wait=False)
    catalogue.computations[:] = []
    report = aind_session.resume_run(state)
    assert [one.why.split(" (")[0] for one in report.failed] == ["the computation was deleted"]


# -- requests that are sent once -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/computations$", "/data_assets$"], ids=["start", "capture"])
@pytest.mark.parametrize(
    ("kind", "is_done"),
    [("truncate", True), ("reset", False), ("status", False)],
    ids=["half an answer", "no answer", "a gateway's error"],
)
def test_run_lost_answer_is_resolved_by_a_search(
    path: str,
    kind: str,
    is_done: bool,
    world: World,
    sessions: aind_session.Sessions,
    state: Path,
) -> None:
    world.box.fail("codeocean", path, "POST", kind=kind, times=2, status=502)
    report = sessions[:3].run(CAPSULE, label=LABEL, state=state, poll_seconds=10)
    assert report.counts == {"done": 3}
    each_once(world, sessions[:3])
    sent = [r for r in world.box.requests if re.search(path, r.path) and r.method == "POST"]
    # What was started is found; what was not is sent again, when Code Ocean has had its time.
    assert len(sent) == (3 if is_done else 5)


def test_run_older_computation_is_not_taken_for_the_lost_start(
    catalogue: Catalogue, world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    old = add_running(catalogue, sessions[0].id, state="completed", end_status="succeeded")
    world.box.fail("codeocean", "/computations$", "POST", kind="reset")
    report = sessions[:1].run(CAPSULE, label=LABEL, state=state)
    assert report.counts == {"done": 1}
    assert report.sessions[0].computations != (old,)
    each_once(world, sessions[:1])


def test_run_start_that_never_shows_fails_after_several(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/computations$", "POST", kind="reset", times=None)
    report = sessions[:1].run(CAPSULE, label=LABEL, state=state)
    assert "started nothing" in report.failed[0].why
    assert report.happened.sessions[0].action == "refused"
    assert world.started == []


def test_run_refused_start_is_not_sent_again(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/computations$", "POST", status=400)
    report = sessions[:2].run(CAPSULE, label=LABEL, state=state, retries=3)
    assert ids(report.failed) == [sessions[0].id]
    assert "broken on purpose: 400" in report.failed[0].why
    assert world.starts_of(sessions[0].id) == 0


def test_run_too_many_requests_are_sent_later(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/(computations|data_assets)$", "POST", status=429, times=2)
    assert sessions.run(CAPSULE, label=LABEL, state=state).counts == {"done": 6}
    each_once(world, sessions)


def test_resume_captures_results_that_failed_to_be_captured(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/data_assets$", "POST", status=400)
    report = sessions[:1].run(CAPSULE, label=LABEL, state=state)
    assert "not captured" in report.failed[0].why
    assert aind_session.resume_run(state).counts == {"done": 1}
    each_once(world, sessions[:1])


def test_run_result_that_cannot_be_shared_is_done_with_the_reason(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/permissions$", status=403, times=None)
    report = sessions[:1].run(CAPSULE, label=LABEL, state=state, share=True)
    assert report.counts == {"done": 1}
    assert report.sessions[0].why.startswith("not shared: ")


def test_run_refused_token_raises_and_resume_continues(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    world.box.fail("codeocean", "/computations$", "POST", status=401, after=2)
    probe = world.box.fail("codeocean", "/search$", status=401, times=None)
    # The plan needs its searches.
    probe.after = 10**6
    noted = world.box.launches.on_run
    assert noted is not None

    def then_refuse(computation: dict[str, Any]) -> None:
        noted(computation)
        probe.after = 0

    world.box.launches.on_run = then_refuse
    with pytest.raises(CredentialsError):
        sessions.run(CAPSULE, label=LABEL, state=state)
    assert aind_session.read_run(state).counts == {"running": 2, "waiting": 4}
    world.box.heal()
    assert aind_session.resume_run(state).counts == {"done": 6}
    each_once(world, sessions)


def test_run_hour_without_answers_raises_and_resume_continues(
    world: World, sessions: aind_session.Sessions, state: Path
) -> None:
    sessions.run(CAPSULE, label=LABEL, state=state, wait=False)
    before = world.now
    with world.box.down("codeocean"), pytest.raises(ServiceError, match="503"):
        aind_session.resume_run(state, poll_seconds=600)
    assert 3600 <= world.now - before < 7200
    assert aind_session.resume_run(state).counts == {"done": 6}
    each_once(world, sessions)


# -- a service that is slow to show ----------------------------------------------------------------


@pytest.mark.parametrize("shown_after", [30, 59])
def test_run_start_that_is_listed_late_is_not_repeated(
    shown_after: int,
    catalogue: Catalogue,
    world: World,
    sessions: aind_session.Sessions,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing: Callable[..., Any] = world.box.codeocean._list_computations
    begun = world.now
    world.steps = (0, 0, 0, 1)

    def late(asked: Any, capsule: str) -> Any:
        return listing(asked, capsule) if world.now - begun > shown_after else []

    monkeypatch.setattr(world.box.codeocean, "_list_computations", late)
    world.box.fail("codeocean", "/computations$", "POST", kind="truncate")
    report: RunReport = sessions[:2].run(
        CAPSULE, label=LABEL, state=state, poll_seconds=5, at_once=1
    )
    assert report.counts == {"done": 2}
    each_once(world, sessions[:2])
    assert world.most_at_once == 1, "what may run takes its place"
