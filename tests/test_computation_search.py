"""Runs of a capsule or pipeline: every filter right, and quick over thousands of them."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aind_session
from aind_session.identifiers import parse_dates
from aind_session.lookup import computations
from aind_session.sandbox import Catalogue, Sandbox
from aind_session.services import codeocean

PIPELINE = "11111111-1111-4111-8111-111111111111"
ASSET = "22222222-2222-4222-8222-222222222222"
DAY = int(datetime.datetime(2024, 5, 2, 12, 0, 0).timestamp())

RUNS: dict[str, dict[str, Any]] = {
    "good": {"state": "completed", "end_status": "succeeded", "has_results": True},
    "empty": {"state": "completed", "end_status": "succeeded", "has_results": False},
    "stopped": {"state": "completed", "end_status": "stopped"},
    "failed": {"state": "failed", "has_results": False},
    "running": {"state": "running"},
    "starting": {"state": "initializing"},
    "finalizing": {"state": "finalizing", "has_results": True},
    "unheard of": {"state": "paused"},
}
NAMES = list(RUNS)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    catalogue = Catalogue()
    for number, (name, facts) in enumerate(RUNS.items()):
        # One run a day, at noon; every second one with the asset.
        known = {"id": f"run-{number}", "name": name, "created": DAY + 86_400 * number}
        attached = [{"id": ASSET, "mount": "a"}] if number % 2 else None
        run = {"owner": "o", "run_time": 1, "data_assets": attached, "_capsule": PIPELINE}
        added = catalogue.add_computation({**known, **run, **facts})
        if "has_results" not in facts:
            # As the service tells it of runs that have not ended, and of some that were stopped.
            added.pop("has_results", None)
    catalogue.add_computation({"id": "other", "created": DAY, "_capsule": "other-capsule"})
    with aind_session.sandbox(catalogue) as serving:
        yield serving


def test_search_computations_unreadable_run_is_left_out(
    box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    for odd in ({"id": None}, {"id": ""}):
        box.catalogue.computations.append({"_capsule": PIPELINE, "created": DAY, **odd})
    assert names() == NAMES
    assert "without an ID" in caplog.text


def test_search_computations_odd_times_are_served(box: Sandbox, tmp_path: Path) -> None:
    for number, created in enumerate(("2024-05-01T00:00:00Z", None, float("inf"))):
        odd = {"id": f"odd-{number}", "name": "odd", "_capsule": PIPELINE, "created": created}
        box.catalogue.add_computation(odd)
        box.catalogue.add_asset({"name": f"behavior_000001_2024-05-0{number + 1}_10-00-00"} | odd)
    assert sorted(names()) == sorted([*NAMES, "odd", "odd", "odd"])
    box.catalogue.save(tmp_path)
    assert Catalogue.load(tmp_path).computations
    assert len(aind_session.search_data_assets({"query": "odd", "sort_field": "created"})) == 3


def names(**filters: Any) -> list[str]:
    return [run.name for run in aind_session.search_computations(PIPELINE, **filters)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, NAMES),
        ({"name": "good"}, ["good"]),
        ({"name": "goo"}, []),
        ({"name": ""}, NAMES),
        ({"attached_data_asset_id": ASSET}, NAMES[1::2]),
        ({"attached_data_asset_id": ASSET.replace("-", "").upper()}, NAMES[1::2]),
        ({"attached_data_asset_id": PIPELINE}, []),
        ({"has_results": True}, ["good", "finalizing"]),
        ({"has_results": False}, [n for n in NAMES if n not in ("good", "finalizing")]),
        ({"in_progress": True}, ["running", "starting", "finalizing", "unheard of"]),
        ({"in_progress": False}, ["good", "empty", "stopped", "failed"]),
        ({"computation_state": "completed"}, ["good", "empty", "stopped"]),
        ({"computation_state": "Running"}, ["running"]),
        ({"computation_state": "paused"}, ["unheard of"]),
        ({"computation_state": ""}, NAMES),
        ({"date": "2024-05-03"}, ["empty"]),
        ({"date": datetime.date(2024, 5, 4)}, ["stopped"]),
        ({"date": "2024-05"}, NAMES),
        ({"date": ""}, NAMES),
        ({"start_date": "2024-05-08"}, NAMES[6:]),
        ({"end_date": "2024-05-03"}, NAMES[:2]),
        ({"start_date": "2024-05-03", "end_date": "2024-05-05"}, NAMES[1:4]),
        ({"end_date": datetime.datetime(2024, 5, 3, 11, 59)}, NAMES[:1]),
        ({"end_date": "2024-05-03_12-00-00"}, NAMES[:2]),
        (
            {"attached_data_asset_id": ASSET, "in_progress": False, "has_results": False},
            ["empty", "failed"],
        ),
    ],
)
def test_search_computations_all_filters_must_hold(
    filters: dict[str, Any], expected: list[str], box: Sandbox
) -> None:
    assert names(**filters) == expected
    assert box.count() == 1


def test_search_computations_dates_with_zone_are_instants(box: Sandbox) -> None:
    noon = datetime.datetime.fromtimestamp(DAY + 86_400, datetime.timezone.utc)
    for hours in (14, -12):
        far = datetime.timezone(datetime.timedelta(hours=hours))
        assert names(end_date=noon.astimezone(far)) == NAMES[:2]
        assert names(start_date=noon.astimezone(far)) == NAMES[1:]
    assert names(end_date=noon - datetime.timedelta(minutes=1)) == NAMES[:1]


def test_search_computations_invalid_state_suggests_one(box: Sandbox) -> None:
    with pytest.raises(ValueError, match="Did you mean 'finalizing'"):
        names(computation_state="finalising")


def test_search_computations_attached_model_is_accepted(sandbox: Sandbox) -> None:
    pipeline = aind_session.ecephys.DEFAULT_SORTING_PIPELINE_ID
    asset = aind_session.Session("ecephys_676909_2023-12-13_13-43-40").raw_data_asset
    found = aind_session.search_computations(pipeline, attached_data_asset_id=asset)
    assert len(found) == 2
    assert {attached.id for run in found for attached in run.data_assets or ()} == {asset.id}


def test_search_computations_ttl_hash_requests_once(box: Sandbox) -> None:
    for name in ("good", "failed", "good"):
        assert names(name=name) == [name]
    assert box.count() == 3
    for name in ("good", "failed", "good"):
        assert names(name=name, ttl_hash=1) == [name]
    assert box.count() == 4
    box.catalogue.add_computation({"id": "new", "created": DAY, "_capsule": PIPELINE})
    assert len(names(ttl_hash=1)) == len(NAMES)
    assert len(names(ttl_hash=2)) == len(names()) == len(NAMES) + 1


def test_search_computations_thousands_are_fast() -> None:
    catalogue = Catalogue()
    for number in range(5000):
        catalogue.add_computation(
            {
                "id": f"run-{number}",
                "name": f"Run {number}",
                "created": DAY + number,
                "state": "completed",
                "end_status": "succeeded",
                "has_results": bool(number % 3),
                "data_assets": [{"id": f"asset-{number % 500}", "mount": "a"}],
                "_capsule": PIPELINE,
            }
        )
    with aind_session.sandbox(catalogue):
        assert len(names(ttl_hash=1)) == 5000
        started = time.perf_counter()
        for number in range(20):
            assert len(names(attached_data_asset_id=f"asset-{number}", ttl_hash=1)) == 10
        assert time.perf_counter() - started < 1.5


odd = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5))


@given(
    st.fixed_dictionaries(
        {"id": st.just("run")},
        optional={
            "name": odd,
            "created": st.one_of(odd, st.integers(), st.floats(allow_nan=False)),
            "state": odd,
            "end_status": odd,
            "has_results": odd,
            "data_assets": st.one_of(odd, st.lists(st.fixed_dictionaries({"id": odd}), max_size=2)),
        },
    )
)
def test_find_odd_computation_does_not_break_the_search(facts: dict[str, Any]) -> None:
    listed = [msgspec.json.encode(facts), b'{"name": "without an ID"}']
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(codeocean, "list_computations", lambda _: listed)
        (one,) = computations.find(PIPELINE)
        assert one.id == "run"
        assert len(computations.find(PIPELINE, dates=parse_dates("2024"))) in (0, 1)
        for wanted in (True, False):
            computations.find(PIPELINE, in_progress=wanted, has_results=wanted, name="x")
        assert computations.find(PIPELINE, attached_data_asset_id=ASSET) == ()
