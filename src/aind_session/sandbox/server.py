"""An HTTP/1.1 server on loopback, and the environment variables that point the clients to it.

The server has one port per service, keep-alive and optional TLS.

`http.server` of the standard library parses the requests. One thread accepts connections and one
thread serves each. A web server with a thread pool (cheroot) takes half a second to stop, too long
for hundreds of tests that start a sandbox each, and its pool starves when requests hang.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import socket
import ssl
import struct
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any

from aind_session.setting_values import may_be_token
from aind_session.settings import (
    OTHER_TOKEN_NAMES,
    SANDBOX_ACTIVE,
    SANDBOX_CATALOGUE,
    TOKEN_NAME,
)


@dataclass
class Request:
    """A request that the sandbox received.

    Attributes
    ----------
    service : str
        "codeocean", "docdb", "s3", or "files" (presigned links).
    method, path, query : str
        As received, the path decoded.
    body : bytes
        The request's body.
    status : int
        Of the response; 0 if the connection was cut.
    started, ended : float
        `time.perf_counter` before and after the response was made, latency included.
    """

    service: str
    method: str
    path: str
    query: str
    body: bytes = field(repr=False)
    status: int = 0
    started: float = 0.0
    ended: float = 0.0
    #: As received: with what keeps other users out, and not decoded.
    raw_path: str = field(default="", repr=False)
    headers: Message = field(default_factory=Message, repr=False)
    disconnected: Callable[[], bool] = field(default=lambda: False, repr=False)

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters; the last one of each name."""
        return dict(urllib.parse.parse_qsl(self.query, keep_blank_values=True))

    def json(self) -> Any:
        """Read the body as JSON; None if it is empty."""
        return json.loads(self.body) if self.body else None


@dataclass
class Response:
    """An HTTP response; its headers replace those that are computed."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class ConnectionCut(Exception):
    """Close the connection: after half of `response`, or at once."""

    def __init__(self, response: Response | None = None) -> None:
        super().__init__("connection cut")
        self.response = response


@dataclass
class Traffic:
    """What went through the server: connections accepted, and bytes in each direction."""

    connections: int = 0
    received: int = 0
    sent: int = 0


class Server:
    """The listening sockets of a sandbox, one per service.

    Parameters
    ----------
    names
        The services.
    serve
        Called in a connection's thread with the request.
    tls
        Makes HTTPS of HTTP.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        serve: Callable[[Request], Response],
        tls: ssl.SSLContext | None,
    ) -> None:
        self.serve, self.tls, self.traffic = serve, tls, Traffic()
        self.ports: dict[str, int] = {}
        self._lock = threading.Lock()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._closing = False
        self._wake, self._woken = socket.socketpair()
        self._listening: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        for name in names:
            listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            listener.setblocking(False)
            self._listening.append(listener)
            self._selector.register(listener, selectors.EVENT_READ, name)
            self.ports[name] = listener.getsockname()[1]
        title = "aind-session sandbox"
        self._thread = threading.Thread(target=self._accept, name=title, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                listener = key.fileobj
                assert isinstance(listener, socket.socket)
                with contextlib.suppress(OSError):
                    self._start(listener.accept()[0], key.data)

    def _start(self, connection: socket.socket, name: str) -> None:
        connection.setblocking(True)
        if self.tls is not None:
            # The handshake takes place in the connection's own thread.
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        title, args = f"aind-session sandbox {name}", (connection, name)
        thread = threading.Thread(target=self._talk, args=args, name=title, daemon=True)
        with self._lock:
            if self._closing:
                connection.close()
                return
            self._connections[thread] = connection
            self.traffic.connections += 1
        thread.start()

    def _talk(self, connection: socket.socket, name: str) -> None:
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            _Connection(connection, self, name)
        except (OSError, ValueError):
            # The client went away, or the sandbox is closing.
            pass
        finally:
            # Removed before it is closed: `close` must not shut down a reused file descriptor.
            with self._lock:
                self._connections.pop(threading.current_thread(), None)
            connection.close()

    def count(self, *, received: int = 0, sent: int = 0) -> None:
        """Add to the bytes."""
        with self._lock:
            self.traffic.received += received
            self.traffic.sent += sent

    def close(self) -> None:
        """Stop serving and end every thread."""
        with self._lock:
            self._closing = True
            connections = list(self._connections.items())
            for _, connection in connections:
                with contextlib.suppress(OSError):
                    # The plain socket's method: TLS would wait for the client.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self._wake.send(b"x")
        self._thread.join()
        for listener in self._listening:
            listener.close()
        for thread, _ in connections:
            if thread is not threading.current_thread():
                thread.join(5)
        self._close_own()

    def close_in_child(self) -> None:
        """Close this process's handles after a fork; the parent continues to serve."""
        # Without the lock: a thread that does not exist in this process may have held it.
        for connection in (*self._connections.values(), *self._listening):
            # Detached: `close` would wait for files that threads of the parent have open.
            with contextlib.suppress(OSError):
                os.close(connection.detach())
        self._close_own()

    def _close_own(self) -> None:
        # After a fork the epoll is shared: closing the handle leaves the parent's intact.
        self._selector.close()
        self._wake.close()
        self._woken.close()


class _Connection(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    # Without it the last packet of a response waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    raw_requestline: bytes

    def __init__(self, connection: socket.socket, server: Server, name: str) -> None:
        self.sandbox, self.name = server, name
        # The handler stores its `server` argument and never uses it.
        unused: Any = None
        super().__init__(connection, ("127.0.0.1", 0), unused)

    def version_string(self) -> str:
        return "aind-session-sandbox"

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: requests are counted instead."""

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        body = self._read_body()
        size = len(self.raw_requestline) + len(body)
        size += sum(len(name) + len(value) + 4 for name, value in self.headers.items())
        self.sandbox.count(received=size)
        request = Request(self.name, self.command, urllib.parse.unquote(path), query, body)
        request.raw_path, request.headers = path, self.headers
        request.disconnected = self._disconnected
        try:
            data = self._encode(self.sandbox.serve(request))
        except ConnectionCut as cut:
            self._cut(cut)
            return
        # Before it is sent: a client that has the response finds it counted.
        self.sandbox.count(sent=len(data))
        self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve

    def _encode(self, response: Response) -> bytes:
        """Write a response as it goes over the wire."""
        headers = {
            "Server": self.version_string(),
            "Date": self.date_time_string(),
            "Content-Length": str(len(response.body)),
        }
        own = {name.lower() for name in response.headers}
        headers = {n: v for n, v in headers.items() if n.lower() not in own} | {**response.headers}
        if self.close_connection:
            headers["Connection"] = "close"
        phrase = self.responses.get(response.status, ("Unknown",))[0]
        lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{n}: {v}" for n, v in headers.items())]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        has_body = self.command != "HEAD" and response.status not in (204, 304)
        return head + response.body if has_body else head

    def _cut(self, cut: ConnectionCut) -> None:
        if cut.response is not None:
            whole = self._encode(cut.response)
            # The right headers, and half of the body.
            self.wfile.write(whole[: len(whole) - (len(cut.response.body) + 1) // 2])
        else:
            # Zero linger: the client gets "connection reset by peer", not an orderly end.
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(iter(self._read_chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _read_chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _disconnected(self) -> bool:
        """Whether the client has closed the connection."""
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            # The plain socket's method: TLS sockets cannot peek.
            return bool(readable) and socket.socket.recv(self.connection, 1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True


def make_certificate(folder: str) -> tuple[ssl.SSLContext, str]:
    """Make a certificate of 127.0.0.1; return a server's context and the path of the CA bundle."""
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    path = os.path.join(folder, "sandbox-ca.pem")
    authority.cert_pem.write_to_path(path)
    return context, path


# The environment

AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# Variables that would lead AWS clients elsewhere, or to another identity.
_AWS_OTHERS = (
    *("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
#: Where requests, the standard library and botocore read which certificates to trust.
_CA_BUNDLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_CA_BUNDLE")

#: New values by variable; None removes the variable.
Change = Mapping[str, "str | None"]


def sandbox_changes(
    urls: Mapping[str, str], token: str, region: str, folder: str, ca_bundle: str | None
) -> Change:
    """Return the variables to change for a sandbox."""
    changes: dict[str, str | None] = {**token_changes(), **dict.fromkeys(_AWS_OTHERS)}
    changes |= {
        TOKEN_NAME: token,
        "CODE_OCEAN_DOMAIN": urls["codeocean"],
        "AIND_SESSION_DOCDB_HOST": urls["docdb"],
        "AWS_ENDPOINT_URL_S3": urls["s3"],
        **dict(zip(AWS_KEYS, ("AKIASANDBOXSANDBOX00", "sandbox"), strict=True)),
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        # A user's profile neither provides credentials nor sends the clients elsewhere.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        SANDBOX_ACTIVE: f"{os.getpid()} {urls['codeocean']}",
        # Lookups, also in child processes, find out what was recorded.
        SANDBOX_CATALOGUE: os.path.abspath(folder) if folder else "",
    }
    if ca_bundle is not None:
        changes |= dict.fromkeys(_CA_BUNDLES, ca_bundle)
    for name in ("NO_PROXY", "no_proxy"):
        parts = os.environ.get(name, "").split(",")
        changes[name] = ",".join(dict.fromkeys(filter(None, [*parts, "127.0.0.1"])))
    return changes


def token_changes() -> Change:
    """Return the removal of all variables that hold a token."""
    found = [name for name, value in os.environ.items() if may_be_token(value)]
    return dict.fromkeys((TOKEN_NAME, *OTHER_TOKEN_NAMES, *found))


class Process:
    """What belongs to the whole process: the open sandboxes, and their changes of its environment.

    The changes lie on each other and may be undone in any order.
    """

    def __init__(self) -> None:
        self.sandboxes: set[Any] = set()
        self.renew_locks()
        self._changes: list[Change] = []
        self._before: dict[str, str | None] = {}

    def renew_locks(self) -> None:
        """Replace the locks, which a thread that a fork left behind may hold."""
        self._lock, self.starting = threading.Lock(), threading.Lock()

    def push(self, change: Change) -> None:
        """Change the environment."""
        with self._lock:
            for name, value in change.items():
                self._before.setdefault(name, os.environ.get(name))
                _set(name, value)
            self._changes.append(change)
        forget_all(starting=True)

    def remove(self, change: Change) -> None:
        """Undo a change: its variables get the value of the newest other change, or their own."""
        with self._lock:
            self._changes = [other for other in self._changes if other is not change]
            for name in change:
                above = [other for other in self._changes if name in other]
                _set(name, above[-1][name] if above else self._before.pop(name))
        forget_all()

    @contextlib.contextmanager
    def changed(self, change: Change) -> Iterator[None]:
        """Change the environment inside of a ``with`` block."""
        self.push(change)
        try:
            yield
        finally:
            self.remove(change)

    def leave_to_parent(self) -> None:
        """After a fork: close the copies of the sockets; the parent continues to serve."""
        self.renew_locks()
        for box in list(self.sandboxes):
            box.close()


process = Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process.leave_to_parent)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def forget_all(*, starting: bool = False) -> None:
    """Clear every cached response and client; `starting` is whether a change was just made."""
    context = sys.modules.get("aind_session.context")
    if context is not None:
        context.reset()
    s3fs = sys.modules.get("s3fs")
    if s3fs is not None and hasattr(s3fs, "S3FileSystem"):
        s3fs.S3FileSystem.clear_instance_cache()
    s3 = sys.modules.get("aind_session.services.s3")
    if s3 is not None and (starting or "fsspec" in sys.modules):
        # File systems made without a path of ours trust what the environment names now. Without
        # fsspec there is nothing to undo, and at exit it cannot be imported any more.
        s3.configure_s3fs()
