"""S3: listings, objects, refusals, faults, paths."""

from __future__ import annotations

import copy
import gzip
import logging
import pickle
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from aind_session.errors import (
    AccessDeniedError,
    BadAnswerError,
    CredentialsError,
    IncompleteAnswerError,
    ServiceError,
)
from aind_session.services import s3
from aind_session.services.s3 import (
    Listing,
    StorageAccessError,
    StorageCredentialsError,
    StorageError,
    StorageNotFoundError,
)
from loopback import (
    Answer,
    FakeClock,
    Loopback,
    Seen,
    Serve,
    text_of_error,
)


def listing(
    folders: tuple[str, ...] = (), files: tuple[str, ...] = (), token: str | None = None
) -> Answer:
    parts = ["<ListBucketResult>", f"<IsTruncated>{str(token is not None).lower()}</IsTruncated>"]
    parts += [f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in folders]
    parts += [f"<Contents><Key>{name}</Key><Size>1</Size></Contents>" for name in files]
    if token is not None:
        parts.append(f"<NextContinuationToken>{token}</NextContinuationToken>")
    return Answer(200, "".join([*parts, "</ListBucketResult>"]).encode())


def refusal(status: int, code: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>because</Message></Error>"
    return Answer(status, body.encode(), {"x-amz-request-id": "r-17"})


def is_signed(seen: Seen) -> bool:
    return "Authorization" in seen.headers


# --- listings -----------------------------------------------------------------------------------


def test_list_folder_sends_one_request(serve: Serve) -> None:
    server = serve([listing(("a/b/ecephys/", "a/b/behavior/"), ("a/b/", "a/b/subject.json"))])
    assert s3.list_folder("bucket", "/a/b/") == Listing(
        ("ecephys", "behavior"), ("subject.json",), True
    )
    (seen,) = server.requests
    query = parse_qs(urlsplit(seen.path).query)
    assert urlsplit(seen.path).path == "/bucket"
    assert (query["prefix"], query["delimiter"], query["list-type"]) == (["a/b/"], ["/"], ["2"])


def test_list_folder_with_several_pages_returns_all(serve: Serve) -> None:
    server = serve(
        [
            listing(("a/x/",), ("a/1",), token="t+1"),
            listing(("a/x/", "a/y/"), ("a/2",), token="t2"),
            listing((), ("a/3",)),
        ]
    )
    assert s3.list_folder("bucket", "a") == Listing(("x", "y"), ("1", "2", "3"), True)
    tokens = [parse_qs(urlsplit(s.path).query).get("continuation-token") for s in server.requests]
    assert tokens == [None, ["t+1"], ["t2"]]


def test_list_folder_with_a_failed_page_raises(serve: Serve) -> None:
    serve([listing((), ("a/1",), token="t1"), refusal(400, "InvalidArgument")])
    with pytest.raises(IncompleteAnswerError, match="Page 2"):
        s3.list_folder("bucket", "a")


def test_list_folder_with_a_repeated_cursor_stops(serve: Serve) -> None:
    server = serve([listing((), ("a/1",), token="t1")])
    with pytest.raises(IncompleteAnswerError, match="does not end"):
        s3.list_folder("bucket", "a")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer", [listing(), refusal(404, "NoSuchBucket"), refusal(404, "NoSuchKey")]
)
def test_list_of_a_missing_folder_is_empty(serve: Serve, answer: Answer) -> None:
    server = serve([answer])
    assert s3.list_folder("bucket", "nothing") == Listing()
    assert s3.list_keys("bucket", "nothing") == ()
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b"<html>Not Found</html>", b"", b'{"message": "no route"}'])
def test_404_of_a_gateway_is_not_reported_as_not_found(serve: Serve, body: bytes) -> None:
    serve([Answer(404, body)])
    for ask in (s3.list_folder, s3.list_keys, s3.read):
        with pytest.raises(StorageError) as caught:
            ask("bucket", "a")
        assert not isinstance(caught.value, FileNotFoundError)
        assert caught.value.status == 404


def test_list_keys_stops_at_the_limit(serve: Serve) -> None:
    server = serve([listing((), ("a/1", "a/2"), token="t1"), listing((), ("a/3", "a/4"))])
    assert s3.list_keys("bucket", "a/", limit=3) == ("a/1", "a/2", "a/3")
    assert parse_qs(urlsplit(server.requests[0].path).query)["max-keys"] == ["3"]
    server.requests.clear()
    assert s3.list_keys("bucket", "a/", limit=2) == ("a/1", "a/2")


# --- objects ------------------------------------------------------------------------------------

KEYS = [
    "output",
    "a b/Record Node 102#Probe.A-AP.zarr/.zgroup",
    "ü/100%/a?b=c&d+e",
    "a//b",
    "a/./b",
]


@pytest.mark.parametrize("key", KEYS)
def test_read_with_any_key_sends_one_request(serve: Serve, key: str) -> None:
    server = serve([Answer(200, b"content")])
    assert s3.read("bucket", key) == b"content"
    assert [unquote(seen.path) for seen in server.requests] == [f"/bucket/{key}"]


def test_write_sends_one_request(serve: Serve) -> None:
    server = serve([Answer(200, b"")])
    s3.write("bucket", "a b/#1.json", b'{"a": 1}')
    (seen,) = server.requests
    assert (seen.method, unquote(seen.path), seen.body) == (
        "PUT",
        "/bucket/a b/#1.json",
        b'{"a": 1}',
    )
    assert "Expect" not in seen.headers


def test_read_of_a_compressed_object_does_not_decompress_it(serve: Serve) -> None:
    packed = gzip.compress(b"content")
    serve([Answer(200, packed, {"Content-Encoding": "gzip"})])
    assert s3.read("bucket", "a.gz") == packed


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "also"),
    [
        (refusal(403, "AccessDenied"), StorageAccessError, PermissionError),
        (refusal(403, "SignatureDoesNotMatch"), StorageAccessError, AccessDeniedError),
        (refusal(400, "ExpiredToken"), StorageCredentialsError, PermissionError),
        (refusal(403, "InvalidAccessKeyId"), StorageCredentialsError, CredentialsError),
        (refusal(401, "Odd"), StorageAccessError, PermissionError),
        (refusal(404, "NoSuchKey"), StorageNotFoundError, FileNotFoundError),
        (refusal(404, "NoSuchBucket"), StorageNotFoundError, FileNotFoundError),
        (refusal(400, "InvalidBucketName"), StorageError, OSError),
        (refusal(500, "InternalError"), StorageError, OSError),
    ],
)
def test_read_with_an_error_status_raises_its_type(
    serve: Serve, answer: Answer, kind: type[StorageError], also: type[Exception]
) -> None:
    serve([answer])
    with pytest.raises(kind) as caught:
        s3.read("bucket", "key")
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, also)
    assert isinstance(error, ServiceError)
    assert (error.status, error.request_id) == (answer.status, "r-17")
    assert error.attempts == (4 if answer.status == 500 else 1)
    assert "s3://bucket/key" in str(error)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(again), str(again), again.status) == (kind, str(error), answer.status)


@pytest.mark.parametrize("refused", [refusal(403, "AccessDenied"), refusal(400, "ExpiredToken")])
def test_list_folder_with_refused_credentials_is_anonymous(
    serve: Serve, caplog: pytest.LogCaptureFixture, refused: Answer
) -> None:
    server = serve(lambda seen: refused if is_signed(seen) else listing((), ("a/1",)))
    caplog.set_level(logging.INFO, "aind_session")
    assert s3.list_folder("public", "a").exists
    assert [is_signed(seen) for seen in server.requests] == [True, False]
    server.requests.clear()
    assert s3.list_folder("public", "b").exists
    assert [is_signed(seen) for seen in server.requests] == [False]
    assert "read anonymously" in caplog.text
    assert s3.path("public", "a").storage_options == {"anon": True}
    assert s3.path("other", "a").storage_options == {}


def test_request_that_is_refused_raises(serve: Serve) -> None:
    server = serve([refusal(403, "AccessDenied")])
    with pytest.raises(StorageAccessError):
        s3.list_folder("private", "a")
    assert [is_signed(seen) for seen in server.requests] == [True, False]
    server.requests.clear()
    # Nothing is written anonymously.
    with pytest.raises(StorageAccessError):
        s3.write("private", "key", b"")
    assert [is_signed(seen) for seen in server.requests] == [True]


def test_list_folder_without_credentials_is_anonymous(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve([listing((), ("a/1",))])
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert s3.list_folder("public", "a").exists
    assert [is_signed(seen) for seen in server.requests] == [False]
    assert s3.path("public").storage_options == {"anon": True}


@pytest.mark.parametrize("variable", ["", "CO_CAPSULE_ID"])
def test_has_credentials_uses_the_metadata_address_in_the_cloud_only(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    serve([listing()])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    if variable:
        monkeypatch.setenv(variable, "12ab")
    with Loopback([Answer(404)]) as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        assert not s3.has_credentials()
        assert bool(metadata.requests) is bool(variable)


# --- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [refusal(503, "SlowDown"), refusal(500, "InternalError"), Answer(kind="reset"), Answer(429)],
)
def test_list_folder_with_a_passing_fault_is_repeated(
    serve: Serve, clock: FakeClock, fault: Answer
) -> None:
    server = serve([fault, fault, listing((), ("a/1",))])
    assert s3.list_folder("bucket", "a").exists
    assert len(server.requests) == 3
    assert len(clock.slept) == 2


def test_lasting_fault_of_a_read_is_repeated_of_a_write_is_not(serve: Serve) -> None:
    server = serve([refusal(503, "SlowDown")])
    for ask, sent in (
        (lambda: s3.write("bucket", "key", b""), 1),
        (lambda: s3.read("bucket", "key"), 4),
    ):
        server.requests.clear()
        with pytest.raises(StorageError, match="SlowDown") as caught:
            ask()
        assert caught.value.attempts == len(server.requests) == sent
        assert caught.value.status == 503


@pytest.mark.parametrize(
    "ask",
    [
        lambda: s3.list_folder("bucket", "a"),
        lambda: s3.list_keys("bucket", "a"),
        lambda: s3.read("bucket", "a"),
        lambda: s3.write("bucket", "a", b""),
    ],
)
def test_request_without_an_answer_ends_in_time(serve: Serve, ask: Callable[[], Any]) -> None:
    serve([Answer(kind="hang")], AIND_SESSION_TIMEOUT="0.1", AIND_SESSION_ATTEMPTS="1")
    began = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        ask()
    assert isinstance(caught.value, ServiceError)
    assert caught.value.service == "S3"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", [b"<html>gateway</html>", b"no xml", b"", b"<ListBucketResult>"])
def test_list_folder_with_another_body_raises(serve: Serve, body: bytes) -> None:
    serve([Answer(200, body)])
    with pytest.raises(BadAnswerError):
        s3.list_folder("bucket", "a")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(302, b"", {"Location": "/elsewhere"}),
        Answer(307, b"<html>moved</html>"),
        Answer(301, b"", {"Location": "https://login.example.org/"}),
        Answer(204),
        Answer(200, b"<!DOCTYPE html><html>Sign in</html>"),
        Answer(200, b"Sign in", {"Content-Type": "text/html"}),
        Answer(200, b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>"),
    ],
)
def test_answer_of_another_server_raises(serve: Serve, answer: Answer) -> None:
    serve([answer])
    for ask in (s3.list_folder, s3.list_keys, s3.read):
        with pytest.raises(BadAnswerError):
            ask("bucket", "a")


def test_read_of_a_web_page_with_etag_returns_it(serve: Serve) -> None:
    serve([Answer(200, b"<html>curves</html>", {"Content-Type": "text/html", "ETag": "'e'"})])
    assert s3.read("bucket", "a/report") == b"<html>curves</html>"


@pytest.mark.parametrize("status", [400, 403, 404, 502])
def test_read_with_an_error_without_xml_keeps_its_status(serve: Serve, status: int) -> None:
    serve([Answer(status, b"<html><body>Bad gateway")])
    with pytest.raises(StorageError) as caught:
        s3.read("bucket", "a")
    assert caught.value.status == status


@pytest.mark.parametrize("bucket", ["", "a/b", "no bucket!"])
def test_read_with_an_invalid_bucket_name_raises(serve: Serve, bucket: str) -> None:
    server = serve([Answer(200)])
    with pytest.raises(StorageError):
        s3.read(bucket, "a")
    assert server.requests == []


SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
SESSION_TOKEN = "FwoGZXIvYXdzE" + "+canary/Token0==" * 150


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, f"<Error><Code>AccessDenied</Code><Message>{SESSION_TOKEN}</Message></Error>"),
        (400, f"<Error><Code>ExpiredToken</Code><Token-0>{SESSION_TOKEN}</Token-0></Error>"),
        (400, f"<Error><Code>{SESSION_TOKEN}</Code></Error>"),
        (404, f"{SESSION_TOKEN} is not XML"),
        (200, f"<html>{SESSION_TOKEN}</html>"),
        (307, SESSION_TOKEN),
        (503, f"<Error><Code>SlowDown</Code><Message>{SESSION_TOKEN}</Message></Error>"),
    ],
)
def test_error_that_repeats_the_session_token_does_not_contain_it(
    serve: Serve, caplog: pytest.LogCaptureFixture, status: int, body: str
) -> None:
    repeated = Answer(status, body.encode(), {"x-amz-request-id": SESSION_TOKEN})
    serve(
        lambda seen: repeated if is_signed(seen) else refusal(403, "AccessDenied"),
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_SESSION_TOKEN=SESSION_TOKEN,
    )
    asks: list[Callable[[], Any]] = [
        lambda: s3.read("bucket", "a"),
        lambda: s3.list_folder("bucket", "a"),
        lambda: s3.write("bucket", "a", b""),
    ]
    for ask in asks if status != 200 else asks[:2]:
        with caplog.at_level(logging.DEBUG), pytest.raises(ServiceError) as caught:
            ask()
        path = s3.path("bucket", "a")
        shown = text_of_error(caught.value) + caplog.text + repr((path, pickle.dumps(path)))
        assert "canary/Token0" not in shown
        assert SECRET not in shown


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("", "", ""),
        ("not XML", "", ""),
        ("<Error><Code>Odd</Code></Error>", " Odd", ""),
        ("<Error><Message>because</Message></Error>", "", ": because"),
        ("<Error><Code>Odd</Code><Message>because</Message></Error>", " Odd", ": because"),
    ],
)
def test_error_leaves_out_what_the_body_does_not_have(
    serve: Serve, body: str, code: str, message: str
) -> None:
    serve([Answer(400, body.encode())])
    with pytest.raises(StorageError) as caught:
        s3.list_folder("bucket", "a")
    shown = re.sub(r"127\.0\.0\.1:\d+|\d\.\d s", "...", str(caught.value))
    expected = (
        rf"failed \(S3 answered 400{code} to GET \.\.\./bucket \(1 attempt, \.\.\.\){message}\)"
    )
    assert re.search(expected, shown), shown


def test_expired_token_is_reported_as_such(serve: Serve) -> None:
    server = serve([refusal(400, "ExpiredToken")], AWS_SESSION_TOKEN=SESSION_TOKEN)
    with pytest.raises(StorageCredentialsError, match="renew your AWS credentials") as caught:
        s3.list_folder("bucket", "a")
    assert "no access" not in str(caught.value)
    assert caught.value.service == "S3"
    assert [is_signed(seen) for seen in server.requests] == [True, False]


def test_list_folder_in_many_threads_answers_each(serve: Serve) -> None:
    server = serve([listing((), ("a/1",))])
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(s3.list_folder, ["b"] * 12, ["a"] * 12))
    assert [one.exists for one in found] == [True] * 12
    assert len(server.requests) == 12


# --- paths --------------------------------------------------------------------------------------


def test_path_sends_no_request_and_has_no_option(serve: Serve) -> None:
    server = serve([listing()])
    path = s3.path("bucket", "/a/b#c d/")
    assert isinstance(path, UPath)
    assert path.as_posix() == str(path) == "s3://bucket/a/b#c d"
    assert path.storage_options == {}
    assert str(s3.path("bucket")).rstrip("/") == "s3://bucket"
    assert UPath(path, anon=True).storage_options == {"anon": True}
    assert server.requests == []


bucket_names = st.text("ab09-", min_size=3, max_size=20).filter(lambda name: name[0] != "-")
key_parts = st.text("aZ0 #?=&+%._~ü中", min_size=1, max_size=8)


@given(bucket_names, st.lists(key_parts.filter(lambda part: part not in (".", "..")), max_size=3))
def test_split_returns_bucket_and_key(bucket: str, parts: list[str]) -> None:
    key = "/".join(parts)
    for written in (f"s3://{bucket}/{key}", f"s3://{bucket}/{key}/", f"S3A://{bucket}/{key}"):
        assert s3.split(written) == (bucket, key)


def test_split_accepts_a_upath() -> None:
    assert s3.split(UPath("s3://bucket/a/b", anon=True)) == ("bucket", "a/b")


@pytest.mark.parametrize("text", ["", "bucket/key", "https://host/key", "/a/b", "file:///a"])
def test_split_of_another_text_raises(text: str) -> None:
    with pytest.raises(ValueError, match="not a path in S3"):
        s3.split(text)
