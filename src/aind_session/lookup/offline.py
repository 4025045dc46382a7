"""Offline: what a sandbox cannot answer, said in words.

A stand-in answers of what is not in its catalogue as the live service does: it knows nothing. Of a
snapshot it is known what was recorded, so that "not there" and "not recorded" can be told apart.
"""

from __future__ import annotations

import json
import os
import warnings
from functools import lru_cache
from typing import Any

from aind_session.errors import SandboxWarning
from aind_session.identifiers import find_session_id
from aind_session.lookup import trail
from aind_session.lookup.partial import callers_depth
from aind_session.settings import CATALOGUE_HEADER, SANDBOX_ACTIVE, SANDBOX_CATALOGUE


def missing(what: str) -> str | None:
    """Say that a sandbox may not know a subject or a session, and what to do.

    Parameters
    ----------
    what
        Its ID or name.

    Returns
    -------
    str or None
        None where live services answer, or where it was recorded: then there is none.
    """
    if not os.environ.get(SANDBOX_ACTIVE):
        return None
    recorded = _recorded()
    if recorded is None:
        return (
            "This is a sandbox: only what its catalogue holds is known. Without it, `aind-session "
            f"snapshot {_option(what)} -o FOLDER` records what the services know."
        )
    if _is_recorded(what, recorded):
        return None
    folder = os.environ[SANDBOX_CATALOGUE]
    return (
        f"This is a sandbox of the snapshot {folder}, for which {what} was not recorded. "
        f"Without the sandbox, `aind-session snapshot {_option(what)} -o {folder}` adds it."
    )


def tell(what: str, empty: bool = True) -> None:
    """Tell that something was not recorded, or in part only; of a snapshot with a warning.

    Parameters
    ----------
    what
        The subject or session that was asked about.
    empty
        Whether nothing was found. What was found of a subject may be one of its sessions.
    """
    text = missing(what)
    recorded = _recorded()
    if text is None or not (empty or recorded):
        return
    if not empty:
        text = text.replace("was not recorded.", "was recorded in part only.")
    trail.tell("%s", text)
    if recorded is not None:
        warnings.warn(SandboxWarning(text), stacklevel=callers_depth())


def tell_search() -> None:
    """Tell, with a warning, that a snapshot is searched, and not all that the services have."""
    if _recorded() is not None:
        folder = os.environ[SANDBOX_CATALOGUE]
        text = (
            f"This is a sandbox of the snapshot {folder}: only what was recorded is searched. "
            f"Without the sandbox, `aind-session snapshot --project NAME -o {folder}` adds more."
        )
        trail.tell("%s", text)
        warnings.warn(SandboxWarning(text), stacklevel=callers_depth())


def is_recorded(what: str) -> bool:
    """Whether a sandbox serves a snapshot of a subject, a session or a project."""
    recorded = _recorded()
    return recorded is not None and _is_recorded(what, recorded)


def _recorded() -> dict[str, Any] | None:
    """Give what the snapshot that is served says of itself; None where none is."""
    folder = os.environ.get(SANDBOX_CATALOGUE, "")
    if not (folder and os.environ.get(SANDBOX_ACTIVE)):
        # A catalogue that a program made has no folder: the working directory is not meant.
        return None
    path = os.path.join(folder, CATALOGUE_HEADER)
    try:
        stamp = os.stat(path).st_mtime_ns
    except OSError:
        return None
    return _read(path, stamp)


@lru_cache(maxsize=8)
def _read(path: str, stamp: int) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            recorded = json.load(file).get("recorded")
    except (OSError, ValueError, AttributeError):
        return None
    return recorded if isinstance(recorded, dict) else None


def _is_recorded(what: str, recorded: dict[str, Any]) -> bool:
    if any(what in (recorded.get(key) or ()) for key in ("subjects", "sessions", "projects")):
        return True
    session = find_session_id(what)
    return session is not None and session.subject_id in (recorded.get("subjects") or ())


def _option(what: str) -> str:
    session = find_session_id(what)
    # Of an asset's ID or a location: whose it is, only a person knows.
    return session.id if session is not None else what if what.isalnum() else "SUBJECT"
