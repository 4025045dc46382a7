"""Waiting for a data asset: until it is ready, and its files can be seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aind_session.clock import CLOCK, at_most
from aind_session.errors import (
    AccessDeniedError,
    FailedAssetError,
    NotReadyError,
    ServiceError,
)
from aind_session.identifiers import session_in_name
from aind_session.lookup import folders, refresh
from aind_session.progress import progress
from aind_session.services import codeocean, s3
from aind_session.services.assets import get_asset, subjects_of
from aind_session.services.models import AssetSummary
from aind_session.trace import logger, note, tracing

#: Seconds between requests; the last one is repeated.
INTERVALS = (0.5, 1.0, 2.0, 4.0, 5.0)


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

    Raises
    ------
    NotReadyError
        It was not ready in time (a `TimeoutError`).
    FailedAssetError
        It failed (a `RuntimeError`).
    CodeOceanNotFoundError
        The data asset does not exist (a `ValueError`).
    """
    deadline = math.inf if timeout is None else CLOCK.monotonic() + timeout
    intervals = _intervals(interval)
    waited = False
    with tracing(asset_id, "wait"), _shown(asset_id, timeout, shown) as advance:
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
            advance(pause)


def _intervals(interval: float | None) -> Iterator[float]:
    if interval is None:
        yield from INTERVALS
    while True:
        yield INTERVALS[-1] if interval is None else interval


@contextmanager
def _shown(
    asset_id: str, timeout: float | None, shown: bool
) -> Iterator[Callable[[float], object]]:
    # Without a limit, the bar has no total.
    with progress(int(timeout or 0), f"waiting for {asset_id}", shown) as bar:
        yield bar.update


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


def _forget(asset: AssetSummary, waited: bool) -> None:
    """Drop cached searches that are older than the asset."""
    subject = next(iter(subjects_of(asset)), "")
    if subject and (waited or get_asset.cached(asset.id) is None):
        session = session_in_name(asset.name)
        if session is not None:
            refresh.session(session)
        else:
            refresh.subject(subject)
    if waited:
        refresh.asset(asset.id)
    get_asset.store(asset, asset.id)
