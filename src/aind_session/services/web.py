"""What is asked of any other web server: a document by its URL, without credentials."""

from __future__ import annotations

import requests

from aind_session import settings
from aind_session.errors import AccessDeniedError, BadAnswerError, MissingFileError, ServiceError
from aind_session.services.addresses import place_of
from aind_session.services.asked import asked_of
from aind_session.services.keeping import Kept
from aind_session.services.pages import is_web_page
from aind_session.services.scrubbing import excerpt
from aind_session.services.transport import Transport, bare_session

SERVICE = "the web"

_sessions: Kept[requests.Session] = Kept(close=lambda session: session.close())


def read(url: str) -> bytes:
    """Read a document from the web; its server is sent no credentials.

    Parameters
    ----------
    url
        `https://...`; plain http on this machine only.

    Raises
    ------
    MissingFileError
        It is not there (a `FileNotFoundError`).
    AccessDeniedError
        It is not open to everybody (a `PermissionError`).
    BadAnswerError
        What came is a page for people.
    ServiceError
        The server did not answer, or not with a document.
    """
    current = settings.current()
    limits = (current.timeout.value, current.attempts.value)
    session = _sessions.get(
        limits, lambda: bare_session(Transport(SERVICE, timeout=limits[0], attempts=limits[1]))
    )
    response = session.get(url)
    place, status = place_of(url), response.status_code
    facts = asked_of(response).facts(status)
    if status in (404, 410):
        raise MissingFileError(f"There is no {place} (its server answered {status}).")
    if status in (401, 403):
        raise AccessDeniedError(f"{place} is not open to everybody ({status}).", **facts)
    if status >= 300:
        raise ServiceError(
            f"{place}: its server answered {status}: {excerpt(response.content)}", **facts
        )
    if is_web_page(response):
        raise BadAnswerError(f"{place} is a page for people: {excerpt(response.content)}", **facts)
    return response.content
