"""Each request of each look fails, alone and for good: the answer is right, told, or an error."""

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


def _question(request: Request) -> tuple[object, ...]:
    return request.service, request.method, request.path, request.query, request.body


@dataclass
class _ThisOne(Fault):
    """A fault of one request, and of its repetitions."""

    question: tuple[object, ...] = ()

    def matches(self, request: Request) -> bool:
        return _question(request) == self.question


def _fault(question: tuple[object, ...]) -> Fault:
    return _ThisOne(status=503, times=None, question=question)


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
    told = any(isinstance(w.message, PartialAnswerWarning) for w in caught)
    if told and is_partial(what, answer, of, world):
        return "told"
    return f"{session_id} {what}: {answer!r}, untold"


@pytest.mark.parametrize("n_sessions", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_no_request_that_fails_makes_an_answer_wrong(n_sessions: int) -> None:
    catalogue, world = invent_world(2024, 200)
    # Those with the most to ask about first.
    ids = sorted(world.sessions, key=lambda i: (-len(world.sessions[i].sorters), i))[:n_sessions]
    count: Counter[str] = Counter()
    with aind_session.sandbox(catalogue) as box, use_clock(FakeClock()):
        for session_id in ids:
            for what in LOOKS:
                assert _outcome(box, what, session_id, world) == "right"
                for question in dict.fromkeys(map(_question, box.requests)):
                    fault = _fault(question)
                    box.middleware.add(fault)
                    outcome = _outcome(box, what, session_id, world)
                    count[outcome if outcome in ("right", "told", "error") else "wrong"] += 1
                    assert outcome in ("right", "told", "error"), question
                    box.middleware.remove(fault)
    print(f"\n{n_sessions} sessions: {dict(count)}")
    # The faults were met: else all would be right.
    assert count["error"] > n_sessions
    assert count["right"] > count["error"]
