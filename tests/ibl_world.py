"""Subjects with probes and brain images: the documented one, and an invented one."""

from __future__ import annotations

import json
from typing import Any

import aind_session
from aind_session.extensions.ibl.converter import IBLDataConverterExtension
from aind_session.extensions.ibl.neuroglancer import NeuroglancerExtension
from aind_session.sandbox import Catalogue
from aind_session.sandbox.factory import result_asset
from worlds import invent_session

SUBJECT = "717381"
DAYS = (
    ("ecephys_717381_2024-04-09_11-14-13", "ecephys_717381_2024-04-09_11-44-16"),
    ("ecephys_717381_2024-04-10_16-29-12", "ecephys_717381_2024-04-10_16-51-20"),
)
RECORDED = tuple(name for day in DAYS for name in day)
SURFACES = dict(DAYS)
SORTED = "ecephys_717381_2024-04-09_11-14-13_sorted_2024-04-10_22-15-25"
IMAGED = ("SmartSPIM_717381_2024-05-20_15-19-15", "SmartSPIM_717381_2024-07-03_10-49-01")
STITCHED = (
    f"{IMAGED[0]}_stitched_2024-06-23_02-34-02",
    f"{IMAGED[1]}_stitched_2024-08-10_12-00-00",
)
STATE = f"{IMAGED[1]}_neuroglancer-state_2024-08-16_11-06-59"
LATEST_STATE = f"{IMAGED[1]}_neuroglancer-state_2024-08-20_09-30-00"
STATES = "s3://aind-scratch-data/aind-session/neuroglancer_states"
MANIFEST = "717381_data_converter_manifest"
#: The session that both states show, and a state of it.
SHOWN = IMAGED[1]
SOURCE = f"zarr://s3://aind-open-data/{STITCHED[1]}/image_tile_fusing/OMEZarr/Ex_488_Em_525.zarr"
CONTENT: dict[str, Any] = {
    "layers": [
        {"type": "image", "name": "488", "source": SOURCE},
        {"type": "annotation", "name": "A1"},
        {"type": "annotation", "name": "probe B_2"},
    ]
}


def neuroglancer(subject: object = SUBJECT) -> NeuroglancerExtension:
    return aind_session.Subject(subject).neuroglancer


def converter(subject: object = SUBJECT) -> IBLDataConverterExtension:
    return aind_session.Subject(subject).ibl_data_converter


def completed(state: str | None = STATE) -> list[dict[str, str]]:
    """Two records of a manifest, as a person completes them."""
    records = converter().get_partial_manifest_records(state)
    return [{**record, "probe_name": "ProbeA"} for record in records[:2]]


def world() -> Catalogue:
    """Invent a subject with names of today, three days, failed and new sortings."""
    catalogue = Catalogue()
    catalogue.buckets["aind-scratch-data"] = {"public": False}
    invent_session(
        catalogue,
        "ecephys_999994_2025-01-01_10-00-00",
        sorted_by=("kilosort2_5", "kilosort4"),
    )
    # Named without platform; the surface recording was made later, and named with.
    invent_session(
        catalogue,
        "999994_2025-01-03_10-00-00",
        modalities=("ecephys",),
        generation="v2",
        sorted_by=("kilosort4", "kilosort4"),
        failed=True,
    )
    invent_session(catalogue, "ecephys_999994_2025-01-03_11-00-00")
    invent_session(catalogue, "behavior_999994_2025-01-03_09-00-00", modalities=("behavior",))
    # Not in Code Ocean: a day all the same.
    invent_session(catalogue, "ecephys_999994_2025-01-05_10-00-00", in_codeocean=False)
    invent_session(catalogue, "SmartSPIM_999994_2025-02-01_10-00-00", modalities=("SPIM",))
    for number, created in enumerate((1_739_000_000, 1_740_000_000)):
        name = f"SmartSPIM_999994_2025-02-01_10-00-00_stitched_2025-02-0{8 + number}_00-00-00"
        asset_id = f"00000000-0000-4000-8000-00000000000{number}"
        catalogue.add_asset(
            result_asset(
                name, asset_id=asset_id, created=created, subject="999994", platform="SmartSPIM"
            )
        )
    return catalogue


def add_state(catalogue: Catalogue, *annotations: str) -> str:
    name = "SmartSPIM_999994_2025-02-01_10-00-00_neuroglancer-state_2025-03-01_10-00-00"
    state = {"layers": [{"type": "annotation", "name": each} for each in annotations]}
    catalogue.add_object(
        "aind-scratch-data",
        f"aind-session/neuroglancer_states/{name}/{name}.json",
        json.dumps(state),
    )
    return name
