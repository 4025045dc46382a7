"""Computations: finding those of a capsule or pipeline, their logs, which of them failed."""

from __future__ import annotations

import contextlib
import datetime
import difflib
import re
from collections.abc import Iterable, Sequence

import msgspec

from aind_session.errors import BadAnswerError, InvalidFilterError, MissingFileError
from aind_session.identifiers import DateRange, parse_dates
from aind_session.lookup import results
from aind_session.query import CODE_OCEAN, count, query
from aind_session.services import codeocean
from aind_session.services.decode import UNDECODABLE, decode_strict
from aind_session.services.models import decode_computation, decode_computations
from aind_session.services.redact import excerpt
from aind_session.services.s3 import Listing
from aind_session.services.sdk import Computation
from aind_session.trace import lines as trace_lines
from aind_session.trace import logger, note, tracing

#: States in which a computation has ended.
ENDED = frozenset({"completed", "failed"})
#: Results of a run that did not get to any.
NO_RESULTS = frozenset({results.OUTPUT, "nextflow"})
# Patterns in the JSON of a computation that cannot be decoded.
_HAS_ENDED = re.compile(rb'"state"\s*:\s*"(?:completed|failed)"')
_SHOWS_ASSETS = re.compile(rb'"data_assets"\s*:\s*\[\s*\{')
STATES = ("initializing", "running", "finalizing", "completed", "failed")


class _Attached(msgspec.Struct):
    id: str


class _Inputs(msgspec.Struct):
    data_assets: list[_Attached] | None = None


class ComputationSummary(msgspec.Struct):
    """The fields of a computation that a search compares; `raw` is all of it.

    Faster to read than the SDK's model: a pipeline can have thousands of runs. One that cannot be
    read has no ID. `data_assets` is None if the JSON does not show all of them.
    """

    id: str
    name: str = ""
    created: int = 0
    state: str = ""
    end_status: str | None = None
    has_results: bool | None = None
    data_assets: list[_Attached] | None = None
    raw: bytes = b""

    def is_created_within(self, dates: DateRange) -> bool:
        """Return True if it was created within some dates, by the clock of this machine."""
        if dates.is_open:
            return True
        try:
            created = datetime.datetime.fromtimestamp(self.created)
        except (ValueError, OverflowError, OSError):
            return False
        return dates.contains(created)


_decoder = msgspec.json.Decoder(ComputationSummary)
_inputs = msgspec.json.Decoder(_Inputs)


def summarise(raw: bytes) -> ComputationSummary:
    """Read the fields that a search compares from a computation's JSON."""
    found = None
    with contextlib.suppress(*UNDECODABLE):
        found = _decoder.decode(raw)
    if found is None or not found.id:
        try:
            found = _summarise_odd(raw)
        except BadAnswerError as error:
            logger.warning("A computation cannot be read: %s", error)
            found = ComputationSummary(id="")
    found.raw = raw
    return found


def _summarise_odd(raw: bytes) -> ComputationSummary:
    # The lenient model accepts every oddity.
    odd = decode_computation(raw)
    return ComputationSummary(
        id=odd.id,
        name=odd.name or "",
        created=int(odd.created or 0),
        state=str(odd.state),
        end_status=odd.end_status and str(odd.end_status),
        has_results=odd.has_results,
        data_assets=_data_assets_shown(raw),
    )


def _data_assets_shown(raw: bytes) -> list[_Attached] | None:
    """Return the data assets in a computation's JSON; None if it does not show all of them."""
    with contextlib.suppress(*UNDECODABLE):
        return _inputs.decode(decode_strict(raw, null_if_infinite=True)[1]).data_assets
    return None


def unreadable_may_have(raw: bytes, asset_ids: Iterable[str], *, in_progress: bool) -> bool:
    """Whether a computation that cannot be read may have data assets attached, by its text.

    With `in_progress`, one that has ended does not count.

    Examples
    --------
    >>> raw = b'{"state": "running", "data_assets": [{"id": "8ad5f1a4"}]}'
    >>> unreadable_may_have(raw, ["8ad5f1a4"], in_progress=True)
    True
    >>> unreadable_may_have(raw, ["another"], in_progress=True)
    False
    """
    if in_progress and _HAS_ENDED.search(raw):
        return False
    return not _SHOWS_ASSETS.search(raw) or all(one.encode() in raw for one in asset_ids)


def of_owner(
    capsule_or_pipeline_id: str, ttl_hash: int | None = None
) -> tuple[ComputationSummary, ...]:
    """Return all computations of a capsule or pipeline, ascending by creation.

    One that cannot be read has no ID: it exists all the same. Requested each time, as what is a
    minute old may have started or ended; with a hash, once for each hash.
    """
    if ttl_hash is None:
        return _listed_now(capsule_or_pipeline_id)
    return _listed(capsule_or_pipeline_id, str(ttl_hash))


@query(CODE_OCEAN, "computations of {0}", count("computation"))
def _listed(capsule_or_pipeline_id: str, ttl_hash: str) -> tuple[ComputationSummary, ...]:
    return _list(capsule_or_pipeline_id)


@query(CODE_OCEAN, "computations of {0}", count("computation"), seconds=0.0)
def _listed_now(capsule_or_pipeline_id: str) -> tuple[ComputationSummary, ...]:
    return _list(capsule_or_pipeline_id)


def _list(capsule_or_pipeline_id: str) -> tuple[ComputationSummary, ...]:
    listed = codeocean.list_computations(capsule_or_pipeline_id)
    found = [summarise(raw) for raw in listed]
    if listed and not any(one.id for one in found):
        raise BadAnswerError(
            f"Code Ocean's list of computations has no valid one: {excerpt(listed[0])}",
            service=CODE_OCEAN,
        )
    return tuple(sorted(found, key=lambda c: (c.created, c.id)))


def find(
    capsule_or_pipeline_id: str,
    *,
    name: str | None = None,
    attached_data_asset_id: str | None = None,
    has_results: bool | None = None,
    in_progress: bool | None = None,
    computation_state: str | None = None,
    ttl_hash: int | None = None,
    dates: DateRange | None = None,
    complete: bool = False,
) -> tuple[Computation, ...]:
    """Find computations, ascending by creation; every filter that is given must hold.

    With `complete`, a `BadAnswerError` is raised if one that cannot be read may have the data
    asset attached and be in progress.
    """
    wanted = dates or DateRange()
    with tracing(capsule_or_pipeline_id, "computations"):
        every = of_owner(capsule_or_pipeline_id, ttl_hash)
        if computation_state is not None:
            computation_state = _checked_state(computation_state, every)
        found = [
            one
            for one in every
            if one.id
            and (name is None or one.name == name)
            and (has_results is None or bool(one.has_results) == has_results)
            and (in_progress is None or is_finished(one) != in_progress)
            and (computation_state is None or one.state == computation_state)
            and one.is_created_within(wanted)
            and (
                attached_data_asset_id is None
                or _has_attached(one, attached_data_asset_id, complete)
            )
        ]
        if complete and not found:
            _require_readable(every, capsule_or_pipeline_id, attached_data_asset_id)
        if not found:
            note(
                "None of the %d computations of %s matches",
                len(every),
                capsule_or_pipeline_id,
            )
        return decode_computations(one.raw for one in found)


def _has_attached(one: ComputationSummary, asset_id: str, complete: bool) -> bool:
    if one.data_assets is None and complete:
        # A list may leave out data assets that the computation itself shows.
        found = decode_computation(codeocean.get_computation(one.id))
        return any(asset.id == asset_id for asset in found.data_assets or ())
    return any(asset.id == asset_id for asset in one.data_assets or ())


def _require_readable(
    every: Sequence[ComputationSummary], owner: str, asset_id: str | None
) -> None:
    ids = [asset_id] if asset_id else []
    unsure = [c for c in every if not c.id and unreadable_may_have(c.raw, ids, in_progress=True)]
    if unsure:
        raise BadAnswerError(
            f"{len(unsure)} of the {len(every)} computations of {owner} cannot be read and may be "
            f"in progress: {excerpt(unsure[0].raw)}",
            service=CODE_OCEAN,
        )


def _checked_state(state: str, every: Sequence[ComputationSummary]) -> str:
    wanted = str(getattr(state, "value", state)).lower()
    # The service may have states that this package does not know yet.
    if wanted not in STATES and all(one.state != wanted for one in every):
        near = difflib.get_close_matches(wanted, STATES, n=1)
        advice = f"Did you mean {near[0]!r}? " if near else ""
        raise InvalidFilterError(
            f"{wanted!r:.100} is not a valid state of a computation. {advice}"
            f"Valid states: {', '.join(STATES)}"
        )
    return wanted


def local_dates(date: object, start: object, end: object) -> DateRange:
    """Read date filters for instants; those with a time zone are converted to this machine's."""
    return parse_dates(*(_local(value) for value in (date, start, end)))


def _local(value: object) -> object:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone().replace(tzinfo=None)
    return value


# -- ended, failed ---------------------------------------------------------------------------------


def is_finished(computation: Computation | ComputationSummary) -> bool:
    """Whether a computation has ended, well or badly."""
    return str(computation.state) in ENDED or bool(computation.end_status)


def why_failed(computation: Computation, *, is_sorting: bool = False) -> str | None:
    """Return why a computation failed; None if it did not, or has not ended.

    The result of a spike sorting needs sorted streams, as in `results.why_failed`.
    """
    if not is_finished(computation):
        return None
    if str(computation.state) == "failed" or computation.end_status not in (None, "succeeded"):
        return f"the computation ended as {computation.end_status or computation.state}"
    if computation.exit_code not in (None, 0):
        return f"the computation ended with exit code {computation.exit_code}"
    if computation.has_results is False:
        return "it left no results"
    with tracing(computation.id, "failed run"):
        names = _result_names(computation.id)
        if set(names) <= NO_RESULTS:
            return f"it left only {' and '.join(sorted(names))}" if names else "it left no results"
        output = _result_file(computation.id, results.OUTPUT) if results.OUTPUT in names else None
        why = results.why_failed(Listing(folders=names), output, is_sorting=is_sorting)
        return f"its result failed: {why}" if why else None


def output(computation_id: str) -> str:
    """Return the log of a computation."""
    with tracing(computation_id, "output"):
        log = _result_file(computation_id, results.OUTPUT)
        if log is None:
            # Code Ocean answers 404 as well if the computation itself does not exist.
            codeocean.get_computation(computation_id)
            raise MissingFileError(
                f"Computation {computation_id} has no file {results.OUTPUT!r} among its results: "
                "it has not ended, or left no results.",
                trail=trace_lines(),
            )
        return log.decode("utf-8", "replace")


@query(
    CODE_OCEAN,
    "list the results of computation {0}",
    lambda names: ", ".join(names) or "nothing",
)
def _result_names(computation_id: str) -> tuple[str, ...]:
    try:
        return tuple(name for name, _, _ in codeocean.list_result_files(computation_id))
    except codeocean.CodeOceanNotFoundError:
        return ()


@query(CODE_OCEAN, "read {1} of computation {0}", lambda found: f"{len(found)} bytes")
def _read_result_file(computation_id: str, path: str) -> bytes:
    return codeocean.read_result_file(computation_id, path)


def _result_file(computation_id: str, path: str) -> bytes | None:
    try:
        return _read_result_file(computation_id, path)
    except codeocean.CodeOceanNotFoundError:
        # Errors are not cached: the file may be there at the next request.
        return None
