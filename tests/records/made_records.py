"""Invented records of both schemas, and every answer of a record."""

from __future__ import annotations

from typing import Any

from aind_session.records import QUESTIONS, Record, input_names, session_of_description
from aind_session.records.shape import View

ASSET_ID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
OTHER_ID = "11112222-3333-4444-5555-666677778888"
SESSION_ID = "ecephys_900001_2031-05-06_07-08-09"
ASSET_NAME = f"{SESSION_ID}_sorted_2031-05-08_01-02-03"
RECORDING = "block1_Probe Q-AP_part1"

#: The questions that must not be touched by a change elsewhere: what each may read of a record.
READ_BY: dict[str, frozenset[str]] = {
    question: frozenset(keys.split())
    for question, keys in {
        "name": "name data_description",
        "id": "_id",
        "session_id": "name data_description",
        "subject_id": "subject data_description session acquisition name",
        "platform": "data_description name",
        "project": "data_description",
        "data_level": "data_description name",
        "modalities": "data_description",
        "modalities_as_written": "data_description",
        "genotype": "subject",
        "sex": "subject",
        "date_of_birth": "subject",
        "year_of_birth": "subject",
        "strain": "subject",
        "species": "subject",
        "breeding": "subject",
        "acquisition_start": "session acquisition",
        "acquisition_start_doubt": "session acquisition name data_description",
        "acquisition_end": "session acquisition",
        "session_type": "session acquisition",
        "experimenters": "session acquisition",
        "investigators": "data_description",
        "instrument_id": "session acquisition rig instrument",
        "ethics": "session acquisition",
        "source_data": "data_description",
        "tags": "data_description",
        "sorter_names": "processing",
        "processing": "processing",
        "quality_control": "quality_control",
        "procedures": "procedures",
        "codeocean_ids": "external_links other_identifiers location",
        "location": "location",
        "bucket": "location",
        "prefix": "location",
        "schema_version": "schema_version",
        "created": "created _created",
        "modified": "last_modified _last_modified",
    }.items()
}


def first_generation() -> dict[str, Any]:
    """Make a complete 1.x record of a sorted asset."""
    metric = {
        "name": "drift",
        "value": {"value": "", "options": ["Low", "High"], "type": "dropdown"},
        "status_history": [
            {"evaluator": "A", "status": "Pending", "timestamp": "2031-05-08T00:00:00Z"},
            {"evaluator": "B", "status": "Fail", "timestamp": "2031-05-09T00:00:00-07:00"},
        ],
        "description": "how far it moved",
        "reference": "figures/drift.png",
    }
    return {
        "_id": "record-1",
        "name": ASSET_NAME,
        "schema_version": "1.1.1",
        "created": "2031-05-09T01:02:03.123456",
        "last_modified": "2031-05-10T01:02:03.123Z",
        "location": f"s3://codeocean-s3datasetsbucket-invented/{ASSET_ID}",
        "external_links": {"Code Ocean": [ASSET_ID]},
        "metadata_status": "Unknown",
        "subject": {
            "schema_version": "1.0.3",
            "subject_id": "900001",
            "sex": "Female",
            "date_of_birth": "2030-11-12",
            "genotype": "Abc-Cre/wt",
            "species": {"name": "Mus inventus", "registry": None},
            "background_strain": "BALB/x",
            "breeding_info": {"breeding_group": "G7", "maternal_id": "1", "paternal_id": None},
        },
        "data_description": {
            "schema_version": "1.0.4",
            "name": ASSET_NAME,
            "subject_id": "900001",
            "project_name": "Invention",
            "data_level": "derived",
            "platform": {"name": "Electrophysiology platform", "abbreviation": "ecephys"},
            "modality": [
                {"name": "Extracellular electrophysiology", "abbreviation": "ecephys"},
                {"name": "Behavior", "abbreviation": "trained-behavior"},
            ],
            "investigators": [{"name": "P. Investigator", "registry": None}],
            "input_data_name": SESSION_ID,
        },
        "session": {
            "schema_version": "1.1.2",
            "session_start_time": "2031-05-06T07:08:09-07:00",
            "session_end_time": "2031-05-06T08:08:09-07:00",
            "session_type": "Invented task",
            "experimenter_full_name": ["E. One", "E. Two"],
            "rig_id": "RIG.9",
            "iacuc_protocol": "4321",
            "data_streams": [{"stream_modalities": []}],
        },
        "acquisition": None,
        "rig": {"schema_version": "1.1.1", "rig_id": "000_RIG9_20310101"},
        "instrument": None,
        "procedures": {
            "schema_version": "1.2.1",
            "subject_id": "900001",
            "subject_procedures": [
                {
                    "procedure_type": "Surgery",
                    "start_date": "2031-02-03",
                    "experimenter_full_name": "S. Urgeon",
                    "protocol_id": "dx.doi/1",
                    "procedures": [
                        {"procedure_type": "Headframe", "protocol_id": "dx.doi/2"},
                        {"procedure_type": "Nanoject injection", "targeted_structure": "XYZ"},
                    ],
                },
                {"procedure_type": "Water restriction", "start_date": "2031-04-01"},
            ],
            "specimen_procedures": [{"procedure_type": "Fixation", "start_date": "2031-06-01"}],
        },
        "processing": {
            "schema_version": "1.1.4",
            "processing_pipeline": {
                "pipeline_url": "https://example.org/pipeline",
                "pipeline_version": "2.1",
                "data_processes": [
                    {
                        "name": "Compression",
                        "software_version": "0.3.5",
                        "start_date_time": "2031-05-08T00:00:00Z",
                        "end_date_time": "2031-05-08T00:10:00Z",
                        "input_location": "/in",
                        "output_location": "s3://out",
                        "code_url": "https://example.org/compress",
                        "parameters": {"level": 3},
                        "outputs": {"ratio": 0.5},
                    },
                    {
                        "name": "Spike sorting",
                        "software_version": "0.1",
                        "start_date_time": "2031-05-08T01:00:00",
                        "parameters": {"sorter_name": "sorterx", "recording_name": RECORDING},
                    },
                ],
            },
            "analyses": [{"name": "Analysis", "analyst_full_name": "A. Nalyst"}],
        },
        "quality_control": {
            "schema_version": "1.2.2",
            "evaluations": [
                {
                    "name": "Probe Q",
                    "modality": {"name": "x", "abbreviation": "ecephys"},
                    "stage": "Processing",
                    "allow_failed_metrics": False,
                    "metrics": [metric],
                }
            ],
        },
    }


def second_generation() -> dict[str, Any]:
    """Return the 2.x record with the same content."""
    history = [
        {"evaluator": "A", "status": "Pending", "timestamp": "2031-05-08T00:00:00Z"},
        {"evaluator": "B", "status": "Fail", "timestamp": "2031-05-09T00:00:00-07:00"},
    ]
    return {
        "_id": "record-2",
        "object_type": "Metadata",
        "name": ASSET_NAME,
        "schema_version": "2.5.1",
        "_created": "2031-05-09T01:02:03.123Z",
        "_last_modified": "2031-05-10T01:02:03.123Z",
        "location": f"s3://codeocean-s3datasetsbucket-invented/{ASSET_ID}",
        "other_identifiers": {"Code Ocean": [ASSET_ID]},
        "model": None,
        "subject": {
            "object_type": "Subject",
            "schema_version": "2.0.12",
            "subject_id": "900001",
            "subject_details": {
                "object_type": "Mouse subject",
                "sex": "Female",
                "date_of_birth": "2030-11-12",
                "genotype": "Abc-Cre/wt",
                "species": {"name": "Mus inventus"},
                "strain": {"name": "BALB/x"},
                "breeding_info": {"breeding_group": "G7", "maternal_id": "1"},
            },
        },
        "data_description": {
            "object_type": "Data description",
            "schema_version": "2.3.0",
            "name": ASSET_NAME,
            "subject_id": "900001",
            "project_name": "Invention",
            "data_level": "derived",
            "modalities": [{"abbreviation": "behavior"}, {"abbreviation": "ecephys"}],
            "investigators": [{"object_type": "Person", "name": "P. Investigator"}],
            "source_data": [SESSION_ID],
            "tags": ["t1", "t2"],
        },
        "acquisition": {
            "object_type": "Acquisition",
            "schema_version": "2.0.34",
            "acquisition_start_time": "2031-05-06 07:08:09-07:00",
            "acquisition_end_time": "2031-05-06 08:08:09-07:00",
            "acquisition_start_tz": -7,
            "acquisition_type": "Invented task",
            "experimenters": ["E. One", "E. Two"],
            "instrument_id": "000_RIG9_20310101",
            "ethics_review_id": ["4321"],
        },
        "instrument": {"schema_version": "2.0.38", "instrument_id": "000_RIG9_20310101"},
        "procedures": {
            "object_type": "Procedures",
            "schema_version": "2.0.32",
            "subject_id": "900001",
            "subject_procedures": [
                {
                    "object_type": "Surgery",
                    "start_date": "2031-02-03",
                    "experimenters": ["S. Urgeon"],
                    "protocol_id": "dx.doi/1",
                    "procedures": [
                        {"object_type": "Headframe", "protocol_id": "dx.doi/2"},
                        {"object_type": "Brain injection", "targeted_structure": {"name": "XYZ"}},
                    ],
                },
                {"object_type": "Water restriction", "start_date": "2031-04-01"},
            ],
            "specimen_procedures": [
                {
                    "object_type": "Specimen procedure",
                    "procedure_type": "Fixation",
                    "start_date": "2031-06-01",
                }
            ],
        },
        "processing": {
            "object_type": "Processing",
            "schema_version": "2.2.0",
            "pipelines": [{"url": "https://example.org/pipeline", "version": "2.1", "name": "P"}],
            "data_processes": [
                {
                    "object_type": "Data process",
                    "process_type": "Compression",
                    "name": "Compression",
                    "stage": "Processing",
                    "code": {
                        "url": "https://example.org/compress",
                        "version": "0.3.5",
                        "parameters": {"level": 3},
                        "input_data": [{"url": "/in"}],
                    },
                    "start_date_time": "2031-05-08T00:00:00Z",
                    "end_date_time": "2031-05-08T00:10:00Z",
                    "output_path": "s3://out",
                    "output_parameters": {"ratio": 0.5},
                },
                {
                    "object_type": "Data process",
                    "process_type": "Spike sorting",
                    "name": f"Spike sorting - {RECORDING}",
                    "stage": "Processing",
                    "code": {"version": "0.1", "parameters": {"sorter_name": "sorterx"}},
                    "start_date_time": "2031-05-08T01:00:00Z",
                },
                {
                    "object_type": "Data process",
                    "process_type": "Analysis",
                    "name": "Analysis",
                    "stage": "Analysis",
                    "experimenters": ["A. Nalyst"],
                    "code": {"version": "unknown"},
                },
            ],
            "dependency_graph": {"Compression": [], "Analysis": ["Compression"]},
        },
        "quality_control": {
            "object_type": "Quality control",
            "schema_version": "2.4.0",
            "metrics": [
                {
                    "object_type": "QC metric",
                    "name": "drift",
                    "modality": {"name": "x", "abbreviation": "ecephys"},
                    "stage": "Processing",
                    "value": {"value": "", "options": ["Low", "High"], "type": "dropdown"},
                    "status_history": history,
                    "description": "how far it moved",
                    "reference": "figures/drift.png",
                    "tags": {"type": "Probe Q"},
                }
            ],
            "default_grouping": ["type"],
            "allow_tag_failures": [],
        },
    }


def plain(answer: Any) -> Any:
    """Read everything that an answer offers, down to values that compare."""
    if isinstance(answer, View):
        names = [name for name in dir(type(answer)) if not name.startswith("_")]
        kinds = {name: getattr(type(answer), name) for name in names}
        return {
            name: plain(getattr(answer, name))
            for name, kind in kinds.items()
            if isinstance(kind, property) and name != "raw"
        } | {"repr": repr(answer)}
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
