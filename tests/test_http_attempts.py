"""HTTP: attempts, waits, limits of time, and connections."""

from __future__ import annotations

import contextlib
import email.utils
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from aind_session import context
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
from loopback import (
    OK,
    Answer,
    FakeClock,
    Loopback,
    Seen,
    session_at,
)

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


CHUNK = b"5\r\nhello\r\n"
BROKEN = {
    "reset": Answer(kind="reset"),
    "truncated": Answer(200, b"x" * 1000, kind="truncated"),
    "half of the chunks": Answer(
        200, CHUNK, {"Transfer-Encoding": "chunked", "Connection": "close"}
    ),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_read_on_a_broken_connection_is_repeated(clock: FakeClock, broken: Answer) -> None:
    with Loopback([broken, broken, OK]) as server:
        assert session_at(server).get(server.url).json() == {"good": True}
    assert len(server.requests) == 3


@pytest.mark.parametrize("broken", [*BROKEN.values(), None], ids=[*BROKEN, "closed port"])
def test_read_on_a_lasting_broken_connection_is_an_error(
    clock: FakeClock, broken: Answer | None
) -> None:
    with Loopback([broken or OK]) as server:
        url = server.url
        if broken is None:
            server.__exit__(None, None, None)
        with pytest.raises(RequestConnectionError, match="3 attempts") as caught:
            session_at(server, attempts=3).get(url)
    error = caught.value
    assert isinstance(error, requests.ConnectionError)
    assert isinstance(error, ConnectionError)
    assert error.attempts == 3
    assert len(server.requests) == (0 if broken is None else 3)
    assert error.seconds == pytest.approx(sum(clock.slept), abs=0.001)
    assert isinstance(error.__cause__, requests.ConnectionError)


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
        email.utils.formatdate(1_600_000_000.0, usegmt=True),
    ],
)
def test_retry_after_that_is_invalid_or_past_is_ignored(clock: FakeClock, header: str) -> None:
    assert 0.25 <= wait_before(1, header) <= 0.5


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


# --- the end of the time ------------------------------------------------------------------------


HANG = Answer(kind="hang")


@pytest.mark.parametrize(
    ("method", "path", "answers", "attempts"),
    [
        ("GET", "/a", [HANG], {2}),
        ("POST", "/computations", [HANG], {1}),
        ("GET", "/a", [Answer(503, headers={"Retry-After": "0"}), HANG], {2}),
        ("GET", "/a", [Answer(200, b"x" * 10_000, kind="drip")], {1, 2}),
        # What was given for the whole answer is not given anew with each piece of it.
        ("GET", "/a", [Answer(200, b"x" * 12, kind="drip then hang")], {1, 2}),
    ],
    ids=["read", "write", "second attempt", "dripping body", "stalling body"],
)
def test_request_without_a_whole_response_ends_in_time(
    method: str, path: str, answers: list[Answer], attempts: set[int]
) -> None:
    with Loopback(answers) as server, pytest.raises(RequestTimeoutError, match=r"0\.3 s") as caught:
        session_at(server, timeout=0.3).request(method, server.url + path)
    assert 0.25 < caught.value.seconds < 1.5
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, requests.Timeout)
    assert caught.value.attempts == len(server.requests)
    assert caught.value.attempts in attempts


@pytest.mark.parametrize("timeout", [0.1, (3.0, 0.1)])
def test_request_with_its_own_timeout_ends_in_time(timeout: Any) -> None:
    with Loopback([HANG]) as server, pytest.raises(RequestTimeoutError):
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


def test_debug_log_shows_the_time_of_each_attempt_alone(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="aind_session.services")
    with Loopback([Answer(503), Answer(503), OK]) as server:
        session_at(server).get(server.url)
    # Only the pauses in between take time.
    assert [line.rpartition("(")[2] for line in caplog.messages] == [
        f"attempt {number}, 0 ms)" for number in (1, 2, 3)
    ]


# --- threads and forks --------------------------------------------------------------------------


def test_connection_after_a_response_is_reused() -> None:
    with Loopback([OK]) as server:
        session = session_at(server)
        for _ in range(5):
            session.get(server.url)
    assert len({seen.peer for seen in server.requests}) == 1


def test_connections_to_as_many_hosts_as_there_are_buckets_are_reused() -> None:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Loopback([OK])) for _ in range(12)]
        session = session_at(servers[0])
        for server in servers * 2:
            session.get(server.url)
        session.close()
    assert [len({seen.peer for seen in server.requests}) for server in servers] == [1] * 12


def test_session_in_many_threads_answers_each_without_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    meeting = threading.Barrier(30)

    def meet(seen: Seen) -> Answer:
        return Answer(200, {"path": seen.path})

    class Meeting(Loopback):
        def next_answer(self, seen: Seen) -> Answer:
            meeting.wait(10)
            return super().next_answer(seen)

    with Meeting(meet) as server, ThreadPoolExecutor(30) as threads:
        session = session_at(server)
        urls = [f"{server.url}/{number}" for number in range(30)]
        for url, response in zip(urls, threads.map(session.get, urls), strict=True):
            assert url.endswith(response.json()["path"])
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
