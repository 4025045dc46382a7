"""Connections that end in time, their certificates and proxies, and the bodies read from them.

Every read from a socket is limited by the end of the attempt's time, however slowly data come.
Bodies are limited in size too, and decompressed a chunk at a time.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import http.client
import io
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import certifi
import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.wait import wait_for_read

from aind_session import context
from aind_session.clock import NOTICE_SECONDS
from aind_session.errors import BadAnswerError
from aind_session.services.exchange import BundleError, Exchange
from aind_session.services.redact import excerpt

#: Variables that name CA certificates, in the order in which they count.
CA_VARIABLES = (
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_CA_BUNDLE",
)
#: Seconds to open a connection, which is tried twice.
CONNECT_SECONDS = 4.0


class Bundle(NamedTuple):
    """CA certificates (a file or a folder), and the variable that names them."""

    path: str
    source: str


def ssl_context(verify: bool | str, first: str) -> ssl.SSLContext:
    """Return the SSL context for a session's `verify`, made once per process and CA bundle."""
    if verify is False:
        return _context_of("", 0)
    bundle = find_bundle(first) if verify is True else Bundle(verify, "`verify`")
    try:
        changed = os.stat(bundle.path).st_mtime_ns
        # Locked, or the first requests of a process, sent together, would each load them.
        with context.current().lock:
            return _context_of(bundle.path, changed)
    except OSError as error:
        raise BundleError(*bundle) from error


# Loading certificates takes 30 to 45 ms of CPU time, so it is not done for each connection.
@functools.lru_cache(maxsize=8)
def _context_of(path: str, changed: int) -> ssl.SSLContext:
    if not path:
        return create_urllib3_context(cert_reqs=ssl.CERT_NONE)
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


def proxy_for(url: str, proxies: dict[str, str]) -> str | None:
    """Return the proxy for a URL: the session's own, else that of the environment."""
    merged = {**requests.utils.get_environ_proxies(url), **proxies}
    return requests.utils.select_proxy(url, merged)


# -- connections -----------------------------------------------------------------------------------


@dataclass
class Limit:
    """The moment, on the system's clock, at which reading from a connection ends."""

    until: float = 0.0


class _LimitedReader(io.RawIOBase):
    """Reads from a socket until a limit; a socket's own limit starts anew with each packet."""

    def __init__(self, raw: io.RawIOBase, sock: Any, limit: Limit) -> None:
        self._raw, self._sock, self._limit = raw, sock, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # In steps, so that Ctrl-C is noticed also if another thread was given the signal.
        while (remaining := self._limit.until - time.monotonic()) > 0:
            if self._has_data(min(remaining, NOTICE_SECONDS)):
                self._sock.settimeout(remaining)
                return self._raw.readinto(buffer)
        raise TimeoutError("timed out")

    def _has_data(self, seconds: float) -> bool:
        # Decrypted data wait in the TLS socket; of TLS through a TLS proxy, out of sight.
        can_be_polled = isinstance(self._sock, socket.socket)
        pending = getattr(self._sock, "pending", lambda: 0)
        return not can_be_polled or pending() > 0 or wait_for_read(self._sock, seconds)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _LimitedResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, limit: Limit, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        raw: Any = self.fp.detach()
        self.fp = io.BufferedReader(_LimitedReader(raw, sock, limit))

    def begin(self) -> None:
        super().begin()
        while self.status < 200:
            # "Early Hints" and the like: taken for the response, the real one would be read in
            # place of the next request's.
            self.headers: Any = None
            super().begin()


class _Limited(HTTPConnection):
    """A connection of urllib3 that is opened, and read from, within its timeout."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.limit = Limit()
        # Any callable will do, though it is annotated as a class.
        make: Any = functools.partial(_LimitedResponse, limit=self.limit)
        self.response_class = make

    def getresponse(self) -> Any:
        self.limit.until = time.monotonic() + float(self.timeout or 0.0)
        return super().getresponse()

    def connect(self) -> None:
        """Connect in a thread of its own, since name resolution cannot be interrupted."""
        begun, whole = time.monotonic(), float(self.timeout or 0.0)
        seconds = min(CONNECT_SECONDS, whole)
        end = self.limit.until = begun + seconds
        connect = super().connect
        done, late, failed = threading.Event(), threading.Event(), []

        def run() -> None:
            try:
                connect()
            except BaseException as error:
                failed.append(error)
            done.set()
            if late.is_set():
                self.close()

        try:
            threading.Thread(target=run, daemon=True, name="aind_session connect").start()
        except RuntimeError:
            # No thread can be started while the interpreter exits.
            run()
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
        # Sending may take the rest: an upload has more to send than a connection needs time.
        self.sock.settimeout(max(0.001, begun + whole - time.monotonic()))


class _LimitedTLS(_Limited, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Limited


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedTLS


#: For a manager of urllib3, so that it opens connections of this module.
LIMITED_POOLS = {"http": _Pool, "https": _TLSPool}


# -- bodies ----------------------------------------------------------------------------------------

_CHUNK = 2**16
# How `zlib` names them.
_ENCODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def read_body(raw: Any, exchange: Exchange, most: int, decode: bool) -> bytes:
    """Read the body of urllib3's response to its end, in time and of at most some bytes."""
    encoding = raw.headers.get("Content-Encoding", "").strip().lower() if decode else ""
    parts: list[bytes] = []
    size = 0
    try:
        if (limit := getattr(raw.connection, "limit", None)) is not None:
            # The headers have come: the body may take the rest of the time.
            limit.until = time.monotonic() + exchange.remaining
        chunks = iter(functools.partial(raw.read1, _CHUNK, decode_content=False), b"")
        for part in chunks if encoding in ("", "identity") else _inflate(chunks, encoding):
            parts.append(part)
            size += len(part)
            if size > most:
                limit_of = "the limit that AIND_SESSION_MAX_RESPONSE_BYTES sets"
                raise _UnusableBodyError(f"more than {most:,} bytes, {limit_of}")
    except _UnusableBodyError as problem:
        raw.close()
        text = f"{exchange.service} sent {problem}. Request: {exchange.summary()}"
        raise BadAnswerError(text, **exchange.facts(raw.status)) from None
    except BaseException:
        raw.close()
        raise
    raw.release_conn()
    return b"".join(parts)


class _UnusableBodyError(Exception):
    """A body that cannot be decompressed, or is too large."""


def _inflate(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield what chunks decompress to, in pieces of limited size."""
    if encoding not in _ENCODINGS:
        # Several layers, too: a few hundred bytes could become terabytes.
        raise _UnusableBodyError(f"an unexpected Content-Encoding, {excerpt(encoding)!r}")
    bits = _ENCODINGS[encoding]
    inflate = zlib.decompressobj(bits)
    begun = False
    for chunk in chunks:
        data = chunk
        while data:
            try:
                part = inflate.decompress(data, _CHUNK)
            except zlib.error:
                if begun or bits != 15:
                    raise _UnusableBodyError("garbled compression") from None
                # "deflate" without the header that the standard asks for.
                bits, begun = -15, True
                inflate = zlib.decompressobj(bits)
                continue
            begun = True
            yield part
            data = inflate.unconsumed_tail
            if inflate.eof and inflate.unused_data:
                data, inflate = inflate.unused_data, zlib.decompressobj(bits)
    if begun and not inflate.eof:
        raise _UnusableBodyError("compressed data that end too early")
