"""Date filters in every form, and the rich dates of a session."""

from __future__ import annotations

import datetime
import zoneinfo
from types import SimpleNamespace

import npc_session
import numpy
import pandas
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aind_session.errors import InvalidFilterError
from aind_session.identifiers import DateRange, npc_record, parse_dates

DAY = datetime.date(2023, 12, 13)
MOMENT = datetime.datetime(2023, 12, 13, 13, 43, 40)

WRITTEN = [
    *("%Y-%m-%d_%H-%M-%S", "%Y-%m-%d %H:%M:%S", "%Y_%m_%d_%H_%M_%S", "%Y/%m/%d %H:%M:%S"),
    *("%Y%m%d_%H%M%S", "%Y%m%d %H%M%S", "%Y%m%dT%H%M%S", "%Y%m%d%H%M%S", "%Y-%m-%dT%H:%M:%S"),
    *("%Y-%m-%dT%H:%M:%S.123456", "  %Y-%m-%dt%H:%M:%S "),
]
PACIFIC = zoneinfo.ZoneInfo("America/Los_Angeles")
OFFSETS = {"Z": 0, "z": 0, " UTC": 0, "-08:00": -8, "+0000": 0, "+09": 9, " +05:30": 5.5}
moments = st.datetimes(
    min_value=datetime.datetime(2000, 1, 1), max_value=datetime.datetime(2099, 12, 31)
).map(lambda dt: dt.replace(microsecond=0))
one_day = datetime.timedelta(days=1)
tick = datetime.timedelta(microseconds=1)


def parse_date(value: object) -> DateRange:
    return parse_dates(value)


def parse_start(value: object) -> DateRange:
    return parse_dates(start=value)


def parse_end(value: object) -> DateRange:
    return parse_dates(end=value)


@given(moments, st.sampled_from(WRITTEN))
def test_parse_dates_of_a_moment_in_any_form_is_that_second(
    moment: datetime.datetime, form: str
) -> None:
    text = moment.strftime(form)
    midnight = moment.replace(hour=0, minute=0, second=0)
    assert parse_date(text) == (midnight, midnight + one_day - tick)
    assert parse_start(text) == (moment, None)
    assert parse_end(text) == (None, moment + datetime.timedelta(seconds=1) - tick)


@given(moments, st.sampled_from(sorted(OFFSETS)), st.sampled_from(["", ".5"]))
def test_parse_dates_text_with_an_offset_is_the_local_time_of_the_rig(
    moment: datetime.datetime, offset: str, fraction: str
) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=OFFSETS[offset]))
    local = moment.replace(tzinfo=zone).astimezone(PACIFIC).replace(tzinfo=None)
    assert parse_start(f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{offset}") == (local, None)


@given(moments, st.sampled_from(["UTC", "America/Los_Angeles", "Asia/Tokyo"]))
def test_parse_dates_aware_value_is_the_local_time_of_the_rig(
    moment: datetime.datetime, zone: str
) -> None:
    aware = moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))
    local = aware.astimezone(PACIFIC).replace(tzinfo=None)
    assert parse_start(aware) == (local, None)
    assert parse_date(aware) == parse_date(local.date())
    assert parse_dates(start=local, end=local).contains(aware)
    assert not parse_dates(start=local + one_day).contains(aware)


def test_parse_dates_rig_time_zone_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    class Elsewhere:
        rig_time_zone = SimpleNamespace(value="Asia/Tokyo")

    monkeypatch.setattr("aind_session.settings.current", Elsewhere)
    assert parse_start("2023-12-13T20:00:00Z").start == datetime.datetime(2023, 12, 14, 5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pandas.Timestamp("2023-12-13 13:43:40.123456789"), MOMENT),
        (pandas.Timestamp("2023-12-13 21:43:40", tz="UTC"), MOMENT),
        (pandas.Series(["2023-12-13 13:43:40"], dtype="datetime64[ns]")[0], MOMENT),
        (numpy.datetime64("2023-12-13T13:43:40", "ns"), MOMENT),
        (numpy.datetime64("2023-12-13"), datetime.datetime(2023, 12, 13)),
        (numpy.datetime64("2023-12"), datetime.datetime(2023, 12, 1)),
        (numpy.int64(20231213), datetime.datetime(2023, 12, 13)),
        (polars.Series([DAY])[0], datetime.datetime(2023, 12, 13)),
        (polars.Series([MOMENT])[0], MOMENT),
        (polars.Series([MOMENT]).dt.replace_time_zone("America/Los_Angeles")[0], MOMENT),
    ],
)
def test_parse_dates_of_data_frame_libraries(value: object, expected: datetime.datetime) -> None:
    assert parse_start(value).start == expected


@pytest.mark.parametrize(
    ("start", "end"), [("2023-12-14", "2023-12-13"), ("2024", "2023-12"), (DAY, MOMENT - one_day)]
)
def test_parse_dates_start_after_end_is_refused(start: object, end: object) -> None:
    with pytest.raises(InvalidFilterError, match=r"start_date .* is after end_date"):
        parse_dates(start=start, end=end)
    parse_dates(start=start, end=start)


@given(moments)
def test_parse_dates_of_a_day_in_any_form_is_the_whole_day(moment: datetime.datetime) -> None:
    day = moment.date()
    first = datetime.datetime(day.year, day.month, day.day)
    whole = (first, first + one_day - tick)
    unpadded = f"{day.year}-{day.month}-{day.day}"
    values: list[object] = [day, day.isoformat(), int(f"{day:%Y%m%d}"), unpadded]
    values += [f"{day:%Y%m%d}", f"{day:%Y_%m_%d}"]
    for value in values:
        assert parse_date(value) == whole
        assert parse_start(value) == (whole[0], None)
        assert parse_end(value) == (None, whole[1])
    assert parse_date(moment) == whole


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("2023-12", "2023-12-01", "2023-12-31T23:59:59.999999"),
        ("202402", "2024-02-01", "2024-02-29T23:59:59.999999"),
        ("2100-02", "2100-02-01", "2100-02-28T23:59:59.999999"),
        ("2023", "2023-01-01", "2023-12-31T23:59:59.999999"),
        (2023, "2023-01-01", "2023-12-31T23:59:59.999999"),
        ("2023-12-14 10:30", "2023-12-14T10:30", "2023-12-14T10:30:59.999999"),
        ("2023-12-14T10:30-07:00", "2023-12-14T09:30", "2023-12-14T09:30:59.999999"),
        ("2023-12-14_10", "2023-12-14T10:00", "2023-12-14T10:59:59.999999"),
        (DAY, "2023-12-13", "2023-12-13T23:59:59.999999"),
        (MOMENT, "2023-12-13T13:43:40", "2023-12-13T13:43:40.999999"),
        (npc_session.DateRecord("20231213"), "2023-12-13", "2023-12-13T23:59:59.999999"),
        (
            npc_session.DatetimeRecord("20231213_134340"),
            "2023-12-13T13:43:40",
            "2023-12-13T13:43:40.999999",
        ),
    ],
)
def test_parse_dates_of_a_part_of_a_date_is_its_whole_period(
    value: object, first: str, last: str
) -> None:
    start, end = parse_start(value).start, parse_end(value).end
    assert start is not None
    assert end is not None
    assert start == datetime.datetime.fromisoformat(first)
    assert end.isoformat() == last


@pytest.mark.parametrize("value", [None, "", "  "])
def test_parse_dates_of_nothing_is_open(value: object) -> None:
    for parse in (parse_date, parse_start, parse_end):
        assert parse(value) == DateRange()
        assert parse(value).is_open
        assert parse(value).contains(MOMENT)


@pytest.mark.parametrize(
    "value",
    [
        *("yesterday", "2023-13-01", "2023-02-30", "20230230", "2023-12-13 25:00:00", "13/12/2023"),
        *("676909", 676909, 5, True, 2023.0, float("nan"), "2023-12-13_13-43-40_1", "2023121"),
        *(object(), (), pandas.NaT, numpy.datetime64("NaT", "s"), "0001-01-01T00:00:00Z"),
        "2023-12-13T10:00:00+99:00",
    ],
)
def test_parse_dates_of_other_values_is_refused(value: object) -> None:
    for parse in (parse_date, parse_start, parse_end):
        with pytest.raises(InvalidFilterError, match="is not a valid date"):
            parse(value)


@given(st.text(max_size=20) | st.text(alphabet="0123456789-_:T Z+.", max_size=30))
def test_parse_dates_of_any_text_raises_nothing_else(text: str) -> None:
    try:
        period = parse_date(text)
    except InvalidFilterError:
        return
    assert period.is_open == (not text.strip())


def test_parse_dates_error_shows_the_value_briefly() -> None:
    class Client:
        def __repr__(self) -> str:
            return "Client(token='secret')"

    for value in (Client(), "x" * 10_000):
        with pytest.raises(InvalidFilterError) as caught:
            parse_date(value)
        assert "secret" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_parse_dates_of_three_filters_is_one_range() -> None:
    period = parse_dates("2023-12", "2023-12-13", "2023-12-14_10-00-00")
    assert period.contains(MOMENT)
    assert period.contains(datetime.datetime(2023, 12, 14, 10, 0, 0))
    assert not period.contains(datetime.datetime(2023, 12, 14, 10, 0, 1))
    assert not period.contains(datetime.datetime(2023, 12, 12, 23, 59, 59))
    assert parse_dates().is_open


def test_npc_record_of_a_valid_year_is_a_record() -> None:
    date, clock = npc_record("DateRecord", "2023-12-13"), npc_record("TimeRecord", "13:43:40")
    both = npc_record("DatetimeRecord", "2023-12-13 13:43:40")
    assert isinstance(date, npc_session.DateRecord)
    assert isinstance(clock, npc_session.TimeRecord)
    assert isinstance(both, npc_session.DatetimeRecord)
    assert (date.year, clock.hour, both.dt) == (2023, 13, MOMENT)


@given(moments)
def test_npc_record_is_equal_to_its_text(moment: datetime.datetime) -> None:
    for kind, text in (
        ("DateRecord", f"{moment:%Y-%m-%d}"),
        ("TimeRecord", f"{moment:%H:%M:%S}"),
        ("DatetimeRecord", f"{moment:%Y-%m-%d %H:%M:%S}"),
    ):
        made = npc_record(kind, text)
        assert isinstance(made, str)
        assert made == text
        assert hash(made) == hash(text)
