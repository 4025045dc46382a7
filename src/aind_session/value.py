"""What sessions and subjects have in common: values by an ID, with namespaces."""

from __future__ import annotations

import functools
import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aind_session import extension

if TYPE_CHECKING:
    from typing_extensions import Self

Owner = TypeVar("Owner")
Answer = TypeVar("Answer")

_set = object.__setattr__
_raised = threading.local()


class Value:
    """A value that is its ID: immutable, hashable, ordered, and pickled as the ID.

    Parameters
    ----------
    parsed
        What the ID was read into; parsing is all that making one costs.
    """

    # A few words of memory each: ten thousand of them are nothing.
    __slots__ = ("__weakref__", "_id", "_namespaces")

    #: Values of one kind compare with each other, their subclasses included.
    _kind: ClassVar[type[Value]]
    _id: Any
    _namespaces: dict[Any, Any] | None

    def __init__(self, parsed: object) -> None:
        _set(self, "_id", parsed)
        _set(self, "_namespaces", None)

    @property
    def id(self) -> str:
        """The ID."""
        return str(self._id)

    def _forget_namespaces(self) -> None:
        _set(self, "_namespaces", None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, self._kind) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __lt__(self, other: Self) -> bool:
        return self.id < other.id if isinstance(other, self._kind) else NotImplemented

    def __le__(self, other: Self) -> bool:
        return self.id <= other.id if isinstance(other, self._kind) else NotImplemented

    def __gt__(self, other: Self) -> bool:
        return self.id > other.id if isinstance(other, self._kind) else NotImplemented

    def __ge__(self, other: Self) -> bool:
        return self.id >= other.id if isinstance(other, self._kind) else NotImplemented

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {self._kind.__name__} cannot be changed: {name!r} was not set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a {self._kind.__name__} cannot be changed: {name!r} was not deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __dir__(self) -> list[str]:
        names = {name for name in dir(type(self)) if not name.startswith("_")}
        return sorted(names | set(extension.names(type(self))))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raised: tuple[str, AttributeError] | None = getattr(_raised, "last", None)
        if raised is not None and raised[0] == name and _on_class(type(self), name):
            # An attribute raised AttributeError and Python came here: what it said stands.
            _raised.last = None
            raise raised[1]
        if extension.is_completing():
            return None
        return extension.find_plugin(self, name)

    def _repr_html_(self) -> str:
        # A dotted path: how things look stands on a higher floor.
        display = importlib.import_module("aind_session.display")
        html: str = getattr(display, f"{self._kind.__name__.lower()}_html")(self)
        return html


def told_by_getattr(look: Callable[[Owner], Answer]) -> Callable[[Owner], Answer]:
    """Keep what a property raises for `__getattr__`, which Python calls in place of raising it."""

    @functools.wraps(look)
    def look_up(owner: Owner) -> Answer:
        try:
            return look(owner)
        except AttributeError as error:
            _raised.last = look.__name__, error
            raise

    return look_up


def _on_class(cls: type, name: str) -> bool:
    return any(name in base.__dict__ for base in cls.__mro__)
