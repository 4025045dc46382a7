"""The notebooks in `examples/`: each is run from top to bottom, and prints its saved output."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.ipynb"))


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    matplotlib: Any = pytest.importorskip("matplotlib")
    pytest.importorskip("pandas")
    matplotlib.use("Agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def cells(path: Path) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(source: str, names: dict[str, Any]) -> str:
    """Run a cell; return what it prints and the value of its last line, as a notebook does."""
    tree = ast.parse(source)
    last = tree.body[-1]
    shown: Any = None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if isinstance(last, ast.Expr) and not source.rstrip().endswith(";"):
            exec(compile(ast.Module(tree.body[:-1], []), "cell", "exec"), names)
            shown = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        else:
            exec(compile(tree, "cell", "exec"), names)
    return printed.getvalue() + ("" if shown is None else repr(shown))


def saved(cell: dict[str, Any]) -> str:
    """Return the saved output of a cell as text."""
    outputs = cell["outputs"]
    assert all(output["output_type"] != "error" for output in outputs)
    texts = [output.get("text") or output["data"]["text/plain"] for output in outputs]
    return "".join("".join(text) for text in texts)


def dense(text: str) -> str:
    # A notebook breaks long lists into lines, and Python does not.
    return re.sub(r"\s+", "", text)


def test_notebooks_exist() -> None:
    assert len(NOTEBOOKS) >= 2


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_run_again_has_the_saved_output(path: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells(path)):
        source = "".join(cell["source"])
        assert dense(run(source, names)) == dense(saved(cell)), f"cell {number}: {source}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small_and_has_text_output_only(path: Path) -> None:
    assert path.stat().st_size < 20_000
    for cell in cells(path):
        assert cell["outputs"] == [] or saved(cell)
        assert {key for output in cell["outputs"] for key in output.get("data", {})} <= {
            "text/plain"
        }
