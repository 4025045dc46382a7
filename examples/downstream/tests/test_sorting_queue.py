"""The queue, in invented worlds: without requests to a live service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import aind_session
import sorting_queue

if TYPE_CHECKING:
    from aind_session.sandbox import Sandbox

SORTED = "ecephys_999901_2024-01-01_10-00-00"
RUNNING = "ecephys_999901_2024-01-02_10-00-00"
FAILED = "ecephys_999901_2024-01-03_10-00-00"
WAITING = "ecephys_999902_2024-01-01_10-00-00"


@pytest.fixture
def world(aind_sandbox: Sandbox) -> Sandbox:
    """Four sessions of two subjects, each in another state."""
    aind_sandbox.add_session(SORTED, sorted_by="kilosort4")
    aind_sandbox.add_session(RUNNING, sorting_now=True)
    aind_sandbox.add_session(FAILED, sorted_by="kilosort2_5", failed=True)
    aind_sandbox.add_session(WAITING, generation="v2")
    aind_sandbox.add_session("ecephys_999902_2024-01-02_10-00-00", uploaded=False)
    aind_sandbox.add_session("behavior_999902_2024-01-03_10-00-00", modalities=["behavior"])
    return aind_sandbox


def ids(sessions: tuple[aind_session.Session, ...]) -> list[str]:
    return [session.id for session in sessions]


def test_sessions_are_grouped_by_state(world: Sandbox) -> None:
    queue = sorting_queue.look_at(999901, 999902)
    assert ids(queue.sorted) == [SORTED]
    assert ids(queue.running) == [RUNNING]
    assert ids(queue.waiting) == [WAITING, FAILED]


def test_queue_of_an_unknown_subject_is_empty() -> None:
    assert sorting_queue.start(sorting_queue.Queue((), (), ())) == ()


def test_start_starts_waiting_sessions_once(world: Sandbox) -> None:
    started = sorting_queue.start(sorting_queue.look_at(999902))
    triggers = [run for run in world.launched if run["id"] in started]
    raw = aind_session.Session(WAITING).raw_data_asset
    assert [[p["value"] for p in run["parameters"]] for run in triggers] == [
        ["ecephys_ks4", raw.id]
    ]
    world.reset()
    assert ids(sorting_queue.look_at(999902).running) == [WAITING]


def test_failed_request_is_repeated(world: Sandbox) -> None:
    world.fail("codeocean", path="search", status=503, headers={"Retry-After": "0"})
    assert ids(sorting_queue.look_at(999901).sorted) == [SORTED]


def test_service_that_is_down_raises(aind_sandbox: Sandbox) -> None:
    aind_sandbox.add_session(SORTED, sorted_by="kilosort4")
    with aind_sandbox.down("docdb", status=400), pytest.warns(aind_session.PartialAnswerWarning):
        assert ids(sorting_queue.look_at(999901).sorted) == [SORTED]


def test_sorting_that_cannot_be_checked_raises(world: Sandbox) -> None:
    # A sorting that only DocDB links would be missed: the session cannot be reported as waiting.
    with (
        world.down("docdb", status=400),
        pytest.warns(aind_session.PartialAnswerWarning),
        pytest.raises(aind_session.ServiceError),
    ):
        sorting_queue.look_at(999902)


def test_look_at_sends_few_requests(world: Sandbox) -> None:
    sorting_queue.look_at(999901)
    assert world.count() <= 40


@pytest.mark.aind_sandbox("bundled")
def test_documented_sessions_are_sorted(aind_sandbox: Sandbox) -> None:
    queue = sorting_queue.look_at(676909)
    assert ids(queue.sorted) == ["ecephys_676909_2023-12-13_13-43-40"]
    assert len(queue.waiting) == 2


def test_attached_folders_come_first(
    world: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = aind_session.Session(SORTED)
    monkeypatch.setenv("AIND_SESSION_DATA_DIR", str(tmp_path))
    assert sorting_queue.folders_of(session) == (f"s3://aind-open-data/{SORTED}",)
    (tmp_path / SORTED).mkdir()
    assert sorting_queue.folders_of(session) == ((tmp_path / SORTED).as_posix(),)
