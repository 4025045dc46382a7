"""Run a capsule on each session of a subject, wait, and keep the results as data assets."""

from __future__ import annotations

import json
import os
import sys

from codeocean.computation import Computation, DataAssetsRunParam, NamedRunParam, RunParams
from codeocean.data_asset import ComputationSource, DataAsset, DataAssetParams, Source

import aind_session

CAPSULE_ID = os.environ["MY_CAPSULE_ID"]


def is_done(asset: DataAsset) -> bool:
    name = f"{asset.name}_spike-rates"
    return any(
        not aind_session.is_data_asset_error(done)
        for done in aind_session.get_data_assets(name, ttl_hash=aind_session.get_ttl_hash(60))
    )


def launch(session: aind_session.Session) -> Computation | None:
    asset = session.raw_data_asset
    if is_done(asset):
        return None
    running = aind_session.search_computations(
        CAPSULE_ID, attached_data_asset_id=asset.id, in_progress=True
    )
    if running:
        return running[-1]
    return aind_session.get_codeocean_client().computations.run_capsule(
        RunParams(
            capsule_id=CAPSULE_ID,
            data_assets=[DataAssetsRunParam(id=asset.id, mount=asset.mount)],
            named_parameters=[NamedRunParam(param_name="session", value=session.id)],
        )
    )


def capture(session: aind_session.Session, computation: Computation) -> DataAsset:
    name = f"{session.id}_spike-rates_2026-01-01_00-00-00"
    asset = aind_session.get_codeocean_client().data_assets.create_data_asset(
        DataAssetParams(
            name=name,
            mount=name,
            tags=["derived", session.subject_id, str(session.platform)],
            source=Source(computation=ComputationSource(id=computation.id)),
            custom_metadata={
                "data level": "derived",
                "experiment type": session.platform,
                "subject id": session.subject_id,
            },
        )
    )
    return aind_session.wait_until_ready(asset, check_files=True, timeout=120)


def main() -> None:
    client = aind_session.get_codeocean_client(check_credentials=True)
    sessions = aind_session.get_sessions(*sys.argv[1].split("_"))
    computations = {session: launch(session) for session in sessions}
    report: dict[str, object] = {}
    for session, computation in computations.items():
        if computation is None:
            report[session.id] = "done before"
            continue
        computation = client.computations.wait_until_completed(computation, timeout=3600)
        if aind_session.is_computation_error(computation):
            try:
                text = aind_session.get_output_text(computation)
            except FileNotFoundError:
                text = "no output"
            report[session.id] = f"failed: {text.splitlines()[-1]}"
            continue
        asset = capture(session, computation)
        folder = aind_session.get_data_asset_source_dir(asset.id)
        report[session.id] = sorted(path.name for path in folder.iterdir())
    print(json.dumps(report))


if __name__ == "__main__":
    main()
