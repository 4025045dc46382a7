"""Steps of processing in each of the places where records had them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from made_records import RECORDING, first_generation, second_generation

from aind_session.records import Pipeline, Processing, Record


def _step(name: str, sorter: str | None = None) -> dict[str, Any]:
    return {"name": name, "parameters": {"sorter_name": sorter}}


@pytest.mark.parametrize("raw", [first_generation(), second_generation()], ids=["v1", "v2"])
def test_processing_of_either_schema_is_the_same(raw: dict[str, Any]) -> None:
    processing = Record(raw).processing
    assert processing is not None
    compression, sorting, analysis = processing.steps
    utc = timezone.utc
    assert compression.name == compression.process_type == "Compression"
    assert compression.version == "0.3.5"
    assert compression.code_url == "https://example.org/compress"
    assert compression.parameters == {"level": 3}
    assert compression.inputs == ("/in",)
    assert compression.output_location == "s3://out"
    assert compression.outputs == {"ratio": 0.5}
    assert compression.start == datetime(2031, 5, 8, tzinfo=utc)
    assert compression.end == datetime(2031, 5, 8, 0, 10, tzinfo=utc)
    assert compression.recording is None
    assert sorting.process_type == "Spike sorting"
    assert sorting.sorter_name == "sorterx"
    assert sorting.recording == RECORDING
    assert sorting.start == datetime(2031, 5, 8, 1, tzinfo=utc)
    assert [step.stage for step in processing.steps] == ["Processing", "Processing", "Analysis"]
    assert analysis.experimenters == ("A. Nalyst",)
    assert analysis.version is None
    assert analysis.notes is None
    assert [pipeline.url for pipeline in processing.pipelines] == ["https://example.org/pipeline"]
    assert [pipeline.version for pipeline in processing.pipelines] == ["2.1"]
    assert processing.sorter_names == ("sorterx",)


def test_steps_of_an_old_file_are_read_from_the_top() -> None:
    old = {
        "schema_version": "0.1.0",
        "pipeline_url": "u",
        "pipeline_version": "1",
        "data_processes": [{**_step("Spike sorting", "old"), "version": "0.2"}],
    }
    processing = Processing(old)
    assert processing.sorter_names == ("old",)
    assert processing.steps[0].version == "0.2"
    assert processing.pipelines == (Pipeline("u", "1"),)


def test_steps_in_nested_and_second_lists_are_all_found() -> None:
    processing = Processing(
        {
            "processing_pipeline": {
                "data_processes": [_step("A"), [_step("B", "deep"), [_step("C")]], _step("D")]
            },
            "data_processes": [_step("E", "second"), _step("F", "deep")],
            "analyses": [_step("G")],
        }
    )
    assert [step.name for step in processing.steps] == list("ABCDEFG")
    assert processing.sorter_names == ("deep", "second")


@pytest.mark.parametrize(
    ("step", "recording"),
    [
        ({"process_type": "Spike sorting", "name": "Spike sorting - R#1"}, "R#1"),
        ({"process_type": "Spike sorting", "name": "Spike sorting_3"}, None),
        (
            {
                "process_type": "Spike sorting",
                "name": "Spike sorting_3",
                "code": {"parameters": {"recording_name": "R#1"}},
            },
            "R#1",
        ),
        ({"name": "Spike sorting - R#1"}, None),
    ],
)
def test_recording_of_a_step_is_in_its_name_or_parameters(step: Any, recording: str | None) -> None:
    assert Processing({"data_processes": [step]}).steps[0].recording == recording


@pytest.mark.parametrize(
    ("pipelines", "expected"),
    [
        ([{"url": "u", "version": None, "name": "n"}], (Pipeline("u", None, "n"),)),
        ({"url": "u"}, (Pipeline("u"),)),
        (["https://u", "n"], (Pipeline("https://u"), Pipeline(name="n"))),
        ([{}, None, 3.5], ()),
        (None, ()),
    ],
)
def test_pipelines_of_any_shape_are_read(pipelines: Any, expected: tuple[Pipeline, ...]) -> None:
    assert Processing({"pipelines": pipelines}).pipelines == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([{"url": "s3://a"}, {"name": "b"}, "c", None], ("s3://a", "b", "c")),
        ("s3://a", ("s3://a",)),
        (None, ()),
    ],
)
def test_inputs_of_any_shape_are_locations(written: Any, expected: tuple[str, ...]) -> None:
    step = {"object_type": "Data process", "code": {"input_data": written}}
    assert Processing({"data_processes": [step]}).steps[0].inputs == expected


def test_dependencies_are_names_of_steps() -> None:
    processing = Record(second_generation()).processing
    assert processing is not None
    assert processing.dependencies == {"Compression": (), "Analysis": ("Compression",)}
    assert Processing({"dependency_graph": None}).dependencies == {}


def test_sorter_names_of_a_copied_raw_file_are_empty() -> None:
    assert Processing({"data_processes": [_step("Compression")]}).sorter_names == ()
