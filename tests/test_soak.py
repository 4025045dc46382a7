"""Sixteen threads, two hundred sessions, one request in twenty broken: never a wrong answer."""

from __future__ import annotations

import random
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session import AindSessionError, PartialAnswerWarning, Sandbox, Session, context
from truths import LOOKS, Look, is_partial, is_right
from worlds import invent_world

SECONDS = 20.0
THREADS = 16
#: Of twenty requests one fails; five ways to fail share it.
CHANCE = 0.05 / 5


@contextmanager
def _warnings_by_thread() -> Iterator[threading.local]:
    """Keep the warnings of each thread apart: `catch_warnings` is one for all of them."""
    caught = threading.local()
    show = warnings.showwarning

    def keep(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        caught.seen = [*getattr(caught, "seen", []), message]

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = keep
        try:
            yield caught
        finally:
            warnings.showwarning = show


class _Dice(random.Random):
    """Counts how often a fault was drawn."""

    met = 0

    def random(self) -> float:
        drawn = super().random()
        self.met += drawn < CHANCE
        return drawn


FAULTS: list[tuple[dict[str, Any], _Dice]] = [
    ({"status": 503}, _Dice(0)),
    ({"status": 429, "headers": {"Retry-After": "0"}}, _Dice(1)),
    ({"kind": "reset"}, _Dice(2)),
    ({"kind": "truncate"}, _Dice(3)),
    ({"kind": "hang"}, _Dice(4)),
]


def _break_by_chance(box: Sandbox) -> None:
    for fault, dice in FAULTS:
        box.fail(times=None, chance=CHANCE, **fault).dice = dice


def _megabytes() -> float:
    """Give the memory that this process holds now; not its peak, which other tests may have set."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as on Linux")
def test_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIND_SESSION_TIMEOUT", "2")
    catalogue, truth = invent_world(2024, 200)
    ids = sorted(truth.sessions)
    before = {thread.name for thread in threading.enumerate()}
    count: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    wrong: list[str] = []
    memory: list[float] = []
    lock = threading.Lock()
    requests = 0

    with aind_session.sandbox(catalogue) as box, _warnings_by_thread() as caught:
        _break_by_chance(box)
        until = time.monotonic() + SECONDS

        def drive(number: int) -> None:
            dice = random.Random(number)
            while time.monotonic() < until:
                session = Session(dice.choice(ids))
                if dice.random() < 0.7:
                    session.refresh()
                for what, look in LOOKS.items():
                    caught.seen = []
                    outcome, why = _try(what, look, session, caught)
                    with lock:
                        count[outcome] += 1
                        if outcome == "typed error":
                            errors[why] += 1
                        if outcome == "wrong":
                            wrong.append(f"{session.id} {what}: {why}")

        def _try(what: str, look: Look, session: Session, caught: Any) -> tuple[str, str]:
            of = truth.sessions[session.id]
            try:
                answer = look(session)
            except AindSessionError as error:
                return "typed error", type(error).__name__
            except Exception as error:
                return "wrong", repr(error)
            if is_right(what, answer, of, truth):
                return "right", ""
            partial = any(isinstance(w, PartialAnswerWarning) for w in caught.seen)
            if partial and is_partial(what, answer, of, truth):
                return "partial, warned", ""
            return "wrong", f"{answer!r}, {of}"

        threads = [
            threading.Thread(target=drive, args=(n,), name=f"soak {n}") for n in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            time.sleep(SECONDS / 12)
            requests += len(box.requests)
            # The sandbox's own memory, of what it was asked and what hangs, is none of the library.
            del box.requests[:]
            box.heal()
            _break_by_chance(box)
            memory.append(_megabytes())
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        box.heal()
    context.current().threads.close()
    left = {t.name for t in threading.enumerate()} - before
    # fsspec keeps its own thread for as long as the process.
    left = {name for name in left if "fsspec" not in name}
    met = [dice.met for _, dice in FAULTS]
    print(
        f"\n{requests} requests, {sum(met)} faults, answers: {dict(count)}, "
        f"typed errors: {dict(errors)}, memory in MB: {[round(m) for m in memory]}"
    )
    assert all(met)
    assert not wrong, "\n".join(wrong[:10])
    assert count["right"] > 10 * count["typed error"]
    assert not left
    # Flat: what was reached after a third of the time is about the most.
    assert memory[-1] < memory[len(memory) // 3] * 1.15
