"""Which assets belong to a session or a subject, and which of them is the raw asset."""

from __future__ import annotations

from typing import Any

import pytest

import aind_session
from aind_session import Session, Subject
from aind_session.sandbox import Catalogue

SESSION = "ecephys_791094_2025-10-09_12-00-00"
OTHER = "ecephys_791095_2024-01-01_10-00-00"
SAME_DAY = "ecephys_791094_2025-10-09_15-00-00"
SORTED = "ecephys_791094_2025-10-09_sorted_2026-04-23_14-11-00"


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def _asset(number: int, name: str, *tags: str, **more: Any) -> dict[str, Any]:
    return {
        "id": _id(number),
        "name": name,
        "created": 1_760_000_000 + number,
        "mount": name,
        "last_used": 0,
        "owner": _id(999),
        "state": "ready",
        "type": "result" if more.get("provenance") else "dataset",
        "tags": list(tags),
        **more,
    }


def _made_of(*numbers: int) -> dict[str, Any]:
    return {"provenance": {"data_assets": [_id(n) for n in numbers]}}


def _world(*some: dict[str, Any]) -> Catalogue:
    made = Catalogue()
    made.buckets["aind-open-data"] = {"public": True}
    for one in some:
        made.add_asset(one)
    return made


def test_raw_data_asset_failed_registration_newest_returns_ready_one() -> None:
    world = _world(
        _asset(1, SESSION, "raw", "791094"),
        _asset(2, SESSION, "raw", "791094", state="failed", failure_reason="no bucket"),
        _asset(3, SESSION, "raw", "791094", state="draft"),
    )
    with aind_session.sandbox(world):
        session = Session(SESSION)
        assert session.raw_data_asset.id == _id(1)
        assert len(session.data_assets) == 3
        table = aind_session.get_sessions("791094").to_pandas(["raw_asset_id"])
        assert table["raw_asset_id"].tolist() == [_id(1)]


def test_subject_data_assets_incomplete_name_with_tag_included() -> None:
    world = _world(
        _asset(1, SESSION, "raw", "791094"),
        _asset(2, SORTED, "derived", "791094"),
        _asset(3, "ecephys_791095_ccf", "791095", "see 791094"),
        _asset(4, "ecephys_791094_ccf", "791094"),
    )
    with aind_session.sandbox(world):
        assert [a.id for a in Subject("791094").data_assets] == [_id(1), _id(2), _id(4)]
        found = aind_session.utils.codeocean_utils.get_subject_data_assets("791094", type="dataset")
        assert [a.id for a in found] == [_id(1), _id(2), _id(4)]


@pytest.mark.parametrize(
    ("inputs", "belongs"),
    [
        ((1,), True),
        # What is attached beside the raw data: an atlas, something that is gone.
        ((1, 6, 77), True),
        # Raw data of another subject, or of another session on the same day.
        ((1, 4), False),
        ((1, 5), False),
        ((6,), False),
        ((), False),
    ],
)
def test_derived_assets_incomplete_name_belongs_to_the_one_session_it_was_made_of(
    inputs: tuple[int, ...], belongs: bool
) -> None:
    world = _world(
        _asset(1, SESSION, "raw", "791094"),
        _asset(2, SORTED, "derived", "791094", **_made_of(*inputs)),
        _asset(4, OTHER, "raw", "791095"),
        _asset(5, SAME_DAY, "raw", "791094"),
        _asset(6, "an atlas"),
    )
    expected = [_id(2)] if belongs else []
    with aind_session.sandbox(world):
        session = Session(SESSION)
        assert [a.id for a in session.get_derived_data_assets("sorted")] == expected
        assert [a.id for a in session.ecephys.sorted_data_assets] == expected
        assert [a.label for a in session.get_derived_data_assets()] == ["sorted"] * belongs
    with aind_session.sandbox(world):
        # The same in a cohort.
        sessions = aind_session.get_sessions("791094")
        table = sessions.to_pandas(["id", "n_assets", "derived:sorted"]).set_index("id")
        assert table["n_assets"][SESSION] == 1 + belongs
        assert table["derived:sorted"][SESSION] == (SORTED if belongs else None)


def test_data_assets_incomplete_name_costs_no_request_more() -> None:
    world = _world(_asset(1, SESSION, "raw", "791094"), _asset(2, SORTED, "791094", **_made_of(1)))
    with aind_session.sandbox(world) as box:
        assert len(Session(SESSION).data_assets) == 2
        assert box.count() == 3
