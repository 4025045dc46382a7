"""Searches: every filter, with and without a subject, and messages if nothing matches."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from npc_session import DateRecord, SubjectRecord

import aind_session
from aind_session import Sandbox, Session, Sessions, Subject
from aind_session.errors import InvalidFilterError, InvalidIdentifierError
from aind_session.identifiers import parse_session_id
from aind_session.sandbox import Catalogue
from worlds import invent_session, invent_world

DAY = Session("ecephys_676909_2023-12-13_13-43-40")
LATER = Session("ecephys_676909_2023-12-14_12-43-11")


@pytest.mark.parametrize(
    "date",
    [
        "2023-12-13",
        "2023-12-13_13-43-40",
        "2023-12-13 13:43:40",
        "2023-12-13T00:00:00",
        "20231213",
        "20231213_134340",
        20231213,
        datetime.date(2023, 12, 13),
        datetime.datetime(2023, 12, 13, 23, 59),
        DateRecord("2023-12-13"),
    ],
)
def test_get_sessions_takes_a_date_in_any_form(sandbox: Sandbox, date: Any) -> None:
    assert aind_session.get_sessions(676909, date=date) == (DAY,)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2023-12-13", None, (DAY, LATER)),
        ("2023-12-13", "2023-12-13", (DAY,)),
        ("2023-12-13_13-43-40", "2023-12-13_13-43-40", (DAY,)),
        ("2023-12-13_13-43-41", "2023-12-14_12-43-10", ()),
        (None, "2023-12-12", (Session("behavior_676909_2023-10-24_15-15-50"),)),
        ("2023-12", "2023-12", (DAY, LATER)),
        ("2024", None, ()),
    ],
)
def test_get_sessions_includes_both_ends_of_a_range(
    sandbox: Sandbox, start: str | None, end: str | None, expected: tuple[Session, ...]
) -> None:
    found = aind_session.get_sessions(676909, start_date=start, end_date=end)
    assert tuple(s for s in found if s.date != "2023-12-11") == expected


@pytest.mark.parametrize("subject", [676909, "676909", SubjectRecord(676909), Subject(676909)])
def test_get_sessions_takes_a_subject_in_any_form(sandbox: Sandbox, subject: Any) -> None:
    assert len(aind_session.get_sessions(subject)) == 4
    assert len(aind_session.get_sessions([subject, subject])) == 4


@pytest.mark.parametrize(
    "subjects",
    [
        np.int64(676909),
        np.array([676909]),
        np.array(["676909"]),
        pd.Series([676909]),
        pd.Series([676909.0, 676909.0]),
        pd.Index(["676909"]),
        (s for s in (676909,)),
        {676909: "a dictionary's keys"},
        Sessions([DAY]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_get_sessions_takes_subjects_of_a_table_or_an_array(
    sandbox: Sandbox, subjects: Any
) -> None:
    assert len(aind_session.get_sessions(subjects)) == 4


def test_iter_sessions_takes_subjects_that_can_be_read_once(sandbox: Sandbox) -> None:
    assert len(list(aind_session.iter_sessions(subject_id=(s for s in (676909,))))) == 4


@pytest.mark.parametrize("bad", [b"676909", True, None.__class__, [None], [[676909]], float("nan")])
def test_get_sessions_of_an_invalid_subject_raises(sandbox: Sandbox, bad: Any) -> None:
    with pytest.raises(InvalidIdentifierError):
        aind_session.get_sessions(bad)


@pytest.mark.parametrize("name", ["platform", "project", "modality"])
@pytest.mark.parametrize("bad", [3, [3], ["ecephys", None], b"ecephys"])
def test_get_sessions_filter_that_is_not_a_text_raises(
    sandbox: Sandbox, name: str, bad: Any
) -> None:
    for subject in (None, 676909):
        with pytest.raises(InvalidFilterError, match=name):
            aind_session.get_sessions(subject, **{name: bad})


@pytest.mark.parametrize("several", [["ecephys"], {"ecephys"}, pd.Series(["ecephys"])])
def test_get_sessions_takes_several_platforms(sandbox: Sandbox, several: Any) -> None:
    one = aind_session.get_sessions(676909, platform="ecephys")
    assert aind_session.get_sessions(676909, platform=several) == one
    both = aind_session.get_sessions(676909, platform=[*several, "behavior"])
    assert both == aind_session.get_sessions(676909)
    assert aind_session.get_sessions(platform=[*several, "behavior"], date="2023") >= both[:1]


def test_get_sessions_takes_several_projects_and_modalities(sandbox: Sandbox) -> None:
    every = aind_session.list_projects()
    found = aind_session.get_sessions(project=every)
    assert set(found) == {s for p in every for s in aind_session.get_sessions(project=p)}
    names = ["ecephys", "behavior-videos"]
    found = aind_session.get_sessions(676909, modality=names)
    assert set(found) == {s for m in names for s in aind_session.get_sessions(676909, modality=m)}


@pytest.mark.parametrize(
    ("look_up", "expected"),
    [
        (aind_session.list_projects, "Invented project A"),
        (aind_session.list_platforms, "ecephys"),
        (aind_session.list_modalities, "behavior-videos"),
        (aind_session.list_subjects, "676909"),
    ],
)
def test_list_of_values_sends_one_request_per_schema(
    sandbox: Sandbox, look_up: Any, expected: str
) -> None:
    found = look_up()
    assert expected in found
    assert isinstance(found, tuple)
    assert list(found) == sorted(set(found))
    assert sandbox.count() == sandbox.count("docdb") == 2


def test_list_subjects_of_a_project_lists_its_own_only(sandbox: Sandbox) -> None:
    project = Session("ecephys_676909_2023-12-13_13-43-40").docdb.project
    found = aind_session.list_subjects(project)
    assert "676909" in found
    assert set(found) < set(aind_session.list_subjects())
    assert aind_session.list_subjects("no such project") == ()


def test_get_sessions_takes_positional_and_empty_arguments(sandbox: Sandbox) -> None:
    assert aind_session.get_sessions(*["676909", "2023-12-13"]) == (DAY,)
    assert len(aind_session.get_sessions(676909, "", "", "", "")) == 4


def test_get_sessions_of_several_subjects_sorts_by_time(sandbox: Sandbox) -> None:
    found = aind_session.get_sessions([717381, 676909, 668759])
    assert list(found) == sorted(found, key=lambda s: (s.dt, s.id))
    assert {s.subject_id for s in found} == {"717381", "676909", "668759"}
    assert aind_session.get_sessions([]) == ()


@pytest.mark.parametrize("platform", ["ecephys", "Ecephys"])
def test_get_sessions_takes_a_platform_in_any_case(sandbox: Sandbox, platform: str) -> None:
    assert len(aind_session.get_sessions(676909, platform=platform)) == 3


@pytest.mark.parametrize("modality", ["behavior-videos", "behavior_videos"])
def test_get_sessions_takes_a_modality_as_abbreviation_or_folder(
    sandbox: Sandbox, modality: str
) -> None:
    assert DAY in aind_session.get_sessions(676909, modality=modality)
    assert DAY in aind_session.get_sessions(modality=modality)


@pytest.mark.parametrize("spelling", ["multiplane_ophys", "Multiplane-Ophys", " multiplane-ophys "])
def test_get_sessions_takes_a_platform_in_any_spelling(sandbox: Sandbox, spelling: str) -> None:
    found = aind_session.get_sessions(platform="multiplane-ophys")
    assert found
    assert aind_session.get_sessions(platform=spelling) == found


def test_get_sessions_without_a_subject_searches_both_services(sandbox: Sandbox) -> None:
    every = aind_session.get_sessions(start_date="2000")
    for platform in ("ecephys", "SmartSPIM"):
        found = aind_session.get_sessions(platform=platform)
        assert {s for s in every if s.platform == platform} <= set(found)
        # Code Ocean has platforms: it finds sessions without a record.
        for session in set(found) - set(every):
            assert session.platform == platform
            assert not session.docdb
    assert aind_session.get_sessions(date="2023-12-13") == (DAY,)
    project = DAY.docdb.project
    assert project
    found = aind_session.get_sessions(project=project)
    assert DAY in found
    assert {s.docdb.project for s in found} == {project}


def test_iter_sessions_finds_the_same(sandbox: Sandbox) -> None:
    every = aind_session.get_sessions(start_date="2000")
    assert len(every) > 15
    assert tuple(aind_session.iter_sessions(start_date="2000")) == every
    some = aind_session.get_sessions(platform="ecephys", end_date="2024-01-02")
    assert tuple(aind_session.iter_sessions(platform="ecephys", end_date="2024-01-02")) == some
    assert tuple(aind_session.iter_sessions(subject_id=676909, date="2023-12-13")) == (DAY,)


@pytest.mark.parametrize(
    ("filters", "hint"),
    [
        ({"subject_id": 676909, "platform": "ecefys"}, "did you mean ecephys"),
        ({"platform": "smartspin"}, "did you mean SmartSPIM"),
        ({"modality": "pophy"}, "did you mean pophys"),
        ({"project": "no such project at all"}, "did you mean Invented project .*[?]$"),
        ({"project": "a project"}, r"list_projects\(\).*did you mean Invented project .*[?]$"),
        ({"project": "xyz"}, r"list_projects\(\).*existing ones are Invented project .*[.]$"),
        ({"subject_id": 676909, "date": "yesterday"}, "yesterday"),
        ({"subject_id": 676909, "start_date": "2023-13-01"}, "2023-13-01"),
        ({}, "needs a subject"),
        ({"subject_id": "no subject"}, "subject"),
        ({"subject_id": DAY.id}, "It names a session"),
    ],
)
def test_get_sessions_with_an_unknown_value_suggests_existing_ones(
    sandbox: Sandbox, filters: dict[str, Any], hint: str
) -> None:
    with pytest.raises(ValueError, match=hint):
        aind_session.get_sessions(**filters)


def test_search_with_dates_in_the_wrong_order_raises(sandbox: Sandbox) -> None:
    for search in (aind_session.get_sessions, aind_session.iter_sessions):
        with pytest.raises(InvalidFilterError, match="is after end_date"):
            tuple(search(start_date="2024", end_date="2023"))
    assert sandbox.count() == 0


def test_get_sessions_that_finds_nothing_returns_an_empty_tuple(sandbox: Sandbox) -> None:
    assert aind_session.get_sessions(123456) == ()
    assert aind_session.get_sessions(676909, platform="SmartSPIM") == ()
    assert aind_session.get_sessions(676909, date="2001-01-01") == ()


def test_search_for_a_platform_under_its_older_name_finds_it() -> None:
    """`ephys` was written into the custom field `experiment type` before `ecephys` was."""
    catalogue = Catalogue()
    for number, name in enumerate(
        ("ecephys_990002_2024-01-01_10-00-00", "990003_2024-01-01_10-00-00")
    ):
        asset = {"id": f"a{number}", "name": name, "created": 1, "type": "dataset"}
        catalogue.add_asset({**asset, "custom_metadata": {"experiment type": "ephys"}})
    with aind_session.sandbox(catalogue):
        for platform in ("ecephys", "ephys"):
            assert len(aind_session.get_sessions(platform=platform)) == 2
            (found,) = aind_session.get_sessions(990003, platform=platform)
            assert found.platform == "ecephys"


@pytest.mark.parametrize(
    "description", [{"platform": {"abbreviation": "ecephys"}}, {"experiment_type": "ephys"}]
)
def test_search_for_a_platform_in_records_only_finds_it(description: dict[str, Any]) -> None:
    catalogue = Catalogue()
    record = {"_id": "r", "name": "990004_2024-01-01_10-00-00", "data_description": description}
    catalogue.add_record("v1", record)
    with aind_session.sandbox(catalogue):
        assert Session(record["name"]).platform == "ecephys"
        assert len(aind_session.get_sessions(990004, platform="ecephys")) == 1
        assert aind_session.get_sessions(990004, platform="behavior") == ()


@pytest.mark.parametrize(
    "written",
    [
        [{"name": "Fiber photometry", "abbreviation": "fib"}],
        "FIP",
        ["FIP"],
        ["name='Fiber photometry' abbreviation='FIP'"],
    ],
    ids=str,
)
def test_search_for_a_modality_in_every_shape_of_a_record_finds_it(written: Any) -> None:
    catalogue = Catalogue()
    record = {"_id": "r", "name": "990006_2024-01-01_10-00-00"}
    catalogue.add_record("v1", {**record, "data_description": {"modality": written}})
    with aind_session.sandbox(catalogue):
        for subject in (None, 990006):
            assert len(aind_session.get_sessions(subject, modality="fib")) == 1


def test_search_for_a_modality_in_custom_metadata_finds_it() -> None:
    catalogue = Catalogue()
    asset = {"id": "a", "name": "990005_2024-01-01_10-00-00", "created": 1, "type": "dataset"}
    custom = {"modality": "Extracellular electrophysiology"}
    catalogue.add_asset({**asset, "custom_metadata": custom})
    with aind_session.sandbox(catalogue):
        assert len(aind_session.get_sessions(990005, modality="ecephys")) == 1
        assert aind_session.get_sessions(990005, modality="behavior") == ()


def test_search_for_a_platform_of_another_day_finds_nothing() -> None:
    catalogue = Catalogue()
    asset = {"id": "a", "name": "newscope_990002_2024-01-01_10-00-00", "created": 1}
    catalogue.add_asset({**asset, "custom_metadata": {"experiment type": "newscope"}})
    with aind_session.sandbox(catalogue):
        assert aind_session.get_sessions(platform="newscope", date="2025") == ()


def test_search_for_a_project_without_one_schema_does_not_call_it_unknown() -> None:
    catalogue = Catalogue()
    for generation, project in (("v1", "Older"), ("v2", "Newer")):
        record = {"_id": project, "name": f"ecephys_990002_2024-01-0{generation[1]}_10-00-00"}
        catalogue.add_record(generation, {**record, "data_description": {"project_name": project}})
    with aind_session.sandbox(catalogue) as box:
        # The second request is that for all projects.
        box.fail(service="docdb", path="/v1/.*aggregate", after=1, status=400, times=None)
        assert aind_session.get_sessions(project="Older", date="2001") == ()


def test_search_for_a_platform_that_only_data_have_finds_it() -> None:
    catalogue = Catalogue()
    # With a leading zero, which is kept.
    invent_session(catalogue, "newscope_018559_2024-01-01_10-00-00", modalities=["behavior"])
    with aind_session.sandbox(catalogue):
        (found,) = aind_session.get_sessions("018559", platform="newscope")
        assert (found.platform, found.subject_id) == ("newscope", "018559")
        assert tuple(aind_session.iter_sessions(platform="newscope")) == (found,)
        assert Subject("018559").sessions == (found,)
        with pytest.raises(InvalidFilterError, match="did you mean newscope"):
            aind_session.get_sessions("018559", platform="newscop")
        with pytest.raises(InvalidFilterError, match="did you mean"):
            list(aind_session.iter_sessions(platform="newscop"))


@given(seed=st.integers(0, 3), data=st.data())
def test_get_sessions_with_any_filters_agrees_with_a_filter_by_hand(
    seed: int, data: st.DataObject
) -> None:
    catalogue, truth = _worlds(seed)
    subject = data.draw(st.sampled_from(sorted(truth.subjects)))
    dates = st.dates(datetime.date(2018, 1, 1), datetime.date(2027, 1, 1))
    start, end = data.draw(st.none() | dates), data.draw(st.none() | dates)
    if start is not None and end is not None:
        start, end = sorted((start, end))
    platform = data.draw(st.sampled_from([None, "ecephys", "behavior"]))
    with aind_session.sandbox(catalogue):
        found = aind_session.get_sessions(
            subject, platform=platform, start_date=start, end_date=end
        )
        expected = [
            s
            for s in truth.subjects[subject].sessions
            if (start is None or aind_session.Session(s).dt.date() >= start)
            and (end is None or aind_session.Session(s).dt.date() <= end)
        ]
        if platform is None:
            assert [s.id for s in found] == expected
        else:
            # The platform of other names is in the data.
            named = {s for s in expected if parse_session_id(s).platform == platform}
            assert {s.id for s in found if s._id.platform is not None} == named
            assert {s.id for s in found} <= set(expected)


_made: dict[int, Any] = {}


def _worlds(seed: int) -> Any:
    if seed not in _made:
        _made[seed] = invent_world(seed, 40)
    return _made[seed]
