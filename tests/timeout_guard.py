"""Watches that no request leaves without a time limit, whichever client sends it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


@contextmanager
def watch_timeouts() -> Iterator[list[str]]:
    """List the requests that are sent without a time limit."""
    from urllib3.connectionpool import HTTPConnectionPool

    forgotten: list[str] = []
    send = HTTPConnectionPool.urlopen

    def urlopen(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        timeout = kwargs.get("timeout")
        connect = getattr(timeout, "connect_timeout", timeout)
        read = getattr(timeout, "read_timeout", timeout)
        if not (isinstance(connect, int | float) and isinstance(read, int | float)):
            forgotten.append(f"{method} {url}")
        return send(self, method, url, *args, **kwargs)

    with mock.patch.object(HTTPConnectionPool, "urlopen", urlopen):
        yield forgotten
