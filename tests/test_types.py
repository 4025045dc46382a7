"""The types that users' programs see: mypy and pyright infer them, and they are true."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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
        *(
            "create_sessions",
            "ask_a_session",
            "ask_its_metadata",
            "ask_its_sortings",
            "ask_a_subject",
        ),
        *("ask_many", "use_the_rest"),
    ],
)
def test_user_code_runs_in_the_sandbox(name: str) -> None:
    getattr(load(), name)()


@pytest.mark.slow
def test_user_code_passes_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    # A user's folder: without this project's settings, with the package as installed.
    shutil.copy(USER_CODE, tmp_path)
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path / 'cache'}", "user_code.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_user_code_passes_pyright(tmp_path: Path) -> None:
    pytest.importorskip("basedpyright")
    shutil.copy(USER_CODE, tmp_path)
    settings = {"typeCheckingMode": "standard", "enableTypeIgnoreComments": True}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "--outputjson", "user_code.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    assert [f"{one['range']['start']['line'] + 1}: {one['message']}" for one in found] == []


@pytest.mark.slow
def test_user_code_mistakes_are_found_by_pyright(tmp_path: Path) -> None:
    pytest.importorskip("basedpyright")
    text = USER_CODE.read_text(encoding="utf-8").split("# type: ignore")
    assert len(text) == MISTAKES + 1
    (tmp_path / "user_code.py").write_text("#".join(text))
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "--outputjson", "user_code.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    lines = {one["range"]["start"]["line"] for one in found if one["severity"] == "error"}
    assert len(lines) >= MISTAKES
