"""The sorting pipeline: its runs in progress, and starting one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aind_session import context
from aind_session.errors import AccessDeniedError, BadAnswerError
from aind_session.lookup import computations
from aind_session.query import CODE_OCEAN
from aind_session.services import codeocean
from aind_session.services.models import AssetSummary
from aind_session.services.sdk import Computation, RunParams
from aind_session.threads import gather
from aind_session.trace import note, tracing

#: Launches the pipeline, by positional parameters: pipeline type, ID of the raw data asset.
TRIGGER_CAPSULE_ID = "eb5a26e4-a391-4d79-9da5-1ab65b71253f"
PIPELINE_ID = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
#: What the capsule launches by default.
PIPELINE_TYPE = "ecephys_ks25"


def current(pipeline_id: str, asset_id: str | None = None) -> tuple[Computation, ...]:
    """Return the runs of a pipeline (with an asset attached) that have not ended, ascending."""
    return computations.find(pipeline_id, attached_data_asset_id=asset_id, in_progress=True)


def _launching(capsule_id: str, asset_id: str) -> tuple[Computation, ...]:
    """Return the runs of the trigger capsule that are about to launch the pipeline."""
    try:
        runs = computations.find(capsule_id, in_progress=True, complete=True)
    except (codeocean.CodeOceanNotFoundError, AccessDeniedError) as error:
        # A capsule whose runs are hidden may be started all the same. If the request failed, one
        # may be running: that is an error, not a second start.
        note("The runs of capsule %s cannot be listed: %s", capsule_id, error)
        return ()
    return tuple(r for r in runs if any(p.value == asset_id for p in r.parameters or ()))


def sort(
    raw: AssetSummary,
    pipeline_type: str,
    trigger_capsule_id: str,
    override_parameters: Sequence[str] | None,
    *,
    pipeline_id: str | None,
    run: Callable[[RunParams], Computation] = codeocean.run_capsule,
) -> Computation:
    """Start the sorting of a raw data asset, or return the run in progress.

    Without a `pipeline_id`, runs in progress are not looked for.
    """
    given = [pipeline_type, raw.id] if override_parameters is None else override_parameters

    def start() -> Computation:
        params = RunParams(
            capsule_id=trigger_capsule_id, parameters=[str(value) for value in given]
        )
        started = run(params)
        note("Started computation %s: %s", started.id, " ".join(map(str, given)))
        return started

    with tracing(raw.id, "start of a sorting"):
        if pipeline_id is None:
            return start()
        # Under one key: of threads that check at the same time, one starts, and all get its run.
        return context.current().cache.get(
            ("start of a sorting", raw.id),
            lambda: _running(raw, pipeline_id, trigger_capsule_id) or start(),
            seconds=0.0,
        )


def _running(raw: AssetSummary, pipeline_id: str, capsule_id: str) -> Computation | None:
    try:
        runs, launching = gather(
            lambda: computations.find(
                pipeline_id, attached_data_asset_id=raw.id, in_progress=True, complete=True
            ),
            lambda: _launching(capsule_id, raw.id),
        )
    except BadAnswerError as error:
        raise BadAnswerError(
            f"Nothing is started: {str(error).rstrip('.')}. `skip_already_sorting=False` starts "
            "the sorting all the same.",
            service=CODE_OCEAN,
        ) from error
    found: tuple[Computation, ...] = runs or launching
    if not found:
        return None
    note(
        "Data asset %s (%s) is being sorted: computation %s is returned, no other is started",
        *(raw.id, raw.name, found[-1].id),
    )
    return found[-1]
