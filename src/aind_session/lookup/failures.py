"""Services that failed during a lookup: answer without them and warn, or raise."""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from aind_session import settings
from aind_session.clock import at_most
from aind_session.errors import (
    AindSessionError,
    CredentialsError,
    PartialAnswerWarning,
    ServiceError,
    first_line,
)
from aind_session.threads import Outcome

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
            f"{' and '.join(errors)} could not be queried:",
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
