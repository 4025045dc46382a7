"""What is asked of DocDB, the metadata database, in both of its generations ("v1" and "v2").

Its gateway is public to readers: nothing here has credentials. Answers are the records' own JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import requests

from aind_session import settings
from aind_session.errors import (
    BadAnswerError,
    IncompleteAnswerError,
    ServiceConnectionError,
    ServiceError,
    ServiceTimeoutError,
)
from aind_session.services.addresses import is_loopback
from aind_session.services.asked import asked_of
from aind_session.services.docdb_errors import SERVICE, DocDBError, error_of
from aind_session.services.docdb_filters import Filter, as_find, chunks_for_in, parts_of
from aind_session.services.keeping import Kept
from aind_session.services.scrubbing import excerpt, without_text
from aind_session.services.transport import Transport, bare_session

if TYPE_CHECKING:
    from aind_data_access_api.document_db import MetadataDbClient

__all__ = [
    "DocDBError",
    "aggregate",
    "chunks_for_in",
    "find",
    "find_one",
    "get_client",
]

log = logging.getLogger("aind_session.services")

Record = dict[str, Any]

DATABASE, COLLECTION = "metadata_index", "data_assets"
#: Key that tells when a record was written.
CREATED = {"v1": "created", "v2": "_created"}
PAGE_SIZE = 500
MAX_PAGES = 400
# Of an answer smaller than this the gateway, whose limit is 10 MB, has cut nothing off, as long
# as records are projected to a few keys.
_SURELY_WHOLE = 2**20

_records = msgspec.json.Decoder(list[msgspec.Raw])


def _origin() -> str:
    """Give the gateway's URL; https, which the transport turns to http on loopback."""
    host = settings.current().docdb_host.value
    if host.startswith("http://") and is_loopback(host):
        host = host.removeprefix("http://")
    return host if "://" in host else f"https://{host}"


_sessions: Kept[requests.Session] = Kept(close=lambda session: session.close())


def _session(retries: int | None = None) -> requests.Session:
    current = settings.current()
    attempts = current.attempts.value if retries is None else 1 + max(0, retries)
    key = (_origin(), current.timeout.value, attempts)

    def make() -> requests.Session:
        # Credentials of a signed request, which a user may send through the client, stay here.
        transport = Transport(
            SERVICE,
            home=key[0],
            timeout=key[1],
            attempts=key[2],
            plain=current.docdb_host.value.startswith("http://"),
        )
        session = bare_session(transport)
        session.hooks["response"] = [_raise_error]
        return session

    return _sessions.get(key, make)


def _raise_error(response: requests.Response, *_: Any, **__: Any) -> None:
    if response.status_code >= 400:
        raise error_of(response)


def get_client(version: str = "v1", retries: int | None = None, **options: Any) -> MetadataDbClient:
    """Give the client of one generation of the database.

    Parameters
    ----------
    version
        "v1" or "v2".
    retries
        How often a failed question is put again; by default as the settings say.
    **options
        Of the client's own: `database`, `collection`, `host`, ...

    Returns
    -------
    aind_data_access_api.document_db.MetadataDbClient
        The true client; what it asks is limited in time, repeated where that is safe, and its
        errors are `DocDBError`.
    """
    from aind_data_access_api.document_db import MetadataDbClient

    options.setdefault("host", _origin().removeprefix("https://"))
    options.setdefault("session", _session(retries))
    return MetadataDbClient(version=version, **options)


def _url(version: str, route: str) -> str:
    return f"{_origin()}/{version}/{DATABASE}/{COLLECTION}/{route}"


def _get(
    version: str,
    filter: Filter,
    projection: Filter | None,
    sort: Mapping[str, int] | None,
    limit: int,
    skip: int,
) -> requests.Response:
    parameters = {"limit": str(limit), "skip": str(skip), "filter": json.dumps(filter)}
    if projection is not None:
        parameters["projection"] = json.dumps(projection)
    if sort is not None:
        parameters["sort"] = json.dumps(sort)
    return _session().get(_url(version, "find"), params=parameters)


def _split(response: requests.Response) -> list[bytes]:
    """Take a list of records apart."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        # What is left undecoded for now is not looked at by the decoder.
        response.content.decode()
        return [bytes(raw) for raw in _records.decode(response.content)]
    try:
        # Python's own JSON, which the gateway speaks, has words for what is no number.
        records = json.loads(response.content)
        if isinstance(records, list):
            return [msgspec.json.encode(record) for record in records]
        problem = None
    except ValueError as error:
        problem = without_text(error)
    asked = asked_of(response)
    raise BadAnswerError(
        f"{SERVICE} answered {response.status_code} with no list of records to "
        f"{asked.told()}: {excerpt(response.content) or '(nothing)'}",
        **asked.facts(response.status_code),
    ) from problem


def _decoded(raws: list[bytes], *, further: bool = False) -> list[Record]:
    """Decode records; one that is none is left out and told.

    Raises
    ------
    BadAnswerError
        None of them is one, and no page came before.
    """
    records = []
    for raw in raws:
        record = msgspec.json.decode(raw)
        if isinstance(record, dict) and record:
            records.append(record)
        else:
            log.warning("Left out of DocDB's answer, no record: %s", excerpt(raw))
    if raws and not records and not further:
        raise BadAnswerError(
            f"{SERVICE}'s answer holds no record: {excerpt(raws[0])}", service=SERVICE
        )
    return records


def find_one(version: str, filter: Filter, sort: Mapping[str, int] | None = None) -> bytes | None:
    """Give one record, by exactly one request.

    Parameters
    ----------
    version
        "v1" or "v2".
    filter
        A Mongo filter.
    sort
        Which comes first; by default the newest.

    Returns
    -------
    bytes or None
        The record's JSON; None if there is none.
    """
    raws = _split(_get(version, filter, None, sort or {CREATED[version]: -1}, limit=1, skip=0))
    if not raws:
        return None
    _decoded(raws)
    return raws[0]


def find(
    version: str,
    filter: Filter,
    projection: Filter | None = None,
    sort: Mapping[str, int] | None = None,
) -> list[Record]:
    """Give all records that a filter matches, page by page.

    Parameters
    ----------
    version
        "v1" or "v2".
    filter
        A Mongo filter. A long `$in` is asked in parts, where no order is asked for.
    projection
        Which keys to give; by default all.
    sort
        The order; by default by `_id`, so that pages do not overlap.

    Returns
    -------
    list of dict
        Each record once.

    Raises
    ------
    IncompleteAnswerError
        Some pages did not come.
    """
    found: dict[Any, Record] = {}
    for part in parts_of(filter, sort):
        for record in _pages(version, part, projection, sort):
            # A projection without `_id` leaves nothing to tell records apart by.
            found.setdefault(record.get("_id", ("no id", len(found))), record)
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
        raws = _split(response)
        if not raws:
            return
        if response.content == before:
            raise IncompleteAnswerError(
                f"{SERVICE} gave the same {len(raws)} records again for page {number + 1}",
                service=SERVICE,
            )
        yield from _decoded(raws, further=number > 0)
        # The gateway gives fewer records than asked where they would be too much for it.
        small = projection is not None and len(response.content) < _SURELY_WHOLE
        if small and len(raws) < PAGE_SIZE:
            return
        skip, before = skip + len(raws), response.content
    raise IncompleteAnswerError(
        f"{SERVICE} has more than {MAX_PAGES} pages of records: narrow the filter.",
        service=SERVICE,
    )


def _missing_page(error: ServiceError, number: int) -> IncompleteAnswerError:
    facts = {name: getattr(error, name) for name in ("status", "attempts", "seconds", "request_id")}
    return IncompleteAnswerError(
        f"Page {number} of the records did not come, after {number - 1} that did: {error}",
        service=SERVICE,
        **facts,
    )


def aggregate(version: str, pipeline: Sequence[Filter]) -> list[Record]:
    """Give what a pipeline makes of the records.

    One request; where it fails, though the service answers, and the pipeline only filters,
    projects and sorts, the same is asked page by page.

    Parameters
    ----------
    version
        "v1" or "v2".
    pipeline
        Mongo stages. Answers over 10 MB do not pass the gateway: project what is needed.

    Returns
    -------
    list of dict
        The records.
    """
    try:
        return _decoded(_split(_session().post(_url(version, "aggregate"), json=list(pipeline))))
    except (ServiceTimeoutError, ServiceConnectionError):
        raise
    except (DocDBError, BadAnswerError) as error:
        question = as_find(pipeline)
        if question is None:
            raise
        log.info("DocDB's /aggregate failed (%s): asked page by page", error)
        try:
            return find(version, *question)
        except ServiceError as second:
            raise second from error
