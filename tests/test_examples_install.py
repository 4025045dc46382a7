"""The example packages: each installs in a clean environment, from a wheel in a local folder."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
OFFLINE = ["--no-index", "--no-build-isolation", "--no-deps", "--quiet"]

CHECK = """
import importlib, importlib.metadata, json, sys
import aind_session
name, module = sys.argv[1:]
example = importlib.import_module(module)
print(json.dumps([aind_session.__file__, example.__file__, importlib.metadata.requires(name)]))
"""
MODULES = {
    "downstream": ("sorting-queue", "sorting_queue"),
    "plugin_template": ("lick-counts", "lick_counts"),
}


def run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel of this package into a folder of its own."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheels")
    run(sys.executable, "-m", "pip", "wheel", *OFFLINE, "--wheel-dir", folder, ROOT)
    assert [path.name.partition("-")[0] for path in folder.iterdir()] == ["aind_session"]
    return folder


def test_wheel_contains_the_data_of_the_sandbox(wheels: Path) -> None:
    source = ROOT / "src"
    data = {
        path.relative_to(source).as_posix()
        for folder in ("templates", "bundled")
        for path in (source / "aind_session" / "sandbox" / folder).iterdir()
    }
    names = set(zipfile.ZipFile(next(wheels.iterdir())).namelist())
    assert data
    assert data - names == set()


def test_every_example_is_installed() -> None:
    assert {path.name for path in EXAMPLES} == set(MODULES)


def test_examples_install_from_a_local_wheel(wheels: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = next((tmp_path / "env").glob("[bS]*/python*"))
    site = Path(
        run(python, "-E", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    # Third-party packages come from this environment, aind-session does not.
    (site / "third_party.pth").write_text(sysconfig.get_path("purelib"))
    install = [sys.executable, "-m", "pip", "--python", python, "install", *OFFLINE]
    run(*install, "--force-reinstall", "--find-links", wheels, "aind-session>=0.4", *EXAMPLES)
    for example in EXAMPLES:
        name, module = MODULES[example.name]
        package, own, requires = json.loads(run(python, "-E", "-c", CHECK, name, module))
        assert Path(package).is_relative_to(site)
        assert Path(own).is_relative_to(site)
        (needed,) = (
            requirement
            for requirement in map(Requirement, requires)
            if requirement.name == "aind-session" and requirement.marker is None
        )
        assert "0.4.0" in needed.specifier
        assert "0.3.99" not in needed.specifier


@pytest.mark.parametrize("page", ["README.md", "pyproject.toml"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_requires_the_version_of_the_checkout(example: Path, page: str) -> None:
    text = (example / page).read_text(encoding="utf-8")
    assert "aind-session>=0.4" in text
    assert "checkout first" in text
