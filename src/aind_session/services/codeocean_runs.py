"""What conducting runs asks of Code Ocean beside what lookups do: kinds of capsules, sharing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aind_session.services.codeocean_client import ask, checked_id
from aind_session.services.codeocean_errors import CodeOceanNotFoundError


def is_pipeline(capsule_or_pipeline_id: str) -> bool:
    """Tell whether an ID is that of a pipeline, not of a capsule.

    Raises
    ------
    CodeOceanNotFoundError
        It is neither (a `ValueError`).
    """
    owner = checked_id(capsule_or_pipeline_id, "capsule or pipeline")
    try:
        ask("GET", f"capsules/{owner}")
    except CodeOceanNotFoundError:
        ask("GET", f"pipelines/{owner}")
        return True
    return False


def share_asset(asset_id: str, permissions: Mapping[str, Any]) -> None:
    """Set who may see a data asset. Sent once; to send it again does no harm.

    Parameters
    ----------
    asset_id
        The data asset.
    permissions
        As the API takes them: `{"everyone": "viewer"}`.
    """
    ask("POST", f"data_assets/{checked_id(asset_id, 'data asset')}/permissions", json=permissions)
