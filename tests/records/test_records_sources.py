"""Inputs that records name, and the session that a description names."""

from __future__ import annotations

from typing import Any

import pytest
from made_records import ASSET_ID, SESSION_ID, first_generation, second_generation

from aind_session.records import Record, input_names, session_of_description

OTHER = "SmartSPIM_900002_2031-01-02_03-04-05"
SORTED = f"{SESSION_ID}_sorted_2031-05-08_01-02-03"


@pytest.mark.parametrize("raw", [first_generation(), second_generation()], ids=["v1", "v2"])
def test_input_names_of_a_whole_record_is_its_raw_asset(raw: dict[str, Any]) -> None:
    assert input_names(raw) == input_names(Record(raw)) == (SESSION_ID,)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"input_data_name": OTHER}, (OTHER,)),
        ({"input_data_name": [OTHER, SESSION_ID, OTHER]}, (OTHER, SESSION_ID)),
        ({"source_data": [OTHER], "input_data_name": SESSION_ID}, (SESSION_ID, OTHER)),
        ({"source_data": [{"name": OTHER}, None, 3.5, ["x"]]}, (OTHER,)),
        ({"source_data": "CCF template"}, ("CCF template",)),
        ({"source_data": [f"s3://b/{OTHER}/SPIM/"]}, (OTHER,)),
        ({"source_data": None, "input_data_name": " "}, ()),
        ("text", ()),
    ],
)
def test_input_names_in_the_description(description: Any, expected: tuple[str, ...]) -> None:
    assert input_names({"data_description": description}) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([{"url": f"s3://b/{OTHER}", "name": OTHER}], (OTHER,)),
        ([{"url": f"s3://b/{OTHER}/SPIM/Ex_445.zarr", "name": "a channel"}], (OTHER,)),
        ([{"url": "../data/fused.zarr", "name": OTHER}], (OTHER,)),
        ([{"url": None, "name": OTHER}, {"name": "CCF template"}], (OTHER, "CCF template")),
        ([{"url": "s3://b/some/folder/", "name": "x"}], ("s3://b/some/folder",)),
        ([{"url": f"s3://codeocean-bucket/{ASSET_ID}"}], (ASSET_ID,)),
        ([{"url": f"https://example.org/data-assets/{ASSET_ID}"}], (ASSET_ID,)),
        ([{"assets": [{"url": f"s3://b/{OTHER}"}, {"name": SESSION_ID}]}], (OTHER, SESSION_ID)),
        ([[[f"/data/{OTHER}/SPIM"]], OTHER], (OTHER,)),
        ({"url": f"s3://b/{OTHER}"}, (OTHER,)),
        ([{"url": "../data"}, None, 7, {}, {"url": ["x"]}], ()),
    ],
)
def test_input_names_in_the_code_of_a_step(written: Any, expected: tuple[str, ...]) -> None:
    step = {"object_type": "Data process", "code": {"input_data": written}}
    for processing in ({"data_processes": [step]}, {"data_processes": [[[step]]]}):
        assert input_names({"processing": processing}) == expected


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (OTHER, (OTHER,)),
        (f"/data/{OTHER}/SPIM/Ex_445", (OTHER,)),
        (f"../data/{OTHER}", (OTHER,)),
        (f"/root/capsule/data/{OTHER}/", (OTHER,)),
        (f"/tmp/nxf.zPbDD8Ayus/capsule/data/{OTHER}/x.h5", (OTHER,)),
        ([f"/data/{OTHER}", f"/data/{SESSION_ID}"], (OTHER, SESSION_ID)),
        ("../data", ()),
        ("In memory array", ()),
        (f"/share/uploads/{OTHER}", ()),
        (rf"\\share\uploads\{OTHER}", ()),
        (f"/scratch/{OTHER}_preprocessed_2031-02-02_21-58-54/destriped", ()),
    ],
)
def test_input_names_in_input_location(location: Any, expected: tuple[str, ...]) -> None:
    steps = {"data_processes": [{"name": "Fusing", "input_location": location}]}
    assert input_names({"processing": {"processing_pipeline": steps}}) == expected
    assert input_names({"processing": steps}) == expected


def test_input_names_joins_all_places_in_order_without_the_asset_itself() -> None:
    raw = {
        "name": SORTED,
        "data_description": {"input_data_name": SESSION_ID, "source_data": [SESSION_ID, SORTED]},
        "processing": {
            "processing_pipeline": {"data_processes": [{"input_location": f"/data/{OTHER}"}]},
            "data_processes": [{"code": {"input_data": [{"name": f"{SESSION_ID}_nwb"}]}}],
        },
    }
    assert input_names(raw) == (SESSION_ID, OTHER, f"{SESSION_ID}_nwb")


@pytest.mark.parametrize(
    "description",
    [
        {"name": SORTED, "input_data_name": OTHER},
        {"name": "sorted", "input_data_name": SESSION_ID, "source_data": [OTHER]},
        {"name": None, "input_data_name": None, "source_data": [SESSION_ID, SORTED]},
        {"input_data_name": ["CCF template", SORTED]},
        {"source_data": [f"s3://b/{SESSION_ID}"]},
    ],
)
def test_session_of_description_is_found_in_name_then_in_inputs(description: Any) -> None:
    session = session_of_description(description)
    assert session is not None
    assert session.id == SESSION_ID


@pytest.mark.parametrize(
    "description",
    [
        None,
        [],
        "text",
        {},
        {"name": "sorted", "source_data": None},
        {"source_data": [SORTED, OTHER]},
    ],
)
def test_session_of_description_without_one_session_is_none(description: Any) -> None:
    assert session_of_description(description) is None
