"""Licks of all sessions of a subject: `subject.water`."""

from __future__ import annotations

import aind_session


def _count(session: aind_session.Session) -> int | None:
    if getattr(session, "raw_data_dir", None) is None:
        return None
    licks = session.licks
    return None if getattr(licks, "path", None) is None else licks.count


class Water(aind_session.ExtensionBaseClass):
    """Licks of a subject, by session."""

    _base: aind_session.Subject

    @property
    def licks(self) -> dict[str, int | None]:
        """Number of licks by session; None if a session has no file."""
        sessions = self._base.sessions
        return dict(zip((s.id for s in sessions), sessions.map(_count), strict=True))
