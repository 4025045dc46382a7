"""The types that users' programs see: mypy and pyright infer them, and they are true."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

USER_CODE = Path(__file__).parent / "typing" / "user_code.py"
MISTAKES = 7


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("user_code", USER_CODE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    "name",
    [
        *("create_sessions", "ask_a_session", "ask_its_metadata", "ask_its_sortings"),
        *("ask_a_subject", "ask_many", "use_the_rest"),
    ],
)
def test_user_code_runs_in_the_sandbox(name: str) -> None:
    getattr(load(), name)()


def check(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a type checker in a user's folder: without the settings of this project."""
    whole = [sys.executable, "-m", *command, "user_code.py"]
    return subprocess.run(whole, cwd=folder, capture_output=True, text=True, timeout=300)


def pyright(folder: Path, **settings: object) -> list[dict[str, Any]]:
    settings["typeCheckingMode"] = "standard"
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    options = ("--pythonpath", sys.executable, "--outputjson")
    done = check("basedpyright", *options, folder=folder)
    found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    return found


@pytest.mark.slow
def test_user_code_passes_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    shutil.copy(USER_CODE, tmp_path)
    options = ("--strict", "--ignore-missing-imports", f"--cache-dir={tmp_path / 'cache'}")
    done = check("mypy", *options, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_user_code_passes_pyright_and_its_mistakes_are_found(tmp_path: Path) -> None:
    pytest.importorskip("basedpyright")
    shutil.copy(USER_CODE, tmp_path)
    found = pyright(tmp_path, enableTypeIgnoreComments=True)
    assert [f"{one['range']['start']['line'] + 1}: {one['message']}" for one in found] == []
    text = USER_CODE.read_text(encoding="utf-8").split("# type: ignore")
    assert len(text) == MISTAKES + 1
    (tmp_path / "user_code.py").write_text("#".join(text))
    errors = [one for one in pyright(tmp_path) if one["severity"] == "error"]
    assert len({one["range"]["start"]["line"] for one in errors}) >= MISTAKES
