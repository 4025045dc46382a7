"""Questions without an answer: which may be put again, and what is told of the others."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests import PreparedRequest

from aind_session.errors import BadAnswerError, ServiceError
from aind_session.services.asked import Asked, RequestConnectionError, RequestTimeoutError
from aind_session.services.scrubbing import bare_request


def failure(error: BaseException, asked: Asked) -> ServiceError:
    """Say as an error of ours why there was no answer."""
    if isinstance(error, urllib3.exceptions.DecodeError):
        return BadAnswerError(f"{asked.service} sent garbage: {asked.told()}", **asked.facts())
    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    if isinstance(error, timeouts):
        return RequestTimeoutError(
            f"{asked.service} did not answer in {asked.budget:g} s: {asked.told()}",
            **asked.facts(),
        )
    why = type(_first_cause(error)).__name__
    return RequestConnectionError(
        f"{asked.service} could not be reached ({why}): {asked.told()}", **asked.facts()
    )


def _first_cause(error: BaseException) -> BaseException:
    """Give what is wrapped by the errors of `requests` and urllib3: a name, a certificate."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    return _first_cause(inner) if isinstance(inner, BaseException) else error


def may_pass(error: BaseException) -> bool:
    """Tell whether a failure may be gone the next time: no bad certificate, no bad URL."""
    permanent = (
        requests.exceptions.SSLError,
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidHeader,
        urllib3.exceptions.SSLError,
        urllib3.exceptions.DecodeError,
        urllib3.exceptions.LocationValueError,
    )
    return not isinstance(error, permanent)


def make_bare(error: BaseException, request: PreparedRequest) -> None:
    """Take the request, with its credentials, out of an error and of what led to it."""
    query = urlsplit(str(request.url)).query
    links: list[Any] = [error]
    for link in links:
        if isinstance(link, requests.RequestException):
            link.request, link.response = bare_request(request), None
        if query:
            # The query of a presigned link is as good as a password while it lasts.
            for name, value in vars(link).items():
                setattr(link, name, _without(value, f"?{query}"))
            link.args = tuple(_without(value, f"?{query}") for value in link.args)
        behind = (link.__cause__, link.__context__, getattr(link, "reason", None), *link.args)
        links += [one for one in behind if isinstance(one, BaseException) and one not in links]


def _without(value: Any, text: str) -> Any:
    return value.replace(text, "") if isinstance(value, str) else value
