"""S3, answering from a catalogue: moto's server, given what the catalogue has for each request.

The catalogue is the store. For each request the objects that it can touch are handed to moto,
which answers; what a request has written is found in `Catalogue.objects`. So objects may be added
at any time, and sandboxes inside each other share nothing: each has an account of its own.

Signatures are not checked: whoever signs may read and write every bucket but those marked
``"denied"``; who does not sign reads the public ones.
"""

from __future__ import annotations

import itertools
import re
import threading
import urllib.parse
import uuid
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.s3_index import Index, content_of, etag_of, size_of
from aind_session.sandbox.server import Answer, Asked

REGION = "us-west-2"
MODIFIED = datetime(2024, 1, 1)
_accounts = itertools.count(100_000_000_000)
_loading = threading.Lock()


class Refusal(Exception):
    """An answer of the sandbox's own: an S3 error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class S3StandIn:
    """The buckets of a catalogue."""

    def __init__(self, catalogue: Catalogue, index: Index, hint: str) -> None:
        self.catalogue, self.index, self.hint = catalogue, index, hint
        self._account = str(next(_accounts))
        # Kept between requests: what came in parts and is not complete yet.
        self._buckets: dict[str, Any] = {}

    def __call__(self, asked: Asked) -> Answer:
        """Answer a request."""
        try:
            # One at a time: moto's buckets hold what this one request is about.
            with self.index.lock:
                answer = self._answer(asked)
        except Refusal as refusal:
            answer = _write_error(refusal, asked.path)
        extra = {"x-amz-request-id": uuid.uuid4().hex[:16].upper()}
        return Answer(answer.status, answer.body, {**extra, **answer.headers}, answer.length)

    def close(self) -> None:
        """Let moto forget the buckets."""
        if not self._buckets:
            return
        from moto.s3.models import s3_backends

        for bucket in self._buckets.values():
            for upload in bucket.multiparts.values():
                upload.dispose()
        self._buckets.clear()
        s3_backends.pop(self._account, None)

    def _answer(self, asked: Asked) -> Answer:
        bucket, _, key = urllib.parse.unquote(asked.path).lstrip("/").partition("/")
        signed = "Authorization" in asked.headers or "X-Amz-Credential" in asked.params
        writing = asked.method not in ("GET", "HEAD")
        if not bucket:
            _allow(signed)
        elif asked.method == "PUT" and not key and not asked.params and signed:
            self.catalogue.buckets.setdefault(bucket, {"public": False})
            return Answer(200, b"", {"Location": f"/{bucket}"})
        else:
            self._check(bucket, signed, writing=writing)
        if asked.method == "DELETE" and not key:
            raise Refusal(501, "NotImplemented", f"Buckets stay. {self.hint}")
        touched = self._touched(asked, bucket, key)
        for name in self.catalogue.buckets.keys() | touched.keys():
            self._give(name, touched.get(name, {}))
        try:
            answer = self._ask(asked)
            if writing and answer.status < 300:
                self._keep(bucket, touched.get(bucket, {}))
            return answer
        finally:
            for name in touched:
                self._take(name)

    def _check(self, bucket: str, signed: bool, *, writing: bool) -> None:
        options = self.catalogue.buckets.get(bucket)
        if options is None:
            if not any(entry["bucket"] == bucket for entry in self.catalogue.objects):
                raise Refusal(404, "NoSuchBucket", f"The bucket does not exist. {self.hint}")
            options = {}
        if signed:
            _allow(not options.get("denied"))
        else:
            _allow(bool(options.get("public")) and not writing)

    def _touched(self, asked: Asked, bucket: str, key: str) -> dict[str, dict[str, Json]]:
        """Give the catalogue's entries that a request can read or change, by bucket and key."""
        params = asked.params
        if not bucket:
            return {}
        if not key:
            if asked.method == "GET":
                prefix, delimiter = params.get("prefix", ""), params.get("delimiter", "")
                return {bucket: dict(self.index.listing(bucket, prefix, delimiter))}
            return {bucket: dict(self.index.under(bucket, "")) if "delete" in params else {}}
        found = {bucket: self._entry(bucket, key)}
        source = asked.headers.get("x-amz-copy-source", "").partition("?")[0]
        if source:
            other, _, name = urllib.parse.unquote(source).lstrip("/").partition("/")
            self._check_content(other, name)
            found.setdefault(other, {}).update(self._entry(other, name))
        elif asked.method == "GET":
            self._check_content(bucket, key)
        return found

    def _entry(self, bucket: str, key: str) -> dict[str, Json]:
        entry = self.index.get(bucket, key)
        return {} if entry is None else {key: entry}

    def _check_content(self, bucket: str, key: str) -> None:
        entry = self.index.get(bucket, key)
        if entry is not None and content_of(entry) is None:
            # 501: no client asks again, and none takes it for "not there".
            raise Refusal(
                501, "NotImplemented", f"The content of {bucket}/{key} is not recorded. {self.hint}"
            )

    # What moto has

    def _give(self, name: str, entries: dict[str, Json]) -> None:
        from moto.s3.models import FakeBucket, s3_backends

        bucket = self._buckets.get(name)
        if bucket is None:
            # Not instantiable by its types: it leaves out what only templates of stacks use.
            make: Any = FakeBucket
            bucket = self._buckets[name] = make(name, self._account, REGION)
            # Names are unique in all of S3, but not in all of the sandboxes.
            s3_backends.bucket_accounts.pop(name, None)
        for key, entry in entries.items():
            bucket.keys[key] = self._make_key(key, entry)
        s3_backends[self._account]["aws"].buckets[name] = bucket

    def _make_key(self, key: str, entry: Json) -> Any:
        from moto.s3.models import FakeKey, get_canned_acl

        content = content_of(entry)
        etag = None if content is not None else etag_of(entry).strip('"')
        made = FakeKey(key, content or b"", self._account, REGION, etag=etag)
        made.contentsize = size_of(entry)
        made.last_modified = MODIFIED
        # Who may read is settled before moto is asked.
        made.acl = get_canned_acl("public-read")
        return made

    def _keep(self, name: str, before: dict[str, Json]) -> None:
        """Write what moto has now into the catalogue."""
        keys = self._buckets[name].keys
        for key, object_ in keys.items():
            if object_.last_modified is not MODIFIED:
                self.index.put(name, key, object_.value)
        for key in before.keys() - keys.keys():
            self.index.delete(name, key)

    def _take(self, name: str) -> None:
        from moto.core.model_instances import reset_model_data

        bucket = self._buckets[name]
        for object_ in bucket.keys.values():
            object_.dispose()
        bucket.keys = type(bucket.keys)()
        # moto remembers all that it ever made, for a page that shows it.
        reset_model_data()

    def _ask(self, asked: Asked) -> Answer:
        from werkzeug.test import Client

        headers = [*_forwarded(asked.headers.items()), ("x-moto-account-id", self._account)]
        # S3 gives no more at once, whatever is asked; moto does.
        query = re.sub(
            r"\bmax-keys=(\d+)", lambda m: f"max-keys={min(int(m[1]), 1000)}", asked.query
        )
        try:
            with Client(_load_app()).open(
                f"{asked.path}?{query}" if query else asked.path,
                method=asked.method,
                headers=headers,
                data=asked.body,
            ) as told:
                return Answer(told.status_code, told.get_data(), dict(told.headers))
        except Exception as error:
            # Whatever moto does not know: a traceback would end the connection without a word.
            told_why = f"{asked.method} {asked.path}?{asked.query}: {error!r}. {self.hint}"
            raise Refusal(501, "NotImplemented", told_why) from error


def _load_app() -> Any:
    # Two sandboxes may be asked for the first time at once.
    with _loading:
        return _make_app()


@cache
def _make_app() -> Any:
    from moto.moto_server.werkzeug_app import create_backend_app

    return create_backend_app("s3")


def _allow(allowed: bool) -> None:
    if not allowed:
        raise Refusal(403, "AccessDenied", "Access Denied")


def _capped(asked: re.Match[str]) -> str:
    # S3 gives no more than 1000 keys at once, whatever is asked; moto does.
    return f"max-keys={min(int(asked[0].partition('=')[2]), 1000)}"


def _forwarded(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    # The body is whole by now, and moto's is a connection of its own.
    dropped = {"transfer-encoding", "content-length", "connection"}
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def _write_error(refusal: Refusal, resource: str) -> Answer:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{refusal.code}</Code>'
        f"<Message>{escape(refusal.message)}</Message><Resource>{escape(resource)}</Resource>"
        "<RequestId>SANDBOX</RequestId></Error>"
    )
    return Answer(refusal.status, text.encode(), {"Content-Type": "application/xml"})
