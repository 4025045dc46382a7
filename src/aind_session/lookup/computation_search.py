"""Finding runs of a capsule or pipeline: by name, by what was attached, by state, by date."""

from __future__ import annotations

import contextlib
import datetime
import difflib
from collections.abc import Sequence

import msgspec

from aind_session.errors import BadAnswerError, InvalidFilterError
from aind_session.identifiers import DateRange, parse_dates
from aind_session.lookup import trail
from aind_session.lookup.questions import CODE_OCEAN
from aind_session.services import codeocean
from aind_session.services.models import Computation, decode_computation, decode_computations
from aind_session.services.redact import excerpt

#: States in which a computation has ended.
ENDED = frozenset({"completed", "failed"})
STATES = ("initializing", "running", "finalizing", "completed", "failed")


class ComputationSummary(msgspec.Struct, frozen=True):
    """What a search looks at of a computation; `raw` is all of it."""

    id: str
    name: str
    created: int
    state: str
    ended: bool
    has_results: bool
    attached: tuple[str, ...]
    raw: bytes

    def in_range(self, dates: DateRange) -> bool:
        """Tell whether it was created within some dates, by the clock of this machine."""
        if dates.is_open:
            return True
        try:
            created = datetime.datetime.fromtimestamp(self.created)
        except (ValueError, OverflowError, OSError):
            return False
        return dates.contains(created)


class _Attached(msgspec.Struct):
    id: str = ""


class _Wire(msgspec.Struct):
    id: str
    name: str = ""
    created: int = 0
    state: str = ""
    end_status: str | None = None
    has_results: bool | None = None
    data_assets: list[_Attached] | None = None


_wire = msgspec.json.Decoder(_Wire)


def summarise(raw: bytes) -> ComputationSummary:
    """Read what a search looks at from a computation's JSON.

    Examples
    --------
    >>> summarise(b'{"id": "1d5c", "created": 1702613011, "state": "running"}').ended
    False
    """
    wire = None
    with contextlib.suppress(msgspec.MsgspecError):
        wire = _wire.decode(raw)
    if wire is None or not wire.id:
        # The lenient model knows every oddity.
        odd = decode_computation(raw)
        attached = [_Attached(one.id) for one in odd.data_assets or ()]
        wire = _Wire(
            id=odd.id,
            name=odd.name or "",
            created=int(odd.created or 0),
            state=str(odd.state),
            end_status=odd.end_status and str(odd.end_status),
            has_results=odd.has_results,
            data_assets=attached,
        )
    return ComputationSummary(
        id=wire.id,
        name=wire.name,
        created=wire.created,
        state=wire.state,
        ended=wire.state in ENDED or bool(wire.end_status),
        has_results=bool(wire.has_results),
        attached=tuple(one.id for one in wire.data_assets or ()),
        raw=raw,
    )


def _summarise_or_tell(raw: bytes) -> ComputationSummary | None:
    try:
        return summarise(raw)
    except BadAnswerError as error:
        trail.logger.warning("Left out of the computations: %s", error)
        return None


def of_owner(
    capsule_or_pipeline_id: str, ttl_hash: int | None = None
) -> tuple[ComputationSummary, ...]:
    """Give all computations of a capsule or pipeline, ascending by creation.

    Asked each time, since what is a minute old may have started or ended; with a hash, once for
    each hash.

    Raises
    ------
    CodeOceanNotFoundError
        There is no capsule or pipeline of this ID (a `ValueError`).
    """

    def call() -> tuple[ComputationSummary, ...]:
        listed = codeocean.list_computations(capsule_or_pipeline_id)
        found = [one for raw in listed if (one := _summarise_or_tell(raw)) is not None]
        if listed and not found:
            raise BadAnswerError(
                f"Code Ocean's list of computations holds none: {excerpt(listed[0])}",
                service=CODE_OCEAN,
            )
        return tuple(sorted(found, key=lambda c: (c.created, c.id)))

    return trail.ask(
        CODE_OCEAN,
        f"computations of {capsule_or_pipeline_id}",
        ("computations", capsule_or_pipeline_id, str(ttl_hash)),
        call,
        lambda found: f"{len(found)} computations",
        seconds=0.0 if ttl_hash is None else None,
    )


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
) -> tuple[Computation, ...]:
    """Find computations, ascending by creation; every filter that is given must hold.

    Raises
    ------
    InvalidFilterError
        There is no such state (a `ValueError`).
    """
    wanted = dates or DateRange()
    with trail.following(capsule_or_pipeline_id, "computations"):
        every = of_owner(capsule_or_pipeline_id, ttl_hash)
        if computation_state is not None:
            computation_state = _checked_state(computation_state, every)
        found = [
            one
            for one in every
            if (name is None or one.name == name)
            and (attached_data_asset_id is None or attached_data_asset_id in one.attached)
            and (has_results is None or one.has_results == has_results)
            and (in_progress is None or one.ended != in_progress)
            and (computation_state is None or one.state == computation_state)
            and one.in_range(wanted)
        ]
        if not found:
            trail.tell(
                "None of the %d computations of %s is as asked for",
                len(every),
                capsule_or_pipeline_id,
            )
        return decode_computations(one.raw for one in found)


def _checked_state(state: str, every: Sequence[ComputationSummary]) -> str:
    wanted = str(getattr(state, "value", state)).lower()
    # The service may know states that this package does not know yet.
    if wanted not in STATES and all(one.state != wanted for one in every):
        near = difflib.get_close_matches(wanted, STATES, n=1)
        advice = f"Did you mean {near[0]!r}? " if near else ""
        raise InvalidFilterError(
            f"{wanted!r:.100} is no state of a computation. {advice}There are: {', '.join(STATES)}"
        )
    return wanted


def local_dates(date: object, start: object, end: object) -> DateRange:
    """Read date filters for instants: with a time zone, they are put in this machine's."""
    return parse_dates(*(_local(value) for value in (date, start, end)))


def _local(value: object) -> object:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone().replace(tzinfo=None)
    return value
