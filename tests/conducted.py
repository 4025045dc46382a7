"""A world for runs: sessions, a clock that moves their computations on, and kills."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import aind_session
from aind_session.sandbox import Catalogue, Sandbox
from aind_session.sandbox.factory import result_asset
from aind_session.settings import RESULTS_BUCKET
from worlds import invent_cohort

CAPSULE = "cccccccc-0000-0000-0000-000000000001"
LABEL = "dlc-eye"
GOOD = {"output": "done\n", "eye.csv": "1,2\n"}
BAD_LOG = {"output": "Traceback (most recent call last):\n", "eye.csv": "1\n"}
UNFINISHED = ("initializing", "running", "finalizing")


class KilledError(BaseException):
    """The process ends here and now: nothing that comes after is done."""


@dataclass(frozen=True)
class Start:
    """A computation that Code Ocean started."""

    at: float
    session: str
    computation: str
    unfinished: int


class World:
    """The clock of a run; while it sleeps, computations and assets come along.

    Attributes
    ----------
    fates : dict
        How the first, second, ... computation of a session goes: "good", "failed", "bad log";
        the last one holds for all later ones.
    steps : tuple of int
        How many states a computation may move on in a sleep.
    kill_in : int or None
        Moments until the process is killed: looks at the clock (before, in and after each
        request), and steps of writing a file.
    """

    def __init__(self, box: Sandbox, seed: int = 0) -> None:
        self.box, self.random = box, random.Random(seed)
        self.now = 1_790_000_000.0
        self.slept: list[float] = []
        self.fates: dict[str, Sequence[str]] = {}
        self.steps: tuple[int, ...] = (3,)
        self.started: list[Start] = []
        self.kill_in: int | None = None
        self.moments = 0
        self._fate: dict[str, str] = {}
        self._sessions = {a["id"]: a["name"] for a in box.catalogue.data_assets}
        box.launches.polls = None
        box.launches.on_run = self._on_run

    # -- the clock

    def monotonic(self) -> float:
        self.moment()
        return self.now

    def time(self) -> float:
        self.moment()
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> None:
        self.moment()
        self.slept.append(seconds)
        self.now += seconds
        self.advance()

    # -- the world

    def _on_run(self, computation: dict[str, Any]) -> None:
        session = self._sessions[computation["data_assets"][0]["id"]]
        fates = self.fates.get(session, ("good",))
        fate = fates[min(self.starts_of(session), len(fates) - 1)]
        self._fate[computation["id"]] = fate
        computation["_files"] = dict(BAD_LOG if fate == "bad log" else GOOD)
        running = sum(c["state"] in UNFINISHED for c in self.box.launched)
        self.started.append(Start(self.now, session, computation["id"], running))

    def starts_of(self, session: str) -> int:
        return sum(start.session == session for start in self.started)

    def advance(self) -> None:
        for entry in self.box.launched:
            if entry["state"] in (*UNFINISHED, "draft"):
                failed = self._fate.get(entry["id"]) == "failed"
                self.box.launches.outcome = "failed" if failed else "succeeded"
                for _ in range(self.random.choice(self.steps)):
                    self.box.launches._step(entry)

    # -- kills

    def moment(self) -> None:
        """Let a moment pass, at which a process may be killed."""
        if threading.current_thread() is not threading.main_thread():
            return
        self.moments += 1
        if self.kill_in is not None:
            self.kill_in -= 1
            if self.kill_in < 0:
                # For good: nothing that a `finally` does is seen by anyone.
                raise KilledError

    def watch_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make moments of the steps of writing, which reach no disk here: that is slow."""
        replace = os.replace

        def watched(*args: Any, **options: Any) -> None:
            self.moment()
            replace(*args, **options)
            self.moment()

        monkeypatch.setattr(os, "fsync", lambda handle: self.moment())
        monkeypatch.setattr(os, "replace", watched)

    # -- what is checked

    @property
    def most_at_once(self) -> int:
        return max(start.unfinished for start in self.started)

    @property
    def most_in_a_minute(self) -> int:
        times = [start.at for start in self.started]
        return max(sum(t <= other < t + 60 for other in times) for t in times)

    @property
    def captured(self) -> Counter[str]:
        """How many assets were made of each session's results."""
        assets = [a for a in self.box.launched if "tags" in a]
        return Counter(name.split(f"_{LABEL}_")[0] for name in (a["name"] for a in assets))


def cohort(subjects: int, sessions: int) -> tuple[Catalogue, aind_session.Sessions]:
    """Invent sessions that have raw data assets, and a capsule for them."""
    catalogue = invent_cohort(subjects, sessions, 1)
    catalogue.capsules[CAPSULE] = {"name": "Eye tracking"}
    names = [asset["name"] for asset in catalogue.data_assets]
    return catalogue, aind_session.Sessions(aind_session.Session(name) for name in names)


def add_result(catalogue: Catalogue, session: str, label: str = LABEL, log: str = "done\n") -> str:
    """Add a result that is there already; return its name."""
    raw = next(a for a in catalogue.data_assets if a["name"] == session)
    name = f"{session}_{label}_2024-06-01_12-00-00"
    asset = result_asset(
        name,
        asset_id=f"result-{raw['id']}",
        created=raw["created"] + 100,
        subject=session.split("_")[1],
        platform="ecephys",
        inputs=[raw["id"]],
        capsule=CAPSULE,
    )
    catalogue.data_assets.append(asset)
    for key, text in (("output", log), ("eye.csv", "1\n")):
        catalogue.add_object(RESULTS_BUCKET, f"{asset['id']}/{key}", text)
    return name


def add_running(catalogue: Catalogue, session: str, **fields: Any) -> str:
    """Add a running computation of another process; return its ID."""
    raw = next(a for a in catalogue.data_assets if a["name"] == session)
    computation = {
        "id": f"running-{raw['id']}",
        "_capsule": CAPSULE,
        "state": "running",
        "data_assets": [{"id": raw["id"], "mount": session}],
        **fields,
    }
    return str(catalogue.add_computation(computation)["id"])


def raw_id(catalogue: Catalogue, session: str) -> str:
    """Return the ID of a session's raw data asset."""
    return str(next(a["id"] for a in catalogue.data_assets if a["name"] == session))


def ids(some: Iterable[Any]) -> list[str]:
    """Return the sessions of the rows of a plan or a report."""
    return [one.session for one in some]


def each_once(world: World, sessions: aind_session.Sessions) -> None:
    """Check that each session was started once, and each result captured once."""
    names = sorted(session.id for session in sessions)
    assert sorted(start.session for start in world.started) == names
    assert world.captured == dict.fromkeys(names, 1)
