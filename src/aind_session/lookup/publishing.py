"""Writing a file to the scratch bucket, and making a data asset of its folder."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from aind_session.errors import InvalidContentError, ServiceTimeoutError
from aind_session.lookup import freshness, results, trail
from aind_session.lookup.questions import S3
from aind_session.services import storage
from aind_session.services.cache import Key, answers
from aind_session.services.clock import CLOCK, at_most

if TYPE_CHECKING:
    from aind_session.services.models import AssetSummary, DataAsset

#: Private and writable, and deleted without notice: what is to last is made an asset.
BUCKET = "aind-scratch-data"
ROOT = "aind-session"
#: Seconds between looks for a file that was written.
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0


def pacific(seconds: float | None = None) -> datetime.datetime:
    """Give a moment (now, by default) in the Pacific zone, as names of files have it."""
    from zoneinfo import ZoneInfo

    moment = CLOCK.time() if seconds is None else seconds
    return datetime.datetime.fromtimestamp(moment, ZoneInfo("America/Los_Angeles"))


def stamp(moment: datetime.datetime) -> str:
    """Write a moment as names have it: `2024-08-16_11-06-59`."""
    return moment.strftime("%Y-%m-%d_%H-%M-%S")


def write(bucket: str, key: str, data: bytes, timeout_sec: float) -> storage.Listing:
    """Write a file, and wait until S3 lists it.

    Parameters
    ----------
    bucket, key
        Where it goes, over what is there.
    data
        Its content.
    timeout_sec
        How long it may take to be listed, in seconds.

    Returns
    -------
    Listing
        What is in the file's folder.

    Raises
    ------
    ServiceTimeoutError
        It was written, and is not listed in time (a `TimeoutError`).
    StorageAccessError
        It may not be written (a `PermissionError`).
    """
    storage.write(bucket, key, data)
    _forget(bucket, key)
    trail.tell("s3://%s/%s was written", bucket, key)
    folder, _, name = key.rpartition("/")
    started, wait = CLOCK.monotonic(), FIRST_WAIT
    deadline = started + timeout_sec
    while True:
        # Not kept: each look is to see what is there by now.
        with at_most(max(1.0, deadline - CLOCK.monotonic())):
            listed = storage.list_folder(bucket, folder)
        if name in listed.files:
            return listed
        left = deadline - CLOCK.monotonic()
        if left <= 0:
            break
        CLOCK.sleep(min(wait, left))
        wait = min(2 * wait, LONGEST_WAIT)
    raise ServiceTimeoutError(
        f"s3://{bucket}/{key} was written, and S3 does not list it after {timeout_sec:g} s. Wait, "
        "or give a longer timeout_sec.",
        service=S3,
        seconds=CLOCK.monotonic() - started,
    )


def _forget(bucket: str, key: str) -> None:
    """Forget the file, and the listings that it is now in."""
    parts = key.split("/")
    places = {key, *("/".join(parts[:n]) + "/" for n in range(1, len(parts))), ""}

    def concerns(known: Key) -> bool:
        return known[0] == S3 and known[3:4] == (bucket,) and known[-1] in places

    answers.forget(concerns)


def check_may_create() -> None:
    """Raise where there is no token: before anything is written that would be left over."""
    from aind_session.services import codeocean

    codeocean.get_client()


def create_asset(
    bucket: str,
    key: str,
    listed: storage.Listing,
    *,
    subject_id: str,
    tags: Sequence[str],
    custom_metadata: dict[str, str],
) -> DataAsset:
    """Make a data asset of a file's folder, named after the file, copied into Code Ocean.

    Parameters
    ----------
    bucket, key
        The file.
    listed
        What is in its folder.
    subject_id
        Whose it is.
    tags, custom_metadata
        As the asset is to have them.

    Raises
    ------
    InvalidContentError
        The file has no folder of its own: the asset would hold more (a `ValueError`).
    """
    from aind_session.services import codeocean
    from aind_session.services.sdk import AWSS3Source, DataAssetParams, Source

    folder, _, file = key.rpartition("/")
    name = file.rpartition(".")[0] or file
    others = sorted({*listed.files, *listed.folders} - {file})
    if others or not folder:
        raise InvalidContentError(
            f"s3://{bucket}/{key} has no folder of its own, which a data asset is made of: "
            f"{', '.join(others[:5]) or 'the whole bucket'} would be in it, too. Write it to "
            f".../{name}/{file}."
        )
    asset = codeocean.create_asset(
        DataAssetParams(
            name=name,
            mount=name,
            tags=list(tags),
            source=Source(
                # Copied: the bucket is cleared without notice.
                aws=AWSS3Source(bucket=bucket, prefix=folder, keep_on_external_storage=False)
            ),
            custom_metadata=dict(custom_metadata),
        )
    )
    freshness.forget_subject(subject_id)
    trail.tell("Data asset %s (%s) was made of s3://%s/%s", asset.id, name, bucket, folder)
    return asset


def read_back(asset: AssetSummary, suffix: str) -> bytes | None:
    """Read the one file that such a data asset holds; None where it is not there.

    Parameters
    ----------
    asset
        The data asset.
    suffix
        `.json`, `.csv`.
    """
    data = _read_only(asset, suffix)
    if data is None and asset.bucket and not asset.external:
        # Copied from there, and cleared away there since: the copy is Code Ocean's own.
        data = _read_only(msgspec.structs.replace(asset, bucket="", prefix=""), suffix)
    return data


def _read_only(asset: AssetSummary, suffix: str) -> bytes | None:
    data = results.read(asset, f"{asset.name}{suffix}")
    if data is None:
        # The asset was renamed since: there is one file all the same.
        names = [n for n in results.listing(asset).files if n.lower().endswith(suffix)]
        data = results.read(asset, names[0]) if len(names) == 1 else None
    return data
