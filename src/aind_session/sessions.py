"""Sessions: the tuple that a search returns, with verbs for all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeVar, overload

from aind_session.session import Session

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from concurrent.futures import Executor

T = TypeVar("T")


class Sessions(tuple[Session, ...]):
    """Sessions, ascending; a tuple, and equal to one with the same sessions.

    Examples
    --------
    >>> import aind_session
    >>> sessions = aind_session.get_sessions(676909, start_date="2023-12-13")
    >>> sessions
    (Session('ecephys_676909_2023-12-13_13-43-40'), Session('ecephys_676909_2023-12-14_12-43-11'))
    >>> sessions == tuple(sessions)
    True
    """

    __slots__ = ()

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Session: ...
    @overload
    def __getitem__(self, index: slice, /) -> Sessions: ...
    def __getitem__(self, index: SupportsIndex | slice, /) -> Session | Sessions:
        """Give one session, or with a slice some, with the same verbs."""
        if isinstance(index, slice):
            return Sessions(super().__getitem__(index))
        return super().__getitem__(index)

    def __add__(self, other: Iterable[Session]) -> Sessions:  # type: ignore[override]
        return Sessions((*self, *other))

    def __reduce__(self) -> tuple[Any, ...]:
        return Sessions, (tuple(self),)

    def _repr_html_(self) -> str:
        import importlib

        html: str = importlib.import_module("aind_session.display").sessions_html(self)
        return html
