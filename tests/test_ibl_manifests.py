"""Manifests of the IBL data converter: partial, completed, and as data assets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aind_session
from aind_session.errors import (
    InvalidContentError,
    InvalidFilterError,
    MissingFileError,
)
from aind_session.extensions.ibl import manifests
from aind_session.sandbox import Sandbox
from ibl_world import (
    LATEST_STATE,
    MANIFEST,
    RECORDED,
    SORTED,
    STATE,
    SUBJECT,
    SURFACES,
    add_state,
    completed,
    converter,
    world,
)
from rows import shortest_row

COLUMNS = (
    *("mouseid", "sorted_recording", "probe_file", "probe_name", "probe_shank", "probe_id"),
    *("surface_finding", "annotation_format"),
)


# -- annotations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("A1", ("ProbeA", 1)), ("probe B_3", ("ProbeB", 3)), ("ProbeC-2", ("ProbeC", 2))),
        *(("probe_d4", ("ProbeD", 4)), (" F 9 ", ("ProbeF", 9)), ("E_day2", ("ProbeE", 2))),
        *((name, None) for name in ("268", "targets", "G1", "A0", "A10", "A", "1", "AB1", "CCF_2")),
        ("", None),
    ],
)
def test_annotation_name_with_probe_and_day(name: str, expected: tuple[str, int] | None) -> None:
    found = manifests.parse_annotation(name)
    assert (None if found is None else (found.probe, found.day)) == expected


@given(letter=st.sampled_from("ABCDEFabcdef"), day=st.integers(1, 9), text=st.text(max_size=6))
def test_annotation_names_of_all_probes_and_days(letter: str, day: int, text: str) -> None:
    assert manifests.parse_annotation(f"{letter}{day}") == (letter.upper(), day)
    found = manifests.parse_annotation(text)
    assert found is None or (found.letter in "ABCDEF" and 1 <= found.day <= 9)


# -- partial manifests -----------------------------------------------------------------------------


@pytest.mark.usefixtures("bundled")
def test_partial_records_of_plain_names() -> None:
    records = converter().get_partial_manifest_records()
    assert [record["probe_id"] for record in records] == [
        *("268", "269", "270", "265", "263", "262", "targets")
    ]
    assert tuple(records[0]) == COLUMNS
    assert records[0] == {
        "mouseid": SUBJECT,
        "sorted_recording": SORTED,
        "probe_file": LATEST_STATE,
        "probe_name": "",
        "probe_shank": "",
        "probe_id": "268",
        "surface_finding": SURFACES[RECORDED[0]],
        "annotation_format": "json",
    }
    for name in (STATE, f"{STATE}.json"):
        assert {r["probe_file"] for r in converter().get_partial_manifest_records(name)} == {STATE}


def test_partial_records_of_names_with_probe_and_day() -> None:
    catalogue = world()
    state = add_state(catalogue, "A1", "probe B_2", "C3", "D9", "268")
    with aind_session.sandbox(catalogue) as box:
        of = converter(999994)
        latest = [asset.name for asset in of.sorted_data_assets][1:]
        records = of.get_partial_manifest_records()
        rows = [(r["probe_id"], r["probe_name"], r["sorted_recording"]) for r in records]
        assert rows == [
            # The latest of two sortings; of day 2 the one that did not fail.
            ("A1", "ProbeA", latest[0]),
            ("probe B_2", "ProbeB", latest[1]),
            # Nothing was sorted on day 3, and there is no day 9.
            ("C3", "ProbeC", ""),
            ("D9", "ProbeD", ""),
            # One for each recording.
            ("268", "", latest[0]),
            ("268", "", latest[1]),
        ]
        surface = "ecephys_999994_2025-01-03_11-00-00"
        assert [r["surface_finding"] for r in records] == ["", surface, "", "", "", surface]
        assert {r["probe_file"] for r in records} == {state}
        first = of.sorted_data_assets[0].name
        box.reset()
        for chosen in (first, [first], (of.sorted_data_assets[0],)):
            records = of.get_partial_manifest_records(state, chosen)
            assert [r["sorted_recording"] for r in records] == [first, "", "", "", first]


def test_partial_records_of_a_state_without_annotations_are_empty() -> None:
    catalogue = world()
    add_state(catalogue)
    with aind_session.sandbox(catalogue):
        assert converter(999994).get_partial_manifest_records() == []


def test_partial_records_leave_out_surface_recordings() -> None:
    catalogue = world()
    add_state(catalogue, "268")
    surface = "ecephys_999994_2025-01-03_11-00-00"
    (*_, raw) = (a for a in catalogue.data_assets if a["name"] == surface)
    name = f"{surface}_sorted_2025-01-04_10-00-00"
    with aind_session.sandbox(catalogue):
        of = converter(999994)
        of.use_data_assets_with_errors = True
        before = of.get_partial_manifest_records()
    catalogue.add_asset({**raw, "id": f"{9:032}", "name": name, "type": "result", "tags": []})
    with aind_session.sandbox(catalogue):
        of = converter(999994)
        of.use_data_assets_with_errors = True
        assert name in [asset.name for asset in of.sorted_data_assets]
        assert of.get_partial_manifest_records() == before


def test_partial_records_send_three_requests_in_a_row(cold: Sandbox) -> None:
    _ = converter().get_partial_manifest_records()
    row = shortest_row(cold, lambda: converter().get_partial_manifest_records(), 3)
    assert cold.count() <= 8
    assert row <= 3


@pytest.mark.usefixtures("bundled")
def test_partial_records_with_bad_names_raise() -> None:
    with pytest.raises(FileNotFoundError) as raised:
        converter().get_partial_manifest_records("x")
    assert isinstance(raised.value, MissingFileError)
    with pytest.raises(FileNotFoundError, match="write"):
        converter(676909).get_partial_manifest_records()
    for name in ("x", RECORDED[0], "ecephys_676909_2023-12-13_13-43-40_sorted_2024-03-01_16-02-45"):
        with pytest.raises(InvalidFilterError, match="sorted"):
            converter().get_partial_manifest_records(sorted_data_asset_names=[name])


# -- manifests -------------------------------------------------------------------------------------


def test_manifest_is_written_and_found(sandbox: Sandbox) -> None:
    of = converter()
    records = completed()
    made = of.create_manifest_asset(records)
    (launched,) = sandbox.launched
    assert launched in sandbox.catalogue.data_assets
    assert (made.id, made.name, made.mount) == (launched["id"], MANIFEST, MANIFEST)
    assert launched["custom_metadata"] == {"subject id": SUBJECT}
    assert SUBJECT in launched["tags"]
    path = of.csv_manifest_path
    assert path.as_posix() == (
        f"s3://aind-scratch-data/aind-session/manifests/{SUBJECT}/{MANIFEST}.csv"
    )
    assert path.read_text().splitlines()[0] == ",".join(COLUMNS)
    assert manifests.decode(path.read_bytes()) == records
    copied = [o["key"] for o in sandbox.catalogue.objects if o["key"].startswith(made.id)]
    assert copied == [f"{made.id}/{MANIFEST}.csv"]
    assert of.manifest_data_asset.id == made.id


def test_existing_manifest_is_returned(sandbox: Sandbox) -> None:
    of = converter()
    first = of.create_manifest_asset(completed())
    assert of.create_manifest_asset(completed()).id == first.id
    # The records are not read: no manifest is made of them.
    assert of.create_manifest_asset([]).id == first.id
    second = of.create_manifest_asset(completed(), skip_existing=False)
    other = of.create_manifest_asset(completed(), asset_name="717381_other.csv")
    assert (second.name, other.name) == (MANIFEST, "717381_other")
    assert len(sandbox.launched) == 3
    assert of.manifest_data_asset.id == other.id
    sandbox.launched[-1]["state"] = "failed"
    sandbox.reset()
    assert of.manifest_data_asset.id == second.id


def test_create_manifest_without_token_writes_nothing(sandbox: Sandbox) -> None:
    records = completed()
    before = len(sandbox.catalogue.objects)
    with sandbox.without_token(), pytest.raises(KeyError, match="CODE_OCEAN_API_TOKEN"):
        converter().create_manifest_asset(records, skip_existing=False)
    assert len(sandbox.catalogue.objects) == before


def test_manifest_without_custom_fields_is_found(sandbox: Sandbox) -> None:
    made = converter().create_manifest_asset(completed())
    launched = sandbox.launched[-1]
    del launched["custom_metadata"]
    launched["tags"] = []
    sandbox.reset()
    assert converter().manifest_data_asset.id == made.id


INCOMPLETE: list[tuple[dict[str, Any], str]] = [
    *(({"probe_name": name}, "probe_name") for name in ("", None, float("nan"))),
    *(({"sorted_recording": " "}, "sorted_recording"), ({"mouseid": "1"}, "subject 1")),
    ({"probe": "A"}, "probe"),
]


@pytest.mark.usefixtures("bundled")
def test_invalid_records_and_names_raise() -> None:
    good = completed()[0]
    for change, message in INCOMPLETE:
        with pytest.raises(InvalidContentError, match=message):
            converter().create_manifest_asset([good, {**good, **change}])
    others: tuple[Any, ...] = ([], [5], {"a": 1}, "text", 5)
    for records in others:
        with pytest.raises(ValueError, match=r"[Rr]ecord"):
            converter().create_manifest_asset(records)
    for name in ("", "a/b", "..", "a\nb"):
        with pytest.raises(InvalidFilterError):
            converter().create_manifest_asset([good], asset_name=name)


def test_manifest_from_tables(sandbox: Sandbox) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    records = completed()
    for number, table in enumerate((pandas.DataFrame(records), polars.DataFrame(records))):
        made = converter().create_manifest_asset(table, asset_name=f"717381_m{number}")
        text = next(o for o in sandbox.catalogue.objects if o["key"].startswith(made.id))["text"]
        assert manifests.decode(text.encode()) == records


def test_whole_numbers_stay_whole_with_missing_values() -> None:
    known = {"sorted_recording": SORTED, "probe_file": STATE, "probe_name": "A", "probe_id": 268}
    shanks = [{**known, "probe_shank": shank} for shank in (2.0, float("nan"), None)]
    made = manifests.completed(SUBJECT, shanks)
    assert [record["probe_shank"] for record in made] == ["2", "", ""]
    assert made[0]["probe_id"] == "268"


@pytest.mark.parametrize(
    ("data", "probes"),
    [
        (b"mouseid,probe_id\r717381,A1\r717381,B1\r", ["A1", "B1"]),
        (b"mouseid,probe_id,more\n717381,A1,2,3\n", ["A1"]),
        (b"mouseid,probe_id\n717381,A1\n717381," + b"x" * 200_000, []),
        (b"\x00\xff", []),
    ],
)
def test_decode_of_other_files(data: bytes, probes: list[str]) -> None:
    assert [record["probe_id"] for record in manifests.decode(data)] == probes


CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\x00"), min_size=1, max_size=8
).filter(lambda text: bool(text.strip()))


@given(cells=st.lists(st.tuples(CELL, CELL, st.none() | st.integers(0, 3)), min_size=1, max_size=4))
def test_encode_and_decode_keep_any_text(cells: list[tuple[str, str, int | None]]) -> None:
    records = [
        {
            "sorted_recording": SORTED,
            "probe_file": STATE,
            "probe_name": probe,
            "probe_id": annotation,
            "probe_shank": shank,
        }
        for probe, annotation, shank in cells
    ]
    filled = manifests.completed(SUBJECT, records)
    assert manifests.decode(manifests.encode(filled)) == filled
    assert [r["probe_shank"] for r in filled] == [
        "" if shank is None else str(shank) for _, _, shank in cells
    ]
    assert {r["mouseid"] for r in filled} == {SUBJECT}
