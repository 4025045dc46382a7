"""Lookups while a service is down, closed or without credentials: the others' answers."""

from __future__ import annotations

import contextlib
import copy
import pickle
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

import aind_session
from aind_session import PartialAnswerWarning, Sandbox, Session, Subject, trace
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


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with use_clock(FakeClock()):
        yield


def _without_code_ocean(box: Sandbox, how: str) -> AbstractContextManager[None]:
    return box.down("codeocean") if how == "down" else box.without_token()


@pytest.mark.parametrize("how", ["down", "no token"])
class TestWithoutCodeOcean:
    def test_its_own_attributes_raise(self, sandbox: Sandbox, how: str) -> None:
        expected = ServiceError if how == "down" else MissingTokenError
        with _without_code_ocean(sandbox, how):
            for name in ("data_assets", "raw_data_asset"):
                with pytest.raises(expected):
                    getattr(Session(SESSION), name)
                # Not an AttributeError: there may well be one.
                with pytest.raises(expected):
                    getattr(Session(SESSION), name, None)

    def test_the_others_answer_with_one_warning(self, sandbox: Sandbox, how: str) -> None:
        with _without_code_ocean(sandbox, how):
            for name, answer in {
                "raw_data_dir": FOLDER,
                "is_uploaded": True,
                "modalities": ("behavior", "behavior_videos", "ecephys"),
            }.items():
                with pytest.warns(PartialAnswerWarning, match="Code Ocean") as caught:
                    found = getattr(Session(SESSION), name)
                assert (found.as_posix() if name == "raw_data_dir" else found) == answer
                assert len(caught) == 1
                assert caught[0].filename == __file__

    def test_metadata_needs_it_not(self, sandbox: Sandbox, how: str) -> None:
        with _without_code_ocean(sandbox, how), warnings.catch_warnings():
            warnings.simplefilter("error")
            assert Session(SESSION).docdb["name"] == SESSION

    def test_searches_answer(self, sandbox: Sandbox, how: str) -> None:
        with (
            _without_code_ocean(sandbox, how),
            pytest.warns(PartialAnswerWarning, match="sessions that only it has") as caught,
        ):
            found = aind_session.get_sessions(676909)
        assert Session(SESSION) in found
        assert len(caught) == 1
        warning = caught[0].message
        assert isinstance(warning, PartialAnswerWarning)
        assert warning.service == "Code Ocean"
        assert warning.missing == "sessions that only it has"

    def test_a_table_of_records_needs_it_not(self, sandbox: Sandbox, how: str) -> None:
        with _without_code_ocean(sandbox, how):
            with pytest.warns(PartialAnswerWarning):
                found = aind_session.get_sessions(676909)
            assert found.to_pandas()["genotype"].notna().any()


@pytest.mark.parametrize("name", ["is_uploaded", "data_assets"])
def test_who_did_not_answer_is_not_asked_for_each_linked_asset(sandbox: Sandbox, name: str) -> None:
    with sandbox.down("codeocean"), warnings.catch_warnings():
        warnings.simplefilter("ignore", PartialAnswerWarning)
        with contextlib.suppress(ServiceError):
            getattr(Session(SESSION), name)
        # The one search, and again.
        assert sandbox.count("codeocean") == 4


def test_what_is_fetched_for_many_is_told_once(sandbox: Sandbox) -> None:
    sessions = aind_session.get_sessions(676909)
    sandbox.reset()
    with sandbox.down("docdb"), pytest.warns(PartialAnswerWarning, match="DocDB") as caught:
        sessions.prefetch("assets", "records", "modalities")
    assert len(caught) == 1
    # Who did not answer is not asked for the records as well.
    assert sandbox.count("docdb") <= 16


def test_without_a_token_the_rest_is_fetched_for_many(sandbox: Sandbox) -> None:
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


class TestWithoutDocDB:
    def test_code_ocean_and_s3_answer(self, sandbox: Sandbox) -> None:
        with sandbox.down("docdb"):
            session = Session(SESSION)
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert session.raw_data_asset.id == "16d46411-540a-4122-b47f-8cb2a15d593a"
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert session.raw_data_dir.as_posix() == FOLDER
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert len(aind_session.get_sessions(676909)) == 4

    def test_a_raw_asset_that_it_may_link_is_not_told_to_be_absent(self, sandbox: Sandbox) -> None:
        nobody = Session("ecephys_123456_2024-01-01_10-00-00")
        with sandbox.down("docdb"), warnings.catch_warnings():
            warnings.simplefilter("ignore", PartialAnswerWarning)
            for name in ("raw_data_asset", "data_assets"):
                with pytest.raises(ServiceError, match="DocDB"):
                    getattr(nobody, name)
            with pytest.raises(ServiceError, match="DocDB"):
                _ = aind_session.Subject(123456).data_assets

    def test_the_other_spelling_is_found(self, sandbox: Sandbox) -> None:
        other = Session(SESSION.removeprefix("ecephys_"))
        with sandbox.down("docdb"):
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert len(other.data_assets) == 42
            with pytest.warns(PartialAnswerWarning, match="DocDB"):
                assert other.raw_data_dir.as_posix() == FOLDER

    def test_its_own_record_is_an_error_not_an_absence(self, sandbox: Sandbox) -> None:
        with sandbox.down("docdb"), pytest.raises(ServiceError, match="503"):
            _ = Session(SESSION).docdb

    def test_one_generation_answers_for_both(self, sandbox: Sandbox) -> None:
        sandbox.fail(service="docdb", path="/v2/", status=500, times=None)
        with pytest.warns(PartialAnswerWarning, match="other schema"):
            assert Session(SESSION).docdb.genotype

    def test_records_of_a_subject_have_one_order(self, sandbox: Sandbox) -> None:
        whole = [record["_id"] for record in Subject(999999).docdb.records]
        # The same records, page by page.
        sandbox.fail(service="docdb", path="/aggregate", status=500, times=None)
        sandbox.reset()
        assert [record["_id"] for record in Subject(999999).docdb.records] == whole


class TestSearchesThatFindNothing:
    """A service that is down may have the sessions that the others lack: an error, not nothing."""

    def test_what_only_code_ocean_knows(self, sandbox: Sandbox) -> None:
        only = Session("SmartSPIM_999005_2024-01-01_10-00-00")
        template = next(a for a in sandbox.catalogue.data_assets if a["name"].startswith("Smart"))
        sandbox.catalogue.add_asset({**template, "id": "only there", "name": only.id})
        assert aind_session.get_sessions(platform="SmartSPIM", date=only.date) == (only,)
        sandbox.reset()
        with sandbox.down("codeocean"):
            for filters in (
                {"subject_id": only.subject_id},
                {"subject_id": only.subject_id, "date": only.date},
                {"platform": "SmartSPIM", "date": only.date},
            ):
                with pytest.raises(ServiceError, match="Code Ocean"):
                    aind_session.get_sessions(**filters)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", PartialAnswerWarning)
                    with pytest.raises(ServiceError, match="Code Ocean"):
                        list(aind_session.iter_sessions(**filters))

    def test_what_only_docdb_can_tell(self, sandbox: Sandbox) -> None:
        project = Session(SESSION).docdb.project
        sandbox.reset()
        with sandbox.down("docdb"), pytest.raises(ServiceError, match="DocDB"):
            aind_session.get_sessions(676909, project=project)

    def test_without_a_token_it_is_a_warning(self, sandbox: Sandbox) -> None:
        with sandbox.without_token(), pytest.warns(PartialAnswerWarning, match="Code Ocean"):
            assert aind_session.get_sessions(123456) == ()

    def test_what_one_generation_knows_is_found(self, sandbox: Sandbox) -> None:
        sandbox.fail(service="docdb", path="/v2/", status=500, times=None)
        with sandbox.down("codeocean"), pytest.warns(PartialAnswerWarning) as caught:
            assert Session(SESSION) in aind_session.get_sessions(676909)
        assert [w.message.service for w in caught] == ["Code Ocean", "DocDB"]  # type: ignore[union-attr]


class TestWithoutS3:
    def test_folders_are_told_all_the_same(self, sandbox: Sandbox) -> None:
        with sandbox.down("s3"):
            assert Session(SESSION).raw_data_dir.as_posix() == FOLDER
            assert Session(SESSION).is_uploaded
            with pytest.raises(ServiceError):
                _ = Session(SESSION).modalities

    def test_what_only_it_knows_is_an_error_not_an_absence(self, sandbox: Sandbox) -> None:
        nobody = Session("ecephys_123456_2024-01-01_10-00-00")
        with sandbox.down("s3"):
            for name in ("raw_data_dir", "is_uploaded"):
                with pytest.raises(ServiceError):
                    getattr(nobody, name)

    @pytest.mark.parametrize("status", [401, 403])
    def test_where_no_bucket_is_open_nothing_is_told_to_be_absent(
        self, sandbox: Sandbox, status: int
    ) -> None:
        nobody = Session("ecephys_123456_2024-01-01_10-00-00")
        with sandbox.down("s3", status=status):
            for name in ("raw_data_dir", "is_uploaded"):
                with pytest.raises(PermissionError, match="no access"):
                    getattr(nobody, name)
            with pytest.raises(PermissionError, match="no access"):
                aind_session.get_source_dir_by_name(nobody.id)

    def test_what_is_not_known_is_not_claimed_beside_an_absence(self, sandbox: Sandbox) -> None:
        name = "ecephys_999003_2024-01-01_10-00-00"
        sandbox.catalogue.add_object("aind-open-data", f"{name}/ecephys/a.txt", "a")
        with sandbox.down("s3"), pytest.raises(MissingAttributeError) as caught:
            _ = Session(name).raw_data_asset
        assert "a folder could not be looked up: S3 failed" in str(caught.value)
        assert "no folder" not in str(caught.value).partition("Requests:")[0]

    def test_public_buckets_need_no_credentials(self, sandbox: Sandbox) -> None:
        with sandbox.without_aws():
            assert "ecephys" in Session(SESSION).modalities


def test_a_table_tells_what_it_could_not_find_out(sandbox: Sandbox) -> None:
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


def test_docdb_is_believed_of_a_folder_that_is_closed(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session("ecephys_999012_2024-01-01_10-00-00")
    location = f"s3://aind-private-data-prod-o5171v/{session.id}"
    sandbox.catalogue.add_record("v1", {"_id": "r", "name": session.id, "location": location})
    with sandbox.without_aws(), caplog.at_level("INFO", logger="aind_session"):
        assert session.is_uploaded
    assert f"{location} is not accessible" in caplog.text


def test_with_all_down_nothing_is_told_to_be_absent(sandbox: Sandbox) -> None:
    with sandbox.down("docdb"), sandbox.down("codeocean"), sandbox.down("s3"):
        session = Session(SESSION)
        for name in ("data_assets", "raw_data_dir", "is_uploaded", "modalities", "docdb"):
            with pytest.raises(ServiceError):
                getattr(session, name)
        with pytest.raises(ServiceError):
            aind_session.get_sessions(676909)


def test_a_refused_token_is_a_credential_error(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "cop_0nobody0nobody0nobody0nobody")
    with pytest.raises(CredentialsError) as caught:
        _ = Session(SESSION).data_assets
    assert isinstance(caught.value, ValueError)
    assert "cop_0nobody" not in str(caught.value)
    with pytest.warns(PartialAnswerWarning):
        assert Session(SESSION).is_uploaded


def test_a_record_without_a_name_is_told(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    subject = {"subject": {"subject_id": "676909"}}
    for odd in ({}, {"name": None}):
        sandbox.catalogue.add_record("v1", {"_id": f"odd {odd}", **subject, **odd})
    assert Session(SESSION) in aind_session.get_sessions(676909)
    assert caplog.text.count("without a name belongs to no session: odd") == 2


@pytest.mark.parametrize("access", ["closed", "forbidden", "gone"])
def test_a_linked_asset_that_cannot_be_opened_sinks_nothing(sandbox: Sandbox, access: str) -> None:
    linked = "00000000-0000-4000-8000-00000000dead"
    if access != "gone":
        whole = {**sandbox.catalogue.data_assets[0], "id": linked, "name": "x", "tags": []}
        sandbox.catalogue.add_asset({**whole, "_access": access})
    record = dict(sandbox.catalogue.docdb_v1[0])
    record.update(
        {"_id": "another", "name": SESSION, "external_links": {"Code Ocean": [linked, None, 3]}}
    )
    sandbox.catalogue.add_record("v1", record)
    session = Session(SESSION)
    assert len(session.data_assets) == 42
    trails = trace.kept(SESSION)
    told = "\n".join(line for trail in trails for line in trail.lines)
    assert linked in told
    assert "left out" in told


class TestMessages:
    def test_a_folder_without_an_asset(self, sandbox: Sandbox) -> None:
        name = "ecephys_999003_2024-01-01_10-00-00"
        sandbox.catalogue.add_object("aind-open-data", f"{name}/ecephys/a.txt", "a")
        with pytest.raises(MissingAttributeError, match="a raw data asset needs to be created"):
            _ = Session(name).raw_data_asset

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
        self, sandbox: Sandbox, wanted: str, nearest: tuple[int, ...], name: str
    ) -> None:
        ids = {session.dt.day: session.id for session in aind_session.get_sessions(676909)}
        with pytest.raises(MissingAttributeError) as caught:
            getattr(Session(wanted), name)
        message = str(caught.value).partition("\n")[0]
        assert message.endswith(f" Did you mean {' or '.join(ids[day] for day in nearest)}?")

    def test_missing_folder_of_a_session_with_results_names_no_other_session(
        self, sandbox: Sandbox
    ) -> None:
        session = Session("ecephys_676909_2023-12-13_10-00-00")
        derived = {"id": "a", "name": f"{session.id}_nwb_2024-01-02_10-00-00", "type": "result"}
        sandbox.catalogue.add_asset({**sandbox.catalogue.data_assets[0], **derived})
        with pytest.raises(
            MissingAttributeError, match=r"was found: explain\(\) lists it[.]"
        ) as caught:
            _ = session.raw_data_dir
        assert "Did you mean" not in str(caught.value)

    def test_a_subject_that_nobody_knows(self, sandbox: Sandbox) -> None:
        with pytest.raises(AttributeError, match="Nothing was found for subject 123456") as e:
            _ = Session("ecephys_123456_2024-01-01_10-00-00").raw_data_dir
        error = e.value
        assert isinstance(error, MissingAttributeError)
        asked = "\n".join(error.trail)
        for service in ("Code Ocean", "DocDB", "S3"):
            assert service in asked
        assert sandbox.token not in str(error) + asked

    def test_they_cross_processes(self, sandbox: Sandbox) -> None:
        with pytest.raises(MissingAttributeError) as caught:
            _ = Session("ecephys_123456_2024-01-01_10-00-00").raw_data_asset
        for again in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
            assert type(again) is MissingAttributeError
            assert str(again) == str(caught.value)
            assert again.trail == caught.value.trail
            assert again.name == "raw_data_asset"

    def test_derived_assets_only(self, sandbox: Sandbox) -> None:
        name = "ecephys_999004_2024-01-01_10-00-00"
        derived = {
            **sandbox.catalogue.data_assets[0],
            "id": "00000000-0000-4000-8000-00000000aaaa",
            "name": f"{name}_sorted_2024-01-02_10-00-00",
            "type": "result",
            "custom_metadata": {},
        }
        sandbox.catalogue.add_asset(derived)
        with pytest.raises(MissingAttributeError, match="only 1 derived"):
            _ = Session(name).raw_data_asset


def test_explain_tells_what_was_asked_of_whom(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    Session(SESSION).explain()
    text = capsys.readouterr().out
    assert "data assets: 42" in text
    assert f"raw data folder: {FOLDER}" in text
    assert "name:ecephys_676909_2023-" in text
    assert f"s3://aind-ephys-data/{SESSION}/ ->" in text
    assert "CODE_OCEAN_API_TOKEN in the environment" in text
    assert sandbox.token not in text
    with sandbox.down("docdb"):
        Session(SESSION).refresh()
        Session(SESSION).explain()
        text = capsys.readouterr().out
        assert "data assets: 42; DocDB did not answer" in text


def test_explain_of_a_retired_schema_shows_that_it_is_not_queried(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.retire("docdb", "v2")
    Session(SESSION).explain()
    assert "DocDB schema v2 is not queried: it is retired\n" in capsys.readouterr().out


@pytest.mark.parametrize("n_assets", [0, 2])
def test_that_there_is_no_record_is_told_with_what_there_is(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture, n_assets: int
) -> None:
    session = Session("ecephys_999007_2024-01-01_10-00-00")
    for number in range(n_assets):
        asset = {**sandbox.catalogue.data_assets[0], "id": f"a{number}", "name": session.id}
        sandbox.catalogue.add_asset(asset)
    with caplog.at_level("INFO", logger="aind_session"):
        assert session.docdb == {}
    assert f"No metadata record was found for {session.id}" in caplog.text
    assert ("though it has 2 data assets" in caplog.text) == bool(n_assets)


def test_choices_are_logged(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    raw = next(a for a in sandbox.catalogue.data_assets if a["name"] == SESSION)
    newer = {**raw, "id": "00000000-0000-4000-8000-00000000bbbb", "created": raw["created"] + 9}
    sandbox.catalogue.add_asset(newer)
    with caplog.at_level("INFO", logger="aind_session"):
        assert Session(SESSION).raw_data_asset.id == newer["id"]
    assert "2 raw data assets: the newest" in caplog.text
