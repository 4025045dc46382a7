"""HTTP: where credentials are sent, and that nothing shows them."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from aind_session.errors import ServiceError
from aind_session.services.docdb import DocDBError
from aind_session.services.exchange import RequestConnectionError, exchange_of
from aind_session.services.http import Transport, bare_session
from aind_session.services.redact import origin_of
from loopback import (
    BASIC,
    CANARY,
    OK,
    Answer,
    Loopback,
    Seen,
    session_at,
    text_of_error,
)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("method", "path", "home"),
    [("GET", "/a", "server"), ("POST", "/a/search", "server"), ("GET", "/a", "*")],
)
def test_redirect_to_another_port_and_back_carries_no_credentials(
    status: int, method: str, path: str, home: str
) -> None:
    def script(seen: Seen) -> Answer:
        return OK if seen.path == "/home/search" else Answer(status, headers={"Location": there})

    with Loopback(script) as server, Loopback([OK]) as other:
        there = f"{other.url}/there/search"
        other._answers = [Answer(302, headers={"Location": f"{server.url}/home/search"})]
        session = session_at(server, home=server.url if home == "server" else home)
        session.headers["Cookie"] = f"token={CANARY}"
        assert session.request(method, server.url + path).json() == {"good": True}
    assert server.requests[0].headers["Authorization"] == f"Basic {BASIC}"
    assert server.paths == [path, "/home/search"]
    for seen in (*other.requests, server.requests[1]):
        assert "Authorization" not in seen.headers
        assert CANARY not in str(seen.headers)
        assert BASIC not in str(seen.headers)


def test_redirect_within_the_host_keeps_credentials_and_body() -> None:
    def script(seen: Any) -> Answer:
        return OK if seen.path == "/b/search" else Answer(307, headers={"Location": "/b/search"})

    with Loopback(script) as server:
        session_at(server).post(f"{server.url}/a/search", json={"query": "x"})
    assert server.requests[1].method == "POST"
    assert server.requests[1].json == {"query": "x"}
    assert server.requests[1].headers["Authorization"] == f"Basic {BASIC}"


def test_origin_of_http_differs_from_https() -> None:
    assert origin_of("https://host/a") != origin_of("http://host/a")
    assert origin_of("https://host:8080/a") != origin_of("http://host:8080/a")
    assert origin_of("https://host/a") == origin_of("HTTPS://HOST:443/b")
    with Loopback([OK]) as server:
        home = server.url.replace("http:", "https:")
        session_at(server, home=home).get(server.url)
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("url", ["http://example.org/a", "http://10.0.0.1/a", "ftp://example.org/"])
def test_request_without_https_is_refused_beyond_loopback(url: str) -> None:
    session = bare_session(Transport("Service", home=url))
    session.mount("ftp://", session.get_adapter("https://"))
    with pytest.raises(RequestConnectionError, match="https only"):
        session.get(url)


def test_redirect_to_plain_http_is_refused() -> None:
    away = Answer(302, headers={"Location": "http://example.org/a"})
    with Loopback([away]) as server, pytest.raises(RequestConnectionError, match="https only"):
        session_at(server).get(server.url)


@pytest.mark.parametrize("status", [302, 400])
@pytest.mark.parametrize(
    "place", ["http://[", "http://host:9999999/", "ftp://host/a", "http://a b/"]
)
def test_redirect_to_an_invalid_url_is_a_typed_error(place: str, status: int) -> None:
    with Loopback([Answer(status, headers={"Location": place})]) as server:
        session = session_at(server)
        if status == 302:
            with pytest.raises(ServiceError):
                session.get(server.url)
        else:
            assert str(DocDBError.of(session.get(server.url))).startswith("Service answered")


@pytest.mark.parametrize("loop", ["/a", "/again"])
def test_redirect_loop_stops(loop: str) -> None:
    with Loopback([Answer(302, headers={"Location": loop})]) as server:
        with pytest.raises(ServiceError, match="redirects without end"):
            session_at(server).get(f"{server.url}/a")
        assert len(server.requests) <= 2


def test_redirect_chain_that_is_long_stops() -> None:
    def script(seen: Any) -> Answer:
        return Answer(302, headers={"Location": f"/{int(seen.path[1:]) + 1}"})

    with Loopback(script) as server:
        with pytest.raises(ServiceError, match="redirects without end"):
            session_at(server).get(f"{server.url}/0")
        assert len(server.requests) < 10


def test_write_is_not_redirected() -> None:
    with Loopback([Answer(307, headers={"Location": "/elsewhere"})]) as server:
        with pytest.raises(ServiceError, match="sent once"):
            session_at(server).post(f"{server.url}/computations", json={})
        assert server.paths == ["/computations"]


def test_request_to_another_host_carries_no_credentials() -> None:
    with Loopback([OK]) as other, Loopback([OK]) as server:
        session_at(server).get(f"{other.url}/presigned?X-Amz-Signature=1")
    assert "Authorization" not in other.requests[0].headers


def test_cookie_of_a_response_is_not_sent() -> None:
    with Loopback([Answer(200, headers={"Set-Cookie": f"a={CANARY}; Path=/"})]) as server:
        session = session_at(server)
        session.get(server.url)
        session.get(server.url)
    assert "Cookie" not in server.requests[1].headers


def test_request_with_plain_option_uses_http_on_loopback() -> None:
    with Loopback([OK]) as server:
        url = server.url.replace("http:", "https:")
        session_at(server, home=url, plain=True).get(url)
    assert server.requests[0].headers["Authorization"] == f"Basic {BASIC}"


# --- what is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [Answer(kind="reset"), Answer(kind="hang"), Answer(200, b"xy", kind="truncated"), None],
    ids=["reset", "hang", "truncated", "refused"],
)
def test_error_of_a_request_holds_no_token(
    answer: Answer | None, caplog: pytest.LogCaptureFixture
) -> None:
    with Loopback([OK]) as closed:
        pass
    with Loopback([answer or OK]) as server:
        url = (server if answer else closed).url
        # In a name, so that the source lines of a traceback do not show it.
        signed = f"{url}/a?X-Amz-Signature=12ab34cd"
        session = session_at(server, attempts=2, timeout=0.2, home=url)
        with caplog.at_level(logging.DEBUG), pytest.raises(ServiceError) as caught:
            session.get(signed)
    text = text_of_error(caught.value)
    for secret in (CANARY, BASIC):
        assert secret not in text + caplog.text
    assert "12ab34cd" not in text


def test_response_and_log_hold_no_token(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "aind_session"), Loopback([Answer(503)]) as server:
        session = session_at(server, attempts=1)
        response = session.get(server.url)
    assert CANARY not in repr(pickle.dumps(response))
    assert BASIC not in repr(pickle.dumps(response))
    assert BASIC not in str(response.request.headers)
    assert BASIC not in repr(exchange_of(response))
    assert CANARY not in repr(exchange_of(response))
    assert "Service GET 127.0.0.1" in caplog.text
    assert " 503 " in caplog.text


def test_error_of_a_request_pickles() -> None:
    with Loopback([Answer(kind="reset")]) as server, pytest.raises(ServiceError) as caught:
        session_at(server, attempts=1).get(server.url)
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value)
    assert (str(again), again.attempts) == (str(caught.value), 1)


def test_transport_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Transport("Service"))
