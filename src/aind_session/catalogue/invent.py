"""Invented sessions for tests, examples and benchmarks: one, a whole world, or ten thousand.

=================  ================================================================================
`invent_session`   adds one session to a catalogue, as complete or incomplete as asked for
`invent_world`     every era, source and defect that has been seen, with what is true of it
`invent_cohort`    many ordinary sessions, fast
=================  ================================================================================
"""

from __future__ import annotations

from aind_session.catalogue.invent_builder import InventedSession, invent_session
from aind_session.catalogue.invent_plan import invent_world
from aind_session.catalogue.invent_scale import invent_cohort
from aind_session.catalogue.invent_truth import SessionTruth, SubjectTruth, Truth

__all__ = [
    "InventedSession",
    "SessionTruth",
    "SubjectTruth",
    "Truth",
    "invent_cohort",
    "invent_session",
    "invent_world",
]
