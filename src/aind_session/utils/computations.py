"""Runs of capsules and pipelines: finding them, their logs, and which of them failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from aind_session.lookup import by_id, computations, results
from aind_session.lookup.results import is_output_error, is_output_file_from_sorting_pipeline
from aind_session.services import codeocean
from aind_session.services.models import Computation, DataAsset

if TYPE_CHECKING:
    import datetime
    from uuid import UUID

    from codeocean.computation import ComputationState

    DateLike: TypeAlias = str | int | datetime.date | datetime.datetime

__all__ = [
    "get_output_text",
    "is_computation_error",
    "is_output_error",
    "is_output_file_from_sorting_pipeline",
    "search_computations",
]


def search_computations(
    capsule_or_pipeline_id: str | UUID,
    name: str | None = None,
    attached_data_asset_id: DataAsset | str | UUID | None = None,
    has_results: bool | None = None,
    in_progress: bool | None = None,
    computation_state: ComputationState | str | None = None,
    ttl_hash: int | None = None,
    date: DateLike | None = None,
    start_date: DateLike | None = None,
    end_date: DateLike | None = None,
) -> tuple[Computation, ...]:
    """Find runs of a capsule or pipeline.

    Code Ocean gives all of them or none: that is one request, and each filter is held here. They
    are asked for each time, as a state that is a minute old may be wrong; in a loop over many
    sessions, give a `ttl_hash`, and they are asked for once.

    Parameters
    ----------
    capsule_or_pipeline_id
        The capsule or pipeline.
    name
        The run's name, as a whole.
    attached_data_asset_id
        A data asset that was attached to it, or its ID.
    has_results
        True: with results; False: without any.
    in_progress
        True: not ended yet; False: ended, well or badly.
    computation_state
        `initializing`, `running`, `finalizing`, `completed` or `failed`.
    ttl_hash
        What came with the same number before is good enough; see `get_ttl_hash`.
    date
        The day on which it was created, by this machine's clock.
    start_date, end_date
        Both ends are included; a day as an end is that whole day. Either may be left open.

    Returns
    -------
    tuple of codeocean.computation.Computation
        Ascending by creation.

    Raises
    ------
    CodeOceanNotFoundError
        There is no such capsule or pipeline (a `ValueError`).
    InvalidFilterError
        A date or a state is none (a `ValueError`).

    Examples
    --------
    >>> pipeline = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
    >>> raw_asset = "16d46411-540a-4122-b47f-8cb2a15d593a"
    >>> [run.name for run in search_computations(pipeline, attached_data_asset_id=raw_asset)]
    ['Run With Parameters 2613011', 'Run With Parameters 9138965']
    >>> len(search_computations(pipeline, in_progress=True))
    1
    """
    return computations.find(
        by_id.as_written(capsule_or_pipeline_id),
        name=name or None,
        attached_data_asset_id=(
            by_id.asset_id(attached_data_asset_id) if attached_data_asset_id else None
        ),
        has_results=has_results,
        in_progress=in_progress,
        computation_state=computation_state or None,
        ttl_hash=ttl_hash,
        dates=computations.local_dates(date, start_date, end_date),
    )


def get_output_text(asset_or_computation_id: DataAsset | Computation | str | UUID) -> str:
    """Get the log of a run: the file `output` of a data asset or computation.

    Parameters
    ----------
    asset_or_computation_id
        Either, as its model or its ID.

    Raises
    ------
    MissingFileError
        It has none (a `FileNotFoundError`): it is no result of a run, or the run has not ended.
    CodeOceanNotFoundError
        There is neither such a data asset nor such a computation (a `ValueError`).

    Examples
    --------
    >>> get_output_text("1e11bdf5-b452-4fd9-bbb1-48383a9b0842")[-31:]
    'FULL PIPELINE time:  161658.77s'
    >>> print(get_output_text("5c7c5fa3-8555-5645-8582-085313272d75").strip())
    Running ecephys_ks4 on c58d8865-1ba4-5cea-92b6-10075150dc7e
    Started
    """
    wanted = asset_or_computation_id
    if isinstance(wanted, Computation):
        return computations.output(wanted.id)
    try:
        asset = by_id.summary_of(wanted)
    except codeocean.CodeOceanNotFoundError:
        return computations.output(by_id.as_written(wanted))
    return results.output_of_asset(asset)


def is_computation_error(computation_id_or_model: Computation | str | UUID) -> bool:
    """Tell whether a computation failed; one that has not ended has not failed.

    It failed when its state or its end status says so, its exit code is not 0, it has no results,
    its results are only `output`, or only `nextflow` and `output`, or its log tells of an error.

    Parameters
    ----------
    computation_id_or_model
        The ID, or the model.

    Examples
    --------
    >>> is_computation_error("551ef68d-016d-55ca-902e-ce067089bd7e")
    False
    >>> is_computation_error("aa3a324e-6680-5b2b-a470-1e589f2d40f8")
    True
    """
    computation = computation_id_or_model
    if not isinstance(computation, Computation):
        computation = by_id.computation(by_id.as_written(computation))
    return computations.is_failed(computation)
