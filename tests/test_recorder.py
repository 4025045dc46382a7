"""Recordings: a catalogue that is recorded from a sandbox is the same catalogue."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session.errors import (
    IncompleteAnswerError,
    InvalidFilterError,
    MissingTokenError,
    NotFoundError,
    SandboxWarning,
)
from aind_session.identifiers import find_session_id
from aind_session.sandbox import Catalogue, Sandbox, record
from aind_session.sandbox.recorder_parts import Choice
from worlds import invent_world

LISTS = ("data_assets", "computations", "docdb_v1", "docdb_v2", "objects")


def lines(catalogue: Catalogue, name: str) -> set[str]:
    return {json.dumps(entry, sort_keys=True) for entry in getattr(catalogue, name)}


def subjects(catalogue: Catalogue) -> list[str]:
    named = [*catalogue.data_assets, *catalogue.docdb_v1, *catalogue.docdb_v2]
    found = {find_session_id(str(entry.get("name") or "")) for entry in named}
    return sorted({session.subject_id for session in found if session is not None})


def outcome_of(call: Any) -> Any:
    """Return the result of a lookup; of an error its type."""
    try:
        return call()
    except (NotFoundError, ValueError) as error:
        return type(error)


ATTRIBUTES = (
    *("raw_data_asset", "raw_data_dir", "modalities", "ecephys.clipped_dir"),
    *("ecephys.compressed_dir", "ecephys.current_sorting_pipeline_computations"),
)


def attribute(session: aind_session.Session, name: str) -> Any:
    found = operator.attrgetter(name)(session)
    return found.as_posix() if hasattr(found, "as_posix") else found


def answers(subject_id: str) -> dict[str, Any]:
    """Return everything about a subject and its sessions."""
    subject = aind_session.Subject(subject_id)
    results: dict[str, Any] = {
        "sessions": subject.sessions,
        "assets": subject.data_assets,
        "records": list(subject.docdb),
        "states": [
            (s.name, s.content) for s in outcome_of(lambda: subject.neuroglancer.states) or ()
        ],
    }
    for session in subject.sessions:
        sortings = session.ecephys.sorted_data_assets
        results[session.id] = [
            session.data_assets,
            session.is_uploaded,
            dict(session.docdb),
            session.platform,
            session.ecephys.is_sorted,
            session.ecephys.sorter.names,
            [(a, a.is_sorting_error, a.sorted_probes, a.is_sorting_analyzer) for a in sortings],
            *(outcome_of(lambda a=a: a.output) for a in sortings),
            *(outcome_of(lambda name=name, s=session: attribute(s, name)) for name in ATTRIBUTES),
        ]
    return results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    """Record the whole bundled catalogue, folders to the bottom, with names."""
    bundled = Catalogue.bundled()
    alone = [o["key"].split("/")[0] for o in bundled.objects]
    sessions = {s.id for s in map(find_session_id, alone) if s is not None}
    with aind_session.sandbox():
        return record(
            [*subjects(bundled), *sorted(sessions)],
            to=tmp_path_factory.mktemp("whole"),
            names=True,
            depth=20,
        )


# --- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
def test_record_returns_the_same_catalogue(whole: Catalogue, name: str) -> None:
    bundled = lines(Catalogue.bundled(), name)
    # Examples of an archived and of a closed asset: they belong to no subject.
    assert lines(whole, name) == {
        line
        for line in bundled
        if '"closed example"' not in line and '"archived example"' not in line
    }


def test_record_returns_the_same_buckets_and_capsules(whole: Catalogue) -> None:
    bundled = Catalogue.bundled()
    assert whole.capsules == bundled.capsules
    assert whole.buckets.items() <= bundled.buckets.items()
    assert {o["bucket"] for o in bundled.objects} <= set(whole.buckets)


def test_recording_answers_like_the_original(tmp_path: Path) -> None:
    some = ["676909", "717381", "999999"]
    with aind_session.sandbox():
        expected = {subject: answers(subject) for subject in some}
        record(some, to=tmp_path, names=True)
    with aind_session.sandbox(tmp_path):
        assert {subject: answers(subject) for subject in some} == expected


def test_recording_of_an_invented_world_answers_like_the_original(tmp_path: Path) -> None:
    world, truth = invent_world(7)
    some = sorted(truth.subjects)[:4]
    with aind_session.sandbox(world):
        expected = {subject: answers(subject) for subject in some}
        record(some, to=tmp_path, names=True)
    with aind_session.sandbox(tmp_path):
        assert {subject: answers(subject) for subject in some} == expected


def test_recording_of_a_recording_is_the_same(tmp_path: Path) -> None:
    with aind_session.sandbox():
        record(676909, to=tmp_path / "one")
    with aind_session.sandbox(tmp_path / "one"):
        record(676909, to=tmp_path / "two")
    for one in (tmp_path / "one").iterdir():
        assert one.read_text() == (tmp_path / "two" / one.name).read_text()


# --- what is recorded -----------------------------------------------------------------------------

ID = "ecephys_999901_2024-01-01_10-00-00"
OTHER = "ecephys_999901_2024-01-02_10-00-00"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox(Catalogue(description="invented")) as serving:
        serving.add_session(ID, sorted_by="kilosort4", project="A project")
        serving.add_session(OTHER, project="Another project")
        yield serving


def recorded_names(study: Catalogue) -> set[str]:
    return {str(asset["name"])[: len(ID)] for asset in study.data_assets}


@pytest.mark.parametrize("given", [ID, [ID], aind_session.Session(ID), f"/data/{ID}/x"])
def test_record_one_session_leaves_out_others(box: Sandbox, tmp_path: Path, given: Any) -> None:
    study = record(given, to=tmp_path)
    assert recorded_names(study) == {ID}
    assert {r["name"][: len(ID)] for r in study.docdb_v1} == {ID}
    assert study.extra["recorded"]["sessions"] == [ID]
    assert study.extra["recorded"]["subjects"] == []
    assert len(study.computations) == 2


@pytest.mark.parametrize(
    ("name", "chosen", "included"),
    [
        (ID, ID, True),
        (f"{ID}_sorted_2024-01-02_10-00-00", ID, True),
        (ID.removeprefix("ecephys_"), ID, True),
        (ID, ID.removeprefix("ecephys_"), True),
        (f"multiplane-{ID}", ID, False),
        (ID, f"multiplane-{ID}", False),
        (ID, OTHER, False),
        ("notes", ID, False),
    ],
)
def test_choice_includes_names_of_its_sessions(name: str, chosen: str, included: bool) -> None:
    assert Choice("999901", frozenset({chosen})).includes(name, "999901") is included
    assert Choice("999901").includes(name, "999901")
    assert not Choice("999901").includes(name, "999902")


@pytest.mark.parametrize("given", [999901, "999901", aind_session.Subject(999901), [999901, ID]])
def test_record_one_subject_has_all_its_sessions(box: Sandbox, tmp_path: Path, given: Any) -> None:
    study = record(given, to=tmp_path)
    assert recorded_names(study) == {ID, OTHER}
    assert study.extra["recorded"]["subjects"] == ["999901"]
    assert study.extra["recorded"]["sessions"] == []


def test_record_project_has_its_sessions(box: Sandbox, tmp_path: Path) -> None:
    study = record(project="A project", to=tmp_path)
    assert recorded_names(study) == {ID}
    assert study.extra["recorded"]["projects"] == ["A project"]
    with aind_session.sandbox(tmp_path):
        assert [s.id for s in aind_session.get_sessions(project="A project")] == [ID]


def test_record_session_in_s3_only_has_its_folder(tmp_path: Path) -> None:
    catalogue = Catalogue()
    catalogue.add_object("aind-ephys-data", f"{ID}/behavior/x.h5", "x")
    with aind_session.sandbox(catalogue):
        study = record(ID, to=tmp_path)
    assert study.objects == [{"bucket": "aind-ephys-data", "key": f"{ID}/behavior/x.h5", "size": 1}]
    with aind_session.sandbox(tmp_path):
        assert aind_session.Session(ID).modalities == ("behavior",)


def test_record_depth_limits_the_names_of_folders(box: Sandbox, tmp_path: Path) -> None:
    study = record(OTHER, to=tmp_path, depth=1)
    keys = {o["key"].removeprefix(f"{OTHER}/") for o in study.objects}
    assert {"ecephys/", "behavior/", "subject.json"} <= keys
    assert not any("/" in key.rstrip("/") for key in keys)
    with aind_session.sandbox(tmp_path):
        assert aind_session.Session(OTHER).modalities == ("behavior", "behavior-videos", "ecephys")


def test_record_keeps_content_of_small_files_that_lookups_read(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aind_session.sandbox.recorder_parts.MAX_BYTES", 100)
    for name, text in {
        "subject.json": '{"a": 1}',
        "session.json": "x" * 101,
        "ecephys/notes.json": "{}",
        "movie.mp4": "frames",
    }.items():
        box.catalogue.add_object("aind-open-data", f"{OTHER}/{name}", text)
    box.catalogue.objects.append(
        {"bucket": "aind-open-data", "key": f"{OTHER}/rig.json", "base64": "/w=="}
    )
    study = record(OTHER, to=tmp_path)
    known = {o["key"].removeprefix(f"{OTHER}/"): o for o in study.objects}
    assert known["subject.json"]["text"] == '{"a": 1}'
    assert known["session.json"]["size"] == 101
    assert known["ecephys/notes.json"]["size"] == 2
    assert known["movie.mp4"]["size"] == 6
    assert known["rig.json"]["base64"] == "/w=="


def test_record_subject_has_its_neuroglancer_states(tmp_path: Path) -> None:
    catalogue = Catalogue()
    place = "aind-session/neuroglancer_states"
    names = ("SmartSPIM_999901_2024-01-01_10-00-00_state", "999901_mine", "9999011_not_mine")
    for name in names:
        catalogue.add_object("aind-scratch-data", f"{place}/{name}/{name}.json", '{"layers": []}')
        catalogue.add_object("aind-scratch-data", f"{place}/{name}.json", '{"layers": [1]}')
    with aind_session.sandbox(catalogue):
        study = record(999901, to=tmp_path)
    assert {o["key"]: o["text"] for o in study.objects} == {
        o["key"]: o["text"] for o in catalogue.objects if "9999011" not in o["key"]
    }


def test_record_inaccessible_assets_stay_inaccessible(tmp_path: Path) -> None:
    catalogue = Catalogue()
    access = ("closed", "forbidden", "gone")
    for name in access:
        catalogue.add_asset({"name": f"{ID}_{name}_2024-01-02_10-00-00", "_access": name})
    hidden = catalogue.add_asset({"name": "x", "_access": "closed"})
    gone = "7d1c1c1f-0000-4000-8000-000000000000"
    catalogue.add_record(
        1,
        {
            "name": ID,
            "location": f"s3://b/{ID}",
            "external_links": {"Code Ocean": [hidden["id"], gone]},
        },
    )
    with aind_session.sandbox(catalogue):
        expected = aind_session.Session(ID).data_assets
        study = record(999901, to=tmp_path, names=True)
    assert [a["_access"] for a in study.data_assets if "name" in a] == list(access)
    assert {"id": hidden["id"], "_access": "closed"} in study.data_assets
    assert gone not in {a["id"] for a in study.data_assets}
    with aind_session.sandbox(tmp_path):
        assert aind_session.Session(ID).data_assets == expected


def test_record_denied_bucket_is_a_failure(box: Sandbox, tmp_path: Path) -> None:
    box.catalogue.buckets["aind-open-data"] = {"public": False, "denied": True}
    study = record(OTHER, to=tmp_path)
    assert study.buckets["aind-open-data"] == {"public": False, "denied": True}
    assert study.extra["recorded"]["failures"] == [
        f"folder s3://aind-open-data/{OTHER}: access denied"
    ]


def test_record_results_bucket_denied_uses_code_ocean(box: Sandbox, tmp_path: Path) -> None:
    expected = record(ID, to=tmp_path / "s3")
    bucket = "codeocean-s3datasetsbucket-1u41qdg42ur9"
    box.catalogue.buckets[bucket] = {"public": False, "denied": True}
    study = record(ID, to=tmp_path / "co")
    assert lines(study, "objects") == lines(expected, "objects")


# --- adding, going on -----------------------------------------------------------------------------


def test_record_again_adds_to_the_folder(box: Sandbox, tmp_path: Path) -> None:
    record(ID, to=tmp_path)
    sent = box.count()
    record(ID, to=tmp_path)
    assert box.count() == sent
    study = record(OTHER, to=tmp_path)
    assert study.extra["recorded"]["sessions"] == [ID, OTHER]
    assert recorded_names(study) == {ID, OTHER}
    # Of the first session only the searches for the subject are repeated.
    again = [r.path for r in box.requests[sent:] if r.service == "s3" and ID in r.query]
    assert again == []


def test_record_refresh_replaces_the_folder(box: Sandbox, tmp_path: Path) -> None:
    record(999901, to=tmp_path)
    box.catalogue.data_assets[:] = [
        a for a in box.catalogue.data_assets if not a["name"].startswith(OTHER)
    ]
    assert recorded_names(record(999901, to=tmp_path)) == {ID, OTHER}
    assert recorded_names(record(999901, to=tmp_path, refresh=True)) == {ID}


def test_record_interrupted_resumes(box: Sandbox, tmp_path: Path) -> None:
    expected = record(999901, to=tmp_path / "at once")
    for service, path in (("docdb", "v2"), ("s3", "open-data"), ("codeocean", "results")):
        box.fail(service, path, status=400, times=None)
        with pytest.raises(IncompleteAnswerError, match="requests only what is missing"):
            record(999901, to=tmp_path / "parts")
        assert not (tmp_path / "parts" / "catalogue.json").exists()
        box.heal()
    journal = tmp_path / "parts" / ".recording.jsonl"
    # As if it had been torn off while it was written.
    with journal.open("a", encoding="utf-8") as file:
        file.write('{"part": "folder s3://torn')
    done = [json.loads(line)["part"] for line in journal.read_text().splitlines()[1:-1]]
    assert len(done) == len(set(done)) > 1
    box.reset()
    study = record(999901, to=tmp_path / "parts")
    for part in done:
        if part.startswith("folder s3://"):
            bucket, _, prefix = part.removeprefix("folder s3://").partition("/")
            sent = [
                r
                for r in box.requests
                if bucket in r.path and r.params.get("prefix") == f"{prefix}/"
            ]
            assert sent == [], part
    for name in LISTS:
        assert lines(study, name) == lines(expected, name)
    assert not journal.exists()


def test_record_other_options_raise(box: Sandbox, tmp_path: Path) -> None:
    record(ID, to=tmp_path)
    with pytest.raises(InvalidFilterError, match="recorded with names False, not True"):
        record(OTHER, to=tmp_path, names=True)
    assert record(ID, to=tmp_path, names=True, refresh=True).extra["recorded"]["names"]
    box.fail("s3", status=400, times=None)
    with pytest.raises(IncompleteAnswerError):
        record(ID, to=tmp_path / "begun")
    with pytest.raises(InvalidFilterError, match="started with another depth"):
        record(ID, to=tmp_path / "begun", depth=4)


def test_record_to_a_catalogue_not_recorded_raises(box: Sandbox, tmp_path: Path) -> None:
    Catalogue(description="mine").save(tmp_path)
    with pytest.raises(InvalidFilterError, match="was not recorded"):
        record(ID, to=tmp_path)


def test_record_nothing_or_without_token_raises(box: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(InvalidFilterError, match="Nothing to record"):
        record(to=tmp_path)
    with box.without_token(), pytest.raises(MissingTokenError):
        record(ID, to=tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- working from it ------------------------------------------------------------------------------


def test_recording_warns_of_what_was_not_recorded(box: Sandbox, tmp_path: Path) -> None:
    record(ID, to=tmp_path)
    advice = rf"999902.* was not recorded.*aind-session snapshot 999902 -o {tmp_path}"
    with aind_session.sandbox(tmp_path):
        with pytest.warns(SandboxWarning, match=advice):
            assert aind_session.get_sessions(999902) == ()
        with pytest.warns(SandboxWarning, match="999901 was recorded in part only"):
            assert len(aind_session.get_sessions(999901)) == 1
        with pytest.warns(SandboxWarning, match="only recorded sessions are searched"):
            assert len(aind_session.get_sessions(platform="ecephys")) == 1
        assert len(aind_session.Session(ID).data_assets) == 2
        with pytest.warns(SandboxWarning, match=f"{OTHER} was not recorded"):
            assert aind_session.Session(OTHER).data_assets == ()
        with pytest.warns(SandboxWarning, match=f"{OTHER} was not recorded"):
            assert aind_session.Session(OTHER).is_uploaded is False
        with pytest.warns(SandboxWarning), pytest.raises(AttributeError, match=f"snapshot {OTHER}"):
            _ = aind_session.Session(OTHER).raw_data_asset


def test_catalogue_without_a_folder_is_not_taken_for_the_working_directory(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(ID, to=tmp_path)
    monkeypatch.chdir(tmp_path)
    with aind_session.sandbox(Catalogue()):
        # With a warning, which would be an error, if it were taken for the snapshot.
        assert aind_session.get_sessions(999902) == ()


def test_recording_does_not_warn_of_what_does_not_exist(box: Sandbox, tmp_path: Path) -> None:
    record([999901, 999905], to=tmp_path)
    with aind_session.sandbox(tmp_path):
        assert aind_session.get_sessions(999905) == ()
        assert aind_session.Session("ecephys_999901_2020-01-01_10-00-00").data_assets == ()


def test_header_contains_what_was_recorded(box: Sandbox, tmp_path: Path) -> None:
    record(ID, to=tmp_path)
    header = json.loads((tmp_path / "catalogue.json").read_text())
    assert header["recorded"] | {"on": ""} == {
        "subjects": [],
        "sessions": [ID],
        "projects": [],
        "names": False,
        "depth": "default",
        "on": "",
        "from": "a sandbox",
    }
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert box.token not in text
    assert "127.0.0.1" not in text
