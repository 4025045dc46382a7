"""Requests to Code Ocean: searches, assets, computations, files; its credentials and errors.

Results are bytes or frozen summaries, safe to cache; the models are made of them where they are
handed out. Code Ocean shows the files of internal assets only, through presigned links; those of
external ones are in their bucket. Nothing here loads the SDK, whose import takes 60 ms, before a
model, its client or one of its errors is needed.
"""

from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec
import requests

from aind_session import context, settings
from aind_session.errors import (
    AccessDeniedError,
    BadAnswerError,
    CredentialsError,
    IncompleteAnswerError,
    InvalidIdentifierError,
    ServiceError,
)
from aind_session.services.exchange import facts_in, unreadable
from aind_session.services.http import Transport, client_of, get_link
from aind_session.services.models import (
    AssetSummary,
    decode_asset,
    decode_computation,
    split_list,
    split_results,
    summarise,
)
from aind_session.services.redact import is_no_file, is_url, is_web_page, origin_of

if TYPE_CHECKING:
    from urllib3.util import Retry

    from aind_session.services.sdk import ClosedAssetError as ClosedAssetError
    from aind_session.services.sdk import (
        CodeOcean,
        Computation,
        DataAsset,
        DataAssetParams,
        RunParams,
    )
    from aind_session.services.sdk import CodeOceanError as CodeOceanError
    from aind_session.services.sdk import CodeOceanNotFoundError as CodeOceanNotFoundError
    from aind_session.services.sdk import IncompleteSearchError as IncompleteSearchError
    from aind_session.services.sdk import RefusedTokenError as RefusedTokenError

SERVICE = "Code Ocean"
T = TypeVar("T")

PAGE_SIZE = 1000
MAX_PAGES = 100
#: The route that shows whether a token is good.
PROBE = "data_assets/search"
#: How long a token that was refused is not tried again.
REFUSED_SECONDS = 10.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


_ERRORS = frozenset(
    {
        *("ClosedAssetError", "CodeOceanError", "CodeOceanNotFoundError"),
        *("IncompleteSearchError", "RefusedTokenError"),
    }
)


def __getattr__(name: str) -> Any:
    # The errors are the SDK's as well: an `except` clause loads them only when one is raised.
    if name not in _ERRORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aind_session.services import sdk

    return getattr(sdk, name)


# -- the connection --------------------------------------------------------------------------------


class Connection(Transport):
    """Sends requests with one token, and raises the errors that responses stand for."""

    def __init__(self, domain: str, token: str, **limits: Any) -> None:
        super().__init__(SERVICE, home=domain, json=True, **limits)
        self.domain, self.token = domain, token
        self.base, self.auth = f"{domain}/api/v1/", (token, "")

    def error_of(self, response: requests.Response) -> CodeOceanError:
        """Return the error that a response stands for."""
        from aind_session.services import sdk

        status, kind, advice = response.status_code, sdk.CodeOceanError, ""
        # A search has a route of its own: it may find nothing, but always exists.
        is_search = str(response.url).endswith(PROBE)
        if origin_of(str(response.url)) != origin_of(self.domain):
            # A response from another host does not show whether the token is valid.
            pass
        elif status == 400:
            text = response.content[:10_000].decode("utf-8", "replace")
            advice = sdk.version_advice(text)
        elif status in (403, 404) and is_web_page(response):
            advice = "This is a page of a gateway: it does not show whether the item exists."
        elif status == 404 and not is_search:
            kind = sdk.CodeOceanNotFoundError
        elif status == 403:
            kind, advice = sdk.ClosedAssetError, "The token has no access to it."
        elif status == 401:
            kind, advice = self._refusal(is_search)
        return kind.of(response, advice)

    def _refusal(self, is_search: bool) -> tuple[type[CodeOceanError], str]:
        """Return what a 401 means: whether the token, or only this asset, is refused."""
        from aind_session.services import sdk

        try:
            # Every good token may search: a search is its own probe.
            accepted = not is_search and self.accepts_token()
        except ServiceError as problem:
            return sdk.CodeOceanError, f"Whether the token is good is not known ({problem})."
        if accepted:
            return sdk.ClosedAssetError, "The token is good, but has no access to this."
        advice = "The token is refused: make a new one (scope `Datasets: Read`) and set"
        return sdk.RefusedTokenError, f"{advice} {settings.TOKEN_NAME}."

    def accepts_token(self) -> bool:
        """Whether the token is good; cached for a time."""
        who = hashlib.sha256(f"{self.domain}\0{self.token}".encode()).hexdigest()[:16]
        key, cache = ("token", who), context.current().cache
        try:
            return cache.get(key, self.probe)
        except (CredentialsError, AccessDeniedError):
            # A service that refuses for a moment does not make a good token bad for long.
            cache.put(key, False, min(REFUSED_SECONDS, settings.current().cache_seconds.value))
            return False

    def probe(self) -> bool:
        """Send the smallest request that every good token may send; raise its error."""
        self.request("POST", PROBE, json={"limit": 1, "archived": False})
        return True


def get_connection(retries: int | Retry | None = None) -> Connection:
    """Return the connection of the current settings, which its requests share."""
    total = retries if retries is None or isinstance(retries, int) else retries.total
    now = settings.current()
    return client_of(Connection, now.domain.value, now.require_token(), retries=total)


def get_client(check_credentials: bool = False, retries: int | Retry | None = None) -> CodeOcean:
    """Return the SDK's client of the current settings."""
    from aind_session.services.sdk import Client

    connection = get_connection(retries)
    key = ("SDK", id(connection))
    client = context.current().client(key, partial(Client, connection, get_client))
    if check_credentials and not connection.accepts_token():
        # Sent once more, so that the error has the service's own message.
        connection.probe()
    return client


def request(method: str, path: str, **options: Any) -> requests.Response:
    """Send a request with the token of the current settings; raises its error."""
    return get_connection().request(method, path, **options)


def checked_id(text: str, what: str) -> str:
    """Return an ID that is safe in a URL."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise InvalidIdentifierError(f"{text!r:.80} is not a valid ID of a {what}")
    return quote(text)


def request_runnable(capsule_or_pipeline_id: str, rest: str = "") -> tuple[requests.Response, bool]:
    """Send a request about a capsule or pipeline; return the response and if it is a pipeline."""
    from aind_session.services.sdk import CodeOceanNotFoundError

    owner = checked_id(capsule_or_pipeline_id, "capsule or pipeline")
    try:
        return request("GET", f"capsules/{owner}{rest}"), False
    except CodeOceanNotFoundError:
        # Pipelines have a route of their own since server 4.1; before, they were capsules here.
        pass
    try:
        return request("GET", f"pipelines/{owner}{rest}"), True
    except CodeOceanNotFoundError as error:
        text = f"There is no capsule or pipeline {owner!r} that this token may see"
        raise error.as_kind(CodeOceanNotFoundError, text) from error


def probe_token() -> bool:
    """Whether Code Ocean accepts the token; cached for each token."""
    return get_connection().accepts_token()


# -- assets and computations -----------------------------------------------------------------------

#: The last summary of each asset, for as long as a cached result holds it.
_summaries: weakref.WeakValueDictionary[str, AssetSummary] = weakref.WeakValueDictionary()


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
        try:
            content = request("POST", PROBE, json=search).content
            results, more, token = split_results(content, further=number > 1)
        except ServiceError as error:
            if number == 1 or isinstance(error, CredentialsError):
                raise
            raise _missing_page(error, number) from error
        for summary in results:
            cached = _summaries.get(summary.id)
            if cached is None or cached.raw != summary.raw:
                _summaries[summary.id] = cached = summary
            found.setdefault(summary.id, cached)
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


def _missing_page(error: ServiceError, number: int) -> ServiceError:
    from aind_session.services.sdk import CodeOceanError, IncompleteSearchError

    text = f"Page {number} of the search failed, after {number - 1} without error"
    if isinstance(error, CodeOceanError):
        return error.as_kind(IncompleteSearchError, text)
    return IncompleteAnswerError(f"{text}: {error}", **facts_in(error))


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


# Made while one thread imports this: msgspec prepares a class when it is first decoded.
_folders = msgspec.json.Decoder(_Folder)
_links = msgspec.json.Decoder(_Link)


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
    folder = _decode(request("POST", route, json={"path": path}), _folders)
    items = (item for item in folder.items or () if item.name or item.path)
    return tuple(
        (item.name or item.path.rstrip("/").rpartition("/")[2], item.type == "folder", item.size)
        for item in items
    )


def _decode(response: requests.Response, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(response.content)
    except msgspec.MsgspecError as error:
        raise unreadable(response, "a list of files or a link") from error


def _read(route: str, path: str) -> bytes:
    link = _decode(request("GET", f"{route}/urls", params={"path": path}), _links)
    if not is_url(link.download_url):
        raise BadAnswerError(f"{SERVICE} sent no link to {path} of {route}", service=SERVICE)
    response = get_link(SERVICE, link.download_url)
    _check_file(response, path)
    return response.content


def _check_file(response: requests.Response, path: str) -> None:
    """Refuse an error page that came in place of a file."""
    if response.status_code < 300 and not is_no_file(response, path):
        return
    from aind_session.services import sdk

    is_html = is_web_page(response)
    if response.status_code == 404 and not is_html:
        raise sdk.CodeOceanNotFoundError.of(response, f"There is no file {path}.")
    if response.status_code in (401, 403) and not is_html:
        raise sdk.ClosedAssetError.of(response, f"The link to {path} is refused.")
    if response.status_code >= 300:
        raise sdk.CodeOceanError.of(response)
    raise unreadable(response, f"{path} (an error page came instead)")
