"""Data layer of a launcher for the IBL data converter: choose, complete, run."""

from __future__ import annotations

import json
import sys
from typing import Any

import aind_session
from aind_session.extensions.smartspim_neuropixels import (
    IBLDataConverterExtension,
    NeuroglancerState,
)


def get_choices(subject_id: str) -> dict[str, Any]:
    subject = aind_session.Subject(subject_id)
    converter: IBLDataConverterExtension = subject.ibl_data_converter
    return {
        "ecephys": [session.id for session in converter.ecephys_sessions],
        "surface": list(converter.surface_recording_names.values()),
        "sorted": [asset.name for asset in converter.sorted_data_assets],
        "smartspim": [session.id for session in converter.smartspim_sessions],
        "stitched": [
            asset.name
            for smartspim in converter.smartspim_data_assets
            for asset in converter.get_stitched_data_assets(smartspim.id)
        ],
        "states": [path.stem for path in subject.neuroglancer.state_json_paths],
        "annotations": [list(state.annotation_names) for state in subject.neuroglancer.states],
    }


def save_state(content: dict[str, Any]) -> str:
    """Save a state that was pasted from the viewer, where the converter finds it."""
    return str(NeuroglancerState(content).create_data_asset().name)


def complete(records: list[dict[str, str]], probes: dict[str, str]) -> list[dict[str, str]]:
    """Fill in the probe of each annotation; annotations without a probe are left out."""
    done, seen = [], set()
    for record in records:
        probe_id = record["probe_id"]
        if probe_id in probes and probe_id not in seen:
            seen.add(probe_id)
            done.append({**record, "probe_name": probes[probe_id]})
    return done


def launch(subject_id: str, probes: dict[str, str]) -> dict[str, Any]:
    converter = aind_session.Subject(subject_id).ibl_data_converter
    converter.use_data_assets_with_errors = False
    records = complete(converter.get_partial_manifest_records(), probes)
    manifest = converter.create_manifest_asset(records, skip_existing=False)
    bucket, prefix = aind_session.get_bucket_and_prefix(converter.csv_manifest_path)
    computation = converter.run_data_converter_capsule(
        manifest_asset=manifest, pipeline_monitor_capsule_id=None
    )
    attached = [a.mount for a in computation.data_assets or () if a.mount]
    return {
        "manifest": manifest.name,
        "records": len(records),
        "attached": sorted(attached),
        "folder": f"{bucket}/{prefix}",
    }


def main() -> None:
    subject_id, *probes = sys.argv[1:]
    choices = get_choices(subject_id)
    launched = launch(subject_id, dict(pair.split("=") for pair in probes))
    print(json.dumps({"choices": choices, "launched": launched}))


if __name__ == "__main__":
    main()
