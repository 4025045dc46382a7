"""Sorting a session: what runs of the sorting pipeline are under way, and starting one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from aind_session.errors import AccessDeniedError
from aind_session.forking import when_forked
from aind_session.lookup import computation_search, trail
from aind_session.services import codeocean, pool
from aind_session.services.models import AssetSummary, Computation
from aind_session.services.sdk import RunParams

#: Launches the pipeline, by positional parameters: pipeline type, ID of the raw data asset.
SORTING_TRIGGER_CAPSULE_ID = "eb5a26e4-a391-4d79-9da5-1ab65b71253f"
SORTING_PIPELINE_ID = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
#: What the capsule can launch, the default first.
PIPELINE_TYPES = (
    "ecephys_ks25",
    "ecephys_ks25_v0.1.0",
    "ecephys_opto_ks25",
    "ecephys_ks4",
    "ecephys_sc2",
)


def current(pipeline_id: str, asset_id: str | None = None) -> tuple[Computation, ...]:
    """Give the runs of a pipeline that have not ended, ascending by creation.

    Parameters
    ----------
    pipeline_id
        The pipeline.
    asset_id
        Only the runs with this data asset attached.
    """
    return computation_search.find(pipeline_id, attached_data_asset_id=asset_id, in_progress=True)


def _launching(capsule_id: str, asset_id: str) -> tuple[Computation, ...]:
    """Give the runs of the trigger capsule that are about to launch the pipeline."""
    try:
        runs = computation_search.find(capsule_id, in_progress=True)
    except (codeocean.CodeOceanNotFoundError, AccessDeniedError) as error:
        # A capsule whose runs are not shown may be started all the same. One of which Code Ocean
        # does not tell just now may be running: that is an error, not a second start.
        trail.tell("The runs of capsule %s are not known: %s", capsule_id, error)
        return ()
    return tuple(
        run
        for run in runs
        if any(parameter.value == asset_id for parameter in run.parameters or ())
    )


# One check and start at a time in a process: two threads that both find nothing would start two.
_starting = threading.Lock()


def _new_lock() -> None:
    global _starting
    _starting = threading.Lock()


when_forked(_new_lock)


def sort(
    raw: AssetSummary,
    pipeline_type: str,
    trigger_capsule_id: str,
    override_parameters: Sequence[str] | None,
    *,
    pipeline_id: str | None,
    start: Callable[[RunParams], Computation] | None = None,
) -> Computation:
    """Start the sorting of a raw data asset, unless it is under way; give the run.

    Parameters
    ----------
    raw
        The raw data asset.
    pipeline_type, trigger_capsule_id, override_parameters
        As `EcephysExtension.run_sorting` takes them.
    pipeline_id
        The pipeline, whose runs are looked at first; None: it is started whatever is under way.
    start
        Starts the run; by default the package's own client does.
    """
    with trail.following(raw.id, "start of a sorting"), _starting:
        if pipeline_id is not None:
            runs, launching = pool.gather(
                lambda: current(pipeline_id, raw.id), lambda: _launching(trigger_capsule_id, raw.id)
            )
            under_way: Computation
            for under_way in (*reversed(runs), *reversed(launching)):
                trail.tell(
                    "Data asset %s (%s) is being sorted: no other sorting is started beside "
                    "computation %s",
                    raw.id,
                    raw.name,
                    under_way.id,
                )
                return under_way
        given = [pipeline_type, raw.id] if override_parameters is None else override_parameters
        params = RunParams(
            capsule_id=trigger_capsule_id, parameters=[str(value) for value in given]
        )
        started = (start or codeocean.run_capsule)(params)
        trail.tell("Started computation %s: %s", started.id, " ".join(map(str, given)))
        return started
