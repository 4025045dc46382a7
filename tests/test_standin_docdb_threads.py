"""The DocDB stand-in's first questions: many at once, in a process that has asked none yet."""

from __future__ import annotations

import subprocess
import sys

FIRST_QUESTIONS = """
import threading
from aind_session.sandbox import fake_docdb as mongo

records = [{"name": "a", "at": {"b": 1}}, {"name": "b", "at": {"b": 2}}]
start = threading.Barrier(8)
failed = []

def ask(number):
    start.wait()
    try:
        if number % 2:
            assert len(mongo.aggregate(records, [{"$match": {"name": "a"}}])) == 1
        else:
            assert len(list(mongo.find(records, {"name": "a"}, {}, {"at.b": 1}))) == 1
    except Exception as error:
        failed.append(error)

threads = [threading.Thread(target=ask, args=[n]) for n in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
"""


def test_first_questions_at_once() -> None:
    for _ in range(2):
        asked = subprocess.run(
            [sys.executable, "-c", FIRST_QUESTIONS], capture_output=True, text=True, timeout=60
        )
        assert asked.returncode == 0, asked.stderr
