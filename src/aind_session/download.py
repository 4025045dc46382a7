"""Downloads: files of a raw or derived folder to a local folder, in parallel and resumable."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from aind_session.errors import AindSessionError, DownloadError, InvalidFilterError, first_line
from aind_session.lookup.folders import Folder, abbreviation, modality_names
from aind_session.progress import is_watched, progress, size_text
from aind_session.query import count
from aind_session.records.modalities import modality_abbreviation
from aind_session.services import s3
from aind_session.threads import outcomes

logger = logging.getLogger("aind_session")

#: Bytes of a file requested at once: what is lost if a download is interrupted.
PART_BYTES = 16 * 2**20
#: Files downloaded at the same time.
FILES_AT_ONCE = 16

CHANGED = "it changed while it was downloaded"


class File(NamedTuple):
    """A file to download: its key, its path below the folder, size in bytes, and version."""

    key: str
    path: str
    size: int
    etag: str

    def part_of(self, path: Path) -> Path:
        """Return the file that holds what was downloaded of this version."""
        return path.with_name(f".{path.name}.{re.sub(r'[^0-9A-Za-z]', '', self.etag)[:12]}.part")


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
    with the same size is kept unless `overwrite`; an interrupted one resumes where it stopped, or
    begins again if the object in S3 has changed. Several processes may download the same files.
    """
    target = Path(dest)
    files = _select(folder, pattern, modality)
    total = sum(file.size for file in files)
    if shown and is_watched():
        size = f"{count('file')(files)}, {size_text(total)}"
        print(f"{folder}: {size} -> {target}", file=sys.stderr)
    locals_of = {file: _local(target, file.path) for file in files}
    failed = {f.path: "its name is not a safe path" for f, path in locals_of.items() if not path}
    jobs = [(file, path) for file, path in locals_of.items() if path]
    _remove_outdated({path: file.part_of(path) for file, path in jobs})
    paths: list[Path] = []
    with progress(total, "download", shown, unit="B") as bar:
        for start in range(0, len(jobs), FILES_AT_ONCE):
            some = jobs[start : start + FILES_AT_ONCE]
            calls = (partial(_fetch, folder.bucket, *job, overwrite, bar.update) for job in some)
            for (file, path), answer in zip(some, outcomes(*calls), strict=True):
                if isinstance(answer.error, AindSessionError | OSError):
                    failed[file.path] = first_line(answer.error)
                else:
                    answer.unwrap()
                    paths.append(path)
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
    subfolders: dict[str, bool] = {}
    for key, size, etag in s3.list_objects(folder.bucket, start):
        path = key[len(start) :]
        if not path or path.endswith("/"):
            # Consoles mark an empty folder with such a key.
            continue
        if modality is not None:
            top, slash, _ = path.partition("/")
            if not slash or not subfolders.setdefault(top, _is_of(top, modality)):
                continue
        if matches is None or matches.fullmatch(path):
            files.append(File(key, path, size, etag))
    if modality is not None and not any(subfolders.values()):
        raise InvalidFilterError(_not_among(modality, folder, tuple(subfolders)))
    if not files:
        some = f"No file of {modality}" if modality is not None else "No file"
        which = f" matches {pattern!r}" if pattern is not None else ": it is empty"
        logger.warning("%s in %s%s", some, folder, which)
    return files


def _is_of(subfolder: str, modality: str) -> bool:
    is_named_so = modality.replace("_", "-") == subfolder.replace("_", "-")
    return is_named_so or modality_abbreviation(modality) == abbreviation(subfolder)


def _not_among(modality: str, folder: Folder, subfolders: tuple[str, ...]) -> str:
    """Return why a modality cannot be downloaded, with the existing ones, the nearest first."""
    names = sorted(set(map(modality_abbreviation, modality_names(s3.Listing(subfolders)))))
    near = difflib.get_close_matches(modality.replace("_", "-"), names, n=max(1, len(names)))
    hint = f" Did you mean {near[0]!r}?" if near else ""
    existing = ", ".join(dict.fromkeys((*near, *names))) or "no folder of a modality"
    return f"modality {modality!r} is not in {folder}.{hint} It has {existing}."


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """Return the expression of a glob: `*` and `?` within a folder, `**/` for any folders."""
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
    bucket: str, file: File, path: Path, overwrite: bool, advance: Callable[[float], object]
) -> None:
    if not overwrite and path.is_file() and path.stat().st_size == file.size:
        advance(file.size)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if overwrite or not _into_shared_part(bucket, file, path, advance):
        _into_own_part(bucket, file, path, advance)


def _into_shared_part(
    bucket: str, file: File, path: Path, advance: Callable[[float], object]
) -> bool:
    """Download a file so that it can be resumed; return False if its part cannot be used."""
    part = file.part_of(path)
    out = _open_locked(part, "ab")
    if out is None:
        return False
    try:
        with out:
            _append_rest(out, bucket, file, advance)
    except DownloadError:
        part.unlink(missing_ok=True)
        raise
    try:
        os.replace(part, path)
    except FileNotFoundError:
        # Another process may have found the part complete and renamed it.
        if not path.is_file() or path.stat().st_size != file.size:
            raise
    return True


def _into_own_part(bucket: str, file: File, path: Path, advance: Callable[[float], object]) -> None:
    """Download a file into a part that no other process uses; it is removed if interrupted."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "xb") as out:
            # With a lock, other processes do not remove it as outdated.
            with contextlib.suppress(OSError):
                lock_file(out.fileno())
            _append_rest(out, bucket, file, advance)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _open_locked(part: Path, mode: Literal["ab", "rb+"]) -> BinaryIO | None:
    """Open and lock a part; None if another process uses it, or it cannot be opened or locked."""
    try:
        out = open(part, mode)  # noqa: SIM115 (the caller closes it)
    except OSError:
        return None
    try:
        lock_file(out.fileno())
    except (BlockingIOError, PermissionError):
        out.close()
    except OSError:
        # The file system has no locks: a second process could not be noticed.
        was_made_here = mode == "ab" and out.seek(0, os.SEEK_END) == 0
        out.close()
        if was_made_here:
            part.unlink(missing_ok=True)
    else:
        return out
    return None


def lock_file(handle: int) -> None:
    """Lock an open file until it is closed; an `OSError` if another process has locked it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _append_rest(
    out: BinaryIO, bucket: str, file: File, advance: Callable[[float], object]
) -> None:
    """Download what a part lacks; a `DownloadError` if it cannot become the file."""
    done = out.seek(0, os.SEEK_END)
    if done > file.size:
        done = out.truncate(0)
    advance(done)
    while done < file.size:
        size = min(PART_BYTES, file.size - done)
        try:
            data = s3.read_part(bucket, file.key, done, size, file.etag)
        except s3.StorageError as error:
            if error.status == HTTPStatus.PRECONDITION_FAILED:
                raise DownloadError(CHANGED) from error
            raise
        if not data:
            raise DownloadError(CHANGED)
        out.write(data)
        done += len(data)
        advance(len(data))
    out.flush()
    if done != file.size:
        raise DownloadError(CHANGED)
    if os.fstat(out.fileno()).st_size != file.size:
        raise DownloadError("another program wrote to its part")


def _remove_outdated(current: Mapping[Path, Path]) -> None:
    """Remove parts of earlier versions, and of processes that were killed, by path and part.

    Parts that are in use, or may be, stay.
    """
    for folder in {path.parent for path in current}:
        for part in folder.glob(".*.*.part"):
            path = part.with_name(part.name[1:].rpartition(".")[0].rpartition(".")[0])
            if part in current or current.get(path, part) == part:
                continue
            with contextlib.suppress(OSError):
                out = _open_locked(part, "rb+") if part.is_file() else None
                if out is not None:
                    out.close()
                    part.unlink()


def _local(target: Path, path: str) -> Path | None:
    """Return the local path; None for a name that would lead out of the folder."""
    parts = path.split("/")
    local = target.joinpath(*parts)
    is_odd = any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts)
    # On Windows, a name such as `C:x` replaces the folder.
    return local if not is_odd and local.is_relative_to(target) else None
