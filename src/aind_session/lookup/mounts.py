"""Folders of attached data, told apart by their names and by the metadata files in them.

Mounts can hold hundreds of thousands of files behind a slow connection: a folder is listed once
and no deeper than one level, its metadata files are opened by their names.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, NamedTuple

from aind_session.identifiers import SessionID, find_session_id
from aind_session.lookup import belonging, trail

#: Entries of a folder that are looked at. The folder of all mounts is a local one.
IN_ROOT, IN_MOUNT = 100_000, 1_000
#: Files that name the asset they belong to, the most telling first.
DESCRIPTIONS = ("data_description.json", "metadata.nd.json")
#: A file that only mentions it, among the places that were read and written.
PROCESSING = "processing.json"
#: Other files that the root of an asset has, and no folder of mounts.
CORES = ("subject.json", "session.json", "acquisition.json", "procedures.json")
_MAX_BYTES = 16_000_000


class Folder(NamedTuple):
    """A folder of attached data.

    Attributes
    ----------
    path
        Where it is.
    name
        Name of its asset, as far as the folder tells: else the folder's own.
    mount
        First folder below the root of all; "" for the root itself.
    session
        The session that the folder's name or its files tell.
    """

    path: str
    name: str
    mount: str
    session: SessionID | None = None


def by_name(path: str, name: str, mount: str) -> Folder:
    """Make a folder of a known name: the session is the one in it."""
    return Folder(path, name, mount, belonging.session_of(name))


def subfolders(path: str, limit: int) -> list[str]:
    """Name the folders in a folder, links to folders included; none where it cannot be read."""
    found: list[str] = []
    try:
        with os.scandir(path) as entries:
            for number, entry in enumerate(entries):
                if number >= limit:
                    trail.tell("%s has more than %d entries: the rest is left out", path, limit)
                    break
                if not entry.name.startswith(".") and _is_folder(entry):
                    found.append(entry.name)
    except OSError as error:
        trail.tell("%s cannot be read: %s", path, error.strerror or error)
    return sorted(found)


def is_empty(path: str) -> bool:
    """Tell whether there is nothing in a folder."""
    try:
        with os.scandir(path) as entries:
            return next(iter(entries), None) is None
    except OSError:
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads in a circle, or to where one may not look.
        return False


def find(root: str, mounts: list[str], is_asset: bool) -> list[Folder]:
    """Tell what some mounts are.

    Parameters
    ----------
    root
        The folder of all mounts.
    mounts
        Folders in it.
    is_asset
        Whether the root itself is an asset's folder: then its folders are parts of it, unless
        they say otherwise.
    """
    found: list[Folder] = []
    for mount in mounts:
        path = os.path.join(root, mount)
        folder = by_name(path, mount, mount)
        if folder.session is None:
            folder = read(path, mount) or folder
        if folder.session is not None or folder.name != mount:
            found.append(folder)
            continue
        inside = within(path, mount)
        if inside or not is_asset:
            found += [folder, *inside]
    return found


def within(path: str, mount: str) -> list[Folder]:
    """Find the folders named after sessions in one mount: those of a combined asset."""
    return [
        by_name(os.path.join(path, name), name, mount)
        for name in subfolders(path, IN_MOUNT)
        if belonging.session_of(name) is not None
    ]


def read(path: str, mount: str) -> Folder | None:
    """Read from the metadata files in a folder what it is; None where they tell nothing."""
    for file in DESCRIPTIONS:
        name = _described(_content(os.path.join(path, file)))
        if name is not None:
            trail.tell("%s is %s: %s says so", path, name, file)
            return by_name(path, name, mount)
    content = _content(os.path.join(path, PROCESSING))
    session = find_session_id(content.decode("utf-8", "replace")) if content else None
    if session is None:
        return None
    # The session's only: of which of its results the folder is the mention does not tell.
    trail.tell("%s belongs to %s: %s mentions it", path, session.id, PROCESSING)
    return Folder(path, os.path.basename(path), mount, session)


def is_asset_root(path: str) -> bool:
    """Tell whether a folder has the files of an asset's root."""
    return any(_is_file(os.path.join(path, file)) for file in (*DESCRIPTIONS, *CORES))


def _described(content: bytes | None) -> str | None:
    if content is None:
        return None
    try:
        core = json.loads(content)
    except (ValueError, RecursionError):
        return None
    inner = core.get("data_description") if isinstance(core, dict) else None
    for told in (core, inner):
        name: Any = told.get("name") if isinstance(told, dict) else None
        if isinstance(name, str) and name.strip():
            return name.strip()
    return None


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _content(path: str) -> bytes | None:
    # Not everything with a file's name is one: opening a pipe would wait for ever.
    if not _is_file(path):
        return None
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        trail.tell("%s cannot be read: %s", path, error.strerror or error)
        return None
    return content if len(content) <= _MAX_BYTES else None
