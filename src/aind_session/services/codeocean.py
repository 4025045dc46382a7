"""What is asked of Code Ocean: searches, assets, computations, files.

Answers are bytes or frozen summaries, safe to keep; the models are made of them where they are
handed out.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, cast

from aind_session.errors import IncompleteAnswerError, ServiceError
from aind_session.services.codeocean_client import (
    Client,
    ask,
    ask_of_runnable,
    checked_id,
    get_client,
)
from aind_session.services.codeocean_errors import (
    SERVICE,
    ClosedAssetError,
    CodeOceanError,
    CodeOceanNotFoundError,
    IncompleteSearchError,
    RefusedTokenError,
)
from aind_session.services.codeocean_files import (
    list_asset_files,
    list_result_files,
    read_asset_file,
    read_result_file,
)
from aind_session.services.models import (
    AssetSummary,
    Computation,
    DataAsset,
    decode_asset,
    decode_computation,
    split_list,
    split_results,
    summarise,
)
from aind_session.services.sdk import DataAssetParams, RunParams

__all__ = [
    "ClosedAssetError",
    "CodeOceanError",
    "CodeOceanNotFoundError",
    "IncompleteSearchError",
    "RefusedTokenError",
    "create_asset",
    "get_asset",
    "get_client",
    "get_computation",
    "is_pipeline",
    "list_asset_files",
    "list_computations",
    "list_result_files",
    "probe_token",
    "read_asset_file",
    "read_result_file",
    "run_capsule",
    "search_assets",
    "share_asset",
]

PAGE_SIZE = 1000
MAX_PAGES = 100


def probe_token() -> bool:
    """Tell whether Code Ocean accepts the token; asked once for each token.

    Raises
    ------
    MissingTokenError, UnsafeDomainError
        There is no token that may be sent.
    ServiceError
        Code Ocean did not answer.
    """
    return cast("Client", get_client()).accepts_token()


def search_assets(
    *,
    page_size: int = PAGE_SIZE,
    max_pages: int = MAX_PAGES,
    raise_on_page_limit: bool = True,
    **body: Any,
) -> tuple[AssetSummary, ...]:
    """Search data assets, all pages of the answer.

    Parameters
    ----------
    page_size
        Assets a request; the service gives at most 1000.
    max_pages
        Requests at most.
    raise_on_page_limit
        Whether more than `max_pages` is an error; else the pages that came are the answer.
    **body
        The search as the API takes it: `query`, `filters`, `type`, ... `archived` is False unless
        said otherwise.

    Returns
    -------
    tuple of AssetSummary
        Each asset once, in the order of the answer.

    Raises
    ------
    IncompleteAnswerError
        Some pages did not come: fewer than all are never told as all.
    CodeOceanError, ServiceError
        The search failed.
    """
    search = {"limit": page_size, "archived": False, **body}
    search = {key: value for key, value in search.items() if value is not None}
    found: dict[str, AssetSummary] = {}
    tokens: set[str] = set()
    for number in range(1, max_pages + 1):
        results, more, token = _page(search, number)
        for summary in results:
            found.setdefault(summary.id, _kept_once(summary))
        if not more or not results:
            return tuple(found.values())
        if token is None or token in tokens:
            raise IncompleteAnswerError(
                f"{SERVICE} says that there is more after page {number} of the search, but not "
                f"where: {len(found)} assets came.",
                service=SERVICE,
            )
        tokens.add(token)
        search = {**search, "next_token": token}
    if not raise_on_page_limit:
        return tuple(found.values())
    raise IncompleteAnswerError(
        f"The search has more than {max_pages} pages of {search['limit']}: narrow it.",
        service=SERVICE,
    )


#: Each asset as it was last told, for as long as an answer that is kept holds it.
_told: weakref.WeakValueDictionary[str, AssetSummary] = weakref.WeakValueDictionary()


def _kept_once(summary: AssetSummary) -> AssetSummary:
    """Give an asset that another search has told in the same words as the one that is kept."""
    known = _told.get(summary.id)
    if known is not None and known.raw == summary.raw:
        return known
    _told[summary.id] = summary
    return summary


def _page(search: dict[str, Any], number: int) -> tuple[list[AssetSummary], bool, str | None]:
    try:
        content = ask("POST", "data_assets/search", json=search).content
        return split_results(content, further=number > 1)
    except ServiceError as error:
        if number == 1 or isinstance(error, RefusedTokenError):
            raise
        text = f"Page {number} of the search did not come, after {number - 1} that did"
        if isinstance(error, CodeOceanError):
            raise error.retold(IncompleteSearchError, text) from error
        facts = {k: getattr(error, k) for k in ("status", "attempts", "seconds", "request_id")}
        raise IncompleteAnswerError(f"{text}: {error}", service=SERVICE, **facts) from error


def get_asset(asset_id: str) -> AssetSummary:
    """Give a data asset by its ID.

    Raises
    ------
    CodeOceanNotFoundError
        There is none (a `ValueError`).
    ClosedAssetError
        It is not open to this token (a `PermissionError`).
    """
    return summarise(ask("GET", f"data_assets/{checked_id(asset_id, 'data asset')}").content)


def get_computation(computation_id: str) -> bytes:
    """Give a computation by its ID, as JSON.

    Raises
    ------
    CodeOceanNotFoundError
        There is none (a `ValueError`).
    """
    return ask("GET", f"computations/{checked_id(computation_id, 'computation')}").content


def list_computations(capsule_or_pipeline_id: str) -> tuple[bytes, ...]:
    """Give all computations of a capsule or pipeline, as JSON each.

    Raises
    ------
    CodeOceanNotFoundError
        There is no capsule or pipeline of this ID (a `ValueError`).
    """
    response, _ = ask_of_runnable(capsule_or_pipeline_id, "/computations")
    return split_list(response.content, "computations")


def run_capsule(params: RunParams) -> Computation:
    """Start a capsule or a pipeline. Sent once, however it fails.

    Parameters
    ----------
    params
        As the SDK's `client.computations.run_capsule` takes them.

    Returns
    -------
    codeocean.computation.Computation
        The run that has begun.
    """
    return decode_computation(ask("POST", "computations", json=params.to_dict()).content)


def create_asset(params: DataAssetParams) -> DataAsset:
    """Create a data asset. Sent once, however it fails.

    Parameters
    ----------
    params
        As the SDK's `client.data_assets.create_data_asset` takes them.

    Returns
    -------
    codeocean.data_asset.DataAsset
        The asset, not ready yet.
    """
    return decode_asset(ask("POST", "data_assets", json=params.to_dict()).content)


def is_pipeline(capsule_or_pipeline_id: str) -> bool:
    """Tell whether an ID is that of a pipeline, not of a capsule.

    Raises
    ------
    CodeOceanNotFoundError
        It is neither (a `ValueError`).
    """
    return ask_of_runnable(capsule_or_pipeline_id)[1]


def share_asset(asset_id: str, permissions: Mapping[str, Any]) -> None:
    """Set who may see a data asset. Sent once; to send it again does no harm.

    Parameters
    ----------
    asset_id
        The data asset.
    permissions
        As the API takes them: `{"everyone": "viewer"}`.
    """
    ask("POST", f"data_assets/{checked_id(asset_id, 'data asset')}/permissions", json=permissions)
