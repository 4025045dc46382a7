"""Answers of the core files `session` and `acquisition`, which tell the same of a recording.

1.x has `session` for physiology and behavior and `acquisition` for light-sheet microscopes, with
the same keys; 2.x has `acquisition` for all, with its own keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aind_session.records.shape import all_named, at, either, items, text, unique
from aind_session.records.times import in_zone, parse_time, parse_zone, start_doubt


def in_order(session: Any, acquisition: Any) -> list[Any]:
    """Put the core files that tell of a recording into the order in which to ask them.

    Parameters
    ----------
    session, acquisition
        The two core files of a record, either of which may be missing.

    Returns
    -------
    list[Any]
        Those that are files at all; first one that tells a start, and of two `acquisition`, since
        only a record that was partly upgraded has both.
    """
    files = [core for core in (acquisition, session) if isinstance(core, Mapping)]
    return sorted(files, key=lambda core: _written_start(core) is None)


def subject_id(core: Any) -> str | None:
    """Read the subject's ID."""
    return text(at(core, "subject_id"))


def start(core: Any) -> datetime | None:
    """Read the start."""
    return in_zone(_written_start(core), _zone(core))


def end(core: Any) -> datetime | None:
    """Read the end, which may be missing where a recording was not closed."""
    written = either(core, ("session_end_time",), ("acquisition_end_time",), parse_time)
    return in_zone(written, _zone(core))


def doubt(core: Any, named: datetime | None) -> str | None:
    """Tell why the start is uncertain; see `aind_session.records.times`."""
    return start_doubt(_written_start(core), start(core), end(core), named)


def session_type(core: Any) -> str | None:
    """Read what was done, in the words of those who did it."""
    return either(core, ("session_type",), ("acquisition_type",), text)


def experimenters(core: Any) -> tuple[str, ...]:
    """Read the experimenters' names."""
    return either(core, ("experimenter_full_name",), ("experimenters",), all_named)


def instrument_id(core: Any) -> str | None:
    """Read the ID of the instrument, as the recording's file spells it."""
    return either(core, ("rig_id",), ("instrument_id",), text)


def ethics(core: Any) -> tuple[str, ...]:
    """Read the numbers of the approvals: IACUC protocols, ethics reviews."""
    return either(core, ("iacuc_protocol",), ("ethics_review_id",), _numbers)


def _numbers(value: Any) -> tuple[str, ...]:
    return unique(tuple(number for number in map(text, items(value)) if number is not None))


def _written_start(core: Any) -> datetime | None:
    return either(core, ("session_start_time",), ("acquisition_start_time",), parse_time)


def _zone(core: Any) -> Any:
    return parse_zone(at(core, "acquisition_start_tz"))
