"""S3: the account that requests are made with, signatures, certificates, imports."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from fsspec.config import conf

import aind_session
from aind_session import context
from aind_session.errors import CredentialsError, ServiceError, SettingsError
from aind_session.services import s3
from aind_session.services.s3 import Request
from aind_session.services.s3_account import Account, Keys, sign
from loopback import Answer, Loopback, Seen, Serve, point_at, text_of_error

if TYPE_CHECKING:
    from aind_session.sandbox import Sandbox

LISTING = Answer(
    200,
    b"<ListBucketResult><Contents><Key>a/1</Key><Size>1</Size></Contents></ListBucketResult>",
)


# --- the account, signatures and addresses --------------------------------------------------------


@pytest.mark.parametrize("token", [None, "session/token+="])
@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", "https://bucket.s3.us-west-2.amazonaws.com/", b""),
        ("GET", "http://127.0.0.1:5000/bucket?list-type=2&prefix=a%2Fb%20c%23~", b""),
        ("GET", "https://s3.us-west-2.amazonaws.com/a.bucket/a%20b/%C3%BC%23.zarr//./x~", b""),
        ("PUT", "https://bucket.s3.us-west-2.amazonaws.com/a", b"content"),
    ],
)
def test_sign_agrees_with_botocore(method: str, url: str, body: bytes, token: str | None) -> None:
    request = AWSRequest(method, url, data=body, headers={})
    request.context["payload_signing_enabled"] = True
    signer = S3SigV4Auth(Credentials("AKIAEXAMPLE", "wJalrXUtn", token), "s3", "us-west-2")
    signer.add_auth(request)
    at = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
    now = at.replace(tzinfo=timezone.utc).timestamp()
    ours = sign(Keys("AKIAEXAMPLE", "wJalrXUtn", token), "us-west-2", method, url, body, now)
    theirs = {name.lower(): value for name, value in request.headers.items()}
    if theirs["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD":
        # Over https botocore leaves the payload out of the signature: nothing to compare.
        assert "s3/aws4_request" in ours["Authorization"]
        return
    assert {name.lower(): value for name, value in ours.items()} == theirs


@pytest.mark.parametrize(
    ("bucket", "key", "account", "url"),
    [
        ("a-bucket", "", {}, "https://a-bucket.s3.us-west-2.amazonaws.com/"),
        ("a-bucket", "a b/#", {}, "https://a-bucket.s3.us-west-2.amazonaws.com/a%20b/%23"),
        ("a.bucket", "k", {}, "https://s3.us-west-2.amazonaws.com/a.bucket/k"),
        ("A_bucket", "", {}, "https://s3.us-west-2.amazonaws.com/A_bucket"),
        ("a-bucket", "k", {"endpoint": "https://host:1"}, "https://host:1/a-bucket/k"),
        (
            "a-bucket",
            "k",
            {"variant": "-fips"},
            "https://a-bucket.s3-fips.us-west-2.amazonaws.com/k",
        ),
    ],
)
def test_url_of_a_request_follows_the_account(
    bucket: str, key: str, account: dict[str, str], url: str
) -> None:
    found = Account(lambda: None, False, "us-west-2", **account)
    assert Request("GET", bucket, key).url(found, "us-west-2") == url
    assert found.host("cn-north-1").endswith(".cn-north-1.amazonaws.com.cn")


@pytest.mark.parametrize(
    "moved",
    [
        Answer(301, b"", {"x-amz-bucket-region": "eu-central-1"}),
        Answer(307, b"", {"x-amz-bucket-region": "eu-central-1", "Location": "https://x.y/"}),
        Answer(
            400,
            b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>",
        ),
    ],
)
def test_bucket_in_another_region_is_read_there(serve: Serve, moved: Answer) -> None:
    def answer(seen: Seen) -> Answer:
        there = "/eu-central-1/s3/" in seen.headers["Authorization"]
        return LISTING if there else moved

    server = serve(answer)
    for _ in range(2):
        assert s3.list_folder("bucket", "a").exists
    # The region is remembered.
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_ENDPOINT_URL_S3", "'https://s3.example.org'"),
        ("AWS_ENDPOINT_URL_S3", "ftp://s3.example.org"),
        ("AWS_ENDPOINT_URL_S3", "https://user:Secret0Password@s3.example.org"),
        ("AWS_ENDPOINT_URL", "https://s3.example.org:port"),
        ("AWS_DEFAULT_REGION", "us west 2"),
        ("AWS_DEFAULT_REGION", "'us-west-2'"),
        ("AWS_DEFAULT_REGION", "moon"),
    ],
)
def test_invalid_aws_setting_disables_s3_only(variable: str, value: str) -> None:
    with aind_session.sandbox() as box, pytest.MonkeyPatch.context() as patch:
        if variable != "AWS_ENDPOINT_URL_S3":
            patch.delenv("AWS_ENDPOINT_URL_S3")
        patch.setenv(variable, value)
        with pytest.raises(SettingsError, match=f"{variable} in the environment") as caught:
            s3.list_folder("bucket", "a")
        assert (caught.value.service, caught.value.variable) == ("S3", variable)
        assert "Secret0Password" not in text_of_error(caught.value)
        session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
        assert session.is_uploaded
        assert session.raw_data_dir.name == session.id
        assert session.docdb
        assert session.ecephys.is_sorted
        with pytest.raises(SettingsError, match=variable):
            _ = session.modalities
        assert not box.count("s3")


def test_account_of_a_configuration_file_is_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = serve([LISTING])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name)
    config = tmp_path / "config"
    config.write_text(
        "[profile lab]\nregion = eu-north-1\nservices = ours\naws_access_key_id = AKIALAB\n"
        "aws_secret_access_key = x\naws_session_token = y\n"
        f"[services ours]\ns3 =\n  endpoint_url = {server.url}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert s3.list_folder("bucket", "a").exists
    (seen,) = server.requests
    assert "Credential=AKIALAB/" in seen.headers["Authorization"]
    assert "/eu-north-1/s3/" in seen.headers["Authorization"]
    assert seen.headers["x-amz-security-token"] == "y"
    config.write_text(config.read_text().replace("eu-north-1", "north pole"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "." / "config"))
    context.reset()
    with pytest.raises(SettingsError, match="region in the AWS configuration"):
        s3.list_folder("bucket", "a")


def test_half_of_a_key_raises_credentials_error(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve([LISTING])
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="cannot be read") as caught:
        s3.list_folder("bucket", "a")
    assert "AKIAEXAMPLE" not in text_of_error(caught.value)


# --- certificates ---------------------------------------------------------------------------------


@pytest.fixture
def tls_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Serve S3 over TLS with a certificate of our own; yields the CA's file."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    server = Loopback([LISTING])
    server._server.socket = tls.wrap_socket(server._server.socket, server_side=True)
    server.url = f"https://localhost:{server.port}"
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    with server:
        point_at(monkeypatch, server)
        monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "1")
        yield bundle
    context.reset()


@pytest.mark.parametrize(
    "name",
    ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "ca_bundle"],
)
def test_ca_bundle_is_used_by_requests_and_paths(
    name: str, tls_server: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ServiceError):
        s3.list_folder("bucket", "a")
    if name == "ca_bundle":
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {tls_server}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    else:
        monkeypatch.setenv(name, str(tls_server))
    context.reset()
    assert s3.list_folder("bucket", "a").files == ("1",)
    path = s3.path("bucket", "a")
    assert path.storage_options == {}
    assert [child.name for child in path.iterdir()] == ["1"]
    # A later path does not keep what this one was read with.
    monkeypatch.delenv(name, raising=False)
    s3.path("bucket", "a")
    assert "client_kwargs" not in conf["s3"]


def test_path_does_not_replace_a_users_options_of_s3fs(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve([LISTING])
    monkeypatch.setenv("SSL_CERT_FILE", __file__)
    monkeypatch.setitem(conf, "s3", {"client_kwargs": {"verify": "mine.pem"}})
    s3.path("bucket", "a")
    assert conf["s3"] == {"client_kwargs": {"verify": "mine.pem"}}


# --- in the sandbox -----------------------------------------------------------------------


def test_path_reads_through_s3fs(sandbox: Sandbox) -> None:
    s3.write("aind-scratch-data", "folder/a b#c.txt", b"hello")
    path = s3.path("aind-scratch-data", "folder")
    assert [child.name for child in path.iterdir()] == ["a b#c.txt"]
    assert (path / "a b#c.txt").read_text() == "hello"
    assert s3.read("aind-scratch-data", "folder/a b#c.txt") == b"hello"
    s3.write("aind-scratch-data", "folder/new.txt", b"")
    s3.forget_listings()
    assert len(list(path.iterdir())) == 2


def test_list_folder_of_the_sandbox_returns_a_session(sandbox: Sandbox) -> None:
    found = s3.list_folder("aind-ephys-data", "ecephys_676909_2023-12-13_13-43-40")
    assert found.exists
    assert "ecephys_compressed" in found.folders
    assert sandbox.count("s3") == 1
    with sandbox.without_aws():
        again = s3.list_folder("aind-ephys-data", "ecephys_676909_2023-12-13_13-43-40")
        with pytest.raises(s3.StorageAccessError):
            s3.list_folder("aind-private-data-prod-o5171v", "ecephys_676909")
    assert again == found


def test_missing_profile_raises_credentials_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mistyped")
    for ask in (s3.has_credentials, lambda: s3.list_folder("a-bucket", "a")):
        with pytest.raises(CredentialsError, match="mistyped"):
            ask()


# --- imports --------------------------------------------------------------------------------------

HEAVY = ("boto3", "botocore", "fsspec", "s3fs", "upath")


def test_lookups_load_only_the_libraries_that_they_use() -> None:
    program = f"""
import sys, aind_session
def show():
    print(*(name for name in {HEAVY!r} if name in sys.modules))
session = aind_session.Session('ecephys_676909_2023-12-13_13-43-40')
aind_session.get_sessions(676909); show()
session.docdb.genotype; show()
session.modalities; show()
session.raw_data_dir; show()
"""
    with aind_session.sandbox():
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    assert done.stdout.splitlines() == ["", "", "", "fsspec upath"]
