"""Session and subject IDs in every form."""

from __future__ import annotations

import ast
import datetime
import pathlib
import re
import string
import time
import uuid
from types import SimpleNamespace

import npc_session
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from aind_session.errors import InvalidIdentifierError
from aind_session.identifiers import (
    SessionID,
    find_session_id,
    is_uuid,
    nearest_sessions,
    parse_dates,
    parse_session_id,
    parse_subject_id,
    short_id,
    split_asset_name,
    subject_in,
)

LEGACY = "ecephys_676909_2023-12-13_13-43-40"
CURRENT = "828418_2026-02-13_18-31-13"

PLATFORMS = ("ecephys", "behavior", "multiplane-ophys", "motor-observatory", "SLAP2", "exaspim")
platforms = st.sampled_from(PLATFORMS) | st.from_regex(
    r"[A-Za-z][A-Za-z0-9]{0,10}(-[A-Za-z0-9]{1,8})?", fullmatch=True
)
subjects = st.sampled_from(
    ["676909", "018559", "M2501", "ZS061", "125L", "AK028", "3", "H24.26.001"]
) | st.from_regex(r"[0-9]{6,7}|[A-Z]{1,3}[0-9]{2,4}[A-Z]?(\.[0-9]{2,3}){0,2}", fullmatch=True)
datetimes = st.datetimes(
    min_value=datetime.datetime(2000, 1, 1), max_value=datetime.datetime(2099, 12, 31, 23, 59, 59)
)


@st.composite
def session_ids(draw: st.DrawFn) -> SessionID:
    platform = draw(st.none() | platforms)
    subject = draw(subjects)
    stamp = draw(datetimes).strftime("%Y-%m-%d_%H-%M-%S")
    parts = (platform, subject, stamp) if platform else (subject, stamp)
    return SessionID("_".join(parts), platform, subject)


@given(session_ids())
def test_parse_session_id_of_an_id_returns_its_parts(expected: SessionID) -> None:
    assert parse_session_id(expected.id) == expected
    assert parse_session_id(str(parse_session_id(expected.id))) == expected
    assert expected.dt.strftime("%Y-%m-%d %H:%M:%S") == f"{expected.date} {expected.time}"
    assert expected.id.endswith(expected.bare)
    assert parse_session_id(expected.bare).platform is None


@given(
    session_ids(),
    st.sampled_from(["", "/data/", "s3://a-bucket/", "C:\\data\\", " ", '"', "'", "see (", "id="]),
    st.sampled_from(
        ["", "/x", "_sorted_2024-03-01_16-02-45", ".json", '"', " etc.", "_raw_data", "\\y"]
    ),
    st.text(alphabet=string.ascii_letters + " /-.", max_size=30),
)
def test_parse_session_id_of_any_text_with_an_id_finds_it(
    expected: SessionID, before: str, after: str, around: str
) -> None:
    text = f"{around} {before}{expected.id}{after}{around}"
    assert parse_session_id(text) == expected
    assert find_session_id(text) == expected


@given(
    session_ids(),
    st.sampled_from(["-", "_", ""]),
    st.sampled_from("_T"),
    st.sampled_from("-_:") | st.just(""),
)
def test_parse_session_id_normalizes_separators(
    expected: SessionID, of_date: str, between: str, of_time: str
) -> None:
    date, clock = expected.id[-19:-9], expected.id[-8:]
    head = expected.id[:-19]
    text = f"{head}{date.replace('-', of_date)}{between}{clock.replace('-', of_time)}"
    assert parse_session_id(text) == expected


@given(
    st.text(alphabet="abzAZ019-_/\\ .:", max_size=12),
    st.from_regex(r"[a-zA-Z0-9 .-]{1,10}", fullmatch=True),
    st.from_regex(r"[0-9]{6,7}", fullmatch=True),
    st.dates(datetime.date(2010, 1, 1), datetime.date(2029, 12, 31)),
    st.times(),
    st.sampled_from("-_/"),
    st.sampled_from("-:._"),
)
def test_parse_session_id_finds_what_npc_session_finds(
    before: str,
    platform: str,
    subject: str,
    day: datetime.date,
    clock: datetime.time,
    s: str,
    t: str,
) -> None:
    stamp = f"{day:%Y{s}%m{s}%d}_{clock:%H{t}%M{t}%S}"
    theirs = npc_session.extract_aind_session_id(f"{before}{platform}_{subject}_{stamp}")
    ours = parse_session_id(f"{before}{platform}_{subject}_{stamp}")
    their_platform, *rest = theirs.split("_")
    if ours.subject_id == rest[0]:
        # Their platform is anything but `_`, `/` and `\\`: with spaces and dots it is no platform.
        assert ours.bare == "_".join(rest)
        assert ours.platform is None or their_platform.endswith(ours.platform)
    else:  # Today's names stand further left, in texts such as `a1_2021-...`.
        assert ours.platform is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("behavior_ZS059_2021-03-26_13-52-11_raw_data", "behavior_ZS059_2021-03-26_13-52-11"),
        (f"prefix_{LEGACY}", LEGACY),
        (f"sorted_2023-12-16_06-52-11_{LEGACY}_sorted_2023-12-16_06-52-11", LEGACY),
        (f"data\\{LEGACY}", LEGACY),
        (f"2024-01-01_{CURRENT}", CURRENT),
        (f"{LEGACY}/ecephys/{CURRENT}.nwb", LEGACY),
        ("SLAP2_801381_2025-10-02_15-23-18", "SLAP2_801381_2025-10-02_15-23-18"),
        (
            "ecephys_620263_2022-07-26_14-08-55_sorted-ks2.5_2023-09-14_17-40-27",
            "ecephys_620263_2022-07-26_14-08-55",
        ),
        (f"x1_2023-02-30_10-10-10 {LEGACY}", LEGACY),
        (f"--session={LEGACY}", LEGACY),
        (f"ecephys_676909_2024-02-29_13-43-40/{LEGACY}", "ecephys_676909_2024-02-29_13-43-40"),
        ("params.ecephys_713655_2024_08_08_11_52_03_url", "ecephys_713655_2024-08-08_11-52-03"),
        ("params.713655_2024_08_08_11_52_03_url", "713655_2024-08-08_11-52-03"),
        ("H24.26.001_2024-08-08_11-52-03", "H24.26.001_2024-08-08_11-52-03"),
        ("/data/exaSPIM_H24.26.001_20240808_115203", "exaSPIM_H24.26.001_2024-08-08_11-52-03"),
        (
            "params.exaSPIM_H24.26.001_2024-08-08T11:52:03Z",
            "exaSPIM_H24.26.001_2024-08-08_11-52-03",
        ),
        ("676909_20231213_134340", "676909_2023-12-13_13-43-40"),
        ("ecephys_676909_20231213T134340", LEGACY),
        ("ecephys_676909_2023-12-13T13:43:40.5-08:00", LEGACY),
        ("ecephys_676909_20231213_13-43-40", LEGACY),
        ("sub.01.nii.ecephys_676909_2023-12-13_134340.json", LEGACY),
    ],
)
def test_parse_session_id_returns_the_leftmost_valid_id(text: str, expected: str) -> None:
    found = parse_session_id(text)
    assert found.id == expected
    assert parse_session_id(found.id) == found


@pytest.mark.parametrize(
    "text",
    [
        *("", "Example T1 and T2 MRI Images", "ecephys_raw_2026-01-01_00-00-00"),
        *(f"{label}_2023-09-14_17-40-27" for label in ("sorted-ks2.5", "sorted-ks25", "sortedKS4")),
        "ecephys_674562_2023-10-02_sortedKS4_2024-03-08_15-04-14",
        "SmartSPIM-template_2024-05-16_11-26-14",
        *(f"ecephys_676909_{day}_13-43-40" for day in ("2023-02-29", "2023-13-01", "1999-12-31")),
        *("ecephys_676909_2023-12-13_24-00-00", "ecephys_676909_2100-01-01_10-00-00"),
        "ecephys_٣٤٥٦٧٨_2023-12-13_13-43-40",
        *("676909_2023-1213_134340", "676909_20231213_1343-40", "676909_20231213_1343401"),
        *("sorted-ks2.5_20230914_174027", "a-H24.26.001_2024-08-08_11-52-03"),
    ],
)
def test_parse_session_id_of_other_text_lists_the_accepted_forms(text: str) -> None:
    assert find_session_id(text) is None
    with pytest.raises(InvalidIdentifierError, match="<platform>_<subject>_<date>_<time>"):
        parse_session_id(text)


def test_parse_session_id_of_objects_reads_their_texts() -> None:
    expected = parse_session_id(LEGACY)
    derived = f"{LEGACY}_sorted_2024-03-01_16-02-45"
    bucket = SimpleNamespace(bucket="a-bucket", prefix=LEGACY)
    for value in (
        expected,
        pathlib.PurePosixPath(f"/data/{LEGACY}/x.json"),
        pathlib.PureWindowsPath(f"C:/data/{LEGACY}/x.json"),
        UPath(f"s3://a-bucket/{LEGACY}/x.json"),
        SimpleNamespace(id="16d46411-540a-4122-b47f-8cb2a15d593a", name=derived),
        SimpleNamespace(id=LEGACY),
        SimpleNamespace(id=str(uuid.uuid4()), name="renamed", source_bucket=bucket),
        {"_id": "1", "name": derived, "location": f"s3://a-bucket/{CURRENT}"},
        {"name": None, "location": f"s3://a-bucket/{LEGACY}"},
        {"name": "renamed", "source_bucket": {"prefix": LEGACY}},
        {"data_description": {"name": derived}, "location": None},
        npc_session.AINDSessionRecord(derived),
        LEGACY.encode(),
    ):
        found = parse_session_id(value)
        assert found == expected
        assert type(found.id) is str


@pytest.mark.parametrize(
    "value", [None, 1.5, object(), [], {}, SimpleNamespace(name=None), b"\xff"]
)
def test_parse_session_id_of_other_objects_raises(value: object) -> None:
    assert find_session_id(value) is None
    with pytest.raises(InvalidIdentifierError):
        parse_session_id(value)


DAY = "Try get_sessions('676909', date='2023-12-13')"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("16d46411-540a-4122-b47f-8cb2a15d593a", "get_data_asset_model"),
        (" 16D46411540A4122B47F8CB2A15D593A ", "get_data_asset_model"),
        (uuid.UUID("16d46411-540a-4122-b47f-8cb2a15d593a"), "get_data_asset_model"),
        ("676909_2023-12-13", f"the time is missing. {DAY}\n"),
        ("676909_2023-12-13_1", f"{DAY}[1:2]"),
        ("ecephys_676909_20231213", DAY),
        (npc_session.SessionRecord("676909_20231213"), DAY),
        ("676909", "Try get_sessions('676909')"),
        (676909, "Try get_sessions('676909')"),
        ("/data/ecephys_676909_2023-02-29_13-43-40/ecephys", "2023-02-29 is not a valid date"),
        ("676909_20231301_134340", "2023-13-01 is not a valid date"),
        ("ecephys_676909_1999-12-31_10-00-00", "1999-12-31 is not a valid date"),
        ("ecephys_676909_2023-12-13_25-43-40", "25-43-40 is not a valid time. Try"),
        ("676909_2023-12-13T13:61:40", "13:61:40 is not a valid time. Try"),
        ("676909_20231213_256140", "256140 is not a valid time. Try"),
        ("ecephys_676909_2023-12-13_13-43", "the time 13-43 is cut short. Try"),
        ("676909_2023-12-13_13", "the time 13 is cut short. Try"),
        (pathlib.PurePosixPath("/data/H24.26.001_2023-12-13_13.json"), "time 13 is cut short. Try"),
    ],
)
def test_parse_session_id_reports_what_is_wrong_and_what_to_call(
    value: object, reason: str
) -> None:
    with pytest.raises(InvalidIdentifierError) as caught:
        parse_session_id(value)
    assert reason in str(caught.value)
    assert ("Try" in str(caught.value)) is ("Try" in reason)


@given(st.from_regex(r"(ecephys_)?[0-9]{6}_20[0-9]{2}-?[0-9]{2}-?[0-9]{2}(_[0-9:-]{0,9})?"))
def test_parse_session_id_advice_is_a_call_that_works(text: str) -> None:
    try:
        parse_session_id(text)
    except InvalidIdentifierError as error:
        advice = re.search(r"Try get_sessions\((.*)\)(.*)", str(error))
        if advice is not None:
            subject, _, date = advice[1].partition(", date=")
            assert parse_subject_id(ast.literal_eval(subject))
            assert not date or not parse_dates(ast.literal_eval(date)).is_open
            assert re.fullmatch(r"(\[[0-9]:[0-9]+\])?", advice[2])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("behavior_676909_2023-12-13_13-43-40", [LEGACY, "676909_2023-12-14_12-00-00"]),
        ("ecephys_676909_2023-12-13_13-43-41", [LEGACY, "676909_2023-12-14_12-00-00"]),
        ("676909_2023-12-15_13-43-40", ["676909_2023-12-14_12-00-00", LEGACY]),
        (LEGACY, ["676909_2023-12-14_12-00-00", "676909_2022-01-01_12-00-00"]),
        ("999999_2023-12-13_13-43-40", []),
    ],
)
def test_nearest_sessions_are_of_the_subject_and_closest_first(
    wanted: str, expected: list[str]
) -> None:
    existing = [
        parse_session_id(text)
        for text in (
            *("676909_2022-01-01_12-00-00", "676909_2023-12-14_12-00-00", LEGACY, LEGACY),
            "676910_2023-12-13_13-43-40",
        )
    ]
    found = nearest_sessions(parse_session_id(wanted), existing, limit=2)
    assert [session.id for session in found] == expected


def test_identifier_error_does_not_contain_a_repr() -> None:
    class Client:
        def __repr__(self) -> str:
            return "Client(token='secret')"

    for parse in (parse_session_id, parse_subject_id):
        with pytest.raises(InvalidIdentifierError) as caught:
            parse(Client())
        assert "secret" not in str(caught.value)
        assert "Client" in str(caught.value)


@given(st.text(max_size=60) | st.text(alphabet="_20123-:a/ ", max_size=60))
def test_identifiers_of_any_text_raise_nothing_else(text: str) -> None:
    found = find_session_id(text)
    try:
        assert parse_session_id(text) == found
    except InvalidIdentifierError:
        assert found is None
    assert split_asset_name(text).session == found
    subject_in(text)


@pytest.mark.parametrize(
    "junk",
    [
        *("_20", "_2023-01-01_10-10-10", "a", "a-", "_1", "1", "x1_2023-02-30_10-10-10", "A1_"),
        *(" ", "2023-", "1.", "A1.2_20", "x1_20230101_999999_"),
    ],
)
def test_identifiers_of_a_long_text_are_linear_in_time(junk: str) -> None:
    text = junk * (100_000 // len(junk))
    start = time.process_time()
    found = find_session_id(text)
    split_asset_name(f"{LEGACY}_{text}")
    subject_in(text)
    with pytest.raises(InvalidIdentifierError) as caught:
        parse_session_id(text)
    assert found is None
    assert len(str(caught.value)) < 1000
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((text, text) for text in ("676909", "M2501", "125L", "H24.26.001")),
        *((676909, "676909"), (676909.0, "676909"), (" 018559 ", "018559")),
        (npc_session.SubjectRecord(676909), "676909"),
        (SimpleNamespace(subject_id="018559", id="x"), "018559"),
        (SimpleNamespace(id="676909"), "676909"),
    ],
)
def test_parse_subject_id_returns_the_id_as_written(value: object, expected: str) -> None:
    found = parse_subject_id(value)
    assert found == expected
    assert type(found) is str


@pytest.mark.parametrize(
    "value",
    [
        *("", "raw", "676 909", LEGACY, "٣٤٥٦٧٨", "67-69", "A.B1."),
        *(None, True, -3, 1.5, float("nan"), [676909]),
    ],
)
def test_parse_subject_id_of_other_values_is_refused(value: object) -> None:
    with pytest.raises(InvalidIdentifierError, match="not a valid subject ID"):
        parse_subject_id(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LEGACY, "676909"),
        ("M2501_2023-12-13", "M2501"),
        ("params.H24.26.001_20231213", "H24.26.001"),
        ("surgery of 676909, 20231213_134340", "676909"),
        ("20231213_134340 676909", "676909"),
        ("20231213_134340", None),
        ("no subject here 12345", None),
    ],
)
def test_subject_in_text_is_the_first(text: str, expected: str | None) -> None:
    assert subject_in(text) == expected


def test_short_id_is_the_subject_and_a_valid_date() -> None:
    assert short_id("ecephys_676909_20231213") == ("676909", "2023-12-13")
    assert short_id("676909_2023-02-30") is None


def test_is_uuid_of_a_bare_one_only() -> None:
    assert is_uuid("16d46411-540a-4122-b47f-8cb2a15d593a")
    assert not is_uuid("676909")
    assert not is_uuid("x 16d46411-540a-4122-b47f-8cb2a15d593a")
