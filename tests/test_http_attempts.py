"""HTTP: attempts, waits, limits of time, and connections."""

from __future__ import annotations

import email.utils
import io
import os
import random
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from aind_session import context
from aind_session.clock import use_clock
from aind_session.errors import ServiceError
from aind_session.services import exchange
from aind_session.services.exchange import (
    LONGEST_RETRY_AFTER,
    LONGEST_WAIT,
    RequestConnectionError,
    RequestTimeoutError,
    exchange_of,
    is_read,
    wait_before,
)
from aind_session.services.http import Transport, bare_session
from loopback import (
    OK,
    Answer,
    FakeClock,
    Loopback,
    session_at,
)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    fake = FakeClock()
    with use_clock(fake):
        yield fake


# --- what is repeated ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "read"),
    [
        ("GET", "/anything", True),
        ("HEAD", "/anything", True),
        ("POST", "/api/v1/data_assets/search", True),
        ("POST", "/api/v1/capsules/search?limit=1", True),
        ("POST", "/v2/metadata_index/data_assets/aggregate", True),
        ("POST", "/api/v1/data_assets/12ab/files", True),
        ("POST", "/api/v1/computations/12ab/results", True),
        ("POST", "/api/v1/computations", False),
        ("POST", "/api/v1/data_assets", False),
        ("POST", "/api/v1/data_assets/12ab/transfer", False),
        ("POST", "/api/v1/research", False),
        ("POST", "/api/v1/computations?next=/search", False),
        ("PUT", "/api/v1/data_assets/search", False),
        ("PATCH", "/api/v1/computations/12ab", False),
        ("DELETE", "/api/v1/computations/12ab", False),
    ],
)
def test_is_read_of_each_operation_is_right(method: str, path: str, read: bool) -> None:
    assert is_read(method, f"https://host{path}") is read


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize(("method", "path"), [("POST", "/a/search"), ("GET", "/a")])
def test_read_that_fails_twice_succeeds_on_the_third_attempt(
    clock: FakeClock, method: str, path: str, status: int
) -> None:
    with Loopback([Answer(status), Answer(status), OK]) as server:
        response = session_at(server).request(method, server.url + path)
    assert response.json() == {"good": True}
    assert exchange_of(response).attempts == len(server.requests) == 3
    assert len(clock.slept) == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/computations"), ("POST", "/data_assets"), ("PATCH", "/a"), ("PUT", "/a/search")],
)
@pytest.mark.parametrize("kind", ["whole", "reset", "truncated"])
def test_write_that_fails_is_sent_once(clock: FakeClock, method: str, path: str, kind: str) -> None:
    with Loopback([Answer(503, kind=kind), OK]) as server:
        session = session_at(server)
        if kind == "whole":
            assert session.request(method, server.url + path).status_code == 503
        else:
            with pytest.raises(RequestConnectionError):
                session.request(method, server.url + path)
    assert len(server.requests) == 1
    assert clock.slept == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 501])
def test_read_with_a_final_status_is_sent_once(clock: FakeClock, status: int) -> None:
    with Loopback([Answer(status), OK]) as server:
        assert session_at(server).get(server.url).status_code == status
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["reset", "truncated"])
def test_read_on_a_broken_connection_is_repeated(clock: FakeClock, kind: str) -> None:
    broken = Answer(200, b"x" * 1000, kind=kind)
    with Loopback([broken, broken, OK]) as server:
        assert session_at(server).get(server.url).json() == {"good": True}
    assert len(server.requests) == 3


def test_body_cut_short_is_an_error(clock: FakeClock) -> None:
    with (
        Loopback([Answer(200, b"x" * 1000, kind="truncated")]) as server,
        pytest.raises(RequestConnectionError) as caught,
    ):
        session_at(server, attempts=3).get(server.url)
    assert caught.value.attempts == len(server.requests) == 3


def test_chunked_body_cut_short_is_an_error(clock: FakeClock) -> None:
    chunked = Answer(
        200, b"5\r\nhello\r\n", {"Transfer-Encoding": "chunked", "Connection": "close"}
    )
    with Loopback([chunked]) as server, pytest.raises(RequestConnectionError):
        session_at(server, attempts=1).get(server.url)


# --- how long is waited -------------------------------------------------------------------------


def test_wait_before_each_attempt_grows_to_the_cap_with_jitter() -> None:
    exchange._random.seed(7)
    rounds = [[wait_before(n) for n in range(1, 12)] for _ in range(50)]
    for index, waits in enumerate(zip(*rounds, strict=True)):
        full = min(LONGEST_WAIT, 0.5 * 2**index)
        assert all(full / 2 <= wait <= full for wait in waits)
        assert len({round(wait, 6) for wait in waits}) > 40
    assert max(map(max, rounds)) <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("2", 2.0),
        (email.utils.formatdate(1_700_000_005.0, usegmt=True), 5.0),
        ("86400", LONGEST_RETRY_AFTER),
        (email.utils.formatdate(1_700_900_000.0, usegmt=True), LONGEST_RETRY_AFTER),
        ("0", 0.0),
    ],
)
def test_retry_after_is_respected_up_to_a_limit(
    clock: FakeClock, header: str, expected: float
) -> None:
    with Loopback([Answer(429, headers={"Retry-After": header}), OK]) as server:
        session_at(server).get(server.url)
    assert clock.slept == [expected]


@pytest.mark.parametrize(
    "header",
    [
        "soon",
        "-3",
        "2 seconds",
        "1e3",
        "²",
        "",
        "Thu, 99 Foo 2026",
        "nan",
        "Mon, 01 Jan 0001 00:00",
    ],
)
def test_retry_after_that_is_invalid_is_ignored(clock: FakeClock, header: str) -> None:
    assert 0.25 <= wait_before(1, header) <= 0.5


def test_retry_after_in_the_past_is_ignored(clock: FakeClock) -> None:
    gone = email.utils.formatdate(1_600_000_000.0, usegmt=True)
    assert 0.25 <= wait_before(1, gone) <= 0.5


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_exchange_counts_attempts_exactly(clock: FakeClock, attempts: int) -> None:
    with Loopback([Answer(503, headers={"X-Request-Id": "r-17"})]) as server:
        response = session_at(server, attempts=attempts, timeout=1000).get(server.url)
    ended = exchange_of(response)
    assert response.status_code == 503
    assert ended.attempts == len(server.requests) == attempts
    assert len(clock.slept) == attempts - 1
    assert ended.seconds == pytest.approx(sum(clock.slept))
    assert ended.facts(503)["request_id"] == "r-17"


def test_wait_never_passes_the_deadline(clock: FakeClock) -> None:
    with Loopback([Answer(503, headers={"Retry-After": "10"})]) as server:
        response = session_at(server, attempts=50, timeout=25).get(server.url)
    assert response.status_code == 503
    assert clock.slept == [10.0, 10.0]


def test_error_after_all_attempts_has_its_cause(clock: FakeClock) -> None:
    with Loopback([Answer(kind="reset")]) as server, pytest.raises(ServiceError) as caught:
        session_at(server, attempts=3).get(server.url)
    error = caught.value
    assert isinstance(error, requests.ConnectionError)
    assert isinstance(error, ConnectionError)
    assert error.attempts == 3
    assert error.seconds == pytest.approx(sum(clock.slept), abs=0.001)
    assert isinstance(error.__cause__, requests.ConnectionError)
    assert "3 attempts" in str(error)


def test_closed_port_is_a_connection_error(clock: FakeClock) -> None:
    with Loopback([OK]) as server:
        url = server.url
    with pytest.raises(RequestConnectionError) as caught:
        bare_session(Transport("Service", attempts=2)).get(url)
    assert caught.value.attempts == 2


# --- the end of the time ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "attempts"), [("GET", "/a", 2), ("POST", "/computations", 1)]
)
def test_request_without_response_ends_in_time(method: str, path: str, attempts: int) -> None:
    with (
        Loopback([Answer(kind="hang")]) as server,
        pytest.raises(RequestTimeoutError, match=r"0\.2 s") as caught,
    ):
        session_at(server, timeout=0.2).request(method, server.url + path)
    assert 0.15 < caught.value.seconds < 2
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, requests.Timeout)
    assert caught.value.attempts == len(server.requests) == attempts


def test_request_with_dripping_body_ends_in_time() -> None:
    with (
        Loopback([Answer(200, b"x" * 10_000, kind="drip")]) as server,
        pytest.raises(RequestTimeoutError) as caught,
    ):
        session_at(server, timeout=0.2).get(server.url)
    assert caught.value.seconds < 2


def test_request_with_stalling_body_ends_in_time() -> None:
    """What was given for the whole answer is not given anew with each piece of it."""
    late = Answer(200, b"x" * 20, kind="drip then hang")
    with Loopback([late]) as server, pytest.raises(RequestTimeoutError) as caught:
        session_at(server, timeout=0.5).get(server.url)
    assert caught.value.seconds < 0.8


def test_attempts_share_one_deadline() -> None:
    answers = [Answer(503, headers={"Retry-After": "0"}), Answer(kind="hang")]
    with Loopback(answers) as server, pytest.raises(RequestTimeoutError) as caught:
        session_at(server, timeout=0.3).get(server.url)
    assert caught.value.attempts == 2
    assert caught.value.seconds < 2


@pytest.mark.parametrize("timeout", [0.1, (3.0, 0.1)])
def test_request_with_its_own_timeout_ends_in_time(timeout: Any) -> None:
    with Loopback([Answer(kind="hang")]) as server, pytest.raises(RequestTimeoutError):
        session_at(server, timeout=100).get(server.url, timeout=timeout)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_request_with_invalid_timeout_has_a_limit(timeout: float, refusals: list[str]) -> None:
    with Loopback([OK]) as server:
        session_at(server, timeout=timeout).get(server.url, timeout=None)
    assert refusals == []


def test_guard_of_the_suite_refuses_a_request_without_timeout(refusals: list[str]) -> None:
    with (
        Loopback([OK]) as server,
        requests.Session() as session,
        pytest.raises(Exception, match="without a timeout"),
    ):
        session.get(server.url)
    assert refusals == ["GET / without a timeout"]


# --- threads and forks --------------------------------------------------------------------------


def test_connection_after_a_response_is_reused() -> None:
    with Loopback([OK]) as server:
        session = session_at(server)
        for _ in range(5):
            session.get(server.url)
    assert len({seen.peer for seen in server.requests}) == 1


def test_session_in_many_threads_works() -> None:
    errors: list[BaseException] = []

    def send(session: requests.Session, url: str) -> None:
        try:
            for _ in range(5):
                assert session.get(url).json() == {"good": True}
        except BaseException as error:
            errors.append(error)

    with Loopback([OK]) as server:
        session = session_at(server)
        threads = [threading.Thread(target=send, args=(session, server.url)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert len(server.requests) == 40


def test_session_in_many_threads_logs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    meeting = threading.Barrier(60)

    class Meeting(Loopback):
        def next_answer(self, seen: Any) -> Answer:
            meeting.wait(10)
            return OK

    with Meeting([OK]) as server, ThreadPoolExecutor(60) as threads:
        session = session_at(server)
        assert all(r.ok for r in threads.map(session.get, [server.url] * 60))
    assert caplog.text == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_shares_no_connection_and_no_lock() -> None:
    here = context.current()
    here.client("a", lambda: "made in the parent")
    with Loopback([OK]) as server:
        session = session_at(server, timeout=5)
        session.get(server.url)
        # Held in the parent when it forks, as by another of its threads.
        jar_lock = session.cookies._cookies_lock
        with jar_lock, here.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            holder = threading.Thread(target=_hold_and_fork, args=(session, server.url))
            holder.start()
            holder.join()
        assert _hold_and_fork.code == 0  # type: ignore[attr-defined]
    peers = [seen.peer for seen in server.requests]
    assert len(peers) == 2
    assert peers[0] != peers[1]


def _hold_and_fork(session: requests.Session, url: str) -> None:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            made = context.current().client("a", lambda: "made in the child")
            good = session.get(url).json() == {"good": True}
            code = 0 if good and made == "made in the child" else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    _hold_and_fork.code = os.waitstatus_to_exitcode(status)  # type: ignore[attr-defined]


class _Closing:
    closed = False

    def close(self) -> None:
        self.closed = True


def test_reset_drops_and_closes_clients() -> None:
    context.reset()
    client = context.current().client("a", _Closing)
    assert context.current().client("a", _Closing) is client
    context.reset()
    assert client.closed
    assert context.current().client("a", _Closing) is not client


def test_request_to_loopback_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Loopback([OK]) as server:
        assert session_at(server, attempts=1).get(server.url).json() == {"good": True}


def test_body_that_is_compressed_is_decoded() -> None:
    import gzip

    buffer = io.BytesIO()
    text = b'{"good": true}' + b" " * random.Random(0).randrange(200_000, 300_000)
    with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
        file.write(text)
    answer = Answer(200, buffer.getvalue(), {"Content-Encoding": "gzip"})
    with Loopback([answer]) as server:
        assert session_at(server).get(server.url).content == text
        assert session_at(server, decode=False).get(server.url).content == buffer.getvalue()
