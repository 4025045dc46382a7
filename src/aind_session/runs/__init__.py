"""Runs: one Code Ocean computation a session, conducted to its end; see `Sessions.run`.

Code Ocean is the engine that scales. What is here decides what to start, starts it at a pace that
was asked for, and captures the results; all that it knows is in a small file, so that it goes on
after a kill at any moment.
"""

from __future__ import annotations

from aind_session.runs.state import RunStateError
from aind_session.runs.values import Mount, Parameter, Planned, RunPlan, RunReport, SessionRun
from aind_session.runs.verbs import read_run, resume_run, run

__all__ = [
    "Mount",
    "Parameter",
    "Planned",
    "RunPlan",
    "RunReport",
    "RunStateError",
    "SessionRun",
    "read_run",
    "resume_run",
    "run",
]
