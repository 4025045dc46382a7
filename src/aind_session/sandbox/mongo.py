"""Mongo queries over plain lists, by mongomock, with the plain part of a filter done first.

mongomock walks the whole query for each record: 10,000 records take seconds. What a filter
demands of text fields (equal to, one of, matches) is therefore compiled to tests that throw out
the records that cannot match; mongomock has the last word on the others. There is no index: the
lists may change between two questions.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from aind_session.sandbox.catalogue import Json

Test = Callable[[Json], bool]

# Stages that take the records as they are and change none of them.
_READ_ONLY = {"$match", "$project", "$sort", "$limit", "$skip", "$count"}


_importing = threading.Lock()


class BadQuery(Exception):
    """Mongo would refuse the query, or mongomock does not know it."""


def _load() -> None:
    # The package imports itself in circles: two threads that begin with different modules of it
    # get halves.
    with _importing:
        import mongomock  # noqa: F401


def matching(records: Iterable[Json], query: Json) -> Iterator[Json]:
    """Yield the records that a filter matches, in their order.

    Examples
    --------
    >>> from aind_session.sandbox.mongo import matching
    >>> records = [{"name": "a", "tags": ["x"]}, {"name": "b", "tags": ["x", "y"]}]
    >>> [r["name"] for r in matching(records, {"tags": {"$in": ["y", "z"]}})]
    ['b']
    """
    _load()
    from mongomock.filtering import filter_applies

    _guard(filter_applies, query, {})
    if not query:
        yield from records
        return
    test = _needed(query)
    for record in list(records):
        if (test is None or test(record)) and _guard(filter_applies, query, record):
            yield record


def find(
    records: list[Json], query: Json, projection: Json, sort: Json, limit: int = 0, skip: int = 0
) -> Iterator[Json]:
    """Do what Mongo's `find` does; a `limit` of 0 means all."""
    found: Iterable[Json] = matching(records, query)
    if sort:
        found = _guard(_sorted, list(found), sort)
    cut = list(found)[skip : skip + limit if limit else None]
    if not projection:
        return iter(cut)
    return iter(_guard(_project, cut, projection))


def aggregate(records: list[Json], pipeline: list[Json]) -> list[Json]:
    """Run an aggregation pipeline that only reads."""
    _load()
    from mongomock.aggregate import process_pipeline

    stages = list(pipeline)
    found: Iterable[Json] = records
    while stages and set(stages[0]) == {"$match"} and isinstance(stages[0]["$match"], dict):
        found = list(matching(found, stages.pop(0)["$match"]))
    found = list(found)
    if any(stage.keys() - _READ_ONLY for stage in stages):
        # mongomock writes into nested objects of the records it is given.
        found = msgspec.json.decode(msgspec.json.encode(found, enc_hook=str), type=list[Json])
    return list(_guard(process_pipeline, found, _NO_DATABASE, stages, None))


# Only stages that look up other collections would ask it.
_NO_DATABASE: Any = None


def _guard(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except BadQuery:
        raise
    except Exception as error:
        # mongomock raises whatever went wrong: its own errors, TypeError, re.error, ...
        raise BadQuery(f"{type(error).__name__}: {error}") from None


def _sorted(found: list[Json], sort: Json) -> list[Json]:
    from mongomock.filtering import resolve_sort_key

    for key, direction in reversed(list(sort.items())):
        if direction not in (1, -1):
            raise BadQuery(f"sort by {key}: the direction is 1 or -1")
        found.sort(key=partial(resolve_sort_key, key), reverse=direction < 0)
    return found


def _project(found: list[Json], projection: Json) -> list[Json]:
    import mongomock

    # `find` has operators ($slice, $elemMatch) that `$project` has not.
    collection = mongomock.MongoClient().db.records
    return [collection._copy_only_fields(record, dict(projection), dict) for record in found]


def _needed(query: Json) -> Test | None:
    """Compile what a record must have, whatever else the query asks; None: nothing known."""
    tests = [test for test in (_one(key, want) for key, want in query.items()) if test]
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda record: all(test(record) for test in tests)


def _one(key: str, want: Any) -> Test | None:
    if key == "$and" and isinstance(want, list):
        return _needed_all(want)
    if key == "$or" and isinstance(want, list):
        branches = [_needed(q) if isinstance(q, dict) else None for q in want]
        known = [test for test in branches if test is not None]
        if not known or len(known) < len(branches):
            return None
        return lambda record: any(test(record) for test in known)
    if key.startswith("$"):
        return None
    accept = _accept(want)
    if accept is None:
        return None
    return _at(key.split("."), accept)


def _needed_all(queries: list[Any]) -> Test | None:
    tests = [test for test in (_needed(q) for q in queries if isinstance(q, dict)) if test]
    return (lambda record: all(test(record) for test in tests)) if tests else None


def _accept(want: Any) -> Callable[[str], bool] | None:
    """Compile the test of a text value; None where a missing or other value could match."""
    if isinstance(want, str):
        return want.__eq__
    if not isinstance(want, dict):
        return None
    if isinstance(want.get("$eq"), str):
        equal: str = want["$eq"]
        return equal.__eq__
    among = want.get("$in")
    if isinstance(among, list) and among and all(isinstance(v, str) for v in among):
        return frozenset(among).__contains__
    pattern, options = want.get("$regex"), want.get("$options", "")
    if isinstance(pattern, str) and isinstance(options, str):
        flags = re.RegexFlag(0)
        for letter in options:
            flags |= {"i": re.IGNORECASE, "m": re.M, "s": re.S, "x": re.X}.get(letter, flags)
        try:
            search = re.compile(pattern, flags).search
        except re.error as error:
            raise BadQuery(f"$regex {pattern!r}: {error}") from None
        return lambda text: search(text) is not None
    return None


def _at(path: list[str], accept: Callable[[str], bool]) -> Test:
    *parents, last = path

    def test(record: Json) -> bool:
        value: Any = record
        for part in parents:
            value = value.get(part)
            if not isinstance(value, dict):
                # A list may hold a match in any element; anything else has no such key.
                return isinstance(value, list)
        value = value.get(last)
        return accept(value) if isinstance(value, str) else isinstance(value, list)

    return test
