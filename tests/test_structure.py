"""The package's structure: layers, sizes, public names, and what an import costs."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aind_session

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "aind_session"
MAX_LINES = 500
MAX_MODULE_STATE = 6

#: Packages whose names are imported when they are first used, by name.
LAZY_TABLES = {"aind_session", "aind_session.extensions", "aind_session.utils"}
#: Functions that are also the package of their name: `aind_session.sandbox()` starts a sandbox.
CALLABLE_MODULES = {"aind_session": {"sandbox"}, "aind_session.sandbox": {"catalogue"}}

# The budgets of the design, and the factor by which a busy machine may exceed them.
IMPORT_SECONDS = 0.040
SHORT_ID_SECONDS = 4e-6
LONG_PATH_SECONDS = 12e-6
NOISE = 3

HEAVY = {
    *("boto3", "botocore", "requests", "urllib3", "codeocean", "fsspec", "s3fs", "upath"),
    *("pydantic", "dotenv", "pandas", "polars", "msgspec", "npc_session", "rich", "typer"),
    *("importlib.metadata", "importlib.resources", "asyncio", "logging.config"),
}


def _module_name(path: Path) -> str:
    parts = ("aind_session", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {_module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
PACKAGES = [name for name, path in MODULES.items() if path.name == "__init__.py"]


@functools.cache
def _tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def _python(code: str) -> str:
    done = _run("-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- imports and state ----------------------------------------------------------------------------


def test_modules_import_only_from_the_layers_below() -> None:
    pytest.importorskip("importlinter", reason="import-linter is in the extra `lint`")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = _run("-c", code, "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


def test_errors_imports_nothing_but_typing() -> None:
    nodes = list(ast.walk(_tree("aind_session.errors")))
    assert [node for node in nodes if isinstance(node, ast.Import)] == []
    sources = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert sources == {"__future__", "typing"}


def test_only_lazy_tables_import_modules_of_the_package_by_string() -> None:
    by_string = {
        name
        for name in MODULES
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Call)
        and re.search(r"\b(import_module|__import__)$", ast.unparse(node.func))
        and any("aind_session" in ast.unparse(argument) for argument in node.args)
    }
    assert by_string == LAZY_TABLES


def _module_state(name: str) -> Iterator[str]:
    """Yield the module-level names that are rebound, or hold locks, caches or empty containers."""
    kinds = r"(Lock|Condition|Event|OrderedDict|defaultdict|deque|Weak\w+|Cache|local|ContextVar)$"
    tree = _tree(name)
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            value = node.value
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            called = isinstance(value, ast.Call) and ast.unparse(value.func).partition("[")[0]
            if (called and re.search(kinds, called)) or (
                isinstance(value, ast.Dict | ast.List) and ast.unparse(value) in ("{}", "[]")
            ):
                yield f"{name}.{ast.unparse(target)}"
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Global):
            yield from (f"{name}.{changed}" for changed in inner.names)


def test_little_state_lives_in_modules() -> None:
    state = {found for name in MODULES for found in _module_state(name)}
    assert "aind_session.context._current" in state
    assert len(state) <= MAX_MODULE_STATE, sorted(state)


# --- sizes and names ------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["src", "tests", "tools", "docs", "examples", "benchmarks"])
def test_files_have_at_most_500_lines(folder: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.filterwarnings("ignore:aind_session.catalogue has moved:DeprecationWarning")
@pytest.mark.parametrize("name", PACKAGES)
def test_no_public_callable_has_the_name_of_a_submodule(name: str) -> None:
    package = importlib.import_module(name)
    submodules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    # All are imported first: a submodule that is imported later would replace a callable.
    for submodule in submodules - {"__main__"}:
        importlib.import_module(f"{name}.{submodule}")
    public = {n for n in getattr(package, "__all__", dir(package)) if not n.startswith("_")}
    callables = {n for n in public if callable(getattr(package, n))}
    assert callables & submodules <= CALLABLE_MODULES.get(name, set())


def _order(name: str) -> tuple[int, str]:
    """Sort constants, then classes, then functions, then dunder names, each alphabetically."""
    if name.startswith("__"):
        return 3, name
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.filterwarnings("ignore:aind_session.catalogue has moved:DeprecationWarning")
@pytest.mark.parametrize("name", PACKAGES)
def test_tables_of_contents_are_sorted_and_complete(name: str) -> None:
    package = importlib.import_module(name)
    names = getattr(package, "__all__", [])
    assert list(names) == sorted(names, key=_order)
    assert [n for n in names if not hasattr(package, n)] == []


def test_dir_of_the_package_lists_its_public_names() -> None:
    listed = json.loads(_python("import aind_session, json; print(json.dumps(dir(aind_session)))"))
    assert listed == sorted(listed)
    assert {n for n in listed if n.startswith("_")} == {"__version__"}
    assert set(listed) == set(aind_session.__all__)


def test_package_contains_the_marker_of_its_types() -> None:
    assert (SOURCE / "py.typed").is_file()


# --- costs ----------------------------------------------------------------------------------------


WATCHED = """
import json, sys
sys.dont_write_bytecode = True  # Python's own cache does not count
opened = []
def watch(event, args):
    if event == "open" and not str(args[0]).endswith((".py", ".pyc", ".so", ".pyd")):
        opened.append(str(args[0]))
sys.addaudithook(watch)
before = set(sys.modules)
{code}
print(json.dumps([sorted(set(sys.modules) - before), opened]))
"""


@pytest.mark.parametrize(
    "code",
    [
        "import aind_session",
        "import aind_session; aind_session.Session('ecephys_676909_2023-12-13_13-43-40')",
        "import aind_session.session, aind_session.subject, aind_session.search",
        "import aind_session.extension, aind_session.identifiers, aind_session.settings",
    ],
)
def test_import_loads_no_client_and_reads_no_file(code: str) -> None:
    loaded, opened = json.loads(_python(WATCHED.format(code=code)))
    assert "aind_session" in loaded
    assert sorted(HEAVY & set(loaded)) == []
    assert opened == []


def test_import_is_quick() -> None:
    code = (
        "import time; t = time.perf_counter(); import aind_session; print(time.perf_counter() - t)"
    )
    seconds = min(float(_python(code)) for _ in range(5))
    assert seconds < NOISE * IMPORT_SECONDS


ID = "ecephys_676909_2023-12-13_13-43-40"


@pytest.mark.parametrize(
    ("text", "budget"),
    [(ID, SHORT_ID_SECONDS), (f"{'/some_folder' * 23}/{ID}"[-300:], LONG_PATH_SECONDS)],
    ids=["ID", "path of 300 characters"],
)
def test_creating_a_session_is_quick(text: str, budget: float) -> None:
    make: Any = aind_session.Session
    assert make(text).id == ID
    assert len(text) in (len(ID), 300)
    seconds = min(timeit.repeat(lambda: make(text), number=500, repeat=10)) / 500
    assert seconds < NOISE * budget
