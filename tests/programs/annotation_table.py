"""A table of the annotated channels of some subjects; sessions without alignment are left out."""

from __future__ import annotations

import contextlib
import json
import sys

import pandas as pd

import aind_session
import aind_session.extensions.ecephys

COLUMNS = [
    *("session_id", "device_name", "channel_number", "x", "y", "z", "axial", "lateral"),
    *("brain_region_id", "brain_region", "ccf_ap", "ccf_ml", "ccf_dv"),
]


def get_annotations(subject_id: str) -> pd.DataFrame:
    tables = []
    for session in aind_session.Subject(subject_id).sessions:
        if session.platform != "ecephys":
            continue
        # Rows without one of the columns are lost here, too.
        with contextlib.suppress(KeyError):
            records = aind_session.ecephys.get_latest_ibl_annotations(
                session.id, as_ccf_records=True
            )
            table = pd.DataFrame(records).assign(session_id=session.id)[COLUMNS]
            tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def get_genotypes(subject_id: str) -> list[str]:
    records = aind_session.Subject(subject_id).docdb
    return [record["subject"]["genotype"] for record in records if record.get("subject")]


def main() -> None:
    report = {}
    for subject_id in sys.argv[1:]:
        table = get_annotations(subject_id)
        report[subject_id] = {
            "channels": len(table),
            "devices": sorted(set(table["device_name"])),
            "deepest": round(float(table["ccf_dv"].max()), 1) if len(table) else None,
            "genotypes": sorted(set(get_genotypes(subject_id))),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
