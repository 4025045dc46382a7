"""Code Ocean: errors of each status, and responses that are not JSON."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import requests
from codeocean.computation import RunParams
from codeocean.data_asset import DataAssetParams
from codeocean.error import Error

from aind_session import context
from aind_session.errors import (
    BadAnswerError,
    CredentialsError,
    ServiceError,
)
from aind_session.services import codeocean as service
from aind_session.services import docdb
from aind_session.services.codeocean import (
    ClosedAssetError,
    CodeOceanError,
    CodeOceanNotFoundError,
    RefusedTokenError,
)
from loopback import (
    BASIC,
    CANARY,
    Answer,
    Loopback,
    Seen,
    Serve,
    text_of_error,
)

ID = "11ee1e1e-11e1-4111-8111-e11eeeee1e11"


ONE = Answer(200, {"results": [{"id": "asset-1"}], "has_more": False})


def refusing(status: int, body: Any = None, token_is_good: bool = True) -> Callable[[Seen], Answer]:
    """Refuse everything; the search, which shows whether the token is good, as given."""
    said = {"message": "because"} if body is None else body

    def script(seen: Seen) -> Answer:
        if seen.path.endswith("/search"):
            return ONE if token_is_good else Answer(401, {"message": "bad token"})
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
def test_error_of_each_status_has_all_base_classes(
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
    check_copies(error)


def check_copies(error: CodeOceanError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert (again.status_code, again.message) == (error.status_code, error.message)
        assert again.response.json() == again.data == error.data
        assert (again.attempts, again.request_id) == (error.attempts, error.request_id)


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
def test_error_with_any_body_has_a_message(serve: Serve, body: Any, message: str) -> None:
    serve(refusing(400, body))
    with pytest.raises(CodeOceanError) as caught:
        service.get_asset(ID)
    assert caught.value.message == message


def test_refused_token_differs_from_closed_asset(serve: Serve) -> None:
    server = serve(refusing(401, token_is_good=False))
    with pytest.raises(RefusedTokenError) as caught:
        service.get_asset(ID)
    error = caught.value
    assert isinstance(error, CredentialsError)
    assert isinstance(error, ValueError)
    assert isinstance(error, requests.HTTPError)
    assert "CODE_OCEAN_API_TOKEN" in str(error)
    check_copies(error)
    assert service.probe_token() is False
    server.requests.clear()
    with pytest.raises(RefusedTokenError):
        service.get_asset("another")
    assert server.paths == ["/api/v1/data_assets/another"]


def test_closed_assets_cost_one_probe(serve: Serve) -> None:
    server = serve(refusing(401))
    for number in range(5):
        with pytest.raises(ClosedAssetError, match="token is good"):
            service.get_asset(f"asset-{number}")
    assert server.paths.count("/api/v1/data_assets/search") == 1


def test_search_that_is_refused_needs_no_probe(serve: Serve) -> None:
    server = serve([Answer(401, {"message": "bad token"})])
    with pytest.raises(RefusedTokenError):
        service.search_assets(query="676909")
    assert len(server.requests) == 1
    with pytest.raises(RefusedTokenError):
        service.get_client(check_credentials=True)


def test_refusal_with_failing_probe_blames_no_token(serve: Serve) -> None:
    serve(lambda seen: Answer(503 if seen.path.endswith("/search") else 401))
    with pytest.raises(CodeOceanError, match="not known") as caught:
        service.get_asset(ID)
    assert type(caught.value) is CodeOceanError


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 200])
@pytest.mark.parametrize("ask", WAYS, ids=["ours", "client", "client's computations"])
def test_error_that_repeats_the_token_holds_no_token(
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
    text = text_of_error(caught.value) + caplog.text
    assert CANARY not in text
    assert BASIC not in text


# --- answers that are none ----------------------------------------------------------------------

NO_JSON = [
    b"<html>504 Gateway Time-out</html>",
    b"",
    b'{"id": "\xff"}',
    b'{"id": "cut off',
    b"\0",
    b"<p>" + b"." * 500,
]


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
def test_response_without_json_is_a_typed_error(
    serve: Serve, ask: Callable[[], Any], body: bytes
) -> None:
    serve([Answer(200, body)])
    with pytest.raises(BadAnswerError) as caught:
        ask()
    assert body.decode("utf-8", "replace")[:200].replace("\0", "\\x00") in str(caught.value)
    # The first of it only.
    assert "." * 200 not in str(caught.value)


PAGE = Answer(404, b"<!DOCTYPE html><html>Not Found</html>")


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("ask", [*WAYS, lambda: service.list_computations(ID)])
def test_page_of_a_gateway_is_not_a_missing_asset(
    serve: Serve, ask: Callable[[], Any], status: int
) -> None:
    serve([replace(PAGE, status=status)])
    with pytest.raises(CodeOceanError) as caught:
        ask()
    assert type(caught.value) is CodeOceanError


@pytest.mark.parametrize("answer", [Answer(404, {"message": "no route"}), PAGE])
def test_search_with_404_is_an_error(serve: Serve, answer: Answer) -> None:
    serve([answer])
    with pytest.raises(CodeOceanError) as caught:
        service.search_assets(query="x")
    assert not isinstance(caught.value, ValueError)


def test_refusal_of_the_token_is_cached_briefly(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    good: list[str] = []
    serve(lambda seen: refusing(401, token_is_good=bool(good))(seen))
    assert not service.probe_token()
    good.append("now")
    now = context.current().cache.clock()
    monkeypatch.setattr(context.current().cache, "clock", lambda: now + 11)
    with pytest.raises(ClosedAssetError):
        service.get_asset(ID)


@pytest.mark.parametrize("results", [[1, None, "x"], [{}], [{"name": "no id"}], [[]]])
def test_search_page_without_any_asset_is_an_error(serve: Serve, results: list[Any]) -> None:
    server = serve([Answer(200, {"results": results, "has_more": False})])
    with pytest.raises(BadAnswerError, match="holds no data asset"):
        service.search_assets(query="x")
    first = {"results": [{"id": "a", "name": "a"}], "has_more": True, "next_token": "t"}
    server._function = None
    server._answers[:] = [Answer(200, first), *server._answers]
    server.requests.clear()
    assert [asset.id for asset in service.search_assets(query="x")] == ["a"]


@pytest.mark.parametrize("end", [b"", b"\xff"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda: service.get_asset(ID),
        lambda: service.run_capsule(RunParams(capsule_id=ID)),
        lambda: docdb.find_one("v1", {}),
    ],
)
def test_response_without_json_that_repeats_the_token_holds_none(
    serve: Serve, ask: Callable[[], Any], end: bytes
) -> None:
    serve([Answer(200, f"you sent {CANARY}, {BASIC}".encode() + end)])
    with pytest.raises(BadAnswerError) as caught:
        ask()
    text = text_of_error(caught.value)
    links: list[BaseException | None] = [caught.value]
    while (link := links[-1]) is not None:
        text += repr([getattr(link, name, "") for name in ("doc", "object")])
        links.append(link.__cause__ or link.__context__)
    assert CANARY not in text
    assert BASIC not in text


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


def test_redirect_to_a_login_page_is_a_typed_error(serve: Serve) -> None:
    with Loopback([Answer(200, b"<html>Log in</html>")]) as login:
        serve([Answer(302, headers={"Location": f"{login.url}/login"})])
        with pytest.raises(BadAnswerError, match="Log in"):
            service.get_client().data_assets.get_data_asset(ID)
    assert "Authorization" not in login.requests[0].headers
