"""Downloads: files of a raw or derived folder to a local folder, in parallel and resumable."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aind_session.errors import (
    AindSessionError,
    DownloadError,
    InvalidFilterError,
    first_line,
)
from aind_session.lookup.folders import MODALITY_OF_FOLDER, Folder
from aind_session.progress import is_watched, progress
from aind_session.services import s3
from aind_session.threads import outcomes

#: Bytes of a file requested at once: what is lost if a download is interrupted.
PART_BYTES = 16 * 2**20
#: Files downloaded at the same time.
FILES_AT_ONCE = 16


class File(NamedTuple):
    """A file to download: its key, its path below the folder, its size in bytes."""

    key: str
    path: str
    size: int


def from_folder(
    folder: Folder,
    dest: str | os.PathLike[str],
    pattern: str | None = None,
    modality: str | None = None,
    shown: bool = True,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Download the files of a folder whose path matches; return their local paths.

    A file is written under a temporary name and renamed once its size is right. A file that exists
    with the same size is kept unless `overwrite`; an interrupted one resumes where it stopped.

    Raises
    ------
    DownloadError
        Some files could not be downloaded; its `paths` are those that were, its `failed` the
        others with the reason.
    """
    target = Path(dest)
    files = _select(folder, pattern, modality)
    total = sum(file.size for file in files)
    if shown and is_watched():
        size = f"{len(files)} files, {total / 2**20:,.1f} MB"
        print(f"{folder}: {size} -> {target}", file=sys.stderr)
    failed: dict[str, str] = {}
    paths: list[Path] = []
    with progress(total, "download", shown, unit="B") as bar:

        def fetch(file: File) -> Path:
            return _fetch(folder.bucket, file, target, overwrite, bar.update)

        for start in range(0, len(files), FILES_AT_ONCE):
            some = files[start : start + FILES_AT_ONCE]
            for file, answer in zip(
                some, outcomes(*(lambda f=f: fetch(f) for f in some)), strict=True
            ):
                if isinstance(answer.error, AindSessionError | OSError):
                    failed[file.path] = first_line(answer.error)
                else:
                    paths.append(answer.unwrap())
    if failed:
        lines = "".join(f"\n  {path}: {reason}" for path, reason in failed.items())
        raise DownloadError(
            f"{len(failed)} of {len(files)} files in {folder} could not be downloaded to {target}; "
            f"call it again to resume.{lines}",
            paths=tuple(paths),
            failed=failed,
        )
    return tuple(paths)


def _select(folder: Folder, pattern: str | None, modality: str | None) -> list[File]:
    start = f"{folder.prefix.strip('/')}/" if folder.prefix.strip("/") else ""
    matches = glob_pattern(pattern) if pattern is not None else None
    files = []
    for key, size in s3.list_objects(folder.bucket, start):
        path = key[len(start) :]
        if not path or path.endswith("/"):
            # Consoles mark an empty folder with such a key.
            continue
        if matches is not None and not matches.fullmatch(path):
            continue
        if modality is not None and not _is_of(path, modality):
            continue
        files.append(File(key, path, size))
    return files


def _is_of(path: str, modality: str) -> bool:
    top, _, rest = path.partition("/")
    wanted = modality.replace("_", "-")
    return bool(rest) and wanted in (top.replace("_", "-"), MODALITY_OF_FOLDER.get(top))


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Return the expression of a glob: `*` and `?` within a folder, `**/` for any folders.

    Examples
    --------
    >>> [bool(glob_pattern("**/*.json").fullmatch(p)) for p in ("a.json", "b/c/a.json", "a.txt")]
    [True, True, False]
    """
    if not pattern:
        raise InvalidFilterError('A pattern is a glob such as "**/*.json", not an empty text.')
    parts = {"**/": r"(?:[^/]+/)*", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    expression = re.sub(
        r"\*\*/|\*\*|\*|\?|[^*?]+",
        lambda match: parts.get(match[0]) or re.escape(match[0]),
        pattern.lstrip("/"),
    )
    return re.compile(expression, re.DOTALL)


def _fetch(
    bucket: str, file: File, target: Path, overwrite: bool, advance: Callable[[float], object]
) -> Path:
    path = _local(target, file.path)
    if not overwrite and path.is_file() and path.stat().st_size == file.size:
        advance(file.size)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    if overwrite or (part.exists() and part.stat().st_size > file.size):
        part.unlink(missing_ok=True)
    with open(part, "ab") as out:
        done = out.tell()
        advance(done)
        while done < file.size:
            data = s3.read_part(bucket, file.key, done, min(PART_BYTES, file.size - done))
            if not data:
                break
            out.write(data)
            done += len(data)
            advance(len(data))
    if done != file.size:
        part.unlink()
        raise DownloadError(
            f"has {done} bytes, {file.size} were listed: it changed while it was downloaded"
        )
    os.replace(part, path)
    return path


def _local(target: Path, path: str) -> Path:
    """Return the local path; names that would lead out of the folder are refused."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise DownloadError("its name is not a safe path")
    local = target.joinpath(*parts)
    # On Windows, a name such as `C:x` replaces the folder.
    if not local.is_relative_to(target):
        raise DownloadError("its name is not a safe path")
    return local
