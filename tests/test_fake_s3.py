"""The fake S3, used by boto3 and s3fs: it answers and refuses like S3."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import botocore
import botocore.config
import botocore.exceptions
import pytest
import requests
import s3fs
from hypothesis import given
from hypothesis import strategies as st

from aind_session.sandbox import Catalogue, Sandbox, sandbox
from aind_session.sandbox.fake_s3 import Index

OPEN, PRIVATE, DENIED = "aind-open-data", "aind-private", "aind-denied"
FOLDER = "ecephys_000001_2024-01-01_12-00-00"
ODD = f"{FOLDER}/ecephys/ecephys_compressed/experiment1_Record Node 104#Probe A&B+%25é.zarr/.zattrs"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    catalogue = Catalogue()
    for bucket in (OPEN, PRIVATE, DENIED):
        catalogue.add_object(bucket, f"{FOLDER}/subject.json", '{"subject_id": "000001"}')
        catalogue.add_object(bucket, ODD, "{}")
        catalogue.add_object(bucket, f"{FOLDER}/behavior/big.h5", size=10**10)
        catalogue.add_object(bucket, f"{FOLDER}/empty")
    catalogue.buckets[DENIED]["denied"] = True
    with sandbox(catalogue) as serving:
        yield serving


@functools.cache
def session() -> Any:
    # One for all tests: it reads botocore's description of S3, which takes a fifth of a second.
    return boto3.session.Session("key", "secret", region_name="us-west-2")


def signed() -> Any:
    return session().client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3"))


def anonymous() -> Any:
    config = botocore.config.Config(signature_version=botocore.UNSIGNED)
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    return session().client("s3", endpoint_url=endpoint, config=config)


def refusal(call: Callable[[], Any]) -> tuple[str, int]:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("make", [signed, anonymous])
def test_public_bucket_is_readable_without_credentials(
    box: Sandbox, make: Callable[[], Any]
) -> None:
    client = make()
    listed = client.list_objects_v2(Bucket=OPEN, Prefix=f"{FOLDER}/", Delimiter="/")
    assert [p["Prefix"] for p in listed["CommonPrefixes"]] == [
        f"{FOLDER}/behavior/",
        f"{FOLDER}/ecephys/",
    ]
    assert [o["Key"] for o in listed["Contents"]] == [f"{FOLDER}/empty", f"{FOLDER}/subject.json"]
    body = client.get_object(Bucket=OPEN, Key=f"{FOLDER}/subject.json")["Body"].read()
    assert body == b'{"subject_id": "000001"}'
    assert client.head_object(Bucket=OPEN, Key=ODD)["ContentLength"] == 2
    assert (
        client.head_object(Bucket=OPEN, Key=f"{FOLDER}/behavior/big.h5")["ContentLength"] == 10**10
    )


def test_boto3_client_reads_from_the_sandbox(box: Sandbox) -> None:
    client = boto3.session.Session().client("s3")
    assert client.meta.endpoint_url == box.urls["s3"]
    assert client.list_objects_v2(Bucket=PRIVATE)["KeyCount"] == 4


def test_private_bucket_unsigned_returns_403(box: Sandbox) -> None:
    key = f"{FOLDER}/subject.json"
    assert signed().list_objects_v2(Bucket=PRIVATE)["KeyCount"] == 4
    client = anonymous()
    assert refusal(lambda: client.list_objects_v2(Bucket=PRIVATE)) == ("AccessDenied", 403)
    assert refusal(lambda: client.get_object(Bucket=PRIVATE, Key=key)) == ("AccessDenied", 403)
    assert refusal(lambda: client.head_object(Bucket=PRIVATE, Key=key)) == ("403", 403)
    assert refusal(lambda: client.put_object(Bucket=OPEN, Key="x", Body=b"x"))[1] == 403


def test_denied_bucket_signed_returns_403(box: Sandbox) -> None:
    assert refusal(lambda: signed().list_objects_v2(Bucket=DENIED)) == ("AccessDenied", 403)
    box.catalogue.buckets[DENIED]["public"] = True
    assert anonymous().list_objects_v2(Bucket=DENIED)["KeyCount"] == 4


def test_missing_bucket_and_key_return_404(box: Sandbox) -> None:
    client = signed()
    assert refusal(lambda: client.list_objects_v2(Bucket="missing")) == ("NoSuchBucket", 404)
    assert refusal(lambda: client.get_object(Bucket=OPEN, Key="none")) == ("NoSuchKey", 404)
    assert refusal(lambda: client.head_object(Bucket=OPEN, Key="none")) == ("404", 404)
    assert client.list_objects_v2(Bucket=OPEN, Prefix="none/")["KeyCount"] == 0


def test_get_unrecorded_content_returns_501(box: Sandbox) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="aind-session snapshot") as caught:
        signed().get_object(Bucket=OPEN, Key=f"{FOLDER}/behavior/big.h5")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert box.count("s3") == 1


def comparable(answer: Any) -> Any:
    """Leave out what differs between two services that do the same."""
    if isinstance(answer, dict):
        if "Code" in answer:
            # An error: all else is its author's wording.
            return answer["Code"]
        dropped = {"ResponseMetadata", "LastModified", "Owner", "UploadId", "Location"}
        dropped |= {"NextContinuationToken", "ServerSideEncryption"}
        dropped |= {name for name in answer if name.startswith("Checksum")}
        kept = {k: comparable(v) for k, v in answer.items() if k not in dropped}
        return {k: v for k, v in kept.items() if v not in (None, "", {}, [])}
    if isinstance(answer, list):
        return [comparable(one) for one in answer]
    return answer.read() if hasattr(answer, "read") else answer


def request_everything(client: Any) -> Iterator[tuple[str, Any]]:
    """Send the same requests to any S3."""
    bucket = "aind-compared"

    def send(verb: str, **options: Any) -> tuple[str, Any]:
        try:
            answer = getattr(client, verb)(Bucket=bucket, **options)
        except botocore.exceptions.ClientError as error:
            answer = error.response["Error"]
        return f"{verb} {options}", comparable(answer)

    client.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    keys = ["a", "a/", "a/1", "a/b/2", "a b#c/é+.txt", "b/c/d/e", "b/c/f", "b-c", "~"]
    for number, key in enumerate(keys):
        yield send("put_object", Key=key, Body=b"x" * number)
    yield send("put_object", Key="binary", Body=bytes(range(256)))
    for prefix in ("", "a", "a/", "b/c", "b/c/", "none", "a b"):
        for delimiter in ({}, {"Delimiter": "/"}):
            yield send("list_objects_v2", Prefix=prefix, **delimiter)
            yield send("list_objects", Prefix=prefix, **delimiter)
    yield send("list_objects_v2", StartAfter="a/1")
    for key in [*keys, "binary", "none"]:
        yield send("get_object", Key=key)
        yield send("head_object", Key=key)
    for span in ("bytes=0-9", "bytes=250-", "bytes=-6", "bytes=250-999", "bytes=999-"):
        yield send("get_object", Key="binary", Range=span)
    yield send("copy_object", Key="copied", CopySource={"Bucket": bucket, "Key": "a b#c/é+.txt"})
    yield send("get_object", Key="copied")
    yield send("delete_object", Key="copied")
    yield send("get_object", Key="copied")
    yield send("delete_objects", Delete={"Objects": [{"Key": "a"}, {"Key": "a b#c/é+.txt"}]})
    upload = client.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    parts = []
    for number, content in enumerate((b"x" * 5 * 2**20, b"end"), 1):
        part = client.upload_part(
            Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=content
        )
        parts.append({"ETag": part["ETag"], "PartNumber": number})
    client.complete_multipart_upload(
        Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    yield "parts", client.get_object(Bucket=bucket, Key="parts")["Body"].read()[-5:]
    # The tag of an object that came in parts is S3's own affair.
    yield send("delete_object", Key="parts")
    yield send("list_objects_v2")
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}
    )
    for number, page in enumerate(pages):
        listed = [o["Key"] for o in page.get("Contents", ())]
        yield f"page {number}", (listed, [p["Prefix"] for p in page.get("CommonPrefixes", ())])


def test_responses_equal_those_of_moto(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto")
    ours = dict(request_everything(signed()))
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    with moto.mock_aws():
        # A session of its own: moto reaches only those that are made inside.
        theirs = dict(request_everything(boto3.session.Session().client("s3")))
    assert ours.keys() == theirs.keys()
    for request_, answer in theirs.items():
        assert ours[request_] == answer, request_


def test_s3fs_lists_reads_and_writes(box: Sandbox) -> None:
    fs = s3fs.S3FileSystem()
    top = f"{PRIVATE}/{FOLDER}"
    assert sorted(fs.ls(top)) == [
        *(f"{top}/behavior", f"{top}/ecephys", f"{top}/empty", f"{top}/subject.json")
    ]
    assert fs.cat(f"{PRIVATE}/{ODD}") == b"{}"
    assert fs.info(f"{top}/behavior/big.h5")["size"] == 10**10
    assert fs.exists(f"{top}/ecephys")
    assert not fs.exists(f"{top}/none")
    with fs.open(f"{top}/new #1/written.json", "w") as file:
        file.write('{"new": true}')
    assert fs.cat(f"{top}/new #1/written.json") == b'{"new": true}'
    assert {
        "bucket": PRIVATE,
        "key": f"{FOLDER}/new #1/written.json",
        "text": '{"new": true}',
    } in box.catalogue.objects
    fs.pipe(f"{top}/large.bin", bytes(6 * 2**20))
    assert fs.info(f"{top}/large.bin")["size"] == 6 * 2**20
    fs.rm(f"{top}/large.bin")
    fs.invalidate_cache()
    assert not fs.exists(f"{top}/large.bin")


def test_s3fs_anonymous_reads_public_buckets_only(box: Sandbox) -> None:
    fs = s3fs.S3FileSystem(anon=True)
    assert fs.cat(f"{OPEN}/{FOLDER}/subject.json") == b'{"subject_id": "000001"}'
    assert f"{OPEN}/{FOLDER}/ecephys" in fs.ls(f"{OPEN}/{FOLDER}")
    with pytest.raises(PermissionError):
        fs.ls(f"{PRIVATE}/{FOLDER}")
    with pytest.raises(FileNotFoundError):
        fs.cat(f"{OPEN}/none")


def test_s3fs_call_is_one_request(box: Sandbox) -> None:
    fs = s3fs.S3FileSystem(anon=True)
    listed = fs.call_s3("list_objects_v2", Bucket=OPEN, Prefix=f"{FOLDER}/", Delimiter="/")
    assert listed["CommonPrefixes"][0] == {"Prefix": f"{FOLDER}/behavior/"}
    assert box.count() == 1
    (request,) = box.requests
    assert (request.service, request.method, request.status) == ("s3", "GET", 200)
    assert request.params["prefix"] == f"{FOLDER}/"


def test_unsupported_request_names_the_sandbox(box: Sandbox) -> None:
    answer = requests.post(
        f"{box.urls['s3']}/{OPEN}/key?select", headers={"Authorization": "x"}, timeout=5
    )
    assert answer.status_code == 501
    assert "aind-session snapshot" in answer.text
    assert refusal(lambda: signed().delete_bucket(Bucket=OPEN)) == ("NotImplemented", 501)
    assert signed().list_objects_v2(Bucket=OPEN)["KeyCount"] == 4


def test_put_signed_chunks_are_decoded(box: Sandbox) -> None:
    answer = requests.put(
        f"{box.urls['s3']}/{PRIVATE}/chunked",
        headers={
            "Authorization": "x",
            "Content-Encoding": "aws-chunked",
            "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            "x-amz-decoded-content-length": "11",
        },
        data=b"5;chunk-signature=abc\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum:1\r\n\r\n",
        timeout=5,
    )
    assert answer.status_code == 200
    assert box.catalogue.objects[-1]["text"] == "hello world"


def test_hidden_files_appear_after_listings(box: Sandbox) -> None:
    box.s3.index.hide(OPEN, f"{FOLDER}/", listings=2)
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    counts = [
        len(fs.call_s3("list_objects_v2", Bucket=OPEN, Prefix=f"{FOLDER}/").get("Contents", ()))
        for _ in range(3)
    ]
    assert counts == [0, 0, 4]


def test_objects_added_or_removed_are_served(box: Sandbox) -> None:
    client = signed()

    def keys() -> list[str]:
        listed = client.list_objects_v2(Bucket=OPEN, Prefix="new")
        return [o["Key"] for o in listed.get("Contents", ())]

    box.catalogue.add_object(OPEN, "new2")
    box.catalogue.objects.append({"bucket": OPEN, "key": "new1", "text": "x"})
    assert keys() == ["new1", "new2"]
    box.catalogue.objects[:] = [o for o in box.catalogue.objects if o["key"] != "new2"]
    assert keys() == ["new1"]


names = st.text(st.sampled_from("ab/#é"), min_size=1, max_size=6)


@given(keys=st.sets(names, max_size=12), prefix=st.text(st.sampled_from("ab/"), max_size=2))
def test_listing_yields_one_key_per_folder(keys: set[str], prefix: str) -> None:
    catalogue = Catalogue()
    for key in keys:
        catalogue.add_object(OPEN, key)
    index = Index(catalogue)
    expected: dict[str, str] = {}
    for key in sorted(key for key in keys if key.startswith(prefix)):
        head, slash, _ = key[len(prefix) :].partition("/")
        expected.setdefault(f"{prefix}{head}{slash}", key)
    given = [key for key, _ in index.under(OPEN, prefix, "/")]
    assert given == sorted(expected.values())
    assert [key for key, _ in index.under(OPEN, prefix)] == sorted(
        key for key in keys if key.startswith(prefix)
    )


def test_list_20000_keys_is_fast() -> None:
    catalogue = Catalogue()
    for number in range(20_000):
        catalogue.add_object(OPEN, f"session_{number // 20:05d}/ecephys/{number}.dat")
    with sandbox(catalogue):
        client = anonymous()
        started = time.process_time()
        for number in (0, 500, 999):
            listed = client.list_objects_v2(
                Bucket=OPEN, Prefix=f"session_{number:05d}/", Delimiter="/"
            )
            assert listed["KeyCount"] == 1
        top = client.list_objects_v2(Bucket=OPEN, Delimiter="/")
        assert len(top["CommonPrefixes"]) == 1000
        assert time.process_time() - started < 1


def test_list_returns_at_most_1000_keys(box: Sandbox) -> None:
    for number in range(1200):
        box.catalogue.add_object(OPEN, f"many/{number}")
    listed = signed().list_objects_v2(Bucket=OPEN, Prefix="many/", MaxKeys=5000)
    assert len(listed["Contents"]) == 1000
    assert listed["IsTruncated"]


def test_nested_sandboxes_share_no_bucket(box: Sandbox) -> None:
    signed().put_object(Bucket=OPEN, Key="outer", Body=b"outer")
    with sandbox(Catalogue()) as inner:
        assert refusal(lambda: signed().list_objects_v2(Bucket=OPEN)) == ("NoSuchBucket", 404)
        inner.catalogue.add_object(OPEN, "inner", "inner")
        keys = [o["Key"] for o in signed().list_objects_v2(Bucket=OPEN)["Contents"]]
        assert keys == ["inner"]
    assert signed().get_object(Bucket=OPEN, Key="outer")["Body"].read() == b"outer"


def test_moto_holds_no_object_after_a_request(box: Sandbox) -> None:
    client = signed()
    for _ in range(3):
        client.list_objects_v2(Bucket=OPEN)
        client.put_object(Bucket=OPEN, Key="new", Body=b"x")
        client.get_object(Bucket=OPEN, Key="new")
    from moto.core.model_instances import model_data

    kept = [kind for kinds in model_data.values() for kind in kinds.values()]
    assert [kind for kind in kept if getattr(kind, "instances_tracked", ())] == []
    assert [len(bucket.keys) for bucket in box.s3._store._buckets.values()] == [0, 0, 0]
