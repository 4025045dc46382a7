"""First use from many threads at once: the client libraries are loaded whole, whoever begins."""

from __future__ import annotations

import json
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


DECODE_AT_ONCE = """
import sys, threading
from aind_session.services import models
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(16)

def decode():
    barrier.wait()
    for _ in range(50):
        models.decode_asset(sys.argv[1].encode())

threads = [threading.Thread(target=decode) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
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


def test_first_models_decoded_in_threads_do_not_crash() -> None:
    # Where each thread made its own decoder, half of such processes ended by a segmentation fault.
    asset = {
        **{"id": "a", "name": "b", "state": "ready", "type": "dataset", "tags": ["raw"]},
        "source_bucket": {"bucket": "c", "origin": "aws", "prefix": "d", "external": True},
        "provenance": {"commit": "e", "data_assets": ["f"]},
    }
    command = [sys.executable, "-W", "ignore", "-c", DECODE_AT_ONCE, json.dumps(asset)]
    for _ in range(4):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


def test_classes_are_decoded_by_decoders_made_at_import() -> None:
    # msgspec prepares a class when it is first decoded: two threads at once may crash.
    decoded = re.compile(r"json\.decode\([^()]*(?:\([^()]*\)[^()]*)*\btype=([\w.]+(?:\[\w+\])?)")
    named = {
        f"{path.relative_to(HOME)}: {kind}"
        for path in HOME.rglob("*.py")
        for kind in decoded.findall(path.read_text(encoding="utf-8"))
        if kind not in ("str", "Json", "list[Json]", "msgspec.Raw")
    }
    assert named == set()
