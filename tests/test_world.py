"""An invented world, seeded and random: everything that is there is found, and nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import aind_session
from truths import BASIC, is_right
from worlds import Truth, invent_world


@contextmanager
def _world(seed: int, n_sessions: int = 200) -> Iterator[Truth]:
    catalogue, truth = invent_world(seed, n_sessions)
    assert len(truth.sessions) >= n_sessions
    with aind_session.sandbox(catalogue), warnings.catch_warnings():
        # What is closed or gone in this world needs no warning: one is an error.
        warnings.simplefilter("error")
        yield truth


def _check(truth: Truth, session_id: str) -> None:
    session, of = aind_session.Session(session_id), truth.sessions[session_id]
    found = {what: look(session) for what, look in BASIC.items()}
    wrong = {w: answer for w, answer in found.items() if not is_right(w, answer, of, truth)}
    assert not wrong, of


# Three worlds of 200 sessions have every defect, each several times.
@pytest.mark.parametrize("seed", range(5))
def test_cohort_of_an_invented_world_is_found_whole(seed: int) -> None:
    with _world(seed) as truth:
        sessions = aind_session.get_sessions(truth.subjects)
        expected = {s for subject in truth.subjects.values() for s in subject.sessions}
        assert {s.id for s in sessions} == expected
        sessions.prefetch()
        for subject_id, of in truth.subjects.items():
            mine = [s.id for s in aind_session.get_sessions(subject_id)]
            assert mine == list(of.sessions)
            assets = {a.id for a in aind_session.Subject(subject_id).data_assets}
            assert assets - of.listed_but_closed == of.assets
        for session_id in truth.sessions:
            _check(truth, session_id)


def test_each_session_of_an_invented_world_is_found_alone() -> None:
    with _world(100, 100) as truth:
        for session_id in sorted(truth.sessions):
            aind_session.Session(session_id).refresh()
            _check(truth, session_id)


def test_both_spellings_lead_to_one_session() -> None:
    with _world(7) as truth:
        platformless = next(s for s in truth.sessions.values() if s.platform is None and s.assets)
        other = aind_session.Session(f"behavior_{platformless.id}")
        assert {a.id for a in other.data_assets} - platformless.listed_but_closed == (
            platformless.assets
        )
