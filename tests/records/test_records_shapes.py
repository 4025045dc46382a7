"""Every shape in which records of either schema contain an answer, and that answer."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from made_records import (
    ASSET_ID,
    ASSET_NAME,
    OTHER_ID,
    SESSION_ID,
    first_generation,
    second_generation,
)

from aind_session.records import QUESTIONS, Record, modality_abbreviation

UTC = timezone.utc
#: A record, and some of its answers by question.
Row = tuple[dict[str, Any], dict[str, Any]]
MADE = pytest.mark.parametrize("raw", [first_generation(), second_generation()], ids=["v1", "v2"])


@MADE
def test_record_of_either_schema_gives_the_same_answers(raw: dict[str, Any]) -> None:
    start = datetime(2031, 5, 6, 14, 8, 9, tzinfo=UTC)
    place = f"codeocean-s3datasetsbucket-invented/{ASSET_ID}"
    record = Record(raw)
    expected: dict[str, Any] = {
        **{"name": ASSET_NAME, "session_id": SESSION_ID, "subject_id": "900001"},
        **{"platform": "ecephys", "project": "Invention", "data_level": "derived"},
        **{"modalities": ("behavior", "ecephys"), "genotype": "Abc-Cre/wt", "sex": "Female"},
        **{"date_of_birth": date(2030, 11, 12), "year_of_birth": 2030, "strain": "BALB/x"},
        "species": "Mus inventus",
        "breeding": {"breeding_group": "G7", "maternal_id": "1"},
        **{"acquisition_start": start, "acquisition_end": start + timedelta(hours=1)},
        **{"acquisition_start_doubt": None, "session_type": "Invented task"},
        **{"experimenters": ("E. One", "E. Two"), "investigators": ("P. Investigator",)},
        **{"instrument_id": "000_RIG9_20310101", "ethics": ("4321",)},
        **{"source_data": (SESSION_ID,), "sorter_names": ("sorterx",)},
        **{"codeocean_ids": (ASSET_ID,), "location": f"s3://{place}"},
        **{"bucket": place.partition("/")[0], "prefix": ASSET_ID},
        "modified": datetime(2031, 5, 10, 1, 2, 3, 123000, tzinfo=UTC),
        **{"schema_version": raw["schema_version"], "id": raw["_id"]},
    }
    assert {question: getattr(record, question) for question in expected} == expected
    assert record.created is not None
    assert record.created.replace(microsecond=0) == datetime(2031, 5, 9, 1, 2, 3, tzinfo=UTC)
    assert record.created.utcoffset() == timedelta(0)


def test_record_of_one_schema_only_gives_its_own_answers() -> None:
    old, new = Record(first_generation()), Record(second_generation())
    assert (old.tags, new.tags) == ((), ("t1", "t2"))
    assert old.modalities_as_written == ("ecephys", "trained-behavior")


def test_record_with_core_files_of_both_schemas_gives_the_same_answers() -> None:
    old, new = first_generation(), second_generation()
    for core in ("subject", "data_description", "processing", "quality_control", "procedures"):
        for mixed in ({**old, core: new[core]}, {**new, core: old[core]}):
            record = Record(mixed)
            assert record.genotype == "Abc-Cre/wt"
            assert record.modalities == ("behavior", "ecephys")
            assert record.source_data == (SESSION_ID,)
            assert record.sorter_names == ("sorterx",)
            assert record.quality_control is not None
            assert [metric.status for metric in record.quality_control.metrics] == ["Fail"]
            assert record.acquisition_start is not None


def test_record_with_both_envelopes_gives_the_answers_of_both() -> None:
    record = Record({**first_generation(), **second_generation(), "session": None, "rig": None})
    assert record.experimenters == ("E. One", "E. Two")
    assert record.codeocean_ids == (ASSET_ID,)
    assert record.created == datetime(2031, 5, 9, 1, 2, 3, 123456, tzinfo=UTC)


def _described(**core: Any) -> dict[str, Any]:
    return {"name": SESSION_ID, "data_description": core}


def _subject(**core: Any) -> dict[str, Any]:
    return {"subject": core}


def _level(name: str, written: Any, expected: str | None) -> Row:
    return {"name": name, "data_description": {"data_level": written}}, {"data_level": expected}


def _linked(links: Any, *expected: str) -> tuple[Row, Row]:
    place = {"location": f"s3://aind-open-data/{SESSION_ID}"}
    found = {"codeocean_ids": expected}
    return ({"external_links": links, **place}, found), (
        {"other_identifiers": links, **place},
        found,
    )


def _modalities(written: Any, as_written: tuple[str, ...], current: tuple[str, ...]) -> list[Row]:
    found = {"modalities_as_written": as_written, "modalities": current}
    return [(_described(**{key: written}), found) for key in ("modality", "modalities")]


def _at(location: Any, bucket: str | None, prefix: str | None) -> Row:
    return {"location": location}, {"location": location, "bucket": bucket, "prefix": prefix}


BOTH = {"sex": "Male", "subject_details": {"sex": "Female"}}
OLD, NEW = first_generation()["session"], second_generation()["acquisition"]
EMPTY = {"schema_version": "2.0.0"}
START = datetime(2031, 5, 6, 14, 8, 9, tzinfo=UTC)
LIGHT_SHEET = {
    "schema_version": "0.5.1",
    "session_start_time": "2031-05-06T07:08:09",
    "session_end_time": "2031-05-06T09:08:09",
    "experimenter_full_name": "E. One",
    "instrument_id": "Scope1",
    "session_type": None,
}
INNER = f"{'9' * 8}{ASSET_ID[8:]}"
INNER_PLACE = {"location": f"s3://codeocean-s3datasetsbucket-invented/{INNER}"}
SHORT_RIG = {"session": {"rig_id": "SHORT.1"}}
#: Records, and what they answer to some questions.
ROWS: list[Row] = [
    # A core file with the keys of both schemas is read by its version.
    (_subject(**BOTH, schema_version="1.0.3"), {"sex": "Male"}),
    (_subject(**BOTH, schema_version="2.0.1"), {"sex": "Female"}),
    (_subject(**BOTH, object_type="Subject"), {"sex": "Female"}),
    (_subject(**BOTH), {"sex": "Male"}),
    # A recording in two files is read from the first with an answer.
    (
        {"session": OLD, "acquisition": EMPTY},
        {"session_type": "Invented task", "acquisition_start": START},
    ),
    (
        {
            "session": {**OLD, "session_start_time": "2031-05-07T00:00:00Z", "iacuc_protocol": 77},
            "acquisition": {**NEW, "ethics_review_id": None},
        },
        {"acquisition_start": START, "ethics": ("77",)},
    ),
    # An acquisition of a light-sheet microscope in 1.x has the keys of a session.
    (
        {"acquisition": LIGHT_SHEET, "session": None},
        {
            "acquisition_start": START,
            "acquisition_end": START + timedelta(hours=2),
            "experimenters": ("E. One",),
            "instrument_id": "Scope1",
            "session_type": None,
        },
    ),
    # Names.
    *(
        ({"acquisition": core}, {"experimenters": expected})
        for core, expected in (
            ({"experimenter_full_name": ["E. One", None, "", "E. Two"]}, ("E. One", "E. Two")),
            ({"experimenter_full_name": []}, ()),
            ({"experimenters": [{"object_type": "Person", "name": "E. One"}]}, ("E. One",)),
            ({"experimenters": [{"name": None}, 5, []]}, ("5",)),
            ({}, ()),
        )
    ),
    *(
        (_described(investigators=written), {"investigators": expected})
        for written, expected in (
            ([{"name": "P", "abbreviation": None}, {"name": "Q"}], ("P", "Q")),
            (["P", "Q"], ("P", "Q")),
            ("P", ("P",)),
            ([], ()),
            (None, ()),
        )
    ),
    # Modalities.
    *_modalities([{"name": "Fiber photometry", "abbreviation": "FIP"}], ("FIP",), ("fib",)),
    *_modalities("SmartSPIM", ("SmartSPIM",), ("SPIM",)),
    *_modalities(
        ["slap", "behavior", "slap2"], ("slap", "behavior", "slap2"), ("behavior", "slap2")
    ),
    *_modalities(
        ["name='Extracellular electrophysiology' abbreviation='ecephys'"],
        *(("ecephys",), ("ecephys",)),
    ),
    *_modalities(
        [{"name": "Planar optical physiology"}], ("Planar optical physiology",), ("pophys",)
    ),
    *_modalities({"name": "Behavior", "abbreviation": "behavior"}, ("behavior",), ("behavior",)),
    *_modalities(
        ["single-plane-ophys", "exaSPIM"], ("single-plane-ophys", "exaSPIM"), ("SPIM", "pophys")
    ),
    *_modalities([{"abbreviation": None}, None, 3.5, []], (), ()),
    *_modalities(None, (), ()),
    # The name decides about the data level first.
    _level(SESSION_ID, "raw", "raw"),
    _level(SESSION_ID, None, "raw"),
    _level("900001_2031-05-06_07-08-09", "derived", "raw"),
    _level(ASSET_NAME, "raw", "derived"),
    _level(f"{SESSION_ID}_None_2031-05-08_01-02-03", "raw data", "derived"),
    _level(f"{SESSION_ID}_sorted_curated", "raw", "derived"),
    _level(f"{SESSION_ID}_raw_data", "derived", "raw"),
    _level("Example images", "raw data", "raw"),
    _level("Example images", "derived data", "derived"),
    _level("Example images", "Derived", "derived"),
    _level("Example images", "other", None),
    _level("Example images", None, None),
    _level(SESSION_ID, "simulated", "simulated"),
    # Platforms.
    (_described(platform={"name": "x", "abbreviation": "FIP"}), {"platform": "FIP"}),
    (_described(platform="FIP"), {"platform": "FIP"}),
    (_described(platform=None, experiment_type="FIP"), {"platform": "FIP"}),
    (_described(), {"platform": "ecephys"}),
    ({"name": "900001_2031-05-06_07-08-09"}, {"platform": None}),
    # Subjects.
    (
        _subject(background_strain={"name": "S"}, species="Mus x"),
        {"strain": "S", "species": "Mus x", "breeding": None},
    ),
    (
        _subject(breeding_group=None, maternal_id="2", paternal_genotype="wt"),
        {"strain": None, "breeding": {"maternal_id": "2", "paternal_genotype": "wt"}},
    ),
    (_subject(breeding_info={"object_type": "x"}, maternal_id=None), {"breeding": None}),
    (
        _subject(subject_details={"strain": "S", "species": {"name": None}}),
        {"strain": "S", "species": None, "breeding": None},
    ),
    *(
        (
            _subject(subject_details={"year_of_birth": year}),
            {"year_of_birth": 1980, "date_of_birth": None},
        )
        for year in (1980, "1980")
    ),
    (_subject(subject_id="M900") | {"session": {"subject_id": "1"}}, {"subject_id": "M900"}),
    (_subject(subject_id=18559), {"subject_id": "18559"}),
    (_described(subject_id="018559"), {"subject_id": "018559"}),
    ({"session": {"subject_id": "125L"}}, {"subject_id": "125L"}),
    ({"acquisition": {"subject_id": "125L"}}, {"subject_id": "125L"}),
    ({"name": SESSION_ID}, {"subject_id": "900001"}),
    ({}, {"subject_id": None}),
    # Links to Code Ocean.
    *_linked({"Code Ocean": [ASSET_ID, OTHER_ID, ASSET_ID]}, ASSET_ID, OTHER_ID),
    *_linked({"Code Ocean": ASSET_ID}, ASSET_ID),
    *_linked([{"Code Ocean": ASSET_ID}, {"Code Ocean": OTHER_ID}], ASSET_ID, OTHER_ID),
    *_linked([{"Code Ocean": [ASSET_ID, None, "", 3, {}]}, None, "x"], ASSET_ID),
    *_linked({"Code Ocean": [ASSET_ID.replace("-", "").upper()]}, ASSET_ID),
    *_linked({"Code Ocean": [], "DANDI": [OTHER_ID]}),
    *_linked([]),
    *_linked(None),
    *_linked("text"),
    (
        {
            "external_links": {"Code Ocean": [OTHER_ID]},
            "other_identifiers": {"Code Ocean": [ASSET_ID]},
            **INNER_PLACE,
        },
        {"codeocean_ids": (OTHER_ID, ASSET_ID)},
    ),
    ({"other_identifiers": {}, **INNER_PLACE}, {"codeocean_ids": (INNER,)}),
    ({"location": "s3://codeocean-s3datasetsbucket-invented/no-id"}, {"codeocean_ids": ()}),
    # Locations.
    _at("s3://b/p/q/", "b", "p/q"),
    _at("s3://b/p with spaces#1", "b", "p with spaces#1"),
    _at("s3://b", "b", None),
    _at("s3://b/", "b", None),
    _at("/local/p", None, None),
    _at(None, None, None),
    # Names and placeholders.
    ({"name": "This", "data_description": {"name": "Other"}}, {"name": "This"}),
    ({"name": " ", "data_description": {"name": "Other"}}, {"name": "Other"}),
    (_described(project_name="unknown"), {"project": None}),
    ({"_id": {"$oid": "abc"}}, {"id": "abc"}),
    (_described(source_data=[SESSION_ID]), {"source_data": (SESSION_ID,)}),
    # An instrument's own file comes before the recording.
    (SHORT_RIG | {"rig": {"rig_id": "000_LONG"}}, {"instrument_id": "000_LONG"}),
    (SHORT_RIG | {"instrument": {"instrument_id": "I"}}, {"instrument_id": "I"}),
    (SHORT_RIG | {"rig": {}, "instrument": None}, {"instrument_id": "SHORT.1"}),
]


@pytest.mark.parametrize(("raw", "expected"), ROWS)
def test_record_of_any_shape_is_read(raw: dict[str, Any], expected: dict[str, Any]) -> None:
    record = Record(raw)
    assert {question: getattr(record, question) for question in expected} == expected


@pytest.mark.parametrize("name", ["processing", "quality_control", "procedures"])
@pytest.mark.parametrize("core", [None, [], "text", 3])
def test_record_with_a_core_file_of_another_type_has_none(name: str, core: Any) -> None:
    record = Record({name: core})
    assert getattr(record, name) is None
    assert record.sorter_names == ()


def test_modality_abbreviation_of_folder_or_unknown_name() -> None:
    assert modality_abbreviation("behavior_videos") == "behavior-videos"
    assert modality_abbreviation("FIB") == "fib"
    assert modality_abbreviation("new-Thing") == "new-Thing"


@MADE
def test_record_compares_and_copies_as_a_value(raw: dict[str, Any]) -> None:
    record = Record(raw)
    assert record == Record(copy.deepcopy(raw))
    assert record != Record({})
    assert record != raw
    for twin in (pickle.loads(pickle.dumps(record)), copy.copy(record), copy.deepcopy(record)):
        assert twin == record
        assert twin.to_dict() == record.to_dict()
    assert repr(record) == f"Record({ASSET_NAME!r})"
    assert tuple(record.to_dict()) == QUESTIONS
    for question in ("raw", *QUESTIONS):
        with pytest.raises(AttributeError):
            setattr(record, question, None)


@MADE
def test_answers_when_changed_leave_the_record_unchanged(raw: dict[str, Any]) -> None:
    record, untouched = Record(raw), copy.deepcopy(raw)
    assert record.breeding is not None
    assert record.processing is not None
    assert record.quality_control is not None
    assert record.procedures is not None
    record.breeding.clear()
    for step in record.processing.steps:
        step.parameters["new"] = step.outputs["new"] = 1
    record.quality_control.metrics[0].value["options"].append("new")
    record.quality_control.metrics[0].tags.clear()
    for procedure in record.procedures.all:
        procedure.details.clear()
    assert raw == untouched


def test_record_when_created_reads_nothing() -> None:
    class Watched(dict[str, Any]):
        reads = 0

        def get(self, *key: Any) -> Any:
            Watched.reads += 1
            return super().get(*key)

    record = Record(Watched(first_generation()))
    assert Watched.reads == 0
    assert record.sex == "Female"
    assert Watched.reads > 0


def test_import_of_records_loads_no_heavy_package() -> None:
    heavy = "requests codeocean boto3 s3fs upath msgspec pydantic dotenv npc_session pandas"
    code = (
        "import sys, aind_session.records\n"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_questions_have_docstrings_of_their_own() -> None:
    docs = [getattr(Record, question).__doc__ for question in QUESTIONS]
    assert all(docs)
    assert len(set(docs)) == len(QUESTIONS)
    assert (len(QUESTIONS), QUESTIONS[:2]) == (37, ("name", "id"))
