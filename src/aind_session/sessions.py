"""Sessions: the tuple that a search returns, with verbs for all of them at once."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeVar, overload

from aind_session.errors import InvalidFilterError, MissingExtraError
from aind_session.progress import progress as showing
from aind_session.session import Session

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

T = TypeVar("T")

#: What `prefetch` can fetch.
FETCHED = ("assets", "records", "modalities")


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
        # A dotted path: how things look stands on a higher floor.
        html: str = importlib.import_module("aind_session.display").sessions_html(self)
        return html

    def prefetch(self, *what: str, progress: bool = True) -> Sessions:
        """Fetch everything about all of these sessions at once, for what is asked of each later.

        Parameters
        ----------
        *what
            "assets" (data assets, raw folders), "records" (full metadata records), "modalities"
            (a listing of each raw folder); by default the first two.
        progress
            Show a bar where there is a terminal or a notebook, once it takes a second.

        Returns
        -------
        Sessions
            These, so that a loop can follow.

        Raises
        ------
        InvalidFilterError
            There is nothing of that name to fetch (a `ValueError`).

        Warns
        -----
        PartialAnswerWarning
            A service did not answer: what only it knows is asked again later.

        Examples
        --------
        >>> import aind_session
        >>> for session in aind_session.get_sessions(676909).prefetch():
        ...     assert session.docdb.subject_id == "676909"
        """
        wanted = set(what or FETCHED[:2])
        if not wanted <= set(FETCHED):
            unknown = ", ".join(sorted(map(repr, wanted - set(FETCHED))))
            raise InvalidFilterError(f"prefetch() knows {', '.join(FETCHED)}, not {unknown}.")
        if not self:
            return self
        from aind_session.lookup import cohort

        ids = [session._id for session in self]
        cohort.remember(session.id for session in self)
        with showing(len(ids) * len(wanted), "prefetch", progress) as bar:
            if wanted & {"assets", "modalities"}:
                cohort.known(ids)
                bar.update(len(ids))
            if "records" in wanted:
                cohort.records(ids, bar.update)
            if "modalities" in wanted:
                cohort.listings(ids, bar.update)
        return self

    def map(
        self,
        function: Callable[[Session], T],
        executor: Executor | None = None,
        progress: bool = True,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[T]:
        """Call a function with each session, many at the same time, and give the results in order.

        Parameters
        ----------
        function
            Called with a session.
        executor
            Where it runs: 16 threads by default; a `ProcessPoolExecutor`, or that of a Dask client
            (`client.get_executor()`). Sessions cross processes as their ID: workers use their own
            settings, and nothing secret is sent.
        progress
            Show a bar where there is a terminal or a notebook, once it takes a second.
        errors
            "raise" the first error, calls not yet begun being cancelled, or "return" each error in
            the place of its result.

        Returns
        -------
        list
            A result for each session.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.get_sessions(676909).map(lambda session: session.platform)
        ['behavior', 'ecephys', 'ecephys', 'ecephys']
        """
        if errors not in ("raise", "return"):
            raise InvalidFilterError(f'errors is "raise" or "return", not {errors!r}.')
        if executor is None:
            from concurrent.futures import ThreadPoolExecutor

            from aind_session.services.pool import WORKERS

            with ThreadPoolExecutor(min(WORKERS, len(self) or 1)) as threads:
                return _collect([threads.submit(function, s) for s in self], progress, errors)
        return _collect([executor.submit(function, s) for s in self], progress, errors)

    def to_pandas(self, columns: Iterable[str] | None = None) -> pd.DataFrame:
        """Make a table, a row a session.

        Parameters
        ----------
        columns
            Names of columns, by default the cheap ones: see `aind_session.table` for all of them,
            and what each costs.

        Raises
        ------
        MissingExtraError
            pandas is not installed (an `ImportError`).

        Examples
        --------
        >>> import aind_session
        >>> table = aind_session.get_sessions(676909).to_pandas(["id", "platform", "n_assets"])
        >>> table.shape
        (4, 3)
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError.of("pandas", "to_pandas()") from error
        return pd.DataFrame(self._columns(columns))

    def to_polars(self, columns: Iterable[str] | None = None) -> pl.DataFrame:
        """Make a table, a row a session; as `to_pandas`, with polars.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.get_sessions(676909).to_polars().height
        4
        """
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtraError.of("polars", "to_polars()") from error
        # The type of a column is that of all its values, not of the first hundred.
        return pl.DataFrame(self._columns(columns), infer_schema_length=None)

    def _columns(self, columns: Iterable[str] | None) -> dict[str, list[Any]]:
        from aind_session.table import table

        return table([session._id for session in self], columns)


def _collect(
    futures: list[Future[T]], progress: bool, errors: Literal["raise", "return"]
) -> list[T]:
    results: list[Any] = []
    with showing(len(futures), "sessions", progress) as bar:
        for future in futures:
            try:
                results.append(future.result())
            except Exception as error:
                if errors == "raise":
                    for other in futures:
                        other.cancel()
                    raise
                results.append(error)
            bar.update()
    return results
