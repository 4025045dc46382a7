"""What was done to subjects and specimens, in the layouts of both schemas."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from made_records import first_generation, second_generation

from aind_session.records import Procedures, Record


@pytest.mark.parametrize("raw", [first_generation(), second_generation()], ids=["v1", "v2"])
def test_procedures_of_either_schema_are_the_same(raw: dict[str, Any]) -> None:
    procedures = Record(raw).procedures
    assert procedures is not None
    assert procedures.subject_id == "900001"
    surgery, headframe, injection, restriction, fixation = procedures.all
    assert (surgery.type, surgery.date) == ("Surgery", date(2031, 2, 3))
    assert (headframe.type, headframe.date) == ("Headframe", date(2031, 2, 3))
    assert headframe.experimenters == ("S. Urgeon",)
    assert headframe.protocols == ("dx.doi/2", "dx.doi/1")
    assert procedures.injections == (injection,)
    assert "targeted_structure" in injection.details
    assert "procedures" not in surgery.details
    assert (restriction.type, restriction.date) == ("Water restriction", date(2031, 4, 1))
    assert procedures.on_specimens == (fixation,)
    assert (fixation.type, fixation.date) == ("Fixation", date(2031, 6, 1))
    assert fixation.end_date is None


def test_procedures_of_the_oldest_files_are_read_from_their_lists() -> None:
    procedures = Procedures(
        {
            "headframes": [{"type": "Frame", "start_date": "2031-01-01", "end_date": "2031-01-02"}],
            "injections": [{"type": "virus injection"}, {"injection_materials": []}],
            "craniotomies": None,
        }
    )
    found = [procedure.type for procedure in procedures.all]
    assert found == ["Frame", "virus injection", None]
    assert procedures.all[0].end_date == date(2031, 1, 2)
    assert len(procedures.injections) == 2
