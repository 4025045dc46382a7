"""Run the benchmarks: `python -m benchmarks [--quick] [--latency 0.05]`.

Each scenario runs in a fresh process of its own, against the sandbox of this one, which counts the
requests; seconds are of the whole look, the import of the package included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.worlds import invent_cohort

import aind_session
from aind_session.sandbox import Catalogue
from benchmarks.scenarios import SCENARIOS

CHILD = """
import json, pathlib, re, resource, sys, time
from benchmarks.scenarios import SCENARIOS
name, naive, arguments = json.loads(sys.stdin.read())
started = time.perf_counter()
SCENARIOS[name][naive](arguments)
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_SELF)
peak = used.ru_maxrss
status = pathlib.Path("/proc/self/status")
if status.exists():
    # What the system tells otherwise is never below what the parent held when it started this one.
    peak = int(re.search("VmHWM:[^0-9]*([0-9]+)", status.read_text())[1])
print(json.dumps([seconds, used.ru_utime + used.ru_stime, peak / 1024]))
"""


@dataclass(frozen=True)
class Measured:
    """What one look cost."""

    requests: int
    chain: int
    seconds: float
    cpu: float
    megabytes: float

    def __str__(self) -> str:
        return (
            f"{self.requests:>8} {self.chain:>6} {self.seconds:>9.2f} {self.cpu:>8.2f} "
            f"{self.megabytes:>8.0f}"
        )


def measure(box: aind_session.Sandbox, name: str, naive: bool, arguments: list[str]) -> Measured:
    """Run one scenario in a process of its own."""
    box.reset()
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([name, int(naive), arguments]),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[1],
        timeout=3600,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    seconds, cpu, megabytes = json.loads(done.stdout.splitlines()[-1])
    return Measured(box.count(), box.longest_chain(), seconds, cpu, megabytes)


def compare(title: str, box: aind_session.Sandbox, name: str, arguments: list[str]) -> Measured:
    """Measure a scenario both ways, and print what the naive one costs more."""
    print(f"\n{title}\n{'':24}{'requests':>8} {'in row':>6} {'seconds':>9} {'CPU s':>8} {'MB':>8}")
    ours = measure(box, name, False, arguments)
    print(f"{'aind_session':24}{ours}")
    if SCENARIOS[name][1] is not None:
        theirs = measure(box, name, True, arguments)
        print(f"{'one after the other':24}{theirs}")
        print(
            f"{'ratio':24}{theirs.requests / ours.requests:>7.1f}x "
            f"{theirs.chain / ours.chain:>5.1f}x {theirs.seconds / ours.seconds:>8.1f}x "
            f"{theirs.cpu / ours.cpu:>7.1f}x {theirs.megabytes / ours.megabytes:>7.1f}x"
        )
    return ours


def subjects_of(cohort: Catalogue) -> list[str]:
    """Name the subjects of an invented cohort."""
    return sorted({str(r["subject"]["subject_id"]) for r in cohort.docdb_v1})


def sessions_of(cohort: Catalogue) -> list[str]:
    """Name the sessions of an invented cohort."""
    return sorted(str(r["name"]) for r in cohort.docdb_v1 if str(r["name"]).count("_") == 3)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds a request")
    parser.add_argument("--quick", action="store_true", help="leave out 10,000 sessions")
    options = parser.parse_args()
    latency = options.latency
    print(f"Against the sandbox, {latency * 1000:.0f} ms a request; ratios: naive to aind_session.")
    with aind_session.sandbox(latency=latency) as box:
        compare("(a) the README", box, "readme", [])
    cohort = invent_cohort(12, 9, 4)
    with aind_session.sandbox(cohort, latency=latency) as box:
        compare("(b) 20 sessions x 5 attributes", box, "five attributes", sessions_of(cohort)[:20])
        title = "(c) 12 subjects, 108 sessions: folders, records, assets"
        compare(f"{title}, by a plain loop", box, "cohort, loop", subjects_of(cohort))
        compare(f"{title}, prefetched", box, "cohort, batch", subjects_of(cohort))
    many = invent_cohort(1, 600, 5)
    with aind_session.sandbox(many, latency=latency) as box:
        compare("(d) one subject with 3,000 assets", box, "many assets", subjects_of(many))
    tabled = invent_cohort(200, 10, 2)
    with aind_session.sandbox(tabled, latency=latency) as box:
        compare("(e) a table of 2,000 sessions", box, "table", subjects_of(tabled))
        compare("(e) the same without naming subjects", box, "table of all", [])
    print("\nGrowth, aind_session alone")
    print(f"{'':34}{'requests':>8} {'in row':>6} {'seconds':>9} {'CPU s':>8} {'MB':>8}")
    for sessions in (100, 1_000) if options.quick else (100, 1_000, 10_000):
        grown = invent_cohort(sessions // 10, 10, 3)
        with aind_session.sandbox(grown, latency=latency) as box:
            for name in ("cohort, batch", "table", "table of all"):
                measured = measure(box, name, False, subjects_of(grown))
                print(f"{f'{name}, {sessions:,} sessions':34}{measured}", flush=True)


if __name__ == "__main__":
    main()
