"""Bulk methods of a search's result, in threads, processes, forks and on a cluster."""

from __future__ import annotations

import copy
import datetime
import multiprocessing
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pandas as pd
import pytest

import aind_session
from aind_session import Sandbox, Session, Sessions
from aind_session.errors import InvalidFilterError
from aind_session.table import CHEAP, COLUMNS
from programs_on_workers import describe, platform_or_fail

FOUR = (
    Session("behavior_676909_2023-10-24_15-15-50"),
    Session("ecephys_676909_2023-12-11_14-24-35"),
    Session("ecephys_676909_2023-12-13_13-43-40"),
    Session("ecephys_676909_2023-12-14_12-43-11"),
)


@pytest.fixture
def sessions(sandbox: Sandbox) -> Sessions:
    return aind_session.get_sessions(676909)


def test_sessions_are_a_tuple(sessions: Sessions) -> None:
    assert sessions == FOUR
    assert hash(sessions) == hash(FOUR)
    assert repr(sessions) == repr(FOUR)
    assert isinstance(sessions[1:], Sessions)
    assert sessions[1:] == FOUR[1:]
    assert isinstance(sessions[0], Session)
    assert list(reversed(sessions)) == list(reversed(FOUR))
    assert isinstance(sessions + FOUR, Sessions)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_sessions_pickled_are_equal(sessions: Sessions, protocol: int) -> None:
    again = pickle.loads(pickle.dumps(sessions, protocol))
    assert again == sessions
    assert type(again) is Sessions
    assert copy.deepcopy(sessions) == sessions


def test_prefetch_leaves_nothing_to_request(sandbox: Sandbox, sessions: Sessions) -> None:
    assert sessions.prefetch("assets", "records", "modalities") is sessions
    before = sandbox.count()
    for session in sessions:
        assert session.raw_data_dir
        assert session.docdb.subject_id == "676909"
        assert session.data_assets
        assert session.modalities
    assert sandbox.count() == before


@pytest.mark.parametrize("what", ["everything", ["assets"]])
def test_prefetch_unknown_name_raises(what: Any) -> None:
    with pytest.raises(InvalidFilterError, match="assets, records"):
        Sessions(FOUR).prefetch(what)


def test_map_in_threads_keeps_the_order(sessions: Sessions) -> None:
    assert sessions.map(lambda s: s.id) == [s.id for s in sessions]
    assert Sessions(()).map(describe) == []


def test_map_raises_or_returns_errors(sessions: Sessions) -> None:
    with pytest.raises(ValueError, match="not this one"):
        sessions.map(platform_or_fail)
    first, *rest = sessions.map(platform_or_fail, errors="return")
    assert isinstance(first, ValueError)
    # As a note, before Python 3.11 in the message.
    assert sessions[0].id in "".join([str(first), *getattr(first, "__notes__", ())])
    assert rest == ["ecephys"] * 3
    with pytest.raises(InvalidFilterError):
        sessions.map(platform_or_fail, errors="ignore")  # type: ignore[call-overload]


def _spawned(sessions: Sessions) -> Any:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return sessions.map(describe, executor=executor)


def _forked(sessions: Sessions) -> Any:
    # The parent has looked things up: its pool has threads, its connections are open.
    if sys.platform == "win32":
        pytest.skip("there is no fork")
    context = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork beside threads: that it works here is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        with context.Pool(2) as pool:
            return pool.map_async(describe, sessions).get(timeout=60)


def _on_dask(sessions: Sessions) -> Any:
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        # In Python 3.11.7 the profiler of a worker can stop it for ever (docs/dask.md).
        dask.config.set({"distributed.worker.profile.enabled": False}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        return sessions.map(describe, executor=client.get_executor())


def _by_joblib(sessions: Sessions) -> Any:
    joblib = pytest.importorskip("joblib")
    return joblib.Parallel(n_jobs=2)(joblib.delayed(describe)(s) for s in sessions)


@pytest.mark.parametrize("run", [_spawned, _forked, _on_dask, _by_joblib])
def test_map_in_other_processes_agrees(
    sessions: Sessions, run: Callable[[Sessions], list[tuple[Any, ...]]]
) -> None:
    expected = [describe(session)[:3] for session in sessions]
    results = run(sessions)
    assert [r[:3] for r in results] == expected
    assert os.getpid() not in {r[3] for r in results}


def test_nothing_secret_is_pickled(sandbox: Sandbox, sessions: Sessions) -> None:
    sessions.prefetch()
    assert sandbox.token.encode() not in pickle.dumps(sessions)
    for session in sessions:
        assert session.docdb
        assert sandbox.token.encode() not in pickle.dumps(session.docdb)


def test_records_cross_processes_as_they_are(sandbox: Sandbox, sessions: Sessions) -> None:
    record, of_subject = sessions[2].docdb, aind_session.Subject(676909).docdb
    dumped = pickle.dumps((record, of_subject))
    sandbox.reset()
    again, of_subject_again = pickle.loads(dumped)
    assert (again, again.v1, again.v2) == (record, record.v1, record.v2)
    assert again.genotype == of_subject_again.genotype == record.genotype
    assert of_subject_again == of_subject
    assert sandbox.count() == 0


def test_table_by_default_sends_few_requests(sessions: Sessions, sandbox: Sandbox) -> None:
    before = sandbox.count()
    table = sessions.to_pandas()
    assert list(table.columns) == list(CHEAP)
    assert list(table["id"]) == [s.id for s in sessions]
    # The search has learned all of it.
    assert sandbox.count() == before
    assert table["genotype"].iloc[2] == FOUR[2].docdb.genotype
    sandbox.reset()
    assert sessions.to_pandas().equals(table)
    assert sandbox.count() == 2


def test_table_every_column_agrees_with_the_session(sessions: Sessions) -> None:
    table = sessions.to_pandas([*COLUMNS, "derived:*", "derived:sorted-ks2.5"])
    row = table.iloc[2]
    session = FOUR[2]
    assert row["raw_asset_id"] == session.raw_data_asset.id
    assert row["raw_asset_name"] == session.raw_data_asset.name
    assert row["folder"] == session.raw_data_dir.as_posix()
    assert row["n_assets"] == len(session.data_assets) == 42
    assert bool(row["uploaded"])
    assert bool(row["sorted"])
    assert row["dt"] == pd.Timestamp(session.dt)
    assert row["sex"] == session.docdb.sex
    assert row["date_of_birth"] == session.docdb.date_of_birth == datetime.date(2023, 8, 15)
    assert row["age_days"] == 120
    # The spellings of a label are one label.
    assert row["derived:sorted"] == row["derived:sorted-ks2.5"]
    assert row["derived:sorted"] == f"{session.id}_sorted_2024-03-01_16-02-45"
    assert tuple(row["modalities"]) == session.docdb.modalities


@pytest.mark.parametrize(("name", "nearest"), [("genotyp", "genotype"), ("age", "age_days")])
def test_table_unknown_column_suggests_one(name: str, nearest: str) -> None:
    with pytest.raises(InvalidFilterError, match=f"did you mean '{nearest}'"):
        Sessions(FOUR).to_pandas([name])


def test_to_polars_agrees_with_pandas(sessions: Sessions) -> None:
    polars = pytest.importorskip("polars")
    table = sessions.to_polars(["id", "n_assets", "project"])
    assert isinstance(table, polars.DataFrame)
    assert table.to_dicts() == sessions.to_pandas(["id", "n_assets", "project"]).to_dict("records")


def test_table_of_no_session_is_empty(sandbox: Sandbox) -> None:
    none = aind_session.get_sessions(123456)
    assert len(none) == 0
    assert none.to_pandas().shape == (0, len(CHEAP))
    table = none.to_pandas(list(COLUMNS))
    assert table[table["id"].str.startswith("ecephys") & (table["n_assets"] > 3)].empty
    assert none.prefetch() == ()


def test_to_polars_empty_columns_have_a_type(sandbox: Sandbox, sessions: Sessions) -> None:
    polars = pytest.importorskip("polars")
    schema = sessions.to_polars(list(COLUMNS)).schema
    none = aind_session.get_sessions(123456).to_polars(list(COLUMNS))
    assert none.schema == schema
    unknown = sessions[:1].to_polars(["id", "sorted", "result:none", "derived:none"])
    assert unknown.schema["derived:none"] == polars.String
