"""A PyTorch DataLoader whose dataset has sessions: its workers look them up themselves."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytest

import aind_session
from aind_session import Sandbox, Sessions
from programs_on_workers import Looked, as_they_are

data: Any = pytest.importorskip("torch.utils.data", reason="PyTorch is not installed")


@pytest.fixture
def sessions(sandbox: Sandbox) -> Sessions:
    return aind_session.get_sessions([676909, 668759], platform="ecephys")


def _load(sessions: Sessions, how: str) -> list[Any]:
    loader = data.DataLoader(
        Looked(sessions),
        batch_size=2,
        num_workers=2,
        collate_fn=as_they_are,
        multiprocessing_context=how,
        persistent_workers=True,
        timeout=60,
    )
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Twice: the workers of the first epoch go on.
        return [one for _ in range(2) for batch in loader for one in batch]


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_workers_look_sessions_up(sessions: Sessions, how: str) -> None:
    found = _load(sessions, how)
    here = Looked(sessions)
    expected = [here[n][:-1] for n in range(len(sessions))]
    assert [one[:-1] for one in found] == expected * 2
    assert os.getpid() not in {one[-1] for one in found}


def test_forked_workers_know_what_was_fetched(sessions: Sessions, sandbox: Sandbox) -> None:
    sessions.prefetch("assets", "records", "modalities")
    before = sandbox.count()
    assert len(_load(sessions, "fork")) == 2 * len(sessions)
    assert sandbox.count() == before
