"""An invented subject for the IBL data converter: three ecephys days, and a brain."""

from __future__ import annotations

import json

from aind_session.sandbox import Catalogue
from aind_session.sandbox.factory import result_asset
from worlds import invent_session


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
