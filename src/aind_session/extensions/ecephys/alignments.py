"""Alignments of probes to the brain, curated in the IBL alignment app and stored in DocDB.

A derived record's quality control has an evaluation named after session and probe; the last of
its curations is a JSON text with the place of each channel. Records are large: a first query
fetches names and times only, to find the record with the newest alignment of each probe.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, NamedTuple

import msgspec

from aind_session.errors import BadAnswerError, MissingAlignmentError
from aind_session.identifiers import SessionID, parse_session_id
from aind_session.lookup.failures import Failures
from aind_session.query import DOCDB, count, query
from aind_session.records.quality_control import Evaluation, QualityControl
from aind_session.records.shape import at
from aind_session.records.times import in_utc
from aind_session.services import docdb
from aind_session.services.metadata import SCHEMAS
from aind_session.threads import outcomes
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

#: The name of an evaluation that holds a probe's alignment begins so.
EVALUATION_PREFIX = "Probe Alignment for"
_NAME = re.compile(rf"\s*{EVALUATION_PREFIX}\b", re.IGNORECASE)
# The part of a derived asset's name between session and probe.
_DERIVED = re.compile(r".*_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_")
_BEGIN = datetime(1970, 1, 1, tzinfo=timezone.utc)

CHANNELS, CCF_CHANNELS = "channel_results", "ccf_channel_results"
#: Coordinates are in millimeters if the largest is below the first, in micrometers if it is below
#: the second: no mouse brain is larger.
MILLIMETERS, MICROMETERS = 20.0, 20_000.0

_CHANNEL_KEYS = ("x", "y", "z", "axial", "lateral", "brain_region_id", "brain_region")

Alignments = dict[str, dict[str, Any]]


class _Found(NamedTuple):
    """An alignment of a probe, and the record that holds it."""

    probe: str
    created: datetime
    schema: str
    record_id: str
    record: str

    def fetch(self, session: SessionID) -> tuple[bytes, ...]:
        """Request the record's whole quality control."""
        # The session is an argument, so that refreshing it drops this record.
        return _quality_control(self.schema, self.record_id, self.record, session.id)


# The fields of a record that show whether it has alignments, and when they were made.
_NAMES = (
    *("name", "created", "_created", "quality_control.schema_version"),
    *(f"quality_control.evaluations.{key}" for key in ("name", "created")),
    *(
        f"quality_control.{metrics}.{key}"
        for metrics in ("evaluations.metrics", "metrics")
        for key in ("name", "tags", "status_history")
    ),
)


def latest(session: SessionID) -> Alignments:
    """Return the newest alignment of each probe, as saved, across all of a session's assets."""
    with tracing(session.id, "probe alignments"):
        failures = Failures("newer probe alignments")
        candidates = _candidates(session, failures)
        # The newest of each probe at the same time, into the cache.
        outcomes(*(partial(some[0].fetch, session) for some in candidates.values()))
        found: Alignments = {}
        for probe in sorted(candidates):
            curations = (_curation(session, one, failures) for one in candidates[probe])
            newest = next((one for one in curations if one is not None), None)
            if newest is not None:
                found[probe] = newest
        if not found:
            failures.raise_error()
            raise MissingAlignmentError(
                f"{session.id} has no aligned probe: no quality control of its derived data "
                f"assets, in either schema of DocDB, has a usable 'Probe Alignment for "
                f"...{session.id}_<probe>'.",
                trail=trace_lines(),
            )
        failures.warn()
        return found


def _candidates(session: SessionID, failures: Failures) -> dict[str, list[_Found]]:
    """Return the alignments of each probe, the newest first."""
    answers = outcomes(*(partial(_named, schema, session.id) for schema in SCHEMAS))
    found: dict[str, list[_Found]] = {}
    for schema, outcome in zip(SCHEMAS, answers, strict=True):
        for raw in failures.value_or((), outcome, DOCDB):
            record = msgspec.json.decode(raw)
            written = in_utc(record.get("created")) or in_utc(record.get("_created")) or _BEGIN
            place = schema, str(record.get("_id")), str(record.get("name") or "")
            for evaluation, probe in _aligned(session, record):
                one = _Found(probe, _created(evaluation) or written, *place)
                found.setdefault(probe, []).append(one)
    for some in found.values():
        # If both schemas have the same one, schema 1.x comes first: it is kept up to date, the
        # upgrade copies it once.
        some.sort(key=lambda c: c.created, reverse=True)
    return found


@query(DOCDB, "names in the quality control of {1}'s records ({0})", count("record"))
def _named(schema: str, session_id: str) -> tuple[bytes, ...]:
    session = parse_session_id(session_id)
    spellings = {session.id, session.bare, f"ecephys_{session.bare}"}
    match = {
        # Derived data by name, not by `data_level`: copied descriptions contain "raw".
        "$or": [{"name": {"$regex": f"^{re.escape(name)}_"}} for name in sorted(spellings)],
        "quality_control": {"$ne": None},
    }
    return _fetch(schema, match, _NAMES)


def _fetch(schema: str, match: Mapping[str, Any], fields: Sequence[str]) -> tuple[bytes, ...]:
    """Fetch some fields of the matching records, as JSON."""
    pipeline: list[dict[str, Any]] = [{"$match": match}, {"$project": dict.fromkeys(fields, 1)}]
    return tuple(map(msgspec.json.encode, docdb.aggregate(schema, pipeline)))


def _aligned(session: SessionID, record: Mapping[str, Any]) -> Iterator[tuple[Evaluation, str]]:
    """Yield the evaluations of a record that align a probe, and the probe."""
    for evaluation in QualityControl(record.get("quality_control")).evaluations:
        names = (evaluation.name, *(metric.name for metric in evaluation.metrics))
        probes = (probe_of(name or "", session) for name in names)
        if (probe := next(filter(None, probes), None)) is not None:
            yield evaluation, probe


def probe_of(name: str, session: SessionID) -> str | None:
    """Return the probe in the name of an evaluation.

    Examples
    --------
    >>> from aind_session.identifiers import parse_session_id
    >>> session = parse_session_id("ecephys_795555_2025-08-26_11-29-20")
    >>> probe_of("Probe Alignment for ecephys_795555_2025-08-26_11-29-20_ProbeA_0", session)
    'ProbeA_0'
    >>> probe_of("Drift of ecephys_795555_2025-08-26_11-29-20_ProbeA_0", session)
    """
    _, found, rest = name.rpartition(f"{session.bare}_")
    if not found or _NAME.match(name) is None:
        return None
    return _DERIVED.sub("", rest).strip() or None


def _created(evaluation: Evaluation) -> datetime | None:
    # Schema 2.x has no such key: the last change of its status. The record's own time may be that
    # of the upgrade.
    changes = (change.timestamp for m in evaluation.metrics for change in m.history)
    times = [evaluation.created] if evaluation.created is not None else [*filter(None, changes)]
    aware = (t if t.tzinfo is not None else t.replace(tzinfo=timezone.utc) for t in times)
    return max(aware, default=None)


def _curation(session: SessionID, wanted: _Found, failures: Failures) -> dict[str, Any] | None:
    (outcome,) = outcomes(partial(wanted.fetch, session))
    for raw in failures.value_or((), outcome, DOCDB):
        for evaluation, probe in _aligned(session, msgspec.json.decode(raw)):
            same = probe == wanted.probe and _created(evaluation) in (None, wanted.created)
            if same and (found := curation_of(evaluation)) is not None:
                return found
        note(
            "The alignment of %s in %s (%s) cannot be read: the next older one is used",
            *(wanted.probe, wanted.record, wanted.schema),
        )
    return None


@query(DOCDB, "the quality control of {2} ({0})", count("record"))
def _quality_control(
    schema: str, record_id: str, record: str, session_id: str
) -> tuple[bytes, ...]:
    return _fetch(schema, {"_id": record_id}, ("quality_control",))


def curation_of(evaluation: Evaluation) -> dict[str, Any] | None:
    """Return the last curation of an evaluation's first metric that has one."""
    for metric in evaluation.metrics:
        value = metric.value
        curations = at(value, "curations") if isinstance(value, Mapping) else value
        if isinstance(curations, list) and curations:
            curations = curations[-1]
        if isinstance(curations, str):
            try:
                # The standard library reads NaN, which the app writes.
                curations = json.loads(curations)
            except (ValueError, RecursionError):
                continue
        if isinstance(curations, dict) and (CHANNELS in curations or CCF_CHANNELS in curations):
            return curations
    return None


# -- the common coordinate framework ---------------------------------------------------------------


def ccf_records(alignments: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per channel, its place in the common coordinate framework in micrometers."""
    return [
        row
        for probe, payload in alignments.items()
        for row in _rows(probe, payload.get(CCF_CHANNELS))
    ]


def _rows(probe: str, channels: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(channels, Mapping):
        return
    by_name = {str(name): c for name, c in channels.items() if isinstance(c, Mapping)}
    scale = scale_of(probe, [_number(c.get(axis)) for c in by_name.values() for axis in "xyz"])
    for name in sorted(by_name, key=lambda name: (_index(name) is None, _index(name) or 0, name)):
        channel = by_name[name]
        x, y, z = (_number(channel.get(axis)) for axis in "xyz")
        yield {
            **channel,
            "probe": probe,
            "channel": name,
            "channel_index": _index(name),
            # The names that version 0.3 gave to the same.
            "device_name": probe,
            "channel_number": _index(name),
            **{key: channel.get(key) for key in _CHANNEL_KEYS},
            "ccf_ap": None if y is None else y * scale,
            "ccf_ml": None if x is None else -x * scale,
            "ccf_dv": None if z is None else -z * scale,
        }


def scale_of(probe: str, coordinates: list[float | None]) -> float:
    """Return the factor that converts a probe's coordinates to micrometers.

    Examples
    --------
    >>> scale_of("ProbeA", [-4.2, 3.9, -5.8]), scale_of("ProbeA", [-4200.0, 3900.0, -5800.0])
    (1000.0, 1.0)
    """
    largest = max((abs(value) for value in coordinates if value is not None), default=0.0)
    if largest < MILLIMETERS:
        return 1000.0
    if largest < MICROMETERS:
        return 1.0
    raise BadAnswerError(
        f"The coordinates of {probe} reach {largest:g}: neither millimeters nor micrometers of a "
        "mouse's brain.",
        service=DOCDB,
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        # An integer beyond all floats: larger than any brain, too.
        return sys.float_info.max if value > 0 else -sys.float_info.max
    return number if math.isfinite(number) else None


def _index(name: str) -> int | None:
    digits = name.rpartition("_")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
