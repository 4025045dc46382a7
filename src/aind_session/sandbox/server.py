"""HTTP on loopback: one small server for every stand-in, with connections that stay open.

Each stand-in is a function from what was asked to an answer, at a port of its own. One thread
accepts, one thread serves each connection; `Front.close` ends them all.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any


@dataclass
class Asked:
    """One request, as a stand-in sees it."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes
    gone: Callable[[], bool] = field(default=lambda: False, repr=False)

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters; the last of a name counts."""
        return dict(urllib.parse.parse_qsl(self.query, keep_blank_values=True))

    @property
    def parts(self) -> tuple[str, ...]:
        """The path's parts, decoded."""
        return tuple(urllib.parse.unquote(p) for p in self.path.strip("/").split("/"))


@dataclass
class Answer:
    """One response; `length` is told instead of the body's own where they differ (HEAD)."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


class Dropped(Exception):
    """Cut the connection: after `answer` without its last half, or at once."""

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__("connection cut")
        self.answer = answer


Service = Callable[[str, Asked], Answer]


class Front:
    """The listening sockets of a sandbox, one for each service.

    Parameters
    ----------
    names
        The services.
    serve
        Called in a connection's thread with the service's name and the request.
    """

    def __init__(self, names: tuple[str, ...], serve: Service) -> None:
        self.serve = serve
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
        self._thread = threading.Thread(
            target=self._accept, name="aind-session sandbox", daemon=True
        )
        self._thread.start()

    def _accept(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                listener = key.fileobj
                assert isinstance(listener, socket.socket)
                try:
                    connection, _ = listener.accept()
                except OSError:
                    continue
                connection.setblocking(True)
                self._start(connection, key.data)

    def _start(self, connection: socket.socket, name: str) -> None:
        thread = threading.Thread(
            target=self._talk,
            args=(connection, name),
            name=f"aind-session sandbox {name}",
            daemon=True,
        )
        with self._lock:
            if self._closing:
                connection.close()
                return
            self._connections[thread] = connection
        thread.start()

    def _talk(self, connection: socket.socket, name: str) -> None:
        try:
            _Connection(connection, self, name)
        except (OSError, ValueError):
            # The client went away, or the sandbox is closing.
            pass
        finally:
            # Removed before it is closed: `close` never shuts down a number that was given away.
            with self._lock:
                self._connections.pop(threading.current_thread(), None)
            connection.close()

    def close(self, *, forked: bool = False) -> None:
        """Stop serving and end every thread.

        Parameters
        ----------
        forked
            Called in a child process: only this process's handles are closed, the parent goes on.
        """
        if forked:
            # No lock: a thread that is not in this process may have held it.
            for connection in (*self._connections.values(), *self._listening):
                # Detached: `close` would wait for files that threads of the parent have open.
                with contextlib.suppress(OSError):
                    os.close(connection.detach())
            self._close_own()
            return
        with self._lock:
            self._closing = True
            connections = list(self._connections.items())
            for _, connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._wake.send(b"x")
        self._thread.join()
        for listener in self._listening:
            listener.close()
        for thread, _ in connections:
            if thread is not threading.current_thread():
                thread.join(5)
        self._close_own()

    def _close_own(self) -> None:
        # The selector's epoll is shared after a fork: closing the handle leaves the parent's.
        self._selector.close()
        self._wake.close()
        self._woken.close()


class _Connection(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    # Without it the last packet of an answer waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True

    def __init__(self, connection: socket.socket, front: Front, name: str) -> None:
        self.front, self.name = front, name
        super().__init__(connection, ("127.0.0.1", 0), _NO_SERVER)

    def version_string(self) -> str:
        return "aind-session-sandbox"

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: requests are counted instead."""

    def _serve(self) -> None:
        path, _, query = self.path.partition("?")
        asked = Asked(self.command, path, query, self.headers, self._read_body(), self._is_gone)
        try:
            answer = self.front.serve(self.name, asked)
        except Dropped as cut:
            self._drop(cut)
            return
        self.wfile.write(self.written(answer))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve

    def written(self, answer: Answer) -> bytes:
        """Write an answer as it goes over the wire."""
        length = len(answer.body) if answer.length is None else answer.length
        lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
        lines.append(f"Server: {self.version_string()}")
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        given = {name.lower() for name in answer.headers}
        if "date" not in given:
            lines.append(f"Date: {self.date_time_string()}")
        if "content-length" not in given:
            lines.append(f"Content-Length: {length}")
        if self.close_connection:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        bodyless = self.command == "HEAD" or answer.status in (204, 304)
        return head if bodyless else head + answer.body

    def _drop(self, cut: Dropped) -> None:
        if cut.answer:
            whole = self.written(cut.answer)
            # Right headers, half of the body.
            self.wfile.write(whole[: len(whole) - (len(cut.answer.body) + 1) // 2])
        else:
            # Zero linger: the client sees "connection reset by peer", not an orderly end.
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

    def _is_gone(self) -> bool:
        """Whether the client has hung up."""
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True


# The handler keeps the server's handle and never uses it.
_NO_SERVER: Any = None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
