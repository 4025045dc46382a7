"""Code Ocean: files of assets and results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aind_session.errors import (
    BadAnswerError,
    ServiceError,
)
from aind_session.services import codeocean as service
from aind_session.services.codeocean import (
    ClosedAssetError,
    CodeOceanError,
    CodeOceanNotFoundError,
)
from loopback import (
    Answer,
    Script,
    Seen,
    Serve,
    text_of_error,
)

ID = "11ee1e1e-11e1-4111-8111-e11eeeee1e11"


def linking(answer: Answer) -> Script:
    """Serve files: their list, a link, and what the link leads to."""

    def script(seen: Seen) -> Answer:
        path = seen.path.partition("?")[0]
        if path.startswith("/presigned"):
            return answer
        if path.endswith("urls"):
            link = f"http://{seen.headers['Host']}/presigned?X-Amz-Signature=abc"
            return Answer(200, {"download_url": link, "view_url": "x"})
        if path.endswith(("/files", "/results")):
            items = [
                {"name": "nwb", "path": "a/nwb", "type": "folder"},
                {"name": "output", "path": "a/output", "type": "file", "size": 12},
                {"path": "a/only path", "type": "file", "size": 1, "new": 2},
            ]
            return Answer(200, {"items": items})
        return Answer(404, {"message": "no route"})

    return script


@pytest.mark.parametrize("ask", [service.list_asset_files, service.list_result_files])
def test_list_files_returns_names_kinds_and_sizes(serve: Serve, ask: Callable[..., Any]) -> None:
    server = serve(linking(Answer()))
    assert ask(ID, "a") == (
        ("nwb", True, None),
        ("output", False, 12),
        ("only path", False, 1),
    )
    assert server.requests[0].json == {"path": "a"}


@pytest.mark.parametrize("items", [None, []])
def test_list_files_of_an_empty_folder_is_empty(serve: Serve, items: Any) -> None:
    serve([Answer(200, {"items": items})])
    assert service.list_asset_files(ID) == ()


@pytest.mark.parametrize("ask", [service.read_asset_file, service.read_result_file])
def test_read_file_follows_its_link_without_credentials(
    serve: Serve, ask: Callable[..., bytes]
) -> None:
    server = serve(linking(Answer(200, b"N E X T F L O W\n")))
    assert ask(ID, "a/output") == b"N E X T F L O W\n"
    assert "Authorization" not in server.requests[-1].headers
    assert all("Authorization" in seen.headers for seen in server.requests[:-1])
    assert "path=a%2Foutput" in server.requests[0].path


def test_read_file_that_is_missing_sends_one_request(serve: Serve) -> None:
    server = serve([Answer(404, {"message": "no file"})])
    with pytest.raises(CodeOceanNotFoundError, match="no file"):
        service.read_asset_file(ID, "missing")
    assert len(server.requests) == 1


S3_ERROR = b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>'


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(404, S3_ERROR), CodeOceanNotFoundError),
        (Answer(403, S3_ERROR), ClosedAssetError),
        (Answer(404, b"<html>gateway</html>"), CodeOceanError),
        (Answer(403, b"<html>gateway</html>"), CodeOceanError),
        (Answer(400, b"bad"), CodeOceanError),
        (Answer(503, b"slow down"), CodeOceanError),
        (Answer(200, S3_ERROR), BadAnswerError),
        (Answer(200, b"<html>", {"Content-Type": "text/html"}), BadAnswerError),
        (Answer(200, b"half of it", kind="truncated"), ServiceError),
    ],
)
def test_error_page_is_not_returned_as_a_file(
    serve: Serve, answer: Answer, kind: type[Exception]
) -> None:
    serve(linking(answer))
    with pytest.raises(kind) as caught:
        service.read_asset_file(ID, "output")
    assert kind is ServiceError or type(caught.value) is kind
    assert "Signature" not in text_of_error(caught.value)


def test_read_file_that_is_empty_returns_nothing(serve: Serve) -> None:
    serve(linking(Answer(200, b"")))
    assert service.read_asset_file(ID, "output") == b""


@pytest.mark.parametrize(
    "link",
    ["", "zzz", "ftp://a/b", "https://", "http://[", "https://a b/", "https://*.a/", "//a/b"],
)
def test_read_file_with_an_invalid_link_is_an_error(serve: Serve, link: str) -> None:
    serve([Answer(200, {"download_url": link})])
    with pytest.raises(BadAnswerError, match="no link"):
        service.read_asset_file(ID, "output")
