"""Sortings to test with, and the requests about them."""

from __future__ import annotations

import aind_session
from aind_session.extensions.ecephys import EcephysExtension
from aind_session.sandbox import Catalogue, Sandbox
from aind_session.sandbox.factory import result_asset
from aind_session.sandbox.shapes import RESULTS_BUCKET, stamp

DOCUMENTED = "ecephys_676909_2023-12-13_13-43-40"
FIRST, LATEST = "1e11bdf5-b452-4fd9-bbb1-48383a9b0842", "a2a54575-b5ca-4cf0-acd0-2933e18bcb2d"
RAW = "16d46411-540a-4122-b47f-8cb2a15d593a"
PROBES = ("ProbeA", "ProbeB", "ProbeC", "ProbeD", "ProbeE", "ProbeF")
INVENTED = "ecephys_999997_2024-05-01_10-00-00"


def ecephys(session_id: str = DOCUMENTED) -> EcephysExtension:
    return aind_session.Session(session_id).ecephys


def add_sorting(
    catalogue: Catalogue,
    session_id: str,
    created: int,
    files: dict[str, str],
    label: str = "sorted",
    bucket: str | None = None,
) -> str:
    name = f"{session_id}_{label}_{stamp(created)}"
    asset_id = f"00000000-0000-4000-8000-{created:012d}"
    asset = result_asset(
        name,
        asset_id=asset_id,
        created=created,
        subject=session_id.split("_")[-3],
        platform="ecephys",
        bucket=bucket,
    )
    catalogue.add_asset(asset)
    for key, text in files.items():
        where = (bucket, f"{name}/{key}") if bucket else (RESULTS_BUCKET, f"{asset_id}/{key}")
        catalogue.add_object(*where, text)
    return asset_id


def asked(box: Sandbox) -> list[tuple[str, str]]:
    return [(r.service, f"{r.path}?{r.query}") for r in box.requests]
