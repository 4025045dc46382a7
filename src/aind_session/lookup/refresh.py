"""Fresh answers: cached ones are dropped, and a new data asset is waited for."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from aind_session import context, trace
from aind_session.clock import CLOCK, at_most
from aind_session.context import newer_than
from aind_session.errors import (
    AccessDeniedError,
    FailedAssetError,
    NotReadyError,
    ServiceError,
)
from aind_session.identifiers import SessionID, session_in_name
from aind_session.lookup import folders
from aind_session.progress import progress
from aind_session.services import codeocean, http, s3
from aind_session.services.assets import (
    NAME_QUERY_LENGTH,
    assets_mentioning,
    assets_named,
    assets_of_subject,
    get_asset,
    subjects_of,
)
from aind_session.services.metadata import SCHEMAS, records_named, records_of_subject
from aind_session.services.models import AssetSummary
from aind_session.trace import logger, note, tracing

#: Seconds between requests; the last one is repeated.
INTERVALS = (0.5, 1.0, 2.0, 4.0, 5.0)

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def session(session_id: SessionID) -> None:
    """Drop a session's answers, its assets', and its subject's searches."""
    http.close_circuits()
    trace.forget(session_id.id)
    found = assets_named.cached(session_id.id[:NAME_QUERY_LENGTH]) or ()
    records = (records_named.cached(s, session_id.id) or () for s in SCHEMAS)
    linked = {asset_id for some in records for record in some for asset_id in record.linked}
    subject(session_id.subject_id, {asset.id for asset in found} | linked)


def subject(subject_id: str, asset_ids: Iterable[str] = ()) -> None:
    """Drop a subject's searches, and the answers about its sessions and assets."""
    http.close_circuits()
    trace.forget(subject_id)
    ids = set(asset_ids)
    for search in (assets_mentioning, assets_of_subject):
        ids |= {asset.id for asset in search.cached(subject_id) or ()}
    for schema in SCHEMAS:
        for record in records_of_subject.cached(schema, subject_id) or ():
            ids |= set(record.linked)

    def concerns(key: tuple[Any, ...]) -> bool:
        # The key of a file in a result's folder begins with the asset's ID.
        return any(subject_id in part or part.partition("/")[0] in ids for part in _texts(key))

    context.current().cache.forget(concerns)
    s3.forget_listings()


def asset(asset_id: str) -> None:
    """Drop the answers about a data asset and its files."""
    http.close_circuits()
    context.current().cache.forget(
        lambda key: any(part.partition("/")[0] == asset_id for part in _texts(key))
    )


def everything() -> None:
    """Drop every cached answer."""
    http.close_circuits()
    context.current().cache.clear()
    s3.forget_listings()


class CachedFunction(Protocol[P, T_co]):
    """A function whose cached answers can be forgotten."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Call the function."""

    def cache_clear(self) -> None:
        """Forget every cached answer: the functions share one cache."""


def with_cache_clear(function: Callable[P, T]) -> CachedFunction[P, T]:
    """Add the method `cache_clear` of the functions that version 0.3 cached."""
    function.cache_clear = everything  # type: ignore[attr-defined]
    return cast(CachedFunction[P, T], function)


def _texts(key: tuple[Any, ...]) -> Iterator[str]:
    """Yield the texts among the arguments in a key of the cache."""
    for part in key[2:]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, tuple):
            yield from (text for text in part if isinstance(text, str))


@contextlib.contextmanager
def at_hash(ttl_hash: int | None, *call: str) -> Iterator[None]:
    """Request again what was cached before a `ttl_hash` was first used with a call.

    None: any cached answer counts.
    """
    if ttl_hash is None:
        yield
        return
    cache = context.current().cache
    with newer_than(cache.get(("ttl hash", *call, str(ttl_hash)), cache.clock)):
        yield


# -- waiting ---------------------------------------------------------------------------------------


def until_ready(
    asset_id: str,
    *,
    check_files: bool = True,
    timeout: float | None = 60,
    interval: float | None = None,
    shown: bool = True,
) -> AssetSummary:
    """Request a data asset until it is ready and, with `check_files`, its files are visible.

    One request is sent however short the timeout; None: no limit. The arguments are those of
    `wait_until_ready`.
    """
    deadline = math.inf if timeout is None else CLOCK.monotonic() + timeout
    intervals = _intervals(interval)
    waited = False
    # Without a limit, the bar has no total.
    shown_bar = progress(int(timeout or 0), f"waiting for {asset_id}", shown)
    with tracing(asset_id, "wait"), shown_bar as bar:
        while True:
            remaining = deadline - CLOCK.monotonic()
            # No request takes longer than the whole wait.
            with at_most(max(1.0, remaining)):
                found, missing, problem = _check(asset_id, check_files)
            if found is not None and missing is None:
                _forget(found, waited)
                return found
            remaining = deadline - CLOCK.monotonic()
            if remaining <= 0:
                raise NotReadyError(
                    f"Data asset {asset_id} was not ready after {timeout:g} s: {missing}. Wait "
                    "again, or longer: `wait_until_ready(data_asset, timeout=...)`"
                ) from problem
            logger.info("Waiting for data asset %s: %s", asset_id, missing)
            waited = True
            pause = min(next(intervals), remaining)
            CLOCK.sleep(pause)
            bar.update(pause)


def _intervals(interval: float | None) -> Iterator[float]:
    if interval is None:
        yield from INTERVALS
    while True:
        yield INTERVALS[-1] if interval is None else interval


def _check(
    asset_id: str, check_files: bool
) -> tuple[AssetSummary | None, str | None, Exception | None]:
    """Return the asset as it is now, a description of what is missing, and the error behind it."""
    try:
        found = codeocean.get_asset(asset_id)
        state = found.state.lower()
        if state == "failed":
            raise FailedAssetError(
                f"Data asset {asset_id} ({found.name}) failed: it will never be ready. Its page "
                "in Code Ocean shows why."
            )
        if state != "ready":
            return found, f"its state is {state!r}", None
        if check_files and not _files_visible(found):
            return found, "it is ready, but its files are not visible yet", None
    except (
        codeocean.CodeOceanNotFoundError,
        codeocean.ClosedAssetError,
        codeocean.RefusedTokenError,
    ):
        raise
    except ServiceError as error:
        # A service that fails for a moment does not end the wait.
        return None, str(error).splitlines()[0], error
    return found, None, None


def _files_visible(asset: AssetSummary) -> bool:
    """Whether S3 lists a data asset's files, or Code Ocean if S3 denies access."""
    folder = folders.of_asset(asset)
    if folder is None or asset.type.lower() == "combined":
        # The files of a combined asset are those of its parts.
        return True
    try:
        return s3.list_folder(folder.bucket, folder.prefix).exists
    except AccessDeniedError:
        if asset.external:
            # Code Ocean lists the files of internal assets only: this cannot be checked.
            note("%s is closed: its files are assumed to exist", folder)
            return True
    try:
        return bool(codeocean.list_asset_files(asset.id))
    except codeocean.CodeOceanNotFoundError:
        return False


def _forget(found: AssetSummary, waited: bool) -> None:
    """Drop cached searches that are older than the asset."""
    subject_id = next(iter(subjects_of(found)), "")
    if subject_id and (waited or get_asset.cached(found.id) is None):
        session_id = session_in_name(found.name)
        if session_id is not None:
            session(session_id)
        else:
            subject(subject_id)
    if waited:
        asset(found.id)
    get_asset.store(found, found.id)
