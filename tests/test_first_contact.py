"""The first lookup of a new user: no token, and no service that can be reached."""

from __future__ import annotations

import os

import pytest

import aind_session
from aind_session import context
from aind_session.clock import use_clock
from aind_session.errors import ServiceConnectionError
from loopback import FakeClock


def test_lookup_without_token_and_network_raises_one_error_with_every_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [n for n in os.environ if n.startswith(("CODE_OCEAN_", "AWS_", "AIND_SESSION_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CODE_OCEAN_DOMAIN", "AIND_SESSION_DOCDB_HOST", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    context.reset()
    with use_clock(FakeClock()), pytest.raises(ServiceConnectionError) as caught:
        _ = aind_session.Session("ecephys_676909_2023-12-13_13-43-40").raw_data_dir
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0].strip() for line in lines[1:4]] == ["Code Ocean", "DocDB", "S3"]
    assert "set CODE_OCEAN_API_TOKEN" in lines[1]
    assert lines[4:] == ["To try the package without them: `with aind_session.sandbox(): ...`."]
    chained = caught.value.__cause__ or caught.value.__context__
    assert chained is None or (chained.__cause__ or chained.__context__) is None
    context.reset()
