"""Sessions: the tuple that a search returns, with bulk methods for all of them at once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeVar, overload

from aind_session.errors import (
    InvalidFilterError,
    InvalidIdentifierError,
    MissingExtraError,
    name_session,
)
from aind_session.identifiers import SessionID, find_session_id, why_not_found
from aind_session.identifiers.csv_files import read_csv
from aind_session.progress import progress as showing
from aind_session.session import Session

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from codeocean.components import Permissions
    from typing_extensions import Unpack

    from aind_session.runs import RunPlan, RunReport
    from aind_session.runs.values import Attach, Parameters, RunOptions

T = TypeVar("T")

#: The parts that `prefetch` can fetch.
FETCHED = ("assets", "records", "modalities")
#: A longer `Sessions` shows so many of its first and last sessions only.
SHOWN = 3
#: Sessions whose full records are requested together by a loop over them.
GROUP_SIZE = 50


class Sessions(tuple[Session, ...]):
    """Sessions in a given order; a tuple, and equal to one with the same sessions.

    Parameters
    ----------
    sessions
        Sessions, or anything with a session ID in it (IDs, names of assets, paths, data assets,
        metadata records), or an iterable of them: a list, a column of pandas or polars.

    Raises
    ------
    InvalidIdentifierError
        An item has no session ID (a `ValueError`); the message has its position.

    Examples
    --------
    >>> import aind_session
    >>> sessions = aind_session.get_sessions(676909, start_date="2023-12-13")
    >>> sessions
    (Session('ecephys_676909_2023-12-13_13-43-40'), Session('ecephys_676909_2023-12-14_12-43-11'))
    >>> sessions == tuple(sessions)
    True
    >>> aind_session.Sessions(["ecephys_676909_2023-12-13_13-43-40"]) & sessions
    (Session('ecephys_676909_2023-12-13_13-43-40'),)
    """

    def __new__(cls, sessions: object = ()) -> Sessions:  # noqa: D102
        return super().__new__(cls, _read(sessions))

    @classmethod
    def _found_together(cls, ids: Sequence[SessionID]) -> Sessions:
        """Make the sessions of a search: a loop over them fetches their records together."""
        sessions: list[Session] = []
        for start in range(0, len(ids), GROUP_SIZE):
            group = tuple(one.id for one in ids[start : start + GROUP_SIZE])
            sessions += [Session.in_group(session_id, group) for session_id in group]
        return cls(sessions)

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], column: str | None = None) -> Sessions:
        r"""Read sessions from a CSV file, one per line.

        Lines without a value are skipped, with a warning in the log.

        Parameters
        ----------
        path
            The file, with or without a line of column names.
        column
            Name of the column with the session IDs; by default the first one in the first line
            that has any.

        Raises
        ------
        InvalidContentError, InvalidIdentifierError
            The column does not exist, or a value has no session ID, or it is blank and another
            column has one (both a `ValueError`).

        Examples
        --------
        >>> import aind_session, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "sessions.csv")
        >>> _ = path.write_text("mouse,session\\n676909,ecephys_676909_2023-12-13_13-43-40\\n")
        >>> aind_session.Sessions.from_csv(path)
        (Session('ecephys_676909_2023-12-13_13-43-40'),)
        """
        return cls(_session(*cell) for cell in read_csv(os.fspath(path), column))

    # `int` is named apart: completion in notebooks does not take it for a `SupportsIndex`.
    @overload  # type: ignore[override]
    def __getitem__(self, index: int, /) -> Session: ...
    @overload
    def __getitem__(self, index: SupportsIndex, /) -> Session: ...
    @overload
    def __getitem__(self, index: slice | Iterable[bool], /) -> Sessions: ...
    def __getitem__(self, index: SupportsIndex | slice | Iterable[bool], /) -> Session | Sessions:
        """Return one session, or with a slice or a mask (one bool per session) some of them."""
        if isinstance(index, slice):
            return Sessions(super().__getitem__(index))
        if not isinstance(index, Iterable):
            return super().__getitem__(index)
        mask = list(index)
        # `numpy.bool_` is not a bool, and pandas and polars iterate over either.
        if not all(type(keep).__name__ in ("bool", "bool_") for keep in mask):
            raise TypeError("a mask of sessions has only True and False")
        if len(mask) != len(self):
            raise IndexError(f"a mask of {len(mask)} values for {len(self)} sessions")
        return Sessions(one for one, keep in zip(self, mask, strict=True) if keep)

    def filter(self, function: Callable[[Session], object]) -> Sessions:
        """Return the sessions for which a function returns a true value; many concurrently.

        Examples
        --------
        >>> import aind_session
        >>> len(aind_session.get_sessions(676909).filter(lambda s: s.ecephys.is_sorted))
        1
        """
        return self[[bool(keep) for keep in self.map(function)]]

    def __add__(self, other: Iterable[Session]) -> Sessions:  # type: ignore[override]
        return Sessions((*self, *other))

    def __or__(self, other: Iterable[Session]) -> Sessions:
        """Return the sessions of both, each once, ascending by date and time."""
        both = {*self, *Sessions(other)}
        return Sessions(sorted(both, key=lambda session: (session.dt, session.id)))

    def __and__(self, other: Iterable[Session]) -> Sessions:
        """Return the sessions that are also in the other."""
        return Sessions(filter(set(Sessions(other)).__contains__, self))

    def __sub__(self, other: Iterable[Session]) -> Sessions:
        """Return the sessions that are not in the other."""
        return Sessions(itertools.filterfalse(set(Sessions(other)).__contains__, self))

    def __reduce__(self) -> tuple[Any, ...]:
        return Sessions, (tuple(self),)

    def __repr__(self) -> str:
        if len(self) <= 3 * SHOWN:
            return super().__repr__()
        first = ", ".join(map(repr, self[:SHOWN]))
        last = ", ".join(map(repr, self[-SHOWN:]))
        return f"<{len(self)} sessions: {first}, ..., {last}>"

    def _repr_html_(self) -> str:
        from aind_session import html

        return html.of_sessions(self)

    def prefetch(self, *what: str, progress: bool = True) -> Sessions:
        """Fetch data of all of these sessions at once, so that later lookups find it cached.

        Parameters
        ----------
        *what
            "assets" (data assets, raw folders), "records" (full metadata records), "modalities"
            (a listing of each raw folder); by default the first two.
        progress
            Show a bar in a terminal or a notebook, once it takes a second.

        Returns
        -------
        Sessions
            These sessions, so that a loop can follow.

        Warns
        -----
        PartialAnswerWarning
            A service failed: it is queried again when its data is used.

        Examples
        --------
        >>> import aind_session
        >>> for session in aind_session.get_sessions(676909).prefetch():
        ...     assert session.docdb.subject_id == "676909"
        """
        unknown = ", ".join(repr(one) for one in what if one not in FETCHED)
        if unknown:
            raise InvalidFilterError(f"prefetch() takes {', '.join(FETCHED)}, not {unknown}.")
        wanted = set(what or FETCHED[:2])
        if not self:
            return self
        from aind_session.lookup import batch

        ids = [session._id for session in self]
        with showing(len(ids) * len(wanted), "prefetch", progress) as bar:
            batch.prefetch(ids, wanted, bar.update)
        return self

    @overload
    def map(
        self,
        function: Callable[[Session], T],
        executor: Executor | None = None,
        progress: bool = True,
        errors: Literal["raise"] = "raise",
    ) -> list[T]: ...
    @overload
    def map(
        self,
        function: Callable[[Session], T],
        executor: Executor | None = None,
        progress: bool = True,
        *,
        errors: Literal["return"],
    ) -> list[T | Exception]: ...
    def map(
        self,
        function: Callable[[Session], T],
        executor: Executor | None = None,
        progress: bool = True,
        errors: Literal["raise", "return"] = "raise",
    ) -> list[T] | list[T | Exception]:
        """Call a function with each session, many at the same time; return the results in order.

        Parameters
        ----------
        function
            Called with a session.
        executor
            Where it runs: 32 threads by default; a `ProcessPoolExecutor`, or that of a Dask client
            (`client.get_executor()`). Sessions cross processes as their ID: workers use their own
            settings, and nothing secret is sent.
        progress
            Show a bar in a terminal or a notebook, once it takes a second.
        errors
            "raise" the first error, calls not yet begun being cancelled, or "return" each error in
            the place of its result. Each error has the session's ID: as a note, or before Python
            3.11 in its message.

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
        from aind_session import threads

        def failed(session: Session, error: Exception) -> None:
            name_session(error, session.id)

        with showing(len(self), "sessions", progress) as bar:
            return threads.call(function, self, executor, bar.update, failed, errors == "raise")

    @overload
    def run(
        self,
        capsule_or_pipeline_id: str,
        parameters: Parameters | Callable[[Session], Parameters] = None,
        attach: Attach | Callable[[Session], Attach] = None,
        *,
        dry_run: Literal[True],
        **options: Unpack[RunOptions],
    ) -> RunPlan: ...
    @overload
    def run(
        self,
        capsule_or_pipeline_id: str,
        parameters: Parameters | Callable[[Session], Parameters] = None,
        attach: Attach | Callable[[Session], Attach] = None,
        *,
        dry_run: Literal[False] = False,
        **options: Unpack[RunOptions],
    ) -> RunReport: ...
    def run(
        self,
        capsule_or_pipeline_id: str,
        parameters: Parameters | Callable[[Session], Parameters] = None,
        attach: Attach | Callable[[Session], Attach] = None,
        *,
        dry_run: bool = False,
        label: str | None = None,
        state: str | os.PathLike[str] | None = None,
        at_once: int = 20,
        per_minute: int | None = 30,
        retries: int = 0,
        poll_seconds: float | None = None,
        tags: Sequence[str] = (),
        custom_metadata: Mapping[str, str] | None = None,
        share: bool | Mapping[str, Any] | Permissions = False,
        wait: bool = True,
        wait_ready: bool = True,
        is_pipeline: bool | None = None,
        version: int | None = None,
        nextflow_profile: str | None = None,
        progress: bool = True,
    ) -> RunPlan | RunReport:
        """Start one computation per session, wait for all, and capture their results.

        Sessions that have a good result of the label, or whose computation is in progress, are left
        out; this is checked again right before each start. The state of the run is written to a
        small file before each request: if the process is killed, `aind_session.resume_run`
        continues, and no session is started twice.

        Parameters
        ----------
        capsule_or_pipeline_id
            The ID of the capsule or pipeline.
        parameters
            A list (by position), a mapping (by name), or a function of the session returning one.
            They are written to the state file: no secrets.
        attach
            A data asset or its ID, several of them, a mapping of mounts to them, or a function of
            the session that returns one of these, or None to skip the session; by default the raw
            data asset.
        dry_run
            Start nothing, and return the plan.
        label
            The label in the names of the results: `<session ID>_<label>_<time>`. Without one,
            results are neither searched nor captured.
        state
            The state file, which must not exist yet; by default `runs-<label>-<capsule>.json` in
            the working directory.
        at_once
            Computations that run at the same time at most.
        per_minute
            Computations that are started in any minute at most; None: no limit.
        retries
            Number of further attempts for a session whose computation failed. A computation with an
            error in its log has also failed, even if Code Ocean reports that it succeeded.
        poll_seconds
            Seconds between two checks of the running computations; by default 60, in a sandbox 0.5.
        tags, custom_metadata
            Of the results, in addition to the standard ones: tags `derived`, subject, platform;
            fields `data level`, `experiment type`, `subject id`.
        share
            True lets everyone see the results; or permissions as Code Ocean takes them.
        wait
            False: start what can be started now, and leave the rest to `resume_run`.
        wait_ready
            False: do not wait until the data assets of the results are ready.
        is_pipeline
            Whether the ID is of a pipeline; by default Code Ocean is queried.
        version, nextflow_profile
            Of the capsule or pipeline.
        progress
            False: show no progress bar.

        Returns
        -------
        RunPlan or RunReport
            With `dry_run` the plan, else a report; `report.happened` equals the plan if nothing
            changed in between. Both print as a table.

        Raises
        ------
        CodeOceanNotFoundError
            The capsule or pipeline does not exist (a `ValueError`).
        RunStateError
            The state file exists already, or is in use (a `ValueError`).
        InvalidFilterError
            An option is invalid (a `ValueError`).
        CredentialsError, ServiceError
            Code Ocean rejected the token, or did not answer for an hour; the run can be resumed.

        Examples
        --------
        >>> import aind_session
        >>> sessions = aind_session.get_sessions(676909, platform="ecephys")
        >>> plan = sessions.run(
        ...     "1f8f159a-7670-47a9-baf1-078905fc9c2e",
        ...     parameters=lambda session: {"subject": session.subject_id},
        ...     label="dlc-eye",
        ...     dry_run=True,
        ... )
        >>> [(one.session, str(*one.parameters)) for one in plan.starts][:1]
        [('ecephys_676909_2023-12-11_14-24-35', 'subject=676909')]
        """
        # An upward import: runs work on sessions.
        from aind_session import runs

        done: RunPlan | RunReport = runs.run(
            self,
            capsule_or_pipeline_id,
            parameters=parameters,
            attach=attach,
            dry_run=dry_run,
            label=label,
            state=state,
            at_once=at_once,
            per_minute=per_minute,
            retries=retries,
            poll_seconds=poll_seconds,
            tags=tags,
            custom_metadata=custom_metadata,
            share=share,
            wait=wait,
            wait_ready=wait_ready,
            is_pipeline=is_pipeline,
            version=version,
            nextflow_profile=nextflow_profile,
            progress=progress,
        )
        return done

    def to_pandas(
        self, columns: Iterable[str] | None = None, progress: bool = True
    ) -> pd.DataFrame:
        """Make a table with one row per session.

        Parameters
        ----------
        columns
            Names of columns: `aind_session.table` lists all of them, and what each costs; by
            default those that cost little.
        progress
            Show a bar in a terminal or a notebook, once it takes a second.

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
        from aind_session.table import table

        values = table([session._id for session in self], columns, progress)
        # Without a row pandas takes each column for numbers, and refuses to filter it by a text.
        return pd.DataFrame(values, dtype=None if self else object)

    def to_polars(
        self, columns: Iterable[str] | None = None, progress: bool = True
    ) -> pl.DataFrame:
        """Make a table with one row per session; as `to_pandas`, with polars."""
        try:
            import polars as pl
        except ImportError as error:
            raise MissingExtraError.of("polars", "to_polars()") from error
        from aind_session.table import kinds_of_empty, table

        values = table([session._id for session in self], columns, progress)
        # The type of a column is that of all its values, not of the first hundred.
        return pl.DataFrame(
            values, schema_overrides=kinds_of_empty(values), infer_schema_length=None
        )


# -- sessions from values that users have ----------------------------------------------------------


def _read(sessions: object) -> Iterable[Session]:
    """Read one session or several, each from anything that has a session ID."""
    is_one = isinstance(sessions, Session | str | os.PathLike | Mapping)
    if is_one or not isinstance(sessions, Iterable):
        return (_session(sessions, "the value"),)
    return [_session(item, f"item {position}") for position, item in enumerate(sessions)]


def _session(value: object, where: str, advice: str = "") -> Session:
    if isinstance(value, Session):
        return value
    found = find_session_id(value)
    if found is None:
        if not isinstance(value, str) and str(value) in ("nan", "None", "NaT", "<NA>"):
            advice = '\nIn pandas, leave out missing values with Sessions(df["column"].dropna())'
        raise InvalidIdentifierError(why_not_found(value, where) + advice)
    return Session(found)
