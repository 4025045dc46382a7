"""Many ordinary sessions, made fast: what benchmarks look things up in."""

from __future__ import annotations

from datetime import datetime, timedelta

from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.factory import raw_asset, result_asset
from aind_session.sandbox.shapes import Mouse, epoch, invented_id, session_record, stamp, tables

_LABELS = ("sorted", "nwb", "dlc-eye", "processed", "videoprocessed")
_MODALITIES = ("ecephys", "behavior", "behavior-videos")
_DAY = 86_400

BUCKET = "aind-open-data"
FIRST_SUBJECT = 800_000


def invent_cohort(
    n_subjects: int = 12,
    sessions_per_subject: int = 9,
    assets_per_session: int = 4,
    *,
    generations: tuple[str, ...] = ("v1",),
) -> Catalogue:
    """Invent many sessions that are all alike and complete.

    Subjects are 800000 and the numbers after it. Each session has a raw asset, results, one record
    in each generation, and a folder of three modalities; the raw asset counts as one of its assets.
    """
    catalogue = Catalogue(
        description=f"{n_subjects * sessions_per_subject} invented sessions that are all alike",
        buckets={name: {"public": public} for name, public in tables()["buckets"].items()},
    )
    for subject in range(FIRST_SUBJECT, FIRST_SUBJECT + n_subjects):
        mouse = Mouse.invent(str(subject))
        for number in range(sessions_per_subject):
            start = datetime(2024, 1, 2, 9, 30) + timedelta(days=number, seconds=subject % 3600)
            _add(catalogue, mouse, start, assets_per_session, generations)
    return catalogue


def _add(
    catalogue: Catalogue, mouse: Mouse, start: datetime, assets: int, generations: tuple[str, ...]
) -> None:
    # The lists are filled directly: `add_asset` would copy each of tens of thousands of assets.
    name = f"ecephys_{mouse.id}_{start:%Y-%m-%d_%H-%M-%S}"
    raw_id = invented_id("asset", name)
    created = epoch(start) + _DAY
    owner: Json = {"subject": mouse.id, "platform": "ecephys"}
    made_by: Json = {"capsule": tables()["sorting"]["pipeline"], "computation": raw_id}
    if assets > 0:
        catalogue.data_assets.append(
            raw_asset(name, asset_id=raw_id, created=created, bucket=BUCKET, **owner)
        )
    for number in range(assets - 1):
        own = created + (number + 1) * 5_000
        result = f"{name}_{_LABELS[number % len(_LABELS)]}_{stamp(own)}"
        known: Json = {"asset_id": invented_id("asset", result), "created": own, "inputs": [raw_id]}
        catalogue.data_assets.append(result_asset(result, **known, **made_by, **owner))
    place: Json = {"location": f"s3://{BUCKET}/{name}", "created": created}
    ids = [raw_id] if assets > 0 else []
    for each in generations:
        record = session_record(name, each, mouse, _MODALITIES, asset_ids=ids, **place)
        catalogue.add_record(each, record)
    for key in (
        "behavior/a.h5",
        "behavior-videos/a.mp4",
        "ecephys/ecephys_compressed/a.zarr/.zgroup",
    ):
        catalogue.objects.append({"bucket": BUCKET, "key": f"{name}/{key}"})
