"""Invented records of both schemas, and every answer of a record."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, cast

from aind_session.records import QUESTIONS, Record, input_names, session_of_description
from aind_session.records.shape import View

ASSET_ID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
OTHER_ID = "11112222-3333-4444-5555-666677778888"
SESSION_ID = "ecephys_900001_2031-05-06_07-08-09"
ASSET_NAME = f"{SESSION_ID}_sorted_2031-05-08_01-02-03"
RECORDING = "block1_Probe Q-AP_part1"

#: What each question may read of a record: a change elsewhere must not touch it.
READ_BY: dict[str, frozenset[str]] = {
    question: frozenset(keys.split())
    for keys, questions in {
        "data_description name": "name session_id platform data_level",
        "_id": "id",
        "acquisition data_description name session subject": "subject_id",
        "data_description": (
            "project modalities modalities_as_written investigators source_data tags"
        ),
        "subject": "genotype sex date_of_birth year_of_birth strain species breeding",
        "acquisition session": (
            "acquisition_start acquisition_end session_type experimenters ethics"
        ),
        "acquisition data_description name session": "acquisition_start_doubt",
        "acquisition instrument rig session": "instrument_id",
        "processing": "sorter_names processing",
        "quality_control": "quality_control",
        "procedures": "procedures",
        "external_links location other_identifiers": "codeocean_ids",
        "location": "location bucket prefix",
        "schema_version": "schema_version",
        "_created created": "created",
        "_last_modified last_modified": "modified",
    }.items()
    for question in questions.split()
}

_MADE = Path(__file__).with_name("made_records.json").read_text(encoding="utf-8")


def first_generation() -> dict[str, Any]:
    """Return a complete 1.x record of a sorted asset."""
    made: dict[str, Any] = json.loads(_MADE)["v1"]
    return made


def second_generation() -> dict[str, Any]:
    """Return the 2.x record with the same content."""
    made: dict[str, Any] = json.loads(_MADE)["v2"]
    return made


@cache
def _properties(kind: Any) -> tuple[str, ...]:
    found = (name for name in dir(kind) if not name.startswith("_") and name != "raw")
    return tuple(name for name in found if isinstance(getattr(kind, name), property))


def plain(answer: Any) -> Any:
    """Read everything that an answer offers, down to values that compare."""
    if isinstance(answer, View):
        found = {
            name: plain(getattr(answer, name)) for name in _properties(cast("Any", type(answer)))
        }
        return found | {"repr": repr(answer)}
    if isinstance(answer, tuple):
        return [plain(part) for part in answer]
    fields = getattr(answer, "__dataclass_fields__", None)
    if fields is not None:
        return {name: plain(getattr(answer, name)) for name in fields}
    return answer


def answers(raw: Any) -> dict[str, Any]:
    """Return all answers of a record and of each of its views."""
    record = Record(raw)
    assert repr(record)
    assert isinstance(input_names(raw), tuple)
    assert session_of_description(raw) is None or isinstance(raw, dict)
    return {question: plain(getattr(record, question)) for question in QUESTIONS}
