"""First use from many threads at once: the client libraries are loaded whole, whoever begins."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import aind_session

LOAD_AT_ONCE = """
import importlib, sys, threading

modules = sys.argv[1:]
start, failed = threading.Barrier(len(modules)), []

def load(name):
    start.wait()
    try:
        importlib.import_module(name)
    except Exception as error:
        failed.append(f"{name}: {error!r}")

threads = [threading.Thread(target=load, args=[name]) for name in modules]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("; ".join(failed) or 0)
"""


HOME = Path(aind_session.__file__).parent
USES = re.compile(r"^(?:from|import) codeocean\b", re.MULTILINE)


def test_only_the_services_import_the_sdk() -> None:
    # Elsewhere a first import of it in a second thread would meet the first one half way.
    users = [p for p in HOME.rglob("*.py") if USES.search(p.read_text(encoding="utf-8"))]
    assert {path.parent.name for path in users} == {"services"}


def test_modules_that_use_the_sdk_load_in_threads() -> None:
    modules = [
        f"aind_session.services.{path.stem}"
        for path in sorted((HOME / "services").glob("*.py"))
        if USES.search(path.read_text(encoding="utf-8"))
    ]
    assert len(modules) >= 4
    for _ in range(4):
        loaded = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", LOAD_AT_ONCE, *modules],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert loaded.returncode == 0, loaded.stderr
