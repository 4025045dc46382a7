"""Requests to Code Ocean: searches, assets, computations, files.

Results are bytes or frozen summaries, safe to cache; the models are made of them where they are
handed out. Code Ocean shows the files of internal assets only, through presigned links; those of
external ones are in their bucket.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import requests

from aind_session import context, settings
from aind_session.errors import (
    BadAnswerError,
    CredentialsError,
    IncompleteAnswerError,
    ServiceError,
)
from aind_session.services.codeocean_client import (
    SERVICE,
    checked_id,
    get_client,
    get_connection,
    request,
    request_runnable,
)
from aind_session.services.exchange import exchange_of
from aind_session.services.http import link_session
from aind_session.services.models import (
    AssetSummary,
    decode_asset,
    decode_computation,
    split_list,
    split_results,
    summarise,
)
from aind_session.services.redact import excerpt, is_no_file, is_url, is_web_page

if TYPE_CHECKING:
    from aind_session.services.sdk import (
        ClosedAssetError as ClosedAssetError,
    )
    from aind_session.services.sdk import (
        CodeOceanError as CodeOceanError,
    )
    from aind_session.services.sdk import (
        CodeOceanNotFoundError as CodeOceanNotFoundError,
    )
    from aind_session.services.sdk import (
        Computation,
        DataAsset,
        DataAssetParams,
        RunParams,
    )
    from aind_session.services.sdk import (
        IncompleteSearchError as IncompleteSearchError,
    )
    from aind_session.services.sdk import (
        RefusedTokenError as RefusedTokenError,
    )

__all__ = [
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

_ERRORS = (
    *("ClosedAssetError", "CodeOceanError", "CodeOceanNotFoundError"),
    *("IncompleteSearchError", "RefusedTokenError"),
)


def __getattr__(name: str) -> Any:
    # The errors are the SDK's as well: an `except` clause loads them only when one is raised.
    if name not in _ERRORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aind_session.services import sdk

    return getattr(sdk, name)


def probe_token() -> bool:
    """Whether Code Ocean accepts the token; cached for each token."""
    return get_connection().accepts_token()


def search_assets(
    *,
    page_size: int = PAGE_SIZE,
    max_pages: int = MAX_PAGES,
    raise_on_page_limit: bool = True,
    **body: Any,
) -> tuple[AssetSummary, ...]:
    """Search data assets, and return all pages."""
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
                f"{SERVICE} announces more after page {number} of the search, but not "
                f"where: {len(found)} assets were received.",
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


#: The last summary of each asset, for as long as a cached result holds it.
_summaries: weakref.WeakValueDictionary[str, AssetSummary] = weakref.WeakValueDictionary()


def _kept_once(summary: AssetSummary) -> AssetSummary:
    """Return the summary that another search has made of the same JSON, to save memory."""
    cached = _summaries.get(summary.id)
    if cached is not None and cached.raw == summary.raw:
        return cached
    _summaries[summary.id] = summary
    return summary


def _page(search: dict[str, Any], number: int) -> tuple[list[AssetSummary], bool, str | None]:
    try:
        content = request("POST", "data_assets/search", json=search).content
        return split_results(content, further=number > 1)
    except ServiceError as error:
        if number == 1 or isinstance(error, CredentialsError):
            raise
        from aind_session.services.sdk import CodeOceanError, IncompleteSearchError

        text = f"Page {number} of the search failed, after {number - 1} without error"
        if isinstance(error, CodeOceanError):
            raise error.as_kind(IncompleteSearchError, text) from error
        facts = {k: getattr(error, k) for k in ("status", "attempts", "seconds", "request_id")}
        raise IncompleteAnswerError(f"{text}: {error}", service=SERVICE, **facts) from error


def get_asset(asset_id: str) -> AssetSummary:
    """Return a data asset by its ID."""
    return summarise(request("GET", f"data_assets/{checked_id(asset_id, 'data asset')}").content)


def get_computation(computation_id: str) -> bytes:
    """Return a computation by its ID, as JSON."""
    return request("GET", f"computations/{checked_id(computation_id, 'computation')}").content


def list_computations(capsule_or_pipeline_id: str) -> tuple[bytes, ...]:
    """Return all computations of a capsule or pipeline, as JSON each."""
    response, _ = request_runnable(capsule_or_pipeline_id, "/computations")
    return split_list(response.content, "computations")


def run_capsule(params: RunParams) -> Computation:
    """Start a capsule or a pipeline. Sent once, however it fails."""
    return decode_computation(request("POST", "computations", json=params.to_dict()).content)


def create_asset(params: DataAssetParams) -> DataAsset:
    """Create a data asset. Sent once, however it fails."""
    return decode_asset(request("POST", "data_assets", json=params.to_dict()).content)


def is_pipeline(capsule_or_pipeline_id: str) -> bool:
    """Whether an ID is that of a pipeline, not of a capsule."""
    return request_runnable(capsule_or_pipeline_id)[1]


def share_asset(asset_id: str, permissions: Mapping[str, Any]) -> None:
    """Set who may see a data asset. Sent once; to send it again does no harm."""
    route = f"data_assets/{checked_id(asset_id, 'data asset')}/permissions"
    request("POST", route, json=permissions)


#: Name, whether it is a folder, size in bytes (None for folders).
Item = tuple[str, bool, "int | None"]


class _Item(msgspec.Struct):
    name: str = ""
    path: str = ""
    type: str = ""
    size: int | None = None


class _Folder(msgspec.Struct):
    items: list[_Item] | None = None


class _Link(msgspec.Struct):
    download_url: str = ""
    url: str = ""


def list_asset_files(asset_id: str, path: str = "") -> tuple[Item, ...]:
    """List a folder of an internal data asset."""
    return _list(f"data_assets/{checked_id(asset_id, 'data asset')}/files", path)


def list_result_files(computation_id: str, path: str = "") -> tuple[Item, ...]:
    """List a folder of a computation's results; as `list_asset_files`."""
    return _list(f"computations/{checked_id(computation_id, 'computation')}/results", path)


def read_asset_file(asset_id: str, path: str) -> bytes:
    """Read a file of an internal data asset."""
    return _read(f"data_assets/{checked_id(asset_id, 'data asset')}/files", path)


def read_result_file(computation_id: str, path: str) -> bytes:
    """Read a file of a computation's results; as `read_asset_file`."""
    return _read(f"computations/{checked_id(computation_id, 'computation')}/results", path)


def _list(route: str, path: str) -> tuple[Item, ...]:
    folder = _decode(request("POST", route, json={"path": path}), _Folder)
    items = (item for item in folder.items or () if item.name or item.path)
    return tuple(
        (item.name or item.path.rstrip("/").rpartition("/")[2], item.type == "folder", item.size)
        for item in items
    )


def _decode(response: requests.Response, model: type[Any]) -> Any:
    try:
        return msgspec.json.decode(response.content, type=model)
    except msgspec.MsgspecError as error:
        raise BadAnswerError(
            f"{SERVICE} sent an unexpected response: {excerpt(response.content)}",
            service=SERVICE,
            status=response.status_code,
        ) from error


def _read(route: str, path: str) -> bytes:
    link = _link(route, path)
    url = link.download_url or link.url
    if not is_url(url):
        raise BadAnswerError(f"{SERVICE} sent no link to {path} of {route}", service=SERVICE)
    response = link_session(SERVICE).get(url)
    _check_file(response, path)
    return response.content


def _link(route: str, path: str) -> _Link:
    from aind_session.services.sdk import CodeOceanNotFoundError

    domain = settings.current().domain.value
    cache, key = context.current().cache, ("newer route to file links", domain)
    known = cache.peek(key) is not None
    try:
        link: _Link = _decode(request("GET", f"{route}/urls", params={"path": path}), _Link)
    except CodeOceanNotFoundError as error:
        if known:
            raise
        # Servers before 3.9 have one link only, at another place; their 404 means the route.
        try:
            link = _decode(request("GET", f"{route}/download_url", params={"path": path}), _Link)
        except CodeOceanNotFoundError:
            raise error from None
    else:
        cache.put(key, True)
    return link


def _check_file(response: requests.Response, path: str) -> None:
    """Refuse an error page that came in place of a file."""
    if response.status_code < 300 and not is_no_file(response, path):
        return
    from aind_session.services import sdk

    is_html = is_web_page(response)
    if response.status_code == 404 and not is_html:
        raise sdk.error_of(sdk.CodeOceanNotFoundError, response, f"There is no file {path}.")
    if response.status_code in (401, 403) and not is_html:
        raise sdk.error_of(sdk.ClosedAssetError, response, f"The link to {path} is refused.")
    if response.status_code >= 300:
        raise sdk.error_of(sdk.CodeOceanError, response)
    raise BadAnswerError(
        f"An error page came in place of {path}: {excerpt(response.content)}",
        **exchange_of(response).facts(response.status_code),
    )
