"""The rules that decide what an asset is and whose: pure functions, without a service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from aind_session.identifiers import parse_session_id
from aind_session.lookup import rules
from aind_session.lookup.evidence import Evidence
from aind_session.services.assets import subjects_of
from aind_session.services.metadata import RecordSummary
from aind_session.services.models import AssetSummary, summarise

SESSION = "ecephys_791094_2025-10-09_12-00-00"
LEGACY = SESSION.removeprefix("ecephys_")
SORTED = "ecephys_791094_2025-10-09_sorted_2026-04-23_14-11-00"


def _asset(name: str, number: int = 1, **more: Any) -> AssetSummary:
    described = {"id": str(number), "name": name, "created": number, "state": "ready"}
    described |= {"mount": name, "type": "dataset", "owner": "me", "last_used": 0}
    return summarise(msgspec.json.encode(described | more))


def _record(name: str, **more: Any) -> RecordSummary:
    return RecordSummary(name, "", "", "v1", msgspec.json.encode({"name": name, **more}))


def _ids(assets: Iterable[AssetSummary]) -> str:
    return "".join(asset.id for asset in assets)


@pytest.mark.parametrize(
    ("name", "level", "tags", "raw"),
    [
        # A name that is a session ID outweighs copied metadata.
        (SESSION, "derived", [], True),
        (LEGACY, None, [], True),
        (f"{SESSION}_raw_data", "raw data", [], True),
        (f"{SESSION}_raw_data", None, ["raw"], True),
        (f"{SESSION}_raw_data", None, [], False),
        (f"{SESSION} (copy)", "raw", [], True),
        (f"{SESSION} (copy)", "derived", ["raw"], False),
        # So does a derived label.
        (f"{SESSION}_sorted_2024-01-02_10-00-00", "raw", ["raw"], False),
        ("a name", None, [" Raw "], True),
        ("a name", None, ["raw data"], False),
    ],
)
def test_is_raw_by_name_then_level_then_tag(
    name: str, level: str | None, tags: list[str], raw: bool
) -> None:
    custom = {"data level": level} if level else {}
    assert rules.is_raw(_asset(name, tags=tags, custom_metadata=custom)) == raw


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        (["ready", "failed", "draft"], 1),
        (["failed", "ready", "draft"], 2),
        (["ready", "ready"], 2),
        (["draft", "failed"], 2),
        (["Draft"], 1),
        # A state that this package does not know is not one of the bad ones.
        (["ready", "thawing", "draft"], 2),
        ([], None),
    ],
)
def test_choose_raw_several_registrations_returns_newest_ready(
    states: list[str], chosen: int | None
) -> None:
    derived = _asset(f"{SESSION}_sorted_2026-01-02_10-00-00", 99)
    found = rules.choose_raw(
        [derived, *(_asset(SESSION, n, state=state) for n, state in enumerate(states, 1))]
    )
    assert (found and found.id) == (chosen and str(chosen))


@pytest.mark.parametrize(
    ("name", "label", "is_sorted"),
    [
        (SESSION, None, False),
        (f"{SESSION}_sorted-ks2.5_2024-03-01_16-02-45", "sorted-ks2.5", True),
        (f"{LEGACY}_Sorted_2024-03-01_16-02-45", "Sorted", True),
        # The first step counts for the sorting, the last one is the label.
        (f"{SESSION}_sorted_2024-03-01_16-02-45_nwb_2024-03-02_10-00-00", "nwb", True),
        (f"{SESSION}_nwb_2024-03-02_10-00-00", "nwb", False),
        (SORTED, "sorted", True),
        ("ecephys_791094_ccf", "ccf", False),
        ("791094_dlc-eye_2026-04-23_14-11-00", "dlc-eye", False),
        ("a name", None, False),
    ],
)
def test_label_of_and_is_sorted_of_complete_and_incomplete_names(
    name: str, label: str | None, is_sorted: bool
) -> None:
    assert (rules.label_of(name), rules.is_sorted(name)) == (label, is_sorted)


@pytest.mark.parametrize(
    ("name", "tags", "field", "owners"),
    [
        (SORTED, ["derived", "791094"], None, ("791094",)),
        ("ecephys_791094_ccf", ["791094"], None, ("791094",)),
        ("ecephys_791094_ccf", ["ecephys"], None, ()),
        ("ecephys_7910941_ccf", ["791094"], None, ()),
        ("a name", ["791094"], None, ()),
        # A date's parts are not subjects, whatever the tags.
        ("ecephys_791094_2025-10-09_sorted", ["2025", "09", "791094"], None, ("791094",)),
        ("ccf-H24.26.001-atlas", ["H24.26.001"], None, ("H24.26.001",)),
        ("Example T1 and T2 MRI Images", ["demo"], "668759", ("668759",)),
        (SESSION, ["791095"], "791095", ("791094",)),
        # Its own field is more than a mention.
        ("ecephys_791094_ccf", ["791094"], "791095", ("791095",)),
        ("comparison of 791094 and 791095", ["791094"], None, ()),
    ],
)
def test_subjects_of_asset_by_name_field_or_tag(
    name: str, tags: list[str], field: str | None, owners: tuple[str, ...]
) -> None:
    custom = {"subject id": field} if field else {}
    assert subjects_of(_asset(name, tags=tags, custom_metadata=custom)) == owners


@pytest.mark.parametrize("key", ["provenance", "results_info"])
@pytest.mark.parametrize(
    ("inputs", "session"),
    [
        ([1], SESSION),
        # What is attached beside the raw data: an atlas, something that is gone.
        ([1, 3, 77], SESSION),
        # Raw data of two sessions.
        ([1, 2], None),
        # No raw data of a session.
        ([3], None),
        ([4], None),
        ([], None),
    ],
)
def test_sessions_of_assets_without_session_in_the_name_is_that_of_its_only_raw_input(
    inputs: list[int], session: str | None, key: str
) -> None:
    assets = [
        _asset(SESSION, 1),
        _asset("ecephys_791094_2025-10-09_15-00-00", 2),
        _asset("an atlas", 3),
        _asset(f"{SESSION}_nwb_2026-01-01_10-00-00", 4),
        _asset(SORTED, 5, **{key: {"data_assets": [str(n) for n in inputs]}}),
    ]
    owners = rules.sessions_of_assets(assets)
    assert (owners["5"].id if "5" in owners else None) == session
    assert (owners["1"].id, owners["4"].id) == (SESSION, SESSION)
    assert "3" not in owners
    assert rules.input_ids(assets[4]) == tuple(str(n) for n in inputs)


def test_input_ids_of_malformed_provenance_are_empty() -> None:
    assert rules.input_ids(_asset(SORTED, provenance={"data_assets": "1"})) == ()
    assert rules.input_ids(_asset(SORTED, provenance=None)) == ()


def test_ascending_is_by_creation_without_duplicates_and_archived_assets() -> None:
    old, new, same_time = (_asset("x", n, created=c) for n, c in ((3, 1), (1, 5), (2, 5)))
    archived = _asset("x", 4, archived=True)
    assert _ids(rules.ascending([same_time, new, archived, old, new])) == "312"
    assert rules.newest([same_time, new, old]) is same_time


@pytest.mark.parametrize(
    ("wanted", "among", "found"),
    [
        (LEGACY, [SESSION], SESSION),
        (SESSION, [LEGACY], LEGACY),
        # Another platform is another session.
        (SESSION, ["behavior_791094_2025-10-09_12-00-00"], None),
        (LEGACY, [SESSION, "behavior_791094_2025-10-09_12-00-00"], None),
        (
            LEGACY,
            ["ecephys_791094_2025-10-09_12-00-01", "ecephys_791095_2025-10-09_12-00-00"],
            None,
        ),
        (SESSION, [SESSION], None),
    ],
)
def test_other_spelling_is_the_only_one_with_or_without_a_platform(
    wanted: str, among: list[str], found: str | None
) -> None:
    other = rules.other_spelling(parse_session_id(wanted), map(parse_session_id, among))
    assert (other and other.id) == found


@pytest.mark.parametrize(
    ("asset", "record", "platform"),
    [
        ({"custom_metadata": {"experiment type": "ephys"}}, {}, "ecephys"),
        (
            {"custom_metadata": {"experiment type": "behavior"}},
            {"data_description": {"platform": {"abbreviation": "ecephys"}}},
            "behavior",
        ),
        ({}, {"data_description": {"platform": {"abbreviation": "SmartSPIM"}}}, "SmartSPIM"),
        ({}, {}, None),
    ],
)
def test_platform_of_assets_before_records(
    asset: dict[str, Any], record: dict[str, Any], platform: str | None
) -> None:
    found = Evidence((_asset(LEGACY, **asset),), (_record(LEGACY, **record),))
    assert rules.platform_of(found) == platform


def test_platform_of_nothing_but_names_is_in_one_of_them() -> None:
    assert rules.platform_of(Evidence((_asset(LEGACY),), (_record(SESSION),))) == "ecephys"
    assert rules.platform_of(Evidence()) is None
