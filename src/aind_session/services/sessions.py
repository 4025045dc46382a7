"""`requests` sessions that send everything through the house's transport."""

from __future__ import annotations

import weakref
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.cookies import RequestsCookieJar

from aind_session.forking import when_forked
from aind_session.services.transport import Transport


class _NoCookies(DefaultCookiePolicy):
    """Keep none: each question stands for itself, whichever thread puts it."""

    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False


def guard_session(session: requests.Session, transport: Transport, *prefixes: str) -> None:
    """Send everything that a session asks, wherever it goes, through a transport."""
    for prefix in ("https://", "http://", *prefixes):
        replaced = session.adapters.get(prefix)
        session.mount(prefix, transport)
        if replaced is not None and replaced is not transport:
            replaced.close()
    session.cookies = RequestsCookieJar(_NoCookies())
    _sessions.add(session)


def bare_session(transport: Transport) -> requests.Session:
    """Make a session without credentials."""
    session = requests.Session()
    guard_session(session, transport)
    return session


_sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()


def _after_fork() -> None:
    # A cookie jar has a lock too, and the parent may have held it.
    for session in list(_sessions):
        session.cookies = RequestsCookieJar(_NoCookies())


when_forked(_after_fork)
