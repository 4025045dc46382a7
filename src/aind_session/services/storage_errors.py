"""Errors that S3 answers with: ours, and `OSError`s by their meaning."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import botocore.exceptions
import botocore.parsers

from aind_session.errors import AccessDeniedError, BadAnswerError, ServiceError
from aind_session.services.exchange import Exchange
from aind_session.services.redact import excerpt, scrub

SERVICE = "S3"
T = TypeVar("T")

# Told as 400, though they mean that the credentials are not accepted.
_REFUSALS = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired", "RequestExpired"})
# What S3 itself says; a 404 alone may be a gateway's that knows nothing of buckets.
_ABSENCES = frozenset({"NoSuchKey", "NoSuchBucket"})


#: How the last question of this thread went: botocore's own errors do not tell.
last_asked = threading.local()


class StorageError(ServiceError, OSError):
    """S3 answered with an error."""


class StorageAccessError(StorageError, AccessDeniedError):
    """Bucket or object are closed to these credentials, and to nobody's."""


class StorageNotFoundError(StorageError, FileNotFoundError):
    """There is no such bucket or object."""


def translated(do: Callable[[], T], place: str) -> T:
    """Do something with botocore; raise what it raises as an error of ours.

    Parameters
    ----------
    do
        What is done.
    place
        Bucket and key, for the message.
    """
    try:
        return do()
    except botocore.exceptions.ClientError as error:
        raise _of_answer(error, place) from error
    except botocore.parsers.ResponseParserError as error:
        raise BadAnswerError(
            f"S3's answer for {place} is none: {excerpt(str(error).encode())}", service=SERVICE
        ) from error
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        if isinstance(error, ServiceError):
            raise
        raise StorageError(f"S3 was not asked for {place}: {scrub(str(error))}") from error


def _of_answer(error: botocore.exceptions.ClientError, place: str) -> StorageError:
    details = error.response.get("Error", {})
    metadata = error.response.get("ResponseMetadata", {})
    code, status = str(details.get("Code", "")), int(metadata.get("HTTPStatusCode", 0))
    said = scrub(str(details.get("Message", "")))[:200]
    cls, meaning = StorageError, "failed"
    if status in (401, 403) or code in _REFUSALS:
        cls, meaning = StorageAccessError, "no access"
    elif code in _ABSENCES:
        cls, meaning = StorageNotFoundError, "not there"
    asked: Exchange | None = getattr(last_asked, "asked", None)
    facts = asked.facts(status) if asked else {"service": SERVICE, "status": status}
    facts["request_id"] = metadata.get("RequestId") or facts.get("request_id")
    told = f" to {asked.summary()}" if asked else ""
    return cls(f"{place}: {meaning} (S3 answered {status} {code}{told}: {said})", **facts)
