"""What has become of computations and of new assets."""

from __future__ import annotations

from collections.abc import Callable

from aind_session.errors import ServiceError
from aind_session.lookup import computations
from aind_session.runs.conducting import Conductor
from aind_session.runs.state import Item
from aind_session.services import codeocean
from aind_session.services.models import AssetSummary, Computation, decode_computation


def look(conductor: Conductor) -> None:
    """Ask for each computation that has not ended, and for each asset that is not ready."""
    running = list(conductor.those("running"))
    making = [i for i in conductor.those("captured") if i.result and not i.result.ready]
    if not conductor.options.wait_ready:
        making = []
    for item, found in zip(running, conductor.ask([_ended(item) for item in running]), strict=True):
        if isinstance(found.error, codeocean.CodeOceanNotFoundError):
            end(conductor, item, "the computation was deleted")
        elif found.value is not None:
            computation, is_bad = found.value
            end(conductor, item, _why(computation) if is_bad else None)
    for item, asset in zip(making, conductor.ask([_asset(item) for item in making]), strict=True):
        _take_asset(conductor, item, asset.value, asset.error)


def _ended(item: Item) -> Callable[[], tuple[Computation, bool] | None]:
    def ask() -> tuple[Computation, bool] | None:
        computation = decode_computation(codeocean.get_computation(str(item.computation)))
        if not computations.is_finished(computation):
            return None
        return computation, computations.is_failed(computation)

    return ask


def _why(computation: Computation) -> str:
    if str(computation.state) == "failed" or computation.end_status not in (None, "succeeded"):
        return f"the computation ended as {computation.end_status or computation.state}"
    if computation.exit_code not in (None, 0):
        return f"the computation ended with exit code {computation.exit_code}"
    return "its results or its log are those of a failed run"


def end(conductor: Conductor, item: Item, problem: str | None) -> None:
    """Note that a computation has ended, for a reason or well."""
    attempt = item.attempts[-1]
    attempt.end, attempt.why = ("failed", problem) if problem else ("succeeded", "")
    if not problem:
        conductor.put(item, "ended" if conductor.state.label else "done")
    elif sum(a.end == "failed" for a in item.attempts) <= conductor.options.retries:
        conductor.put(item, "waiting", problem)
    else:
        conductor.put(item, "failed", f"{problem} (computation {attempt.computation})")


def _asset(item: Item) -> Callable[[], AssetSummary]:
    return lambda: codeocean.get_asset(str(item.result and item.result.asset))


def _take_asset(
    conductor: Conductor, item: Item, asset: AssetSummary | None, error: Exception | None
) -> None:
    if isinstance(error, codeocean.CodeOceanNotFoundError):
        conductor.put(item, "failed", "the data asset of its results was deleted")
    elif isinstance(error, ServiceError) or asset is None or item.result is None:
        return
    elif asset.state.lower() == "failed":
        conductor.put(item, "failed", f"data asset {asset.id} of its results could not be made")
    elif asset.state.lower() != "draft":
        item.result.ready = True
        conductor.changed()
