"""The method `cache_clear` of the functions that version 0.3 cached."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar, cast

from aind_session.lookup import refresh

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class CachedFunction(Protocol[P, T_co]):
    """A function whose cached answers can be forgotten."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Call the function."""

    def cache_clear(self) -> None:
        """Forget every cached answer: the functions share one cache."""


def with_cache_clear(function: Callable[P, T]) -> CachedFunction[P, T]:
    """Add `cache_clear` to a function."""
    function.cache_clear = refresh.everything  # type: ignore[attr-defined]
    return cast(CachedFunction[P, T], function)
