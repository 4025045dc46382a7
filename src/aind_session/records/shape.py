"""Functions that read JSON values of unknown structure; none of them raises.

In any record a key may be missing, null or of another type. The functions below then return
"no value": None, or `()` if there can be several.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

_MAJOR = re.compile(r"\s*v?(\d{1,6})\b")
# No name, identifier or year has more digits; `str` of a far longer int raises.
_LARGEST_INT = 10**18


class Answer(property, Generic[T]):
    """A property with a static type and a docstring, made by a function instead of a decorator."""

    def __init__(self, get: Callable[[Any], T], doc: str) -> None:
        super().__init__(get)
        # Without this, Python before 3.13 shows the docstring of this class.
        self.__doc__ = doc

    if TYPE_CHECKING:

        @overload
        def __get__(self, holder: None, owner: type | None = None) -> Self: ...
        @overload
        def __get__(self, holder: object, owner: type | None = None) -> T: ...
        def __get__(self, holder: Any, owner: type | None = None) -> Any: ...


class View:
    """A read-only view of one JSON value; two views are equal if their values are."""

    __slots__ = ("_raw",)

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @classmethod
    def of(cls, core: Any) -> Self | None:
        """Return a view of a core file, or None if it is not a JSON object."""
        return cls(core) if isinstance(core, Mapping) else None

    @property
    def raw(self) -> Any:
        """The value itself, unchanged."""
        return self._raw

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._raw == other._raw)

    # The value is mutable, so a hash would not stay valid.
    __hash__ = None  # type: ignore[assignment]


class Part(View):
    """A view of a value within another one, such as a procedure within a surgery."""

    __slots__ = ("_outer",)

    def __init__(self, raw: Any, outer: Any = None) -> None:
        super().__init__(raw)
        self._outer = outer


def field(read: Callable[[Any], T], v1: str, v2: str | None = None, *, doc: str) -> Answer[T]:
    """Make a property of a view that is read at one path in 1.x, and at another in 2.x."""
    return Answer(like(read, lambda view: either(view._raw, v1, v2 or v1, read)), doc)


def shared(read: Callable[[Any], T], v1: str, v2: str | None = None, *, doc: str) -> Answer[T]:
    """Make a property of a part that is read from the enclosing value if the part lacks it."""

    def get(view: Part) -> T:
        return either(view._raw, v1, v2 or v1, read) or either(view._outer, v1, v2 or v1, read)

    return Answer(like(read, get), doc)


def like(read: Callable[[Any], T], get: Callable[[Any], T]) -> Callable[[Any], T]:
    """Copy a function's return annotation to another one, for tools that document properties."""
    get.__annotations__["return"] = read.__annotations__.get("return")
    return get


def at(value: Any, *path: str) -> Any:
    """Return the value at a path of keys in nested mappings, or None."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def items(value: Any) -> tuple[Any, ...]:
    """Return the elements of a list; a single value is one element, None is an empty list."""
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return (value,)


def mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the mappings in a list and in its nested lists, in order."""
    # A stack, not recursion: the nesting of a malformed record has no limit.
    waiting = [value]
    while waiting:
        element = waiting.pop()
        if isinstance(element, Mapping):
            yield element
        elif isinstance(element, (list, tuple)):
            waiting.extend(reversed(element))


def text(value: Any) -> str | None:
    """Return a non-blank string, or an int as a string; None for anything else."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST_INT:
        return str(value)
    return None


def known(value: Any) -> str | None:
    """Return a string, or None for `unknown`: the upgrade to 2.x writes it for missing values."""
    found = text(value)
    return None if found is None or found.strip().casefold() == "unknown" else found


def named(value: Any) -> str | None:
    """Return a string, or the name or abbreviation in a mapping."""
    if isinstance(value, Mapping):
        return text(value.get("name")) or text(value.get("abbreviation"))
    return text(value)


def all_named(value: Any) -> tuple[str, ...]:
    """Return the strings or names in a list, or the one of a single value."""
    return tuple(name for name in map(named, items(value)) if name is not None)


def texts(value: Any) -> tuple[str, ...]:
    """Return the strings in a list, or a single one, without duplicates."""
    return unique(tuple(found for found in map(text, items(value)) if found is not None))


def unique(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the strings without duplicates, in the order of their first occurrence."""
    return tuple(dict.fromkeys(values))


def is_second_generation(core: Any) -> bool:
    """Whether a core file is written in the 2.x schema, by its own keys.

    `schema_version` decides; without it, `object_type`, which only 2.x files have. The record's own
    version and the database are not considered: records of the 1.x database contain 2.x core files.
    """
    major = _MAJOR.match(text(at(core, "schema_version")) or "")
    if major is None:
        return at(core, "object_type") is not None
    return int(major.group(1)) >= 2


def either(core: Any, v1: str, v2: str, read: Callable[[Any], T]) -> T:
    """Read a value at the path of a core file's own schema, else at that of the other schema.

    Files with the keys of both exist. `read(None)` must return "no value".
    """
    for path in (v2, v1) if is_second_generation(core) else (v1, v2):
        answer = read(at(core, *path.split(".")))
        if answer:
            return answer
    return read(None)


def copied(value: Any) -> Any:
    """Return an equal JSON value that shares no dict or list with the original."""
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
    """Return a copy of a mapping; anything else becomes an empty dict."""
    return copied(value) if isinstance(value, Mapping) else {}
