"""Dates in all their spellings: filters of a search, and the `npc_session` dates of a session."""

from __future__ import annotations

import datetime
import re
from typing import Any, NamedTuple

from aind_session.errors import InvalidFilterError

_OFFSET = r"(?:\s*(?P<offset>Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?))?"
_SECOND = r"(?:[:._-]?([0-9]{2})(?:[.,][0-9]+)?)?"
_CLOCK = rf"(?:[ T_-]?([0-9]{{2}})(?:[:._-]?([0-9]{{2}}){_SECOND})?{_OFFSET})?"
# Patterns as text: `re` compiles them at the first filter, not at every start. The numbered groups
# are those before `offset`.
_COMPACT = rf"([0-9]{{4}})(?:([0-9]{{2}})(?:([0-9]{{2}}){_CLOCK})?)?"
_SPACED = rf"([0-9]{{4}})[-/_.]([0-9]{{1,2}})(?:[-/_.]([0-9]{{1,2}}){_CLOCK})?"

_TICK = datetime.timedelta(microseconds=1)


class DateRange(NamedTuple):
    """A period of time, both ends included; an end that is None is open."""

    start: datetime.datetime | None = None
    end: datetime.datetime | None = None

    @property
    def is_open(self) -> bool:
        """True if every date is within it, so that it filters nothing."""
        return self.start is None and self.end is None

    @property
    def is_empty(self) -> bool:
        """No date is in it: it ends before it begins."""
        return self.start is not None and self.end is not None and self.end < self.start

    def contains(self, dt: datetime.datetime) -> bool:
        """Return whether a date-time is in the range; an aware one is converted to rig time."""
        dt = _at_rig(dt)
        return (self.start is None or self.start <= dt) and (self.end is None or dt <= self.end)

    def within(self, other: DateRange) -> DateRange:
        """Return the period that both ranges share."""
        starts = [r.start for r in (self, other) if r.start is not None]
        ends = [r.end for r in (self, other) if r.end is not None]
        return DateRange(max(starts, default=None), min(ends, default=None))


def parse_dates(date: object = None, start: object = None, end: object = None) -> DateRange:
    """Read the three date filters of a search into one range.

    ==========================================================  ====================
    written as                                                  means
    ==========================================================  ====================
    `"2023-12-13"`, `"2023/12/13"`, `"2023_12_13"`              that day
    `"20231213"`, `20231213`                                    that day
    `"2023-12-13_13-43-40"`, `"2023-12-13 13:43:40"`            that second
    `"20231213_134340"`, `"20231213134340"`                     that second
    `"2023-12-13T13:43:40.5-08:00"`, `"2023-12-13T21:43:40Z"`   that second, at the rig
    `"2023-12-13 13:43"`, `"2023-12-13 13"`                     that minute, that hour
    `"2023-12"`, `"202312"`                                     the whole month
    `"2023"`                                                    the whole year
    `datetime.date`, `datetime.datetime`, `npc_session` record  that day, that second
    `pandas.Timestamp`, `numpy.datetime64`                      that day, that second
    `None`, `""`                                                no filter
    ==========================================================  ====================

    Session names contain the local time of the rig. Values with a time zone are converted to it:
    the setting `rig_time_zone`, by default America/Los_Angeles.

    Parameters
    ----------
    date
        The day of a session (a time in it is ignored); a whole month or year.
    start
        The first date, included from its first instant.
    end
        The last date, included to its last instant. A day is the whole day, but a
        `datetime.datetime` is one second, even at midnight.

    Returns
    -------
    DateRange
        The period that all three allow.

    Raises
    ------
    InvalidFilterError
        A value is not a valid date, or `start` is after `end`. This is a `ValueError`.

    Examples
    --------
    >>> parse_dates("20231213_134340") == parse_dates("2023-12-13")
    True
    >>> within = parse_dates(start="2023-12", end="2023-12-14_10-00-00")
    >>> within.start.isoformat(), within.end.isoformat()
    ('2023-12-01T00:00:00', '2023-12-14T10:00:00.999999')
    """
    first, last = _parse(start).start, _parse(end).end
    if first is not None and last is not None and first > last:
        raise InvalidFilterError(
            f"start_date {_shown(start)} is after end_date {_shown(end)}: exchange them"
        )
    return _whole_days(_parse(date)).within(DateRange(first, last))


def _whole_days(period: DateRange) -> DateRange:
    if period.start is None or period.end is None:
        return period
    return DateRange(
        period.start.replace(hour=0, minute=0, second=0, microsecond=0),
        period.end.replace(hour=23, minute=59, second=59, microsecond=999_999),
    )


def is_calendar_day(year: str, month: str, day: str) -> bool:
    """Return whether a month has a day; both must be within 01 to 12 and 01 to 31."""
    return day <= "28" or int(day) <= _days_in_month(int(year), int(month))


def _days_in_month(year: int, month: int) -> int:
    # Not `calendar.monthrange`: that module imports `locale`, which would slow every start.
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _parse(value: object) -> DateRange:
    """Read a date as the period that it covers: a year, a month, a day, a second."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = _at_rig(value)
    text = "" if value is None else str(value).strip()
    if not text and (value is None or isinstance(value, str)):
        return DateRange()
    if isinstance(value, bool | float):
        raise _bad(value)
    match = re.fullmatch(_COMPACT, text, re.I) or re.fullmatch(_SPACED, text, re.I)
    if match is None:
        raise _bad(value)
    written = [int(part) for part in match.groups()[:6] if part is not None]
    try:
        if not 1900 <= written[0] <= 2100:
            raise ValueError("not a year of a recording")
        year, month, day, hour, minute, second = (*written, *(1, 1, 1, 0, 0, 0)[len(written) :])
        start = datetime.datetime(year, month, day, hour, minute, second)
        if match["offset"]:
            start = _at_rig(start.replace(tzinfo=_time_zone(match["offset"])))
        return DateRange(start, _last_instant(start, len(written)))
    except (ValueError, OverflowError) as error:
        raise _bad(value) from error


def _time_zone(offset: str) -> datetime.timezone:
    if offset[0] not in "+-":
        return datetime.timezone.utc
    digits = offset[1:].replace(":", "")
    shift = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return datetime.timezone(-shift if offset[0] == "-" else shift)


def _at_rig(dt: datetime.datetime) -> datetime.datetime:
    """Convert an aware date-time to the local time of the rig; both results are naive."""
    if dt.tzinfo is None:
        return dt
    # Imported here: only aware values need the settings and the database of time zones.
    from zoneinfo import ZoneInfo

    from aind_session import settings

    zone = ZoneInfo(settings.current().rig_time_zone.value)
    return dt.astimezone(zone).replace(tzinfo=None)


def _last_instant(start: datetime.datetime, parts: int) -> datetime.datetime:
    """Return the end of the year, month, day, hour, minute or second that begins at `start`."""
    if parts == 1:
        return start.replace(year=start.year + 1) - _TICK
    if parts == 2:
        days = _days_in_month(start.year, start.month)
        return start + datetime.timedelta(days=days) - _TICK
    unit = ("days", "hours", "minutes", "seconds")[parts - 3]
    return start + datetime.timedelta(**{unit: 1}) - _TICK


def _shown(value: object) -> str:
    # Other objects by their type only: a `repr` may be long, or contain secrets.
    known = isinstance(value, str | int | float | datetime.date)
    shown = repr(value) if known else f"a {type(value).__name__}"
    return shown if len(shown) <= 100 else f"{shown[:97]}..."


def _bad(value: object) -> InvalidFilterError:
    return InvalidFilterError(
        f"{_shown(value)} is not a valid date. Write '2023-12-13', '2023-12-13_13-43-40', "
        "'20231213', '2023-12' (the whole month) or '2023', or use a datetime.date or "
        "datetime.datetime"
    )


def npc_record(kind: str, text: str) -> Any:
    """Return a record of `npc_session`, or the text if that package does not accept it.

    `DateRecord` is made of `YYYY-MM-DD`, `TimeRecord` of `HH:MM:SS`, `DatetimeRecord` of both.
    """
    import npc_session

    try:
        made = getattr(npc_session, kind)(text)
    except ValueError:
        return text
    return made if str(made) == text else text
