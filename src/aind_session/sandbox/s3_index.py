"""The keys of a catalogue's buckets in S3's order, kept in step with a list that may grow."""

from __future__ import annotations

import base64
import hashlib
import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from aind_session.sandbox.catalogue import Catalogue, Json


@dataclass
class Bucket:
    """A bucket's objects by key, and the keys sorted."""

    objects: dict[str, Json] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)


class Index:
    """Find and list a catalogue's objects.

    Whoever changes the list `Catalogue.objects` by appending or removing need not tell: the index
    looks at its length and its last entry before each answer.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.lock = threading.RLock()
        self._buckets: dict[str, Bucket] = {}
        self._seen = 0
        self._last: Json | None = None
        self._late: dict[tuple[str, str], int] = {}

    def bucket(self, name: str) -> Bucket:
        """Give a bucket as it is now; an empty one where it has no objects."""
        with self.lock:
            objects = self.catalogue.objects
            grown = self._seen <= len(objects) and (
                self._seen == 0 or objects[self._seen - 1] is self._last
            )
            if not grown:
                self._buckets, self._seen = {}, 0
            if self._seen < len(objects):
                self._add(objects[self._seen :])
                self._seen, self._last = len(objects), objects[-1]
            return self._buckets.get(name) or Bucket()

    def _add(self, entries: list[Json]) -> None:
        few = len(entries) < 100
        touched: set[str] = set()
        for entry in entries:
            bucket = self._buckets.setdefault(entry["bucket"], Bucket())
            if few and entry["key"] not in bucket.objects:
                insort(bucket.keys, entry["key"])
            bucket.objects[entry["key"]] = entry
            touched.add(entry["bucket"])
        if not few:
            for name in touched:
                self._buckets[name].keys = sorted(self._buckets[name].objects)

    def get(self, bucket: str, key: str) -> Json | None:
        """Give an object's entry, or None."""
        with self.lock:
            return None if self._is_late(bucket, key) else self.bucket(bucket).objects.get(key)

    def put(self, bucket: str, key: str, content: bytes) -> Json:
        """Write an object."""
        with self.lock:
            entry = self.bucket(bucket).objects.get(key)
            if entry is None:
                entry = self.catalogue.add_object(bucket, key)
            for name in ("text", "base64", "size"):
                entry.pop(name, None)
            try:
                entry["text"] = content.decode()
            except UnicodeDecodeError:
                entry["base64"] = base64.b64encode(content).decode()
            return entry

    def copy(self, source: Json, bucket: str, key: str) -> Json:
        """Write an object like another, whose content need not be recorded."""
        with self.lock:
            entry = self.put(bucket, key, content_of(source) or b"")
            if content_of(source) is None:
                del entry["text"]
                entry["size"] = source["size"]
            return entry

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; nothing happens where it is not there."""
        with self.lock:
            entry = self.bucket(bucket).objects.get(key)
            if entry is not None:
                objects = self.catalogue.objects
                objects[:] = [other for other in objects if other is not entry]
                self._seen, self._last = len(objects) + 1, None

    def under(self, bucket: str, prefix: str) -> Iterator[tuple[str, Json]]:
        """Yield (key, entry) of everything whose key begins with the prefix."""
        with self.lock:
            known = self.bucket(bucket)
            first = bisect_left(known.keys, prefix)
            last = bisect_left(known.keys, _after(prefix)) if prefix else len(known.keys)
            chosen = known.keys[first:last]
        for key in chosen:
            yield key, known.objects[key]

    def listing(self, bucket: str, prefix: str, delimiter: str) -> Iterator[tuple[str, Json]]:
        """Yield what a listing needs: of each folder that it folds, the first key.

        Where everything is still hidden there is nothing.
        """
        with self.lock:
            keys = self.bucket(bucket).keys
            if self._is_late(bucket, prefix, listing=True):
                return
            at = bisect_left(keys, prefix)
            chosen = []
            while at < len(keys) and keys[at].startswith(prefix):
                chosen.append(keys[at])
                end = keys[at].find(delimiter, len(prefix)) if delimiter else -1
                common = keys[at][: end + len(delimiter)]
                at = at + 1 if end < 0 else bisect_left(keys, _after(common), at)
            known = self.bucket(bucket).objects
        for key in chosen:
            yield key, known[key]

    def hide(self, bucket: str, prefix: str, listings: int) -> None:
        """Show nothing under a prefix until it has been listed this often."""
        with self.lock:
            self._late[(bucket, prefix)] = listings

    def _is_late(self, bucket: str, key: str, *, listing: bool = False) -> bool:
        for (hidden, prefix), left in self._late.items():
            if hidden == bucket and key.startswith(prefix) and left > 0:
                if listing:
                    self._late[(hidden, prefix)] = left - 1
                return True
        return False


def content_of(entry: Json) -> bytes | None:
    """Give an object's content; None where only its size is recorded."""
    if "text" in entry:
        return str(entry["text"]).encode()
    if "base64" in entry:
        return base64.b64decode(entry["base64"])
    return None if entry.get("size") else b""


def size_of(entry: Json) -> int:
    """Give an object's size in bytes."""
    content = content_of(entry)
    return int(entry["size"]) if content is None else len(content)


def etag_of(entry: Json) -> str:
    """Give an object's entity tag, as S3 makes it for small objects."""
    content = content_of(entry)
    told = f"{entry['key']} {entry['size']}".encode() if content is None else content
    return f'"{hashlib.md5(told, usedforsecurity=False).hexdigest()}"'


def _after(prefix: str) -> str:
    """Give the least text that is greater than all that begin with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
