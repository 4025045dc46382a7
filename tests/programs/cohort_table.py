"""A table of an ecephys cohort: what was recorded, sorted and aligned, one row a probe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import polars as pl

import aind_session


def get_probe_rows(session: aind_session.Session) -> Iterator[dict[str, Any]]:
    facts = {
        "session_id": session.id,
        "subject_id": session.subject_id,
        "date": str(session.date),
        "genotype": session.docdb.get("subject", {}).get("genotype"),
        "modalities": list(session.modalities),
        "raw_dir": session.raw_data_dir.as_posix(),
    }
    good = [a for a in session.ecephys.sorted_data_assets if not a.is_sorting_error]
    if not good:
        return
    latest = good[-1]
    try:
        records = aind_session.ecephys.get_latest_ibl_annotations(session.id, as_ccf_records=True)
    except KeyError:
        records = []
    for probe in latest.sorted_probes:
        channels = [r for r in records if str(r["probe"]).startswith(probe)]
        yield {
            **facts,
            "probe": probe,
            "sorter": latest.sorter_name,
            "analyzer": latest.is_sorting_analyzer,
            "sorted_dir": latest.path.as_posix(),
            "channels": len(channels),
            "regions": sorted({str(r["brain_region"]) for r in channels}),
            "deepest_ccf_dv": max((float(r["ccf_dv"]) for r in channels), default=None),
        }


def get_table(subject_ids: list[str]) -> pl.DataFrame:
    rows = [
        row
        for subject_id in subject_ids
        for session in aind_session.get_sessions(subject_id, platform="ecephys")
        if session.is_uploaded and session.ecephys.is_sorted
        for row in get_probe_rows(session)
    ]
    return pl.DataFrame(rows, infer_schema_length=None).sort("session_id", "probe")


def main() -> None:
    table = get_table(sys.argv[2:])
    by_subject = table.group_by("subject_id").agg(
        pl.col("session_id").n_unique().alias("sessions"),
        pl.len().alias("probes"),
        pl.col("sorter").unique().sort().str.join(", "),
        (pl.col("channels") > 0).sum().alias("aligned"),
    )
    by_subject.sort("subject_id").write_csv(sys.argv[1])


if __name__ == "__main__":
    main()
