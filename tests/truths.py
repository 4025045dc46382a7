"""What is true of an invented session, by the names that tests ask for."""

from __future__ import annotations

from typing import Any

from aind_session.catalogue.invent import SessionTruth


def basic_truth(of: SessionTruth) -> dict[str, Any]:
    """Give what every session can be asked for."""
    return {
        "assets": of.assets,
        "raw asset": of.raw_asset,
        "folder": of.location,
        "uploaded": of.uploaded,
        "modalities": of.modalities,
        "recorded": of.recorded,
        "genotype": of.genotype,
    }
