"""Data layer of a dashboard: a row for each ecephys session of a subject, kept for ten minutes."""

from __future__ import annotations

import functools
import json
import sys
from typing import Any

import aind_session
from aind_session.utils.codeocean_utils import get_codeocean_client
from aind_session.utils.misc_utils import get_ttl_hash


@functools.lru_cache(maxsize=500)
def get_rows(subject_id: str, ttl_hash: int | None = None) -> list[dict[str, Any]]:
    del ttl_hash
    sessions = aind_session.get_sessions(subject_id, platform="ecephys")
    return [get_row(session) for session in sorted(sessions, reverse=True)]


def get_row(session: aind_session.Session) -> dict[str, Any]:
    raw_asset = getattr(session, "raw_data_asset", None)
    sorted_assets = session.ecephys.sorted_data_assets
    try:
        annotated_probes = sorted(aind_session.ecephys.get_latest_ibl_annotations(session.id))
    except KeyError:
        annotated_probes = []
    docdb: dict[str, Any] = session.docdb
    return {
        "session": session.id,
        "date": str(session.date),
        "uploaded": session.is_uploaded,
        "genotype": (docdb.get("subject") or {}).get("genotype", "unknown"),
        "raw_asset_id": raw_asset.id if raw_asset else None,
        "raw_asset_link": get_link(raw_asset.id) if raw_asset else None,
        "s3": session.raw_data_dir.as_posix() if session.is_uploaded else None,
        "sorted": session.ecephys.is_sorted,
        "sorters": list(session.ecephys.sorter.names),
        "sortings": [
            {
                "name": asset.name,
                "failed": asset.is_sorting_error,
                "probes": list(asset.sorted_probes),
                "last line": asset.output.splitlines()[-1] if not asset.is_sorting_error else None,
            }
            for asset in reversed(sorted_assets)
        ],
        "being sorted": bool(session.ecephys.current_sorting_pipeline_computations),
        "annotated_probes": annotated_probes,
    }


def get_link(asset_id: str) -> str:
    return f"{get_codeocean_client().domain}/data-assets/{asset_id}"


def main() -> None:
    for subject_id in sys.argv[1:]:
        print(json.dumps(get_rows(subject_id, ttl_hash=get_ttl_hash(seconds=600)), indent=2))


if __name__ == "__main__":
    main()
