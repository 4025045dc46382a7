"""The namespaces, with sessions invented for each test."""

from __future__ import annotations

import subprocess
import sys

import pytest

import aind_session
from aind_session import Sandbox

SESSION = "behavior_999999_2024-03-01_10-00-00"
TEXT = "seconds\n0.5\n1.25\n3.0\n"


@pytest.fixture
def session(aind_sandbox: Sandbox) -> aind_session.Session:
    made = aind_sandbox.add_session(
        SESSION, modalities=["behavior"], files={"behavior/licks.csv": TEXT}
    )
    return aind_session.Session(made.id)


def test_count_reads_the_file(session: aind_session.Session) -> None:
    assert session.licks.times == (0.5, 1.25, 3.0)
    assert session.licks.count == 3
    assert session.licks.path.name == "licks.csv"


def test_namespace_sends_no_request_until_used(
    session: aind_session.Session, aind_sandbox: Sandbox
) -> None:
    aind_sandbox.reset()
    assert repr(session.licks) == f"Licks({session!r})"
    assert aind_sandbox.count() == 0


def test_session_without_licks_raises(aind_sandbox: Sandbox) -> None:
    aind_sandbox.add_session("behavior_999999_2024-03-02_10-00-00", modalities=["behavior"])
    session = aind_session.Session("behavior_999999_2024-03-02_10-00-00")
    assert getattr(session.licks, "path", None) is None
    with pytest.raises(AttributeError, match="has no licks"):
        _ = session.licks.count


def test_water_has_the_licks_of_all_sessions(
    session: aind_session.Session, aind_sandbox: Sandbox
) -> None:
    other = "behavior_999999_2024-03-02_10-00-00"
    aind_sandbox.add_session(other, modalities=["behavior"])
    assert aind_session.Subject(999999).water.licks == {session.id: 3, other: None}


def test_namespace_needs_no_import() -> None:
    code = (
        "import sys, aind_session; assert 'lick_counts' not in sys.modules; "
        f"print(aind_session.Session({SESSION!r}).licks)"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.strip() == f"Licks(Session({SESSION!r}))"


def test_namespace_is_listed_with_its_owner() -> None:
    listed = {(info.target, info.name): info for info in aind_session.namespaces()}
    assert "lick" in listed["Session", "licks"].owner
    assert not listed["Subject", "water"].state.startswith("broken")
