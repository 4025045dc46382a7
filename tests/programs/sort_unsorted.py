"""A capsule: start the sorting of each session that has none, or none that worked."""

from __future__ import annotations

import argparse
import json
import logging
import pathlib

import aind_session

logger = logging.getLogger(__name__)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("subject_ids", nargs="+")
    parser.add_argument("--start-date", default="")
    parser.add_argument("--end-date", default="")
    parser.add_argument("--pipeline-type", default="ecephys_ks4")
    parser.add_argument("--results", default="/results")
    parser.add_argument("--dry-run", action="store_true")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    report: dict[str, str] = {}
    for subject_id in args.subject_ids:
        sessions = aind_session.get_sessions(
            subject_id, platform="ecephys", start_date=args.start_date, end_date=args.end_date
        )
        for session in sessions:
            report[session.id] = handle(session, args.pipeline_type, args.dry_run)
    path = pathlib.Path(args.results) / "sorting.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2))


def handle(session: aind_session.Session, pipeline_type: str, dry_run: bool) -> str:
    if session.ecephys.is_sorted:
        return "sorted"
    try:
        asset = session.raw_data_asset
    except AttributeError as error:
        logger.warning("%s cannot be sorted: %r", session.id, error)
        return "no raw data asset"
    if session.ecephys.current_sorting_pipeline_computations:
        return "being sorted"
    clipped, compressed = session.ecephys.get_clipped_and_compressed_dirs(asset)
    streams = [path.name for path in compressed.iterdir() if path.name.endswith(".zarr")]
    if not clipped.exists() or not any("Probe" in name for name in streams):
        return "no probes"
    if dry_run:
        return "would be sorted"
    computation = session.ecephys.run_sorting(
        pipeline_type=pipeline_type,
        trigger_capsule_id=session.ecephys.DEFAULT_TRIGGER_CAPSULE_ID,
        override_parameters=None,
        skip_already_sorting=True,
    )
    logger.info("%s: started %s", session.id, computation.id)
    return f"started {computation.id}"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
