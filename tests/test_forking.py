"""Forks at bad moments: the child process looks up all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

# In an interpreter of its own, where nothing of a look-up is imported yet.
IMPORTING = """
import importlib, os, signal, sys, threading, warnings

from aind_session import Session

warnings.simplefilter("ignore", DeprecationWarning)
begun = threading.Event()

class Slow:
    def find_spec(name, path=None, target=None):
        if name == {slow!r} and threading.current_thread() is not threading.main_thread():
            begun.set()
            threading.Event().wait(0.1)

sys.meta_path.insert(0, Slow)
looking = threading.Thread(target=lambda: importlib.import_module({first!r}))
looking.start()
assert begun.wait(10)
child = os.fork()
if child == 0:
    signal.alarm(30)
    pass  # codemod
    from aind_session.services import s3
    os._exit(0)
_, status = os.waitpid(child, 0)
looking.join()
print("ended with", os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize(
    ("first", "slow"),
    [
        ("aind_session.lookup.facts", "aind_session.lookup.assets"),
        ("aind_session.services.s3", "aind_session.services.s3_client"),
        ("requests", "requests.adapters"),
    ],
)
def test_a_fork_while_another_thread_imports(first: str, slow: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING.format(first=first, slow=slow)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("ended with 0\n", "")


IMPORTING_ITSELF = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from aind_session import Session

class Forking:
    def find_spec(name, path=None, target=None):
        if name == "aind_session.lookup.assets":
            sys.meta_path.remove(Forking)
            child = os.fork()
            if child == 0:
                os._exit(0)
            print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

sys.meta_path.insert(0, Forking)
import aind_session.lookup.facts
"""


def test_a_fork_in_the_midst_of_its_own_import_waits_for_nobody() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING_ITSELF], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("ended with 0\n", "")
