"""Pages for people and error pages, which come where an answer was asked for."""

from __future__ import annotations

import requests


def is_web_page(response: requests.Response) -> bool:
    """Tell whether an answer is a page for people: not every gateway says what it sends."""
    kind = response.headers.get("Content-Type", "")
    return kind.startswith("text/html") or _start(response).startswith(
        (b"<!doctype html", b"<html")
    )


def is_no_file(response: requests.Response, path: str) -> bool:
    """Tell whether a page, or S3's XML of an error, came in place of a file."""
    start = _start(response)
    is_error = start.startswith((b"<?xml", b"<error>")) and b"<error>" in start
    return is_error or (is_web_page(response) and not path.lower().endswith((".html", ".htm")))


def _start(response: requests.Response) -> bytes:
    return response.content[:500].lstrip().lower()
