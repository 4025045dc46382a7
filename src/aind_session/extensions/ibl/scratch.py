"""Files in the scratch bucket, and data assets made from their folders."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import msgspec

from aind_session import context
from aind_session.clock import CLOCK, at_most
from aind_session.errors import InvalidContentError, ServiceTimeoutError
from aind_session.lookup import refresh, results
from aind_session.query import S3
from aind_session.services import codeocean, s3
from aind_session.services.models import AssetSummary, decode_asset
from aind_session.services.sdk import AWSS3Source, DataAsset, DataAssetParams, Source
from aind_session.trace import note

#: Private and writable, and cleared without notice: data assets are made of what should last.
BUCKET = "aind-scratch-data"
ROOT = "aind-session"
#: Seconds between two listings while waiting for a new file.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
#: Seconds that a new data asset may take to become ready; copying a small file takes a few.
READY_SECONDS = 600.0


def pacific(seconds: float | None = None) -> datetime.datetime:
    """Return a moment (default: now) in the Pacific time zone, which file names use."""
    from zoneinfo import ZoneInfo

    moment = CLOCK.time() if seconds is None else seconds
    return datetime.datetime.fromtimestamp(moment, ZoneInfo("America/Los_Angeles"))


def stamp(moment: datetime.datetime) -> str:
    """Format a moment for a file name: `2024-08-16_11-06-59`."""
    return moment.strftime("%Y-%m-%d_%H-%M-%S")


def write(bucket: str, key: str, data: bytes, timeout_sec: float) -> s3.Listing:
    """Write a file, wait until S3 lists it, and return the listing of its folder."""
    s3.write(bucket, key, data)
    # The file, and the listings that it is now part of.
    context.current().cache.forget(lambda cached: cached[0] == S3 and cached[2:3] == (bucket,))
    note("s3://%s/%s was written", bucket, key)
    folder, _, name = key.rpartition("/")
    started, pause = CLOCK.monotonic(), FIRST_PAUSE_SECONDS
    left = timeout_sec
    while True:
        # Not cached: each listing must show the current content.
        with at_most(max(1.0, left)):
            listed = s3.list_folder(bucket, folder)
        if name in listed.files:
            return listed
        left = started + timeout_sec - CLOCK.monotonic()
        if left <= 0:
            break
        CLOCK.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    raise ServiceTimeoutError(
        f"s3://{bucket}/{key} was written, and S3 does not list it after {timeout_sec:g} s. Wait, "
        "or give a longer timeout_sec.",
        service=S3,
        seconds=CLOCK.monotonic() - started,
    )


def publish(
    bucket: str,
    key: str,
    data: bytes,
    *,
    subject_id: str,
    tags: Sequence[str],
    custom_metadata: dict[str, str],
    timeout_sec: float = 10,
) -> DataAsset:
    """Write a file, make a data asset of its folder, and return the asset when it is ready."""
    # Raises without a token: before anything is written that would be left over.
    codeocean.get_client()
    listed = write(bucket, key, data, timeout_sec)
    folder, _, file = key.rpartition("/")
    name = file.rpartition(".")[0] or file
    others = sorted({*listed.files, *listed.folders} - {file})
    if others or not folder:
        raise InvalidContentError(
            f"s3://{bucket}/{key} has no folder of its own, which a data asset is made of: "
            f"{', '.join(others[:5]) or 'the whole bucket'} would be in it, too. Write it to "
            f".../{name}/{file}."
        )
    # Copied into Code Ocean: the bucket is cleared without notice.
    source = AWSS3Source(bucket=bucket, prefix=folder, keep_on_external_storage=False)
    created = codeocean.create_asset(
        DataAssetParams(
            name=name,
            mount=name,
            tags=list(tags),
            source=Source(aws=source),
            custom_metadata=dict(custom_metadata),
        )
    )
    refresh.subject(subject_id)
    note("Data asset %s (%s) was made of s3://%s/%s", created.id, name, bucket, folder)
    return decode_asset(refresh.until_ready(created.id, timeout=READY_SECONDS).raw)


def read_back(asset: AssetSummary, suffix: str) -> bytes | None:
    """Read the one file of such a data asset (suffix `.json` or `.csv`); None if it is gone."""
    data = _read_only(asset, suffix)
    if data is None and asset.bucket and not asset.external:
        # Copied from the bucket, and deleted there since: Code Ocean has its own copy.
        data = _read_only(msgspec.structs.replace(asset, bucket="", prefix=""), suffix)
    return data


def _read_only(asset: AssetSummary, suffix: str) -> bytes | None:
    data = results.read(asset, f"{asset.name}{suffix}")
    if data is None:
        # The asset may have been renamed; it still holds one file.
        names = [n for n in results.listing(asset).files if n.lower().endswith(suffix)]
        data = results.read(asset, names[0]) if len(names) == 1 else None
    return data
