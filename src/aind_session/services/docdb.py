"""Requests to DocDB, the metadata database, in both of its schemas ("v1" and "v2").

Its gateway is public to readers: nothing here has credentials. Results are the records' own JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from requests import Response

from aind_session import settings
from aind_session.errors import (
    BadAnswerError,
    IncompleteAnswerError,
    MissingExtraError,
    ServiceConnectionError,
    ServiceError,
    ServiceTimeoutError,
)
from aind_session.services import decode, redact
from aind_session.services.exchange import ResponseError, facts_in, unreadable
from aind_session.services.http import Transport, bare_session, client_of

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
#: With a projection, a record has 1 kB; the gateway sends at most 10 MB.
PROJECTED_PAGE_SIZE = 2000
MAX_PAGES = 400
#: Characters of a URL that are known to pass the gateway.
URL_LIMIT = 6000
# The gateway, whose limit is 10 MB, has not shortened a response smaller than this, as long as
# records are projected to a few keys.
_MAX_BYTES_SURELY_WHOLE = 2**20


class DocDBError(ResponseError):
    """DocDB answered with an error."""


class _Gateway(Transport):
    """Sends requests to the gateway, and knows the schemas that it no longer has."""

    def __init__(self, host: str, **limits: Any) -> None:
        # The official client knows https only; it is turned to http on loopback. Credentials of a
        # signed request, which a user may send through that client, are sent nowhere else.
        origin, plain = f"https://{host.removeprefix('http://')}", host.startswith("http://")
        super().__init__(SERVICE, home=origin, plain=plain, json=True, **limits)
        self.base = origin
        self.retired: set[str] = set()

    def error_of(self, response: Response) -> DocDBError:
        """Return the error that a response stands for."""
        return DocDBError.of(response)


def _is_retired(error: DocDBError) -> bool:
    """Whether a well-formed request failed because its endpoint does not exist any more."""
    if redact.is_web_page(error.response):
        # A gateway or a login page in between.
        return False
    missing = error.status == 403 and b"Missing Authentication Token" in error.response.content
    return missing or error.status in (404, 410)


def _gateway(retries: int | None = None) -> _Gateway:
    return client_of(_Gateway, settings.current().docdb_host.value, retries=retries)


def retired_schemas() -> tuple[str, ...]:
    """Return the schemas ("v1", "v2") whose endpoint was found to be switched off."""
    if settings.current().docdb_host.problem:
        return ()
    return tuple(sorted(_gateway().retired))


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

    gateway = _gateway(retries)
    options.setdefault("host", gateway.base.removeprefix("https://"))
    options.setdefault("session", bare_session(gateway))
    return MetadataDbClient(version=version, **options)


def request(version: str, method: str, route: str, **options: Any) -> Response | None:
    """Send a request to a route of one schema; None if it is retired, and the other one is not."""
    gateway = _gateway()
    if version in gateway.retired:
        return None
    try:
        path = f"/{version}/{DATABASE}/{COLLECTION}/{route}"
        return gateway.request(method, path, **options)
    except DocDBError as error:
        if gateway.retired - {version} or not _is_retired(error):
            raise
        # Requests at the same time find out together.
        if version not in gateway.retired:
            gateway.retired.add(version)
            text = "DocDB's endpoint /%s/ is retired (%d): records have the other schema only"
            log.warning(text, version, error.status)
        return None


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
    read: Callable[[Record, bytes], Any],
    *,
    further: bool = False,
) -> tuple[list[Any], int]:
    """Return what is read in each record of a list, and how many records it has.

    Decoded records take several times the memory of their JSON: `read` can keep less of each.
    Each invalid one is left out and logged.
    """
    if response is None:
        return [], 0
    found: list[Any] = []
    problems: list[str] = []
    with decode.decoding(SERVICE):
        raws = None
        with contextlib.suppress(ValueError):
            raws = decode.split_list(response.content)
        if raws is None:
            raise unreadable(response, "a list of records")
        for raw in raws:
            try:
                record, strict = decode.decode_strict(raw)
            except decode.UNDECODABLE as error:
                problems.append(f"{redact.without_text(error)}: {redact.excerpt(raw)}")
                continue
            if isinstance(record, dict) and record:
                found.append(read(record, strict))
            else:
                problems.append(f"not an object: {redact.excerpt(raw)}")
    for problem in problems:
        log.warning("Left out of DocDB's answer, not a valid record: %s", problem)
    if problems and not found and not further:
        raise BadAnswerError(f"{SERVICE}'s answer holds no record: {problems[0]}", service=SERVICE)
    return found, len(raws)


def find_one(version: str, filter: Filter, sort: Mapping[str, int] | None = None) -> bytes | None:
    """Return one record, by exactly one request."""
    newest = sort or {CREATED[version]: -1}
    response = _get(version, filter, None, newest, limit=1, skip=0)
    found, _ = _records(response, lambda record, raw: raw)
    return found[0] if found else None


def find(
    version: str,
    filter: Filter,
    projection: Filter | None = None,
    sort: Mapping[str, int] | None = None,
    read: Callable[[Record, bytes], Any] = lambda record, raw: record,
) -> list[Any]:
    """Return what a function reads in all records that a filter matches, page by page."""

    def named(record: Record, raw: bytes) -> tuple[str, Any]:
        # Read at once: thousands of decoded records take several times their JSON.
        return json.dumps(record["_id"]) if "_id" in record else "", read(record, raw)

    found: dict[str, Any] = {}
    for part in parts_of(filter, sort):
        for name, value in _pages(version, part, projection, sort, named):
            # Without `_id` in the projection, records cannot be distinguished.
            found.setdefault(name or f"no ID {len(found)}", value)
    return list(found.values())


def _pages(
    version: str,
    filter: Filter,
    projection: Filter | None,
    sort: Mapping[str, int] | None,
    read: Callable[[Record, bytes], T],
) -> Iterator[T]:
    skip, before = 0, b""
    size = PAGE_SIZE if projection is None else PROJECTED_PAGE_SIZE
    for number in range(MAX_PAGES):
        try:
            response = _get(version, filter, projection, sort or {"_id": 1}, size, skip)
        except ServiceError as error:
            if number == 0:
                raise
            raise IncompleteAnswerError(
                f"Page {number + 1} of the records failed, after {number} without error: {error}",
                **facts_in(error),
            ) from error
        found, count = _records(response, read, further=number > 0)
        if response is None or not count:
            return
        if response.content == before:
            raise IncompleteAnswerError(
                f"{SERVICE} sent the same {count} records again for page {number + 1}",
                service=SERVICE,
            )
        yield from found
        # The gateway sends fewer records than the limit if they would be too large.
        small = projection is not None and len(response.content) < _MAX_BYTES_SURELY_WHOLE
        if small and count < size:
            return
        skip, before = skip + count, response.content
    raise IncompleteAnswerError(
        f"{SERVICE} has more than {MAX_PAGES} pages of records: narrow the filter.",
        service=SERVICE,
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
        return _records(request(version, "POST", "aggregate", json=list(pipeline)), read)[0]
    except (ServiceTimeoutError, ServiceConnectionError):
        raise
    except (DocDBError, BadAnswerError) as error:
        find_arguments = as_find(pipeline)
        if find_arguments is None:
            raise
        log.info("DocDB's /aggregate failed (%s): reading page by page", error)
        try:
            return find(version, *find_arguments, read)
        except ServiceError as second:
            raise second from error


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
    if projection and any(value not in (0, 1) for value in projection.values()):
        # A computed key cannot be requested by /find.
        return None
    return parts.get("$match", {}), projection, parts.get("$sort")


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
