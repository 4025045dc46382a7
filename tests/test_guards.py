"""The guards of the test suite itself: what they refuse, and that a caught refusal still counts."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest
import requests
import urllib3

from aind_session.sandbox import Sandbox

# An address that is reserved for documentation.
ELSEWHERE = "192.0.2.1"


@pytest.mark.parametrize("address", [ELSEWHERE, "10.0.0.1", "169.254.169.254"])
def test_a_connection_to_elsewhere_is_refused(address: str, refusals: list[str]) -> None:
    with pytest.raises(RuntimeError, match=r"socket\.connect"):
        socket.create_connection((address, 80), timeout=0.01)
    assert refusals == [f"socket.connect to {address}"]


def test_a_name_is_not_looked_up(refusals: list[str]) -> None:
    with pytest.raises(RuntimeError, match=r"socket\.getaddrinfo"):
        requests.get("https://example.org", timeout=0.01)
    with pytest.raises(RuntimeError, match=r"socket\.gethostbyname"):
        socket.gethostbyname("example.org")
    assert len(refusals) == 2


def test_asynchronous_clients_are_guarded_too(refusals: list[str]) -> None:
    async def connect() -> None:
        await asyncio.open_connection(ELSEWHERE, 80)

    with pytest.raises(RuntimeError, match=r"socket\.connect"):
        asyncio.run(connect())
    assert refusals == [f"socket.connect to {ELSEWHERE}"]


def test_datagrams_are_guarded_too(refusals: list[str]) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        pytest.raises(RuntimeError, match=r"socket\.sendto"),
    ):
        one.sendto(b"x", (ELSEWHERE, 53))
    assert len(refusals) == 1


def test_a_request_without_a_time_limit_is_refused(sandbox: Sandbox, refusals: list[str]) -> None:
    url = sandbox.urls["docdb"]
    for ask in (
        lambda: requests.get(url),
        lambda: requests.get(url, timeout=(1, None)),
        lambda: urllib3.PoolManager().request("GET", url),
    ):
        with pytest.raises(RuntimeError, match="without a timeout"):
            ask()
    assert len(refusals) == 3
    assert requests.get(url, timeout=5).status_code


def test_nothing_of_the_users_is_seen() -> None:
    from aind_session import settings

    known = settings.current()
    assert known.token is None
    assert {known.domain.source, known.docdb_host.source} == {"default"}
    assert "AWS_ACCESS_KEY_ID" not in os.environ
