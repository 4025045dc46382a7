"""Code Ocean: the client, searches, single assets and computations."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from importlib import metadata
from typing import Any

import codeocean
import pytest
import requests
from codeocean.computation import Computation, RunParams
from codeocean.data_asset import DataAsset, DataAssetParams, DataAssetSearchParams

from aind_session.errors import (
    IncompleteAnswerError,
    InvalidIdentifierError,
    MissingTokenError,
    ServiceError,
)
from aind_session.services import codeocean as service
from aind_session.services.codeocean import (
    CodeOceanError,
    IncompleteSearchError,
)
from loopback import (
    BASIC,
    CANARY,
    Answer,
    Loopback,
    Script,
    Seen,
    Serve,
)

ID = "11ee1e1e-11e1-4111-8111-e11eeeee1e11"


def asset(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"asset-{number}",
        "name": "ecephys_676909_2023-12-13_13-43-40",
        "created": 1702500000 + number,
        "mount": "raw",
        "last_used": 0,
        "owner": "somebody",
        "state": "ready",
        "type": "dataset",
        **changes,
    }


def page(*numbers: int, token: str | None = None, more: bool | None = None) -> Answer:
    results = [asset(number) for number in numbers]
    more = token is not None if more is None else more
    return Answer(200, {"results": results, "has_more": more, "next_token": token})


# --- the client ---------------------------------------------------------------------------------


def test_client_is_the_sdks_and_shows_no_token(serve: Serve) -> None:
    server = serve([Answer(200, asset())])
    client = service.get_client()
    assert isinstance(client, codeocean.CodeOcean)
    assert client.domain == server.url
    assert client.data_assets.get_data_asset(ID) == DataAsset.from_dict(asset())
    assert "Min-Server-Version" not in server.requests[0].headers
    assert server.requests[0].headers["Authorization"] == f"Basic {BASIC}"
    for shown in (repr(client), str(client), f"{client}", repr(vars(client.data_assets))):
        assert CANARY not in shown


def test_client_is_made_once_for_each_identity(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve([Answer(200, asset())])
    first = service.get_client()
    assert service.get_client() is first
    assert service.get_client(retries=0) is not first
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "cop_AnotherTokenOfAnother1")
    assert service.get_client() is not first
    assert service.get_client() != first


def test_client_pickled_holds_no_token(serve: Serve) -> None:
    serve([Answer(200, asset())])
    client = service.get_client()
    for data in (pickle.dumps(client), pickle.dumps({"client": client})):
        assert CANARY.encode() not in data
        assert BASIC.encode() not in data
    assert pickle.loads(pickle.dumps(client)) is client
    assert copy.deepcopy(client) is client


@pytest.mark.parametrize(("retries", "requests_sent"), [(0, 1), (2, 3)])
def test_client_with_retries_sends_that_many_requests(
    serve: Serve, retries: int, requests_sent: int
) -> None:
    from urllib3.util import Retry

    server = serve([Answer(503)])
    for given, asset_id in ((retries, "one"), (Retry(retries), "another")):
        server.requests.clear()
        with pytest.raises(CodeOceanError) as caught:
            service.get_client(retries=given).data_assets.get_data_asset(asset_id)
        assert caught.value.attempts == len(server.requests) == requests_sent


def test_client_without_token_is_an_error(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve([Answer(200)])
    monkeypatch.delenv("CODE_OCEAN_API_TOKEN")
    with pytest.raises(MissingTokenError):
        service.get_client()


def test_client_sends_the_token_to_no_other_host(serve: Serve) -> None:
    serve([Answer(200, asset())])
    client = service.get_client()
    with Loopback([Answer(200, {})]) as other:
        client.session.get(f"{other.url}/presigned")
    assert "Authorization" not in other.requests[0].headers


def test_client_checks_credentials_once(serve: Serve) -> None:
    server = serve([page(1)])
    service.get_client(check_credentials=True)
    service.get_client(check_credentials=True)
    assert service.probe_token() is True
    assert server.paths == ["/api/v1/data_assets/search"]


# --- searches -----------------------------------------------------------------------------------


def test_search_requests_large_pages_without_archived(serve: Serve) -> None:
    server = serve([page(1)])
    found = service.search_assets(query="676909", type=None)
    assert [summary.id for summary in found] == ["asset-1"]
    assert server.requests[0].json == {"limit": 1000, "archived": False, "query": "676909"}
    service.search_assets(archived=True, page_size=10)
    assert server.requests[1].json == {"limit": 10, "archived": True}


def test_search_returns_all_pages_and_each_asset_once(serve: Serve) -> None:
    server = serve([page(1, 2, token="a"), page(2, 3, token="b"), page(3, 4)])
    found = service.search_assets(query="676909")
    assert [summary.id for summary in found] == ["asset-1", "asset-2", "asset-3", "asset-4"]
    assert [seen.json.get("next_token") for seen in server.requests] == [None, "a", "b"]


def test_search_with_an_empty_page_or_no_result_ends(serve: Serve) -> None:
    server = serve([page(1, token="a"), page(token="b", more=True), page()])
    assert len(service.search_assets()) == 1
    assert len(server.requests) == 2
    assert service.search_assets(query="missing") == ()


def test_search_with_passing_faults_succeeds(serve: Serve) -> None:
    server = serve([Answer(503), page(1, token="a"), Answer(kind="reset"), page(2)])
    assert len(service.search_assets()) == 2
    assert len(server.requests) == 4


def failing_on(number: int, failure: Answer) -> Script:
    """Serve five pages, of which one never comes."""

    def script(seen: Seen) -> Answer:
        token = seen.json.get("next_token")
        at = int(token or 1)
        return failure if at == number else page(at, token=str(at + 1) if at < 5 else None)

    return script


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [(Answer(500), 4), (Answer(400), 1), (Answer(kind="reset"), 4), (Answer(200, b"<html>"), 4)],
    ids=["500", "400", "reset", "html"],
)
def test_search_that_fails_on_page_3_of_5_is_incomplete(
    serve: Serve, failure: Answer, attempts: int
) -> None:
    serve(failing_on(3, failure))
    with pytest.raises(IncompleteAnswerError, match="Page 3") as caught:
        service.search_assets()
    if failure.status >= 400:
        assert isinstance(caught.value, IncompleteSearchError)
        assert isinstance(caught.value, requests.HTTPError)
        assert caught.value.status_code == failure.status
    assert caught.value.attempts == attempts
    assert isinstance(caught.value.__cause__, ServiceError)


def test_search_that_fails_on_page_1_raises_its_error(serve: Serve) -> None:
    serve(failing_on(1, Answer(500)))
    with pytest.raises(CodeOceanError) as caught:
        service.search_assets()
    assert type(caught.value) is CodeOceanError


@pytest.mark.parametrize("token", ["a", None])
def test_search_with_a_bad_cursor_stops(serve: Serve, token: str | None) -> None:
    server = serve([page(1, token="a"), page(2, token=token, more=True)])
    with pytest.raises(IncompleteAnswerError, match="not where"):
        service.search_assets()
    assert len(server.requests) == 2


def test_page_limit_that_is_reached_is_an_error(serve: Serve) -> None:
    def script(seen: Seen) -> Answer:
        number = int(seen.json.get("next_token") or 0)
        return page(number, token=str(number + 1))

    server = serve(script)
    with pytest.raises(IncompleteAnswerError, match="more than 3 pages"):
        service.search_assets(max_pages=3)
    assert len(server.requests) == 3
    assert len(service.search_assets(max_pages=3, raise_on_page_limit=False)) == 3


# --- single things ------------------------------------------------------------------------------


def test_get_asset_by_id_returns_it(serve: Serve) -> None:
    server = serve([Answer(200, asset(7))])
    assert service.get_asset("asset-7").created == 1702500007
    assert server.paths == ["/api/v1/data_assets/asset-7"]


@pytest.mark.parametrize(
    "text", ["", " ", "../computations", "a/b", "a?b=c", "a#b", "..", "%2e%2e"]
)
def test_invalid_id_sends_no_request(serve: Serve, text: str) -> None:
    server = serve([Answer(200, asset())])
    for ask in (service.get_asset, service.get_computation, service.list_computations):
        with pytest.raises(InvalidIdentifierError):
            ask(text)
    assert server.requests == []


def test_list_computations_of_capsule_or_pipeline_returns_them(serve: Serve) -> None:
    def script(seen: Seen) -> Answer:
        if seen.path == "/api/v1/capsules/pipe/computations":
            return Answer(404, {"message": "no capsule"})
        return Answer(200, [{"id": "run"}, {"id": "other"}])

    server = serve(script)
    assert service.list_computations("capsule") == (b'{"id": "run"}', b'{"id": "other"}')
    assert len(service.list_computations("pipe")) == 2
    assert server.paths[-1] == "/api/v1/pipelines/pipe/computations"


def test_run_and_create_that_fail_are_sent_once(serve: Serve) -> None:
    run = {"id": "run", "created": 1, "name": "n", "state": "new state"}
    server = serve([Answer(200, run)])
    assert type(service.run_capsule(RunParams(capsule_id=ID))) is Computation
    assert server.requests[0].json["capsule_id"] == ID
    made = service.create_asset(DataAssetParams(name="n", tags=["t"], mount="m"))
    assert type(made) is DataAsset
    for failure in (
        Answer(503),
        Answer(429),
        Answer(kind="reset"),
        Answer(200, b"{", kind="truncated"),
    ):
        failing = serve([failure])
        with pytest.raises(ServiceError):
            service.run_capsule(RunParams(capsule_id=ID))
        with pytest.raises(ServiceError):
            service.create_asset(DataAssetParams(name="n", tags=[], mount="m"))
        assert failing.paths == ["/api/v1/computations", "/api/v1/data_assets"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: service.get_asset(ID),
        lambda: service.get_client().data_assets.get_data_asset(ID),
        service.search_assets,
        service.probe_token,
        lambda: service.list_result_files(ID),
        lambda: service.run_capsule(RunParams(capsule_id=ID)),
    ],
)
def test_service_without_response_ends_in_time(serve: Serve, ask: Callable[[], Any]) -> None:
    serve([Answer(kind="hang")], AIND_SESSION_TIMEOUT="0.1", AIND_SESSION_ATTEMPTS="1")
    with pytest.raises(TimeoutError) as caught:
        ask()
    assert isinstance(caught.value, ServiceError)


# --- the version of the server ---


def older_server(message: str) -> Script:
    """Refuse requests that demand a newer server, as servers do."""

    def script(seen: Seen) -> Answer:
        if "Min-Server-Version" in seen.headers:
            return Answer(400, {"message": message})
        return page(1)

    return script


def test_requests_demand_no_version_of_the_server(serve: Serve) -> None:
    server = serve(older_server("too old"))
    assert len(service.search_assets()) == 1
    service.get_client().data_assets.search_data_assets(DataAssetSearchParams())
    assert not any("Min-Server-Version" in seen.headers for seen in server.requests)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Min-Server-Version {sdk} is newer than server version 4.2.1", "codeocean==0.14.*"),
        ("server version 4.0.0 is older than the minimum, {sdk}", "codeocean==0.12.*"),
        ("unsupported min server version", "codeocean==0.12.*"),
    ],
)
def test_server_that_still_refuses_names_versions_and_what_to_install(
    serve: Serve, message: str, expected: str
) -> None:
    message = message.format(sdk=codeocean.CodeOcean.MIN_SERVER_VERSION)
    serve([Answer(400, {"message": message})])
    with pytest.raises(CodeOceanError) as caught:
        service.search_assets()
    text = str(caught.value)
    assert f'pip install "{expected}"' in text
    assert f"codeocean {metadata.version('codeocean')}" in text
    assert message in text


def test_bad_request_for_another_reason_names_no_version(serve: Serve) -> None:
    serve([Answer(400, {"message": "unknown field 'quer', version 1.2.3"})])
    with pytest.raises(CodeOceanError) as caught:
        service.search_assets()
    assert "pip install" not in str(caught.value)
