"""Invented worlds for tests and benchmarks, with what is true of them.

=================  ================================================================================
`invent_session`   adds one session to a catalogue, as complete or incomplete as requested
`invent_world`     every era, source and defect that has been seen, with what is true of it
`invent_cohort`    many ordinary sessions, fast
=================  ================================================================================
"""

from __future__ import annotations

from aind_session.sandbox.factory import InventedSession, invent_session

from .cohort import invent_cohort
from .truth import SessionTruth, SubjectTruth, Truth
from .world import invent_world

__all__ = [
    "InventedSession",
    "SessionTruth",
    "SubjectTruth",
    "Truth",
    "invent_cohort",
    "invent_session",
    "invent_world",
]
