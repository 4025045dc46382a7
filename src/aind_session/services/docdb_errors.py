"""The error that DocDB answers with: ours, and that of `requests`."""

from __future__ import annotations

import functools
from typing import Any

from requests import HTTPError, Response

from aind_session.errors import ServiceError
from aind_session.services.asked import asked_of
from aind_session.services.scrubbing import bare_response, excerpt, facts_of

SERVICE = "DocDB"


class DocDBError(ServiceError, HTTPError):
    """DocDB answered with an error.

    Attributes
    ----------
    response : requests.Response
        Status, body, few headers; nothing of the request but its place.
    """

    def __init__(self, text: str, answer: dict[str, Any], **facts: Any) -> None:
        super().__init__(text, **facts)
        self.service = SERVICE
        self._answer = answer
        self.response: Response = bare_response(**answer)
        self.request = self.response.request
        self.status = self.status_code = answer["status"]

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("attempts", "seconds", "request_id")
        facts = {name: getattr(self, name) for name in names}
        return functools.partial(type(self), **facts), (self.message, self._answer)


def error_of(response: Response) -> DocDBError:
    """Make an error of an answer, as it came from the transport."""
    asked = asked_of(response)
    answer = facts_of(response, asked.secrets)
    said = f" It said: {excerpt(answer['body'], limit=1000)}" if answer["body"].strip() else ""
    error = DocDBError(
        f"{SERVICE} answered {response.status_code} to {asked.told()}.{said}",
        answer,
        **asked.facts(response.status_code),
    )
    error.__cause__ = HTTPError(
        f"{response.status_code} {response.reason} for url: {error.response.url}",
        response=error.response,
    )
    return error
