"""Errors that Code Ocean answers with: ours, the SDK's and those of `requests` at once.

Code that catches `codeocean.error.Error` or `requests.HTTPError`, and looks at `status_code` or
`response.status_code`, works with them. They are made of facts: no request header, no token.
"""

from __future__ import annotations

import contextlib
import functools
import json
from typing import Any

from requests import HTTPError, Response

from aind_session.errors import (
    AccessDeniedError,
    CredentialsError,
    IncompleteAnswerError,
    ServiceError,
)
from aind_session.services.asked import Asked
from aind_session.services.scrubbing import bare_response, excerpt, facts_of
from aind_session.services.sdk import Error

SERVICE = "Code Ocean"
LONGEST_MESSAGE = 1000


class CodeOceanError(ServiceError, Error, HTTPError):  # type: ignore[misc]
    """Code Ocean answered with an error.

    Parameters
    ----------
    text
        What was asked, what came, what to do.
    answer
        Facts of the answer: `status`, `body`, `url`, `method`, `headers`, `reason`.

    Attributes
    ----------
    response : requests.Response
        Status, body, few headers; nothing of the request but its place.
    message : str
        What the service said.
    data : object
        The answer's JSON; None if it was none.
    http_err : requests.HTTPError
        What `requests` would have raised.
    """

    response: Response
    status_code: int
    data: Any
    http_err: HTTPError

    def __init__(self, text: str, answer: dict[str, Any], **facts: Any) -> None:
        # Not through `super()`: the SDK's own constructor takes a `requests` error.
        Exception.__init__(self, text)
        self.__dict__.update(facts)
        self.service = SERVICE
        self._text, self._answer = text, answer
        self.response = bare_response(**answer)
        self.request = self.response.request
        self.status = self.status_code = answer["status"]
        self.http_err = HTTPError(
            f"{self.status_code} {self.response.reason} for url: {self.response.url}",
            response=self.response,
        )
        self.data, self.message = None, "An error occurred."
        try:
            self.data = json.loads(answer["body"])
        except ValueError:
            self.message = answer["body"].decode("utf-8", "replace")
        if isinstance(self.data, dict):
            self.message = str(self.data.get("message", self.message))

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), **self._facts()), (self._text, self._answer)

    def _facts(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("attempts", "seconds", "request_id")}

    def retold(self, cls: type[CodeOceanError], text: str) -> CodeOceanError:
        """Give the same answer as an error of another class, with more said of it."""
        return cls(f"{text}: {self._text}", self._answer, **self._facts())


class CodeOceanNotFoundError(CodeOceanError, ValueError):
    """No asset, computation or file of this ID or name."""


class ClosedAssetError(CodeOceanError, AccessDeniedError):
    """It is there, and the token is good, but this is not open to it."""


class RefusedTokenError(CredentialsError, CodeOceanError, ValueError):
    """The token itself is not accepted: expired, revoked, mistyped, or without the scope."""


class IncompleteSearchError(CodeOceanError, IncompleteAnswerError):
    """A later page of a search was answered with an error: what came before is not the answer."""


def error_of(cls: type[CodeOceanError], response: Response, advice: str = "") -> CodeOceanError:
    """Make an error of an answer.

    Parameters
    ----------
    cls
        Which error it is.
    response
        As it came from the transport.
    advice
        What it means, or what to do.
    """
    asked: Asked = getattr(response, "asked", None) or Asked(
        SERVICE, response.request.method or "GET", str(response.url), 0.0, 1
    )
    answer = facts_of(response, asked.secrets)
    said = f" It said: {_said(answer['body'])}" if answer["body"].strip() else ""
    advice = f" {advice}" if advice else ""
    text = f"{SERVICE} answered {response.status_code} to {asked.told()}.{advice}{said}"
    error = cls(text, answer, **asked.facts(response.status_code))
    error.__cause__ = error.http_err
    return error


def _said(body: bytes) -> str:
    """Give the service's own message, or the start of what came in its place."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["message"])[:LONGEST_MESSAGE]
    return excerpt(body)
