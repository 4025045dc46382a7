"""Ctrl-C and the end of the interpreter while a service hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from aind_session.context import Cache
from aind_session.threads import WORKERS, Threads, gather, outcomes
from loopback import Answer, Loopback

LOOKUP = """
import sys, threading, time
import aind_session
from aind_session.errors import ServiceError

session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
print("ready", flush=True)
{body}
"""

INTERRUPTED = """
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
    {then}
"""

IN_THREADS = """
for _ in range(3):
    threading.Thread(target=lambda: session.raw_data_dir, daemon=True).start()
time.sleep(0.5)
"""


def start(server: Loopback, body: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "CODE_OCEAN_API_TOKEN": "cop_0123456789abcdef",
        "CODE_OCEAN_DOMAIN": server.url,
        "AIND_SESSION_DOCDB_HOST": server.url,
        "AWS_ENDPOINT_URL_S3": server.url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", LOOKUP.format(body=body)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def wait_for_requests(server: Loopback, number: int) -> None:
    # Less than the time after which a request is repeated by itself.
    end = time.monotonic() + 10
    while len(server.requests) < number:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise on Windows")
@pytest.mark.parametrize(
    "call",
    [
        "session.raw_data_dir",
        "aind_session.Sessions([session, '676909_2023-12-14_10-00-00']).map(lambda s: s.docdb)",
    ],
)
def test_interrupt_while_a_service_hangs_ends_the_script(call: str) -> None:
    with Loopback([Answer(kind="hang")]) as server:
        process = start(server, INTERRUPTED.format(call=call, then="sys.exit(7)"))
        wait_for_requests(server, 2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=20)
        assert time.monotonic() - began < 2
    assert (process.returncode, out, errors) == (7, "interrupted\n", "")


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise on Windows")
def test_interrupted_lookup_sends_new_requests_when_repeated() -> None:
    with Loopback([Answer(kind="hang")]) as server:
        process = start(
            server, INTERRUPTED.format(call="session.raw_data_dir", then="session.raw_data_dir")
        )
        wait_for_requests(server, 2)
        time.sleep(0.3)
        before = len(server.requests)
        process.send_signal(signal.SIGINT)
        wait_for_requests(server, 2 * before)
        process.kill()
        process.communicate(timeout=20)
    again = sorted(seen.path for seen in server.requests[before : 2 * before])
    assert again == sorted(seen.path for seen in server.requests[:before])


def test_exit_while_lookups_are_in_flight_is_quiet() -> None:
    with Loopback([Answer(kind="hang")]) as server:
        process = start(server, IN_THREADS)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (0, "", "")


def test_cache_does_not_wait_for_what_an_interrupted_caller_requested() -> None:
    cache, go, begun = Cache(), threading.Event(), threading.Event()

    def hang() -> str:
        begun.set()
        go.wait(10)
        return "late"

    def interrupted() -> None:
        assert begun.wait(10)
        raise KeyboardInterrupt

    def nested() -> list[str]:
        return gather(lambda: begun.wait(10), lambda: cache.get(("k",), hang, 10))

    with pytest.raises(KeyboardInterrupt):
        outcomes(interrupted, nested)
    assert cache.get(("k",), lambda: "new", 10) == "new"
    go.set()
    assert cache.get(("k",), lambda: "never", 10) == "new"


def test_pool_replaces_abandoned_threads() -> None:
    go, begun = threading.Event(), threading.Barrier(WORKERS)

    def interrupted() -> None:
        begun.wait(10)
        raise KeyboardInterrupt

    def hang() -> None:
        begun.wait(10)
        go.wait(10)

    with pytest.raises(KeyboardInterrupt):
        outcomes(interrupted, *[hang] * (WORKERS - 1))
    meeting = threading.Barrier(WORKERS)
    assert len(gather(*[lambda: meeting.wait(10)] * WORKERS)) == WORKERS
    go.set()


def test_pool_closed_while_calls_are_added_ends_and_makes_them() -> None:
    pool, go = Threads(4), threading.Event()
    first = pool.submit(go.wait, 10)
    closer = threading.Thread(target=pool.close, daemon=True)
    closer.start()
    # It waits for the first call.
    closer.join(0.1)
    later = [pool.submit(go.wait, 10) for _ in range(3)]
    go.set()
    closer.join(10)
    assert not closer.is_alive()
    assert [future.result(10) for future in (first, *later)] == [True] * 4
    pool.close()
