"""Functions that other processes import and call, as in a user's own module."""

from __future__ import annotations

import os

import aind_session


def describe(session: aind_session.Session) -> tuple[str, str, int, int]:
    """Look a session up, and return the process that did it."""
    folder = session.raw_data_dir.as_posix()
    return session.id, folder, len(session.data_assets), os.getpid()


def platform_or_fail(session: aind_session.Session) -> str | None:
    """Fail for one platform."""
    if session.platform == "behavior":
        raise ValueError(f"not this one: {session.id}")
    return session.platform


class Looked:
    """A dataset for PyTorch, which accepts anything with a length and items."""

    def __init__(self, sessions: aind_session.Sessions) -> None:
        self.sessions = sessions

    def __len__(self) -> int:
        return len(self.sessions)

    def __getitem__(self, index: int) -> tuple[object, ...]:
        session = self.sessions[index]
        return *describe(session)[:3], session.docdb.genotype, session.modalities, os.getpid()


def as_they_are(batch: list[object]) -> list[object]:
    """Return the items of a batch unchanged."""
    return batch
