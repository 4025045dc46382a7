"""The examples in the docstrings of every module, against the bundled catalogue."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import aind_session

SOURCE = Path(aind_session.__file__).parent


def _modules_with_examples() -> list[str]:
    names = []
    for path in sorted(SOURCE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = ("aind_session", *path.relative_to(SOURCE).with_suffix("").parts)
            names.append(".".join(parts).removesuffix(".__init__"))
    return names


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("name", _modules_with_examples())
def test_examples(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("aind_session"):
            raise
        pytest.skip(f"{error.name} is not installed")
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder().find(module, name):
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
    assert runner.tries, "there is an example that doctest does not find"
