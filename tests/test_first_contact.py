"""The first lookup of a new user: no token, and no service that can be reached."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import NoReturn

import pytest

import aind_session
from aind_session import context
from aind_session.clock import use_clock
from aind_session.errors import ServiceConnectionError
from loopback import FakeClock

SESSION = "ecephys_676909_2023-12-13_13-43-40"


def _no_name_is_resolved(*args: object, **options: object) -> NoReturn:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


SERVICES = ("CODE_OCEAN_DOMAIN", "AIND_SESSION_DOCDB_HOST", "AWS_ENDPOINT_URL_S3")
LOOK_UPS: dict[str, Callable[[], object]] = {
    "raw_data_dir": lambda: aind_session.Session(SESSION).raw_data_dir,
    "is_uploaded": lambda: aind_session.Session(SESSION).is_uploaded,
    "modalities": lambda: aind_session.Session(SESSION).modalities,
}


@pytest.mark.parametrize("network", ["no names", "no connection"])
@pytest.mark.parametrize("name", LOOK_UPS)
def test_lookup_without_token_and_network_raises_one_error_with_every_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, network: str
) -> None:
    for variable in [
        n for n in os.environ if n.startswith(("CODE_OCEAN_", "AWS_", "AIND_SESSION_"))
    ]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    if network == "no names":
        # The services of a new user, by their names.
        monkeypatch.setattr(socket, "getaddrinfo", _no_name_is_resolved)
    else:
        for variable in SERVICES:
            monkeypatch.setenv(variable, "http://127.0.0.1:9")
    context.reset()
    clock = FakeClock()
    began = time.monotonic()
    with use_clock(clock), pytest.raises(ServiceConnectionError) as caught:
        LOOK_UPS[name]()
    if network == "no names":
        # All waits between attempts, although those of different services are concurrent.
        assert time.monotonic() - began + sum(clock.slept) < 10
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0].strip() for line in lines[1:4]] == ["Code Ocean", "DocDB", "S3"]
    assert "set CODE_OCEAN_API_TOKEN" in lines[1]
    assert lines[4:] == ["To try the package without them: `with aind_session.sandbox(): ...`."]
    chained = caught.value.__cause__ or caught.value.__context__
    assert chained is None or (chained.__cause__ or chained.__context__) is None
    context.reset()
