"""Sorting a session: what runs of the sorting pipeline are under way, and starting one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from aind_session.errors import AindSessionError
from aind_session.lookup import outputs, trail
from aind_session.lookup.questions import CODE_OCEAN
from aind_session.services import codeocean, keeping, pool
from aind_session.services.models import AssetSummary, Computation, decode_computation
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


def of_owner(capsule_or_pipeline_id: str) -> tuple[Computation, ...]:
    """Give the computations of a capsule or pipeline, ascending by creation; asked each time.

    Raises
    ------
    CodeOceanNotFoundError
        There is no capsule or pipeline of this ID (a `ValueError`).
    """
    raws = trail.ask(
        CODE_OCEAN,
        f"computations of {capsule_or_pipeline_id}",
        ("computations", capsule_or_pipeline_id),
        lambda: codeocean.list_computations(capsule_or_pipeline_id),
        lambda found: f"{len(found)} computations",
        # A state that is a minute old would let a run start twice.
        seconds=0.0,
    )
    return ascending(decode_computation(raw) for raw in raws)


def ascending(computations: Iterable[Computation]) -> tuple[Computation, ...]:
    """Sort computations by creation."""
    return tuple(sorted(computations, key=lambda c: (c.created, c.id)))


def has_attached(computation: Computation, asset_id: str) -> bool:
    """Tell whether a data asset is attached to a computation."""
    return any(attached.id == asset_id for attached in computation.data_assets or ())


def current(
    pipeline_id: str = SORTING_PIPELINE_ID, asset_id: str | None = None
) -> tuple[Computation, ...]:
    """Give the runs of a pipeline that have not ended, ascending by creation.

    Parameters
    ----------
    pipeline_id
        The pipeline.
    asset_id
        Only the runs with this data asset attached.
    """
    return tuple(
        computation
        for computation in of_owner(pipeline_id)
        if not outputs.is_finished(computation)
        and (asset_id is None or has_attached(computation, asset_id))
    )


def _launching(capsule_id: str, asset_id: str) -> tuple[Computation, ...]:
    """Give the runs of the trigger capsule that are about to launch the pipeline."""
    try:
        runs = of_owner(capsule_id)
    except AindSessionError as error:
        # A capsule whose runs are not shown may be started all the same.
        trail.tell("The runs of capsule %s are not known: %s", capsule_id, error)
        return ()
    return tuple(
        run
        for run in runs
        if not outputs.is_finished(run)
        and any(parameter.value == asset_id for parameter in run.parameters or ())
    )


# One check and start at a time in a process: two threads that both find nothing would start two.
_starting = threading.Lock()


def _new_lock() -> None:
    global _starting
    _starting = threading.Lock()


keeping.when_forked(_new_lock)


def sort(
    raw: AssetSummary,
    pipeline_type: str = PIPELINE_TYPES[0],
    trigger_capsule_id: str = SORTING_TRIGGER_CAPSULE_ID,
    override_parameters: Sequence[str] | None = None,
    *,
    skip_already_sorting: bool = True,
) -> Computation:
    """Start the sorting of a raw data asset, unless it is under way; give the run.

    Parameters
    ----------
    raw
        The raw data asset.
    pipeline_type, trigger_capsule_id, override_parameters, skip_already_sorting
        As `EcephysExtension.run_sorting` takes them.
    """
    with trail.following(raw.id, "start of a sorting"), _starting:
        if skip_already_sorting:
            runs, launching = pool.gather(
                lambda: current(asset_id=raw.id), lambda: _launching(trigger_capsule_id, raw.id)
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
        started = codeocean.run_capsule(params)
        trail.tell("Started computation %s: %s", started.id, " ".join(map(str, given)))
        return started
