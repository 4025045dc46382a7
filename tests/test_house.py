"""The rules of the house that a machine can hold: floors, sizes, what an import costs."""

from __future__ import annotations

import ast
import graphlib
import importlib
import json
import pkgutil
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

# From the ground up; files on one line share a floor, and may use each other.
FLOORS = [
    "errors",
    "forking",
    "progress",
    "setting_values",
    "env_files",
    "settings",
    "identifiers",
    "services",
    "records",
    "lookup",
    "derived",
    "extension",
    "value",
    "subject",
    "session",
    "table",
    "sessions",
    "search",
    "plots",
    "runs",
    "capsule",
    "catalogue",
    "utils",
    "extensions",
    "testing",
    "display",
    "cli",
    "__main__",
]

#: Imports from a layer above, inside functions: to return the objects of that layer.
ALLOWED_UPWARD = {
    ("extension", "session"),
    ("extension", "subject"),
    ("session", "capsule"),
    ("session", "search"),
    ("subject", "search"),
    ("value", "display"),
}

# Budgets of the design, and how much noise of a shared machine they allow for.
IMPORT_SECONDS = 0.040
SHORT_ID_SECONDS = 4e-6
LONG_PATH_SECONDS = 12e-6
NOISE = 3

HEAVY = {
    *("boto3", "botocore", "requests", "urllib3", "codeocean", "fsspec", "s3fs", "upath"),
    *("pydantic", "dotenv", "pandas", "polars", "msgspec", "npc_session", "rich", "typer"),
    *("importlib.metadata", "importlib.resources", "asyncio", "logging.config"),
}


# --- floors ---------------------------------------------------------------------------------------


def _module_name(path: Path) -> str:
    parts = ("aind_session", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {_module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield every import that can run: inside of functions too, but not for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from _imports(other)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        else:
            yield from _imports(node)


def _imported(name: str) -> set[str]:
    """Name the modules of the package that a module imports."""
    found: set[str] = set()
    for node in _imports(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, base]).rstrip(".")
        # `from package import module` needs the module; other names need the package itself.
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            found.add(inner if inner in MODULES else base)
    return {module for module in found if module in MODULES and module != name}


GRAPH = {
    name: {
        other
        for other in _imported(name)
        if tuple(one.removeprefix("aind_session.") for one in (name, other)) not in ALLOWED_UPWARD
    }
    for name in MODULES
}


def _floor(name: str) -> int:
    """Give the height of a module; the table of contents stands above all."""
    parts = name.split(".")
    return FLOORS.index(parts[1]) if len(parts) > 1 else len(FLOORS)


def test_every_file_stands_on_a_floor() -> None:
    assert {name.split(".")[1] for name in MODULES if "." in name} <= set(FLOORS)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_imports_upward(name: str) -> None:
    upward = {other for other in GRAPH[name] if _floor(other) > _floor(name)}
    assert not upward, f"{name} imports from above: {sorted(upward)}"


def test_nothing_imports_in_a_circle() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()


def test_errors_import_builtins_only() -> None:
    tree = ast.parse((SOURCE / "errors.py").read_text(encoding="utf-8"))
    assert {ast.unparse(node) for node in _imports(tree)} == {
        "from __future__ import annotations",
        "from typing import Any",
    }


# --- sizes and names ------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["src", "tests", "tools", "docs", "examples", "benchmarks"])
def test_files_are_short(folder: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_most_files_of_the_package_are_shorter_still() -> None:
    lengths = sorted(
        len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES.values()
    )
    assert lengths[len(lengths) // 2] < 150


def _packages() -> list[str]:
    return [name for name, path in MODULES.items() if path.name == "__init__.py"]


@pytest.mark.parametrize("name", _packages())
def test_no_public_callable_is_called_like_a_submodule(name: str) -> None:
    package = importlib.import_module(name)
    submodules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    # Loaded first: a submodule that is imported later would take a callable's place.
    for submodule in submodules - {"__main__"}:
        importlib.import_module(f"{name}.{submodule}")
    public = {n for n in getattr(package, "__all__", dir(package)) if not n.startswith("_")}
    callables = {n for n in public if callable(getattr(package, n))}
    assert not callables & submodules


def _order(name: str) -> tuple[int, str]:
    """Constants, classes, functions, then what is Python's own; each by the alphabet."""
    if name.startswith("__"):
        return 3, name
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


@pytest.mark.parametrize("name", _packages())
def test_tables_of_contents_are_sorted_and_true(name: str) -> None:
    package = importlib.import_module(name)
    names = getattr(package, "__all__", None)
    if names is None:
        return
    assert list(names) == sorted(names, key=_order)
    assert [n for n in names if not hasattr(package, n)] == []


def test_only_public_names_are_offered() -> None:
    said = _python("import aind_session, json; print(json.dumps(dir(aind_session)))")
    offered = json.loads(said)
    assert offered == sorted(offered)
    assert {n for n in offered if n.startswith("_")} <= {"__version__"}
    assert set(offered) == set(aind_session.__all__)


def test_the_types_are_shipped() -> None:
    assert (SOURCE / "py.typed").is_file()


# --- costs ----------------------------------------------------------------------------------------


def _python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


WATCHED = """
import json, sys
sys.dont_write_bytecode = True  # what Python caches of a first import is no file of ours
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
def test_importing_loads_no_client_and_reads_no_file(code: str) -> None:
    loaded, opened = json.loads(_python(WATCHED.format(code=code)))
    assert "aind_session" in loaded
    assert sorted(HEAVY & set(loaded)) == []
    assert opened == []


def test_importing_is_quick() -> None:
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
def test_making_a_session_is_quick(text: str, budget: float) -> None:
    make: Any = aind_session.Session
    assert make(text).id == ID
    assert len(text) in (len(ID), 300)
    seconds = min(timeit.repeat(lambda: make(text), number=500, repeat=10)) / 500
    assert seconds < NOISE * budget
