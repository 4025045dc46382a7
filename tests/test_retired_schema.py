"""DocDB without schema 1.x: every record upgraded to 2.x, the answers are those of before."""

from __future__ import annotations

import doctest
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aind_session
from aind_session.records.modalities import current_modalities
from aind_session.sandbox import Catalogue, Sandbox
from aind_session.services import docdb
from aind_session.threads import gather
from rows import columns_of
from test_readme import examples

Record = dict[str, Any]


def upgraded(old: Record) -> Record:
    """Move what questions are about to its places in 2.x, as the service's upgrade does."""
    described, subject, recorded = (
        old.get(core) or {} for core in ("data_description", "subject", "session")
    )
    names = tuple(one["abbreviation"] for one in described.get("modality") or ())
    return {
        "_id": f"upgraded-{old['_id']}",
        "_created": old.get("created"),
        "schema_version": "2.1.0",
        "name": old["name"],
        "location": old["location"],
        "other_identifiers": old.get("external_links"),
        "subject": {
            "schema_version": "2.0.7",
            "subject_id": subject.get("subject_id"),
            "subject_details": {
                key: subject.get(key) for key in ("genotype", "sex", "date_of_birth", "species")
            },
        },
        "data_description": {
            **{key: value for key, value in described.items() if key != "modality"},
            "schema_version": "2.3.0",
            "modalities": [{"abbreviation": name} for name in current_modalities(names)],
        },
        "acquisition": {
            "schema_version": "2.0.31",
            "subject_id": recorded.get("subject_id"),
            "acquisition_start_time": recorded.get("session_start_time"),
            "acquisition_type": recorded.get("session_type"),
        },
    }


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Return the bundled catalogue with every record in 2.x."""
    made = Catalogue.bundled()
    already = {record["name"] for record in made.docdb_v2}
    made.docdb_v2 += [upgraded(old) for old in made.docdb_v1 if old["name"] not in already]
    return made


@pytest.fixture
def retired(catalogue: Catalogue) -> Iterator[Sandbox]:
    with aind_session.sandbox(catalogue) as box, warnings.catch_warnings():
        warnings.simplefilter("error", aind_session.PartialAnswerWarning)
        box.retire("docdb", "v1")
        yield box


COLUMNS = ("id", "genotype", "sex", "project", "modalities", "folder", "n_assets", "derived:*")
ANSWERS: dict[str, Callable[[], Any]] = {
    "search": lambda: aind_session.get_sessions([676909, 668759, 717381, 999999]),
    "filter": lambda: aind_session.get_sessions(platform="ecephys", start_date="2023-12"),
    "by project": lambda: aind_session.get_sessions(project="Invented project B"),
    "by modality": lambda: aind_session.get_sessions(676909, modality="behavior-videos"),
    "table": lambda: columns_of(aind_session.get_sessions([676909, 999999]), COLUMNS),
    "projects": lambda: aind_session.list_projects(),
    "platforms": lambda: aind_session.list_platforms(),
    "folders": lambda: [s.raw_data_dir.as_posix() for s in aind_session.get_sessions(676909)],
    "modalities": lambda: [s.modalities for s in aind_session.get_sessions(676909)],
    "values": lambda: [
        (s.docdb.project, s.docdb.genotype, s.docdb.session_type, s.docdb.date_of_birth)
        for s in aind_session.get_sessions(676909)
    ],
    "sorted": lambda: [s.ecephys.is_sorted for s in aind_session.get_sessions(676909)],
    "subject": lambda: aind_session.Subject(676909).docdb.genotype,
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_with_1x_retired_are_the_same(name: str, catalogue: Catalogue) -> None:
    with aind_session.sandbox():
        before = ANSWERS[name]()
    with aind_session.sandbox(catalogue) as box, warnings.catch_warnings():
        warnings.simplefilter("error", aind_session.PartialAnswerWarning)
        box.retire("docdb", "v1")
        assert ANSWERS[name]() == before
        refused = [r for r in box.requests if r.service == "docdb" and "/v1/" in r.path]
        # It is not queried again; requests at the same time may each find out.
        assert len(refused) <= 3
        assert docdb.retired_schemas() == (("v1",) if refused else ())
    assert before


def test_requests_at_the_same_time_find_out_together(
    retired: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    retired.latency = 0.2
    ids = ("a", "b", "c")
    found = gather(*(lambda i=i: docdb.find_one("v1", {"_id": i}, {"_id": 1}) for i in ids))
    retired.latency = 0.0
    assert found == [None] * 3
    assert retired.count("docdb") == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_examples_of_the_readme_with_1x_retired_print_what_they_show(retired: Sandbox) -> None:
    text = examples()
    # What shows a record as it is stored.
    as_stored = ("docdb[", ".keys()", "schema_version")
    text.examples = [e for e in text.examples if not any(one in e.source for one in as_stored)]
    output: list[str] = []
    found = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(
        text, out=output.append
    )
    assert not found.failed, "".join(output)
    assert found.attempted > 35
