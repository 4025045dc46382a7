from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import codeocean
import pytest
import requests
from codeocean.computation import Computation, RunParams
from codeocean.data_asset import DataAsset, DataAssetParams
from codeocean.error import Error

from aind_session.errors import (
    BadAnswerError,
    CredentialsError,
    IncompleteAnswerError,
    InvalidIdentifierError,
    MissingTokenError,
    ServiceError,
)
from aind_session.services import codeocean as service
from aind_session.services.clock import use_clock
from aind_session.services.codeocean import (
    ClosedAssetError,
    CodeOceanError,
    CodeOceanNotFoundError,
    IncompleteSearchError,
    RefusedTokenError,
)
from loopback import CANARY, Answer, FakeClock, Loopback, Script, Seen, point_at

BASIC = base64.b64encode(f"{CANARY}:".encode()).decode()
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


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Loopback]]:
    """Start servers that Code Ocean is asked at."""
    servers: list[Loopback] = []

    def start(script: Script, **settings: str) -> Loopback:
        server = Loopback(script)
        server.__enter__()
        servers.append(server)
        point_at(monkeypatch, server, **settings)
        return server

    with use_clock(FakeClock()):
        yield start
    from aind_session.services import transport

    transport.reset()
    for server in servers:
        server.__exit__(None, None, None)


Serve = Callable[..., Loopback]


# --- the client ---------------------------------------------------------------------------------


def test_the_client_is_the_true_one_and_shows_no_token(serve: Serve) -> None:
    server = serve([Answer(200, asset())])
    client = service.get_client()
    assert isinstance(client, codeocean.CodeOcean)
    assert client.domain == server.url
    assert client.data_assets.get_data_asset(ID) == DataAsset.from_dict(asset())
    assert client.session.headers["Min-Server-Version"]
    assert server.requests[0].headers["Authorization"] == f"Basic {BASIC}"
    for shown in (repr(client), str(client), f"{client}", repr(vars(client.data_assets))):
        assert CANARY not in shown


def test_the_client_is_made_once_for_each_identity(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve([Answer(200, asset())])
    first = service.get_client()
    assert service.get_client() is first
    assert service.get_client(retries=0) is not first
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "cop_AnotherTokenOfAnother1")
    assert service.get_client() is not first
    assert service.get_client() != first


def test_a_pickled_client_carries_no_token(serve: Serve) -> None:
    serve([Answer(200, asset())])
    client = service.get_client()
    for data in (pickle.dumps(client), pickle.dumps({"client": client})):
        assert CANARY.encode() not in data
        assert BASIC.encode() not in data
    assert pickle.loads(pickle.dumps(client)) is client
    assert copy.deepcopy(client) is client


@pytest.mark.parametrize(("retries", "requests_sent"), [(0, 1), (2, 3)])
def test_retries_of_the_client_are_counted(serve: Serve, retries: int, requests_sent: int) -> None:
    from urllib3.util import Retry

    server = serve([Answer(503)])
    for client in (service.get_client(retries=retries), service.get_client(retries=Retry(retries))):
        server.requests.clear()
        with pytest.raises(CodeOceanError) as caught:
            client.data_assets.get_data_asset(ID)
        assert caught.value.attempts == len(server.requests) == requests_sent


def test_without_a_token_there_is_no_client(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve([Answer(200)])
    monkeypatch.delenv("CODE_OCEAN_API_TOKEN")
    with pytest.raises(MissingTokenError):
        service.get_client()


def test_the_client_sends_the_token_nowhere_else(serve: Serve) -> None:
    serve([Answer(200, asset())])
    client = service.get_client()
    with Loopback([Answer(200, {})]) as other:
        client.session.get(f"{other.url}/presigned")
    assert "Authorization" not in other.requests[0].headers


def test_credentials_are_checked_once(serve: Serve) -> None:
    server = serve([page(1)])
    service.get_client(check_credentials=True)
    service.get_client(check_credentials=True)
    assert service.probe_token() is True
    assert server.paths == ["/api/v1/data_assets/search"]


# --- errors -------------------------------------------------------------------------------------


def refusing(status: int, body: Any = None, token_is_good: bool = True) -> Script:
    """Refuse everything; the search, which tells whether the token is good, as said."""
    said = {"message": "because"} if body is None else body

    def script(seen: Seen) -> Answer:
        if seen.path.endswith("/search"):
            return page(1) if token_is_good else Answer(401, {"message": "bad token"})
        return Answer(status, said, {"X-Request-Id": "r-17"})

    return script


WAYS: list[Callable[[], Any]] = [
    lambda: service.get_asset(ID),
    lambda: service.get_client().data_assets.get_data_asset(ID),
    lambda: service.get_client().computations.get_computation(ID),
]


@pytest.mark.parametrize("ask", WAYS, ids=["ours", "client", "client's computations"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, CodeOceanError),
        (401, ClosedAssetError),
        (403, ClosedAssetError),
        (404, CodeOceanNotFoundError),
        (423, CodeOceanError),
        (503, CodeOceanError),
    ],
)
def test_every_error_is_ours_the_sdks_and_that_of_requests(
    serve: Serve, ask: Callable[[], Any], status: int, kind: type[CodeOceanError]
) -> None:
    serve(refusing(status))
    with pytest.raises(kind) as caught:
        ask()
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, ServiceError)
    assert isinstance(error, Error)
    assert isinstance(error, requests.HTTPError)
    assert error.status_code == error.status == error.response.status_code == status
    assert error.http_err.response is error.response
    assert error.message == "because"
    assert error.data == {"message": "because"}
    assert error.response.json() == {"message": "because"}
    assert error.request_id == "r-17"
    assert error.attempts == (4 if status == 503 else 1)
    assert error.__cause__ is error.http_err
    assert "because" in str(error)
    assert isinstance(error, ValueError) is (status == 404)
    assert isinstance(error, PermissionError) is (status in (401, 403))
    with pytest.raises(requests.HTTPError):
        error.response.raise_for_status()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>gateway</html>", "<html>gateway</html>"),
        (b"", ""),
        ([1, 2], "An error occurred."),
        ({"error": "x"}, "An error occurred."),
        (b"\xff\xfe", "��"),
    ],
)
def test_errors_of_any_body_are_read(serve: Serve, body: Any, message: str) -> None:
    serve(refusing(400, body))
    with pytest.raises(CodeOceanError) as caught:
        service.get_asset(ID)
    assert caught.value.message == message


def test_a_refused_token_is_told_from_a_closed_asset(serve: Serve) -> None:
    server = serve(refusing(401, token_is_good=False))
    with pytest.raises(RefusedTokenError) as caught:
        service.get_asset(ID)
    error = caught.value
    assert isinstance(error, CredentialsError)
    assert isinstance(error, ValueError)
    assert isinstance(error, requests.HTTPError)
    assert "CODE_OCEAN_API_TOKEN" in str(error)
    assert service.probe_token() is False
    server.requests.clear()
    with pytest.raises(RefusedTokenError):
        service.get_asset("another")
    assert server.paths == ["/api/v1/data_assets/another"]


def test_many_closed_assets_cost_one_probe(serve: Serve) -> None:
    server = serve(refusing(401))
    for number in range(5):
        with pytest.raises(ClosedAssetError, match="token is good"):
            service.get_asset(f"asset-{number}")
    assert server.paths.count("/api/v1/data_assets/search") == 1


def test_a_search_that_is_refused_needs_no_probe(serve: Serve) -> None:
    server = serve([Answer(401, {"message": "bad token"})])
    with pytest.raises(RefusedTokenError):
        service.search_assets(query="676909")
    assert len(server.requests) == 1
    with pytest.raises(RefusedTokenError):
        service.get_client(check_credentials=True)


def test_where_the_probe_fails_nothing_is_claimed(serve: Serve) -> None:
    serve(lambda seen: Answer(503 if seen.path.endswith("/search") else 401))
    with pytest.raises(CodeOceanError, match="not known") as caught:
        service.get_asset(ID)
    assert type(caught.value) is CodeOceanError


@pytest.mark.parametrize("status", [400, 401, 404, 503])
@pytest.mark.parametrize("token_is_good", [True, False])
def test_errors_pickle_and_copy(serve: Serve, status: int, token_is_good: bool) -> None:
    serve(refusing(status, token_is_good=token_is_good))
    with pytest.raises(CodeOceanError) as caught:
        service.get_asset(ID)
    error = caught.value
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert (again.status_code, again.message, again.data) == (status, "because", error.data)
        assert again.response.json() == error.data
        assert (again.attempts, again.request_id) == (error.attempts, error.request_id)


def everything_told_of(error: BaseException) -> str:
    told, link = [], error
    while link is not None:
        told += [repr(link), str(link), repr(vars(link)), repr(pickle.dumps(link))]
        for holder in (getattr(link, "response", None), getattr(link, "request", None)):
            if holder is not None:
                told += [repr(vars(holder)), repr(holder.headers), repr(pickle.dumps(holder))]
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    return "\n".join([*told, *traceback.format_exception(error)])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 200])
@pytest.mark.parametrize("ask", WAYS, ids=["ours", "client", "client's computations"])
def test_the_token_is_nowhere_even_where_the_service_repeats_it(
    serve: Serve, ask: Callable[[], Any], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    echo = f"you sent {CANARY}, that is Basic {BASIC}"
    body = {"message": echo} if status != 200 else echo.encode()
    headers = {"X-Request-Id": f"for {CANARY}", "X-Echo": BASIC, "Content-Type": echo}

    def script(seen: Seen) -> Answer:
        return Answer(status, body, headers)

    serve(script)
    with caplog.at_level(logging.DEBUG), pytest.raises(ServiceError) as caught:
        ask()
    told = everything_told_of(caught.value) + caplog.text
    assert CANARY not in told
    assert BASIC not in told


# --- answers that are none ----------------------------------------------------------------------

NO_JSON = [b"<html>504 Gateway Time-out</html>", b"", b'{"id": "\xff"}', b'{"id": "cut off', b"\0"]


@pytest.mark.parametrize("body", NO_JSON, ids=repr)
@pytest.mark.parametrize(
    "ask",
    [
        *WAYS,
        lambda: service.search_assets(query="x"),
        lambda: service.get_computation(ID),
        lambda: service.list_computations(ID),
        lambda: service.list_asset_files(ID),
        lambda: service.read_asset_file(ID, "output"),
        lambda: service.run_capsule(RunParams(capsule_id=ID)),
        lambda: service.create_asset(DataAssetParams(name="n", tags=[], mount="m")),
    ],
)
def test_what_is_no_json_is_a_typed_error(
    serve: Serve, ask: Callable[[], Any], body: bytes
) -> None:
    serve([Answer(200, body)])
    with pytest.raises(BadAnswerError) as caught:
        ask()
    assert body.decode("utf-8", "replace")[:200] in str(caught.value)


@pytest.mark.parametrize("body", [[], "text", None, 3, {"no": "id"}])
def test_json_of_another_shape_is_a_typed_error(serve: Serve, body: Any) -> None:
    serve([Answer(200, json.dumps(body).encode())])
    with pytest.raises(BadAnswerError):
        service.get_asset(ID)
    with pytest.raises(BadAnswerError):
        service.search_assets(query="x")
    if body != []:
        with pytest.raises(BadAnswerError):
            service.list_computations(ID)


def test_a_page_elsewhere_is_no_answer(serve: Serve) -> None:
    with Loopback([Answer(200, b"<html>Log in</html>")]) as login:
        serve([Answer(302, headers={"Location": f"{login.url}/login"})])
        with pytest.raises(BadAnswerError, match="Log in"):
            service.get_client().data_assets.get_data_asset(ID)
    assert "Authorization" not in login.requests[0].headers


# --- searches -----------------------------------------------------------------------------------


def test_a_search_asks_for_big_pages_and_says_archived(serve: Serve) -> None:
    server = serve([page(1)])
    found = service.search_assets(query="676909", type=None)
    assert [summary.id for summary in found] == ["asset-1"]
    assert server.requests[0].json == {"limit": 1000, "archived": False, "query": "676909"}
    service.search_assets(archived=True, page_size=10)
    assert server.requests[1].json == {"limit": 10, "archived": True}


def test_a_search_gives_all_pages_and_each_asset_once(serve: Serve) -> None:
    server = serve([page(1, 2, token="a"), page(2, 3, token="b"), page(3, 4)])
    found = service.search_assets(query="676909")
    assert [summary.id for summary in found] == ["asset-1", "asset-2", "asset-3", "asset-4"]
    assert [seen.json.get("next_token") for seen in server.requests] == [None, "a", "b"]


def test_an_empty_page_with_a_next_link_ends(serve: Serve) -> None:
    server = serve([page(1, token="a"), page(token="b", more=True)])
    assert len(service.search_assets()) == 1
    assert len(server.requests) == 2


def test_nothing_found_is_no_error(serve: Serve) -> None:
    serve([page()])
    assert service.search_assets(query="nobody") == ()


def test_a_search_outlives_passing_faults(serve: Serve) -> None:
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
    [(Answer(500), 4), (Answer(400), 1), (Answer(kind="reset"), 4), (Answer(200, b"<html>"), 1)],
    ids=["500", "400", "reset", "html"],
)
def test_a_fault_on_page_3_of_5_is_told(serve: Serve, failure: Answer, attempts: int) -> None:
    serve(failing_on(3, failure))
    with pytest.raises(IncompleteAnswerError, match="Page 3") as caught:
        service.search_assets()
    if failure.status >= 400:
        assert isinstance(caught.value, IncompleteSearchError)
        assert isinstance(caught.value, requests.HTTPError)
        assert caught.value.status_code == failure.status
    assert caught.value.attempts == attempts
    assert isinstance(caught.value.__cause__, ServiceError)


def test_a_fault_on_the_first_page_is_itself(serve: Serve) -> None:
    serve(failing_on(1, Answer(500)))
    with pytest.raises(CodeOceanError) as caught:
        service.search_assets()
    assert type(caught.value) is CodeOceanError


@pytest.mark.parametrize("token", ["a", None])
def test_a_cursor_that_repeats_or_is_missing_stops(serve: Serve, token: str | None) -> None:
    server = serve([page(1, token="a"), page(2, token=token, more=True)])
    with pytest.raises(IncompleteAnswerError, match="not where"):
        service.search_assets()
    assert len(server.requests) == 2


def test_a_limit_that_is_reached_is_an_error(serve: Serve) -> None:
    def script(seen: Seen) -> Answer:
        number = int(seen.json.get("next_token") or 0)
        return page(number, token=str(number + 1))

    server = serve(script)
    with pytest.raises(IncompleteAnswerError, match="more than 3 pages"):
        service.search_assets(max_pages=3)
    assert len(server.requests) == 3
    assert len(service.search_assets(max_pages=3, raise_on_page_limit=False)) == 3


def test_one_bad_asset_sinks_no_search(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    odd = [asset(1), {"name": "no id"}, asset(2, state="new"), {"id": "bare"}]
    serve([Answer(200, {"results": odd, "has_more": False})])
    found = service.search_assets()
    assert [summary.id for summary in found] == ["asset-1", "asset-2", "bare"]
    assert "no id" in caplog.text


# --- single things ------------------------------------------------------------------------------


def test_an_asset_by_id(serve: Serve) -> None:
    server = serve([Answer(200, asset(7))])
    assert service.get_asset("asset-7").created == 1702500007
    assert server.paths == ["/api/v1/data_assets/asset-7"]


@pytest.mark.parametrize(
    "text", ["", " ", "../computations", "a/b", "a?b=c", "a#b", "..", "%2e%2e"]
)
def test_what_could_be_no_id_is_not_asked_for(serve: Serve, text: str) -> None:
    server = serve([Answer(200, asset())])
    for ask in (service.get_asset, service.get_computation, service.list_computations):
        with pytest.raises(InvalidIdentifierError):
            ask(text)
    assert server.requests == []


def test_computations_of_a_capsule_or_a_pipeline(serve: Serve) -> None:
    def script(seen: Seen) -> Answer:
        if seen.path == "/api/v1/capsules/pipe/computations":
            return Answer(404, {"message": "no capsule"})
        return Answer(200, [{"id": "run"}, {"id": "other"}])

    server = serve(script)
    assert service.list_computations("capsule") == (b'{"id": "run"}', b'{"id": "other"}')
    assert len(service.list_computations("pipe")) == 2
    assert server.paths[-1] == "/api/v1/pipelines/pipe/computations"


def test_what_starts_something_is_sent_once(serve: Serve) -> None:
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
        *WAYS,
        service.search_assets,
        service.probe_token,
        lambda: service.list_result_files(ID),
        lambda: service.run_capsule(RunParams(capsule_id=ID)),
    ],
)
def test_a_service_that_never_answers_ends_in_time(serve: Serve, ask: Callable[[], Any]) -> None:
    serve([Answer(kind="hang")], AIND_SESSION_TIMEOUT="0.1", AIND_SESSION_ATTEMPTS="1")
    with pytest.raises(TimeoutError) as caught:
        ask()
    assert isinstance(caught.value, ServiceError)


# --- files --------------------------------------------------------------------------------------


def linking(answer: Answer, route: str = "urls") -> Script:
    """Serve files: their list, a link on one of the two routes, and what the link leads to."""

    def script(seen: Seen) -> Answer:
        path = seen.path.partition("?")[0]
        if path.startswith("/presigned"):
            return answer
        if path.endswith(route) and route == "urls":
            link = f"http://{seen.headers['Host']}/presigned?X-Amz-Signature=abc"
            return Answer(200, {"download_url": link, "view_url": "x"})
        if path.endswith(route):
            return Answer(200, {"url": f"http://{seen.headers['Host']}/presigned"})
        if path.endswith(("/files", "/results")):
            items = [
                {"name": "nwb", "path": "a/nwb", "type": "folder"},
                {"name": "output", "path": "a/output", "type": "file", "size": 12},
                {"path": "a/only path", "type": "file", "size": 1, "new": 2},
            ]
            return Answer(200, {"items": items})
        return Answer(404, {"message": "no route"})

    return script


@pytest.mark.parametrize("ask", [service.list_asset_files, service.list_result_files])
def test_files_are_listed(serve: Serve, ask: Callable[..., Any]) -> None:
    server = serve(linking(Answer()))
    assert ask(ID, "a") == (
        ("nwb", True, None),
        ("output", False, 12),
        ("only path", False, 1),
    )
    assert server.requests[0].json == {"path": "a"}


@pytest.mark.parametrize("items", [None, []])
def test_an_empty_folder_is_empty(serve: Serve, items: Any) -> None:
    serve([Answer(200, {"items": items})])
    assert service.list_asset_files(ID) == ()


@pytest.mark.parametrize("route", ["urls", "download_url"])
@pytest.mark.parametrize("ask", [service.read_asset_file, service.read_result_file])
def test_files_are_read_through_links_without_credentials(
    serve: Serve, ask: Callable[..., bytes], route: str
) -> None:
    server = serve(linking(Answer(200, b"N E X T F L O W\n"), route))
    assert ask(ID, "a/output") == b"N E X T F L O W\n"
    assert "Authorization" not in server.requests[-1].headers
    assert all("Authorization" in seen.headers for seen in server.requests[:-1])
    assert "path=a%2Foutput" in server.requests[0].path


def test_a_server_that_knows_the_new_route_is_not_asked_by_the_old_one(serve: Serve) -> None:
    server = serve(linking(Answer(200, b"text")))
    service.read_asset_file(ID, "output")
    server._function = lambda seen: Answer(404, {"message": "no file"})
    server.requests.clear()
    with pytest.raises(CodeOceanNotFoundError, match="no file"):
        service.read_asset_file(ID, "missing")
    assert len(server.requests) == 1


S3_ERROR = b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>'


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404, S3_ERROR), CodeOceanNotFoundError),
        (Answer(403, S3_ERROR), ClosedAssetError),
        (Answer(400, b"bad"), CodeOceanError),
        (Answer(503, b"slow down"), CodeOceanError),
        (Answer(200, S3_ERROR), BadAnswerError),
        (Answer(200, b"<html>", {"Content-Type": "text/html"}), BadAnswerError),
        (Answer(200, b"half of it", kind="truncated"), ServiceError),
    ],
)
def test_an_error_page_is_never_taken_for_a_file(
    serve: Serve, answer: Answer, kind: type[Exception]
) -> None:
    serve(linking(answer))
    with pytest.raises(kind) as caught:
        service.read_asset_file(ID, "output")
    assert "Signature" not in everything_told_of(caught.value)


def test_an_empty_file_is_a_file(serve: Serve) -> None:
    serve(linking(Answer(200, b"")))
    assert service.read_asset_file(ID, "output") == b""


def test_no_link_is_no_file(serve: Serve) -> None:
    serve([Answer(200, {})])
    with pytest.raises(BadAnswerError, match="no link"):
        service.read_asset_file(ID, "output")
