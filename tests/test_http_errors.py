"""HTTP: what is used of the environment (credentials, certificates, proxies), what errors name."""

from __future__ import annotations

import contextlib
import pickle
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from urllib3.util.ssl_ import create_urllib3_context

from aind_session.errors import ServiceError
from aind_session.services import connections
from aind_session.services.exchange import (
    RequestConnectionError,
)
from aind_session.services.http import Transport, bare_session, get_link, read_document
from aind_session.services.redact import escape, excerpt
from loopback import OK, Answer, FakeClock, Loopback, raw_server, session_at, text_of_error

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
        assert get_link("Service", url).ok
    assert len(server.requests) == 5
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
        made: list[ssl.SSLContext] = []
        create = create_urllib3_context

        def counting() -> ssl.SSLContext:
            made.append(create())
            return made[-1]

        monkeypatch.setattr(connections, "create_urllib3_context", counting)
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
    assert "secret-of-proxy" not in text_of_error(caught.value)
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


@pytest.mark.parametrize(("body", "shown"), [(b"", ""), (b"because", ": because")])
def test_error_of_a_document_leaves_out_an_empty_body(body: bytes, shown: str) -> None:
    with Loopback([Answer(400, body)]) as server, pytest.raises(ServiceError) as caught:
        read_document(f"{server.url}/a")
    expected = f"127.0.0.1:{server.port}/a: its server answered 400{shown}"
    assert str(caught.value) == expected


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


def test_proxy_of_another_kind_keeps_its_own_connections() -> None:
    transport = Transport("Service")
    limited = transport.proxy_manager_for("http://127.0.0.1:1").pool_classes_by_scheme
    assert limited == transport.poolmanager.pool_classes_by_scheme
    with contextlib.suppress(requests.exceptions.InvalidSchema):
        # Without PySocks there is no such manager.
        other = transport.proxy_manager_for("socks5://127.0.0.1:1").pool_classes_by_scheme
        assert other != limited


@pytest.mark.parametrize("encode", [str, str.encode])
def test_excerpt_secret_longer_than_excerpt_is_hidden(
    encode: Callable[[str], str | bytes],
) -> None:
    secret = "abcde" * 1000
    assert excerpt(encode(f"refused {secret} " * 30), (secret,)) == ("refused *** " * 30)[:200]
