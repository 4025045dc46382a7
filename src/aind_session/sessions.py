"""Sessions: the tuple that a search returns, with verbs for all of them at once."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeVar, overload

from aind_session.errors import InvalidFilterError, MissingExtraError
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

    # `int` stands apart: completion in notebooks does not know it for a `SupportsIndex`.
    @overload  # type: ignore[override]
    def __getitem__(self, index: int, /) -> Session: ...
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
        unknown = ", ".join(repr(one) for one in what if one not in FETCHED)
        if unknown:
            raise InvalidFilterError(f"prefetch() knows {', '.join(FETCHED)}, not {unknown}.")
        wanted = set(what or FETCHED[:2])
        if not self:
            return self
        from aind_session.lookup import cohort

        ids = [session._id for session in self]
        cohort.remember(session.id for session in self)
        with showing(len(ids) * len(wanted), "prefetch", progress) as bar:
            cohort.fetch(ids, wanted, bar.update)
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
        """Call a function with each session, many at the same time, and give the results in order.

        Parameters
        ----------
        function
            Called with a session.
        executor
            Where it runs: 32 threads by default; a `ProcessPoolExecutor`, or that of a Dask client
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
                return self._map(function, threads, progress, errors)
        return self._map(function, executor, progress, errors)

    def _map(
        self,
        function: Callable[[Session], T],
        executor: Executor,
        progress: bool,
        errors: Literal["raise", "return"],
    ) -> list[T]:
        from aind_session.services.pool import wait_for

        futures: list[Future[T]] = []
        results: list[Any] = []
        try:
            futures.extend(executor.submit(function, session) for session in self)
            with showing(len(futures), "sessions", progress) as bar:
                for future in futures:
                    try:
                        results.append(wait_for(future))
                    except Exception as error:
                        if errors == "raise":
                            raise
                        results.append(error)
                    bar.update()
        except BaseException:
            # Ctrl-C, too: else it would wait for all that is not yet begun.
            for future in futures:
                future.cancel()
            raise
        return results

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
        label: str | None = None,
        dry_run: bool = False,
        state: str | os.PathLike[str] | None = None,
        at_once: int = 20,
        per_minute: int | None = 30,
        retries: int = 0,
        poll_seconds: float = 60.0,
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
        small file before each request: after a kill at any moment `aind_session.resume_run`
        continues, and no session is started twice.

        Parameters
        ----------
        capsule_or_pipeline_id
            What is run.
        parameters
            A list (by position), a mapping (by name), or a function of the session that gives one.
            They are kept in the state's file: no secrets.
        attach
            A data asset or its ID, several of them, a mapping of mounts to them, or a function of
            the session that returns one of these, or None to skip the session; by default the raw
            data asset.
        label
            What is done, in the names of the results: `<session ID>_<label>_<time>`. Without one,
            results are neither looked for nor captured.
        dry_run
            Start nothing, and give the plan.
        state
            The state file, which must not exist yet; by default `runs-<label>-<capsule>.json` in
            the working directory.
        at_once
            Computations that run at the same time at most.
        per_minute
            Computations that are started in any minute at most; None: no limit.
        retries
            How often a session whose computation failed is started again. Failed
            is also a run that Code Ocean calls succeeded but whose log tells of an error.
        poll_seconds
            Seconds between two looks at what runs.
        tags, custom_metadata
            Of the results, beside those of the house: tags `derived`, subject, platform; fields
            `data level`, `experiment type`, `subject id`.
        share
            True lets everyone see the results; or permissions as Code Ocean takes them.
        wait
            False: start what may be started now, and leave the rest to `resume_run`.
        wait_ready
            Whether to wait until the data assets of the results are ready.
        is_pipeline
            Which of both the ID is; by default Code Ocean is asked.
        version, nextflow_profile
            Of the capsule or pipeline.
        progress
            Show a bar where there is a terminal or a notebook.

        Returns
        -------
        RunPlan or RunReport
            With `dry_run` what would be done, else what was done; `report.happened` is equal to
            the plan where nothing changed in between. Both print as a table.

        Raises
        ------
        CodeOceanNotFoundError
            There is no such capsule or pipeline (a `ValueError`).
        RunStateError
            The state's file is there already, or in use (a `ValueError`).
        InvalidFilterError
            An option makes no sense (a `ValueError`).
        CredentialsError, ServiceError
            Code Ocean refuses the token, or did not answer for an hour; the state can be gone on
            with.

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
        # A dotted path: runs stand on a higher floor.
        runs: Any = importlib.import_module("aind_session.runs")
        done: RunPlan | RunReport = runs.run(
            self,
            capsule_or_pipeline_id,
            parameters=parameters,
            attach=attach,
            label=label,
            dry_run=dry_run,
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
        """Make a table, a row a session.

        Parameters
        ----------
        columns
            Names of columns, by default the cheap ones: see `aind_session.table` for all of them,
            and what each costs.
        progress
            Show a bar where there is a terminal or a notebook, once it takes a second.

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
        # Without a row pandas takes each column for numbers, and refuses to filter it by a text.
        return pd.DataFrame(self._columns(columns, progress), dtype=None if self else object)

    def to_polars(
        self, columns: Iterable[str] | None = None, progress: bool = True
    ) -> pl.DataFrame:
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
        from aind_session.table import kinds_of_empty

        values = self._columns(columns, progress)
        # The type of a column is that of all its values, not of the first hundred.
        return pl.DataFrame(
            values, schema_overrides=kinds_of_empty(values), infer_schema_length=None
        )

    def _columns(self, columns: Iterable[str] | None, progress: bool) -> dict[str, list[Any]]:
        from aind_session.table import table

        return table([session._id for session in self], columns, progress)
