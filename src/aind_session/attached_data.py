"""Data attached to this capsule, workstation or pipeline step.

Code Ocean's list of attached data has IDs and names. Without it (no token, no computation), folders
are identified by their names and by the metadata files in them. Mounts can hold hundreds of
thousands of files behind a slow connection: each folder is listed once, one level deep.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aind_session import settings
from aind_session.errors import (
    CredentialsError,
    InvalidIdentifierError,
    MissingFileError,
    ServiceError,
)
from aind_session.identifiers import find_session_id, is_uuid, session_in_name, split_asset_name
from aind_session.lookup import folders, metadata
from aind_session.lookup.failures import Failures
from aind_session.lookup.folders import Folder
from aind_session.query import CODE_OCEAN, count, query
from aind_session.records import Record, session_of_description
from aind_session.records.shape import at, mappings
from aind_session.services import codeocean, s3
from aind_session.services.assets import get_asset
from aind_session.session import Session
from aind_session.threads import outcomes
from aind_session.trace import note, tracing

if TYPE_CHECKING:
    from upath import UPath

    from aind_session.services.models import AssetSummary

#: Where Code Ocean mounts data: in capsules and pipelines, and in some workstations.
ROOTS = ("/data", "/root/capsule/data")
ROOT_NAME = "AIND_SESSION_DATA_DIR"
COMPUTATION_NAME = "CO_COMPUTATION_ID"

#: Most entries that are read of the root folder, which is local, and of one mount.
MAX_ROOT_ENTRIES, MAX_MOUNT_ENTRIES = 100_000, 1_000
#: Files that name the asset they belong to, the most reliable first.
DESCRIPTIONS = ("data_description.json", "metadata.nd.json")
#: A file that mentions the session in the paths of its inputs and outputs.
PROCESSING = "processing.json"
#: Files in the root of an asset, but not in a folder of mounts.
ASSET_FILES = (
    *DESCRIPTIONS,
    *("subject.json", "session.json", "acquisition.json", "procedures.json"),
)
_MAX_BYTES = 16_000_000

__all__ = ["Attached", "attached", "get_asset_dir"]


@dataclass(frozen=True)
class Attached:
    """A data asset that is attached to this computation.

    Attributes
    ----------
    path : pathlib.Path
        Its folder.
    name : str
        The asset's name, from Code Ocean or the metadata files; else the name of the folder.
    mount : str
        First folder below the root of all mounts: for an asset in a combined one, that of the
        combined asset; "" for an asset that is mounted as the root itself.
    session : Session or None
        The session that the data belongs to; None for data that does not belong to one session.
    asset_id : str or None
        ID of the data asset; None if Code Ocean did not list it.
    """

    path: Path
    name: str
    mount: str = ""
    session: Session | None = None
    asset_id: str | None = None

    def __repr__(self) -> str:
        return f"<Attached {self.name} at {self.path}>"

    @property
    def is_raw(self) -> bool:
        """Whether the name is a session ID without a label."""
        return split_asset_name(self.name).is_session_name


def attached(root: str | os.PathLike[str] | None = None) -> tuple[Attached, ...]:
    """List the data that is attached to this capsule, workstation or pipeline step.

    Uses Code Ocean's own list if there is a token and `CO_COMPUTATION_ID` is set. Other folders are
    identified by their names, and if a name has no session, by `data_description.json` (its `name`,
    `input_data_name` or `source_data`), `metadata.nd.json` or `processing.json` in the folder. Each
    folder is listed once, one level deep.

    Parameters
    ----------
    root
        Folder of the mounts; by default the variable ``AIND_SESSION_DATA_DIR``, else `/data` or
        `/root/capsule/data`.

    Returns
    -------
    tuple of Attached
        Ascending by path; empty if nothing is attached. A combined asset has one entry for itself
        and one for each session's folder in it.

    Raises
    ------
    MissingFileError
        `root` or the variable is not an existing folder (a `FileNotFoundError`).

    Warns
    -----
    PartialAnswerWarning
        Code Ocean did not answer: IDs are missing, and names of mounts without metadata files.

    Examples
    --------
    >>> import aind_session, tempfile
    >>> with tempfile.TemporaryDirectory() as data:
    ...     folder = Path(data, "ecephys_676909_2023-12-13_13-43-40")
    ...     folder.mkdir()
    ...     [one.session for one in aind_session.attached(data)]
    [Session('ecephys_676909_2023-12-13_13-43-40')]
    """
    folder = _root(root)
    if folder is None:
        return ()
    with tracing(folder, "attached data"):
        return tuple(sorted(_find(folder), key=lambda one: str(one.path)))


def dirs_of(session: Session) -> tuple[Path, ...]:
    """Return the attached folders of a session, with or without platform in the ID."""
    wanted = session._id
    return tuple(
        one.path
        for one in attached()
        if one.session is not None
        and (one.session.subject_id, one.session.dt) == (wanted.subject_id, wanted.dt)
        and (one.session._id.platform in (None, wanted.platform) or wanted.platform is None)
    )


def raw_dir_of(session: Session) -> Path | None:
    """Return the attached folder of a session's raw data, if there is one."""
    for one in attached():
        if one.is_raw and one.session == session:
            return one.path
    return None


def get_asset_dir(asset: object, *, root: str | os.PathLike[str] | None = None) -> UPath:
    """Return the folder of a data asset's files: the attached copy if there is one, else in S3.

    Parameters
    ----------
    asset
        A data asset, its ID, or its name.
    root
        Folder of the mounts; as for `attached`.

    Returns
    -------
    upath.UPath
        A local path (also a `pathlib.Path`), or one in S3.

    Raises
    ------
    MissingFileError
        It is not attached, and no service has its location (a `FileNotFoundError`).
    CodeOceanNotFoundError
        No asset has this ID (a `ValueError`).

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    >>> aind_session.get_asset_dir(session.raw_data_asset).as_posix()
    's3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40'
    """
    from upath import UPath

    text = str(getattr(asset, "id", None) or asset).strip()
    asset_id = text if is_uuid(text) else ""
    name = str(getattr(asset, "name", "") or ("" if asset_id else text))
    found = attached(root)
    copy, folder = _copy_of(found, asset_id, name), None
    if copy is None:
        name, folder = _location(asset_id, name)
        copy = _copy_of(found, asset_id, name)
    if copy is not None:
        return UPath(str(copy.path))
    if folder is None:
        raise MissingFileError(
            f"Data asset {' '.join(dict.fromkeys(filter(None, (text, name))))} is not attached, "
            "and neither Code Ocean nor DocDB has the location of its files."
        )
    return s3.path(folder.bucket, folder.prefix)


def _copy_of(found: Iterable[Attached], asset_id: str, name: str) -> Attached | None:
    """Choose the attached copy of an asset: by its ID, else by name among those without ID."""
    by_id = [one for one in found if asset_id and one.asset_id == asset_id]
    by_name = [one for one in found if name and one.name == name]
    without_id = [one for one in by_name if not (asset_id and one.asset_id)]
    return next(iter((*by_id, *without_id)), None)


# -- folders ---------------------------------------------------------------------------------------


def _root(given: str | os.PathLike[str] | None) -> str | None:
    named = os.fspath(given) if given is not None else os.environ.get(ROOT_NAME, "")
    if named:
        if not os.path.isdir(named):
            source = "" if given is not None else f" ({ROOT_NAME} in the environment)"
            raise MissingFileError(f"The folder of attached data {named!r}{source} does not exist.")
        return os.path.abspath(named)
    return next((path for path in ROOTS if os.path.isdir(path)), None)


def _find(root: str) -> Iterator[Attached]:
    entries = _entries(root, MAX_ROOT_ENTRIES)
    listed = _listed_by_code_ocean()
    present = [one for one in listed if one.mount and os.path.isdir(os.path.join(root, one.mount))]
    missing = [one for one in listed if one not in present]
    if len(listed) == len(missing) == 1 and entries:
        # Pipelines can map one asset to the root itself.
        yield from _listed_at(missing[0], root, "")
        return
    for one in missing:
        note("Data asset %s is attached to this computation, but has no folder", one.id)
    for one in present:
        yield from _listed_at(one, os.path.join(root, one.mount), one.mount)
    is_asset = any(entry.name in ASSET_FILES for entry in entries)
    if is_asset and (whole := _by_metadata(root, "")) is not None:
        yield whole
    placed = {one.mount.partition("/")[0] for one in present}
    for mount in _folders(entries):
        if mount not in placed:
            yield from _unlisted(os.path.join(root, mount), mount, is_asset)


def _unlisted(path: str, mount: str, in_asset: bool) -> Iterator[Attached]:
    """Yield what a mount is that Code Ocean did not list, and the sessions' folders in it."""
    found = _by_name(path, mount, mount)
    if found.session is None:
        found = _by_metadata(path, mount) or found
    if found.session is not None or found.name != mount:
        yield found
        return
    within = _sessions_within(path, mount)
    # If the root is an asset's folder, its subfolders are parts of it, not mounts.
    if within or not in_asset:
        yield from (found, *within)


def _listed_at(one: _Listed, path: str, mount: str) -> Iterator[Attached]:
    """Yield a listed asset at its folder, and those that it combines."""
    name = os.path.basename(path) if one.asset is None else one.asset.name
    found = _by_name(path, name, mount, one.id)
    described = _by_metadata(path, mount, one.id) if found.session is None else None
    if described is not None:
        # Code Ocean's own name is that of the asset.
        found = replace(described, name=described.name if one.asset is None else name)
    yield found
    if found.session is None:
        yield from _sessions_within(path, mount, one.contained)


def _by_name(path: str, name: str, mount: str, asset_id: str | None = None) -> Attached:
    """Return what a folder is according to the name of its asset."""
    session = session_in_name(name)
    return Attached(Path(path), name, mount, Session(session.id) if session else None, asset_id)


def _sessions_within(path: str, mount: str, ids: Mapping[str, str] = {}) -> list[Attached]:
    """Return the folders named after sessions in one mount: those of a combined asset."""
    names = _folders(_entries(path, MAX_MOUNT_ENTRIES))
    inside = (_by_name(os.path.join(path, name), name, mount, ids.get(name)) for name in names)
    return [one for one in inside if one.session is not None]


def _by_metadata(path: str, mount: str, asset_id: str | None = None) -> Attached | None:
    """Return what a folder is according to its metadata files; None if they do not contain it."""
    for file in DESCRIPTIONS:
        parts = _descriptions(_content(os.path.join(path, file)))
        session = next(filter(None, map(session_of_description, parts)), None)
        names = (part.get("name") for part in parts)
        name = next((n.strip() for n in names if isinstance(n, str) and n.strip()), None)
        if session is not None or name is not None:
            note("%s is %s, according to %s", path, name or session, file)
            own = Session(session.id) if session is not None else None
            return Attached(Path(path), name or os.path.basename(path), mount, own, asset_id)
    content = _content(os.path.join(path, PROCESSING))
    session = find_session_id(content.decode("utf-8", "replace")) if content else None
    if session is None:
        return None
    # Only the session: the file does not contain which of its results the folder is.
    note("%s belongs to %s, which is mentioned in %s", path, session, PROCESSING)
    return Attached(Path(path), os.path.basename(path), mount, Session(session.id), asset_id)


def _descriptions(content: bytes | None) -> list[Mapping[str, Any]]:
    """Return the parts of a metadata file that can name the asset or its inputs."""
    try:
        core: Any = json.loads(content) if content is not None else None
    except (ValueError, RecursionError):
        return []
    inner = core.get("data_description") if isinstance(core, dict) else None
    return [part for part in (core, inner) if isinstance(part, dict)]


def _entries(path: str, limit: int) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, a limited number; none if it is not readable."""
    try:
        with os.scandir(path) as entries:
            found = list(islice(entries, limit + 1))
    except OSError as error:
        note("%s is not readable: %s", path, error.strerror or error)
        return []
    if len(found) > limit:
        note("%s has more than %d entries: the rest is left out", path, limit)
    return found[:limit]


def _folders(entries: Iterable[os.DirEntry[str]]) -> list[str]:
    """Return the names of the folders, links included."""
    return sorted(e.name for e in entries if not e.name.startswith(".") and _is_folder(e))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A circular link, or one to a place that is not readable.
        return False


def _content(path: str) -> bytes | None:
    """Return the content of a regular file that is not too large; opening a pipe would block."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        note("%s is not readable: %s", path, error.strerror or error)
        return None
    return content if len(content) <= _MAX_BYTES else None


# -- services --------------------------------------------------------------------------------------


class _Listed(NamedTuple):
    """An attached asset in Code Ocean's list; `mount` is its folder below the root."""

    id: str
    mount: str
    asset: AssetSummary | None

    @property
    def contained(self) -> dict[str, str]:
        """IDs of the assets that it combines, by their folders in it."""
        raw = self.asset.raw if self.asset is not None else b"{}"
        return {mount: asset_id for asset_id, mount in _mounts(raw, "contained_data_assets")}


def _mounts(answer: bytes, key: str) -> Iterator[tuple[str, str]]:
    """Yield ID and mount of the usable entries of a list in an answer."""
    for one in mappings(at(json.loads(answer), key)):
        if isinstance(asset_id := one.get("id"), str) and asset_id:
            yield asset_id, str(one.get("mount") or "")


def _listed_by_code_ocean() -> list[_Listed]:
    """Return what this computation has attached; nothing if Code Ocean cannot be used."""
    computation = os.environ.get(COMPUTATION_NAME, "").strip()
    if not computation or not settings.current().has_token:
        return []
    failures = Failures("IDs of attached data assets, and names of renamed mounts")
    (outcome,) = outcomes(lambda: _mounts_of(computation))
    if isinstance(outcome.error, InvalidIdentifierError):
        note("%s is not a computation: %s", COMPUTATION_NAME, outcome.error)
        return []
    mounts = failures.value_or((), outcome, CODE_OCEAN)
    answers = outcomes(*(partial(get_asset, asset_id) for asset_id, _ in mounts))
    found = []
    for (asset_id, mount), outcome in zip(mounts, answers, strict=True):
        asset: AssetSummary | None = outcome.value
        if outcome.error is not None:
            note("Attached data asset %s is not available: %s", asset_id, outcome.error)
        folder = mount or (asset.name if asset is not None else "")
        found.append(_Listed(asset_id, folder.strip("/"), asset))
    failures.warn()
    return found


@query(CODE_OCEAN, "data assets attached to computation {0}", count("data asset"))
def _mounts_of(computation: str) -> tuple[tuple[str, str], ...]:
    """Request the IDs and mounts of the data assets attached to a computation."""
    return tuple(_mounts(codeocean.get_computation(computation), "data_assets"))


def _location(asset_id: str, name: str) -> tuple[str, Folder | None]:
    """Return an asset's name, and its folder in S3 if Code Ocean or DocDB has it."""
    if not asset_id:
        return name, _recorded(name)[1]
    try:
        found = get_asset(asset_id)
    except codeocean.CodeOceanNotFoundError:
        raise
    except (ServiceError, CredentialsError):
        # DocDB needs no token, and has the locations of most assets.
        recorded, folder = _recorded(asset_id)
        if folder is None:
            raise
        return name or recorded, folder
    return found.name, folders.of_asset(found)


def _recorded(name_or_id: str) -> tuple[str, Folder | None]:
    """Return the name and location in an asset's metadata record."""
    for raw in metadata.record_of(name_or_id).values():
        record = Record(json.loads(raw))
        if record.location and record.location.startswith("s3://"):
            return record.name or "", Folder(*s3.split(record.location), "DocDB")
    return "", None
