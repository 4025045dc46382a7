"""DocDB's gateway, answering from a catalogue: `/{version}/{database}/{collection}/...`.

What it copies from the real one: reads need no credentials and writes are refused; `/find` returns
fewer records than asked, without a word, where the answer would be too large, while the base URL
and `/aggregate` say 413; `limit=0` means all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from aind_session.sandbox import mongo
from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.server import Answer, Asked

DATABASES = {
    ("v1", "metadata_index"): "docdb_v1",
    ("v2", "metadata_index"): "docdb_v2",
    ("v1", "metadata_index_v2"): "docdb_v2",
}
COLLECTION = "data_assets"
WRITES = ("insert_one", "update_one", "delete_one", "delete_many", "bulk_write")
MAX_PAYLOAD = 10_000_000
MAX_URL = 8192


class Refused(Exception):
    """The question cannot be answered; becomes an HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class DocDBStandIn:
    """The metadata database.

    Attributes
    ----------
    max_payload : int
        Bytes that an answer may have.
    max_url : int
        Characters that a URL may have.
    """

    def __init__(self, catalogue: Catalogue, hint: str) -> None:
        self.catalogue, self.hint = catalogue, hint
        self.max_payload, self.max_url = MAX_PAYLOAD, MAX_URL

    def __call__(self, asked: Asked) -> Answer:
        """Answer a request."""
        try:
            return self._route(asked)
        except Refused as refused:
            return _say(refused.status, refused.message)
        except mongo.BadQuery as error:
            return _say(400, str(error))

    def _route(self, asked: Asked) -> Answer:
        if len(asked.path) + len(asked.query) + 1 > self.max_url:
            raise Refused(414, f"the URL has more than {self.max_url} characters")
        version, database, collection, verb, *rest = (*asked.parts, "", "", "", "")
        if verb in WRITES:
            raise Refused(403, "writing needs signed requests, and the sandbox takes none")
        attribute = DATABASES.get((version, database))
        if attribute is None or collection != COLLECTION or any(rest):
            raise Refused(404, f"there is no {asked.path}. {self.hint}")
        records: list[Json] = getattr(self.catalogue, attribute)
        if verb == "aggregate" and asked.method == "POST":
            return self._aggregate(records, asked.body)
        if verb in ("", "find") and asked.method == "GET":
            return self._find(records, asked.params, silently=verb == "find")
        if verb == "count_documents" and asked.method == "GET":
            return self._count(records, asked.params)
        if verb == "" and asked.method != "GET":
            raise Refused(403, "writing needs signed requests, and the sandbox takes none")
        raise Refused(404, f"there is no {asked.method} {asked.path}. {self.hint}")

    def _count(self, records: list[Json], params: dict[str, str]) -> Answer:
        found = mongo.matching(records, _object(params, "filter"))
        counts = {
            "total_record_count": len(records),
            "filtered_record_count": sum(1 for _ in found),
        }
        return Answer(200, msgspec.json.encode(counts), _JSON)

    def _find(self, records: list[Json], params: dict[str, str], *, silently: bool) -> Answer:
        found = mongo.find(
            records,
            _object(params, "filter"),
            _object(params, "projection"),
            _object(params, "sort"),
            limit=_number(params, "limit"),
            skip=_number(params, "skip"),
        )
        return self._write(found, silently=silently)

    def _aggregate(self, records: list[Json], body: bytes) -> Answer:
        try:
            pipeline = json.loads(body)
        except ValueError as error:
            raise Refused(400, f"the pipeline is not JSON: {error}") from None
        if not isinstance(pipeline, list) or not all(isinstance(s, dict) for s in pipeline):
            raise Refused(400, "the pipeline is not a list of objects")
        if any(stage.keys() & {"$out", "$merge"} for stage in pipeline):
            raise Refused(403, "a pipeline may only read: $out and $merge are refused")
        return self._write(iter(mongo.aggregate(records, pipeline)), silently=False)

    def _write(self, found: Iterator[Json], *, silently: bool) -> Answer:
        texts: list[bytes] = []
        size = 2
        for record in found:
            text = msgspec.json.encode(record, enc_hook=str)
            size += len(text) + 1
            if size > self.max_payload:
                if silently and texts:
                    break
                raise Refused(413, f"the answer has more than {self.max_payload} bytes")
            texts.append(text)
        return Answer(200, b"[" + b",".join(texts) + b"]", _JSON)


_JSON = {"Content-Type": "application/json"}


def _say(status: int, message: str) -> Answer:
    return Answer(status, msgspec.json.encode({"message": message}), _JSON)


def _object(params: dict[str, str], name: str) -> Json:
    text = params.get(name)
    if not text:
        return {}
    try:
        value: Any = json.loads(text)
    except ValueError as error:
        raise Refused(400, f"{name} is not JSON: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(400, f"{name} is not an object")
    return value


def _number(params: dict[str, str], name: str) -> int:
    try:
        number = int(params.get(name) or 0)
    except ValueError:
        raise Refused(400, f"{name} is not a number") from None
    if number < 0:
        raise Refused(400, f"{name} is negative")
    return number
