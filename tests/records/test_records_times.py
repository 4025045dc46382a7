"""Dates and times in every spelling, and what is doubtful about them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aind_session.records import Record, parse_date, parse_time
from aind_session.records.times import in_utc, in_zone, pacific, parse_zone

UTC = timezone.utc
MINUS_7 = timezone(timedelta(hours=-7))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2031-05-06T07:08:09.123456", datetime(2031, 5, 6, 7, 8, 9, 123456)),
        ("2031-05-06T07:08:09Z", datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("2031-05-06T07:08:09.410Z", datetime(2031, 5, 6, 7, 8, 9, 410000, tzinfo=UTC)),
        ("2031-05-06T07:08:09.519381Z", datetime(2031, 5, 6, 7, 8, 9, 519381, tzinfo=UTC)),
        ("2031-05-06T07:08:09.1234567+00:00", datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)),
        ("2031-05-06T07:08:09-07:00", datetime(2031, 5, 6, 7, 8, 9, tzinfo=MINUS_7)),
        ("2031-05-06 07:08:09-07:00", datetime(2031, 5, 6, 7, 8, 9, tzinfo=MINUS_7)),
        ("2031-05-06 07:08:09.5+00:00", datetime(2031, 5, 6, 7, 8, 9, 500000, tzinfo=UTC)),
        ("2031-05-06T07-08-09-07:00", datetime(2031, 5, 6, 7, 8, 9, tzinfo=MINUS_7)),
        ("2031-05-06-07-08-09", datetime(2031, 5, 6, 7, 8, 9)),
        ("2031-05-06_07-08-09", datetime(2031, 5, 6, 7, 8, 9)),
        ("2031-05-06T07:08-0700", datetime(2031, 5, 6, 7, 8, tzinfo=MINUS_7)),
        ("2031-05-06T07:08-07", datetime(2031, 5, 6, 7, 8, tzinfo=MINUS_7)),
        ("2031-05-06T07:08", datetime(2031, 5, 6, 7, 8)),
    ],
)
def test_parse_time_reads_every_spelling(written: str, expected: datetime) -> None:
    found = parse_time(written)
    assert found == expected
    assert found is not None
    assert found.utcoffset() == expected.utcoffset()


@pytest.mark.parametrize(
    "written",
    [
        None, 20310506, True, [], {}, "", "07:08:09", "2031-05-06", "2031-13-06T07:08:09",
        "2031-05-06T24:08:09", "2031-05-06T07:08:60", "2031-05-06T07:08:09+24:00",
        "2031-05-06T07:08:09 in the morning", "9999-12-31T23:59:59-08:00", "0001-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_parse_time_of_other_values_is_none(written: Any) -> None:
    assert parse_time(written) is None
    assert in_utc(written) is None


OFFSETS = st.integers(-14 * 60, 14 * 60)
ZONES: st.SearchStrategy[Any] = st.none() | OFFSETS.map(
    lambda minutes: timezone(timedelta(minutes=minutes))
)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31), timezones=ZONES),
    st.sampled_from(["T", " ", "-", "_"]),
    st.booleans(),
)
def test_parse_time_of_a_written_time_is_that_time(
    time: datetime, separator: str, hyphens: bool
) -> None:
    written = time.isoformat(separator if separator != "-" else "T")
    if separator == "-":
        written = written.replace("T", "-")
    if hyphens:
        day, rest = written[:11], written[11:]
        written = day + rest[:8].replace(":", "-") + rest[8:]
    found = parse_time(written)
    assert found == time
    assert found is not None
    assert found.utcoffset() == time.utcoffset()


@given(st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[T -]\d\d[:-]\d\d.{0,16}"))
def test_parse_time_of_any_text_never_raises(written: str) -> None:
    for found in (parse_time(written), in_utc(written), in_zone(parse_time(written), None)):
        assert found is None or found.astimezone(pacific())
    time = parse_time(written)
    assert time is None or parse_date(written) == time.date()


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.none()))
def test_parse_zone_of_any_value_never_raises(written: Any) -> None:
    zone = parse_zone(written)
    assert zone is None or zone.utcoffset(datetime(2031, 1, 1)) is not None


@pytest.mark.parametrize("written", ["America", "America/", "/etc/passwd", "../x", "a\0b", 24, -30])
def test_parse_zone_of_other_values_is_none(written: Any) -> None:
    assert parse_zone(written) is None


def test_parse_date_reads_dates_and_times() -> None:
    assert parse_date("2031-05-06") == date(2031, 5, 6)
    assert parse_date("2031-05-06T23:59:59-07:00") == date(2031, 5, 6)
    for written in (None, 2031, "2031", "2031-02-30", "2031-05-061", "6 May 2031", "0000-01-01"):
        assert parse_date(written) is None


REPEATED = "ecephys_900001_2025-11-02_01-30-00"


def _record(start: Any, end: Any = None, name: str = "", **others: Any) -> Record:
    session = {"session_start_time": start, "session_end_time": end, **others}
    return Record({"name": name or "ecephys_900001_2031-05-06_07-08-09", "session": session})


def test_acquisition_start_without_offset_is_pacific() -> None:
    record = _record("2031-05-06T07:08:09", "2031-05-06T08:00:00")
    assert record.acquisition_start == datetime(2031, 5, 6, 14, 8, 9, tzinfo=UTC)
    assert record.acquisition_end == datetime(2031, 5, 6, 15, 0, tzinfo=UTC)
    assert record.acquisition_start_doubt is None
    winter = _record("2031-01-06T07:08:09")
    assert winter.acquisition_start == datetime(2031, 1, 6, 15, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize("zone", [-4, "America/New_York"])
def test_acquisition_start_is_converted_to_the_zone_beside_it(zone: Any) -> None:
    naive = _record("2031-05-06T07:08:09", acquisition_start_tz=zone)
    assert naive.acquisition_start == datetime(2031, 5, 6, 11, 8, 9, tzinfo=UTC)
    aware = _record("2031-05-06T11:08:09Z", acquisition_start_tz=zone).acquisition_start
    assert aware == datetime(2031, 5, 6, 11, 8, 9, tzinfo=UTC)
    assert aware is not None
    assert aware.utcoffset() == timedelta(hours=-4)


@pytest.mark.parametrize(
    "record",
    [
        *(_record(f"2031-05-06{time}") for time in ("T07:08:09-07:00", "T14:08:09Z", "T07:05:00")),
        _record("2031-05-06 10:10:00-04:00"),
        # The name is in UTC.
        _record("2031-05-06T00:08:09-07:00"),
        _record("2025-11-02T01:30:00-08:00", name=REPEATED),
        # Nothing to compare.
        *(_record(None), _record("2031-05-06T07:08:09Z", name="no session"), Record({})),
    ],
)
def test_start_doubt_of_a_start_that_agrees_with_the_name_is_none(record: Record) -> None:
    assert record.acquisition_start_doubt is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (_record("2031-05-06T07:08:09Z"), "in UTC with the digits of the name"),
        (_record("2031-05-06T07:09:00+00:00"), "in UTC with the digits of the name"),
        (_record("2031-05-06T07:08:09-08:00"), "another offset than the Pacific one"),
        (_record("2031-05-06T07:38:09-07:00"), "30 minutes from the time in the name"),
        (_record("2031-05-08T07:08:09-07:00"), "2 days from the time in the name"),
        (_record("2031-05-06T10:38:09"), "3 hours from the time in the name"),
        (_record("2031-05-06T07:08:09", "2031-05-06T05:00:00"), "the end is before the start"),
        # An hour that the clocks repeat.
        (_record("2025-11-02T01:30:00", name=REPEATED), "change of the clocks"),
    ],
)
def test_start_doubt_names_its_reason(record: Record, reason: str) -> None:
    assert reason in (record.acquisition_start_doubt or "")


def test_acquisition_start_in_doubt_is_unchanged() -> None:
    doubtful = _record("2031-05-06T07:08:09Z")
    assert doubtful.acquisition_start == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
