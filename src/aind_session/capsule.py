"""Data attached to this capsule, workstation or pipeline step, and where any asset's files are.

What is attached is known to Code Ocean, and shows in the folder of mounts. Code Ocean's list has
the assets' IDs and names; without it (no token, no computation) the folders are told apart by
their names and by the metadata files in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aind_session.errors import MissingFileError
from aind_session.session import Session

if TYPE_CHECKING:
    from upath import UPath

    from aind_session.lookup.attachments import Listed
    from aind_session.lookup.mounts import Folder

#: Where Code Ocean mounts data: in capsules and pipelines, and in some workstations.
ROOTS = ("/data", "/root/capsule/data")
ROOT_NAME = "AIND_SESSION_DATA_DIR"

__all__ = ["Attached", "attached", "get_asset_dir"]


@dataclass(frozen=True)
class Attached:
    """A data asset that is attached here.

    Attributes
    ----------
    path : pathlib.Path
        Its folder.
    name : str
        The asset's name, as Code Ocean or the files in the folder tell it; else the folder's.
    mount : str
        First folder below the root of all mounts: for an asset in a combined one, that of the
        combined asset; "" for an asset that is mounted as the root itself.
    session : Session or None
        The session in the name; None for data of no one session.
    asset_id : str or None
        ID of the data asset; None where Code Ocean did not tell.
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
        """Whether the name is that of a session and nothing more."""
        from aind_session.lookup import belonging

        return belonging.named(self.name).is_session_name


def attached(root: str | os.PathLike[str] | None = None) -> tuple[Attached, ...]:
    """List the data that is attached to this capsule, workstation or pipeline step.

    By Code Ocean's own list, where a token allows and `CO_COMPUTATION_ID` is set; what it does not
    tell, by the names of the folders, and by `data_description.json`, `metadata.nd.json` or
    `processing.json` in them where a folder's name tells no session. Each folder is listed once,
    nothing is walked through.

    Parameters
    ----------
    root
        Folder of the mounts; by default the variable ``AIND_SESSION_DATA_DIR``, else `/data` or
        `/root/capsule/data`.

    Returns
    -------
    tuple of Attached
        Ascending by path; empty where nothing is attached. A combined asset comes with one entry
        for itself and one for each session's folder in it.

    Raises
    ------
    MissingFileError
        The root that was named is no folder (a `FileNotFoundError`).

    Warns
    -----
    PartialAnswerWarning
        Code Ocean should have told, and did not answer: IDs are missing, and names of mounts that
        tell nothing of themselves.

    Examples
    --------
    >>> import aind_session, tempfile
    >>> with tempfile.TemporaryDirectory() as data:
    ...     folder = Path(data, "ecephys_676909_2023-12-13_13-43-40")
    ...     folder.mkdir()
    ...     [one.session for one in aind_session.attached(data)]
    [Session('ecephys_676909_2023-12-13_13-43-40')]
    """
    from aind_session.lookup import trail

    folder = _root(root)
    if folder is None:
        return ()
    with trail.following(folder, "attached data"):
        return tuple(sorted(_find(folder), key=lambda one: str(one.path)))


def _root(given: str | os.PathLike[str] | None) -> str | None:
    named = os.fspath(given) if given is not None else os.environ.get(ROOT_NAME, "")
    if named:
        if not os.path.isdir(named):
            source = "" if given is not None else f" ({ROOT_NAME} in the environment)"
            raise MissingFileError(f"The folder of attached data {named!r}{source} is not there.")
        return os.path.abspath(named)
    return next((path for path in ROOTS if os.path.isdir(path)), None)


def _find(root: str) -> Iterator[Attached]:
    from aind_session.lookup import attachments, mounts, trail

    folders = mounts.subfolders(root, mounts.IN_ROOT)
    listed = attachments.of_computation()
    is_asset = mounts.is_asset_root(root)
    placed: set[str] = set()
    lost: list[Listed] = []
    for one in listed:
        path = os.path.join(root, one.mount)
        if one.mount and os.path.isdir(path):
            placed.add(one.mount.partition("/")[0])
            yield from _listed_at(one, path, one.mount)
        else:
            lost.append(one)
    if len(listed) == len(lost) == 1 and not mounts.is_empty(root):
        # Pipelines can map one asset to the root itself.
        yield from _listed_at(lost[0], root, "")
        return
    for one in lost:
        trail.tell("Data asset %s is attached to this computation, but not here", one.id)
    whole = mounts.read(root, "") if is_asset else None
    if whole is not None:
        yield _attached(whole)
    others = [name for name in folders if name not in placed]
    for folder in mounts.find(root, others, is_asset):
        yield _attached(folder)


def _listed_at(one: Listed, path: str, mount: str) -> Iterator[Attached]:
    """Give a listed asset at its place, and those that it combines."""
    from aind_session.lookup import mounts

    if one.asset is not None:
        folder = mounts.by_name(path, one.asset.name, mount)
    else:
        by_name = mounts.by_name(path, os.path.basename(path), mount)
        folder = by_name if by_name.session else mounts.read(path, mount) or by_name
    yield _attached(folder, one.id)
    if folder.session is None:
        for inner in mounts.within(path, mount):
            yield _attached(inner, one.contained.get(os.path.basename(inner.path)))


def _attached(folder: Folder, asset_id: str | None = None) -> Attached:
    session = Session(folder.session.id) if folder.session is not None else None
    return Attached(Path(folder.path), folder.name, folder.mount, session, asset_id)


def dirs_of(session: Session) -> tuple[Path, ...]:
    """Give the attached folders of a session, under either spelling of its ID."""
    wanted = session._id
    return tuple(
        one.path
        for one in attached()
        if one.session is not None
        and (one.session.subject_id, one.session.dt) == (wanted.subject_id, wanted.dt)
        and (one.session._id.platform in (None, wanted.platform) or wanted.platform is None)
    )


def get_asset_dir(asset: object, *, root: str | os.PathLike[str] | None = None) -> UPath:
    """Give the folder of a data asset's files: the attached copy, where there is one, else in S3.

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
        It is not attached, and nothing tells where its files are (a `FileNotFoundError`).
    CodeOceanNotFoundError
        There is no asset of this ID (a `ValueError`).
    ServiceError, CredentialsError
        It is not attached, and no service could be asked where its files are.

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    >>> aind_session.get_asset_dir(session.raw_data_asset).as_posix()
    's3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40'
    """
    from upath import UPath

    from aind_session.identifiers import is_uuid
    from aind_session.lookup import attachments
    from aind_session.services import storage

    text = str(getattr(asset, "id", None) or asset).strip()
    asset_id = text if is_uuid(text) else ""
    name = str(getattr(asset, "name", "") or ("" if asset_id else text))
    here = attached(root)
    copy = _copy(here, asset_id, name)
    if copy is None:
        name, place = attachments.place(asset_id, name)
        copy = _copy(here, asset_id, name)
    if copy is not None:
        return UPath(str(copy.path))
    if place is None:
        raise MissingFileError(
            f"Data asset {' '.join(dict.fromkeys(filter(None, (text, name))))} is not attached, "
            "and neither Code Ocean nor DocDB tells where its files are."
        )
    return storage.path(place.bucket, place.prefix)


def _copy(here: Iterable[Attached], asset_id: str, name: str) -> Attached | None:
    """Choose the attached copy of an asset: by its ID, and by name where an ID is not known."""
    by_name = None
    for one in here:
        if asset_id and one.asset_id == asset_id:
            return one
        if name and one.name == name and not (asset_id and one.asset_id):
            by_name = by_name or one
    return by_name
