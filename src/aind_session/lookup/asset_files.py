"""Files of a data asset: in its folder in S3, or through Code Ocean where S3 does not show them.

Code Ocean shows the files of internal assets only, with one request more for each that is read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from aind_session import settings
from aind_session.errors import AccessDeniedError, CredentialsError, NotFoundError, ServiceError
from aind_session.lookup import folders, questions, trail
from aind_session.lookup.folders import Folder
from aind_session.lookup.questions import CODE_OCEAN, S3
from aind_session.services import codeocean, storage
from aind_session.services.models import AssetSummary
from aind_session.services.s3 import has_credentials
from aind_session.services.storage import Listing

T = TypeVar("T")

#: Keys that are looked at below one folder: a search for a file, never a walk through everything.
KEYS = 1000
#: Folders that are listed for it, one by one, where the keys cannot be.
FOLDERS = 12


def listing(asset: AssetSummary, path: str = "") -> Listing:
    """List a folder of a data asset, one level deep.

    Parameters
    ----------
    asset
        The asset.
    path
        Folder within it; its root by default.

    Returns
    -------
    Listing
        An empty one, that does not exist, where there is no such folder.

    Raises
    ------
    ServiceError, CredentialsError
        Neither S3 nor Code Ocean could tell.
    """
    found = _either(
        asset,
        lambda folder: questions.listing(folder.bucket, _key(folder, path)),
        lambda: _listed_by_code_ocean(asset.id, path),
    )
    if not found.exists and not path and _is_inside(asset) and not _prefers_code_ocean(asset):
        # The files of a new asset may be hidden from S3 for some seconds (seen by users).
        try:
            other = _listed_by_code_ocean(asset.id, path)
        except (ServiceError, CredentialsError):
            return found
        if other.exists:
            trail.tell("S3 does not show the files of %s yet: Code Ocean does", asset.id)
            trail.learn(CODE_OCEAN, ("files of", asset.id), True, seconds=60)
            return other
    return found


def known_listing(asset: AssetSummary) -> Listing | None:
    """Give the listing of an asset's root if it is known; never asks."""
    folder = folders.of_asset(asset)
    known: Listing | None = None
    if folder is not None:
        known = trail.peek(S3, ("listing", folder.bucket, _key(folder, "") + "/"))
    if known is None or not known.exists:
        known = trail.peek(CODE_OCEAN, ("asset files", asset.id, "")) or known
    return known


def read(asset: AssetSummary, path: str) -> bytes | None:
    """Read a small file of a data asset; None where it is not there.

    Raises
    ------
    ServiceError, CredentialsError
        Neither S3 nor Code Ocean could tell.
    """
    return _either(
        asset,
        lambda folder: questions.text(folder.bucket, _key(folder, path)),
        lambda: _read_by_code_ocean(asset.id, path),
    )


def find(asset: AssetSummary, path: str, name: str) -> Iterator[str]:
    """Find files by their name, at any depth below a folder, a bounded number of keys or folders.

    Parameters
    ----------
    asset
        The asset.
    path
        Folder within it.
    name
        Name of the files.

    Yields
    ------
    str
        Paths within the asset. Where only single folders can be listed, as far as they are wanted.
    """
    keys = _either(asset, lambda folder: _keys(folder, path), _no_keys)
    found = tuple(key for key in keys or () if key.rpartition("/")[2] == name)
    if found or (keys is not None and len(keys) < KEYS):
        yield from found
        return
    # Too many keys, or Code Ocean, which lists single folders only.
    waiting = deque([path])
    for _ in range(FOLDERS):
        if not waiting:
            break
        folder = waiting.popleft()
        listed = listing(asset, folder)
        if name in listed.files:
            yield f"{folder}/{name}"
        waiting.extend(f"{folder}/{inside}" for inside in listed.folders)


def _key(folder: Folder, path: str) -> str:
    return f"{folder.prefix}/{path}".strip("/")


def _is_inside(asset: AssetSummary) -> bool:
    """Whether Code Ocean itself holds the files, and shows them."""
    folder = folders.of_asset(asset)
    return folder is None or folder.bucket == settings.RESULTS_BUCKET


def _prefers_code_ocean(asset: AssetSummary) -> bool:
    folder = folders.of_asset(asset)
    if folder is None or trail.peek(CODE_OCEAN, ("files of", asset.id)):
        return True
    # The results' bucket is nobody's without credentials: S3 need not be asked to say so.
    try:
        return not has_credentials() or bool(trail.peek(S3, ("closed", folder.bucket)))
    except (ServiceError, CredentialsError):
        # AWS settings that cannot be right: S3 is not usable, Code Ocean may be.
        return True


def _either(asset: AssetSummary, s3: Callable[[Folder], T], code_ocean: Callable[[], T]) -> T:
    """Ask S3, or Code Ocean where it holds the files and S3 does not show them."""
    folder = folders.of_asset(asset)
    if folder is not None and not _is_inside(asset):
        return s3(folder)
    if folder is None or _prefers_code_ocean(asset):
        return code_ocean()
    try:
        return s3(folder)
    except AccessDeniedError:
        trail.tell("s3://%s is closed: Code Ocean is asked for its files", folder.bucket)
        trail.learn(S3, ("closed", folder.bucket), True)
        return code_ocean()
    except ServiceError as error:
        try:
            return code_ocean()
        except (ServiceError, CredentialsError):
            raise error from None


def _no_keys() -> None:
    """Stand for what Code Ocean does not list: none are known, which is not that there are none."""


def _keys(folder: Folder, path: str) -> tuple[str, ...] | None:
    prefix = _key(folder, path) + "/"
    keys = trail.ask(
        S3,
        f"list all keys below s3://{folder.bucket}/{prefix}",
        ("keys", folder.bucket, prefix),
        lambda: storage.list_keys(folder.bucket, prefix, KEYS),
        lambda found: f"{len(found)} keys",
    )
    within = f"{folder.prefix}/" if folder.prefix else ""
    return tuple(key.removeprefix(within) for key in keys)


def _listed_by_code_ocean(asset_id: str, path: str) -> Listing:
    def call() -> Listing:
        try:
            items = codeocean.list_asset_files(asset_id, path)
        except codeocean.CodeOceanNotFoundError:
            return Listing()
        return Listing(
            tuple(name for name, is_folder, _ in items if is_folder),
            tuple(name for name, is_folder, _ in items if not is_folder),
            bool(items),
        )

    return trail.ask(
        CODE_OCEAN,
        f"list /{path} of data asset {asset_id}",
        ("asset files", asset_id, path),
        call,
        lambda found: f"{len(found.folders)} folders, {len(found.files)} files",
    )


def _read_by_code_ocean(asset_id: str, path: str) -> bytes | None:
    return questions.small_file(
        CODE_OCEAN,
        f"read {path} of data asset {asset_id}",
        ("asset file", asset_id, path),
        lambda: codeocean.read_asset_file(asset_id, path),
        *(codeocean.CodeOceanNotFoundError, NotFoundError),
    )
