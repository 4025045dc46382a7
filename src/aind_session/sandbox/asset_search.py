"""Code Ocean's search of data assets, over plain dicts.

As documented: the query's fields, the same field twice is OR, different fields are AND, no
wildcards, case-insensitive. Undocumented, and decided here: names, tags and free text match any
substring; all words of a free text must match; archived assets are found unless ``archived`` is
false; the newest come first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from aind_session.sandbox.catalogue import Json, number_of
from aind_session.sandbox.faults import Refused

#: A query for a longer part of a name finds nothing.
MAX_NAME_QUERY = 20
MAX_LIMIT, DEFAULT_LIMIT = 1000, 100

_FIELDS = ("name", "tag", "run_script", "commit_id", "contained_data_id")
_TYPES = ("dataset", "result", "combined", "model")
_SORTS = ("created", "type", "name", "size")
_KEYS = {
    *("query", "limit", "offset", "next_token", "sort_field", "sort_order", "type"),
    *("ownership", "origin", "favorite", "archived", "filters"),
}
_TERM = re.compile(r'(?:(?P<field>[A-Za-z_]+):)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s":]+))')

Test = Callable[[Json], bool]


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
    if limit is None:
        return DEFAULT_LIMIT
    if not isinstance(limit, int) or not 0 <= limit <= MAX_LIMIT:
        raise Refused(400, f"limit: {limit!r} is not between 0 and {MAX_LIMIT}")
    return limit or DEFAULT_LIMIT


def _sorted(found: list[Json], body: Json) -> list[Json]:
    key = body.get("sort_field")
    order = body.get("sort_order") or "asc"
    if order not in ("asc", "desc"):
        raise Refused(400, f"sort_order: {order!r} is neither asc nor desc")
    if key is None:
        return sorted(found, key=number_of, reverse=True)
    if key not in _SORTS:
        raise Refused(400, f"sort_field: {key!r} is none of {', '.join(_SORTS)}")

    def place(asset: Json) -> Any:
        return str(asset.get(key) or "") if key in ("name", "type") else number_of(asset, key)

    return sorted(found, key=place, reverse=order == "desc")


def _query_tests(query: Any) -> list[Test]:
    if query is None or query == "":
        return []
    if not isinstance(query, str):
        raise Refused(400, "query is not a text")
    fields, words = parse_query(query)
    tests = [_field_test(name, values) for name, values in fields.items()]
    if words:
        tests.append(lambda asset: _has_words(asset, words))
    return tests


def _field_test(name: str, values: list[str]) -> Test:
    if name == "name":
        short = [value for value in values if len(value) <= MAX_NAME_QUERY]
        return lambda asset: _is_part(_name(asset), short)
    if name == "tag":
        return lambda asset: any(_is_part(tag, values) for tag in _tags(asset))
    read = _READERS[name]
    return lambda asset: any(found in values for found in read(asset))


def _is_part(text: str, values: list[str]) -> bool:
    return any(value in text for value in values)


def _name(asset: Json) -> str:
    return str(asset.get("name") or "").lower()


def _tags(asset: Json) -> list[str]:
    return [str(tag).lower() for tag in asset.get("tags") or ()]


def _has_words(asset: Json, words: list[str]) -> bool:
    custom = asset.get("custom_metadata") or {}
    texts = [asset.get("name"), asset.get("description"), *(asset.get("tags") or ())]
    texts += [text for pair in custom.items() for text in pair]
    whole = "\n".join(str(text) for text in texts if text is not None).lower()
    return all(word in whole for word in words)


def _provenance(key: str) -> Callable[[Json], list[str]]:
    return lambda asset: [str((asset.get("provenance") or {}).get(key) or "").lower()]


def _contained(asset: Json) -> list[str]:
    return [str(c.get("id")) for c in asset.get("contained_data_assets") or ()]


_READERS: dict[str, Callable[[Json], list[str]]] = {
    "run_script": _provenance("run_script"),
    "commit_id": _provenance("commit"),
    "contained_data_id": _contained,
}


def is_external(asset: Json) -> bool:
    """Whether an asset's files lie outside of Code Ocean."""
    return bool((asset.get("source_bucket") or {}).get("external"))


def _option_tests(body: Json, user: str) -> list[Test]:
    tests: list[Test] = []
    kind = _one_of(body, "type", _TYPES)
    if kind:
        tests.append(lambda asset: asset.get("type") == kind)
    origin = _one_of(body, "origin", ("internal", "external"))
    if origin:
        tests.append(lambda asset: is_external(asset) == (origin == "external"))
    ownership = _one_of(body, "ownership", ("private", "created", "shared"))
    if ownership:
        tests.append(lambda asset: (asset.get("owner") == user) == (ownership != "shared"))
    for key in ("archived", "favorite"):
        wanted = body.get(key)
        if wanted is None:
            continue
        if not isinstance(wanted, bool):
            raise Refused(400, f"{key}: {wanted!r} is neither true nor false")
        tests.append(_flag_test(key, wanted))
    return tests


def _flag_test(key: str, wanted: bool) -> Test:
    return lambda asset: bool(asset.get(key)) == wanted


def _one_of(body: Json, key: str, values: tuple[str, ...]) -> str | None:
    value = body.get(key)
    if value is None:
        return None
    if value not in values:
        raise Refused(400, f"{key}: {value!r} is none of {', '.join(values)}")
    return str(value)


def _filter_test(wanted: Any) -> Test:
    if not isinstance(wanted, dict) or not isinstance(wanted.get("key"), str):
        raise Refused(400, "filters: each is an object with a key")
    key = wanted["key"]
    read = _filter_reader(key)
    exclude = bool(wanted.get("exclude"))
    values = list(wanted.get("values") or ())
    if wanted.get("value") is not None:
        values.append(wanted["value"])
    limits = wanted.get("range")
    if not values and not limits:
        raise Refused(400, f"filters: {key!r} has neither value, values nor range")
    texts = {_plain(value) for value in values}
    low, high = (limits or {}).get("min"), (limits or {}).get("max")

    def test(asset: Json) -> bool:
        for value in read(asset):
            if _plain(value) in texts:
                return not exclude
            if limits and isinstance(value, (int, float)) and _within(value, low, high):
                return not exclude
        return exclude

    return test


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _filter_reader(key: str) -> Callable[[Json], list[Any]]:
    if key == "tags":
        return lambda asset: list(asset.get("tags") or ())
    if key in ("name", "description"):
        return lambda asset: [asset.get(key)]

    def read(asset: Json) -> list[Any]:
        value = (asset.get("custom_metadata") or {}).get(key)
        return value if isinstance(value, list) else [value]

    return read


def _plain(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).lower()
