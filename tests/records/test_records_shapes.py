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
MADE = pytest.mark.parametrize("raw", [first_generation(), second_generation()], ids=["v1", "v2"])


@MADE
def test_record_of_either_schema_gives_the_same_answers(raw: dict[str, Any]) -> None:
    record = Record(raw)
    start = datetime(2031, 5, 6, 14, 8, 9, tzinfo=UTC)
    assert record.name == ASSET_NAME
    assert record.session_id == SESSION_ID
    assert record.subject_id == "900001"
    assert record.platform == "ecephys"
    assert record.project == "Invention"
    assert record.data_level == "derived"
    assert record.modalities == ("behavior", "ecephys")
    assert record.genotype == "Abc-Cre/wt"
    assert record.sex == "Female"
    assert record.date_of_birth == date(2030, 11, 12)
    assert record.year_of_birth == 2030
    assert record.strain == "BALB/x"
    assert record.species == "Mus inventus"
    assert record.breeding == {"breeding_group": "G7", "maternal_id": "1"}
    assert record.acquisition_start == start
    assert record.acquisition_start_doubt is None
    assert record.acquisition_end == start + timedelta(hours=1)
    assert record.session_type == "Invented task"
    assert record.experimenters == ("E. One", "E. Two")
    assert record.investigators == ("P. Investigator",)
    assert record.instrument_id == "000_RIG9_20310101"
    assert record.ethics == ("4321",)
    assert record.source_data == (SESSION_ID,)
    assert record.sorter_names == ("sorterx",)
    assert record.codeocean_ids == (ASSET_ID,)
    assert record.bucket == "codeocean-s3datasetsbucket-invented"
    assert record.prefix == ASSET_ID
    assert record.location == f"s3://{record.bucket}/{ASSET_ID}"
    assert record.created is not None
    assert record.created.replace(microsecond=0) == datetime(2031, 5, 9, 1, 2, 3, tzinfo=UTC)
    assert record.modified == datetime(2031, 5, 10, 1, 2, 3, 123000, tzinfo=UTC)
    assert record.created.utcoffset() == timedelta(0)
    assert record.schema_version == raw["schema_version"]
    assert record.id == raw["_id"]


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


def test_core_file_with_keys_of_both_schemas_is_read_by_its_version() -> None:
    both = {"sex": "Male", "subject_details": {"sex": "Female"}}
    assert Record({"subject": {**both, "schema_version": "1.0.3"}}).sex == "Male"
    assert Record({"subject": {**both, "schema_version": "2.0.1"}}).sex == "Female"
    assert Record({"subject": {**both, "object_type": "Subject"}}).sex == "Female"
    assert Record({"subject": both}).sex == "Male"


def test_recording_in_two_files_is_read_from_the_first_with_an_answer() -> None:
    new, old = second_generation()["acquisition"], first_generation()["session"]
    empty = {"schema_version": "2.0.0"}
    assert Record({"session": old, "acquisition": empty}).session_type == "Invented task"
    assert Record({"session": old, "acquisition": empty}).acquisition_start is not None
    later = {**old, "session_start_time": "2031-05-07T00:00:00Z", "iacuc_protocol": 77}
    both = Record({"session": later, "acquisition": {**new, "ethics_review_id": None}})
    assert both.acquisition_start == datetime(2031, 5, 6, 14, 8, 9, tzinfo=UTC)
    assert both.ethics == ("77",)


def test_acquisition_of_light_sheet_in_1x_has_the_keys_of_a_session() -> None:
    acquisition = {
        "schema_version": "0.5.1",
        "session_start_time": "2031-05-06T07:08:09",
        "session_end_time": "2031-05-06T09:08:09",
        "experimenter_full_name": "E. One",
        "instrument_id": "Scope1",
        "session_type": None,
    }
    record = Record({"acquisition": acquisition, "session": None})
    assert record.acquisition_start == datetime(2031, 5, 6, 14, 8, 9, tzinfo=UTC)
    assert record.acquisition_end == datetime(2031, 5, 6, 16, 8, 9, tzinfo=UTC)
    assert record.experimenters == ("E. One",)
    assert record.instrument_id == "Scope1"
    assert record.session_type is None


@pytest.mark.parametrize(
    ("core", "expected"),
    [
        ({"experimenter_full_name": ["E. One", None, "", "E. Two"]}, ("E. One", "E. Two")),
        ({"experimenter_full_name": []}, ()),
        ({"experimenters": [{"object_type": "Person", "name": "E. One"}]}, ("E. One",)),
        ({"experimenters": [{"name": None}, 5, []]}, ("5",)),
        ({}, ()),
    ],
)
def test_experimenters_of_any_shape_are_names(core: Any, expected: tuple[str, ...]) -> None:
    assert Record({"acquisition": core}).experimenters == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([{"name": "P", "abbreviation": None}, {"name": "Q"}], ("P", "Q")),
        (["P", "Q"], ("P", "Q")),
        ("P", ("P",)),
        ([], ()),
        (None, ()),
    ],
)
def test_investigators_of_any_shape_are_names(written: Any, expected: tuple[str, ...]) -> None:
    assert Record({"data_description": {"investigators": written}}).investigators == expected


@pytest.mark.parametrize("key", ["modality", "modalities"])
@pytest.mark.parametrize(
    ("written", "as_written", "today"),
    [
        ([{"name": "Fiber photometry", "abbreviation": "FIP"}], ("FIP",), ("fib",)),
        ("SmartSPIM", ("SmartSPIM",), ("SPIM",)),
        (["slap", "behavior", "slap2"], ("slap", "behavior", "slap2"), ("behavior", "slap2")),
        (
            ["name='Extracellular electrophysiology' abbreviation='ecephys'"],
            ("ecephys",),
            ("ecephys",),
        ),
        ([{"name": "Planar optical physiology"}], ("Planar optical physiology",), ("pophys",)),
        ({"name": "Behavior", "abbreviation": "behavior"}, ("behavior",), ("behavior",)),
        (["single-plane-ophys", "exaSPIM"], ("single-plane-ophys", "exaSPIM"), ("SPIM", "pophys")),
        ([{"abbreviation": None}, None, 3.5, []], (), ()),
        (None, (), ()),
    ],
)
def test_modalities_of_any_shape_are_abbreviations(
    key: str, written: Any, as_written: tuple[str, ...], today: tuple[str, ...]
) -> None:
    record = Record({"data_description": {key: written}})
    assert record.modalities_as_written == as_written
    assert record.modalities == today


def test_modality_abbreviation_of_folder_or_unknown_name() -> None:
    assert modality_abbreviation("behavior_videos") == "behavior-videos"
    assert modality_abbreviation("FIB") == "fib"
    assert modality_abbreviation("new-Thing") == "new-Thing"


@pytest.mark.parametrize(
    ("name", "written", "expected"),
    [
        (SESSION_ID, "raw", "raw"),
        (SESSION_ID, None, "raw"),
        ("900001_2031-05-06_07-08-09", "derived", "raw"),
        (ASSET_NAME, "raw", "derived"),
        (f"{SESSION_ID}_None_2031-05-08_01-02-03", "raw data", "derived"),
        (f"{SESSION_ID}_sorted_curated", "raw", "derived"),
        (f"{SESSION_ID}_raw_data", "derived", "raw"),
        ("Example images", "raw data", "raw"),
        ("Example images", "derived data", "derived"),
        ("Example images", "Derived", "derived"),
        ("Example images", "other", None),
        ("Example images", None, None),
        (SESSION_ID, "simulated", "simulated"),
    ],
)
def test_data_level_is_decided_by_the_name_first(
    name: str, written: Any, expected: str | None
) -> None:
    assert (
        Record({"name": name, "data_description": {"data_level": written}}).data_level == expected
    )


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ({"platform": {"name": "x", "abbreviation": "FIP"}}, "FIP"),
        ({"platform": "FIP"}, "FIP"),
        ({"platform": None, "experiment_type": "FIP"}, "FIP"),
        ({}, "ecephys"),
    ],
)
def test_platform_of_any_shape_is_an_abbreviation(description: Any, expected: str) -> None:
    assert Record({"name": SESSION_ID, "data_description": description}).platform == expected
    assert Record({"name": "900001_2031-05-06_07-08-09"}).platform is None


@pytest.mark.parametrize(
    ("subject", "strain", "species", "breeding"),
    [
        ({"background_strain": {"name": "S"}, "species": "Mus x"}, "S", "Mus x", None),
        (
            {"breeding_group": None, "maternal_id": "2", "paternal_genotype": "wt"},
            None,
            None,
            {"maternal_id": "2", "paternal_genotype": "wt"},
        ),
        ({"breeding_info": {"object_type": "x"}, "maternal_id": None}, None, None, None),
        ({"subject_details": {"strain": "S", "species": {"name": None}}}, "S", None, None),
    ],
)
def test_strain_species_breeding_of_any_shape_are_texts(
    subject: Any, strain: Any, species: Any, breeding: Any
) -> None:
    record = Record({"subject": subject})
    assert (record.strain, record.species, record.breeding) == (strain, species, breeding)


@pytest.mark.parametrize("written", [1980, "1980"])
def test_year_of_birth_without_date_is_an_int(written: Any) -> None:
    record = Record({"subject": {"subject_details": {"year_of_birth": written}}})
    assert (record.year_of_birth, record.date_of_birth) == (1980, None)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"subject": {"subject_id": "M900"}, "session": {"subject_id": "1"}}, "M900"),
        ({"subject": {"subject_id": 18559}}, "18559"),
        ({"data_description": {"subject_id": "018559"}}, "018559"),
        ({"session": {"subject_id": "125L"}}, "125L"),
        ({"acquisition": {"subject_id": "125L"}}, "125L"),
        ({"name": SESSION_ID}, "900001"),
        ({}, None),
    ],
)
def test_subject_id_is_in_the_first_core_file_with_one(record: Any, expected: str | None) -> None:
    assert Record(record).subject_id == expected


@pytest.mark.parametrize("key", ["external_links", "other_identifiers"])
@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ({"Code Ocean": [ASSET_ID, OTHER_ID, ASSET_ID]}, (ASSET_ID, OTHER_ID)),
        ({"Code Ocean": ASSET_ID}, (ASSET_ID,)),
        ([{"Code Ocean": ASSET_ID}, {"Code Ocean": OTHER_ID}], (ASSET_ID, OTHER_ID)),
        ([{"Code Ocean": [ASSET_ID, None, "", 3, {}]}, None, "x"], (ASSET_ID,)),
        ({"Code Ocean": [ASSET_ID.replace("-", "").upper()]}, (ASSET_ID,)),
        ({"Code Ocean": [], "DANDI": [OTHER_ID]}, ()),
        ([], ()),
        (None, ()),
        ("text", ()),
    ],
)
def test_codeocean_ids_of_any_shape_are_normalized(
    key: str, links: Any, expected: tuple[str, ...]
) -> None:
    record = Record({key: links, "location": f"s3://aind-open-data/{SESSION_ID}"})
    assert record.codeocean_ids == expected


def test_codeocean_ids_of_both_envelopes_are_joined() -> None:
    links = {"external_links": {"Code Ocean": [OTHER_ID]}}
    ids = {"other_identifiers": {"Code Ocean": [ASSET_ID]}}
    place = {"location": f"s3://codeocean-s3datasetsbucket-invented/{'9' * 8}{ASSET_ID[8:]}"}
    assert Record({**links, **ids, **place}).codeocean_ids == (OTHER_ID, ASSET_ID)
    assert Record({"other_identifiers": {}, **place}).codeocean_ids == (f"{'9' * 8}{ASSET_ID[8:]}",)
    elsewhere = {"location": "s3://codeocean-s3datasetsbucket-invented/no-id"}
    assert Record(elsewhere).codeocean_ids == ()


@pytest.mark.parametrize(
    ("location", "bucket", "prefix"),
    [
        ("s3://b/p/q/", "b", "p/q"),
        ("s3://b/p with spaces#1", "b", "p with spaces#1"),
        ("s3://b", "b", None),
        ("s3://b/", "b", None),
        ("/local/p", None, None),
        (None, None, None),
    ],
)
def test_location_is_split_into_bucket_and_prefix(location: Any, bucket: Any, prefix: Any) -> None:
    record = Record({"location": location})
    assert (record.location, record.bucket, record.prefix) == (location, bucket, prefix)


def test_name_and_placeholders_are_read_as_answers_or_none() -> None:
    other = {"data_description": {"name": "Other"}}
    assert Record({"name": "This", **other}).name == "This"
    assert Record({"name": " ", **other}).name == "Other"
    assert Record({"data_description": {"project_name": "unknown"}}).project is None
    assert Record({"_id": {"$oid": "abc"}}).id == "abc"
    assert Record({"data_description": {"source_data": [SESSION_ID]}}).source_data == (SESSION_ID,)


def test_instrument_id_of_instrument_file_comes_before_the_recording() -> None:
    session = {"session": {"rig_id": "SHORT.1"}}
    assert Record({**session, "rig": {"rig_id": "000_LONG"}}).instrument_id == "000_LONG"
    assert Record({**session, "instrument": {"instrument_id": "I"}}).instrument_id == "I"
    assert Record({**session, "rig": {}, "instrument": None}).instrument_id == "SHORT.1"


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
