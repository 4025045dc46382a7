"""A fake of S3 that answers from a catalogue.

The catalogue is the store: objects may be added to `Catalogue.objects` at any time, and what a
request writes is found there. A test compares the responses with those of moto, which takes ten
times as long for a request.

Signatures are not checked: a signed request may read and write every bucket but those marked
``"denied"``; an unsigned one reads the public ones.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import threading
import urllib.parse
import uuid
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.faults import Refused
from aind_session.sandbox.server import Request, Response

REGION = "us-west-2"
MAX_KEYS = 1000
_MODIFIED = "2024-01-01T00:00:00.000Z"
_MODIFIED_HTTP = "Mon, 01 Jan 2024 00:00:00 GMT"
_NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
#: Parameters that do not make another request of one, beside those of a signature.
_PLAIN = {
    *("list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after"),
    *("marker", "encoding-type", "fetch-owner", "x-id", "versionId"),
    *("AWSAccessKeyId", "Signature", "Expires"),
}


class FakeS3:
    """The buckets of a catalogue."""

    def __init__(self, catalogue: Catalogue, index: Index, hint: str) -> None:
        self.catalogue, self.index, self.hint = catalogue, index, hint
        #: Parts by number of uploads that are not complete, by upload.
        self._uploads: dict[str, dict[int, bytes]] = {}

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        try:
            with self.index.lock:
                response = self._answer(request)
        except Refused as refused:
            error = {"Code": refused.code, "Message": refused.message, "Resource": request.path}
            if refused.status == 412:
                error["Condition"] = next(n for n in _CONDITIONS if n in request.headers)
            response = _xml("Error", error, refused.status)
        extra = {"x-amz-request-id": uuid.uuid4().hex[:16].upper()}
        return Response(response.status, response.body, {**extra, **response.headers})

    def _answer(self, request: Request) -> Response:
        bucket, _, key = request.path.lstrip("/").partition("/")
        method, params = request.method, request.params
        signed = "Authorization" in request.headers or "X-Amz-Credential" in params
        if not bucket:
            _allow(signed)
            return self._list_buckets()
        if method == "PUT" and not key and not params and signed:
            self.catalogue.buckets.setdefault(bucket, {"public": False})
            return Response(200, b"", {"Location": f"/{bucket}"})
        self._check(bucket, signed, writing=method not in ("GET", "HEAD"))
        others = {
            p for p in params if p not in _PLAIN and not p.startswith(("X-Amz-", "response-"))
        }
        call = _CALLS.get((method, "key" if key else "bucket", *sorted(others)))
        if call is None:
            what = f"{method} {request.path}?{request.query}"
            message = f"The sandbox does not support {what}. {self.hint}"
            raise Refused(501, message, "NotImplemented")
        answer: Response = getattr(self, call)(request, bucket, key)
        return answer

    def _check(self, bucket: str, signed: bool, *, writing: bool) -> None:
        options = self.catalogue.buckets.get(bucket)
        if options is None:
            if not self.index.bucket(bucket).keys:
                raise Refused(404, f"The bucket does not exist. {self.hint}", "NoSuchBucket")
            options = {}
        public = options.get("public") and not writing
        _allow(not options.get("denied") if signed else bool(public))

    # Buckets

    def _list_buckets(self) -> Response:
        names = sorted(self.catalogue.buckets)
        buckets = [{"Name": name, "CreationDate": _MODIFIED} for name in names]
        owner = {"ID": "sandbox", "DisplayName": "sandbox"}
        return _xml("ListAllMyBucketsResult", {"Owner": owner, "Buckets": {"Bucket": buckets}})

    def _locate(self, request: Request, bucket: str, key: str) -> Response:
        response = _xml("LocationConstraint", REGION)
        return Response(200, response.body, {**response.headers, "x-amz-bucket-region": REGION})

    def _list(self, request: Request, bucket: str, key: str) -> Response:
        params = request.params
        prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
        limit = min(int(params.get("max-keys") or MAX_KEYS), MAX_KEYS)
        current, token = params.get("list-type") == "2", params.get("continuation-token", "")
        after = params.get("start-after" if current else "marker", "")
        if token:
            after = base64.urlsafe_b64decode(token).decode()
        hidden = self.index.is_hidden(bucket, prefix, listing=True)
        # A folder counts once, by its name.
        found: dict[str, Json | None] = {}
        for name, entry in () if hidden else self.index.under(bucket, prefix, delimiter):
            end = name.find(delimiter, len(prefix)) if delimiter else -1
            folder = name[: end + len(delimiter)] if end >= 0 else ""
            if (folder or name) > after:
                found[folder or name] = None if folder else entry
        page = dict(itertools.islice(found.items(), limit))
        last = [*page][-1] if page and len(page) < len(found) else None
        url = params.get("encoding-type") == "url"
        shown = urllib.parse.quote if url else str
        files = [(name, entry) for name, entry in page.items() if entry is not None]
        answer = {
            "Name": bucket,
            # That of the older listing is not encoded.
            "Prefix": shown(prefix) if current else prefix,
            "MaxKeys": limit,
            "Delimiter": shown(delimiter) or None,
            "EncodingType": "url" if url else None,
            "IsTruncated": str(last is not None).lower(),
            "Contents": [_contents(shown(name), entry) for name, entry in files],
            "CommonPrefixes": [{"Prefix": shown(n)} for n, entry in page.items() if not entry],
        }
        if current:
            mark = base64.urlsafe_b64encode(last.encode()).decode() if last else None
            answer |= {"KeyCount": len(page), "NextContinuationToken": mark}
            answer["StartAfter"] = shown(after) or None
        else:
            answer["NextMarker"] = shown(last) if last else None
        return _xml("ListBucketResult", answer)

    def _delete_several(self, request: Request, bucket: str, key: str) -> Response:
        keys = [str(element.text) for element in _elements(request.body, "Key")]
        for each in keys:
            self.index.delete(bucket, each)
        return _xml("DeleteResult", {"Deleted": [{"Key": each} for each in keys]})

    # Objects

    def _entry(self, bucket: str, key: str) -> Json:
        entry = self.index.get(bucket, key)
        if entry is None:
            message = f"The specified key does not exist. {self.hint}"
            raise Refused(404, message, "NoSuchKey")
        return entry

    def _content(self, bucket: str, key: str) -> bytes:
        content = content_of(self._entry(bucket, key))
        if content is None:
            # 501: no client repeats it, and none takes it for "not found".
            message = f"The content of {bucket}/{key} is not recorded. {self.hint}"
            raise Refused(501, message, "NotImplemented")
        return content

    def _get(self, request: Request, bucket: str, key: str) -> Response:
        entry = self._entry(bucket, key)
        etag, size = etag_of(entry), size_of(entry)
        headers = {
            "ETag": etag,
            "Last-Modified": _MODIFIED_HTTP,
            "Accept-Ranges": "bytes",
            "Content-Type": "binary/octet-stream",
        }
        wanted = {name: request.headers.get(name, "").strip('"') for name in _CONDITIONS}
        if wanted["If-Match"] not in ("", etag.strip('"')):
            raise Refused(412, _NOT_MET, "PreconditionFailed")
        if wanted["If-None-Match"] == etag.strip('"'):
            return Response(304, b"", headers)
        part = _range(request.headers.get("Range", ""), size)
        first, last = part or (0, size - 1)
        headers["Content-Length"] = str(last + 1 - first)
        if part:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        head = request.method == "HEAD"
        content = b"" if head else self._content(bucket, key)[first : last + 1]
        return Response(206 if part else 200, content, headers)

    def _written(self, request: Request) -> tuple[bytes, Response]:
        """Return what a request writes, its body or a copy, and the response to it."""
        source = request.headers.get("x-amz-copy-source", "").partition("?")[0]
        content = _body(request)
        if source:
            bucket, _, key = urllib.parse.unquote(source).lstrip("/").partition("/")
            content = self._content(bucket, key)
            part = _range(request.headers.get("x-amz-copy-source-range", ""), len(content))
            content = content[part[0] : part[1] + 1] if part else content
        etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        copied = _xml("CopyObjectResult", {"ETag": etag, "LastModified": _MODIFIED})
        return content, copied if source else Response(200, b"", {"ETag": etag})

    def _get_tags(self, request: Request, bucket: str, key: str) -> Response:
        self._entry(bucket, key)
        return _xml("Tagging", {"TagSet": ""})

    def _put(self, request: Request, bucket: str, key: str) -> Response:
        if request.headers.get("If-None-Match") == "*" and self.index.get(bucket, key):
            raise Refused(412, _NOT_MET, "PreconditionFailed")
        content, response = self._written(request)
        self.index.put(bucket, key, content)
        return response

    def _delete(self, request: Request, bucket: str, key: str) -> Response:
        self.index.delete(bucket, key)
        return Response(204)

    # Uploads in parts

    def _start_upload(self, request: Request, bucket: str, key: str) -> Response:
        upload = uuid.uuid4().hex
        self._uploads[upload] = {}
        answer = {"Bucket": bucket, "Key": key, "UploadId": upload}
        return _xml("InitiateMultipartUploadResult", answer)

    def _parts(self, request: Request) -> dict[int, bytes]:
        parts = self._uploads.get(request.params["uploadId"])
        if parts is None:
            raise Refused(404, "The upload does not exist", "NoSuchUpload")
        return parts

    def _put_part(self, request: Request, bucket: str, key: str) -> Response:
        content, response = self._written(request)
        self._parts(request)[int(request.params["partNumber"])] = content
        return response

    def _complete_upload(self, request: Request, bucket: str, key: str) -> Response:
        parts = self._parts(request)
        numbers = [int(element.text or 0) for element in _elements(request.body, "PartNumber")]
        if not numbers or not parts.keys() >= set(numbers):
            raise Refused(400, "A part was not uploaded", "InvalidPart")
        self.index.put(bucket, key, b"".join(parts[number] for number in sorted(numbers)))
        del self._uploads[request.params["uploadId"]]
        etag = etag_of(self._entry(bucket, key))
        answer = {"Location": f"/{bucket}/{key}", "Bucket": bucket, "Key": key, "ETag": etag}
        return _xml("CompleteMultipartUploadResult", answer)

    def _abort_upload(self, request: Request, bucket: str, key: str) -> Response:
        self._uploads.pop(request.params["uploadId"], None)
        return Response(204)


#: Methods by what is requested: the HTTP method, of what, and further parameters.
_CALLS = {
    ("GET", "bucket"): "_list",
    ("GET", "bucket", "location"): "_locate",
    ("HEAD", "bucket"): "_locate",
    ("POST", "bucket", "delete"): "_delete_several",
    ("GET", "key"): "_get",
    ("HEAD", "key"): "_get",
    ("GET", "key", "tagging"): "_get_tags",
    ("PUT", "key"): "_put",
    ("DELETE", "key"): "_delete",
    ("POST", "key", "uploads"): "_start_upload",
    ("PUT", "key", "partNumber", "uploadId"): "_put_part",
    ("POST", "key", "uploadId"): "_complete_upload",
    ("DELETE", "key", "uploadId"): "_abort_upload",
}


_CONDITIONS = ("If-Match", "If-None-Match")
_NOT_MET = "At least one of the pre-conditions you specified did not hold"


def _allow(allowed: bool) -> None:
    if not allowed:
        raise Refused(403, "Access Denied", "AccessDenied")


def _xml(name: str, content: Any, status: int = 200) -> Response:
    def write(name: str, value: Any, attributes: str = "") -> str:
        if value is None:
            return ""
        if isinstance(value, list):
            return "".join(write(name, each) for each in value)
        if isinstance(value, dict):
            inner = "".join(write(key, each) for key, each in value.items())
        else:
            inner = escape(str(value))
        return f"<{name}{attributes}>{inner}</{name}>"

    namespace = "" if status >= 400 else _NAMESPACE
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{write(name, content, namespace)}'
    return Response(status, text.encode(), {"Content-Type": "application/xml"})


def _contents(name: str, entry: Json) -> Json:
    known = {"Key": name, "ETag": etag_of(entry), "Size": size_of(entry)}
    return {**known, "LastModified": _MODIFIED, "StorageClass": "STANDARD"}


def _elements(body: bytes, name: str) -> list[ElementTree.Element]:
    try:
        return [e for e in ElementTree.fromstring(body).iter() if e.tag.endswith(f"}}{name}")]
    except ElementTree.ParseError:
        raise Refused(400, "The XML is not well-formed", "MalformedXML") from None


def _range(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte of a range, None if none is requested."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
    if match is None or not any(match.groups()):
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size - 1
    if int(match[1]) >= size:
        raise Refused(416, "The requested range is not satisfiable", "InvalidRange")
    return int(match[1]), min(int(match[2] or size), size - 1)


def _body(request: Request) -> bytes:
    """Return what a request writes, without the marks of a body that is signed in chunks."""
    chunked = request.headers.get("x-amz-content-sha256", "").startswith("STREAMING-")
    if not chunked and "aws-chunked" not in request.headers.get("Content-Encoding", ""):
        return request.body
    chunks, rest = [], request.body
    while rest:
        head, _, rest = rest.partition(b"\r\n")
        size = int(head.split(b";")[0] or b"0", 16)
        if not size:
            break
        chunks.append(rest[:size])
        rest = rest[size + 2 :]
    return b"".join(chunks)


@dataclass
class Bucket:
    """A bucket's objects by key, and the keys sorted."""

    objects: dict[str, Json] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)


class Index:
    """Find and list a catalogue's objects.

    Code that appends to or removes from the list `Catalogue.objects` need not notify the index: it
    checks the list's length and last entry before each answer.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.lock = threading.RLock()
        self._buckets: dict[str, Bucket] = {}
        self._seen = 0
        self._last: Json | None = None
        self._hidden: dict[tuple[str, str], int] = {}

    def bucket(self, name: str) -> Bucket:
        """Return a bucket as it is now; an empty one if it has no objects."""
        with self.lock:
            objects, seen = self.catalogue.objects, self._seen
            if seen > len(objects) or (seen and objects[seen - 1] is not self._last):
                self._buckets, seen = {}, 0
            for entry in objects[seen:]:
                self._buckets.setdefault(entry["bucket"], Bucket()).objects[entry["key"]] = entry
            for changed in {entry["bucket"] for entry in objects[seen:]}:
                self._buckets[changed].keys = sorted(self._buckets[changed].objects)
            self._seen, self._last = len(objects), objects[-1] if objects else None
            return self._buckets.get(name) or Bucket()

    def get(self, bucket: str, key: str) -> Json | None:
        """Return an object's entry, or None."""
        with self.lock:
            return None if self.is_hidden(bucket, key) else self.bucket(bucket).objects.get(key)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Write an object."""
        try:
            self.copy({"text": content.decode()}, bucket, key)
        except UnicodeDecodeError:
            self.copy({"base64": base64.b64encode(content).decode()}, bucket, key)

    def copy(self, source: Json, bucket: str, key: str) -> None:
        """Write an object like another, whose content need not be recorded."""
        with self.lock:
            entry = self.bucket(bucket).objects.get(key)
            if entry is None:
                entry = self.catalogue.add_object(bucket, key)
            for name in ("text", "base64", "size"):
                entry.pop(name, None)
                if name in source:
                    entry[name] = source[name]

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object if it is there."""
        with self.lock:
            entry = self.bucket(bucket).objects.get(key)
            if entry is not None:
                objects = self.catalogue.objects
                objects[:] = [other for other in objects if other is not entry]
                self._seen, self._last = len(objects) + 1, None

    def under(self, bucket: str, prefix: str, delimiter: str = "") -> list[tuple[str, Json]]:
        """Return (key, entry) of each key that begins with the prefix; of a folder the first."""
        with self.lock:
            known = self.bucket(bucket)
        keys, found = known.keys, []
        at = bisect_left(keys, prefix)
        while at < len(keys) and keys[at].startswith(prefix):
            found.append((keys[at], known.objects[keys[at]]))
            end = keys[at].find(delimiter, len(prefix)) if delimiter else -1
            common = keys[at][: end + len(delimiter)]
            # Behind the last text that begins with the folder.
            after = common[:-1] + chr(ord(common[-1]) + 1) if end >= 0 else ""
            at = bisect_left(keys, after, at) if after else at + 1
        return found

    def hide(self, bucket: str, prefix: str, listings: int) -> None:
        """Hide everything under a prefix until it has been listed this often."""
        with self.lock:
            self._hidden[(bucket, prefix)] = listings

    def is_hidden(self, bucket: str, key: str, *, listing: bool = False) -> bool:
        """Whether a key is hidden; a listing counts."""
        for (hidden, prefix), left in self._hidden.items():
            if hidden == bucket and key.startswith(prefix) and left > 0:
                self._hidden[(hidden, prefix)] = left - listing
                return True
        return False


def content_of(entry: Json) -> bytes | None:
    """Return an object's content; None if only its size is recorded."""
    if "text" in entry:
        return str(entry["text"]).encode()
    if "base64" in entry:
        return base64.b64decode(entry["base64"])
    return None if entry.get("size") else b""


def size_of(entry: Json) -> int:
    """Return an object's size in bytes."""
    content = content_of(entry)
    return int(entry["size"]) if content is None else len(content)


def etag_of(entry: Json) -> str:
    """Return an object's entity tag, as S3 computes it for small objects."""
    content = content_of(entry)
    text = f"{entry['key']} {entry['size']}".encode() if content is None else content
    return f'"{hashlib.md5(text, usedforsecurity=False).hexdigest()}"'
