"""Run the benchmarks: `python -m benchmarks [--quick] [--growth] [--latency 0.05]`.

Each scenario runs in a process of its own against a sandbox of this process, over HTTPS, which
counts requests and connections. Seconds and CPU time are those of the whole lookup, the import of
the package and of the clients included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.worlds import invent_cohort

import aind_session
from aind_session.sandbox import Catalogue
from benchmarks.scenarios import SCENARIOS

CHILD = """
import json, pathlib, re, resource, sys, time
name, way, arguments = json.loads(sys.stdin.read())
if "table" in name:
    # Each way needs it for its table, and its import takes longer than a table.
    import pandas
before = resource.getrusage(resource.RUSAGE_SELF)
started = time.perf_counter()
# Imports `requests`, which each way needs.
from benchmarks.scenarios import SCENARIOS
getattr(SCENARIOS[name], way)(arguments)
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_SELF)
peak = used.ru_maxrss
status = pathlib.Path("/proc/self/status")
if status.exists():
    # `ru_maxrss` is never below what the parent held when it started this process.
    peak = int(re.search("VmHWM:[^0-9]*([0-9]+)", status.read_text())[1])
cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
print(json.dumps([seconds, cpu, peak / 1024]))
"""
WAYS = {"ours": "aind_session", "one_by_one": "one at a time", "by_hand": "lower bound"}
_COLUMNS = {"requests": 9, "in sequence": 12, "seconds": 9, "CPU s": 8, "connections": 12, "MB": 7}
HEADER = " " * 34 + "".join(f"{name:>{width}}" for name, width in _COLUMNS.items())
#: Issue 16: how many times faster than one request at a time, at 50 ms a request.
TARGETS = {
    "readme": 7.0,
    "five attributes, loop": 3.0,
    "five attributes, prefetched": 15.0,
    "cohort, loop": 10.0,
    "cohort, prefetched": 40.0,
    "many assets": 20.0,
}
#: And how many times the time of the lower bound.
BOUND_TARGET = 1.5


@dataclass(frozen=True)
class Measured:
    """What one lookup cost."""

    requests: int
    sequence: int
    seconds: float
    cpu: float
    connections: int
    megabytes: float

    def __str__(self) -> str:
        return (
            f"{self.requests:>9}{self.sequence:>12}{self.seconds:>9.2f}{self.cpu:>8.2f}"
            f"{self.connections:>12}{self.megabytes:>7.0f}"
        )


def measure(box: aind_session.Sandbox, name: str, way: str, arguments: list[str]) -> Measured:
    """Run one scenario in a process of its own."""
    box.reset()
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([name, way, arguments]),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[1],
        timeout=3600,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    seconds, cpu, megabytes = json.loads(done.stdout.splitlines()[-1])
    counts = box.counts
    return Measured(
        counts.requests, counts.in_sequence, seconds, cpu, counts.connections, megabytes
    )


def compare(
    title: str, box: aind_session.Sandbox, name: str, arguments: list[str], runs: int
) -> None:
    """Measure a scenario in each way, and print the ratios to ours."""
    print(f"\n{title}\n{HEADER}")
    best: dict[str, Measured] = {}
    for way, label in WAYS.items():
        if getattr(SCENARIOS[name], way) is None:
            continue
        # One at a time is slow and varies little; of the others the quickest of several runs.
        times = 1 if way == "one_by_one" else runs
        found = [measure(box, name, way, arguments) for _ in range(times)]
        best[way] = min(found, key=lambda one: one.seconds)
        print(f"{label:34}{best[way]}", flush=True)
    ours = best["ours"]
    if "one_by_one" in best:
        slow = best["one_by_one"]
        print(
            f"{'one at a time, in times ours':34}{slow.requests / ours.requests:>8.1f}x"
            f"{slow.sequence / ours.sequence:>11.1f}x{slow.seconds / ours.seconds:>8.1f}x"
            f"{slow.cpu / ours.cpu:>7.1f}x   (target: {TARGETS[name]:g}x the seconds)"
        )
    ratio = ours.seconds / best["by_hand"].seconds
    print(f"{'ours, in times the lower bound':34}{ratio:>29.2f}x   (target: {BOUND_TARGET:g}x)")


def subjects_of(cohort: Catalogue) -> list[str]:
    """Return the subjects of an invented cohort."""
    return sorted({str(r["subject"]["subject_id"]) for r in cohort.docdb_v1})


def sessions_of(cohort: Catalogue) -> list[str]:
    """Return the sessions of an invented cohort."""
    return sorted(str(r["name"]) for r in cohort.docdb_v1 if str(r["name"]).count("_") == 3)


def run_scenarios(latency: float, quick: bool, runs: int) -> None:
    """Compare the ways of each scenario."""
    with aind_session.sandbox(tls=True, latency=latency) as box:
        # Writes the bytecode, which an installed package has.
        measure(box, "readme", "ours", [])
        compare("The README", box, "readme", [], runs)
    cohort = invent_cohort(12, 9, 4)
    subjects, sessions = subjects_of(cohort), sessions_of(cohort)[:20]
    with aind_session.sandbox(cohort, tls=True, latency=latency) as box:
        for way in ("loop", "prefetched"):
            title = f"20 sessions x 5 attributes, {way}"
            compare(title, box, f"five attributes, {way}", sessions, runs)
        for way in ("loop", "prefetched"):
            title = f"12 subjects, 108 sessions: folders, records, assets, {way}"
            compare(title, box, f"cohort, {way}", subjects, runs)
    many = invent_cohort(1, 600, 5)
    with aind_session.sandbox(many, tls=True, latency=latency) as box:
        compare("One subject with 3,000 assets", box, "many assets", subjects_of(many), runs)
    if quick:
        return
    tabled = invent_cohort(200, 10, 2)
    with aind_session.sandbox(tabled, tls=True, latency=latency) as box:
        compare("A table of 2,000 sessions", box, "table", subjects_of(tabled), runs)
        compare("The same, no subject named", box, "table of all", [], runs)


def run_growth(latency: float, sizes: Sequence[int]) -> None:
    """Measure how the cost grows with the number of sessions."""
    print(f"\nGrowth, aind_session alone\n{HEADER}{'ms CPU each':>13}{'kB each':>9}")
    few = invent_cohort(1, 10, 3)
    for sessions in sizes:
        grown = invent_cohort(sessions // 10, 10, 3)
        for name in ("cohort, prefetched", "table of all"):
            # Memory beside that of the package and of its libraries.
            with aind_session.sandbox(few, tls=True, latency=latency) as box:
                start = measure(box, name, "ours", subjects_of(few)).megabytes
            with aind_session.sandbox(grown, tls=True, latency=latency) as box:
                found = measure(box, name, "ours", subjects_of(grown))
            print(
                f"{f'{name}, {sessions:,} sessions':34}{found}"
                f"{1000 * found.cpu / sessions:>13.2f}"
                f"{1024 * (found.megabytes - start) / sessions:>9.1f}",
                flush=True,
            )


def main() -> None:
    """Run what the options select."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds a request")
    parser.add_argument("--quick", action="store_true", help="leave out 2,000 sessions and more")
    parser.add_argument("--growth", action="store_true", help="only the growth, to 50,000 sessions")
    parser.add_argument("--runs", type=int, default=3, help="runs, of which the quickest counts")
    options = parser.parse_args()
    print(f"Against the sandbox over HTTPS, {options.latency * 1000:.0f} ms a request.")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=folder)
        if options.growth:
            run_growth(options.latency, (1_000,) if options.quick else (1_000, 10_000, 50_000))
        else:
            run_scenarios(options.latency, options.quick, options.runs)


if __name__ == "__main__":
    main()
