"""S3: listings, objects, refusals, faults, paths."""

from __future__ import annotations

import copy
import gzip
import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
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
from aind_session.services import storage, storage_client
from aind_session.services.clock import use_clock
from aind_session.services.storage import (
    Listing,
    StorageAccessError,
    StorageError,
    StorageNotFoundError,
)
from loopback import (
    Answer,
    FakeClock,
    Loopback,
    Seen,
    Serve,
    serving,
)

if TYPE_CHECKING:
    from aind_session.sandbox import Sandbox


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    fake = FakeClock()
    with use_clock(fake):
        yield fake


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> Iterator[Serve]:
    with serving(monkeypatch, clock) as start:
        yield start


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


def test_a_folder_is_one_request(serve: Serve) -> None:
    server = serve([listing(("a/b/ecephys/", "a/b/behavior/"), ("a/b/", "a/b/subject.json"))])
    assert storage.list_folder("bucket", "/a/b/") == Listing(
        ("ecephys", "behavior"), ("subject.json",), True
    )
    (seen,) = server.requests
    query = parse_qs(urlsplit(seen.path).query)
    assert urlsplit(seen.path).path == "/bucket"
    assert (query["prefix"], query["delimiter"], query["list-type"]) == (["a/b/"], ["/"], ["2"])


def test_a_listing_of_many_pages_is_whole(serve: Serve) -> None:
    server = serve(
        [
            listing(("a/x/",), ("a/1",), token="t+1"),
            listing(("a/x/", "a/y/"), ("a/2",), token="t2"),
            listing((), ("a/3",)),
        ]
    )
    assert storage.list_folder("bucket", "a") == Listing(("x", "y"), ("1", "2", "3"), True)
    tokens = [parse_qs(urlsplit(s.path).query).get("continuation-token") for s in server.requests]
    assert tokens == [None, ["t+1"], ["t2"]]


def test_a_page_that_does_not_come_is_told(serve: Serve) -> None:
    serve([listing((), ("a/1",), token="t1"), refusal(400, "InvalidArgument")])
    with pytest.raises(IncompleteAnswerError, match="Page 2"):
        storage.list_folder("bucket", "a")


def test_a_cursor_that_repeats_stops(serve: Serve) -> None:
    server = serve([listing((), ("a/1",), token="t1")])
    with pytest.raises(IncompleteAnswerError, match="does not end"):
        storage.list_folder("bucket", "a")
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer", [listing(), refusal(404, "NoSuchBucket"), refusal(404, "NoSuchKey")]
)
def test_what_is_not_there_is_an_empty_listing(serve: Serve, answer: Answer) -> None:
    server = serve([answer])
    assert storage.list_folder("bucket", "nothing") == Listing()
    assert storage.list_keys("bucket", "nothing") == ()
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b"<html>Not Found</html>", b"", b'{"message": "no route"}'])
def test_what_a_gateway_does_not_know_may_be_there(serve: Serve, body: bytes) -> None:
    serve([Answer(404, body)])
    for ask in (storage.list_folder, storage.list_keys, storage.read):
        with pytest.raises(StorageError) as caught:
            ask("bucket", "a")
        assert not isinstance(caught.value, FileNotFoundError)
        assert caught.value.status == 404


def test_keys_are_listed_to_a_limit(serve: Serve) -> None:
    server = serve([listing((), ("a/1", "a/2"), token="t1"), listing((), ("a/3", "a/4"))])
    assert storage.list_keys("bucket", "a/", limit=3) == ("a/1", "a/2", "a/3")
    assert parse_qs(urlsplit(server.requests[0].path).query)["max-keys"] == ["3"]
    server.requests.clear()
    assert storage.list_keys("bucket", "a/", limit=2) == ("a/1", "a/2")


# --- objects ------------------------------------------------------------------------------------

KEYS = [
    "output",
    "a b/Record Node 102#Probe.A-AP.zarr/.zgroup",
    "ü/100%/a?b=c&d+e",
    "a//b",
    "a/./b",
]


@pytest.mark.parametrize("key", KEYS)
def test_an_object_of_any_key_is_one_request(serve: Serve, key: str) -> None:
    server = serve([Answer(200, b"content")])
    assert storage.read("bucket", key) == b"content"
    assert [unquote(seen.path) for seen in server.requests] == [f"/bucket/{key}"]


def test_an_object_is_written_at_once(serve: Serve) -> None:
    server = serve([Answer(200, b"")])
    storage.write("bucket", "a b/#1.json", b'{"a": 1}')
    (seen,) = server.requests
    assert (seen.method, unquote(seen.path), seen.body) == (
        "PUT",
        "/bucket/a b/#1.json",
        b'{"a": 1}',
    )
    assert "Expect" not in seen.headers


def test_a_compressed_object_comes_as_it_is(serve: Serve) -> None:
    packed = gzip.compress(b"content")
    serve([Answer(200, packed, {"Content-Encoding": "gzip"})])
    assert storage.read("bucket", "a.gz") == packed


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "also"),
    [
        (refusal(403, "AccessDenied"), StorageAccessError, PermissionError),
        (refusal(403, "SignatureDoesNotMatch"), StorageAccessError, AccessDeniedError),
        (refusal(400, "ExpiredToken"), StorageAccessError, PermissionError),
        (refusal(401, "Odd"), StorageAccessError, PermissionError),
        (refusal(404, "NoSuchKey"), StorageNotFoundError, FileNotFoundError),
        (refusal(404, "NoSuchBucket"), StorageNotFoundError, FileNotFoundError),
        (refusal(400, "InvalidBucketName"), StorageError, OSError),
        (refusal(500, "InternalError"), StorageError, OSError),
    ],
)
def test_no_access_is_told_apart_from_not_there(
    serve: Serve, answer: Answer, kind: type[StorageError], also: type[Exception]
) -> None:
    serve([answer])
    with pytest.raises(kind) as caught:
        storage.read("bucket", "key")
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, also)
    assert isinstance(error, ServiceError)
    assert (error.status, error.request_id) == (answer.status, "r-17")
    assert error.attempts == (4 if answer.status == 500 else 1)
    assert "s3://bucket/key" in str(error)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(again), str(again), again.status) == (kind, str(error), answer.status)


def test_a_closed_bucket_is_no_empty_folder(serve: Serve) -> None:
    serve([refusal(403, "AccessDenied")])
    with pytest.raises(StorageAccessError):
        storage.list_folder("bucket", "a")


def test_where_credentials_are_refused_anybody_may_ask(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(
        lambda seen: refusal(403, "AccessDenied") if is_signed(seen) else listing((), ("a/1",))
    )
    caplog.set_level(logging.INFO, "aind_session")
    assert storage.list_folder("public", "a").exists
    assert [is_signed(seen) for seen in server.requests] == [True, False]
    server.requests.clear()
    assert storage.list_folder("public", "b").exists
    assert [is_signed(seen) for seen in server.requests] == [False]
    assert "read anonymously" in caplog.text
    assert storage.path("public", "a").storage_options == {"anon": True}
    assert storage.path("other", "a").storage_options == {}


def test_where_everybody_is_refused_it_is_asked_twice(serve: Serve) -> None:
    server = serve([refusal(403, "AccessDenied")])
    with pytest.raises(StorageAccessError):
        storage.list_folder("private", "a")
    assert [is_signed(seen) for seen in server.requests] == [True, False]


def test_without_credentials_all_is_asked_anonymously(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve([listing((), ("a/1",))])
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert storage.list_folder("public", "a").exists
    assert [is_signed(seen) for seen in server.requests] == [False]
    assert storage.path("public").storage_options == {"anon": True}


@pytest.mark.parametrize("variable", ["", "CO_CAPSULE_ID"])
def test_the_metadata_address_is_asked_in_the_cloud_only(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    serve([listing()])
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    if variable:
        monkeypatch.setenv(variable, "12ab")
    with Loopback([Answer(404)]) as metadata:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url)
        assert not storage_client.has_credentials()
        assert bool(metadata.requests) is bool(variable)


def test_a_write_is_never_tried_anonymously(serve: Serve) -> None:
    server = serve([refusal(403, "AccessDenied")])
    with pytest.raises(StorageAccessError):
        storage.write("bucket", "key", b"")
    assert [is_signed(seen) for seen in server.requests] == [True]


# --- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [refusal(503, "SlowDown"), refusal(500, "InternalError"), Answer(kind="reset"), Answer(429)],
)
def test_slow_down_is_tried_again(serve: Serve, clock: FakeClock, fault: Answer) -> None:
    server = serve([fault, fault, listing((), ("a/1",))])
    assert storage.list_folder("bucket", "a").exists
    assert len(server.requests) == 3
    assert len(clock.slept) == 2


def test_slow_down_for_ever_is_an_error(serve: Serve) -> None:
    server = serve([refusal(503, "SlowDown")])
    with pytest.raises(StorageError, match="SlowDown") as caught:
        storage.read("bucket", "key")
    assert caught.value.attempts == len(server.requests) == 4
    assert caught.value.status == 503
    assert caught.value.__cause__ is not None


def test_a_write_is_sent_once(serve: Serve) -> None:
    server = serve([refusal(503, "SlowDown")])
    with pytest.raises(StorageError):
        storage.write("bucket", "key", b"")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda: storage.list_folder("bucket", "a"),
        lambda: storage.list_keys("bucket", "a"),
        lambda: storage.read("bucket", "a"),
        lambda: storage.write("bucket", "a", b""),
    ],
)
def test_a_service_that_never_answers_ends_in_time(serve: Serve, ask: Callable[[], Any]) -> None:
    serve([Answer(kind="hang")], AIND_SESSION_TIMEOUT="0.1", AIND_SESSION_ATTEMPTS="1")
    began = time.monotonic()
    with pytest.raises(TimeoutError) as caught:
        ask()
    assert isinstance(caught.value, ServiceError)
    assert caught.value.service == "S3"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", [b"<html>gateway</html>", b"no xml", b"", b"<ListBucketResult>"])
def test_a_listing_that_is_none_is_a_typed_error(serve: Serve, body: bytes) -> None:
    serve([Answer(200, body)])
    with pytest.raises(BadAnswerError):
        storage.list_folder("bucket", "a")


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
def test_what_is_no_answer_of_s3_is_a_typed_error(serve: Serve, answer: Answer) -> None:
    serve([answer])
    for ask in (storage.list_folder, storage.list_keys, storage.read):
        with pytest.raises(BadAnswerError):
            ask("bucket", "a")


def test_a_file_may_be_a_page(serve: Serve) -> None:
    serve([Answer(200, b"<html>curves</html>", {"Content-Type": "text/html", "ETag": "'e'"})])
    assert storage.read("bucket", "a/report") == b"<html>curves</html>"


@pytest.mark.parametrize("status", [400, 403, 404, 502])
def test_an_error_that_is_no_xml_keeps_its_meaning(serve: Serve, status: int) -> None:
    serve([Answer(status, b"<html><body>Bad gateway")])
    with pytest.raises(StorageError) as caught:
        storage.read("bucket", "a")
    assert caught.value.status == status


@pytest.mark.parametrize("bucket", ["", "a/b", "no bucket!"])
def test_a_name_that_is_no_buckets_is_our_error(serve: Serve, bucket: str) -> None:
    server = serve([Answer(200)])
    with pytest.raises(StorageError):
        storage.read(bucket, "a")
    assert server.requests == []


def test_the_secret_is_nowhere(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
    serve([refusal(403, "AccessDenied")], AWS_SECRET_ACCESS_KEY=secret)
    with caplog.at_level(logging.DEBUG), pytest.raises(StorageError) as caught:
        storage.read("bucket", "a")
    error = caught.value
    path = storage.path("bucket", "a")
    told = [caplog.text, repr(error), repr(vars(error)), repr(path), repr(pickle.dumps(path))]
    assert secret not in "".join([*told, repr(pickle.dumps(error))])


def test_many_threads_ask_at_once(serve: Serve) -> None:
    server = serve([listing((), ("a/1",))])
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(storage.list_folder("b", "a").exists))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 12
    assert len(server.requests) == 12


# --- paths --------------------------------------------------------------------------------------


def test_a_path_costs_no_request_and_carries_no_option(serve: Serve) -> None:
    server = serve([listing()])
    path = storage.path("bucket", "/a/b#c d/")
    assert isinstance(path, UPath)
    assert path.as_posix() == str(path) == "s3://bucket/a/b#c d"
    assert path.storage_options == {}
    assert str(storage.path("bucket")).rstrip("/") == "s3://bucket"
    assert UPath(path, anon=True).storage_options == {"anon": True}
    assert server.requests == []


bucket_names = st.from_regex(r"[a-z0-9][a-z0-9-]{2,20}", fullmatch=True)
key_parts = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0"), min_size=1, max_size=8
)


@given(bucket_names, st.lists(key_parts.filter(lambda part: part not in (".", "..")), max_size=3))
def test_a_path_is_taken_apart(bucket: str, parts: list[str]) -> None:
    key = "/".join(parts)
    for written in (f"s3://{bucket}/{key}", f"s3://{bucket}/{key}/", f"S3A://{bucket}/{key}"):
        assert storage.split(written) == (bucket, key)


def test_a_upath_is_taken_apart() -> None:
    assert storage.split(UPath("s3://bucket/a/b", anon=True)) == ("bucket", "a/b")


@pytest.mark.parametrize("text", ["", "bucket/key", "https://host/key", "/a/b", "file:///a"])
def test_what_is_no_path_in_s3_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no path in S3"):
        storage.split(text)


# --- against the stand-in -----------------------------------------------------------------------


def test_a_path_reads_by_itself(sandbox: Sandbox) -> None:
    storage.write("aind-scratch-data", "folder/a b#c.txt", b"hello")
    path = storage.path("aind-scratch-data", "folder")
    assert [child.name for child in path.iterdir()] == ["a b#c.txt"]
    assert (path / "a b#c.txt").read_text() == "hello"
    assert storage.read("aind-scratch-data", "folder/a b#c.txt") == b"hello"
    storage.write("aind-scratch-data", "folder/new.txt", b"")
    storage.forget_listings()
    assert len(list(path.iterdir())) == 2


def test_a_session_folder_of_the_catalogue(sandbox: Sandbox) -> None:
    found = storage.list_folder("aind-ephys-data", "ecephys_676909_2023-12-13_13-43-40")
    assert found.exists
    assert "ecephys_compressed" in found.folders
    assert sandbox.count("s3") == 1
    with sandbox.without_aws():
        again = storage.list_folder("aind-ephys-data", "ecephys_676909_2023-12-13_13-43-40")
        with pytest.raises(StorageAccessError):
            storage.list_folder("aind-private-data-prod-o5171v", "ecephys_676909")
    assert again == found


def test_a_profile_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mistyped")
    for ask in (storage_client.has_credentials, lambda: storage.list_folder("a-bucket", "a")):
        with pytest.raises(CredentialsError, match="mistyped"):
            ask()
