"""Hints for "not found": what exists instead, what a sandbox does not hold, what to do next."""

from __future__ import annotations

import json
import os
import warnings
from functools import lru_cache
from typing import Any

from aind_session.errors import SandboxWarning
from aind_session.identifiers import find_session_id
from aind_session.lookup.failures import callers_depth
from aind_session.settings import CATALOGUE_HEADER, SANDBOX_ACTIVE, SANDBOX_CATALOGUE
from aind_session.trace import note


def not_recorded(what: str) -> str | None:
    """Explain that a sandbox may not contain a subject or session; None if it does not matter."""
    if not os.environ.get(SANDBOX_ACTIVE):
        return None
    recorded = _recorded()
    if recorded is None:
        return (
            "This is a sandbox, which answers from its catalogue only. Outside of it, "
            f"`aind-session snapshot {_argument(what)} -o FOLDER` records what the services return."
        )
    if _includes(recorded, what):
        return None
    folder = os.environ[SANDBOX_CATALOGUE]
    return (
        f"This is a sandbox of the snapshot {folder}, for which {what} was not recorded. "
        f"Outside of it, `aind-session snapshot {_argument(what)} -o {folder}` adds it."
    )


def note_not_recorded(what: str, empty: bool = True) -> None:
    """Note that a sandbox's snapshot holds a subject or session in part only, or not at all.

    `empty`: nothing was found. If something was found of a subject, it may be one of its sessions.
    """
    text = not_recorded(what)
    recorded = _recorded()
    if text is None or not (empty or recorded):
        return
    if not empty:
        text = text.replace("was not recorded.", "was recorded in part only.")
    note("%s", text)
    if recorded is not None:
        warnings.warn(SandboxWarning(text), stacklevel=callers_depth())


def note_snapshot_searched(project: str | None) -> None:
    """Warn that a snapshot was searched, not the services, unless it holds the whole project."""
    recorded = _recorded()
    if recorded is None or (project is not None and _includes(recorded, project)):
        return
    folder = os.environ[SANDBOX_CATALOGUE]
    text = (
        f"This is a sandbox of the snapshot {folder}: only recorded sessions are searched. "
        f"Outside of it, `aind-session snapshot --project NAME -o {folder}` adds more."
    )
    note("%s", text)
    warnings.warn(SandboxWarning(text), stacklevel=callers_depth())


def _recorded() -> dict[str, Any] | None:
    """Return the description of the snapshot that is served; None if there is none."""
    folder = os.environ.get(SANDBOX_CATALOGUE, "")
    if not (folder and os.environ.get(SANDBOX_ACTIVE)):
        # A catalogue made by a program has no folder; the working directory is not meant.
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
        with open(path, encoding="utf-8-sig") as file:
            recorded = json.load(file).get("recorded")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return recorded if isinstance(recorded, dict) else None


def _includes(recorded: dict[str, Any], what: str) -> bool:
    if any(what in (recorded.get(key) or ()) for key in ("subjects", "sessions", "projects")):
        return True
    session = find_session_id(what)
    return session is not None and session.subject_id in (recorded.get("subjects") or ())


def _argument(what: str) -> str:
    session = find_session_id(what)
    # The subject of an asset ID or a location is not known here.
    return session.id if session is not None else what if what.isalnum() else "SUBJECT"
