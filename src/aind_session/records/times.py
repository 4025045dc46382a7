"""Dates and times in records, and why a start time may be uncertain.

Times in records are unreliable. Over a hundred records compared with the time in their name show
four kinds: correct ones, starts in local time marked as UTC, names that are themselves in UTC, and
starts that differ by minutes to days. The second and third kind cannot be distinguished by the
start alone, so a rule that corrects one would break the other. Therefore:

1. A time with an offset is returned as that instant.
2. A time without an offset is read in the time zone in the record, else as Pacific time (as in the
   upgrade of the 1.x records).
3. `start_doubt` reports why an instant is uncertain.
4. A session is identified by the text of its name, never by a converted time.
"""

from __future__ import annotations

import functools
import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any

from aind_session.records.shape import text

_DATE = re.compile(r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?=$|[T\s_-])", re.ASCII)
_TIME = re.compile(
    r"""\s*(\d{4})-(\d{1,2})-(\d{1,2})
    (?:[Tt_-]|\s+)
    (\d{1,2})([:-])(\d{2})(?:\5(\d{2})(?:[.,](\d+))?)?   # the same separator twice
    \s*(?:([Zz]|UTC)|([+-])(\d{2}):?(\d{2})?(?::\d{2})?)?\s*$""",
    re.ASCII | re.VERBOSE,
)
_ZONE = re.compile(r"[A-Za-z]{1,32}(?:[/_+-][A-Za-z0-9]{1,32}){0,4}")
#: Other years are mistakes; near the limits of `datetime`, converting the zone would overflow.
_YEARS = range(1900, 2200)
#: Largest expected difference between the start of a recording and the time in its name.
TOLERANCE = timedelta(minutes=5)


@functools.cache
def pacific() -> tzinfo:
    """Return the time zone of the institute."""
    from zoneinfo import ZoneInfo

    return ZoneInfo("America/Los_Angeles")


def parse_time(value: Any) -> datetime | None:
    """Read a time in any format that records use; naive unless an offset or `Z` is written."""
    if not isinstance(value, str):
        return None
    found = _TIME.match(value)
    if found is None:
        return None
    year, month, day, hour, _, minute, second, decimals, utc, sign, hours, minutes = found.groups()
    offset = f"{sign}{hours}:{minutes or '00'}" if sign else ""
    iso = (
        f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute}:{second or '00'}"
        f".{(decimals or '')[:6]:0<6}{'+00:00' if utc else offset}"
    )
    try:
        return datetime.fromisoformat(iso) if int(year) in _YEARS else None
    except ValueError:
        return None


def parse_date(value: Any) -> date | None:
    """Read the date from a date or a time."""
    found = _DATE.match(value) if isinstance(value, str) else None
    if found is None or int(found.group(1)) not in _YEARS:
        return None
    try:
        return date(*map(int, found.groups()))
    except ValueError:
        return None


def in_utc(value: Any) -> datetime | None:
    """Read the time at which a record was written, in UTC; so is one without an offset."""
    time = in_zone(parse_time(value), timezone.utc)
    return time.astimezone(timezone.utc) if time else None


def parse_zone(value: Any) -> tzinfo | None:
    """Read a time zone given as hours from UTC or by its IANA name."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timezone(timedelta(hours=value)) if -18 <= value <= 18 else None
    name = text(value) or ""
    if _ZONE.fullmatch(name) is None:
        return None
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    # ZoneInfoNotFoundError is a KeyError; a name that is a folder ("America") raises the others.
    except (KeyError, ValueError, OSError):
        return None


def in_zone(time: datetime | None, zone: tzinfo | None) -> datetime | None:
    """Make a time aware: without an offset, it is in the given zone, else in Pacific time.

    An instant written in UTC is converted to the zone.
    """
    if time is None:
        return None
    if time.tzinfo is None:
        return time.replace(tzinfo=zone or pacific())
    if zone is not None and time.utcoffset() == timedelta(0):
        return time.astimezone(zone)
    return time


def start_doubt(
    written: datetime | None, start: datetime | None, end: datetime | None, named: datetime | None
) -> str | None:
    """Return why the start of an acquisition is uncertain, or None.

    `written` is the start as written in the record; `start` and `end` are time zone aware; `named`
    is the naive date and time in the session's name.
    """
    if written is None or start is None:
        return None
    reasons = []
    local = start.astimezone(pacific()).replace(tzinfo=None)
    if written.tzinfo is None and start.utcoffset() != start.replace(fold=1).utcoffset():
        reasons.append("written without an offset, within an hour of a change of the clocks")
    if named is not None and abs(local - named) > TOLERANCE:
        reasons.extend(_against_name(written, start, local, named))
    if end is not None and end < start:
        reasons.append("the end is before the start")
    return "; ".join(reasons) or None


def _against_name(
    written: datetime, start: datetime, local: datetime, named: datetime
) -> list[str]:
    """Return the reasons if the start in Pacific time differs from the name by too much."""
    if abs(written.replace(tzinfo=None) - named) <= TOLERANCE and written.tzinfo is not None:
        if written.utcoffset() == timedelta(0):
            return [
                "in UTC with the digits of the name: the name is in UTC, or the start in local time"
            ]
        return ["with the digits of the name, but another offset than the Pacific one of that day"]
    if abs(start.astimezone(timezone.utc).replace(tzinfo=None) - named) <= TOLERANCE:
        # The name is in UTC, and start and name are the same instant.
        return []
    return [f"{_span(abs(local - named))} from the time in the name"]


def _span(span: timedelta) -> str:
    """Return the length of a span in its largest unit."""
    minutes = round(span.total_seconds() / 60)
    for unit, size in (("days", 1440), ("hours", 60)):
        if minutes >= 2 * size:
            return f"{minutes // size} {unit}"
    return f"{minutes} minutes"
