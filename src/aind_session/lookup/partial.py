"""Answers without one of the services: given where the others can answer, and told."""

from __future__ import annotations

import warnings
from typing import TypeVar

from aind_session.errors import (
    AindSessionError,
    CredentialsError,
    PartialAnswerWarning,
    ServiceError,
)
from aind_session.services.pool import Outcome

T = TypeVar("T")


class Gaps:
    """The services that did not answer during one lookup.

    Parameters
    ----------
    missing
        What may be missing from the answer for want of them, in words.
    """

    def __init__(self, missing: str) -> None:
        self.missing = missing
        self.errors: dict[str, AindSessionError] = {}

    def __bool__(self) -> bool:
        return bool(self.errors)

    def fill(self, service: str | None, outcome: Outcome[T], default: T) -> T:
        """Give the outcome's value; where a service did not answer, note it and give the default.

        Parameters
        ----------
        service
            Who was asked; None where more than one may have been: the error names who did not
            answer.
        outcome
            What came of it.
        default
            What stands for the answer.

        Raises
        ------
        Exception
            Whatever is no answer of a service: a fault of this package is not told as theirs.
        """
        error = outcome.error
        if error is None:
            return outcome.unwrap()
        if isinstance(error, ServiceError | CredentialsError):
            self.errors.setdefault(service or error.service, error)
            return default
        raise error

    def warn(self) -> None:
        """Tell each service that did not answer in one warning."""
        for service, error in self.errors.items():
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            warnings.warn(
                PartialAnswerWarning(service, self.missing, why), stacklevel=callers_depth()
            )

    def conclude(self, found: object) -> None:
        """End a search: warn, or raise where nothing was found and a service is down.

        Raises
        ------
        ServiceError
            What it knows may be all that there is. Without a token there is the warning only: the
            others are asked for good.
        """
        if not found:
            for error in self.errors.values():
                if isinstance(error, ServiceError):
                    raise error
        self.warn()

    def raise_first(self) -> None:
        """Raise what a service said: used where no other one knows the answer."""
        for error in self.errors.values():
            raise error


def callers_depth() -> int:
    """Count the frames up to the caller's own code: the warning names a line of theirs."""
    import sys

    depth = 2
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        "aind_session"
    ):
        frame, depth = frame.f_back, depth + 1
    return depth
