"""`testmod`: the examples of a script, of a module, or of this package."""

from __future__ import annotations

import doctest
import subprocess
import sys
import types
from pathlib import Path

import pytest

import aind_session
from aind_session.utils import misc_utils

SCRIPT = '''
"""A module that tests itself.

>>> 1 + 1
{result}
"""
import aind_session

if __name__ == "__main__":
    results = aind_session.testmod()
    print(results.attempted, results.failed)
'''


@pytest.mark.parametrize(("result", "printed"), [("2", "1 0"), ("3", "1 1")])
def test_testmod_in_a_script_tests_the_script(result: str, printed: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(result=result), encoding="utf-8")
    command = [sys.executable, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == printed


def test_testmod_of_a_module_passes_options() -> None:
    module = types.ModuleType("a_module", ">>> print('a   b')\na b\n>>> 1\n1\n")
    results = aind_session.testmod(m=module)
    assert isinstance(results, doctest.TestResults)
    assert (results.failed, results.attempted) == (0, 2)
    assert aind_session.testmod(m=module, optionflags=0, report=False).failed == 1


def test_testmod_without_a_script_tests_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import aind_session.identifiers.dates
    import aind_session.utils.docdb_utils

    chosen = [aind_session.identifiers.dates, aind_session.utils.docdb_utils]
    every = misc_utils._modules_with_examples()
    assert set(chosen) < set(every)
    assert len(every) > 40
    # A doctest session of another test may have left one behind.
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
    monkeypatch.setattr(misc_utils, "_modules_with_examples", lambda: chosen)
    results = aind_session.testmod()
    assert capsys.readouterr().out == ""
    assert results.failed == 0
    found = [test for module in chosen for test in doctest.DocTestFinder().find(module)]
    assert results.attempted == sum(len(test.examples) for test in found) > 5
