"""Quality-control core files with probe alignments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aind_session.sandbox.shapes import tables

Json = dict[str, Any]
_SCHEMA = (
    "https://raw.githubusercontent.com/AllenNeuralDynamics/aind-data-schema/main/src/"
    "aind_data_schema/core/quality_control.py"
)


def alignment(channels: Sequence[Mapping[str, Any]], ccf: Sequence[Mapping[str, Any]]) -> str:
    """Write a curation of a probe alignment, the JSON text of a QC metric.

    One mapping for each channel: `x y z axial lateral brain_region_id brain_region`.
    """
    return json.dumps(
        {
            "channel_results": {f"channel_{n}": dict(c) for n, c in enumerate(channels)},
            "ccf_channel_results": {f"channel_{n}": dict(c) for n, c in enumerate(ccf)},
        }
    )


def evaluation(name: str, value: Any, created: str) -> Json:
    """Make one evaluation of a 1.x `quality_control`, with one metric."""
    return {
        "modality": {"name": tables()["modalities"]["ecephys"], "abbreviation": "ecephys"},
        "stage": "Processing",
        "name": name,
        "description": name,
        "metrics": [
            {
                "name": name,
                "value": value,
                "description": None,
                "reference": None,
                "evaluated_assets": None,
                "status_history": [
                    {"evaluator": "Invented Person A", "status": "Pass", "timestamp": created}
                ],
            }
        ],
        "tags": None,
        "notes": None,
        "allow_failed_metrics": False,
        "latest_status": "Pass",
        "created": created,
    }


def quality_control(evaluations: Sequence[Json], generation: str) -> Json:
    """Make the `quality_control` core file; in 2.x it holds the metrics directly."""
    if generation == "v1":
        return {
            "describedBy": _SCHEMA,
            "schema_version": "1.2.2",
            "evaluations": list(evaluations),
            "notes": None,
        }
    metrics = [
        metric
        | {
            "object_type": "QC metric",
            "modality": e["modality"],
            "stage": e["stage"],
            "tags": {"type": e["name"]},
        }
        for e in evaluations
        for metric in e["metrics"]
    ]
    return {
        "describedBy": _SCHEMA,
        "schema_version": "2.4.0",
        "object_type": "Quality control",
        "metrics": metrics,
        "default_grouping": ["type"],
        "allow_tag_failures": [],
        "status": {f"type:{e['name']}": e["latest_status"] for e in evaluations},
        "notes": None,
    }
