"""Sessions made from what users have: lists, columns, CSV files; masks and set operations."""

from __future__ import annotations

import datetime
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aind_session
from aind_session import Sandbox, Session, Sessions
from aind_session.errors import InvalidContentError, InvalidIdentifierError
from aind_session.sessions import SHOWN
from programs_on_workers import platform_or_fail

FIRST = "ecephys_676909_2023-12-11_14-24-35"
SECOND = "ecephys_676909_2023-12-13_13-43-40"
THIRD = "behavior_717381_2024-01-02_03-04-05"
IDS = [FIRST, SECOND, THIRD]


@pytest.fixture
def cohort() -> Sessions:
    return Sessions(IDS)


def _polars(values: list[str]) -> Any:
    return pytest.importorskip("polars").Series("session", values)


def _generator(values: list[str]) -> Any:
    return (value for value in values)


def _keys(values: list[str]) -> Any:
    return dict.fromkeys(values).keys()


@pytest.mark.parametrize(
    "collect", [list, tuple, _generator, pd.Series, pd.Index, np.array, _polars, _keys]
)
def test_sessions_of_any_iterable_of_ids(
    collect: Callable[[list[str]], Any], cohort: Sessions
) -> None:
    made = Sessions(collect(IDS))
    assert made == cohort == tuple(Session(one) for one in IDS)
    assert type(made) is Sessions


def test_sessions_of_sessions_names_paths_assets_and_records(sandbox: Sandbox) -> None:
    session = Session(SECOND)
    given = [
        session,
        SECOND,
        f"{SECOND}_sorted_2024-03-01_16-02-45",
        Path("/data") / SECOND / "x.nwb",
        session.raw_data_dir,
        session.raw_data_asset,
        session.ecephys.sorted_data_assets[0],
        {"name": SECOND, "subject": {"subject_id": "676909"}},
    ]
    assert Sessions(given) == (session,) * len(given)
    for one in given:
        assert Sessions(one) == (session,)
    assert Sessions() == ()


@pytest.mark.parametrize(
    "missing",
    [float("nan"), None, pd.NaT, "", "n/a", Path("a/676909_2023-02-30")],
)
def test_sessions_value_without_an_id_raises_once_with_its_position(missing: Any) -> None:
    for values in ([*IDS, missing], pd.Series([*IDS, missing], dtype=object)):
        with pytest.raises(InvalidIdentifierError) as caught:
            Sessions(values)
        shown = f"'{missing}'" if isinstance(missing, Path) else repr(missing)
        assert str(caught.value).startswith(f"item 3 ({shown}) has no session ID")
        assert str(caught.value).count("session ID") == 1
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("missing", [float("nan"), None, pd.NaT, pd.NA, "n/a"])
def test_sessions_missing_value_raises_with_how_to_drop_it(missing: Any) -> None:
    values = pd.Series([*IDS, missing], dtype=object)
    with pytest.raises(InvalidIdentifierError) as caught:
        Sessions(values)
    # `dropna` does not drop a text.
    is_dropped = len(values.dropna()) == len(IDS)
    assert str(caught.value).endswith('Sessions(df["column"].dropna())') is is_dropped


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("676909", "looks like a subject ID, not a session ID. Try get_sessions"),
        (676909, "looks like a subject ID, not a session ID. Try get_sessions"),
        ("676909_2023-12-13", "names"),
        ("16d46411-540a-4122-b47f-8cb2a15d593a", "is"),
    ],
)
def test_sessions_value_of_another_kind_raises_with_its_position(value: Any, problem: str) -> None:
    with pytest.raises(InvalidIdentifierError) as caught:
        Sessions([*IDS, value])
    assert str(caught.value).startswith(f"item 3 ({value!r}) {problem}")


@pytest.mark.parametrize(
    ("text", "column"),
    [
        (f"mouse,session\n1,{FIRST}\n2,{SECOND}\n", None),
        (f"mouse,session\n1,{FIRST}\n2,{SECOND}\n", "session"),
        (f"\ufeffsession\r\n{FIRST}\r\n\r\n{SECOND}\r\n", "session"),
        (f"{FIRST}\n{SECOND}\n", None),
        (f'"a, b", session \n"x, y",{FIRST}\n,s3://bucket/{SECOND}/x\n', "session"),
        (f"bad,session\n{SECOND},{FIRST}\n{FIRST},{SECOND}\n", "session"),
        (f"mouse,session\n1,\n2,{FIRST}\n3,  \n4\n,\n5,{SECOND}\n", None),
    ],
)
def test_from_csv_reads_one_session_per_line(tmp_path: Path, text: str, column: str | None) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert Sessions.from_csv(path, column) == Sessions(IDS[:2])
    assert Sessions.from_csv(str(path), column=column) == Sessions(IDS[:2])


def test_sessions_duplicates_stay_until_a_union(tmp_path: Path) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text("\n".join([SECOND, FIRST, SECOND]))
    for sessions in (Sessions.from_csv(path), Sessions([SECOND, FIRST, SECOND])):
        assert [one.id for one in sessions] == [SECOND, FIRST, SECOND]
        assert sessions | [] == Sessions([FIRST, SECOND])


@pytest.mark.parametrize(
    ("text", "column", "error", "message"),
    [
        ("", None, InvalidContentError, "is empty"),
        (f"session\n{FIRST}\n", "name", InvalidContentError, "has no column 'name': session"),
        ("a,b\n1,2\n", None, InvalidContentError, "no column with session IDs"),
        (f"session\n{FIRST}\n\n\nnan\n", None, InvalidIdentifierError, "line 5 of .*'nan'"),
        (f"{FIRST}\n676909\n", None, InvalidIdentifierError, "line 2 of .*'676909'"),
        (f'n,s\n"a\n\nb",{FIRST}\n2,x\n', None, InvalidIdentifierError, "line 5 of .*'x'"),
        (f"{FIRST},\n,{SECOND}\n", None, InvalidContentError, f"line 2 of .*'{SECOND}' in another"),
        (f"s,t\n{FIRST},\n ,{SECOND}\n", "s", InvalidContentError, f"line 3 of .*'{SECOND}'"),
    ],
)
def test_from_csv_invalid_content_raises(
    tmp_path: Path, text: str, column: str | None, error: type[ValueError], message: str
) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        Sessions.from_csv(path, column)


@pytest.mark.parametrize(
    ("text", "some"),
    [
        (f"mouse,session\n1,\n2,{FIRST}\n3,  \n4\n\n", "Lines 2, 4 and 5"),
        (f"mouse,session\n1,{FIRST}\n,\n3,\n", "Line 4"),
        (f"mouse,session\n1,{FIRST}\n" + "2,\n" * 12, "Lines 3, 4, 5, 6, 7 and 7 others"),
    ],
)
def test_from_csv_blank_cells_are_reported_with_their_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, some: str
) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text(text)
    with caplog.at_level("WARNING", "aind_session"):
        assert Sessions.from_csv(path) == Sessions([FIRST])
        assert Sessions.from_csv(path, "session") == Sessions([FIRST])
    skipped = f"{some} of {path} skipped: no value in the column with session IDs"
    assert caplog.messages == [skipped] * 2


def test_from_csv_advice_to_skip_lines_with_an_id_elsewhere_works(tmp_path: Path) -> None:
    path = tmp_path / "sessions.csv"
    path.write_text(f"session,other\n{FIRST},\n  ,{SECOND}\n")
    with pytest.raises(InvalidContentError) as caught:
        Sessions.from_csv(path)
    _, _, call = str(caught.value).rpartition("In pandas, skip such lines with ")
    assert eval(call, {"pandas": pd, "Sessions": Sessions}) == Sessions([FIRST])


@pytest.mark.parametrize("value", ["n/a", "nan", "not recorded", "676909", " - ", "a 'b' \"c\""])
@pytest.mark.parametrize("name", ["session", " recorded as", None])
def test_from_csv_advice_to_skip_other_values_works(
    tmp_path: Path, value: str, name: str | None
) -> None:
    path = tmp_path / "sessions.csv"
    quoted = '"' + value.replace('"', '""') + '"'
    header = f"mouse,{name}\n" if name else ""
    path.write_text(f"{header}1,{FIRST}\n2,{quoted}\n3,\n4,{SECOND}\n", encoding="utf-8")
    with pytest.raises(InvalidIdentifierError) as caught:
        Sessions.from_csv(path)
    message = str(caught.value)
    assert message.count("In pandas") == 1
    assert message.startswith(f"line {3 if name else 2} of {path} ({value!r}) ")
    _, _, call = message.rpartition("In pandas, skip such lines with ")
    found = eval(call, {"pandas": pd, "Sessions": Sessions})
    assert found == Sessions([FIRST, SECOND])


def test_filter_keeps_the_sessions_of_a_true_value(cohort: Sessions) -> None:
    found = cohort.filter(lambda session: session.subject_id == "676909")
    assert found == cohort[:2]
    assert type(found) is Sessions
    assert cohort.filter(lambda session: None) == ()
    with pytest.raises(ZeroDivisionError):
        cohort.filter(lambda session: 1 / 0)


@pytest.mark.parametrize("collect", [list, tuple, np.array, pd.Series, _polars])
def test_mask_selects_sessions(collect: Callable[[list[Any]], Any], cohort: Sessions) -> None:
    found = cohort[collect([True, False, True])]
    assert found == (cohort[0], cohort[2])
    assert type(found) is Sessions


def test_mask_of_a_column_of_its_own_table_selects_sessions(sandbox: Sandbox) -> None:
    sessions = aind_session.get_sessions(676909)
    table = sessions.to_pandas(["id", "platform", "dt"])
    assert sessions[table["platform"] == "ecephys"] == sessions[1:]
    assert pd.api.types.is_datetime64_any_dtype(table["dt"])
    polars = sessions.to_polars(["id", "platform", "dt"])
    assert sessions[polars["platform"] == "ecephys"] == sessions[1:]
    assert polars["dt"][0] == sessions[0].dt


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        ([True, False], IndexError),
        ([True] * 4, IndexError),
        ([0, 2, 1], TypeError),
        ([True, None, False], TypeError),
        (np.array([0.0, 1.0, 1.0]), TypeError),
        ("abc", TypeError),
    ],
)
def test_mask_of_another_length_or_kind_raises(
    mask: Any, error: type[Exception], cohort: Sessions
) -> None:
    with pytest.raises(error, match="mask of"):
        cohort[mask]


def test_set_operations_keep_the_type(cohort: Sessions) -> None:
    first, second, third = cohort
    left, right = Sessions([second, first]), [second, third]
    for made, expected in (
        (left | right, {first, second, third}),
        (left & right, {second}),
        (left - right, {first}),
    ):
        assert type(made) is Sessions
        assert set(made) == expected
        assert len(made) == len(expected)
    # A union is ascending by time; the others keep the order of the left side.
    assert left | right == (first, second, third)
    assert left - [] == (second, first)
    assert left & cohort == (second, first)


def test_repr_of_many_sessions_shows_the_ends_and_the_count() -> None:
    day = datetime.datetime(2024, 1, 1)
    every = [f"ecephys_1_{day + datetime.timedelta(days=n):%Y-%m-%d}_00-00-00" for n in range(1000)]
    some = Sessions(every[: 3 * SHOWN])
    assert repr(some) == repr(tuple(some))
    many = Sessions(every)
    text = repr(many)
    assert text.startswith("<1000 sessions: ")
    shown = [one for one in every if f"Session({one!r})" in text]
    assert shown == [*every[:SHOWN], *every[-SHOWN:]]
    assert len(repr(tuple(many))) > 40_000


def test_table_derived_and_url_of_a_session(sandbox: Sandbox) -> None:
    sessions = aind_session.get_sessions(676909)
    columns = ["id", "derived", "derived:*", "url"]
    table = sessions.to_pandas(columns)
    (session,) = sessions[[one.id == SECOND for one in sessions]]
    row = table[table["id"] == SECOND].iloc[0]
    every = session.get_derived_data_assets()
    assert row["derived"] == every[-1].name
    assert row["url"] == session.url
    labels = [name for name in table.columns if name.startswith("derived:")]
    assert "derived:sorted" in labels
    assert "derived:*" not in table.columns
    for name in labels:
        newest = session.get_derived_data_assets(name.removeprefix("derived:"))
        assert row[name] == (newest[-1].name if newest else None)
    polars = sessions.to_polars(columns)
    assert polars.columns == list(table.columns)


def test_map_error_has_the_session_id(sandbox: Sandbox) -> None:
    sessions = aind_session.get_sessions(676909)

    def fail(session: Session) -> None:
        raise KeyError("probe")

    with pytest.raises(KeyError) as caught:
        sessions.map(fail)
    assert _names(caught.value) == [sessions[0].id]
    returned = sessions.map(fail, errors="return")
    assert [_names(error) for error in returned if isinstance(error, KeyError)] == [
        [session.id] for session in sessions
    ]
    with pytest.raises(ValueError, match="not this one") as other:
        sessions.map(platform_or_fail)
    assert _names(other.value) == [sessions[0].id]


def _names(error: BaseException) -> list[str]:
    """Return the IDs that notes, or before Python 3.11 the message, name."""
    texts = getattr(error, "__notes__", None) or [str(error)]
    return [text.rpartition("session: ")[2].rstrip(")'\"") for text in texts]


HANGS = """
import signal, threading
import aind_session

some = aind_session.Sessions(["ecephys_1_2024-01-0%d_00-00-00" % day for day in range(1, 5)])
started = threading.Semaphore(0)

def hang(session):
    started.release()
    threading.Event().wait()

def interrupt():
    for _ in some:
        started.acquire()
    signal.raise_signal(signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    some.map(hang)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_map_interrupted_ends_the_script_while_calls_hang() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


class Queue(Executor):
    """An executor that begins none of its calls but the first."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if not self.futures:
            future.set_exception(ValueError("the first"))
        self.futures.append(future)
        return future


def test_map_first_error_cancels_calls_not_yet_begun(cohort: Sessions) -> None:
    queue = Queue()
    with pytest.raises(ValueError, match="the first") as caught:
        cohort.map(str, executor=queue)
    assert [future.cancelled() for future in queue.futures] == [False, True, True]
    assert _names(caught.value) == [cohort[0].id]


def test_map_leaves_no_thread_behind(cohort: Sessions) -> None:
    before = threading.active_count()
    assert cohort.map(lambda session: session.id) == IDS
    with pytest.raises(ZeroDivisionError):
        cohort.map(lambda session: 1 / 0)
    assert threading.active_count() == before
