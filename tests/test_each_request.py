"""Each request of each lookup fails, alone and for good: right, partial, or an error."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass

import pytest

import aind_session
from aind_session import AindSessionError, NotFoundError, PartialAnswerWarning, Sandbox, Session
from aind_session.clock import use_clock
from aind_session.sandbox.faults import Fault, Request
from loopback import FakeClock
from truths import LOOKS, is_partial, is_right
from worlds import Truth, invent_world


def _key(request: Request) -> tuple[object, ...]:
    return request.service, request.method, request.path, request.query, request.body


@dataclass
class _ThisOne(Fault):
    """A fault of one request, and of its repetitions."""

    key: tuple[object, ...] = ()

    def matches(self, request: Request) -> bool:
        return _key(request) == self.key


def _outcome(box: Sandbox, what: str, session_id: str, world: Truth) -> str:
    of = world.sessions[session_id]
    box.reset()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = LOOKS[what](Session(session_id))
        except NotFoundError as error:
            return f"{session_id} {what}: {error}"
        except AindSessionError:
            return "error"
    if is_right(what, answer, of, world):
        return "right"
    warned = any(isinstance(w.message, PartialAnswerWarning) for w in caught)
    if warned and is_partial(what, answer, of, world):
        return "partial"
    return f"{session_id} {what}: {answer!r}, without a warning"


def _various(world: Truth) -> list[str]:
    """Choose sessions that together have each oddity and each combination of sources."""
    covered: set[object] = set()
    chosen = []
    # Those with the most requests first.
    for of in sorted(world.sessions.values(), key=lambda of: (-len(of.sorters), of.id)):
        traits = {*of.oddities, frozenset(of.sources), of.folder_exists, len(of.sorted_assets)}
        if not traits <= covered:
            covered |= traits
            chosen.append(of.id)
    return chosen


@pytest.mark.parametrize("most", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_failed_request_makes_no_answer_wrong(most: int | None) -> None:
    catalogue, world = invent_world(2024, 200)
    ids = _various(world)[:most]
    count: Counter[str] = Counter()
    with aind_session.sandbox(catalogue) as box, use_clock(FakeClock()):
        for session_id in ids:
            for what in LOOKS:
                assert _outcome(box, what, session_id, world) == "right"
                for key in dict.fromkeys(map(_key, box.requests)):
                    fault = _ThisOne(status=503, times=None, key=key)
                    box.middleware.add(fault)
                    outcome = _outcome(box, what, session_id, world)
                    assert outcome in ("right", "partial", "error"), key
                    count[outcome] += 1
                    box.middleware.remove(fault)
    print(f"\n{len(ids)} sessions: {dict(count)}")
    # The faults were met: otherwise all would be right.
    assert count["error"] > len(ids)
    assert count["right"] > count["error"]
