"""Connections that end in time, and the certificates and proxies they use.

A connection is opened in a thread of its own, because name resolution cannot be interrupted; every
read from its socket is limited by the end of the attempt's time, however slowly data come.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import http.client
import io
import os
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import requests
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError
from urllib3.util.ssl_ import create_urllib3_context

from aind_session import context
from aind_session.clock import NOTICE_SECONDS

#: Variables that name CA certificates, in the order in which they count.
CA_VARIABLES = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_CA_BUNDLE",
)


class BundleError(OSError):
    """The CA certificates that a variable names cannot be read."""

    def __init__(self, path: str, source: str) -> None:
        super().__init__(f"the CA certificates in {path}, set by {source}, cannot be read")
        self.source = source


@dataclass(frozen=True)
class Bundle:
    """CA certificates (a file or a folder), and the variable that names them."""

    path: str
    source: str = ""

    def context(self) -> ssl.SSLContext:
        """Return the SSL context of these certificates, made once per process."""
        try:
            changed = os.stat(self.path).st_mtime_ns
            # Locked, or the first requests of a process, sent together, would each load them.
            with context.current().lock:
                return _context_of(self.path, changed)
        except OSError as error:
            raise BundleError(self.path, self.source) from error


# Loading certificates takes 30 to 45 ms of CPU time, so it is not done for each connection.
@functools.lru_cache(maxsize=8)
def _context_of(path: str, changed: int) -> ssl.SSLContext:
    made = create_urllib3_context()
    folder = os.path.isdir(path)
    made.load_verify_locations(**{"capath" if folder else "cafile": path})
    return made


def find_bundle(first: str = "") -> Bundle:
    """Return the CA certificates that the environment selects; by default those of `certifi`."""
    for name in filter(None, (first, *CA_VARIABLES)):
        if path := os.environ.get(name):
            return Bundle(path, name)
    if path := _aws_bundle():
        return Bundle(path, "ca_bundle in the AWS configuration")
    return Bundle(certifi.where(), "certifi")


def _aws_bundle() -> str:
    """Return `ca_bundle` of the AWS profile in use, or an empty string."""
    path = Path(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    try:
        path = path.expanduser()
        changed = path.stat().st_mtime_ns
    except (OSError, RuntimeError):
        return ""
    return _ca_bundle_in(path, changed, os.environ.get("AWS_PROFILE") or "default")


@functools.lru_cache(maxsize=8)
def _ca_bundle_in(path: Path, changed: int, profile: str) -> str:
    parser = configparser.RawConfigParser(strict=False)
    with contextlib.suppress(OSError, ValueError, configparser.Error):
        parser.read(path, encoding="utf-8-sig")
    section = profile if profile == "default" else f"profile {profile}"
    return os.path.expanduser(parser.get(section, "ca_bundle", fallback=""))


@functools.lru_cache(maxsize=1)
def insecure_context() -> ssl.SSLContext:
    """Return a context that checks no certificate, for a session with `verify=False`."""
    return create_urllib3_context(cert_reqs=ssl.CERT_NONE)


def proxy_for(url: str, proxies: dict[str, str]) -> str | None:
    """Return the proxy for a URL: the session's own, else that of the environment."""
    merged = {**requests.utils.get_environ_proxies(url), **proxies}
    return requests.utils.select_proxy(url, merged)


def proxy_variable(proxy: str) -> str:
    """Return the variable that names a proxy, or an empty string."""
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    return next((name for name in names if os.environ.get(name) == proxy), "")


@dataclass
class Limit:
    """The moment, on the system's clock, at which reading ends."""

    until: float

    def allow(self, seconds: float) -> None:
        """Let reading last for some seconds from now."""
        self.until = time.monotonic() + seconds


class _LimitedReader(io.RawIOBase):
    """Reads from a socket until a limit; a socket's own limit starts anew with each packet."""

    def __init__(self, raw: io.RawIOBase, sock: Any, limit: Limit) -> None:
        self._raw, self._sock, self._limit = raw, sock, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._limit.until - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _LimitedResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, limit: Limit, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw: Any = self.fp.detach()
        self.fp = io.BufferedReader(_LimitedReader(raw, sock, limit))


class _Limited(HTTPConnection):
    """A connection of urllib3 that is opened, and read from, within its timeout."""

    limit: Limit

    def connect(self) -> None:
        seconds = self._limit_response()
        within(seconds, super().connect, self.close)

    def getresponse(self) -> Any:
        self._limit_response()
        return super().getresponse()

    def _limit_response(self) -> float:
        seconds = float(self.timeout or 0.0)
        self.limit = Limit(time.monotonic() + seconds)
        # Any callable will do, though it is annotated as a class.
        make: Any = functools.partial(_LimitedResponse, limit=self.limit)
        self.response_class = make
        return seconds


class _LimitedTLS(_Limited, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Limited


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedTLS


def limit_pools(manager: urllib3.PoolManager) -> None:
    """Make a manager open connections of this module."""
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


def within(seconds: float, connect: Callable[[], object], close: Callable[[], object]) -> None:
    """Open a connection in a thread, and wait for it for a limited time."""
    done, late, failed = threading.Event(), threading.Event(), []

    def run() -> None:
        try:
            connect()
        except BaseException as error:
            failed.append(error)
        done.set()
        if late.is_set():
            close()

    thread = threading.Thread(target=run, daemon=True, name="aind_session connect")
    try:
        thread.start()
    except RuntimeError:
        # No thread can be started while the interpreter exits.
        run()
    end = time.monotonic() + seconds
    try:
        # In steps, so that Ctrl-C is noticed.
        while not done.wait(min(NOTICE_SECONDS, max(0.0, end - time.monotonic()))):
            if time.monotonic() >= end:
                raise ConnectTimeoutError(f"no connection within {seconds:.3g} s")
    except BaseException:
        late.set()
        raise
    if failed:
        raise failed[0]
