"""The live services, read only: `pytest --live -n 0 tests/test_live.py`, with a token.

Without `--live` nothing here runs. With it, nothing else does.
"""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session import settings
from aind_session.cli import selfcheck
from aind_session.cli.assumptions import ASSUMPTIONS, RAW_ID, RESULT_ID, SESSION, UNKNOWN_ID
from test_readme import README, python_of

ROOT = README.parent


@pytest.fixture(scope="module")
def live() -> None:
    """Skip the test without a Code Ocean token."""
    if settings.current().token is None:
        pytest.skip(f"no Code Ocean token: set {settings.TOKEN_NAME}")


@pytest.fixture(scope="module")
def results(live: None) -> dict[str, selfcheck.Result]:
    return {result.assumption.id: result for result in selfcheck.check_all(ASSUMPTIONS)}


@pytest.mark.live
@pytest.mark.parametrize("one", ASSUMPTIONS, ids=attrgetter("id"))
def test_assumption_holds(one: selfcheck.Assumption, results: dict[str, selfcheck.Result]) -> None:
    result = results[one.id]
    if result.state == selfcheck.NOT_CHECKED:
        pytest.skip(f"could not check: {result.seen}")
    assert result.state == selfcheck.SAME, f"{one.assumed} Seen: {result.seen}"


@pytest.mark.live
@pytest.mark.parametrize("heading", ["Python", "Metadata of schema 1.x and 2.x"])
def test_examples_of_the_readme_print_what_they_show(heading: str, live: None) -> None:
    text = README.read_text(encoding="utf-8")
    start = text.index(f"\n## {heading}\n")
    section = python_of(text[start : text.index("\n## ", start + 1)])
    globs = {"aind_session": aind_session}
    test = doctest.DocTestParser().get_doctest(section, globs, heading, str(README), 0)
    output: list[str] = []
    found = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(
        test, out=output.append
    )
    assert not found.failed, "".join(output)
    run = [example for example in test.examples if not example.options.get(doctest.SKIP)]
    # Python 3.13 counts those that were skipped.
    assert found.attempted - getattr(found, "skipped", 0) == len(run) > 0


CONTRACT: dict[str, Callable[[], Any]] = {
    "asset by ID": lambda: aind_session.get_data_asset_model(RAW_ID).name == SESSION,
    "asset or computation": lambda: aind_session.get_codeocean_model(RAW_ID).name == SESSION,
    "raw asset": lambda: aind_session.is_raw_data_asset(RAW_ID),
    "no raw asset": lambda: not aind_session.is_raw_data_asset(RESULT_ID),
    "good result": lambda: not aind_session.is_data_asset_error(RESULT_ID),
    "output": lambda: aind_session.get_output_text(RESULT_ID),
    "source folder": lambda: aind_session.get_data_asset_source_dir(RAW_ID).name == SESSION,
    "folder of a result": lambda: (
        RESULT_ID in str(aind_session.get_data_asset_source_dir(RESULT_ID))
    ),
    "folder by name": lambda: aind_session.get_source_dir_by_name(SESSION).name == SESSION,
    "assets by name": lambda: len(aind_session.get_data_assets(SESSION)) >= 42,
    "assets of a subject": lambda: len(aind_session.get_subject_data_assets("676909")) >= 42,
    "record by name": lambda: aind_session.get_docdb_record(SESSION)["name"] == SESSION,
    "no record": lambda: aind_session.get_docdb_record(f"{SESSION}_absent") == {},
    "records of a subject": lambda: aind_session.get_subject_docdb_records("676909"),
    "sorted probes": lambda: aind_session.ecephys.get_sorted_probe_names(RESULT_ID),
    "sorter": lambda: aind_session.ecephys.get_sorter_name(RESULT_ID) == "kilosort2_5",
}


@pytest.mark.live
@pytest.mark.parametrize("name", CONTRACT)
def test_function_of_the_contract_returns_what_is_known(name: str, live: None) -> None:
    assert CONTRACT[name]()


@pytest.mark.live
def test_asset_that_does_not_exist_is_a_value_error(live: None) -> None:
    with pytest.raises(ValueError, match="404"):
        aind_session.get_data_asset_model(UNKNOWN_ID)
    absent = aind_session.Session("ecephys_676909_2030-01-01_00-00-00")
    assert getattr(absent, "raw_data_asset", None) is None


# -- the option itself -----------------------------------------------------------------------------


def run_pytest(*options: str, **environment: str) -> list[str]:
    """Run this file in a process of its own; return the lines of the output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "-rs", *options, __file__],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout.splitlines()


def test_live_tests_without_the_option_are_skipped() -> None:
    lines = run_pytest("-m", "live")
    assert any("live services: run with --live" in line for line in lines)
    assert " passed" not in lines[-1]


def test_live_tests_without_a_token_are_skipped(tmp_path: Path) -> None:
    lines = run_pytest("--live", HOME=str(tmp_path))
    assert any("no Code Ocean token: set CODE_OCEAN_API_TOKEN" in line for line in lines)
    assert " passed" not in lines[-1]


def test_live_tests_hold_in_the_sandbox() -> None:
    last = run_pytest("--live", AIND_SESSION_SANDBOX="1")[-1]
    n_tests = len(ASSUMPTIONS) + 2 + len(CONTRACT) + 1
    assert last.startswith(f"{n_tests} passed, 3 skipped")
