"""The older API: errors that callers catch, against the sandbox."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import codeocean.error
import pytest
import requests

import aind_session
from aind_session.clock import use_clock
from aind_session.sandbox import Sandbox
from loopback import FakeClock

ID, NOBODY = "ecephys_676909_2023-12-13_13-43-40", "ecephys_676909_2099-01-01_00-00-00"
RAW, MISSING = "16d46411-540a-4122-b47f-8cb2a15d593a", "00000000-0000-4000-8000-000000000000"
PIPELINE = aind_session.ecephys.DEFAULT_SORTING_PIPELINE_ID
RUNNING = "dbe18f52-26df-57ef-b732-b56d8878c67e"
FOREIGN = {"id": MISSING, "name": "nothing", "source_bucket": {"bucket": "", "external": True}}

Ask = Callable[[], Any]


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with use_clock(FakeClock()):
        yield


def get_any(name: str) -> Any:
    return getattr(aind_session, name)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: aind_session.Session("no session here"),
        lambda: aind_session.Session(""),
        lambda: aind_session.Session(RAW),
        lambda: aind_session.Subject("no subject"),
        lambda: aind_session.get_sessions("no subject"),
        lambda: aind_session.get_sessions(676909, date="no date"),
        lambda: aind_session.get_sessions(676909, start_date="13/2023"),
        lambda: aind_session.get_sessions(676909, platform="ecphys"),
        lambda: aind_session.search_computations(PIPELINE, date="no date"),
        lambda: aind_session.search_computations(PIPELINE, end_date="no date"),
        lambda: aind_session.search_computations(PIPELINE, computation_state="complete"),
        lambda: aind_session.get_codeocean_data_asset_ids_from_docdb(),
        lambda: aind_session.get_normalized_uuid("no ID"),
        lambda: aind_session.get_bucket_and_prefix("/data/no/s3"),
        lambda: aind_session.get_source_dir_by_name(" "),
        lambda: aind_session.get_data_assets(" "),
        lambda: get_any("search_data_assets")("name:x"),
        lambda: aind_session.wait_until_ready(RAW, timeout=0),
        lambda: aind_session.wait_until_ready(RAW, polling_interval=-1),
    ],
)
def test_invalid_id_or_filter_is_a_value_error(ask: Ask, cold: Sandbox) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its message is another test's
        ask()
    assert isinstance(caught.value, aind_session.AindSessionError)
    assert str(caught.value)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: aind_session.get_data_asset_model(MISSING),
        lambda: aind_session.get_data_asset_model("no-such-id"),
        lambda: aind_session.get_codeocean_model(MISSING),
        lambda: aind_session.get_codeocean_model(MISSING, is_computation=True),
        lambda: aind_session.get_codeocean_model(MISSING, is_computation=False),
        lambda: aind_session.get_codeocean_model(RAW, is_computation=True),
        lambda: aind_session.get_codeocean_model(RUNNING, is_computation=False),
        lambda: aind_session.get_data_asset_model(RUNNING),
        lambda: aind_session.ecephys.get_sorted_data_asset_model(MISSING),
        lambda: aind_session.sort_by_created([RAW, MISSING]),
        lambda: aind_session.is_raw_data_asset(MISSING),
        lambda: aind_session.is_data_asset_error(MISSING),
        lambda: aind_session.is_computation_error(MISSING),
        lambda: aind_session.get_output_text(MISSING),
        lambda: aind_session.get_data_asset_source_dir(MISSING),
        lambda: aind_session.search_computations(MISSING),
        lambda: aind_session.wait_until_ready(MISSING),
        lambda: aind_session.get_codeocean_client().data_assets.get_data_asset(MISSING),
    ],
)
def test_unknown_id_is_a_value_error_and_an_http_error(ask: Ask, cold: Sandbox) -> None:
    with pytest.raises(ValueError, match="404") as caught:
        ask()
    error: Any = caught.value
    assert isinstance(error, codeocean.error.Error)
    assert isinstance(error, requests.HTTPError)
    error = caught.value
    for one in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert one.status_code == one.response.status_code == 404
    assert cold.token not in repr(vars(error)) + str(error)


@pytest.mark.parametrize("status", [400, 403, 500])
@pytest.mark.parametrize(
    "ask",
    [
        lambda: aind_session.get_data_asset_model(RAW),
        lambda: aind_session.search_data_assets({"query": "name:x"}),
        lambda: aind_session.search_computations(PIPELINE),
        lambda: aind_session.get_codeocean_client(False).data_assets.get_data_asset(RAW),
        lambda: aind_session.Session(ID).data_assets,
    ],
)
def test_code_ocean_error_is_an_sdk_and_http_error(ask: Ask, status: int, cold: Sandbox) -> None:
    cold.fail("codeocean", status=status, times=None)
    with pytest.raises(codeocean.error.Error) as caught:
        ask()
    assert isinstance(caught.value, requests.HTTPError)
    error: Any = caught.value
    assert error.status_code == error.response.status_code == status


@pytest.mark.parametrize(
    ("session_id", "name"),
    [
        (NOBODY, "raw_data_asset"),
        (NOBODY, "raw_data_dir"),
        (NOBODY, "modalities"),
        (NOBODY, "ecephys.clipped_dir"),
        (NOBODY, "ecephys.compressed_dir"),
        ("behavior_676909_2023-10-24_15-15-50", "ecephys.clipped_dir"),
        ("behavior_676909_2023-10-24_15-15-50", "ecephys.compressed_dir"),
        (NOBODY, "lims.id"),
    ],
)
def test_missing_attribute_is_an_attribute_error(
    session_id: str, name: str, bundled: Sandbox
) -> None:
    owner: Any = aind_session.Session(session_id)
    if "." in name:
        namespace, name = name.split(".")
        owner = getattr(owner, namespace)
    assert getattr(owner, name, None) is None
    with pytest.raises(AttributeError):
        getattr(owner, name)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: aind_session.get_source_dir_by_name("no such folder"),
        lambda: aind_session.get_output_text(RAW),
        lambda: aind_session.get_output_text(RUNNING),
        lambda: aind_session.ecephys.get_clipped_and_compressed_dirs(
            aind_session.Session("behavior_676909_2023-10-24_15-15-50").raw_data_asset
        ),
    ],
)
def test_missing_folder_or_log_is_a_file_not_found_error(ask: Ask, bundled: Sandbox) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        ask()
    assert isinstance(caught.value, aind_session.NotFoundError)


def test_source_dir_of_an_asset_without_folder_is_a_file_not_found_error(sandbox: Sandbox) -> None:
    sandbox.catalogue.add_asset(FOREIGN)
    with pytest.raises(FileNotFoundError, match="does not name its folder") as caught:
        aind_session.get_data_asset_source_dir(MISSING)
    assert isinstance(caught.value, aind_session.NotFoundError)
    assert "aind-open-data" in str(caught.value)


CALLS_WITH_A_TOKEN = [
    lambda: aind_session.get_codeocean_client(),
    lambda: aind_session.get_data_asset_model(RAW),
    lambda: aind_session.search_data_assets({}),
    lambda: aind_session.get_output_text(RAW),
    lambda: aind_session.wait_until_ready(RAW),
    lambda: aind_session.Session(ID).data_assets,
]


@pytest.mark.parametrize("ask", CALLS_WITH_A_TOKEN)
def test_missing_token_is_a_key_error(ask: Ask, cold: Sandbox) -> None:
    with cold.without_token(), pytest.raises(KeyError, match="CODE_OCEAN_API_TOKEN"):
        ask()


@pytest.mark.parametrize("ask", CALLS_WITH_A_TOKEN)
def test_refused_token_is_a_value_error(
    ask: Ask, cold: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "cop_0123456789wrong0123456789"
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", token)
    with pytest.raises(ValueError, match="refused") as caught:
        ask()
    assert token not in str(caught.value)
    assert aind_session.get_codeocean_client(check_credentials=False)


@pytest.mark.parametrize(
    ("service", "ask"),
    [
        ("docdb", lambda: aind_session.get_docdb_record(ID)),
        ("docdb", lambda: aind_session.get_subject_docdb_records("676909")),
        ("docdb", lambda: aind_session.get_codeocean_data_asset_ids_from_docdb("676909")),
        ("docdb", lambda: aind_session.Session(ID).docdb),
        ("s3", lambda: aind_session.get_source_dir_by_name(ID)),
        ("s3", lambda: aind_session.Session(ID).modalities),
        ("codeocean", lambda: aind_session.get_data_asset_model(RAW)),
        ("codeocean", lambda: aind_session.Session(ID).data_assets),
        ("files", lambda: aind_session.get_output_text("5c7c5fa3-8555-5645-8582-085313272d75")),
    ],
)
def test_service_that_is_down_is_not_reported_as_not_found(
    service: str, ask: Ask, cold: Sandbox
) -> None:
    with cold.down(service, status=400), pytest.raises(aind_session.ServiceError) as caught:
        ask()
    assert not isinstance(caught.value, AttributeError | FileNotFoundError)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("<html><body>Bad gateway", "text/html"),
        ("\n<!DOCTYPE HTML><title>503", "application/octet-stream"),
        ("<html><body>Bad gateway", ""),
        ("<?xml version='1.0'?><Error></Error>", "text/html"),
        ("<Error><Code>AccessDenied</Code></Error>", ""),
    ],
)
def test_error_page_is_not_returned_as_log(body: str, kind: str, cold: Sandbox) -> None:
    cold.fail("files", status=200, headers={"Content-Type": kind}, body=body, times=None)
    with pytest.raises(aind_session.ServiceError, match="error page"):
        aind_session.get_output_text("5c7c5fa3-8555-5645-8582-085313272d75")
    cold.heal()
    assert "Started" in aind_session.get_output_text("5c7c5fa3-8555-5645-8582-085313272d75")


@pytest.mark.parametrize(
    ("service", "ask"),
    [
        ("codeocean", lambda **r: get_client(**r).data_assets.get_data_asset(RAW)),
        ("docdb", lambda **r: aind_session.get_docdb_api_client(**r).retrieve_docdb_records({})),
    ],
)
@pytest.mark.parametrize("retries", [0, 2])
def test_client_repeats_requests_as_given(
    service: str, ask: Callable[..., Any], retries: int, cold: Sandbox
) -> None:
    cold.fail(service, status=503, times=None)
    with pytest.raises(requests.HTTPError):
        ask(retries=retries)
    assert cold.count(service) == 1 + retries


def get_client(retries: int) -> Any:
    return aind_session.get_codeocean_client(check_credentials=False, retries=retries)
