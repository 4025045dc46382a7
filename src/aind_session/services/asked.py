"""The course of one question, and the errors of one that had no answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import requests

from aind_session.errors import ServiceConnectionError, ServiceTimeoutError
from aind_session.services.addresses import Origin, origin_of, place_of
from aind_session.services.clock import CLOCK
from aind_session.services.retrying import wait_before
from aind_session.services.scrubbing import scrub


class RequestTimeoutError(ServiceTimeoutError, requests.Timeout):
    """No answer in the configured time; also what `requests` would have raised."""


class RequestConnectionError(ServiceConnectionError, requests.ConnectionError):
    """The service could not be reached; also what `requests` would have raised."""


@dataclass
class Asked:
    """The course of one question: attempts, time, what may still be spent.

    Attributes
    ----------
    attempts : int
        How often it was put.
    request_id : str or None
        The service's name for the last request.
    secrets : tuple of str
        What must not be told of it.
    """

    service: str
    method: str
    url: str
    budget: float
    allowed: int
    secrets: tuple[str, ...] = field(default=(), repr=False)
    started: float = field(default_factory=lambda: CLOCK.monotonic())
    attempts: int = 0
    ended: float | None = None
    request_id: str | None = None

    @property
    def place(self) -> str:
        """Host and path that the question went to first."""
        return scrub(place_of(self.url))

    @property
    def origin(self) -> Origin:
        """Scheme, host and port that the question went to first."""
        return origin_of(self.url)

    @property
    def seconds(self) -> float:
        """Time spent, to the end of the question or to now."""
        return (CLOCK.monotonic() if self.ended is None else self.ended) - self.started

    @property
    def remaining(self) -> float:
        """Time that may still be spent."""
        return self.budget - (CLOCK.monotonic() - self.started)

    def next_wait(self, retry_after: str | None = None) -> float | None:
        """Give the time to wait before the next attempt; None when there is none."""
        if self.attempts >= self.allowed:
            return None
        wait = wait_before(self.attempts, retry_after)
        return wait if wait < self.remaining else None

    def facts(self, status: int | None = None) -> dict[str, Any]:
        """Give what every error tells of its question."""
        return {
            "service": self.service,
            "status": status,
            "attempts": self.attempts,
            "seconds": round(self.seconds, 3),
            "request_id": self.request_id,
        }

    def told(self) -> str:
        """Say how often and how long it was asked."""
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        request = f", request {self.request_id}" if self.request_id else ""
        return f"{self.method} {self.place} ({times}, {self.seconds:.1f} s{request})"


def asked_of(response: requests.Response) -> Asked:
    """Give the course of the question that an answer of the transport belongs to."""
    asked: Asked = vars(response)["asked"]
    return asked
