"""Folders of a recording: their names to a given depth, and the small files that lookups read."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aind_session.sandbox.catalogue import Json
from aind_session.sandbox.scrub import Scrubber
from aind_session.services import codeocean, pool, storage
from aind_session.settings import RESULTS_BUCKET

#: Levels of names: lookups read two of raw data (`ecephys/ecephys_clipped`), three of results
#: (`spikesorted/<stream>/si_folder.json`).
RAW_DEPTH, RESULT_DEPTH = 2, 3
MAX_BYTES = 5_000_000
#: Files read wherever they are listed; in a folder's root every JSON file is.
READ = frozenset(
    {"si_folder.json", "sorting.json", "params.json", "processing.json", ".zattrs"}
    | {"data_description.json"}
)
OUTPUT = "output"

#: Name, whether it is a folder, size.
Item = tuple[str, bool, int]


class Source(Protocol):
    """Where a folder's files are."""

    def items(self, path: str) -> list[Item]:
        """List a folder."""

    def read(self, path: str) -> bytes:
        """Read a file."""


@dataclass(frozen=True)
class InS3:
    """A folder of a bucket."""

    bucket: str
    prefix: str

    def items(self, path: str) -> list[Item]:
        """List a folder."""
        listed = storage.list_folder(self.bucket, f"{self.prefix}/{path}".strip("/"))
        files = zip(listed.files, listed.sizes, strict=True)
        return [*((name, True, 0) for name in listed.folders), *((n, False, s) for n, s in files)]

    def read(self, path: str) -> bytes:
        """Read a file."""
        return storage.read(self.bucket, f"{self.prefix}/{path}".strip("/"))


@dataclass(frozen=True)
class InCodeOcean:
    """An internal data asset, whose files Code Ocean shows to who may not see them in S3."""

    asset_id: str

    def items(self, path: str) -> list[Item]:
        """List a folder."""
        try:
            listed = codeocean.list_asset_files(self.asset_id, path)
        except codeocean.CodeOceanNotFoundError:
            return []
        return [(name, is_folder, size or 0) for name, is_folder, size in listed]

    def read(self, path: str) -> bytes:
        """Read a file."""
        return codeocean.read_asset_file(self.asset_id, path)


def folder(bucket: str, prefix: str, depth: int, scrubber: Scrubber) -> list[Json]:
    """Record a folder.

    Parameters
    ----------
    bucket, prefix
        Where it is.
    depth
        Levels of names. A folder on the last level is a key that ends in a slash.
    scrubber
        What the content of files goes through.

    Raises
    ------
    StorageAccessError
        It may not be listed.
    """
    source: Source = InS3(bucket, prefix)
    try:
        first = source.items("")
    except storage.StorageAccessError:
        if bucket != RESULTS_BUCKET:
            raise
        source = InCodeOcean(prefix.partition("/")[0])
        first = source.items("")

    def entry(path: str, **known: object) -> Json:
        return {"bucket": bucket, "key": f"{prefix}/{path}".lstrip("/"), **known}

    def one(inside: str, number: int, item: Item) -> list[Json]:
        name, is_folder, size = item
        path = f"{inside}{name}"
        if not is_folder:
            return [entry(path, **_content(source, path, size, scrubber))]
        if number == depth:
            return [entry(f"{path}/")]
        return level(f"{path}/", source.items(path), number + 1)

    def level(inside: str, items: Iterable[Item], number: int) -> list[Json]:
        found = pool.gather_all(partial(one, inside, number), items)
        return [each for some in found for each in some]

    return level("", first, 1)


def single(bucket: str, folder: str, name: str, size: int, scrubber: Scrubber) -> Json:
    """Record one file of a folder."""
    known = _content(InS3(bucket, folder), name, size, scrubber)
    return {"bucket": bucket, "key": f"{folder}/{name}", **known}


def _content(source: Source, path: str, size: int, scrubber: Scrubber) -> Json:
    if size == 0:
        return {}
    if not is_read(path) or size > MAX_BYTES:
        return {"size": size}
    try:
        content = source.read(path)
    except (storage.StorageAccessError, storage.StorageNotFoundError, FileNotFoundError):
        # Listed, and not readable, or gone by now.
        return {"size": size}
    # Bytes that are no text come back as they were; what stands between them is scrubbed as well.
    text = _scrubbed(scrubber, path, content.decode("utf-8", "surrogateescape"))
    if text is None:
        return {"size": size}
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"base64": base64.b64encode(_in_bytes(text)).decode()}
    return {"text": text}


def _scrubbed(scrubber: Scrubber, path: str, text: str) -> str | None:
    """Scrub a file's text; None where it is nested too deep to be sure of all that is in it."""
    try:
        return scrubber.file(path, text)
    except RecursionError:
        return None


def _in_bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # Half a letter, which JSON can spell out and UTF-8 cannot.
        return text.encode("utf-8", "replace")


def is_read(path: str) -> bool:
    """Tell whether the content of a file belongs in a recording, by its path in its folder."""
    name = path.rpartition("/")[2]
    in_root = "/" not in path
    return name in READ or (in_root and (name == OUTPUT or name.endswith((".json", ".csv"))))


def results(computation_id: str, scrubber: Scrubber) -> dict[str, str | None]:
    """Record the result files of a computation: their names, and the texts that lookups read."""
    try:
        items = codeocean.list_result_files(computation_id)
    except (codeocean.CodeOceanNotFoundError, codeocean.ClosedAssetError):
        return {}

    def read(name: str, is_folder: bool, size: int | None) -> str | None:
        if is_folder:
            return None
        if not size:
            return ""
        if not is_read(name) or size > MAX_BYTES:
            return None
        try:
            content = codeocean.read_result_file(computation_id, name)
        except (codeocean.CodeOceanNotFoundError, codeocean.ClosedAssetError):
            return None
        return _scrubbed(scrubber, name, content.decode("utf-8", "replace"))

    texts = pool.gather(*(partial(read, *item) for item in items))
    names = (f"{name}/" if is_folder else name for name, is_folder, _ in items)
    return dict(zip(names, texts, strict=True))
