"""Code Ocean's search of data assets, over plain dicts.

As documented: the query's fields, the same field twice is OR, different fields are AND, no
wildcards, case-insensitive. Undocumented, and decided here: names, tags and free text match any
substring; all words of a free text must match; archived assets are found unless ``archived`` is
false; the newest come first.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from aind_session.sandbox.catalogue import Json, number_of
from aind_session.sandbox.faults import Refused

#: A query for a longer part of a name finds nothing.
MAX_NAME_QUERY = 20
MAX_LIMIT, DEFAULT_LIMIT = 1000, 100

Test = Callable[[Json], bool]

#: How each field of a query is read.
_FIELDS: dict[str, Callable[[Json], Iterable[Any]]] = {
    "name": lambda asset: [asset.get("name")],
    "tag": lambda asset: asset.get("tags") or (),
    "run_script": lambda asset: [(asset.get("provenance") or {}).get("run_script")],
    "commit_id": lambda asset: [(asset.get("provenance") or {}).get("commit")],
    "contained_data_id": lambda asset: [
        each.get("id") for each in asset.get("contained_data_assets") or ()
    ],
}
_KEYS = {
    *("query", "limit", "offset", "next_token", "sort_field", "sort_order", "type"),
    *("ownership", "origin", "favorite", "archived", "filters"),
}
_TERM = re.compile(r'(?:(?P<field>[A-Za-z_]+):)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s":]+))')


def parse_query(query: str) -> tuple[dict[str, list[str]], list[str]]:
    """Read a query: the values of each field, and the words of free text.

    Examples
    --------
    >>> parse_query('name:ecephys_000001 tag:raw tag:"two words" subject id:000001')
    ({'name': ['ecephys_000001'], 'tag': ['raw', 'two words']}, ['subject', 'id', '000001'])
    """
    fields: dict[str, list[str]] = {}
    words: list[str] = []
    for term in _TERM.finditer(query):
        name = (term["field"] or "").lower()
        value = (term["word"] if term["phrase"] is None else term["phrase"]).lower()
        if name in _FIELDS:
            fields.setdefault(name, []).append(value)
        else:
            # Not a field of the query language: text like any other.
            words += [word for word in (name, value) if word]
    return fields, words


def search(assets: list[Json], body: Json, user: str) -> list[Json]:
    """Find the assets that the body of a search asks for, all pages together.

    Raises
    ------
    Refused
        A key or a value is unknown.
    """
    unknown = sorted(set(body) - _KEYS)
    if unknown:
        raise Refused(400, f"unknown parameter: {', '.join(unknown)}")
    tests = [*_query_tests(body.get("query")), *_option_tests(body, user)]
    tests += [_filter_test(each) for each in body.get("filters") or ()]
    found = [asset for asset in list(assets) if all(test(asset) for test in tests)]
    return _sorted(found, body)


def limit_of(body: Json) -> int:
    """Return the size of a page."""
    limit = body.get("limit")
    if limit is not None and (not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT):
        raise Refused(400, f"limit: {limit!r} is not between 0 and {MAX_LIMIT}")
    return limit or DEFAULT_LIMIT


def _sorted(found: list[Json], body: Json) -> list[Json]:
    key = _one_of(body, "sort_field", ("created", "type", "name", "size"))
    order = _one_of(body, "sort_order", ("asc", "desc"))
    if key in ("name", "type"):
        return sorted(found, key=lambda a: str(a.get(key) or ""), reverse=order == "desc")
    newest_first = key is None or order == "desc"
    return sorted(found, key=lambda a: number_of(a, key or "created"), reverse=newest_first)


def _query_tests(query: Any) -> Iterator[Test]:
    if not isinstance(query, str | None):
        raise Refused(400, "query is not a text")
    fields, words = parse_query(query or "")
    for name, values in fields.items():
        yield partial(_has_field, name, values)
    if words:
        yield partial(_has_words, words)


def _has_field(name: str, values: list[str], asset: Json) -> bool:
    texts = [str(text or "").lower() for text in _FIELDS[name](asset)]
    if name == "name":
        values = [value for value in values if len(value) <= MAX_NAME_QUERY]
    if name in ("name", "tag"):
        return any(value in text for text in texts for value in values)
    return any(text in values for text in texts)


def _has_words(words: list[str], asset: Json) -> bool:
    texts = [asset.get("name"), asset.get("description"), *(asset.get("tags") or ())]
    texts += itertools.chain(*(asset.get("custom_metadata") or {}).items())
    whole = "\n".join(str(text) for text in texts if text is not None).lower()
    return all(word in whole for word in words)


def is_external(asset: Json) -> bool:
    """Whether an asset's files lie outside of Code Ocean."""
    return bool((asset.get("source_bucket") or {}).get("external"))


def _option_tests(body: Json, user: str) -> Iterator[Test]:
    if kind := _one_of(body, "type", ("dataset", "result", "combined", "model")):
        yield lambda asset: asset.get("type") == kind
    if origin := _one_of(body, "origin", ("internal", "external")):
        yield lambda asset: is_external(asset) == (origin == "external")
    if ownership := _one_of(body, "ownership", ("private", "created", "shared")):
        yield lambda asset: (asset.get("owner") == user) == (ownership != "shared")
    for key in ("archived", "favorite"):
        wanted = body.get(key)
        if not isinstance(wanted, bool | None):
            raise Refused(400, f"{key}: {wanted!r} is neither true nor false")
        if wanted is not None:
            yield partial(_has_flag, key, wanted)


def _has_flag(key: str, wanted: bool, asset: Json) -> bool:
    return bool(asset.get(key)) == wanted


def _one_of(body: Json, key: str, values: tuple[str, ...]) -> str | None:
    value = body.get(key)
    if value not in (None, *values):
        raise Refused(400, f"{key}: {value!r} is none of {', '.join(values)}")
    return value


def _filter_test(wanted: Any) -> Test:
    if not isinstance(wanted, dict) or not isinstance(wanted.get("key"), str):
        raise Refused(400, "filters: each is an object with a key")
    key, exclude, limits = wanted["key"], bool(wanted.get("exclude")), wanted.get("range") or {}
    values = [*(wanted.get("values") or ()), wanted.get("value")]
    texts = {_plain(value) for value in values if value is not None}
    if not texts and not limits:
        raise Refused(400, f"filters: {key!r} has neither value, values nor range")
    low, high = (limits.get(end) for end in ("min", "max"))

    def accepts(value: Any) -> bool:
        if value is not None and _plain(value) in texts:
            return True
        if not limits or not isinstance(value, int | float):
            return False
        return (low is None or value >= low) and (high is None or value <= high)

    def test(asset: Json) -> bool:
        known = asset if key in ("tags", "name", "description") else asset.get("custom_metadata")
        value = (known or {}).get(key)
        values = value if isinstance(value, list) else [value]
        return any(map(accepts, values)) != exclude

    return test


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower()
