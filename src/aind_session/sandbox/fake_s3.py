"""A fake of S3 that answers from a catalogue: moto's server, given what each request can touch.

The catalogue is the store. For each request the objects that it can touch are handed to moto,
which answers; what a request has written is found in `Catalogue.objects`. So objects may be added
at any time, and nested sandboxes share nothing: each has an account of its own.

Signatures are not checked: a signed request may read and write every bucket but those marked
``"denied"``; an unsigned one reads the public ones.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import urllib.parse
import uuid
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.faults import Refused
from aind_session.sandbox.server import Request, Response

REGION = "us-west-2"
MODIFIED = datetime(2024, 1, 1)
MAX_KEYS = 1000


class FakeS3:
    """The buckets of a catalogue."""

    def __init__(self, catalogue: Catalogue, index: Index, hint: str) -> None:
        self.catalogue, self.index, self.hint = catalogue, index, hint
        self._store = _MotoStore()

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        try:
            # One at a time: moto's buckets hold what this one request can touch.
            with self.index.lock:
                response = self._answer(request)
        except Refused as refused:
            response = _error_response(refused, request.path)
        extra = {"x-amz-request-id": uuid.uuid4().hex[:16].upper()}
        return Response(response.status, response.body, {**extra, **response.headers})

    def close(self) -> None:
        """Remove moto's buckets."""
        self._store.close()

    def _answer(self, request: Request) -> Response:
        bucket, _, key = request.path.lstrip("/").partition("/")
        signed = "Authorization" in request.headers or "X-Amz-Credential" in request.params
        writing = request.method not in ("GET", "HEAD")
        if not bucket:
            _allow(signed)
        elif request.method == "PUT" and not key and not request.params and signed:
            self.catalogue.buckets.setdefault(bucket, {"public": False})
            return Response(200, b"", {"Location": f"/{bucket}"})
        else:
            self._check(bucket, signed, writing=writing)
        if request.method == "DELETE" and not key:
            raise Refused(501, f"Buckets cannot be deleted. {self.hint}", "NotImplemented")
        touched = self._touched(request, bucket, key)
        for name in self.catalogue.buckets.keys() | touched.keys():
            self._store.fill(name, touched.get(name, {}))
        try:
            response = self._ask_moto(request)
            if writing and response.status < 300:
                self._keep(bucket, touched.get(bucket, {}))
            return response
        finally:
            self._store.empty(touched)

    def _check(self, bucket: str, signed: bool, *, writing: bool) -> None:
        options = self.catalogue.buckets.get(bucket)
        if options is None:
            if not self.index.bucket(bucket).keys:
                raise Refused(404, f"The bucket does not exist. {self.hint}", "NoSuchBucket")
            options = {}
        public = options.get("public") and not writing
        _allow(not options.get("denied") if signed else bool(public))

    def _touched(self, request: Request, bucket: str, key: str) -> dict[str, dict[str, Json]]:
        """Return the catalogue's entries that a request can read or change, by bucket and key."""
        params = request.params
        if not bucket:
            return {}
        if not key and request.method == "GET":
            prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
            hidden = self.index.is_hidden(bucket, prefix, listing=True)
            return {bucket: {} if hidden else dict(self.index.under(bucket, prefix, delimiter))}
        if not key:
            return {bucket: dict(self.index.under(bucket, "")) if "delete" in params else {}}
        read = [(bucket, key)] if request.method == "GET" else []
        source = request.headers.get("x-amz-copy-source", "").partition("?")[0]
        if source:
            other, _, name = urllib.parse.unquote(source).lstrip("/").partition("/")
            read = [(other, name)]
        found: dict[str, dict[str, Json]] = {bucket: {}}
        for place in dict.fromkeys(((bucket, key), *read)):
            entry = self.index.get(*place)
            if place in read:
                self._check_content(place, entry)
            known = {} if entry is None else {place[1]: entry}
            found.setdefault(place[0], {}).update(known)
        return found

    def _check_content(self, place: tuple[str, str], entry: Json | None) -> None:
        if entry is not None and content_of(entry) is None:
            # 501: no client repeats it, and none takes it for "not found".
            message = f"The content of {'/'.join(place)} is not recorded. {self.hint}"
            raise Refused(501, message, "NotImplemented")

    def _keep(self, name: str, before: dict[str, Json]) -> None:
        """Write what moto has now into the catalogue."""
        contents = self._store.contents(name)
        for key, content in contents.items():
            if content is not None:
                self.index.put(name, key, content)
        for key in before.keys() - contents.keys():
            self.index.delete(name, key)

    def _ask_moto(self, request: Request) -> Response:
        from werkzeug.test import Client

        # The body is whole by now, and moto's connection is one of its own.
        dropped = {"transfer-encoding", "content-length", "connection"}
        headers = [(n, v) for n, v in request.headers.items() if n.lower() not in dropped]
        headers.append(("x-moto-account-id", self._store.account))
        # S3 returns no more keys at once, whatever is requested; moto does.
        query = re.sub(r"\bmax-keys=\d{4,}", f"max-keys={MAX_KEYS}", request.query)
        try:
            with Client(_load_app()).open(
                f"{request.raw_path}?{query}" if query else request.raw_path,
                method=request.method,
                headers=headers,
                data=request.body,
            ) as answer:
                return Response(answer.status_code, answer.get_data(), dict(answer.headers))
        except Exception as error:
            # What moto does not support: a traceback would end the connection without a response.
            what = f"{request.method} {request.path}?{request.query}: {error!r}. {self.hint}"
            raise Refused(501, what, "NotImplemented") from error


class _MotoStore:
    """The objects that moto sees.

    The one place that uses moto's models: its public interface takes objects over HTTP only, a
    request each, and a listing of a large bucket would take seconds.
    """

    def __init__(self) -> None:
        self.account = str(uuid.uuid4().int)[:12]
        # Kept between requests: uploads in parts that are not complete yet.
        self._buckets: dict[str, Any] = {}

    def fill(self, name: str, entries: dict[str, Json]) -> None:
        """Add a bucket with these objects to moto."""
        from moto.s3.models import FakeBucket, FakeKey, get_canned_acl, s3_backends

        bucket = self._buckets.get(name)
        if bucket is None:
            # Typed as abstract: it lacks what only templates of stacks use.
            make: Any = FakeBucket
            bucket = self._buckets[name] = make(name, self.account, REGION)
            # Names are unique in all of S3, but not in all sandboxes.
            s3_backends.bucket_accounts.pop(name, None)
        for key, entry in entries.items():
            content = content_of(entry)
            etag = None if content is not None else etag_of(entry).strip('"')
            made: Any = FakeKey(key, content or b"", self.account, REGION, etag=etag)
            made.contentsize = size_of(entry)
            made.last_modified = MODIFIED
            # Access was checked before.
            made.acl = get_canned_acl("public-read")
            bucket.keys[key] = made
        s3_backends[self.account]["aws"].buckets[name] = bucket

    def contents(self, name: str) -> dict[str, bytes | None]:
        """Return the content of what was written, None of what was there before."""
        keys = self._buckets[name].keys.items()
        return {k: None if o.last_modified is MODIFIED else o.value for k, o in keys}

    def empty(self, names: Iterable[str]) -> None:
        """Remove the objects of some buckets."""
        from moto.core.model_instances import reset_model_data

        for name in names:
            bucket = self._buckets[name]
            for stored in bucket.keys.values():
                stored.dispose()
            bucket.keys = type(bucket.keys)()
        # moto keeps all instances it ever made, for a page that shows them.
        reset_model_data()

    def close(self) -> None:
        """Remove everything."""
        if not self._buckets:
            return
        from moto.s3.models import s3_backends

        for bucket in self._buckets.values():
            for upload in bucket.multiparts.values():
                upload.dispose()
        self._buckets.clear()
        s3_backends.pop(self.account, None)


@cache
def _load_app() -> Any:
    from moto.moto_server.werkzeug_app import create_backend_app

    return create_backend_app("s3")


def _allow(allowed: bool) -> None:
    if not allowed:
        raise Refused(403, "Access Denied", "AccessDenied")


def _error_response(refused: Refused, resource: str) -> Response:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{refused.code}</Code>'
        f"<Message>{escape(refused.message)}</Message><Resource>{escape(resource)}</Resource>"
        "<RequestId>SANDBOX</RequestId></Error>"
    )
    return Response(refused.status, text.encode(), {"Content-Type": "application/xml"})


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
