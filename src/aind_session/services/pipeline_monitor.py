"""Settings of a monitor capsule: a run to start, wait for, and capture as a data asset."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from aind_session.errors import MissingExtraError
from aind_session.services.sdk import RunParams

#: The models read the environment: under a prefix that no variable begins with, they do not.
_NO_ENVIRONMENT = "_AIND_SESSION_MONITOR_READS_NO_ENVIRONMENT_"


def load(what: str) -> Any:
    """Import the models of the monitor's settings."""
    try:
        return importlib.import_module("aind_codeocean_pipeline_monitor.models")
    except ImportError as error:
        raise MissingExtraError(f"{MissingExtraError.of('monitor', what)}. {_WITHOUT}") from error


_WITHOUT = "Without a monitor (pipeline_monitor_capsule_id=None), its results are not captured."


def settings_of(
    models: Any,
    run_params: RunParams,
    *,
    name: str,
    tags: Sequence[str],
    custom_metadata: dict[str, str],
) -> str:
    """Return the monitor's settings as JSON: its one parameter."""
    capture = models.CaptureSettings(
        _env_prefix=_NO_ENVIRONMENT,
        name=name,
        mount=name,
        tags=list(tags),
        custom_metadata=dict(custom_metadata),
    )
    settings = models.PipelineMonitorSettings(
        _env_prefix=_NO_ENVIRONMENT, run_params=run_params, capture_settings=capture
    )
    # Without unset fields, which the monitor's SDK, if it is older, may not know.
    text: str = settings.model_dump_json(exclude_none=True)
    return text
