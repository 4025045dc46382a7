"""Lookups while a service is down, closed or without credentials: the others' answers."""

from __future__ import annotations

import contextlib
import copy
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import aind_session
from aind_session import PartialAnswerWarning, Sandbox, Session, Subject, settings, trace
from aind_session.clock import use_clock
from aind_session.errors import (
    CredentialsError,
    MissingAttributeError,
    MissingTokenError,
    ServiceError,
)
from loopback import FakeClock

SESSION = "ecephys_676909_2023-12-13_13-43-40"
FOLDER = f"s3://aind-ephys-data/{SESSION}"
ABSENT = "ecephys_123456_2024-01-01_10-00-00"
#: A session of the tests: each adds the part of it that one service has.
MADE = "ecephys_999003_2024-01-01_10-00-00"
MODALITIES = ("behavior", "behavior_videos", "ecephys")


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with use_clock(FakeClock()):
        yield


@contextlib.contextmanager
def _ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartialAnswerWarning)
        yield


def _value(session: Session, name: str) -> Any:
    found = getattr(session, name)
    return found.as_posix() if name == "raw_data_dir" else found


def _add_asset(box: Sandbox, name: str, **fields: object) -> dict[str, Any]:
    asset = {**box.catalogue.data_assets[0], "name": name, **fields}
    box.catalogue.add_asset(asset)
    return asset


# -- Code Ocean ------------------------------------------------------------------------------------


@pytest.fixture(params=["down", "no token"])
def without_code_ocean(
    request: pytest.FixtureRequest, sandbox: Sandbox
) -> Iterator[type[Exception]]:
    """Take Code Ocean away; yield the error of what only it has."""
    if request.param == "down":
        with sandbox.down("codeocean"):
            yield ServiceError
    else:
        with sandbox.without_token():
            yield MissingTokenError


@pytest.mark.parametrize("name", ["data_assets", "raw_data_asset"])
def test_attribute_of_code_ocean_without_it_raises(
    without_code_ocean: type[Exception], name: str
) -> None:
    with pytest.raises(without_code_ocean):
        getattr(Session(SESSION), name)
    # Not an AttributeError: it may well exist.
    with pytest.raises(without_code_ocean):
        getattr(Session(SESSION), name, None)


@pytest.mark.usefixtures("without_code_ocean")
@pytest.mark.parametrize(
    ("name", "answer"),
    [("raw_data_dir", FOLDER), ("is_uploaded", True), ("modalities", MODALITIES)],
)
def test_attribute_of_several_services_without_code_ocean_warns_once(
    name: str, answer: object
) -> None:
    with pytest.warns(PartialAnswerWarning, match="Code Ocean") as caught:
        assert _value(Session(SESSION), name) == answer
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.usefixtures("without_code_ocean")
def test_records_and_searches_without_code_ocean_answer() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Session(SESSION).docdb["name"] == SESSION
    with pytest.warns(PartialAnswerWarning, match="sessions that only it has") as caught:
        found = aind_session.get_sessions(676909)
    assert Session(SESSION) in found
    (warning,) = (one.message for one in caught)
    assert isinstance(warning, PartialAnswerWarning)
    assert (warning.service, warning.missing) == ("Code Ocean", "sessions that only it has")
    assert found.to_pandas()["genotype"].notna().any()


@pytest.mark.parametrize("name", ["is_uploaded", "data_assets"])
def test_linked_assets_without_code_ocean_are_not_requested(sandbox: Sandbox, name: str) -> None:
    with sandbox.down("codeocean"), _ignored():
        with contextlib.suppress(ServiceError):
            getattr(Session(SESSION), name)
        # The one search, and its repetitions.
        assert sandbox.count("codeocean") == 4


def test_prefetch_without_a_token_fetches_the_rest(sandbox: Sandbox) -> None:
    sessions = aind_session.get_sessions(676909)
    sandbox.reset()
    with sandbox.without_token():
        with pytest.warns(PartialAnswerWarning, match="Code Ocean") as caught:
            sessions.prefetch("assets", "records", "modalities")
        assert len(caught) == 1
        before = sandbox.count("docdb")
        assert all(session.docdb for session in sessions)
        assert sandbox.count("docdb") == before
        assert sandbox.count("s3") >= 1


def test_refused_token_raises_a_credentials_error(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "cop_0refused0refused0refused0ref")
    with pytest.raises(CredentialsError) as caught:
        _ = Session(SESSION).data_assets
    assert isinstance(caught.value, ValueError)
    assert "cop_0refused" not in str(caught.value)
    with pytest.warns(PartialAnswerWarning):
        assert Session(SESSION).is_uploaded


@pytest.mark.parametrize("access", ["closed", "forbidden", "gone"])
def test_linked_asset_that_cannot_be_opened_is_left_out(sandbox: Sandbox, access: str) -> None:
    linked = "00000000-0000-4000-8000-00000000dead"
    if access != "gone":
        _add_asset(sandbox, "x", id=linked, tags=[], _access=access)
    links = {"external_links": {"Code Ocean": [linked, None, 3]}}
    first = sandbox.catalogue.docdb_v1[0]
    sandbox.catalogue.add_record("v1", {**first, "_id": "another", "name": SESSION, **links})
    assert len(Session(SESSION).data_assets) == 42
    noted = "\n".join(line for one in trace.kept(SESSION) for line in one.lines)
    assert linked in noted
    assert "left out" in noted


# -- DocDB -----------------------------------------------------------------------------------------


def test_attributes_and_searches_without_docdb_warn(sandbox: Sandbox) -> None:
    # Under its other spelling, the session is found as well.
    for session in (Session(SESSION), Session(SESSION.removeprefix("ecephys_"))):
        with sandbox.down("docdb"):
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert session.raw_data_asset.id == "16d46411-540a-4122-b47f-8cb2a15d593a"
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert len(session.data_assets) == 42
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert session.raw_data_dir.as_posix() == FOLDER
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert len(aind_session.get_sessions(676909)) == 4
            with pytest.raises(ServiceError, match="503"):
                _ = session.docdb


def test_prefetch_without_docdb_warns_once(sandbox: Sandbox) -> None:
    sessions = aind_session.get_sessions(676909)
    sandbox.reset()
    with sandbox.down("docdb"), pytest.warns(PartialAnswerWarning, match="DocDB") as caught:
        sessions.prefetch("assets", "records", "modalities")
    assert len(caught) == 1
    # The records are not requested from the service that has failed.
    assert sandbox.count("docdb") <= 16


def test_absent_asset_without_docdb_raises_because_it_may_link_one(sandbox: Sandbox) -> None:
    with sandbox.down("docdb"), _ignored():
        for look in (
            lambda: Session(ABSENT).raw_data_asset,
            lambda: Session(ABSENT).data_assets,
            lambda: Subject(123456).data_assets,
        ):
            with pytest.raises(ServiceError, match="DocDB"):
                look()


def test_record_without_one_schema_is_that_of_the_other(sandbox: Sandbox) -> None:
    sandbox.fail(service="docdb", path="/v2/", status=500, times=None)
    with pytest.warns(PartialAnswerWarning, match="other schema"):
        assert Session(SESSION).docdb.genotype
    with sandbox.down("codeocean"), pytest.warns(PartialAnswerWarning) as caught:
        assert Session(SESSION) in aind_session.get_sessions(676909)
    assert [getattr(w.message, "service", "") for w in caught] == ["Code Ocean", "DocDB"]


def test_records_of_a_subject_page_by_page_have_the_same_order(sandbox: Sandbox) -> None:
    whole = [record["_id"] for record in Subject(999999).docdb.records]
    sandbox.fail(service="docdb", path="/aggregate", status=500, times=None)
    sandbox.reset()
    assert [record["_id"] for record in Subject(999999).docdb.records] == whole


def test_records_without_a_name_are_logged(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    subject = {"subject": {"subject_id": "676909"}}
    for odd in ({}, {"name": None}):
        sandbox.catalogue.add_record("v1", {"_id": f"odd {odd}", **subject, **odd})
    assert Session(SESSION) in aind_session.get_sessions(676909)
    assert caplog.text.count("without a name belongs to no session: odd") == 2


# -- searches that find nothing: an error if a service that failed may have the sessions -----------


def test_search_for_a_session_of_code_ocean_without_it_raises(sandbox: Sandbox) -> None:
    only = Session("SmartSPIM_999005_2024-01-01_10-00-00")
    template = next(a for a in sandbox.catalogue.data_assets if a["name"].startswith("Smart"))
    sandbox.catalogue.add_asset({**template, "id": "only there", "name": only.id})
    assert aind_session.get_sessions(platform="SmartSPIM", date=only.date) == (only,)
    sandbox.reset()
    with sandbox.down("codeocean"), _ignored():
        for filters in (
            {"subject_id": only.subject_id},
            {"subject_id": only.subject_id, "date": only.date},
            {"platform": "SmartSPIM", "date": only.date},
        ):
            with pytest.raises(ServiceError, match="Code Ocean"):
                aind_session.get_sessions(**filters)
            with pytest.raises(ServiceError, match="Code Ocean"):
                list(aind_session.iter_sessions(**filters))


def test_search_for_a_project_without_docdb_raises(sandbox: Sandbox) -> None:
    project = Session(SESSION).docdb.project
    sandbox.reset()
    with sandbox.down("docdb"), pytest.raises(ServiceError, match="DocDB"):
        aind_session.get_sessions(676909, project=project)


def test_search_that_finds_nothing_without_a_token_warns(sandbox: Sandbox) -> None:
    with sandbox.without_token(), pytest.warns(PartialAnswerWarning, match="Code Ocean"):
        assert aind_session.get_sessions(123456) == ()


# -- S3 --------------------------------------------------------------------------------------------


def test_attributes_without_s3_answer_from_the_other_services(sandbox: Sandbox) -> None:
    with sandbox.down("s3"):
        assert Session(SESSION).raw_data_dir.as_posix() == FOLDER
        assert Session(SESSION).is_uploaded
        with pytest.raises(ServiceError):
            _ = Session(SESSION).modalities


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (503, ServiceError, "S3"),
        (401, PermissionError, "no access"),
        (403, PermissionError, "no acc"),
    ],
)
def test_absent_folder_without_s3_raises_an_error(
    sandbox: Sandbox, status: int, error: type[Exception], message: str
) -> None:
    with sandbox.down("s3", status=status):
        for name in ("raw_data_dir", "is_uploaded"):
            with pytest.raises(error, match=message) as caught:
                getattr(Session(ABSENT), name)
            assert not isinstance(caught.value, MissingAttributeError)
        if error is PermissionError:
            with pytest.raises(PermissionError, match=message):
                aind_session.get_source_dir_by_name(ABSENT)


def test_modalities_in_a_public_bucket_need_no_credentials(sandbox: Sandbox) -> None:
    with sandbox.without_aws():
        assert "ecephys" in Session(SESSION).modalities


def test_table_without_files_leaves_the_unknown_empty(sandbox: Sandbox) -> None:
    sessions = aind_session.get_sessions("676909").prefetch()
    sandbox.fail(service="s3", times=None)
    sandbox.fail(service="codeocean", path="/files", times=None)
    with pytest.warns(PartialAnswerWarning, match="column `sorted`") as caught:
        values = dict(sessions.to_pandas(["id", "sorted"]).to_numpy().tolist())
    assert len(caught) == 1
    assert values[SESSION] is None
    assert False in values.values()


def test_aws_profile_that_does_not_exist_disables_s3_only(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = aind_session.get_sessions("676909").prefetch()
    expected = sessions.to_pandas(["sorted"])["sorted"].tolist()
    sandbox.reset()
    monkeypatch.setenv("AWS_PROFILE", "missing")
    # The files of results are read through Code Ocean.
    assert sessions.to_pandas(["sorted"])["sorted"].tolist() == expected
    assert sandbox.count("s3") == 0
    with pytest.raises((ServiceError, CredentialsError), match="missing"):
        _ = Session(SESSION).modalities


def test_is_uploaded_with_a_closed_folder_on_record_is_true(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    location = f"s3://aind-private-data-prod-o5171v/{MADE}"
    sandbox.catalogue.add_record("v1", {"_id": "r", "name": MADE, "location": location})
    with sandbox.without_aws(), caplog.at_level("INFO", logger="aind_session"):
        assert Session(MADE).is_uploaded
    assert f"{location} is not accessible" in caplog.text


def test_every_lookup_with_all_services_down_raises(sandbox: Sandbox) -> None:
    with sandbox.down("docdb"), sandbox.down("codeocean"), sandbox.down("s3"):
        for name in ("data_assets", "raw_data_dir", "is_uploaded", "modalities", "docdb"):
            with pytest.raises(ServiceError):
                getattr(Session(SESSION), name)
        with pytest.raises(ServiceError):
            aind_session.get_sessions(676909)


def test_error_of_all_services_names_each_and_pickles(sandbox: Sandbox) -> None:
    down = sandbox.down
    with down("docdb"), down("codeocean"), down("s3"), pytest.raises(ServiceError) as caught:
        _ = Session(SESSION).raw_data_dir
    for text in (str(caught.value), str(pickle.loads(pickle.dumps(caught.value)))):
        for service in ("Code Ocean: ", "DocDB: ", "S3: "):
            assert f"  {service}" in text


def test_setting_that_was_invalid_leaves_no_lookup_open(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_CACHE_SECONDS", "soon")
    with pytest.raises(ValueError, match="AIND_SESSION_CACHE_SECONDS"):
        _ = Session(SESSION).raw_data_asset
    monkeypatch.delenv("AIND_SESSION_CACHE_SECONDS")
    assert settings.lookup.get() is None
    assert Session(SESSION).raw_data_asset.name == SESSION
    assert trace.kept(SESSION)


# -- messages --------------------------------------------------------------------------------------


def test_missing_asset_of_a_folder_says_that_it_needs_to_be_created(sandbox: Sandbox) -> None:
    sandbox.catalogue.add_object("aind-open-data", f"{MADE}/ecephys/a.txt", "a")
    with pytest.raises(MissingAttributeError, match="a raw data asset needs to be created"):
        _ = Session(MADE).raw_data_asset
    sandbox.reset()
    # What could not be looked up is not reported as absent.
    with sandbox.down("s3"), pytest.raises(MissingAttributeError) as caught:
        _ = Session(MADE).raw_data_asset
    assert "a folder could not be looked up: S3 failed" in str(caught.value)
    assert "no folder" not in str(caught.value).partition("Requests:")[0]


def test_missing_asset_with_a_location_says_whether_there_are_files(sandbox: Sandbox) -> None:
    # DocDB has its location, but nothing was uploaded there.
    session = Session("behavior_999999_2024-01-06_10-00-00")
    place = f"DocDB has the location s3://aind-open-data/{session.id}"
    with pytest.raises(MissingAttributeError, match=f"{place}, but there are no files"):
        _ = session.raw_data_asset
    sandbox.reset()
    with (
        sandbox.down("s3"),
        pytest.raises(MissingAttributeError, match=f"{place}. Its files: .* 503"),
    ):
        _ = session.raw_data_asset


@pytest.mark.parametrize("name", ["raw_data_asset", "raw_data_dir"])
@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("ecephys_676909_2023-12-13_13-43-41", (13, 14, 11)),
        # The right time with the wrong platform.
        ("behavior_676909_2023-12-13_13-43-40", (13, 14, 11)),
        ("ecephys_676909_2023-12-15_13-43-40", (14, 13, 11)),
    ],
)
def test_missing_session_names_the_nearest_of_its_subject(
    sandbox: Sandbox, wanted: str, nearest: tuple[int, ...], name: str
) -> None:
    ids = {session.dt.day: session.id for session in aind_session.get_sessions(676909)}
    with pytest.raises(MissingAttributeError) as caught:
        getattr(Session(wanted), name)
    message = str(caught.value).partition("\n")[0]
    assert message.endswith(f" Did you mean {' or '.join(ids[day] for day in nearest)}?")


def test_missing_attributes_of_a_session_with_results_mention_these(sandbox: Sandbox) -> None:
    session = Session("ecephys_676909_2023-12-13_10-00-00")
    fields = {"type": "result", "custom_metadata": {}}
    _add_asset(sandbox, f"{session.id}_sorted_2024-01-02_10-00-00", id="a", **fields)
    with pytest.raises(MissingAttributeError, match=r"was found: explain\(\) lists it[.]") as got:
        _ = session.raw_data_dir
    assert "Did you mean" not in str(got.value)
    with pytest.raises(MissingAttributeError, match="only 1 derived"):
        _ = session.raw_data_asset


def test_missing_subject_error_lists_the_requests_and_can_be_copied(sandbox: Sandbox) -> None:
    with pytest.raises(AttributeError, match="Nothing was found for subject 123456") as caught:
        _ = Session(ABSENT).raw_data_dir
    error = caught.value
    assert isinstance(error, MissingAttributeError)
    requests = "\n".join(error.trail)
    assert [s for s in ("Code Ocean", "DocDB", "S3") if s not in requests] == []
    assert sandbox.token not in str(error) + requests
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is MissingAttributeError
        assert (str(again), again.trail, again.name) == (str(error), error.trail, "raw_data_dir")


def test_explain_lists_answers_and_requests(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    Session(SESSION).explain()
    text = capsys.readouterr().out
    for expected in (
        "data assets: 42",
        f"raw data folder: {FOLDER}",
        "name:ecephys_676909_2023-",
        f"{FOLDER}/ ->",
        "CODE_OCEAN_API_TOKEN in the environment",
    ):
        assert expected in text
    assert sandbox.token not in text
    with sandbox.down("docdb"):
        Session(SESSION).refresh()
        Session(SESSION).explain()
        assert "data assets: 42; DocDB failed" in capsys.readouterr().out


def test_explain_of_a_retired_schema_shows_that_it_is_not_queried(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.retire("docdb", "v2")
    Session(SESSION).explain()
    assert "DocDB schema v2 is not queried: it is retired\n" in capsys.readouterr().out


@pytest.mark.parametrize("n_assets", [0, 2])
def test_missing_record_is_logged_with_the_number_of_assets(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, n_assets: int
) -> None:
    for number in range(n_assets):
        _add_asset(sandbox, MADE, id=f"a{number}")
    with caplog.at_level("INFO", logger="aind_session"):
        assert Session(MADE).docdb == {}
    assert f"No metadata record was found for {MADE}" in caplog.text
    assert ("though it has 2 data assets" in caplog.text) == bool(n_assets)


def test_choice_of_a_raw_asset_is_logged(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    raw = next(a for a in sandbox.catalogue.data_assets if a["name"] == SESSION)
    newer = {**raw, "id": "00000000-0000-4000-8000-00000000bbbb", "created": raw["created"] + 9}
    sandbox.catalogue.add_asset(newer)
    with caplog.at_level("INFO", logger="aind_session"):
        assert Session(SESSION).raw_data_asset.id == newer["id"]
    assert "2 raw data assets: the newest" in caplog.text
