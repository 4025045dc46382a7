"""How sessions, subjects and data assets look in a notebook: what is known, never a request."""

from __future__ import annotations

from aind_session.display.markup import assets_html, session_html, sessions_html, subject_html

__all__ = ["assets_html", "session_html", "sessions_html", "subject_html"]
