"""Older spellings, which still work and warn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Alias(property, Generic[T]):
    """An attribute under an older name: on the class or on the instance, with a warning.

    A property: to offer one, completion does not read it.

    Parameters
    ----------
    name
        The older name.
    instead
        What to write instead.
    give
        Gives the value, of the instance, or of the class where it is asked there.
    on_class
        Whether the class has it as well: a constant.

    Examples
    --------
    >>> class Rig:
    ...     size = 3
    ...     SIZE = Alias("SIZE", "size", lambda rig: rig.size, on_class=True)
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     Rig.SIZE
    3
    >>> print(told[0].message)
    SIZE is deprecated since 0.4 and goes in 1.0: use size instead
    """

    def __init__(
        self, name: str, instead: str, give: Callable[[Any], T], *, on_class: bool = False
    ) -> None:
        self.name, self.instead, self.give, self.on_class = name, instead, give, on_class
        self.__doc__ = f"Older spelling of `{instead}`."

    def __get__(  # type: ignore[override]
        self, obj: object | None, owner: type[Any] | None = None
    ) -> T:
        if obj is None and not self.on_class:
            # Of a class, documentation tools ask every attribute: they get what it is.
            return self  # type: ignore[return-value]
        warnings.warn(
            f"{self.name} is deprecated since 0.4 and goes in 1.0: use {self.instead} instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.give(owner if obj is None else obj)
