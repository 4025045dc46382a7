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
IMPORTS = re.compile(r"^(?:from|import) codeocean\b", re.MULTILINE)


def test_one_module_imports_the_sdk() -> None:
    # Any other one, in a second thread, would meet the first import of it half way.
    users = [p for p in HOME.rglob("*.py") if IMPORTS.search(p.read_text(encoding="utf-8"))]
    assert users == [HOME / "services" / "sdk.py"]


def test_modules_that_use_the_sdk_load_in_threads() -> None:
    modules = [
        f"aind_session.services.{path.stem}"
        for path in sorted((HOME / "services").glob("*.py"))
        if "services.sdk" in path.read_text(encoding="utf-8")
    ]
    assert len(modules) >= 3
    for _ in range(2):
        loaded = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", LOAD_AT_ONCE, *modules],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert loaded.returncode == 0, loaded.stderr
