"""A server on loopback with scripted responses, and a clock that does not wait."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests


@dataclass(frozen=True)
class Answer:
    """What the server does with one request.

    `kind`: "whole", "hang" (no answer), "reset" (the connection breaks before an answer),
    "truncated" (it ends in the middle of the body), "drip" (a byte now and then), "drip then hang".
    """

    status: int = 200
    body: Any = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "whole"

    @property
    def content(self) -> bytes:
        """The body's bytes; anything else is sent as JSON."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: int

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


Script = Iterable[Answer] | Callable[[Seen], Answer]


class Loopback:
    """Serve a list of responses in turn (the last one forever), or those of a function."""

    def __init__(self, script: Script) -> None:
        self._function = script if callable(script) else None
        self._answers = [] if callable(script) else list(script)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.requests: list[Seen] = []
        handler = type("Handler", (_Handler,), {"loopback": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # The poll interval is what closing waits for.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Loopback:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.end_connections()
        self._server.server_close()
        self._thread.join()

    def next_answer(self, seen: Seen) -> Answer:
        """Record a request and return its response."""
        with self._lock:
            self.requests.append(seen)
            if self._function is not None:
                return self._function(seen)
            return self._answers[min(len(self.requests), len(self._answers)) - 1]

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the server ends; True when it has."""
        return self._over.wait(seconds)

    def is_left_alone(self, seconds: float = 5) -> bool:
        """Whether every client has closed its connection, waited for at most some seconds."""
        end = time.monotonic() + seconds
        while self._server.open and time.monotonic() < end:
            self._over.wait(0.01)
        return not self._server.open

    @property
    def paths(self) -> list[str]:
        """Paths of the requests, without queries."""
        return [seen.path.partition("?")[0] for seen in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self.open: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: many tests break connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else each body waits 40 ms for the acknowledgment of its headers.
    disable_nagle_algorithm = True
    loopback: Loopback

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        seen = Seen(
            self.command,
            self.path,
            dict(self.headers.items()),
            self.rfile.read(length),
            self.client_address[1],
        )
        answer = self.loopback.next_answer(seen)
        if answer.kind == "hang":
            self.loopback.wait()
            self.close_connection = True
            return
        if answer.kind == "reset":
            self._reset()
            return
        body = answer.content
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Transfer-Encoding" not in answer.headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.kind == "drip":
            self._drip(body)
        elif answer.kind == "drip then hang":
            self._drip(body[:-1])
            self.loopback.wait()
        elif answer.kind == "truncated":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def _drip(self, body: bytes) -> None:
        for index in range(len(body)):
            self.wfile.write(body[index : index + 1])
            self.wfile.flush()
            if self.loopback.wait(0.02):
                return

    def _reset(self) -> None:
        # Closing with a zero linger sends RST: "connection reset by peer".
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()


Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def raw_server(talk: Talk) -> Iterator[str]:
    """Serve sockets by a function, each in a thread, and yield the server's URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            talk(connection)
        connection.close()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = listener.accept()[0]
                opened.append(connection)
                threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
                threads[-1].start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in opened:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for one in (thread, *threads):
            one.join(10)


class FakeClock:
    """Time passes by sleeping only, and at once; `slept` lists how long."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


#: Tokens to look for wherever they must not be.
CANARY = "cop_Canary0Canary1Canary2Canary3"
#: As it goes over the wire.
BASIC = base64.b64encode(f"{CANARY}:".encode()).decode()
OK = Answer(200, {"good": True})


def point_at(monkeypatch: Any, server: Loopback, **settings: str) -> None:
    """Set the environment so that all three services are a server."""
    from aind_session import context

    values = {
        "CODE_OCEAN_API_TOKEN": CANARY,
        "CODE_OCEAN_DOMAIN": server.url,
        "AIND_SESSION_DOCDB_HOST": server.url,
        "AWS_ENDPOINT_URL_S3": server.url,
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        **settings,
    }
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AIND_SESSION_SANDBOX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    context.reset()


Serve = Callable[..., Loopback]


@contextlib.contextmanager
def serving(monkeypatch: Any, clock: FakeClock | None = None) -> Iterator[Serve]:
    """Yield a function that starts servers for all services, with a clock that does not wait."""
    from aind_session import context
    from aind_session.clock import use_clock

    servers: list[Loopback] = []

    def serve(script: Script, **settings: str) -> Loopback:
        servers.append(Loopback(script).__enter__())
        point_at(monkeypatch, servers[-1], **settings)
        return servers[-1]

    try:
        with use_clock(clock or FakeClock()):
            yield serve
    finally:
        context.reset()
        for server in servers:
            server.__exit__(None, None, None)


def session_at(server: Loopback, **options: Any) -> requests.Session:
    """Make a session with a credential, whose home is the server."""
    from aind_session.services.http import Transport, bare_session

    options.setdefault("home", server.url)
    session = bare_session(Transport("Service", **options))
    session.auth = (CANARY, "")
    return session


def text_of_error(error: BaseException) -> str:
    """Return all text of an error, its causes, and their pickles."""
    texts, links = [], [error]
    for link in links:
        holders = [getattr(link, name, None) for name in ("response", "request")]
        holders += [getattr(holders[0], "request", None)]
        texts += [repr(link), str(link), repr(link.args)]
        for one in (link, *(holder for holder in holders if holder is not None)):
            texts += [repr(vars(one)), repr(getattr(one, "headers", ""))]
            # What cannot be pickled carries nothing anywhere.
            with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError):
                texts.append(repr(pickle.dumps(one)))
        behind = (link.__cause__, link.__context__)
        links += [one for one in behind if one is not None and one not in links]
    return "\n".join([*texts, *traceback.format_exception(error)])
