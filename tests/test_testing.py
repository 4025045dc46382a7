"""The pytest plugin and its context manager, in suites of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unittest
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import aind_session
from aind_session import testing
from aind_session.sandbox import Catalogue

pytest_plugins = ["pytester"]

SUITE = """
import aind_session
import pytest

pytestmark = pytest.mark.filterwarnings("error")
ID = "ecephys_999997_2024-01-01_10-00-00"

def test_the_bundled_catalogue(aind_sandbox):
    assert len(aind_session.get_sessions(676909)) == 4
    aind_sandbox.catalogue.data_assets.clear()
    aind_sandbox.catalogue.docdb_v1.clear()

def test_a_fresh_copy(aind_sandbox):
    assert len(aind_session.get_sessions(676909)) == 4
    assert aind_session.get_sessions(999997) == ()

def test_a_session_is_added_at_any_time(aind_sandbox):
    assert aind_session.get_sessions(999997) == ()
    made = aind_sandbox.add_session(
        ID, modalities=["ecephys", "fib"], sorted_by="kilosort4", generation="v2"
    )
    (session,) = aind_session.get_sessions(999997)
    assert session.id == made.id == ID
    assert session.modalities == ("ecephys", "fib")
    assert session.docdb.v2 and not session.docdb.v1
    assert session.ecephys.sorter.names == ("kilosort4",)

@pytest.mark.aind_sandbox("study")
def test_a_folder(aind_sandbox):
    assert [s.id for s in aind_session.get_sessions(999996)] == [ID.replace("97_", "96_")]
    assert aind_session.get_sessions(676909) == ()

@pytest.mark.aind_sandbox("empty", latency=0.01)
def test_latency(aind_sandbox):
    assert aind_sandbox.latency == 0.01
    assert aind_sandbox.catalogue.data_assets == []
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    catalogue = Catalogue(description="a study")
    catalogue.add_asset({"name": "ecephys_999996_2024-01-01_10-00-00"})
    catalogue.save(pytester.path / "study")
    pytester.makepyfile(SUITE)
    return pytester


NUMBER = SUITE.count("def test_")
PLAIN = ("-p", "no:cacheprovider", "-p", "no:randomly")


def test_plugin_is_registered() -> None:
    found = {entry.name: entry.value for entry in entry_points(group="pytest11")}
    assert found["aind_session"] == "aind_session.testing"


@pytest.mark.parametrize("workers", [0, 2])
def test_fixture_passes_its_suite(suite: pytest.Pytester, workers: int) -> None:
    page = Path(__file__).parents[1] / "docs" / "testing.md"
    blocks = re.findall(r"```python\n(.+?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    documented = "\n".join(blocks)
    if workers:
        # Without the documented tests: each worker loads everything once more.
        result = suite.runpytest_subprocess(*PLAIN, "-n", str(workers), "-k", "bundled or copy")
        result.assert_outcomes(passed=2)
        return
    suite.makepyfile(test_documented=documented)
    result = suite.runpytest_subprocess(*PLAIN, "--strict-markers")
    result.assert_outcomes(passed=NUMBER + documented.count("def test_"))


def test_option_selects_the_catalogue(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\naind_sandbox_catalogue = study\n")
    suite.makepyfile(
        """
        import aind_session
        import pytest

        def test_by_the_option(aind_sandbox):
            assert len(aind_session.get_sessions(999996)) == 1

        @pytest.mark.aind_sandbox("bundled")
        def test_the_mark_wins(aind_sandbox):
            assert len(aind_session.get_sessions(676909)) == 4

        @pytest.mark.aind_sandbox(latency=0.001)
        class TestMarked:
            def test_on_a_class(self, aind_sandbox):
                assert aind_sandbox.latency == 0.001
                assert len(aind_session.get_sessions(999996)) == 1

        @pytest.mark.aind_sandbox("nowhere")
        def test_no_catalogue(aind_sandbox):
            pass
        """
    )
    # Read from the folder of the configuration, wherever pytest is started.
    (suite.path / "below").mkdir()
    os.chdir(suite.path / "below")
    result = suite.runpytest_subprocess(*PLAIN, "..")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*no catalogue in *nowhere*"])


def test_plugin_loads_nothing_until_used() -> None:
    code = (
        "import json, sys, pytest; before = set(sys.modules); import aind_session.testing;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    loaded = set(json.loads(printed))
    ours = {name for name in loaded if name.startswith("aind_session")}
    # `utils` is a table of names.
    assert ours == {"aind_session", "aind_session.testing", "aind_session.utils"}
    # Nothing of others but what Python itself brings.
    assert {name.partition(".")[0] for name in loaded - ours} <= set(sys.stdlib_module_names)


def test_sandbox_works_without_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "import aind_session.testing as t\n"
        "with t.sandbox() as box: print(box.count(), hasattr(t, 'aind_sandbox'))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert printed.split() == [b"0", b"False"]


def test_sandbox_leaves_the_given_catalogue_unchanged(tmp_path: Path) -> None:
    catalogue = Catalogue(description="mine")
    catalogue.add_asset({"name": "one"})
    with testing.sandbox(catalogue) as box:
        box.add_session("ecephys_999997_2024-01-01_10-00-00")
        assert len(box.catalogue.data_assets) == 2
    assert [a["name"] for a in catalogue.data_assets] == ["one"]
    with testing.sandbox(catalogue.save(tmp_path / "study")) as box:
        assert [a["name"] for a in box.catalogue.data_assets] == ["one"]
    with testing.sandbox("bundled") as box:
        assert box.catalogue == Catalogue.bundled()


class TestInUnittest(unittest.TestCase):
    """The context manager, as unittest has it."""

    def setUp(self) -> None:
        self.box = testing.sandbox("empty").start()
        self.addCleanup(self.box.close)

    def test_one(self) -> None:
        self.box.add_session("ecephys_999997_2024-01-01_10-00-00")
        assert len(aind_session.get_sessions(999997)) == 1

    def test_another(self) -> None:
        assert aind_session.get_sessions(999997) == ()
