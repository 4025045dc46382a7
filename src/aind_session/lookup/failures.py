"""What a lookup could not find: services that failed, and what a sandbox does not contain."""

from __future__ import annotations

import json
import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

from aind_session import settings
from aind_session.clock import at_most
from aind_session.errors import (
    AindSessionError,
    CredentialsError,
    PartialAnswerWarning,
    SandboxWarning,
    ServiceError,
    first_line,
    in_words,
)
from aind_session.identifiers import find_session_id
from aind_session.settings import CATALOGUE_HEADER, SANDBOX_ACTIVE, SANDBOX_CATALOGUE
from aind_session.threads import Outcome
from aind_session.trace import note

T = TypeVar("T")


class Failures:
    """The services that failed during one lookup.

    Parameters
    ----------
    missing
        What may be missing from the answer without them, for the warning.
    """

    def __init__(self, missing: str) -> None:
        self.missing = missing
        self.errors: dict[str, AindSessionError] = {}

    def __bool__(self) -> bool:
        return bool(self.errors)

    def add(self, error: AindSessionError, service: str | None = None) -> None:
        """Note an error of a service, unless one of the same service is noted."""
        name = service or str(getattr(error, "service", ""))
        self.errors.setdefault(name, error)

    def update(self, other: Failures) -> None:
        """Note the errors of another lookup."""
        for service, error in other.errors.items():
            self.add(error, service)

    def value_or(self, default: T, outcome: Outcome[T], service: str | None = None) -> T:
        """Return the outcome's value; if a service failed, note it and return the default.

        Without `service` the error's own counts. Any other exception is raised: a fault of this
        package is never reported as a service's.
        """
        error = outcome.error
        if error is None:
            return outcome.unwrap()
        if isinstance(error, ServiceError | CredentialsError):
            self.add(error, service)
            return default
        raise error

    def limit(self) -> AbstractContextManager[None]:
        """Limit the next round of requests if a service has used up the whole limit."""
        waited = any(isinstance(error, TimeoutError) for error in self.errors.values())
        return limit_of_rest() if waited else nullcontext()

    def warn(self) -> None:
        """Report each service that failed in one warning."""
        for service, error in self.errors.items():
            why = first_line(error)
            warnings.warn(
                PartialAnswerWarning(service, self.missing, why), stacklevel=callers_depth()
            )

    def warn_or_raise(self, found: object) -> None:
        """End a search: warn, or raise if nothing was found and a service failed.

        Without a token there is only the warning: the other services did answer.
        """
        if not found and any(isinstance(e, ServiceError) for e in self.errors.values()):
            self.raise_error()
        self.warn()

    def raise_error(self) -> None:
        """Raise what failed, if anything: one error with the reason of each service."""
        errors = sorted(self.errors.values(), key=lambda e: not isinstance(e, ServiceError))
        if len(errors) > 1:
            raise _combined(self.errors, errors[0])
        if errors:
            raise errors[0]


def limit_of_rest() -> AbstractContextManager[None]:
    """Limit what is requested after a service has used up the whole limit.

    An eighth of the limit is enough for a service that works. If that one hangs as well, the
    lookup still ends within a quarter more than the limit, whatever else it takes.
    """
    return at_most(settings.current().timeout.value / 8)


def _combined(errors: dict[str, AindSessionError], main: AindSessionError) -> AindSessionError:
    """Return one error of the main error's type whose message has all reasons."""
    lines = [f"  {service}: {first_line(error)}" for service, error in errors.items()]
    message = "\n".join(
        [
            f"{in_words(list(errors))} could not be queried:",
            *lines,
            "To try the package without them: `with aind_session.sandbox(): ...`.",
        ]
    )
    return main.with_message(message)


def callers_depth() -> int:
    """Return the number of frames up to the caller's code: a warning names a line of theirs."""
    depth = 2
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        "aind_session"
    ):
        frame, depth = frame.f_back, depth + 1
    return depth


# -- what a sandbox does not contain ---------------------------------------------------------------


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
