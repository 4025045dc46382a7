"""What conducting runs asks of Code Ocean beside what lookups do: kinds of capsules, sharing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aind_session.services.codeocean_client import ask, ask_of_runnable, checked_id


def is_pipeline(capsule_or_pipeline_id: str) -> bool:
    """Tell whether an ID is that of a pipeline, not of a capsule.

    Raises
    ------
    CodeOceanNotFoundError
        It is neither (a `ValueError`).
    """
    return ask_of_runnable(capsule_or_pipeline_id)[1]


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
