"""Runs that failed: by the file `output` that each leaves, and by what else it left.

The rules are the field's working knowledge: a run's own end status says "succeeded" of many
results that cannot be used.
"""

from __future__ import annotations

from aind_session.errors import MissingFileError
from aind_session.lookup import asset_files, belonging, trail
from aind_session.lookup.questions import CODE_OCEAN
from aind_session.services import codeocean, pool
from aind_session.services.models import AssetSummary, Computation
from aind_session.services.storage import Listing

#: Texts that the log of a failed run holds.
ERRORS = (
    "Essential container in task exited",
    "Out of memory.",
    "Task failed to start - DockerTimeoutError",
    "Traceback (most recent call last):",
    "Command error:",
    "WARN: Killing running tasks",
)
#: In a sorting pipeline's log this alone is a warning: some probes may be usable.
CUDA_ERROR = "The CUDA error was:"

OUTPUT, NEXTFLOW, NWB = "output", "nextflow", "nwb"
#: What a run leaves that did not get to its results.
NO_RESULTS = frozenset({OUTPUT, NEXTFLOW})


def is_output_file_from_sorting_pipeline(output: str) -> bool:
    r"""Tell whether a log is that of a spike-sorting pipeline.

    Examples
    --------
    >>> is_output_file_from_sorting_pipeline("N E X T F L O W\nspike sorting: kilosort4")
    True
    >>> is_output_file_from_sorting_pipeline("N E X T F L O W\nface tracking")
    False
    """
    return _is_of_sorting_pipeline(_encoded(output))


def _is_of_sorting_pipeline(log: bytes) -> bool:
    lower = log.lower()
    return b"n e x t f l o w" in lower and b"sorting" in lower and b"kilosort" in lower


def is_output_error(output_text: str) -> bool:
    r"""Tell whether a log is that of a run that failed.

    Examples
    --------
    >>> is_output_error("Traceback (most recent call last):\nKeyError: 0")
    True
    >>> is_output_error("The CUDA error was: out of memory")
    True
    >>> is_output_error("N E X T F L O W\nsorting, kilosort4\nThe CUDA error was: 2")
    False
    """
    return _tells_error(_encoded(output_text))


def _tells_error(log: bytes) -> bool:
    # Judged as it came: a log can have hundreds of megabytes, and its text would be one more copy.
    if any(_encoded(error) in log for error in ERRORS):
        return True
    return _encoded(CUDA_ERROR) in log and not _is_of_sorting_pipeline(log)


def output_of_asset(asset: AssetSummary) -> str:
    """Give the log of the run that left a data asset.

    Raises
    ------
    MissingFileError
        There is none (a `FileNotFoundError`).
    """
    with trail.following(_about(asset), "output"):
        output = asset_files.read(asset, OUTPUT)
        if output is None:
            raise MissingFileError(
                f"Data asset {asset.id} ({asset.name}) has no file {OUTPUT!r} in its root: it is "
                "no result of a run, or the run failed.",
                trail=trail.lines(),
            )
        return _decoded(output)


def is_asset_error(asset: AssetSummary) -> bool:
    """Tell whether a data asset is what a failed run left.

    Parameters
    ----------
    asset
        Any data asset; one that is no result (raw data, a collection) fails only by its own state.
    """
    if asset.state.lower() == "failed":
        return True
    if asset.state.lower() == "draft":
        # Not all that the run left has been captured yet.
        return False
    if not _is_result(asset):
        return False
    with trail.following(_about(asset), "failed run"):
        root, output = pool.gather(
            lambda: asset_files.listing(asset), lambda: asset_files.read(asset, OUTPUT)
        )
        if output is None and OUTPUT in root.files:
            # S3 did not show it yet; by now it is known that Code Ocean does.
            output = asset_files.read(asset, OUTPUT)
        why = why_failed(root, output, is_sorting=belonging.is_sorted(asset.name))
        if why is not None:
            trail.tell("Data asset %s (%s) failed: %s", asset.id, asset.name, why)
        return why is not None


def why_failed(root: Listing, output: bytes | None, *, is_sorting: bool) -> str | None:
    """Say why a result is that of a failed run; None where it is not.

    Parameters
    ----------
    root
        What is in its root.
    output
        The content of its log, None where it has none.
    is_sorting
        Whether it should be the result of a spike sorting.
    """
    if output is None:
        return f"it has no file {OUTPUT!r}"
    if _tells_error(output):
        return f"its {OUTPUT!r} tells of an error"
    names = {*root.folders, *root.files}
    sorting = is_sorting or _is_of_sorting_pipeline(output)
    if sorting and not any(name == NWB or name.endswith((".nwb", ".nwb.zarr")) for name in names):
        return f"it has no folder {NWB!r}"
    return None


def output_of_computation(computation_id: str) -> str:
    """Give the log of a computation.

    Raises
    ------
    MissingFileError
        There is none (a `FileNotFoundError`): it has not ended, or left nothing.
    CodeOceanNotFoundError
        There is no such computation (a `ValueError`).
    """
    with trail.following(computation_id, "output"):
        output = _result_file(computation_id, OUTPUT)
        if output is None:
            # Is there such a computation at all? Code Ocean says 404 to both.
            codeocean.get_computation(computation_id)
            raise MissingFileError(
                f"Computation {computation_id} has no file {OUTPUT!r} among its results: it has "
                "not ended, or left nothing.",
                trail=trail.lines(),
            )
        return _decoded(output)


def is_finished(computation: Computation) -> bool:
    """Tell whether a computation has ended, well or badly."""
    return str(computation.state) in ("completed", "failed") or bool(computation.end_status)


def is_computation_error(computation: Computation) -> bool:
    """Tell whether a computation failed; one that has not ended has not failed."""
    if not is_finished(computation):
        return False
    ended_badly = (
        str(computation.state) == "failed"
        or computation.end_status not in (None, "succeeded")
        or computation.exit_code not in (None, 0)
        or computation.has_results is False
    )
    if ended_badly:
        return True
    with trail.following(computation.id, "failed run"):
        names = _result_names(computation.id)
        if OUTPUT not in names or set(names) <= NO_RESULTS:
            return True
        output = _result_file(computation.id, OUTPUT)
        return output is None or _tells_error(output)


def _is_result(asset: AssetSummary) -> bool:
    # By name as well: what is a result is known to be so though its type be unheard of.
    return asset.type == "result" or belonging.is_sorted(asset.name)


def _about(asset: AssetSummary) -> str:
    session = belonging.session_of(asset.name)
    return session.id if session is not None else asset.id


def _decoded(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _result_names(computation_id: str) -> tuple[str, ...]:
    def call() -> tuple[str, ...]:
        try:
            return tuple(name for name, _, _ in codeocean.list_result_files(computation_id))
        except codeocean.CodeOceanNotFoundError:
            return ()

    return trail.ask(
        CODE_OCEAN,
        f"list the results of computation {computation_id}",
        ("result files", computation_id),
        call,
        lambda found: ", ".join(found) or "nothing",
    )


def _result_file(computation_id: str, path: str) -> bytes | None:
    try:
        return trail.ask(
            CODE_OCEAN,
            f"read {path} of computation {computation_id}",
            ("result file", computation_id, path),
            lambda: codeocean.read_result_file(computation_id, path),
            lambda found: f"{len(found)} bytes",
        )
    except codeocean.CodeOceanNotFoundError:
        # An error is not kept: what is not there yet may be there when it is asked for again.
        return None
