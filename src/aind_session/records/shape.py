"""How a value of unknown shape is read: nothing here raises, whatever the record holds.

A record's keys may be missing, null or of another type, in every generation (servers and writers
move first). The functions below turn that into "says nothing", so that the readers of the core
files name only where an answer stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
V = TypeVar("V", bound="View")

_MAJOR = re.compile(r"\s*v?(\d{1,6})\b")
# No name, identifier or year has more digits; `str` of a far longer int raises.
_LARGEST_INT = 10**18


class View:
    """A read-only view on one JSON value; equal where the values are."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @classmethod
    def of(cls: type[V], core: Any) -> V | None:
        """View a core file, or give None where there is none."""
        return cls(core) if isinstance(core, Mapping) else None

    @property
    def raw(self) -> Any:
        """The value itself, untouched."""
        return self._raw

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._raw == other._raw)

    # The value may change under the view, so that no hash would stay true.
    __hash__ = None  # type: ignore[assignment]


def at(value: Any, *path: str) -> Any:
    """Follow keys into nested mappings.

    Parameters
    ----------
    value
        Any JSON value.
    *path
        The keys, outermost first.

    Returns
    -------
    Any
        What stands there, or None where a key is missing or something on the way is no mapping.

    Examples
    --------
    >>> at({"code": {"url": "x"}}, "code", "url")
    'x'
    >>> at({"code": ["x"]}, "code", "url")
    """
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def items(value: Any) -> tuple[Any, ...]:
    """Give the elements of a list, a lone value as one element, None as none.

    Examples
    --------
    >>> items(["a", "b"]), items("a"), items(None)
    (('a', 'b'), ('a',), ())
    """
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return (value,)


def mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Go through the mappings of a list, in order, whatever lists are nested in it.

    Examples
    --------
    >>> list(mappings([{"a": 1}, [{"b": 2}, [None, {"c": 3}]], "text"]))
    [{'a': 1}, {'b': 2}, {'c': 3}]
    """
    # A stack, not recursion: the nesting of a broken record has no limit that we know.
    waiting = [value]
    while waiting:
        element = waiting.pop()
        if isinstance(element, Mapping):
            yield element
        elif isinstance(element, (list, tuple)):
            waiting.extend(reversed(element))


def text(value: Any) -> str | None:
    """Read a text; a whole number counts as its digits, a blank text as nothing.

    Examples
    --------
    >>> text("VISp"), text(655019), text("  "), text(True), text(["VISp"])
    ('VISp', '655019', None, None, None)
    """
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_INT:
        return str(value)
    return None


def known(value: Any) -> str | None:
    """Read a text, of which `unknown` says nothing: the upgrade to 2.x fills failures with it.

    Examples
    --------
    >>> known("0.2.8"), known("unknown")
    ('0.2.8', None)
    """
    found = text(value)
    return None if found is None or found.strip().casefold() == "unknown" else found


def named(value: Any) -> str | None:
    """Read a text, or the name of something described by a mapping.

    Examples
    --------
    >>> named("Mus musculus"), named({"name": "Mus musculus", "registry": None}), named([])
    ('Mus musculus', 'Mus musculus', None)
    """
    if isinstance(value, Mapping):
        return text(value.get("name")) or text(value.get("abbreviation"))
    return text(value)


def all_named(value: Any) -> tuple[str, ...]:
    """Read texts or names from a list of them, or from one alone.

    Examples
    --------
    >>> all_named([{"name": "A. Person"}, "B. Person", None, ""]), all_named("A. Person")
    (('A. Person', 'B. Person'), ('A. Person',))
    """
    return tuple(name for name in map(named, items(value)) if name is not None)


def unique(values: tuple[str, ...]) -> tuple[str, ...]:
    """Drop repeated texts, keeping the order of the first ones.

    Examples
    --------
    >>> unique(("b", "a", "b"))
    ('b', 'a')
    """
    return tuple(dict.fromkeys(values))


def is_second_generation(core: Any) -> bool:
    """Tell whether one core file is written in the 2.x schema.

    Decided by the file's own `schema_version`, and where that says nothing by `object_type`, which
    only 2.x files carry. The record around it, and the database it came from, say nothing: records
    of the 1.x database hold 2.x core files, sometimes only some of them.

    Parameters
    ----------
    core
        The core file: `subject`, `acquisition` and so on.

    Returns
    -------
    bool
        True for a 2.x core file.

    Examples
    --------
    >>> is_second_generation({"schema_version": "2.0.12"})
    True
    >>> is_second_generation({"schema_version": "1.0.3"}), is_second_generation(None)
    (False, False)
    """
    if not isinstance(core, Mapping):
        return False
    major = _MAJOR.match(text(core.get("schema_version")) or "")
    if major is None:
        return core.get("object_type") is not None
    return int(major.group(1)) >= 2


def either(core: Any, v1: tuple[str, ...], v2: tuple[str, ...], read: Callable[[Any], T]) -> T:
    """Read an answer that stands in one place in 1.x core files and in another in 2.x ones.

    The file's own generation is asked first, and the other place where that says nothing, since
    files with the keys of both exist.

    Parameters
    ----------
    core
        The core file.
    v1, v2
        The keys that lead to the answer in each generation.
    read
        Turns what stands there into the answer; for None it gives the answer "says nothing".

    Returns
    -------
    T
        The answer.

    Examples
    --------
    >>> either({"sex": "Male"}, ("sex",), ("subject_details", "sex"), text)
    'Male'
    """
    paths = (v2, v1) if is_second_generation(core) else (v1, v2)
    for path in paths:
        answer = read(at(core, *path))
        if answer:
            return answer
    return read(None)


def copied(value: Any) -> Any:
    """Copy a JSON value, so that whoever changes the copy leaves the record as it was.

    Parameters
    ----------
    value
        Any JSON value; nested mappings become dicts, nested tuples lists.

    Returns
    -------
    Any
        An equal value that shares no dict or list with it.

    Examples
    --------
    >>> original = {"a": [1, {"b": None}]}
    >>> copied(original) == original, copied(original)["a"] is original["a"]
    (True, False)
    """
    # A stack, not recursion: see `mappings`.
    root: list[Any] = [value]
    waiting: list[tuple[Any, Any]] = [(root, 0)]
    while waiting:
        holder, key = waiting.pop()
        found = holder[key]
        if isinstance(found, Mapping):
            holder[key] = made = dict(found)
            waiting.extend((made, name) for name in made)
        elif isinstance(found, (list, tuple)):
            holder[key] = listed = list(found)
            waiting.extend((listed, index) for index in range(len(listed)))
    return root[0]


def copied_dict(value: Any) -> dict[str, Any]:
    """Copy a mapping; anything else is an empty dict."""
    return copied(value) if isinstance(value, Mapping) else {}
