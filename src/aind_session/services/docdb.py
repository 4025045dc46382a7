"""Requests to DocDB, the metadata database, in both of its schemas ("v1" and "v2").

Its gateway is public to readers: nothing here has credentials. Results are the records' own JSON.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec
import requests
from requests import Response

from aind_session import context, settings
from aind_session.errors import (
    BadAnswerError,
    IncompleteAnswerError,
    MissingExtraError,
    ServiceConnectionError,
    ServiceError,
    ServiceTimeoutError,
)
from aind_session.services import decode, redact
from aind_session.services.exchange import exchange_of
from aind_session.services.http import Transport, bare_session

if TYPE_CHECKING:
    from aind_data_access_api.document_db import MetadataDbClient

log = logging.getLogger("aind_session.services")

Record = dict[str, Any]
T = TypeVar("T")
Filter = Mapping[str, Any]

SERVICE = "DocDB"
DATABASE, COLLECTION = "metadata_index", "data_assets"
#: Key of the time at which a record was written.
CREATED = {"v1": "created", "v2": "_created"}
PAGE_SIZE = 500
MAX_PAGES = 400
#: Characters of a URL that are known to pass the gateway.
URL_LIMIT = 6000
# The gateway, whose limit is 10 MB, has not shortened a response smaller than this, as long as
# records are projected to a few keys.
_SURELY_WHOLE = 2**20


class DocDBError(ServiceError, requests.HTTPError):
    """DocDB answered with an error.

    Attributes
    ----------
    response : requests.Response
        Status, body, few headers; nothing of the request but its URL.
    """

    def __init__(self, text: str, answer: dict[str, Any], **facts: Any) -> None:
        super().__init__(text, **facts)
        self.service = SERVICE
        self._answer = answer
        self.response: Response = redact.bare_response(**answer)
        self.request = self.response.request
        self.status = self.status_code = answer["status"]

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("attempts", "seconds", "request_id")
        facts = {name: getattr(self, name) for name in names}
        return functools.partial(type(self), **facts), (self.message, self._answer)


def error_of(response: Response) -> DocDBError:
    """Make an error of a response of the transport."""
    exchange = exchange_of(response)
    answer = redact.facts_of(response, exchange.secrets)
    message = redact.excerpt(answer["body"].strip(), limit=1000)
    said = f" Its message: {message}" if message else ""
    error = DocDBError(
        f"{SERVICE} answered {response.status_code} to {exchange.summary()}.{said}",
        answer,
        **exchange.facts(response.status_code),
    )
    error.__cause__ = requests.HTTPError(
        f"{response.status_code} {response.reason} for url: {error.response.url}",
        response=error.response,
    )
    return error


class _Gateway:
    """The session for the gateway's URL, and the schemas that it no longer has."""

    def __init__(self, origin: str, timeout: float, attempts: int, plain: bool) -> None:
        # Credentials of a signed request, which a user may send through the client, stay here.
        transport = Transport(
            SERVICE, home=origin, timeout=timeout, attempts=attempts, plain=plain, json=True
        )
        self.session = bare_session(transport)
        self.session.hooks["response"] = [_raise_error]
        self.retired: set[str] = set()

    def request(self, version: str, method: str, url: str, **options: Any) -> Response | None:
        """Send a request; None if this schema is retired, and the other one is not."""
        if version in self.retired:
            return None
        try:
            return self.session.request(method, url, **options)
        except DocDBError as error:
            if self.retired - {version} or not _says_retired(error):
                raise
            # Requests at the same time find out together.
            is_new = version not in self.retired
            self.retired.add(version)
            if is_new:
                log.warning(
                    "DocDB's endpoint /%s/ is retired (%d): records have the other schema only",
                    version,
                    error.status,
                )
            return None


def _says_retired(error: DocDBError) -> bool:
    """Whether a well-formed request failed because its endpoint does not exist any more."""
    if redact.is_web_page(error.response):
        # A gateway or a login page in between.
        return False
    missing = error.status == 403 and b"Missing Authentication Token" in error.response.content
    return missing or error.status in (404, 410)


def _origin() -> str:
    """Return the gateway's URL; https, which the transport turns to http on loopback."""
    host = settings.current().docdb_host.value
    if host.startswith("http://") and redact.is_loopback(host):
        host = host.removeprefix("http://")
    return host if "://" in host else f"https://{host}"


def _gateway(retries: int | None = None) -> _Gateway:
    current = settings.current()
    attempts = current.attempts.value if retries is None else 1 + max(0, retries)
    plain = current.docdb_host.value.startswith("http://")
    key = (_origin(), current.timeout.value, attempts, plain)
    return context.current().client((SERVICE, *key), lambda: _Gateway(*key))


def retired_schemas() -> tuple[str, ...]:
    """Return the schemas ("v1", "v2") whose endpoint was found to be switched off."""
    if settings.current().docdb_host.problem:
        return ()
    return tuple(sorted(_gateway().retired))


def _raise_error(response: Response, *_: Any, **__: Any) -> None:
    if response.status_code >= 400:
        raise error_of(response)
    if exchange_of(response).is_garbled:
        raise _no_records(response)


def _no_records(response: Response) -> BadAnswerError:
    exchange, status = exchange_of(response), response.status_code
    shown = redact.excerpt(response.content, exchange.secrets) or "(nothing)"
    text = f"{SERVICE} answered {status} with no list of records to {exchange.summary()}: {shown}"
    return BadAnswerError(text, **exchange.facts(status))


def get_client(version: str = "v1", retries: int | None = None, **options: Any) -> MetadataDbClient:
    """Return the client of one schema of the database."""
    try:
        from aind_data_access_api.document_db import MetadataDbClient
    except ImportError as error:
        raise MissingExtraError(
            "The DocDB client needs aind-data-access-api, which cannot be imported: "
            "pip install aind-data-access-api (not yet possible on Python 3.14). "
            "Sessions, records and searches work without it."
        ) from error

    options.setdefault("host", _origin().removeprefix("https://"))
    options.setdefault("session", _gateway(retries).session)
    return MetadataDbClient(version=version, **options)


def request(version: str, method: str, route: str, **options: Any) -> Response | None:
    """Send a request to a route of one schema; None if only the other one still exists."""
    url = f"{_origin()}/{version}/{DATABASE}/{COLLECTION}/{route}"
    return _gateway().request(version, method, url, **options)


def _get(
    version: str,
    filter: Filter,
    projection: Filter | None,
    sort: Mapping[str, int] | None,
    limit: int,
    skip: int,
) -> Response | None:
    parameters = {"limit": str(limit), "skip": str(skip), "filter": json.dumps(filter)}
    if projection is not None:
        parameters["projection"] = json.dumps(projection)
    if sort is not None:
        parameters["sort"] = json.dumps(sort)
    return request(version, "GET", "find", params=parameters)


def _records(
    response: Response | None,
    read: Callable[[Record, bytes], Any] = decode.with_json,
    *,
    further: bool = False,
) -> decode.Decoded:
    """Decode the records of a list; each invalid one is left out and logged."""
    if response is None:
        return decode.Decoded([], [])
    with decode.decoding(SERVICE):
        decoded = None
        with contextlib.suppress(ValueError):
            decoded = decode.decode_records(response.content, read)
        if decoded is None:
            raise _no_records(response)
    for problem in decoded.problems:
        log.warning("Left out of DocDB's answer, not a valid record: %s", problem)
    if decoded.problems and not decoded.records and not further:
        raise BadAnswerError(
            f"{SERVICE}'s answer holds no record: {decoded.problems[0]}", service=SERVICE
        )
    return decoded


def find_one(version: str, filter: Filter, sort: Mapping[str, int] | None = None) -> bytes | None:
    """Return one record, by exactly one request."""
    newest = sort or {CREATED[version]: -1}
    found = _records(_get(version, filter, None, newest, limit=1, skip=0)).records
    return found[0][1] if found else None


def find(
    version: str,
    filter: Filter,
    projection: Filter | None = None,
    sort: Mapping[str, int] | None = None,
) -> list[Record]:
    """Return all records that a filter matches, page by page."""
    found: dict[str, Record] = {}
    for part in parts_of(filter, sort):
        for record in _pages(version, part, projection, sort):
            # Without `_id` in the projection, records cannot be distinguished.
            name = json.dumps(record["_id"]) if "_id" in record else f"no ID {len(found)}"
            found.setdefault(name, record)
    return list(found.values())


def _pages(
    version: str, filter: Filter, projection: Filter | None, sort: Mapping[str, int] | None
) -> Iterator[Record]:
    skip, before = 0, b""
    for number in range(MAX_PAGES):
        try:
            response = _get(version, filter, projection, sort or {"_id": 1}, PAGE_SIZE, skip)
        except ServiceError as error:
            if number == 0:
                raise
            raise _missing_page(error, number + 1) from error
        found, left_out = _records(response, further=number > 0)
        count = len(found) + len(left_out)
        if response is None or not count:
            return
        if response.content == before:
            raise IncompleteAnswerError(
                f"{SERVICE} sent the same {count} records again for page {number + 1}",
                service=SERVICE,
            )
        yield from (record for record, _ in found)
        # The gateway sends fewer records than the limit if they would be too large.
        small = projection is not None and len(response.content) < _SURELY_WHOLE
        if small and count < PAGE_SIZE:
            return
        skip, before = skip + count, response.content
    raise IncompleteAnswerError(
        f"{SERVICE} has more than {MAX_PAGES} pages of records: narrow the filter.",
        service=SERVICE,
    )


def _missing_page(error: ServiceError, number: int) -> IncompleteAnswerError:
    facts = {name: getattr(error, name) for name in ("status", "attempts", "seconds", "request_id")}
    return IncompleteAnswerError(
        f"Page {number} of the records failed, after {number - 1} without error: {error}",
        service=SERVICE,
        **facts,
    )


def aggregate(version: str, pipeline: Sequence[Filter]) -> list[Record]:
    """Return what a pipeline makes of the records; as `read_aggregate`."""
    return read_aggregate(version, pipeline, lambda record, raw: record)


def read_aggregate(
    version: str, pipeline: Sequence[Filter], read: Callable[[Record, bytes], T]
) -> list[T]:
    """Return what a function reads in each record that a pipeline makes, and in its JSON.

    One request; if it fails, though the service answers, and the pipeline only filters, projects
    and sorts, the records are read page by page.
    """
    try:
        response = request(version, "POST", "aggregate", json=list(pipeline))
        found: list[T] = _records(response, read).records
        return found
    except (ServiceTimeoutError, ServiceConnectionError):
        raise
    except (DocDBError, BadAnswerError) as error:
        find_arguments = as_find(pipeline)
        if find_arguments is None:
            raise
        log.info("DocDB's /aggregate failed (%s): reading page by page", error)
        try:
            records = find(version, *find_arguments)
        except ServiceError as second:
            raise second from error
        return [read(record, msgspec.json.encode(record)) for record in records]


def as_find(
    pipeline: Sequence[Filter],
) -> tuple[Filter, Filter | None, Mapping[str, int] | None] | None:
    """Return a pipeline as filter, projection and sort; None if that is not possible."""
    stages = [(name, stage[name]) for stage in pipeline for name in stage]
    names = [name for name, _ in stages]
    if names != [name for name in ("$match", "$sort", "$project") if name in names]:
        return None
    parts = dict(stages)
    projection = parts.get("$project")
    if projection is not None and not _is_plain(projection):
        return None
    return parts.get("$match", {}), projection, parts.get("$sort")


def _is_plain(projection: Filter) -> bool:
    """Whether a projection names keys only, and computes none."""
    return all(isinstance(value, int) and value in (0, 1) for value in projection.values())


def chunks_for_in(values: Sequence[str], limit: int = URL_LIMIT - 1500) -> Iterator[list[str]]:
    """Split values so that each part, in an `$in` of a URL, stays below the gateway's limit.

    Examples
    --------
    >>> [len(part) for part in chunks_for_in(["676909"] * 1000)]
    [281, 281, 281, 157]
    """
    part: list[str] = []
    size = 0
    for value in values:
        length = len(quote(json.dumps(value), safe="")) + len("%2C+")
        if part and size + length > limit:
            yield part
            part, size = [], 0
        part.append(value)
        size += length
    if part:
        yield part


def parts_of(filter: Filter, sort: Mapping[str, int] | None) -> Iterator[Filter]:
    """Split a filter whose `$in` is too long for a URL."""
    for key, condition in filter.items():
        values = condition.get("$in") if isinstance(condition, dict) else None
        if isinstance(values, list) and len(condition) == 1 and sort is None:
            chunks = list(chunks_for_in(values)) or [[]]
            if len(chunks) > 1:
                yield from ({**filter, key: {"$in": chunk}} for chunk in chunks)
                return
    yield filter
