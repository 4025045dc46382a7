"""Write the bundled catalogue anew: `python -m tools.make_bundled_catalogue`.

Its content is defined by `bundled_sessions.json`.
The result is the same each time, so that a change of the table is what a diff shows.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.worlds.alignments import alignment, evaluation, quality_control

from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.factory import (
    invent_session,
    raw_asset,
    result_asset,
    sorting_computation,
)
from aind_session.sandbox.shapes import (
    RESULTS_BUCKET,
    Mouse,
    SessionName,
    core_files,
    epoch,
    invented_id,
    processing,
    session_record,
    sorting_files,
    stamp,
    tables,
)

TABLE: Json = json.loads(Path(__file__).with_name("bundled_sessions.json").read_text("utf-8"))
TARGET = Path(__file__).parents[1] / "src" / "aind_session" / "sandbox" / "bundled"
_DAY = 86_400


def mouse_of(subject: str) -> Mouse:
    """Return the subject as in its records."""
    return Mouse.invent(subject, genotype=TABLE["genotypes"].get(subject))


def split(name: str) -> tuple[str, str, int]:
    """Split a result's name into session, label, and its own time (epoch seconds)."""
    parts = name.split("_")
    end = next(n for n, part in enumerate(parts) if part.count("-") == 2 and part[:2] == "20") + 2
    own = SessionName.read("_".join(["0", *parts[-2:]])).start
    return "_".join(parts[:end]), "_".join(parts[end:-2]), epoch(own)


def add_result(folder: Catalogue, raw_ids: dict[str, str], known: Json, **core: Any) -> str:
    """Add a known result: asset, 1.x record (2.x for current names), files, computation."""
    name = known["name"]
    session_id, label, own = split(name)
    parts = SessionName.read(session_id)
    asset_id = known.get("asset_id") or invented_id("asset", name)
    created = known.get("created", own)
    sorter = known.get("sorter")
    bucket = known.get("bucket")
    run = invented_id("computation", name)
    folder.add_asset(
        result_asset(
            name,
            asset_id=asset_id,
            created=created,
            subject=parts.subject,
            platform=parts.platform,
            inputs=[raw_ids[session_id]],
            capsule=tables()["sorting"]["pipeline"] if sorter else None,
            computation=run,
            bucket=bucket,
        )
    )
    location = f"s3://{bucket}/{name}" if bucket else f"s3://{RESULTS_BUCKET}/{asset_id}"
    prefix = location.partition("//")[2].partition("/")[2]
    platform = tables()["platforms"].get(parts.platform, {"modalities": ["behavior"]})
    generation = "v1" if parts.platform else "v2"
    record = folder.add_record(
        generation,
        session_record(
            name,
            generation,
            mouse_of(parts.subject),
            platform["modalities"],
            location=location,
            created=created + 600,
            asset_ids=[asset_id],
            source=session_id,
            process=label,
            **core,
        ),
    )
    if sorter is None:
        done = processing([(label, {})], generation, created)
        texts = core_files(
            ("data_description", "processing", "subject"), {**record, "processing": done}
        )
        # Every run leaves its log: a result without one counts as failed.
        for key, text in {**texts, f"{label}/.zgroup": "", "output": "Done.\n"}.items():
            folder.add_object(bucket or RESULTS_BUCKET, f"{prefix}/{key}", text)
        return asset_id
    options = ("era", "precurated", "ending", "probes", "analyzer")
    files = sorting_files(
        session_id,
        sorter,
        created=created,
        cores=record,
        **{key: known[key] for key in options if key in known},
    )
    for key, text in files.items():
        folder.add_object(RESULTS_BUCKET, f"{prefix}/{key}", text)
    folder.add_computation(
        sorting_computation(
            computation_id=run,
            created=created - 170_000,
            inputs={raw_ids[session_id]: session_id},
            files={key: text for key, text in files.items() if "/" not in key},
            run_time=161_659 if "ending" in known else 41_000,
        )
    )
    return asset_id


def add_known(folder: Catalogue) -> dict[str, str]:
    """Add the known sessions; return the raw asset of each."""
    raw_ids = {}
    for known in TABLE["known"]:
        subject = SessionName.read(known["session_id"]).subject
        made = invent_session(folder, **known, genotype=TABLE["genotypes"].get(subject))
        raw_ids[made.id] = str(made.raw_asset_id)
    for known in TABLE["known_results"]:
        add_result(folder, raw_ids, known)
    return raw_ids


def add_others_of_676909(folder: Catalogue, raw_ids: dict[str, str]) -> None:
    """Add the results, invented but for their number, that make up the session's 42 assets."""
    session_id = "ecephys_676909_2023-12-13_13-43-40"
    first = epoch(SessionName.read("676909_2024-04-02_08-00-00").start)
    for round_number in range(3):
        for number, label in enumerate(TABLE["labels_of_676909"]):
            created = first + round_number * 90 * _DAY + number * 3_723
            add_plain_result(folder, session_id, label, created, raw_ids[session_id])


def add_plain_result(
    folder: Catalogue, session_id: str, label: str, created: int, raw_id: str
) -> None:
    """Add an internal result without record, of whose files there is the log of a good run."""
    name = f"{session_id}_{label}_{stamp(created)}"
    folder.add_object(RESULTS_BUCKET, f"{invented_id('asset', name)}/output", "Done.\n")
    parts = SessionName.read(session_id)
    folder.add_asset(
        result_asset(
            name,
            asset_id=invented_id("asset", name),
            created=created,
            subject=parts.subject,
            platform=parts.platform,
            inputs=[raw_id],
        )
    )


def channels(probe: int, shift: float) -> tuple[list[Json], list[Json]]:
    """Make the channels of a probe; the first of probe A is known, the others are invented."""
    first = TABLE["first_channel"]
    ccf: list[Json] = []
    own: list[Json] = []
    for number in range(8):
        rest: Json = {
            "axial": 20.0 * (number // 2) + first["axial"],
            "lateral": first["lateral"] + 32.0 * (number % 2),
            "brain_region_id": first["brain_region_id"],
            "brain_region": first["brain_region"],
        }
        step = 0.02 * (number // 2)
        x, y, z = first["ccf"]
        place = (x + 0.7 * probe + shift, y + 0.4 * probe, z + step)
        ccf.append(dict(zip("xyz", place, strict=True)) | rest)
        local = (round(v * 1000 + 5000, 3) for v in place)
        own.append(dict(zip("xyz", local, strict=True)) | rest)
    return own, ccf


def add_alignments(folder: Catalogue, raw_ids: dict[str, str]) -> None:
    """Add two sortings with alignments of all probes, then of three of them once more."""
    session_id = TABLE["aligned"]["session_id"]
    for round_number, time in enumerate(TABLE["aligned"]["sorted"]):
        evaluations = []
        for number, letter in enumerate("ABCDEF" if round_number == 0 else "ABC"):
            name = f"Probe Alignment for {session_id}_Probe{letter}_0"
            newest = round_number == 1 or letter > "C"
            drafts = [alignment(*channels(number, 1.0))]
            if newest:
                drafts.append(alignment(*channels(number, 0.0)))
            stamped = f"{time.split('_')[0]}T1{number}:00:00.000000-07:00"
            evaluations.append(evaluation(name, {"curations": drafts}, stamped))
        add_result(
            folder,
            raw_ids,
            {
                "name": f"{session_id}_sorted_{time}",
                "sorter": "kilosort4",
                "analyzer": True,
                "probes": [f"Probe{letter}" for letter in "ABCDEF"],
            },
            quality_control=quality_control(evaluations, "v1"),
            processing=processing(
                [("Spike sorting", {"sorter_name": "kilosort4"})],
                "v1",
                epoch(SessionName.read(f"795555_{time}").start),
            ),
        )


def add_neuroglancer(folder: Catalogue) -> None:
    """Add the viewer's states, the first of them captured as an asset too."""
    known = TABLE["neuroglancer"]
    bucket = "aind-scratch-data"
    root = "aind-session/neuroglancer_states"
    image = f"s3://aind-open-data/{known['source']}/image_tile_fusing/OMEZarr"
    layers: list[Json] = [
        {"type": "image", "name": "Ex_488_Em_525", "source": f"zarr://{image}/Ex_488_Em_525.zarr"},
        {
            "type": "image",
            "name": "Ex_561_Em_593",
            "source": {"url": f"zarr://{image}/Ex_561_Em_593.zarr", "transform": {}},
        },
    ]
    for number, name in enumerate(known["annotations"]):
        point = {"type": "point", "point": [100.0 + number, 200.0, 300.0], "id": f"{number:040x}"}
        layers.append({"type": "annotation", "name": name, "annotations": [point]})
    state = {"title": known["session_id"], "dimensions": {}, "layers": layers}
    for number, time in enumerate(known["times"]):
        stem = f"{known['session_id']}_neuroglancer-state_{time}"
        folder.add_object(bucket, f"{root}/{stem}/{stem}.json", json.dumps(state))
        if number == 0:
            folder.add_asset(
                raw_asset(
                    stem,
                    asset_id=invented_id("asset", stem),
                    created=split(stem)[2] + 7 * 3600,
                    bucket=bucket,
                    prefix=f"{root}/{stem}",
                    subject="717381",
                    platform="SmartSPIM",
                    tags=["neuroglancer", "ecephys", "annotation", "717381"],
                    custom_metadata={"experiment type": "SmartSPIM", "subject id": "717381"},
                )
            )


def add_loose_assets(folder: Catalogue) -> None:
    """Add assets without a session in their name, and those that only mention another mouse."""
    folder.add_asset(
        raw_asset(
            "Example T1 and T2 MRI Images",
            asset_id=invented_id("asset", "Example T1 and T2 MRI Images"),
            created=1673996872,
            bucket="",
            subject="668759",
            platform=None,
            tags=["T1", "T2", "MRI", "demo"],
            custom_metadata={"subject id": "668759"},
            source_bucket={"bucket": "", "external": False, "origin": "local", "prefix": ""},
        )
    )
    mention = "ecephys_999998_2024-02-01_09-00-00"
    folder.add_asset(
        raw_asset(
            mention,
            asset_id=invented_id("asset", mention),
            created=1706900000,
            bucket="aind-open-data",
            subject="999998",
            platform="ecephys",
            tags=["676909", "999998", "ecephys", "raw"],
            description="Same rig as 676909, ecephys_676909_2023-12-13_13-43-40",
        )
    )
    folder.add_asset(
        result_asset(
            "comparison with 676909",
            asset_id=invented_id("asset", "comparison with 676909"),
            created=1708900000,
            subject="999998",
            platform="ecephys",
            capsule=invented_id("capsule", "comparison"),
            tags=["676909", "results"],
        )
    )
    add_inaccessible(folder)


def add_inaccessible(folder: Catalogue) -> None:
    """Add an archived asset, and a closed one that a record links and no search finds."""
    made = {}
    for name, facts in (
        ("archived example", {"archived": True}),
        ("closed example", {"_access": "closed", "_unlisted": True}),
    ):
        made[name] = folder.add_asset(
            raw_asset(
                name,
                asset_id=invented_id("asset", name),
                created=1704880800,
                bucket="aind-private-data-prod-o5171v",
                subject="999998",
                platform=None,
                tags=["example"],
                custom_metadata={},
            )
            | facts
        )
    folder.add_record(
        "v1",
        {
            "name": "closed example",
            "location": "s3://aind-private-data-prod-o5171v/closed example",
            "created": "2024-01-10T10:00:00.154321",
            "external_links": {"Code Ocean": [made["closed example"]["id"]]},
        },
    )


def add_invented(folder: Catalogue) -> None:
    """Add the invented subject, with what the known sessions do not show."""
    made = {row["session_id"]: invent_session(folder, **row) for row in TABLE["invented"]}
    odd = made["ecephys_999999_2024-01-03_10-00-00"]
    name = f"{odd.id}_sorted-opto_2024-01-06_12-00-00"
    asset_id = invented_id("asset", name)
    folder.add_asset(
        result_asset(
            name,
            asset_id=asset_id,
            created=split(name)[2],
            subject="999999",
            platform="ecephys",
            inputs=[str(odd.raw_asset_id)],
            capsule=tables()["sorting"]["pipeline"],
        )
    )
    # It has no record; its files describe it all the same.
    cores = session_record(
        name,
        "v1",
        mouse_of("999999"),
        ("ecephys", "behavior", "behavior-videos"),
        location=f"s3://{RESULTS_BUCKET}/{asset_id}",
        created=split(name)[2],
        source=odd.id,
        process="sorted-opto",
    )
    files = sorting_files(
        odd.id,
        "kilosort2_5",
        probes=["ProbeA_group0", "ProbeA_group1", "50213-1"],
        era="none",
        cores=cores,
    )
    for key, text in files.items():
        folder.add_object(RESULTS_BUCKET, f"{asset_id}/{key}", text)


def make() -> Catalogue:
    """Make the whole catalogue."""
    folder = Catalogue(
        description=TABLE["description"],
        buckets={name: {"public": public} for name, public in tables()["buckets"].items()},
        capsules={capsule: {} for capsule in TABLE["capsules"]},
    )
    raw_ids = add_known(folder)
    add_others_of_676909(folder, raw_ids)
    add_alignments(folder, raw_ids)
    add_neuroglancer(folder)
    add_loose_assets(folder)
    add_invented(folder)
    return folder


if __name__ == "__main__":
    make().save(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
