"""HTTP: every wait ends, every body is bounded, a service that failed is left alone for a while."""

from __future__ import annotations

import contextlib
import gzip
import pickle
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from aind_session.errors import BadAnswerError, ServiceError
from aind_session.services import connections, http
from aind_session.services.circuits import CIRCUIT_SECONDS
from aind_session.services.clock import use_clock
from aind_session.services.exchange import (
    RequestConnectionError,
    RequestTimeoutError,
    exchange_of,
)
from aind_session.services.http import Transport, bare_session
from aind_session.services.redact import escape, excerpt
from loopback import OK, Answer, FakeClock, Loopback, everything_told_of, session_at

Talk = Callable[[socket.socket], None]


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    fake = FakeClock()
    with use_clock(fake):
        yield fake


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


def drip_headers(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def repeat_continue(connection: socket.socket) -> None:
    connection.recv(4096)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


# --- every wait ends ---


def drip_handshake(connection: socket.socket) -> None:
    connection.recv(4096)
    # The head of a long TLS record.
    connection.sendall(b"\x16\x03\x03\x40\x00\x02")
    while True:
        connection.sendall(b"\0")
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("scheme", "talk"),
    [
        ("http", drip_headers),
        ("http", repeat_continue),
        ("http", say_nothing),
        ("https", say_nothing),
        ("https", drip_handshake),
    ],
)
def test_request_server_that_stalls_ends_at_the_limit(scheme: str, talk: Talk) -> None:
    began = time.monotonic()
    with raw_server(talk) as url:
        url = url.replace("http:", f"{scheme}:")
        with pytest.raises(RequestTimeoutError):
            bare_session(Transport("Service", timeout=0.4)).get(url)
        assert time.monotonic() - began < 1.5


def test_request_slow_name_resolution_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def slow(*args: Any, **options: Any) -> Any:
        over.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "slow")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(RequestTimeoutError, match="no connection to localhost:1 could be opened"):
        bare_session(Transport("Service", timeout=0.4)).get("http://localhost:1/a")
    assert time.monotonic() - began < 1.5
    over.set()


def test_connect_that_comes_too_late_is_closed() -> None:
    go, closed = threading.Event(), threading.Event()
    with pytest.raises(Exception, match="no connection within"):
        connections.within(0.05, lambda: go.wait(10), closed.set)
    assert not closed.is_set()
    go.set()
    assert closed.wait(10)


def test_request_single_hang_is_answered_on_a_new_connection() -> None:
    with Loopback([OK, Answer(kind="hang"), OK]) as server:
        session = session_at(server, timeout=1.0)
        session.get(server.url)
        response = session.get(server.url)
    assert response.json() == {"good": True}
    assert exchange_of(response).attempts == 2
    assert server.requests[1].peer != server.requests[2].peer


def test_request_slow_body_may_take_the_whole_time() -> None:
    with Loopback([Answer(200, b"x" * 35, kind="drip")]) as server:
        response = session_at(server, timeout=1.2).get(server.url)
    assert (response.content, len(server.requests)) == (b"x" * 35, 1)


# --- every body is bounded ---


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "", "chunked"])
def test_body_larger_than_the_limit_is_refused(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("AIND_SESSION_MAX_RESPONSE_MB", "1")
    body = b"\0" * (50 * 2**20 if encoding in ("gzip", "deflate") else 2 * 2**20)
    headers = {"Content-Encoding": encoding}
    if encoding == "gzip":
        body = gzip.compress(body)
    elif encoding == "deflate":
        body = zlib.compress(body)
    elif encoding == "chunked":
        headers = {"Transfer-Encoding": "chunked"}
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with (
        Loopback([Answer(200, body, headers)]) as server,
        pytest.raises(BadAnswerError, match=r"Service sent more than 1 MB.*MAX_RESPONSE_MB"),
    ):
        session_at(server).get(server.url)
    assert len(server.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate, gzip", "gzip\x1b[31m"])
def test_body_of_several_or_unknown_encodings_is_refused(encoding: str) -> None:
    body = gzip.compress(gzip.compress(b"\0" * 1000))
    with (
        Loopback([Answer(200, body, {"Content-Encoding": encoding})]) as server,
        pytest.raises(BadAnswerError, match="unexpected Content-Encoding") as caught,
    ):
        session_at(server).get(server.url)
    assert "\x1b" not in str(caught.value)


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"some ") + gzip.compress(b"text")),
        ("deflate", zlib.compress(b"some text")),
        ("deflate", _raw_deflate(b"some text")),
        ("identity", b"some text"),
        ("GZIP", gzip.compress(b"some text")),
    ],
)
def test_body_of_a_common_encoding_is_decoded(encoding: str, body: bytes) -> None:
    with Loopback([Answer(200, body, {"Content-Encoding": encoding})]) as server:
        assert session_at(server).get(server.url).content == b"some text"


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"some text" * 99)[:-20]])
def test_body_garbled_compression_is_a_typed_error(body: bytes) -> None:
    with (
        Loopback([Answer(200, body, {"Content-Encoding": "gzip"})]) as server,
        pytest.raises(BadAnswerError, match="compress"),
    ):
        session_at(server).get(server.url)


def test_body_without_json_is_repeated_like_a_502(clock: FakeClock) -> None:
    page = Answer(200, b"<html>maintenance</html>")
    with Loopback([page, Answer(200, b""), OK]) as server:
        response = session_at(server, json=True).get(server.url)
    assert response.json() == {"good": True}
    assert len(server.requests) == 3
    with Loopback([page]) as server:
        response = session_at(server, json=True).get(server.url)
    assert exchange_of(response).is_garbled
    assert len(server.requests) == 4


@pytest.mark.parametrize("body", [b'{"a": NaN}', b"[" * 5000 + b"]" * 5000, b"null"])
def test_body_of_odd_json_is_not_repeated(body: bytes) -> None:
    with Loopback([Answer(200, body)]) as server:
        assert not exchange_of(session_at(server, json=True).get(server.url)).is_garbled
    assert len(server.requests) == 1


# --- circuits ---


def circuits_of(session: requests.Session) -> tuple[str, ...]:
    """Return the lines that describe a session's open circuits."""
    transport = session.get_adapter("http://127.0.0.1")
    assert isinstance(transport, Transport)
    lines = transport.circuits.describe()
    assert set(lines) <= set(http.open_circuits())
    return lines


def test_circuit_after_all_attempts_failed_sends_nothing_for_30_s(clock: FakeClock) -> None:
    with Loopback([Answer(500, b'{"message": "down"}')]) as server:
        session = session_at(server)
        first, second = session.get(server.url), session.get(server.url)
        assert (second.status_code, second.content) == (500, first.content)
        assert exchange_of(second).attempts == len(server.requests) == 4
        assert "status 500" in circuits_of(session)[0]
        clock.sleep(CIRCUIT_SECONDS - 1)
        session.get(server.url)
        assert len(server.requests) == 4
        server._answers[:] = [OK]
        clock.sleep(1)
        assert session.get(server.url).json() == {"good": True}
        assert len(server.requests) == 5
        assert session.get(server.url).ok
        assert circuits_of(session) == ()


def test_circuit_probe_that_fails_keeps_it_open(clock: FakeClock) -> None:
    with Loopback([Answer(kind="reset")]) as server:
        session = session_at(server, attempts=2)
        for expected in (2, 2, 4, 4):
            with pytest.raises(RequestConnectionError) as caught:
                session.get(f"{server.url}/{len(server.requests)}")
            assert caught.value.attempts == 2
            assert len(server.requests) == expected
            if expected == 2 and clock.now > 1_700_000_002:
                clock.sleep(CIRCUIT_SECONDS)
            elif expected == 2:
                clock.sleep(3)


def test_circuit_lets_one_probe_through(clock: FakeClock) -> None:
    arrived, go = threading.Event(), threading.Event()

    def script(seen: Any) -> Answer:
        if seen.path == "/slow":
            arrived.set()
            go.wait(10)
            return OK
        return Answer(kind="reset")

    with Loopback(script) as server:
        session = session_at(server, attempts=1)
        with pytest.raises(RequestConnectionError):
            session.get(f"{server.url}/a")
        clock.sleep(CIRCUIT_SECONDS)
        probe = threading.Thread(target=session.get, args=(f"{server.url}/slow",))
        probe.start()
        assert arrived.wait(10)
        with pytest.raises(RequestConnectionError):
            session.get(f"{server.url}/b")
        go.set()
        probe.join()
    assert server.paths == ["/a", "/slow"]
    assert circuits_of(session) == ()


def test_circuit_error_is_a_copy(clock: FakeClock) -> None:
    with Loopback([Answer(kind="reset")]) as server:
        session = session_at(server, attempts=1)
        errors = []
        for _ in range(2):
            with pytest.raises(RequestConnectionError) as caught:
                session.get(server.url)
            errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert str(errors[0]) == str(errors[1])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "method", "path"),
    [
        (Answer(404), "GET", "/a"),
        (Answer(429), "GET", "/a"),
        (Answer(503), "POST", "/computations"),
        (Answer(kind="reset"), "POST", "/computations"),
    ],
)
def test_circuit_client_errors_and_writes_do_not_open_it(
    clock: FakeClock, answer: Answer, method: str, path: str
) -> None:
    with Loopback([answer]) as server:
        session = session_at(server, attempts=1)
        for _ in range(3):
            with contextlib.suppress(ServiceError):
                session.request(method, server.url + path)
        assert len(server.requests) == 3


def test_circuit_of_one_path_leaves_the_others(clock: FakeClock) -> None:
    with Loopback(lambda seen: Answer(500) if seen.path == "/a" else OK) as server:
        session = session_at(server, attempts=1)
        for path in ("/a", "/b", "/a", "/b"):
            session.get(server.url + path)
    assert server.paths == ["/a", "/b", "/b"]


def test_circuit_of_a_hang_leaves_the_other_schema() -> None:
    with Loopback(
        lambda seen: Answer(kind="hang") if seen.path.startswith("/v1") else OK
    ) as server:
        session = session_at(server, timeout=0.2)
        for path in ("/v1/a", "/v1/b", "/v2/a"):
            with contextlib.suppress(RequestTimeoutError):
                session.get(server.url + path)
    assert server.paths == ["/v1/a", "/v1/a", "/v2/a"]


def test_circuit_callers_own_short_limit_does_not_open_it() -> None:
    with Loopback([Answer(kind="hang"), OK]) as server:
        session = session_at(server, timeout=20, attempts=1)
        with pytest.raises(RequestTimeoutError):
            session.get(server.url, timeout=0.1)
        assert session.get(server.url).ok


# --- what is used of the surroundings ---


def test_credentials_of_netrc_and_of_urls_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret-of-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Loopback([OK, Answer(302, headers={"Location": "/b"}), OK]) as server:
        url = server.url.replace("//", "//user:secret-of-url@")
        for home in (None, server.url, "*"):
            bare_session(Transport("Service", home=home)).get(url)
    assert len(server.requests) == 4
    assert all("Authorization" not in seen.headers for seen in server.requests)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    made = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return made, path


@contextlib.contextmanager
def tls_server(authority: trustme.CA, name: str = "127.0.0.1") -> Iterator[str]:
    """Serve over TLS, connections kept, and yield the server's URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    opened: list[ssl.SSLSocket] = []

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            opened.append(secure)
            while secure.recv(4096):
                secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with raw_server(talk) as url:
        try:
            yield url.replace("http:", "https:")
        finally:
            for secure in opened:
                with contextlib.suppress(OSError):
                    secure.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def _no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in connections.CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_no_bundles")
class TestCertificates:
    @pytest.mark.parametrize("variable", [*connections.CA_VARIABLES, "ca_bundle"])
    def test_bundle_of_each_variable_is_used(
        self,
        authority: tuple[trustme.CA, Path],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        variable: str,
    ) -> None:
        path = authority[1]
        if variable == "ca_bundle":
            config = tmp_path / "config"
            config.write_text(f"[profile lab]\nca_bundle = {path}\n")
            monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
            monkeypatch.setenv("AWS_PROFILE", "lab")
        elif variable == "SSL_CERT_DIR":
            # As `openssl rehash` names it.
            name = _subject_hash(path)
            (tmp_path / f"{name}.0").write_bytes(path.read_bytes())
            monkeypatch.setenv(variable, str(tmp_path))
        else:
            monkeypatch.setenv(variable, str(path))
        with tls_server(authority[0]) as url:
            assert bare_session(Transport("Service")).get(url).json() == {}

    def test_context_is_made_once_for_all_connections(
        self, authority: tuple[trustme.CA, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[int] = []
        real = connections.create_urllib3_context
        monkeypatch.setattr(
            connections, "create_urllib3_context", lambda **o: made.append(1) or real(**o)
        )
        bundle = authority[1].with_name("copy.pem")
        bundle.write_bytes(authority[1].read_bytes())
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        with tls_server(authority[0]) as url, tls_server(authority[0]) as other:
            for service in ("Code Ocean", "DocDB"):
                session = bare_session(Transport(service))
                for where in (url, other, url):
                    assert session.get(where).ok
        assert len(made) == 1

    def test_missing_bundle_is_named_and_not_repeated(
        self, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
        with pytest.raises(RequestConnectionError, match="REQUESTS_CA_BUNDLE") as caught:
            bare_session(Transport("Service")).get("https://127.0.0.1:1/a")
        assert "/nowhere/ca.pem" in str(caught.value)
        assert (caught.value.attempts, clock.slept) == (1, [])

    def test_untrusted_certificate_is_named_and_not_repeated(
        self, authority: tuple[trustme.CA, Path], clock: FakeClock
    ) -> None:
        with (
            tls_server(authority[0]) as url,
            pytest.raises(RequestConnectionError, match=r"certificate of 127\.0\.0\.1") as caught,
        ):
            bare_session(Transport("Service")).get(url)
        assert "not trusted" in str(caught.value)
        assert caught.value.attempts == 1
        assert clock.slept == []

    def test_certificate_of_another_host_is_refused(
        self, authority: tuple[trustme.CA, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))
        with (
            tls_server(authority[0], "example.org") as url,
            pytest.raises(RequestConnectionError, match=r"certificate of 127\.0\.0\.1"),
        ):
            bare_session(Transport("Service")).get(url)


def _subject_hash(path: Path) -> str:
    import subprocess

    command = ["openssl", "x509", "-hash", "-noout", "-in", str(path)]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except OSError:
        pytest.skip("no openssl here")


# --- what errors name ---


@pytest.mark.parametrize(
    ("errno", "attempts"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 2)], ids=["unknown", "again"]
)
def test_unknown_host_is_named(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, errno: int, attempts: int
) -> None:
    def unknown(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(errno, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RequestConnectionError, match=r"host name no\.example\.org") as caught:
        bare_session(Transport("Service")).get("https://no.example.org/a")
    assert "VPN" in str(caught.value)
    assert caught.value.attempts == attempts


@pytest.mark.parametrize("kind", ["refused", "denied"])
def test_proxy_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock, kind: str
) -> None:
    def deny(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with raw_server(deny) as proxy:
        if kind == "refused":
            proxy = "http://127.0.0.1:1"
        proxy = proxy.replace("//", "//user:secret-of-proxy@")
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(RequestConnectionError, match="set by HTTPS_PROXY") as caught:
            bare_session(Transport("Service")).get("https://example.org/a")
    assert proxy.rpartition("@")[2] in str(caught.value)
    assert "secret-of-proxy" not in everything_told_of(caught.value)
    assert caught.value.attempts == (1 if kind == "denied" else 2)


def test_proxy_exclusions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.org")
    assert connections.proxy_for("https://example.org/a", {}) is None
    assert connections.proxy_for("https://example.com/a", {}) == "http://127.0.0.1:1"
    assert connections.proxy_for("https://a.com", {"https": "http://own"}) == "http://own"


def test_error_after_a_redirect_names_both_hosts(clock: FakeClock) -> None:
    with Loopback([OK]) as gone:
        pass
    away = Answer(302, headers={"Location": f"{gone.url}/there"})
    with Loopback([away]) as server, pytest.raises(RequestConnectionError) as caught:
        session_at(server).get(f"{server.url}/here")
    text = str(caught.value)
    assert f"127.0.0.1:{gone.port} refused" in text
    assert f"redirected by 127.0.0.1:{server.port}/here" in text


def test_error_has_one_cause_and_no_context(clock: FakeClock) -> None:
    with Loopback([Answer(kind="reset")]) as server, pytest.raises(ServiceError) as caught:
        session_at(server).get(server.url)
    cause = caught.value.__cause__
    assert isinstance(cause, requests.ConnectionError)
    assert cause.__cause__ is cause.__context__ is caught.value.__context__ is None
    assert type(pickle.loads(pickle.dumps(caught.value))) is RequestConnectionError


def test_escape_hides_no_text_and_keeps_no_control_character() -> None:
    odd = "\x00\x1b[31m\x7f\x9b\u202e\u2066\u2028\n\ud800"
    text = f"größe {odd} 中"
    shown = escape(text)
    assert shown.isprintable()
    assert shown.startswith("größe \\x00\\x1b[31m\\x7f\\x9b\\u202e")
    assert shown.endswith("\\n\\ud800 中")
    assert excerpt(b"a\r\nb") == "a\\r\\nb"
    assert len(excerpt("x" * 999)) == 200


def test_log_of_a_request_has_no_control_character(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"), Loopback([Answer(404)]) as server:
        away = Answer(302, headers={"Location": "/a\u0085b\x1b[31m"})
        server._answers[:] = [away, OK]
        with contextlib.suppress(ServiceError):
            session_at(server).get(server.url)
    own = [record.getMessage() for record in caplog.records if record.name.startswith("aind")]
    assert own
    assert all(message.isprintable() for message in own)
