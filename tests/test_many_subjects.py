"""Many subjects at once: found as each would be alone, with few requests."""

from __future__ import annotations

import json

import pytest

import aind_session
from aind_session import PartialAnswerWarning, Session, Sessions
from aind_session.clock import use_clock
from aind_session.lookup.evidence import MAX_SEPARATE_SUBJECTS
from aind_session.sandbox import Catalogue
from aind_session.sandbox.server import Request, Response
from loopback import FakeClock
from worlds import invent_cohort, invent_world


def _subjects(cohort: Catalogue) -> list[str]:
    return sorted({str(r["subject"]["subject_id"]) for r in cohort.docdb_v1})


def test_world_of_many_subjects_is_found_whole() -> None:
    catalogue, truth = invent_world(31, 420)
    assert len(truth.subjects) > MAX_SEPARATE_SUBJECTS
    with aind_session.sandbox(catalogue):
        found = aind_session.get_sessions(truth.subjects).prefetch()
        expected = {s for subject in truth.subjects.values() for s in subject.sessions}
        assert {s.id for s in found} == expected
        for session in found:
            of = truth.sessions[session.id]
            assert {a.id for a in session.data_assets} - of.listed_but_closed == of.assets


def test_table_of_two_thousand_sessions_makes_few_requests() -> None:
    cohort = invent_cohort(n_subjects=200, sessions_per_subject=10, assets_per_session=2)
    with aind_session.sandbox(cohort) as box:
        sessions = aind_session.get_sessions(_subjects(cohort))
        assert sessions.to_pandas().shape[0] == 2000
        assert [len(s.data_assets) for s in sessions] == [2] * 2000
        assert box.count() <= 60


def test_subject_is_read_from_any_of_its_records() -> None:
    catalogue = Catalogue()
    with_record, without, of_another, bare = (
        *("ecephys_990001_2024-01-01_10-00-00", "ecephys_990001_2024-01-02_10-00-00"),
        *("ecephys_990002_2024-01-01_10-00-00", "990001_2024-01-01_10-00-00"),
    )
    subject = {"subject_id": "990001", "genotype": "wt", "sex": "Male"}
    subject["date_of_birth"] = "2023-12-01"
    description = {"project_name": "Invented"}
    record = {"_id": "1", "name": with_record, "subject": subject, "data_description": description}
    catalogue.add_record("v1", record)
    catalogue.add_record("v1", {"_id": "2", "name": without, "subject": None})
    catalogue.add_record("v2", {"_id": "3", "name": of_another})
    sessions = Sessions(map(Session, (with_record, without, of_another, bare)))
    columns = ["genotype", "sex", "age_days", "project"]
    with aind_session.sandbox(catalogue):
        for more in ([], ["n_assets"]):
            table = sessions.to_polars([*columns, *more]).select(columns)
            assert table.rows() == [
                ("wt", "Male", 31, "Invented"),
                # What was recorded is its own, who was recorded is known.
                ("wt", "Male", 32, None),
                (None, None, None, None),
                ("wt", "Male", 31, "Invented"),
            ]


@pytest.mark.parametrize("kept", [0, 1])
def test_service_without_combined_search_gets_single_requests(kept: int) -> None:
    """The service finds nothing for several names, or what the first of them has."""
    cohort = invent_cohort(n_subjects=40, sessions_per_subject=2, assets_per_session=2)
    with aind_session.sandbox(cohort) as box:
        service = box.middleware.services["codeocean"]

        def literal(request: Request) -> Response:
            body = json.loads(request.body or b"{}")
            names = body.get("query", "").split("name:")
            if len(names) > 2:
                if not kept:
                    return Response(200, b'{"results": [], "has_more": false}', {})
                request.body = json.dumps({**body, "query": f"name:{names[1].strip()}"}).encode()
            return service(request)

        box.middleware.services = {**box.middleware.services, "codeocean": literal}
        sessions = aind_session.get_sessions(_subjects(cohort))
        assert len(sessions) == 80
        assert [len(s.data_assets) for s in sessions] == [2] * 80
        assert box.count("codeocean") > 40


def test_code_ocean_down_gets_few_requests() -> None:
    cohort = invent_cohort(n_subjects=40, sessions_per_subject=2, assets_per_session=2)
    with aind_session.sandbox(cohort) as box, box.down("codeocean"), use_clock(FakeClock()):
        with pytest.warns(PartialAnswerWarning, match="Code Ocean"):
            sessions = aind_session.get_sessions(_subjects(cohort))
        assert len(sessions) == 80
        assert box.count("codeocean") < 40
