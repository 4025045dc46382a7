"""Many ordinary sessions, made fast: what benchmarks look things up in."""

from __future__ import annotations

from datetime import datetime, timedelta

from aind_session.sandbox.catalogue import Catalogue
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

    Subjects are 800000 and the numbers after it. Each session has a raw asset, results,
    one record in each generation, and a folder of three modalities.

    Parameters
    ----------
    n_subjects, sessions_per_subject, assets_per_session
        How many of each; the raw asset is one of a session's assets.
    generations
        Which DocDB has a record of each raw asset.

    Returns
    -------
    Catalogue
        The catalogue.

    Examples
    --------
    >>> cohort = invent_cohort(2, 3, 4)
    >>> len(cohort.data_assets), len(cohort.docdb_v1)
    (24, 6)
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
    catalogue: Catalogue,
    mouse: Mouse,
    start: datetime,
    assets: int,
    generations: tuple[str, ...],
) -> None:
    # The lists are filled directly: `add_asset` would copy each of tens of thousands of assets.
    name = f"ecephys_{mouse.id}_{start:%Y-%m-%d_%H-%M-%S}"
    raw_id = invented_id("asset", name)
    created = epoch(start) + _DAY
    location = f"s3://{BUCKET}/{name}"
    capsule = tables()["sorting"]["pipeline"]
    if assets > 0:
        catalogue.data_assets.append(
            raw_asset(
                name,
                asset_id=raw_id,
                created=created,
                bucket=BUCKET,
                subject=mouse.id,
                platform="ecephys",
            )
        )
    for number in range(assets - 1):
        own = created + (number + 1) * 5_000
        result = f"{name}_{_LABELS[number % len(_LABELS)]}_{stamp(own)}"
        catalogue.data_assets.append(
            result_asset(
                result,
                asset_id=invented_id("asset", result),
                created=own,
                subject=mouse.id,
                platform="ecephys",
                inputs=[raw_id],
                capsule=capsule,
                computation=raw_id,
            )
        )
    for generation in generations:
        catalogue.add_record(
            generation,
            session_record(
                name,
                generation,
                mouse,
                _MODALITIES,
                location=location,
                created=created,
                asset_ids=[raw_id] if assets > 0 else [],
            ),
        )
    for key in (
        "behavior/a.h5",
        "behavior-videos/a.mp4",
        "ecephys/ecephys_compressed/a.zarr/.zgroup",
    ):
        catalogue.objects.append({"bucket": BUCKET, "key": f"{name}/{key}"})
