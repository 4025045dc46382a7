"""A fake of DocDB's gateway that answers from a catalogue: `/{version}/{database}/{collection}`.

Like the real one it needs no credentials for reads and refuses writes; `/find` silently returns
fewer records than requested if the response would be too large, while the base URL and `/aggregate`
answer 413; `limit=0` means all.

Queries are evaluated by mongomock over the catalogue's own lists, which may change between two
requests: filling a collection of mongomock's would copy every record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.faults import Refused, json_response
from aind_session.sandbox.server import Request, Response

DATABASES = {
    ("v1", "metadata_index"): "docdb_v1",
    ("v2", "metadata_index"): "docdb_v2",
    ("v1", "metadata_index_v2"): "docdb_v2",
}
COLLECTION = "data_assets"
WRITES = ("insert_one", "update_one", "delete_one", "delete_many", "bulk_write")
MAX_PAYLOAD_BYTES = 10_000_000
MAX_URL_CHARACTERS = 8192
# Stages that change none of the records they are given.
_READ_ONLY = {"$match", "$project", "$sort", "$limit", "$skip", "$count"}

Test = Callable[[Json], bool]


class FakeDocDB:
    """The metadata database.

    Attributes
    ----------
    max_payload : int
        The largest response, in bytes.
    max_url : int
        The longest URL, in characters.
    retired : dict
        The HTTP status of each version ("v1", "v2") that has been switched off.
    """

    def __init__(self, catalogue: Catalogue, hint: str) -> None:
        self.catalogue, self.hint = catalogue, hint
        self.max_payload, self.max_url = MAX_PAYLOAD_BYTES, MAX_URL_CHARACTERS
        self.retired: dict[str, int] = {}

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        try:
            return self._route(request)
        except Refused as refused:
            return json_response(refused.status, {"message": refused.message})

    def _route(self, request: Request) -> Response:
        if len(request.raw_path) + len(request.query) + 1 > self.max_url:
            raise Refused(414, f"the URL has more than {self.max_url} characters")
        version, database, collection, verb, *rest = (
            *request.path.strip("/").split("/"),
            *[""] * 4,
        )
        if version in self.retired:
            raise Refused(self.retired[version], "Missing Authentication Token")
        attribute = DATABASES.get((version, database))
        if verb in WRITES or (verb == "" and attribute and request.method != "GET"):
            raise Refused(403, "writes need signed requests, which the sandbox does not accept")
        if attribute is None or collection != COLLECTION or any(rest):
            raise Refused(404, f"there is no {request.path}. {self.hint}")
        records: list[Json] = getattr(self.catalogue, attribute)
        if verb == "aggregate" and request.method == "POST":
            return self._write(aggregate(records, _pipeline(request.body)), silently=False)
        if verb in ("", "find") and request.method == "GET":
            return self._find(records, request.params, silently=verb == "find")
        if verb == "count_documents" and request.method == "GET":
            found = sum(1 for _ in matching(records, _object(request.params, "filter")))
            counts = {"total_record_count": len(records), "filtered_record_count": found}
            return json_response(200, counts)
        raise Refused(404, f"there is no {request.method} {request.path}. {self.hint}")

    def _find(self, records: list[Json], params: dict[str, str], *, silently: bool) -> Response:
        query, projection, sort = (_object(params, n) for n in ("filter", "projection", "sort"))
        limit, skip = _number(params, "limit"), _number(params, "skip")
        return self._write(find(records, query, projection, sort, limit, skip), silently=silently)

    def _write(self, found: Iterable[Json], *, silently: bool) -> Response:
        texts: list[bytes] = []
        size = 2
        for record in found:
            text = msgspec.json.encode(record, enc_hook=str)
            size += len(text) + 1
            if size > self.max_payload:
                if silently and texts:
                    break
                raise Refused(413, f"the response has more than {self.max_payload} bytes")
            texts.append(text)
        headers = {"Content-Type": "application/json"}
        return Response(200, b"[" + b",".join(texts) + b"]", headers)


def _pipeline(body: bytes) -> list[Json]:
    pipeline = _parsed(body, "the pipeline")
    if not isinstance(pipeline, list) or not all(isinstance(s, dict) for s in pipeline):
        raise Refused(400, "the pipeline is not a list of objects")
    if any(stage.keys() & {"$out", "$merge"} for stage in pipeline):
        raise Refused(403, "a pipeline may only read: $out and $merge are refused")
    return pipeline


def _object(params: dict[str, str], name: str) -> Json:
    value = _parsed(params.get(name) or "{}", name)
    if not isinstance(value, dict | None):
        raise Refused(400, f"{name} is not an object")
    return value or {}


def _parsed(text: str | bytes, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"{name} is not JSON: {error}") from None


def _number(params: dict[str, str], name: str) -> int:
    text = params.get(name) or "0"
    if not text.isdecimal():
        raise Refused(400, f"{name} is {'negative' if text[0] == '-' else 'not a number'}")
    return int(text)


# What mongomock does. `find` and `aggregate` of its collections are its only documented functions;
# those used here are what these call, over records that are not copied into a collection first.


def matching(records: Iterable[Json], query: Json) -> Iterator[Json]:
    """Yield the records that a filter matches, in their order.

    Examples
    --------
    >>> from aind_session.sandbox.fake_docdb import matching
    >>> records = [{"name": "a", "tags": ["x"]}, {"name": "b", "tags": ["x", "y"]}]
    >>> [r["name"] for r in matching(records, {"tags": {"$in": ["y", "z"]}})]
    ['b']
    """
    # On its own first: two threads that import different modules of the package get halves.
    import mongomock
    from mongomock.filtering import filter_applies

    assert mongomock
    _refuse_errors(filter_applies, query, {})
    test = _prefilter(query)
    for record in list(records):
        if (test is None or test(record)) and _refuse_errors(filter_applies, query, record):
            yield record


def find(
    records: list[Json], query: Json, projection: Json, sort: Json, limit: int = 0, skip: int = 0
) -> list[Json]:
    """Do what Mongo's `find` does; a `limit` of 0 means all."""
    found = list(matching(records, query))
    for key, direction in sort.items():
        if direction not in (1, -1):
            raise Refused(400, f"sort by {key}: the direction is 1 or -1")
    if sort:
        found = aggregate(found, [{"$sort": sort}])
    found = found[skip : skip + limit if limit else None]
    return _refuse_errors(_project, found, projection) if projection else found


def aggregate(records: list[Json], pipeline: list[Json]) -> list[Json]:
    """Run an aggregation pipeline that only reads."""
    import mongomock
    from mongomock.aggregate import process_pipeline

    assert mongomock
    stages, found = list(pipeline), records
    while stages and set(stages[0]) == {"$match"} and isinstance(stages[0]["$match"], dict):
        found = list(matching(found, stages.pop(0)["$match"]))
    if any(stage.keys() - _READ_ONLY for stage in stages):
        # mongomock writes into nested objects of the records it is given.
        found = msgspec.json.decode(msgspec.json.encode(found, enc_hook=str), type=list[Json])
    # The database is used by stages that look up other collections only.
    return list(_refuse_errors(process_pipeline, list(found), None, stages, None))


def _refuse_errors(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except Refused:
        raise
    except Exception as error:
        # mongomock raises whatever went wrong: its own errors, TypeError, re.error, ...
        raise Refused(400, f"{type(error).__name__}: {error}") from None


def _project(found: list[Json], projection: Json) -> list[Json]:
    if all(value == 1 for key, value in projection.items() if key != "_id"):
        return aggregate(found, [{"$project": projection}])
    if not found:
        return []
    # `find` has operators ($slice, $elemMatch) that `$project` does not have.
    import mongomock

    collection = mongomock.MongoClient().db.records
    # Numbered, since a catalogue may hold two records with one ID.
    collection.insert_many([{**record, "_id": n} for n, record in enumerate(found)])
    projected = list(collection.find({}, projection))
    for record, original in zip(projected, found, strict=True):
        if "_id" in record:
            record["_id"] = original.get("_id")
    return projected


def _prefilter(query: Json) -> Test | None:
    """Compile a necessary condition: mongomock alone takes seconds for 10,000 records."""
    tests: list[Test] = []
    for key, want in query.items():
        if key in ("$and", "$or") and isinstance(want, list):
            branches = [_prefilter(q) if isinstance(q, dict) else None for q in want]
            known = [test for test in branches if test is not None]
            if key == "$and":
                tests += known
            elif known and len(known) == len(branches):
                tests.append(partial(_any, known))
        elif not key.startswith("$") and (accept := _text_test(want)) is not None:
            tests.append(partial(_text_at, key.split("."), accept))
    return (lambda record: all(test(record) for test in tests)) if tests else None


def _any(tests: list[Test], record: Json) -> bool:
    return any(test(record) for test in tests)


def _text_test(want: Any) -> Callable[[str], object] | None:
    """Compile the test of a text value; None if a missing or other value could match."""
    known: Json = want if isinstance(want, dict) else {"$eq": want}
    values = known.get("$in") or [known.get("$eq")]
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return frozenset(values).__contains__
    pattern, options = known.get("$regex"), known.get("$options", "")
    if not isinstance(pattern, str) or not isinstance(options, str):
        return None
    flags = {"i": re.IGNORECASE, "m": re.M, "s": re.S, "x": re.X}
    try:
        return re.compile(pattern, sum(flags.get(letter, 0) for letter in set(options))).search
    except re.error as error:
        raise Refused(400, f"$regex {pattern!r}: {error}") from None


def _text_at(path: list[str], accept: Callable[[str], object], record: Json) -> bool:
    value: Any = record
    for part in path:
        if not isinstance(value, dict):
            break
        value = value.get(part)
    else:
        if isinstance(value, str):
            return bool(accept(value))
    # A list may hold a match in any element.
    return isinstance(value, list)
