"""Sessions that only the record of a derived data asset describes."""

from __future__ import annotations

import datetime
import pickle

import aind_session
from aind_session.sandbox import Sandbox

SESSION = "222426_2016-02-04_10-25-24"
RECORD = {
    "_id": "11111111-1111-4111-8111-111111111111",
    "name": f"{SESSION}_nwb_2026-08-19_17-50-08",
    "location": f"s3://aind-open-data/{SESSION}_nwb_2026-08-19_17-50-08",
    "created": "2026-08-19T17:50:08Z",
    "schema_version": "1.1.1",
    "subject": {
        "subject_id": "222426",
        "genotype": "Cux2-CreERT2/wt",
        "sex": "Male",
        "date_of_birth": "2015-10-01",
    },
    "data_description": {
        "project_name": "Visual Coding",
        "data_level": "derived",
        "modality": [{"abbreviation": "ecephys", "name": "Extracellular electrophysiology"}],
    },
    "session": {"experimenter_full_name": ["A Person"], "session_type": "gratings"},
}


def test_docdb_of_session_with_derived_record_only_agrees_with_the_table(box: Sandbox) -> None:
    box.catalogue.docdb_v1.append(RECORD)
    session = aind_session.Session(SESSION)
    docdb = session.docdb
    assert (docdb, docdb.v1, docdb.v2) == ({}, {}, {})
    assert docdb.experimenters == ("A Person",)
    row = aind_session.get_sessions(222426).to_pandas(
        ["genotype", "sex", "date_of_birth", "project", "session_type", "modalities"]
    )
    assert row.to_dict("records") == [
        {
            "genotype": docdb.genotype,
            "sex": docdb.sex,
            "date_of_birth": docdb.date_of_birth,
            "project": docdb.project,
            "session_type": docdb.session_type,
            "modalities": list(docdb.modalities),
        }
    ]
    assert docdb.genotype == session.subject.docdb.genotype == "Cux2-CreERT2/wt"
    assert docdb.date_of_birth == datetime.date(2015, 10, 1)


def test_docdb_of_session_with_derived_record_only_has_nothing_about_the_asset(
    box: Sandbox,
) -> None:
    box.catalogue.docdb_v1.append(RECORD)
    docdb = aind_session.Session(SESSION).docdb
    assert (docdb.name, docdb.location, docdb.processing, docdb.codeocean_ids) == (
        *(None, None, None),
        (),
    )


def test_docdb_of_session_with_two_derived_records_agrees_with_the_table(box: Sandbox) -> None:
    newest = {
        **RECORD,
        "_id": "22222222-2222-4222-8222-222222222222",
        "name": f"{SESSION}_dlc_2026-09-01_00-00-00",
        "location": f"s3://aind-open-data/{SESSION}_dlc_2026-09-01_00-00-00",
        "created": "2026-09-01T00:00:00Z",
        "subject": {"subject_id": "222426", "sex": "Female"},
    }
    box.catalogue.docdb_v1.extend([newest, RECORD])
    docdb = aind_session.Session(SESSION).docdb
    (row,) = aind_session.get_sessions(222426).to_pandas(["genotype", "sex"]).to_dict("records")
    assert row == {"genotype": docdb.genotype, "sex": docdb.sex}
    assert docdb.genotype == "Cux2-CreERT2/wt"
    assert pickle.loads(pickle.dumps(docdb)).genotype == docdb.genotype
