"""Probe alignments: the newest of each probe, in either generation, and their places."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aind_session
from aind_session.errors import MissingAlignmentError
from aind_session.extensions.ecephys import alignments
from aind_session.identifiers import parse_session_id
from aind_session.sandbox import Catalogue, Sandbox
from aind_session.sandbox.shapes import Mouse, session_record
from rows import shortest_row
from worlds.alignments import alignment, evaluation, quality_control

KNOWN = "ecephys_795555_2025-08-26_11-29-20"
INVENTED = "ecephys_999997_2024-05-01_10-00-00"
SESSION = parse_session_id(INVENTED)
get = aind_session.ecephys.get_latest_ibl_annotations


def channel(x: float, **other: Any) -> dict[str, Any]:
    known = {"x": x, "y": 2.0, "z": -3.0, "axial": 0.0, "lateral": 16.0}
    return known | {"brain_region_id": 56, "brain_region": "ACB"} | other


def curation(x: float) -> str:
    return alignment([channel(x)], [channel(x)])


def aligned(
    probe: str, drafts: Any, created: str, name: str = f"Probe Alignment for {INVENTED}_"
) -> dict[str, Any]:
    return evaluation(name + probe, {"curations": drafts}, created)


def add(
    box: Sandbox,
    generation: str,
    label: str,
    evaluations: list[dict[str, Any]],
    session_id: str = INVENTED,
    **changes: Any,
) -> None:
    name = f"{session_id}_{label}" if label else session_id
    record = session_record(
        name,
        generation,
        Mouse.invent("999997"),
        ["ecephys"],
        location=f"s3://aind-open-data/{generation}/{name}",
        created=1714800000,
        source=session_id,
        process="sorted",
        quality_control=quality_control(evaluations, generation),
    )
    box.catalogue.add_record(generation, record | changes)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox(Catalogue()) as box:
        yield box


def places(found: dict[str, dict[str, Any]]) -> dict[str, float]:
    return {p: v["ccf_channel_results"]["channel_0"]["x"] for p, v in found.items()}


# -- the known session -----------------------------------------------------------------------------


def test_annotations_of_the_documented_session(bundled: Sandbox) -> None:
    for place in (aind_session.ecephys, aind_session.Session(KNOWN).ecephys):
        for session in (KNOWN, aind_session.Session(KNOWN), f"/data/{KNOWN}/ecephys"):
            found = place.get_latest_ibl_annotations(session)
            assert tuple(found) == tuple(f"Probe{letter}_0" for letter in "ABCDEF")
    first = found["ProbeA_0"]["channel_results"]["channel_0"]
    assert (first["axial"], first["lateral"]) == (0.0, 16.0)
    assert (first["brain_region_id"], first["brain_region"]) == (56, "ACB")
    ccf = found["ProbeA_0"]["ccf_channel_results"]["channel_0"]
    assert (ccf["x"], ccf["y"]) == (-4.235408306121826, 3.959097146987915)
    assert ccf["z"] == -5.8538970947265625


def test_ccf_rows_of_the_documented_session(bundled: Sandbox) -> None:
    rows = get(KNOWN, as_ccf_records=True)
    (first,) = (r for r in rows if (r["probe"], r["channel"]) == ("ProbeA_0", "channel_0"))
    assert first == rows[0]
    assert first["ccf_ap"] == 3959.097146987915
    assert first["ccf_ml"] == 4235.408306121826
    assert first["ccf_dv"] == 5853.8970947265625
    assert (first["axial"], first["lateral"], first["brain_region"]) == (0.0, 16.0, "ACB")
    assert len({(row["probe"], row["channel_index"]) for row in rows}) == len(rows) == 48
    assert len({tuple(row) for row in rows}) == 1
    table = pytest.importorskip("pandas").DataFrame(rows)
    assert table.groupby("probe").size().to_dict() == {f"Probe{x}_0": 8 for x in "ABCDEF"}
    assert str(table["ccf_ap"].dtype) == "float64"


def test_annotations_send_two_requests_and_one_per_record(cold: Sandbox) -> None:
    row = shortest_row(cold, lambda: get(KNOWN), 2)
    assert cold.count() == 4
    assert row <= 2
    get(KNOWN, as_ccf_records=True)
    assert cold.count() == 4


# -- which one counts ------------------------------------------------------------------------------


def test_session_without_alignment_raises_key_error(box: Sandbox) -> None:
    with pytest.raises(KeyError, match="no aligned probe") as caught:
        get(INVENTED)
    assert isinstance(caught.value, MissingAlignmentError)
    assert any("DocDB" in line for line in caught.value.trail)
    with pytest.raises(ValueError, match="session ID"):
        get("no session here")


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_newest_alignment_of_each_probe_wins(box: Sandbox, generation: str) -> None:
    old, new = "2024-06-01T10:00:00-07:00", "2024-06-02T02:00:00+00:00"
    newest = "2024-06-01T20:00:00-07:00"
    assert sorted((old, new, newest)) != [old, new, newest], "not sorted as text"
    add(box, generation, "sorted_2024-05-03_10-00-00", [aligned("ProbeA", [curation(1)], old)])
    both = [aligned("ProbeA", [curation(2), curation(3)], newest)]
    both += [aligned("ProbeB_1", [curation(4)], new)]
    add(box, generation, "sorted-opto_2024-05-02_10-00-00", both)
    add(box, generation, "nwb_2024-05-05_10-00-00", [aligned("ProbeA", [curation(5)], new)])
    assert places(get(INVENTED)) == {"ProbeA": 3, "ProbeB_1": 4}


def test_alignments_of_both_schema_versions_are_merged(box: Sandbox) -> None:
    day = "2024-06-0{}T10:00:00Z".format
    add(box, "v1", "sorted_2024-05-03_10-00-00", [aligned("ProbeA", [curation(1)], day(1))])
    twins = [aligned("ProbeA", [curation(2)], day(2)), aligned("ProbeB", [curation(3)], day(3))]
    # The record of an upgrade is newer than what it holds.
    add(box, "v2", "sorted_2024-05-03_10-00-00", twins, _created="2026-01-01T00:00:00.000Z")
    newer = [aligned("ProbeB", [curation(4)], day(4))]
    add(box, "v1", "sorted_2024-05-09_10-00-00", newer)
    # The upgrade copies an alignment once; the older record is the one that is worked on.
    for x, generation in enumerate(("v2", "v1")):
        same = [aligned("ProbeC", [curation(x)], day(5))]
        add(box, generation, "sorted_2024-05-10_10-00-00", same)
    assert places(get(INVENTED)) == {"ProbeA": 2, "ProbeB": 4, "ProbeC": 1}


def test_other_sessions_and_evaluations_are_left_out(box: Sandbox) -> None:
    day = "2024-06-01T10:00:00Z"
    other = "ecephys_999997_2024-05-02_10-00-00"
    some = [
        aligned("ProbeA", [curation(1)], day),
        aligned("ProbeB", [curation(2)], day, f"Probe Alignment for {other}_"),
        aligned("ProbeC", [curation(2)], day, f"Drift of {INVENTED}_"),
    ]
    add(box, "v1", "sorted_2024-05-03_10-00-00", some)
    add(box, "v1", "", [aligned("ProbeD", [curation(3)], day)])
    add(box, "v1", "sorted_2024-05-03_10-00-00", [aligned("ProbeE", [curation(4)], day)], other)
    assert places(get(INVENTED)) == {"ProbeA": 1}


def test_broken_alignment_falls_back_to_older_one(box: Sandbox) -> None:
    day = "2024-06-0{}T10:00:00Z".format
    add(box, "v1", "sorted_2024-05-01_12-00-00", [aligned("ProbeA", [curation(1)], day(1))])
    broken: tuple[Any, ...] = (["{"], [], None, [curation(2), "null"], "text", [{"a": 1}])
    for number, drafts in enumerate(broken, start=2):
        label = f"sorted_2024-05-0{number}_12-00-00"
        add(box, "v1", label, [aligned("ProbeA", drafts, day(number))])
    assert places(get(INVENTED)) == {"ProbeA": 1}


def test_curation_as_object_of_a_session_without_platform(box: Sandbox) -> None:
    day = "2024-06-01T10:00:00Z"
    bare = INVENTED.removeprefix("ecephys_")
    drafts = [json.loads(curation(1))]
    name = f"Probe Alignment for {bare}_"
    add(box, "v2", "sorted_2024-05-03_10-00-00", [aligned("ProbeA", drafts, day, name)], bare)
    assert places(get(bare)) == {"ProbeA": 1}
    assert places(get(INVENTED)) == {"ProbeA": 1}


def test_failure_of_one_schema_version_warns(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "1")
    day = "2024-06-01T10:00:00Z"
    add(box, "v1", "sorted_2024-05-03_10-00-00", [aligned("ProbeA", [curation(1)], day)])
    box.fail("docdb", path="/v2/", times=None)
    with pytest.warns(aind_session.PartialAnswerWarning, match="alignments"):
        assert places(get(INVENTED)) == {"ProbeA": 1}
    with pytest.raises(aind_session.ServiceError):
        get("ecephys_999997_2024-05-02_10-00-00")


@pytest.mark.parametrize(
    ("name", "probe"),
    [
        (f"Probe Alignment for {INVENTED}_ProbeA_0", "ProbeA_0"),
        (f"Probe Alignment for {INVENTED}_50213-1", "50213-1"),
        (f"Probe Alignment for mouse 1 {INVENTED}_ProbeA_0", "ProbeA_0"),
        (f"Probe Alignment for {INVENTED}_sorted_2024-05-03_10-00-00_ProbeA", "ProbeA"),
        (f"Probe Alignment for {INVENTED}", None),
        (f"Probe Alignment for {INVENTED}_", None),
        (f"{INVENTED}_ProbeA", None),
        ("", None),
    ],
)
def test_probe_of_an_evaluation_name(name: str, probe: str | None) -> None:
    assert alignments.probe_of(name, SESSION) == probe


# -- places ----------------------------------------------------------------------------------------

coordinates = st.floats(-14, 14, allow_nan=False)


@given(coordinates, coordinates, coordinates)
def test_ccf_rows_are_in_micrometers(x: float, y: float, z: float) -> None:
    for scale in (1.0, 1000.0):
        place = {"x": x * scale, "y": y * scale, "z": z * scale}
        # A second channel sets the unit of a probe that happens to lie near the origin.
        far = {"x": 5.0 * scale, "y": 0.0, "z": 0.0}
        payload = {"ccf_channel_results": {"channel_0": place, "channel_1": far}}
        first, second = alignments.ccf_records({"ProbeA": payload})
        assert first["ccf_ap"] == pytest.approx(y * 1000)
        assert first["ccf_ml"] == pytest.approx(-x * 1000)
        assert first["ccf_dv"] == pytest.approx(-z * 1000)
        assert second["ccf_ml"] == -5000


@pytest.mark.parametrize(
    ("largest", "scale"), [(19.99, 1000.0), (20.0, 1.0), (-19_999.0, 1.0), (0.0, 1000.0)]
)
def test_scale_of_coordinates(largest: float, scale: float) -> None:
    assert alignments.scale_of("ProbeA", [1.0, largest, None]) == scale


@pytest.mark.parametrize("largest", [20_000.0, -1e9])
def test_coordinates_larger_than_a_brain_raise(largest: float) -> None:
    payload = {"ccf_channel_results": {"channel_0": channel(largest)}}
    with pytest.raises(ValueError, match="ProbeB reach"):
        alignments.ccf_records({"ProbeB": payload})


def test_ccf_rows_are_sorted_by_channel() -> None:
    channels: dict[str, Any] = {f"channel_{n}": channel(1.0) for n in (10, 2, 1)}
    channels |= {"channel_3": {"x": None, "y": "1"}, "channel_4": None, "other": channel(2.0)}
    rows = alignments.ccf_records({"A": {"ccf_channel_results": channels}, "B": {}})
    assert [row["channel_index"] for row in rows] == [1, 2, 3, 10, None]
    assert rows[2]["ccf_ml"] is None
    assert rows[2]["brain_region"] is None


def test_alignment_with_nan_is_read_and_with_huge_numbers_raises(box: Sandbox) -> None:
    unknown = channel(float("nan"), axial=float("inf"))
    text = json.dumps({"channel_results": {}, "ccf_channel_results": {"channel_0": unknown}})
    add(box, "v1", "sorted_2024-05-02_00-00-00", [aligned("ProbeA", [text], "2024-05-02T00:00:00")])
    (row,) = get(INVENTED, as_ccf_records=True)
    assert row["ccf_ml"] is None
    assert row["ccf_ap"] == 2000.0
    # Beyond all floats.
    text = curation(1.0).replace("1.0", "1" + "0" * 400)
    add(box, "v1", "sorted_2024-05-03_00-00-00", [aligned("ProbeA", [text], "2024-05-03T00:00:00")])
    box.reset()
    assert get(INVENTED)
    with pytest.raises(ValueError, match="neither millimeters nor micrometers"):
        get(INVENTED, as_ccf_records=True)


def test_deeply_nested_alignment_is_skipped(box: Sandbox) -> None:
    for day, text in (("2024-05-02", curation(1.0)), ("2024-05-03", "[" * 100_000)):
        one = aligned("ProbeA", [text], f"{day}T00:00:00")
        add(box, "v1", f"sorted_{day}_00-00-00", [one])
    assert places(get(INVENTED)) == {"ProbeA": 1.0}
