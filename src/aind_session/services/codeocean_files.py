"""Files of assets and computations: listed by Code Ocean, read through presigned links.

Code Ocean shows the files of internal assets only; those of external ones are in their bucket.
"""

from __future__ import annotations

from typing import Any

import msgspec
import requests

from aind_session import settings
from aind_session.errors import BadAnswerError
from aind_session.services.addresses import is_url
from aind_session.services.asked import asked_of
from aind_session.services.codeocean_client import ask, checked_id
from aind_session.services.codeocean_errors import (
    SERVICE,
    ClosedAssetError,
    CodeOceanError,
    CodeOceanNotFoundError,
    error_of,
)
from aind_session.services.keeping import Kept
from aind_session.services.pages import is_no_file, is_web_page
from aind_session.services.scrubbing import excerpt
from aind_session.services.transport import Transport, bare_session

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
    """List a folder of an internal data asset.

    Parameters
    ----------
    asset_id
        ID of the asset.
    path
        Folder within it; its root by default.

    Raises
    ------
    CodeOceanNotFoundError
        No such asset or folder (a `ValueError`).
    """
    return _list(f"data_assets/{checked_id(asset_id, 'data asset')}/files", path)


def list_result_files(computation_id: str, path: str = "") -> tuple[Item, ...]:
    """List a folder of a computation's results; as `list_asset_files`."""
    return _list(f"computations/{checked_id(computation_id, 'computation')}/results", path)


def read_asset_file(asset_id: str, path: str) -> bytes:
    """Read a file of an internal data asset.

    Parameters
    ----------
    asset_id
        ID of the asset.
    path
        The file within it.

    Raises
    ------
    CodeOceanNotFoundError
        No such asset or file (a `ValueError`).
    BadAnswerError
        What came is an error page and not the file.
    """
    return _read(f"data_assets/{checked_id(asset_id, 'data asset')}/files", path)


def read_result_file(computation_id: str, path: str) -> bytes:
    """Read a file of a computation's results; as `read_asset_file`."""
    return _read(f"computations/{checked_id(computation_id, 'computation')}/results", path)


def _list(route: str, path: str) -> tuple[Item, ...]:
    folder = _decode(ask("POST", route, json={"path": path}), _Folder)
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
            f"{SERVICE} answered something unexpected: {excerpt(response.content)}",
            service=SERVICE,
            status=response.status_code,
        ) from error


#: Domains whose servers know the newer route to a file's links.
_new_routes: Kept[bool] = Kept(most=64)
#: The session that follows presigned links: it has no credentials at all.
_links: Kept[requests.Session] = Kept(close=lambda session: session.close())


def _read(route: str, path: str) -> bytes:
    link = _link(route, path)
    url = link.download_url or link.url
    if not is_url(url):
        raise BadAnswerError(f"{SERVICE} gave no link to {path} of {route}", service=SERVICE)
    current = settings.current()
    limits = (current.timeout.value, current.attempts.value)
    session = _links.get(
        limits,
        lambda: bare_session(Transport(SERVICE, timeout=limits[0], attempts=limits[1])),
    )
    response = session.get(url)
    _check_file(response, path)
    return response.content


def _link(route: str, path: str) -> _Link:
    domain = settings.current().domain.value
    known = domain in _new_routes
    try:
        link: _Link = _decode(ask("GET", f"{route}/urls", params={"path": path}), _Link)
    except CodeOceanNotFoundError as error:
        if known:
            raise
        # Servers before 3.9 have one link only, at another place; their 404 means the route.
        try:
            link = _decode(ask("GET", f"{route}/download_url", params={"path": path}), _Link)
        except CodeOceanNotFoundError:
            raise error from None
    else:
        _new_routes.get(domain, lambda: True)
    return link


def _check_file(response: requests.Response, path: str) -> None:
    """Refuse an error page that came in place of a file."""
    is_html = is_web_page(response)
    if response.status_code == 404 and not is_html:
        raise error_of(CodeOceanNotFoundError, response, f"There is no file {path}.")
    if response.status_code in (401, 403) and not is_html:
        raise error_of(ClosedAssetError, response, f"The link to {path} is refused.")
    if response.status_code >= 300:
        raise error_of(CodeOceanError, response)
    if is_no_file(response, path):
        raise BadAnswerError(
            f"An error page came in place of {path}: {excerpt(response.content)}",
            **asked_of(response).facts(response.status_code),
        )
