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
    """Read a time in any format that records use.

    Parameters
    ----------
    value
        The text: ISO 8601 with an offset, `Z` or neither; a space or hyphen for the `T`; hyphens
        between hours, minutes and seconds; any number of decimals (six are kept).

    Returns
    -------
    datetime | None
        Time zone aware if an offset or `Z` is written, else naive; None for anything else,
        including a date without a time.

    Examples
    --------
    >>> parse_time("2023-09-11 17:00:55-07:00").isoformat()
    '2023-09-11T17:00:55-07:00'
    >>> parse_time("2023-05-11T19-29-48-07:00").isoformat()
    '2023-05-11T19:29:48-07:00'
    >>> parse_time("2024-06-20T21:01:10.196Z").isoformat()
    '2024-06-20T21:01:10.196000+00:00'
    >>> parse_time("2022-06-21-14-08-06").isoformat()
    '2022-06-21T14:08:06'
    >>> parse_time("2022-06-21")
    """
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
    """Read the date from a date or a time.

    Parameters
    ----------
    value
        The text.

    Returns
    -------
    date | None
        The date as written, whatever zone the time has; None for anything else.

    Examples
    --------
    >>> parse_date("2023-02-11"), parse_date("2023-02-11T23:00:00Z"), parse_date("2023-02-31")
    (datetime.date(2023, 2, 11), datetime.date(2023, 2, 11), None)
    """
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
    """Read a time zone given as hours from UTC or by its IANA name.

    Examples
    --------
    >>> parse_zone(-7), parse_zone("America/New_York").key, parse_zone("nowhere")
    (datetime.timezone(datetime.timedelta(days=-1, seconds=61200)), 'America/New_York', None)
    """
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

    Examples
    --------
    >>> in_zone(parse_time("2023-12-13T13:43:40"), None).isoformat()
    '2023-12-13T13:43:40-08:00'
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

    Examples
    --------
    >>> start = parse_time("2025-04-09T17:25:12+00:00")
    >>> print(start_doubt(start, start, None, datetime(2025, 4, 9, 17, 25, 12)))
    in UTC with the digits of the name: the name is in UTC, or the start in local time
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
