"""HTTP: every wait ends, every body is bounded, a service that failed is left alone for a while."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import requests

import aind_session
from aind_session import context
from aind_session.clock import use_clock
from aind_session.errors import BadAnswerError, ServiceError
from aind_session.lookup import refresh
from aind_session.services import connections, http
from aind_session.services.exchange import (
    CIRCUIT_SECONDS,
    RequestConnectionError,
    RequestTimeoutError,
    exchange_of,
)
from aind_session.services.http import Transport, bare_session
from loopback import OK, Answer, FakeClock, Loopback, Talk, point_at, raw_server, session_at

SESSION = "ecephys_676909_2023-12-13_13-43-40"


def drip_headers(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def repeat_continue(connection: socket.socket) -> None:
    connection.recv(4096)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


# --- every wait ends ---


def drip_handshake(connection: socket.socket) -> None:
    connection.recv(4096)
    # The head of a long TLS record.
    connection.sendall(b"\x16\x03\x03\x40\x00\x02")
    while True:
        connection.sendall(b"\0")
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("scheme", "talk"),
    [
        ("http", drip_headers),
        ("http", repeat_continue),
        ("http", say_nothing),
        ("https", say_nothing),
        ("https", drip_handshake),
    ],
)
def test_request_server_that_stalls_ends_at_the_limit(scheme: str, talk: Talk) -> None:
    began = time.monotonic()
    with raw_server(talk) as url:
        url = url.replace("http:", f"{scheme}:")
        with pytest.raises(RequestTimeoutError):
            bare_session(Transport("Service", timeout=0.4)).get(url)
        assert time.monotonic() - began < 1.5


def all_at(monkeypatch: pytest.MonkeyPatch, url: str, timeout: str) -> None:
    """Set the environment so that all services are a URL."""
    with Loopback([OK]) as never:
        point_at(monkeypatch, never, AIND_SESSION_TIMEOUT=timeout)
    for name in ("CODE_OCEAN_DOMAIN", "AIND_SESSION_DOCDB_HOST", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, url)


def test_explain_while_every_service_hangs_shows_each_failed_request_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = aind_session.Session(SESSION)
    with raw_server(say_nothing) as url:
        all_at(monkeypatch, url, "0.4")
        with pytest.raises(ServiceError, match="Code Ocean, DocDB and S3 could not be queried"):
            _ = session.raw_data_dir
        session.explain()
        text = capsys.readouterr().out
        assert len(http.open_circuits()) >= 3
        assert all(line.partition(" for another ")[0] in text for line in http.open_circuits())
        assert "raw data folder: RequestTimeoutError: Code Ocean, DocDB and S3 could not be" in text
        assert text.count("data assets for the query") == text.count("(v1) -> ") - 2 == 1
        assert "S3 was not contacted: the limit of time was used up before" in text
        session.refresh()
        assert http.open_circuits() == ()
    context.reset()


@pytest.mark.parametrize(
    "drop",
    [
        lambda: aind_session.Session(SESSION).refresh(),
        lambda: aind_session.Subject("676909").refresh(),
        lambda: refresh.asset("16d46411-540a-4122-b47f-8cb2a15d593a"),
        refresh.everything,
    ],
    ids=["session", "subject", "asset", "everything"],
)
def test_refresh_after_a_failure_contacts_the_service_again(
    drop: Callable[[], object], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback([Answer(500)]) as server:
        point_at(monkeypatch, server)
        for _ in range(2):
            with pytest.raises(ServiceError):
                _ = aind_session.Session(SESSION).docdb["name"]
        number = len(server.requests)
        assert http.open_circuits()
        drop()
        assert http.open_circuits() == ()
        with pytest.raises(ServiceError):
            _ = aind_session.Session(SESSION).docdb["name"]
        assert len(server.requests) > number
    context.reset()


def test_request_slow_name_resolution_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        over.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "slow")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(RequestTimeoutError, match="no connection to localhost:1 could be opened"):
        bare_session(Transport("Service", timeout=0.4)).get("http://localhost:1/a")
    assert time.monotonic() - began < 1.5
    over.set()


class _InterruptingClock(FakeClock):
    """Interrupts the call that reads the time when it was read often enough."""

    def __init__(self, reads: int) -> None:
        super().__init__()
        self.reads = reads

    def monotonic(self) -> float:
        self.reads -= 1
        if self.reads == 0:
            raise KeyboardInterrupt
        return self.now


def test_request_interrupted_at_any_moment_closes_its_connection() -> None:
    interrupts: list[KeyboardInterrupt] = []
    with Loopback([OK]) as server:
        for reads in range(1, 100):
            clock = _InterruptingClock(reads)
            with session_at(server) as session, use_clock(clock):
                try:
                    session.get(server.url)
                except KeyboardInterrupt as interrupt:
                    # Its traceback holds the response, so that nothing is closed by accident.
                    interrupts.append(interrupt)
            if clock.reads > 0:
                break
        # Among them: between its headers and its body.
        assert len(interrupts) >= 5
        assert server.is_left_alone()


def test_connection_that_opens_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    go, resolve = threading.Event(), socket.getaddrinfo

    def slow(*args: Any, **options: Any) -> Any:
        go.wait(10)
        return resolve(*args, **options)

    closed = threading.Event()

    def talk(connection: socket.socket) -> None:
        if connection.recv(1) == b"":
            closed.set()

    with raw_server(talk) as url:
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        with pytest.raises(RequestTimeoutError, match="could be opened in time"):
            bare_session(Transport("Service", timeout=0.05, attempts=1)).get(url)
        assert not closed.is_set()
        go.set()
        assert closed.wait(10)


def test_request_single_hang_is_answered_on_a_new_connection() -> None:
    with Loopback([OK, Answer(kind="hang"), OK]) as server:
        session = session_at(server, timeout=1.0)
        session.get(server.url)
        response = session.get(server.url)
    assert response.json() == {"good": True}
    assert exchange_of(response).attempts == 2
    assert server.requests[1].peer != server.requests[2].peer


def test_request_slow_upload_may_take_longer_than_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.1)
    body = b"x" * 16 * 2**20

    def talk(connection: socket.socket) -> None:
        # More than the system buffers: it cannot all be sent before it is read.
        threading.Event().wait(0.3)
        with connection.makefile("rb") as file:
            while file.readline() not in (b"\r\n", b""):
                pass
            assert file.read(len(body)) == body
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with raw_server(talk) as url:
        assert Transport("Service", timeout=10.0).request("PUT", url, data=body).ok


def test_request_interim_response_is_not_taken_for_the_response() -> None:
    def talk(connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            while (path := file.readline().split(b" ")[1:2]) and file.readline():
                while file.readline() not in (b"\r\n", b""):
                    pass
                connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path[0])
                connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" + head + path[0])

    with raw_server(talk) as url:
        transport = Transport("Service", timeout=5.0, attempts=1)
        answers = [transport.request("GET", f"{url}/{n}").content for n in range(3)]
    assert answers == [b"/0", b"/1", b"/2"]


def test_request_slow_body_may_take_the_whole_time() -> None:
    with Loopback([Answer(200, b"x" * 35, kind="drip")]) as server:
        response = session_at(server, timeout=1.2).get(server.url)
    assert (response.content, len(server.requests)) == (b"x" * 35, 1)


# --- every body is bounded ---


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "", "chunked"])
def test_body_larger_than_the_limit_is_refused(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("AIND_SESSION_MAX_RESPONSE_BYTES", "1000000")
    body = b"\0" * (8 * 2**20 if encoding in ("gzip", "deflate") else 2 * 2**20)
    headers = {"Content-Encoding": encoding}
    if encoding == "gzip":
        body = gzip.compress(body)
    elif encoding == "deflate":
        body = zlib.compress(body)
    elif encoding == "chunked":
        headers = {"Transfer-Encoding": "chunked"}
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with (
        Loopback([Answer(200, body, headers)]) as server,
        pytest.raises(
            BadAnswerError, match=r"Service sent more than 1,000,000 bytes.*MAX_RESPONSE_BYTES"
        ),
    ):
        session_at(server).get(server.url)
    assert len(server.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate, gzip", "gzip\x1b[31m"])
def test_body_of_several_or_unknown_encodings_is_refused(encoding: str) -> None:
    body = gzip.compress(gzip.compress(b"\0" * 1000))
    with (
        Loopback([Answer(200, body, {"Content-Encoding": encoding})]) as server,
        pytest.raises(BadAnswerError, match="unexpected Content-Encoding") as caught,
    ):
        session_at(server).get(server.url)
    assert "\x1b" not in str(caught.value)


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"some ", mtime=0) + gzip.compress(b"text", mtime=0)),
        ("deflate", zlib.compress(b"some text")),
        ("deflate", _raw_deflate(b"some text")),
        ("identity", b"some text"),
        ("GZIP", gzip.compress(b"some text", mtime=0)),
    ],
)
def test_body_of_a_common_encoding_is_decoded(encoding: str, body: bytes) -> None:
    with Loopback([Answer(200, body, {"Content-Encoding": encoding})]) as server:
        assert session_at(server).get(server.url).content == b"some text"
        assert session_at(server, decode=False).get(server.url).content == body


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"some text" * 99, mtime=0)[:-20]])
def test_body_garbled_compression_is_a_typed_error(body: bytes) -> None:
    with (
        Loopback([Answer(200, body, {"Content-Encoding": "gzip"})]) as server,
        pytest.raises(BadAnswerError, match="compress"),
    ):
        session_at(server).get(server.url)


def test_body_without_json_is_repeated_like_a_502(clock: FakeClock) -> None:
    page = Answer(200, b"<html>maintenance</html>")
    with Loopback([page, Answer(200, b""), OK]) as server:
        response = session_at(server, json=True).get(server.url)
    assert response.json() == {"good": True}
    assert len(server.requests) == 3
    with (
        Loopback([page]) as server,
        pytest.raises(BadAnswerError, match=r"without JSON to .* <html>maintenance") as caught,
    ):
        session_at(server, json=True).get(server.url)
    assert caught.value.attempts == len(server.requests) == 4


@pytest.mark.parametrize(
    "body",
    [b'{"a": NaN}', b"[" * 100_000 + b"]" * 100_000, b"[NaN, %s]" % (b"9" * 5000), b"null"],
    ids=["NaN", "deep", "digits", "null"],
)
def test_body_of_odd_json_is_not_repeated(body: bytes) -> None:
    with Loopback([Answer(200, body)]) as server:
        assert session_at(server, json=True).get(server.url).content == body
    assert len(server.requests) == 1


# --- circuits ---


def circuits_of(session: requests.Session) -> tuple[str, ...]:
    """Return the lines that describe a session's open circuits."""
    transport = session.get_adapter("http://127.0.0.1")
    assert isinstance(transport, Transport)
    return transport.circuits.describe()


def test_circuit_after_all_attempts_failed_sends_nothing_for_30_s(clock: FakeClock) -> None:
    with Loopback([Answer(500, b'{"message": "down"}')]) as server:
        session = session_at(server)
        first, second = session.get(server.url), session.get(server.url)
        assert (second.status_code, second.content) == (500, first.content)
        assert exchange_of(second).attempts == len(server.requests) == 4
        assert exchange_of(second).seconds == pytest.approx(sum(clock.slept))
        assert "status 500" in circuits_of(session)[0]
        clock.sleep(CIRCUIT_SECONDS - 1)
        session.get(server.url)
        assert len(server.requests) == 4
        server._answers[:] = [OK]
        clock.sleep(1)
        assert session.get(server.url).json() == {"good": True}
        assert len(server.requests) == 5
        assert session.get(server.url).ok
        assert circuits_of(session) == ()


def test_circuit_probe_that_fails_keeps_it_open(clock: FakeClock) -> None:
    with Loopback([Answer(kind="reset")]) as server:
        session = session_at(server, attempts=2)
        for expected in (2, 2, 4, 4):
            with pytest.raises(RequestConnectionError) as caught:
                session.get(f"{server.url}/{len(server.requests)}")
            assert caught.value.attempts == 2
            assert len(server.requests) == expected
            if expected == 2 and clock.now > 1_700_000_002:
                clock.sleep(CIRCUIT_SECONDS)
            elif expected == 2:
                clock.sleep(3)


def test_circuit_lets_one_probe_through(clock: FakeClock) -> None:
    arrived, go = threading.Event(), threading.Event()

    def script(seen: Any) -> Answer:
        if seen.path == "/slow":
            arrived.set()
            go.wait(10)
            return OK
        return Answer(kind="reset")

    with Loopback(script) as server:
        session = session_at(server, attempts=1)
        with pytest.raises(RequestConnectionError):
            session.get(f"{server.url}/a")
        clock.sleep(CIRCUIT_SECONDS)
        probe = threading.Thread(target=session.get, args=(f"{server.url}/slow",))
        probe.start()
        assert arrived.wait(10)
        with pytest.raises(RequestConnectionError):
            session.get(f"{server.url}/b")
        go.set()
        probe.join()
    assert server.paths == ["/a", "/slow"]
    assert circuits_of(session) == ()


def test_circuit_error_is_a_copy(clock: FakeClock) -> None:
    with Loopback([Answer(kind="reset")]) as server:
        session = session_at(server, attempts=1)
        errors = []
        for _ in range(2):
            with pytest.raises(RequestConnectionError) as caught:
                session.get(server.url)
            errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert str(errors[0]) == str(errors[1])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "method", "path"),
    [
        (Answer(404), "GET", "/a"),
        (Answer(429), "GET", "/a"),
        (Answer(503), "POST", "/computations"),
        (Answer(kind="reset"), "POST", "/computations"),
    ],
)
def test_circuit_client_errors_and_writes_do_not_open_it(
    clock: FakeClock, answer: Answer, method: str, path: str
) -> None:
    with Loopback([answer]) as server:
        session = session_at(server, attempts=1)
        for _ in range(3):
            with contextlib.suppress(ServiceError):
                session.request(method, server.url + path)
        assert len(server.requests) == 3


def test_circuit_of_one_path_leaves_the_others(clock: FakeClock) -> None:
    with Loopback(lambda seen: Answer(500) if seen.path == "/a" else OK) as server:
        session = session_at(server, attempts=1)
        for path in ("/a", "/b", "/a", "/b"):
            session.get(server.url + path)
    assert server.paths == ["/a", "/b", "/b"]


def test_circuit_of_a_hang_leaves_the_other_schema() -> None:
    with Loopback(
        lambda seen: Answer(kind="hang") if seen.path.startswith("/v1") else OK
    ) as server:
        session = session_at(server, timeout=0.4)
        for path in ("/v1/a", "/v1/b"):
            with pytest.raises(RequestTimeoutError):
                session.get(server.url + path)
        assert session.get(f"{server.url}/v2/a", timeout=10).ok
    assert server.paths == ["/v1/a", "/v1/a", "/v2/a"]


def test_circuit_callers_own_short_limit_does_not_open_it() -> None:
    with Loopback([Answer(kind="hang"), OK]) as server:
        session = session_at(server, timeout=20, attempts=1)
        with pytest.raises(RequestTimeoutError):
            session.get(server.url, timeout=0.1)
        assert session.get(server.url).ok
