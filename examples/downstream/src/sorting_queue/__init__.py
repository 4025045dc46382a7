"""Ecephys sessions that wait for spike sorting: found, started, and counted."""

from __future__ import annotations

from dataclasses import dataclass

import aind_session

__all__ = ["Queue", "folders_of", "look_at", "start"]


@dataclass(frozen=True)
class Queue:
    """The ecephys sessions of some subjects, by the state of their sorting."""

    sorted: tuple[aind_session.Session, ...]
    running: tuple[aind_session.Session, ...]
    waiting: tuple[aind_session.Session, ...]


def look_at(*subject_ids: int | str) -> Queue:
    """Return the uploaded ecephys sessions of some subjects, by the state of their sorting."""
    done, running, waiting = [], [], []
    for session in aind_session.get_sessions(subject_ids, platform="ecephys"):
        if not session.is_uploaded:
            continue
        if session.ecephys.is_sorted:
            done.append(session)
        elif session.ecephys.current_sorting_pipeline_computations:
            running.append(session)
        else:
            waiting.append(session)
    return Queue(tuple(done), tuple(running), tuple(waiting))


def start(queue: Queue, pipeline_type: str = "ecephys_ks4") -> tuple[str, ...]:
    """Start the sorting of the waiting sessions, and return the IDs of the computations."""
    return tuple(
        session.ecephys.run_sorting(pipeline_type=pipeline_type).id for session in queue.waiting
    )


def folders_of(session: aind_session.Session) -> tuple[str, ...]:
    """Return the folders of a session's files: those attached here, else the one in S3."""
    here = tuple(path.as_posix() for path in session.attached_dirs)
    return here or (session.raw_data_dir.as_posix(),)
