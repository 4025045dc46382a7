"""S3, answering from a catalogue: path-style requests, signed or anonymous.

Signatures are not checked: whoever signs may read and write every bucket but those marked
``"denied"``; who does not sign reads the public ones. The catalogue is the store: what is written
is found in `Catalogue.objects`.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
import uuid
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aind_session.catalogue.format import Catalogue, Json
from aind_session.catalogue.front import Answer, Asked
from aind_session.catalogue.s3_index import Index, content_of, etag_of, size_of

REGION = "us-west-2"
MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"
MODIFIED_ISO = "2024-01-01T00:00:00.000Z"
_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_XML = {"Content-Type": "application/xml"}


class S3Error(Exception):
    """An answer that is an S3 error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class S3StandIn:
    """The buckets of a catalogue."""

    def __init__(self, catalogue: Catalogue, index: Index, hint: str) -> None:
        self.catalogue, self.index, self.hint = catalogue, index, hint
        self._uploads: dict[str, dict[int, bytes]] = {}

    def __call__(self, asked: Asked) -> Answer:
        """Answer a request."""
        try:
            answer = self._route(asked)
        except S3Error as error:
            answer = _write_error(error, asked.path)
        extra = {"x-amz-request-id": uuid.uuid4().hex[:16].upper()}
        return Answer(answer.status, answer.body, {**extra, **answer.headers}, answer.length)

    def _route(self, asked: Asked) -> Answer:
        bucket, _, key = urllib.parse.unquote(asked.path).lstrip("/").partition("/")
        params = asked.params
        signed = "Authorization" in asked.headers or "X-Amz-Credential" in params
        if not bucket:
            return self._list_buckets(asked, signed)
        if not key and asked.method == "PUT" and not params and signed:
            self.catalogue.buckets.setdefault(bucket, {"public": False})
            return Answer(200, b"", {"Location": f"/{bucket}"})
        self._check(bucket, signed, writing=asked.method not in ("GET", "HEAD"))
        if not key:
            return self._ask_bucket(bucket, asked, params)
        if "uploads" in params or "uploadId" in params:
            return self._upload(bucket, key, asked, params)
        if asked.method in ("GET", "HEAD"):
            if params.keys() & {"acl", "tagging", "versions", "attributes"}:
                raise self._unsupported(asked)
            return self._read(bucket, key, asked)
        if asked.method == "PUT":
            return self._put(bucket, key, asked)
        if asked.method == "DELETE":
            self.index.delete(bucket, key)
            return Answer(204)
        raise self._unsupported(asked)

    def _check(self, bucket: str, signed: bool, *, writing: bool) -> None:
        options = self.catalogue.buckets.get(bucket)
        if options is None:
            if not any(entry["bucket"] == bucket for entry in self.catalogue.objects):
                raise S3Error(404, "NoSuchBucket", f"The bucket does not exist. {self.hint}")
            options = {}
        if signed:
            allowed = not options.get("denied")
        else:
            allowed = bool(options.get("public")) and not writing
        if not allowed:
            raise S3Error(403, "AccessDenied", "Access Denied")

    def _list_buckets(self, asked: Asked, signed: bool) -> Answer:
        if not signed:
            raise S3Error(403, "AccessDenied", "Access Denied")
        if asked.method != "GET":
            raise self._unsupported(asked)
        buckets = "".join(
            f"<Bucket><Name>{escape(name)}</Name><CreationDate>{MODIFIED_ISO}</CreationDate></Bucket>"
            for name in sorted(self.catalogue.buckets)
        )
        owner = "<Owner><ID>sandbox</ID></Owner>"
        return _xml("ListAllMyBucketsResult", f"{owner}<Buckets>{buckets}</Buckets>")

    def _ask_bucket(self, bucket: str, asked: Asked, params: dict[str, str]) -> Answer:
        if asked.method == "HEAD":
            return Answer(200, b"", {"x-amz-bucket-region": REGION})
        if asked.method == "POST" and "delete" in params:
            return self._delete_many(bucket, asked.body)
        if asked.method != "GET":
            raise self._unsupported(asked)
        if "location" in params:
            return _xml("LocationConstraint", REGION)
        if "versioning" in params:
            return _xml("VersioningConfiguration", "")
        if params.keys() & {"acl", "policy", "tagging", "versions", "uploads", "cors"}:
            raise self._unsupported(asked)
        return self._list(bucket, params)

    def _list(self, bucket: str, params: dict[str, str]) -> Answer:
        second = params.get("list-type") == "2"
        prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
        try:
            limit = min(int(params.get("max-keys") or 1000), 1000)
        except ValueError:
            raise S3Error(400, "InvalidArgument", "max-keys is not a number") from None
        token = params.get("continuation-token", "")
        after = (
            _open_token(token) if token else params.get("start-after" if second else "marker", "")
        )
        page = self.index.page(bucket, prefix, delimiter, after, limit)
        encode = _quoted if params.get("encoding-type") == "url" else escape
        # botocore decodes the prefix of the second kind of listing only.
        told = encode(prefix) if second else escape(prefix)
        texts = [f"<Name>{escape(bucket)}</Name><Prefix>{told}</Prefix>"]
        texts.append(f"<MaxKeys>{limit}</MaxKeys>")
        if delimiter:
            texts.append(f"<Delimiter>{encode(delimiter)}</Delimiter>")
        if "encoding-type" in params:
            texts.append("<EncodingType>url</EncodingType>")
        texts.append(f"<IsTruncated>{'true' if page.last else 'false'}</IsTruncated>")
        if second:
            texts.append(f"<KeyCount>{len(page.keys) + len(page.prefixes)}</KeyCount>")
            if "start-after" in params:
                texts.append(f"<StartAfter>{encode(params['start-after'])}</StartAfter>")
            if token:
                texts.append(f"<ContinuationToken>{escape(token)}</ContinuationToken>")
            if page.last:
                following = escape(_make_token(page.last))
                texts.append(f"<NextContinuationToken>{following}</NextContinuationToken>")
        else:
            texts.append(f"<Marker>{encode(after)}</Marker>")
            if page.last:
                texts.append(f"<NextMarker>{encode(page.last)}</NextMarker>")
        known = self.index.bucket(bucket).objects
        for key in page.keys:
            entry = known[key]
            texts.append(
                f"<Contents><Key>{encode(key)}</Key><LastModified>{MODIFIED_ISO}</LastModified>"
                f"<ETag>{escape(etag_of(entry))}</ETag><Size>{size_of(entry)}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
        texts += [
            f"<CommonPrefixes><Prefix>{encode(common)}</Prefix></CommonPrefixes>"
            for common in page.prefixes
        ]
        return _xml("ListBucketResult", "".join(texts))

    def _read(self, bucket: str, key: str, asked: Asked) -> Answer:
        entry = self.index.get(bucket, key)
        if entry is None:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
        headers = _told(entry)
        if asked.headers.get("If-None-Match") == headers["ETag"]:
            return Answer(304, b"", headers)
        if asked.headers.get("If-Match", headers["ETag"]) != headers["ETag"]:
            raise S3Error(412, "PreconditionFailed", "At least one precondition did not hold.")
        if asked.method == "HEAD":
            return Answer(200, b"", headers, length=size_of(entry))
        content = content_of(entry)
        if content is None:
            # 501: no client asks again, and none takes it for "not there".
            raise S3Error(
                501, "NotImplemented", f"The content of {bucket}/{key} is not recorded. {self.hint}"
            )
        return _ranged(content, headers, asked.headers.get("Range"))

    def _put(self, bucket: str, key: str, asked: Asked) -> Answer:
        source = asked.headers.get("x-amz-copy-source")
        if source:
            entry = self._copy(bucket, key, source)
            told = (
                f"<LastModified>{MODIFIED_ISO}</LastModified><ETag>{escape(etag_of(entry))}</ETag>"
            )
            return _xml("CopyObjectResult", told)
        entry = self.index.put(bucket, key, _unchunked(asked))
        return Answer(200, b"", {"ETag": etag_of(entry)})

    def _copy(self, bucket: str, key: str, source: str) -> Json:
        path = urllib.parse.unquote(source.partition("?")[0]).lstrip("/")
        old_bucket, _, old_key = path.partition("/")
        old = self.index.get(old_bucket, old_key)
        if old is None:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
        return self.index.copy(old, bucket, key)

    def _delete_many(self, bucket: str, body: bytes) -> Answer:
        deleted = []
        for node in ElementTree.fromstring(body).iter():
            if node.tag.rpartition("}")[2] == "Key" and node.text:
                self.index.delete(bucket, node.text)
                deleted.append(f"<Deleted><Key>{escape(node.text)}</Key></Deleted>")
        return _xml("DeleteResult", "".join(deleted))

    def _upload(self, bucket: str, key: str, asked: Asked, params: dict[str, str]) -> Answer:
        named = f"<Bucket>{escape(bucket)}</Bucket><Key>{escape(key)}</Key>"
        if asked.method == "POST" and "uploads" in params:
            number = uuid.uuid4().hex
            self._uploads[number] = {}
            told = f"{named}<UploadId>{number}</UploadId>"
            return _xml("InitiateMultipartUploadResult", told)
        number = params.get("uploadId", "")
        if number not in self._uploads:
            raise S3Error(404, "NoSuchUpload", "The specified upload does not exist.")
        if asked.method == "PUT":
            content = _unchunked(asked)
            self._uploads[number][int(params.get("partNumber") or 0)] = content
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            return Answer(200, b"", {"ETag": f'"{digest}"'})
        parts = self._uploads.pop(number)
        if asked.method == "DELETE":
            return Answer(204)
        whole = b"".join(content for _, content in sorted(parts.items()))
        entry = self.index.put(bucket, key, whole)
        etag = escape(etag_of(entry))
        return _xml("CompleteMultipartUploadResult", f"{named}<ETag>{etag}</ETag>")

    def _unsupported(self, asked: Asked) -> S3Error:
        return S3Error(
            501, "NotImplemented", f"{asked.method} {asked.path}?{asked.query}: {self.hint}"
        )


def _told(entry: Json) -> dict[str, str]:
    return {
        "ETag": etag_of(entry),
        "Last-Modified": MODIFIED,
        "Accept-Ranges": "bytes",
        "Content-Type": "binary/octet-stream",
    }


def _ranged(content: bytes, headers: dict[str, str], wanted: str | None) -> Answer:
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if match is None or match.groups() == ("", ""):
        return Answer(200, content, headers)
    first, last = match.groups()
    start = int(first) if first else max(0, len(content) - int(last))
    stop = int(last) + 1 if first and last else len(content)
    if start >= len(content):
        raise S3Error(416, "InvalidRange", "The requested range is not satisfiable")
    stop = min(stop, len(content))
    told = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
    return Answer(206, content[start:stop], told)


def _unchunked(asked: Asked) -> bytes:
    """Take the chunks of a signed stream apart (`aws-chunked`)."""
    streamed = asked.headers.get("x-amz-content-sha256", "").startswith("STREAMING-")
    if not streamed and "aws-chunked" not in asked.headers.get("Content-Encoding", ""):
        return asked.body
    content, rest = b"", asked.body
    while rest:
        head, _, rest = rest.partition(b"\r\n")
        size = int(head.split(b";")[0] or b"0", 16)
        if size == 0:
            break
        content, rest = content + rest[:size], rest[size + 2 :]
    return content


def _make_token(last: str) -> str:
    return last.encode().hex()


def _open_token(token: str) -> str:
    try:
        return bytes.fromhex(token).decode()
    except ValueError:
        raise S3Error(
            400, "InvalidArgument", "The continuation token provided is incorrect"
        ) from None


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="/")


def _xml(root: str, inside: str) -> Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} {_XMLNS}>{inside}</{root}>'
    return Answer(200, text.encode(), _XML)


def _write_error(error: S3Error, resource: str) -> Answer:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{error.code}</Code>'
        f"<Message>{escape(error.message)}</Message><Resource>{escape(resource)}</Resource>"
        "<RequestId>SANDBOX</RequestId></Error>"
    )
    return Answer(error.status, text.encode(), _XML)
