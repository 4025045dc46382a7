"""Quality control in the layouts of both schemas."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from made_records import first_generation, second_generation

from aind_session.records import QualityControl, Record


def _metric(*statuses: str, **others: Any) -> dict[str, Any]:
    history = [{"status": status, "evaluator": "E", "timestamp": None} for status in statuses]
    return {"name": "m", "status_history": history, **others}


def _status(metrics: list[Any], **others: Any) -> Any:
    control = QualityControl({"evaluations": [{"name": "e", "metrics": metrics, **others}]})
    return control.evaluations[0].latest_status


@pytest.mark.parametrize("raw", [first_generation(), second_generation()], ids=["v1", "v2"])
def test_quality_control_of_either_schema_is_the_same(raw: dict[str, Any]) -> None:
    control = Record(raw).quality_control
    assert control is not None
    (metric,) = control.metrics
    assert metric.name == "drift"
    assert metric.value == {"value": "", "options": ["Low", "High"], "type": "dropdown"}
    assert (metric.modality, metric.stage) == ("ecephys", "Processing")
    assert metric.tags == {"type": "Probe Q"}
    assert metric.evaluation == "Probe Q"
    assert metric.status == "Fail"
    assert [change.status for change in metric.history] == ["Pending", "Fail"]
    assert [change.evaluator for change in metric.history] == ["A", "B"]
    assert metric.history[1].timestamp == datetime(2031, 5, 9, 7, tzinfo=timezone.utc)
    assert metric.description == "how far it moved"
    assert metric.reference == "figures/drift.png"
    (evaluation,) = control.evaluations
    assert (evaluation.name, evaluation.modality) == ("Probe Q", "ecephys")
    assert evaluation.stage == "Processing"
    assert evaluation.metrics == (metric,)
    assert evaluation.latest_status == "Fail"
    assert control.status == {"type:Probe Q": "Fail", "ecephys": "Fail", "Processing": "Fail"}


@pytest.mark.parametrize(
    ("metrics", "others", "expected"),
    [
        ([_metric("Fail", "Pass"), _metric("Pass")], {}, "Pass"),
        ([_metric("Pass"), _metric("Pending")], {}, "Pending"),
        ([_metric("Pending"), _metric("Fail")], {}, "Fail"),
        ([_metric("Pass"), _metric("Fail")], {"allow_failed_metrics": True}, "Pass"),
        ([_metric("Pending"), _metric("Fail")], {"allow_failed_metrics": True}, "Pending"),
        ([_metric("Fail")], {"latest_status": "Pass"}, "Pass"),
        ([_metric("Fail")], {"latest_status": None}, "Fail"),
        ([_metric("fail")], {"latest_status": "no status"}, "Fail"),
        ([_metric("unheard of")], {}, None),
        ([_metric()], {}, None),
        ([], {}, None),
    ],
)
def test_evaluation_status_follows_from_its_metrics(
    metrics: list[Any], others: Any, expected: str | None
) -> None:
    assert _status(metrics, **others) == expected


def test_tags_in_a_list_are_numbered() -> None:
    control = QualityControl({"metrics": [_metric("Pass", tags=["red", "bright"])]})
    assert control.metrics[0].tags == {"tag_1": "red", "tag_2": "bright"}
    assert control.metrics[0].evaluation == "red"
    assert control.status == {"tag_1:red": "Pass", "tag_2:bright": "Pass"}


def test_metrics_of_2x_are_grouped_by_name_modality_and_stage() -> None:
    metrics = [
        _metric("Pass", tags={"probe": "A"}, stage="Raw data"),
        _metric("Fail", tags={"probe": "B"}, stage="Raw data"),
        _metric("Pending", tags={"probe": "A"}, stage="Raw data"),
        _metric("Pass", tags={"probe": "A"}, stage="Processing"),
        _metric("Pass"),
    ]
    groups = QualityControl({"metrics": metrics}).evaluations
    found = [(group.name, group.stage, len(group.metrics), group.latest_status) for group in groups]
    assert found == [
        ("A", "Raw data", 2, "Pending"),
        ("B", "Raw data", 1, "Fail"),
        ("A", "Processing", 1, "Pass"),
        (None, None, 1, "Pass"),
    ]


@pytest.mark.parametrize("allowed", [["A"], ["probe:A"]])
def test_status_with_tags_that_may_fail_passes(allowed: list[str]) -> None:
    metrics = [_metric("Fail", tags={"probe": "A"}), _metric("Fail", tags={"probe": "B"})]
    control = QualityControl({"metrics": metrics, "allow_tag_failures": allowed})
    assert [group.latest_status for group in control.evaluations] == ["Pass", "Fail"]
    assert control.status == {"probe:A": "Pass", "probe:B": "Fail"}


def test_status_in_the_record_is_used() -> None:
    written = {"probe:A": "Fail", "ecephys": "pending", "odd": "?", "null": None}
    metrics = [_metric("Pass", tags={"probe": "A"})]
    control = QualityControl({"metrics": metrics, "status": written})
    assert control.status == {"probe:A": "Fail", "ecephys": "Pending"}


def test_status_of_a_stage_joins_its_evaluations() -> None:
    stage = {"stage": "Raw data"}
    control = QualityControl(
        {
            "evaluations": [
                {"name": "a", "metrics": [_metric("Pass")], **stage},
                {"name": "b", "latest_status": "Pending", "metrics": [], **stage},
            ]
        }
    )
    assert control.status == {"type:a": "Pass", "type:b": "Pending", "Raw data": "Pending"}


def test_metrics_in_both_layouts_are_all_found() -> None:
    evaluation = {"name": "e", "metrics": [_metric("Pass")]}
    control = QualityControl({"evaluations": [evaluation], "metrics": [_metric("Fail")]})
    assert [metric.status for metric in control.metrics] == ["Pass", "Fail"]
    assert [metric.evaluation for metric in control.metrics] == ["e", None]
    assert len(control.evaluations) == 2


def test_evaluation_has_its_own_fields() -> None:
    written = {
        "name": "e",
        "description": "d",
        "tags": ["t"],
        "notes": "n",
        "created": "2031-05-08T00:00:00Z",
        "metrics": None,
    }
    (evaluation,) = QualityControl({"evaluations": [written]}).evaluations
    assert (evaluation.description, evaluation.tags, evaluation.notes) == ("d", ("t",), "n")
    assert evaluation.created == datetime(2031, 5, 8, tzinfo=timezone.utc)
    assert evaluation.metrics == ()


def test_curations_of_either_layout_are_read() -> None:
    history = [{"curator": "C", "timestamp": "2031-05-08T00:00:00Z"}]
    new = _metric("Pass", type="Sorting curation", curation_history=history)
    old = _metric("Pass", value={"type": "curation", "curations": [], "curation_history": history})
    for metric, kind in ((new, "Sorting curation"), (old, "curation")):
        read = QualityControl({"metrics": [metric]}).metrics[0]
        assert read.type == kind
        assert read.curation_history == tuple(history)
    assert QualityControl({"metrics": [_metric()]}).metrics[0].curation_history == ()
