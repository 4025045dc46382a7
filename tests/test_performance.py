"""What a lookup costs beside its requests: modules, connections, waiting, CPU time, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

import aind_session
from aind_session import PartialAnswerWarning, Sandbox, Session
from aind_session.clock import use_clock
from aind_session.services import connections
from loopback import FakeClock
from worlds import invent_cohort

SESSION = "ecephys_676909_2023-12-13_13-43-40"
#: Sessions in a small and a large table.
FEW, MANY = 250, 1000
HEAVY = ("boto3", "botocore", "fsspec", "s3fs", "upath", "codeocean", "dataclasses_json", "pandas")

FIVE_ATTRIBUTES = (
    f"s = aind_session.Session({SESSION!r}); "
    "s.is_uploaded, s.modalities, s.raw_data_asset, s.raw_data_dir, s.data_assets"
)
PRINT_CPU = "u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"


def _run(code: str, bytecode: str = "") -> Any:
    """Run code in a new process; return the JSON that it printed last."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if bytecode:
        # An installed package has its bytecode; a checkout may be kept without.
        environment |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}
    done = subprocess.run(
        [sys.executable, "-c", f"import json, resource, sys\n{code}"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "lookups",
    [
        {
            "aind_session.get_sessions(676909)": set(),
            "session.docdb.genotype": set(),
            "session.is_uploaded": set(),
            "session.modalities": set(),
            "session.raw_data_dir": {"fsspec", "upath"},
        },
        {"session.data_assets": {"codeocean", "dataclasses_json"}},
    ],
)
def test_first_lookup_loads_only_what_it_uses(
    sandbox: Sandbox, lookups: dict[str, set[str]]
) -> None:
    steps = "".join(
        # Each begins with an empty cache.
        f"aind_session.context.reset(); {code}; steps.append(sorted(sys.modules));"
        for code in lookups
    )
    begin = (
        f"import aind_session, aind_session.context; session = aind_session.Session({SESSION!r})"
    )
    found = _run(f"{begin}; steps = []; {steps} print(json.dumps(steps))")
    loaded = [set(modules).intersection(HEAVY) for modules in found]
    assert loaded == list(lookups.values())


@pytest.mark.slow
def test_first_lookup_takes_little_more_cpu_than_importing_the_clients(tmp_path: Path) -> None:
    # Each against the import of `requests` and the Code Ocean SDK, in the same run.
    programs = {
        "import requests, codeocean": 1.0,
        "import aind_session; aind_session.get_sessions(676909)": 1.5,
        f"import aind_session; {FIVE_ATTRIBUTES}": 2.5,
        "from benchmarks.scenarios import readme; readme([])": 3.0,
    }
    root = str(Path(__file__).resolve().parents[1])
    with aind_session.sandbox(tls=True):
        seconds: dict[str, float] = {}
        for code in programs:
            full = f"sys.path.insert(0, {root!r}); {code}; {PRINT_CPU}"
            # The first run writes the bytecode.
            runs = [_run(full, str(tmp_path)) for _ in range(6)][1:]
            seconds[code] = min(runs)
    base = seconds["import requests, codeocean"]
    for code, ratio in programs.items():
        assert seconds[code] <= ratio * base, code


def test_requests_over_tls_share_one_context_and_reuse_connections() -> None:
    cohort = invent_cohort(n_subjects=6, sessions_per_subject=4, assets_per_session=2)
    subjects = sorted({str(record["subject"]["subject_id"]) for record in cohort.docdb_v1})
    before = connections._context_of.cache_info().misses
    with aind_session.sandbox(cohort, tls=True) as box:
        for subject_id in subjects:
            for session in aind_session.get_sessions(subject_id):
                assert session.modalities
                assert session.docdb["name"] == session.id
        counts = box.counts
    assert connections._context_of.cache_info().misses == before + 1
    assert counts.requests > 40
    # A session's lookups send at most five requests at the same time.
    assert counts.connections <= 8


def test_prefetch_over_tls_opens_no_more_connections_than_requests_in_flight() -> None:
    cohort = invent_cohort(n_subjects=20, sessions_per_subject=4, assets_per_session=2)
    subjects = sorted({str(record["subject"]["subject_id"]) for record in cohort.docdb_v1})
    with aind_session.sandbox(cohort, tls=True) as box:
        for _ in range(3):
            found = aind_session.get_sessions(subjects).prefetch("modalities", progress=False)
            assert len(found) == 80
            for session in found:
                session.refresh()
        counts = box.counts
    # At the same time: a search per subject and one by their field; two schemas; and listings in
    # each of 32 threads and the caller's own.
    assert counts.connections <= 21 + 4 + 33
    assert counts.requests > 4 * counts.connections


class _ThreadClock(FakeClock):
    """Notes how long each thread has slept."""

    def __init__(self) -> None:
        super().__init__()
        self.by_thread: dict[int, float] = {}

    def sleep(self, seconds: float) -> None:
        thread = threading.get_ident()
        self.by_thread[thread] = self.by_thread.get(thread, 0.0) + seconds
        super().sleep(seconds)


def _docdb_fails(session: Session) -> None:
    with pytest.raises(aind_session.ServiceError):
        _ = session.docdb


def test_seven_lookups_with_docdb_failing_wait_twelve_seconds_at_most(sandbox: Sandbox) -> None:
    sandbox.fail(service="docdb", status=500, times=None)
    one, other = Session(SESSION), Session("ecephys_668759_2023-07-11_13-07-32")
    waited, requests = [], []
    clock = _ThreadClock()
    with use_clock(clock), warnings.catch_warnings():
        warnings.simplefilter("ignore", PartialAnswerWarning)
        for look_up in (
            lambda: _docdb_fails(one),
            lambda: one.raw_data_dir,
            lambda: aind_session.get_sessions(676909),
            lambda: _docdb_fails(other),
            lambda: other.modalities,
            lambda: other.data_assets,
            lambda: aind_session.get_sessions(668759),
        ):
            clock.by_thread.clear()
            look_up()
            # Both schemas are requested at the same time: the longest wait counts.
            waited.append(max(clock.by_thread.values(), default=0.0))
            requests.append(sandbox.count("docdb"))
    assert sum(waited) <= 12
    # Two routes, two schemas, four attempts; then none is sent.
    assert requests[1:] == [16] * 6


def test_table_of_many_sessions_costs_little_cpu_and_memory() -> None:
    # By the number of function calls and by traced memory: both are the same on any machine.
    code = """
import tracemalloc
import aind_session, aind_session.table, aind_session.derived
aind_session.get_sessions(start_date="2099")
calls = 0
def count(frame, event, argument):
    global calls
    calls += event == "call"
tracemalloc.start()
sessions = aind_session.get_sessions(start_date="2000")
sys.setprofile(count)
table = aind_session.table.table([s._id for s in sessions], None)
sys.setprofile(None)
print([tracemalloc.get_traced_memory()[1], calls])
"""
    cost: dict[int, tuple[float, float]] = {}
    for count in (FEW, MANY):
        cohort = invent_cohort(count // 10, 10, 1)
        with aind_session.sandbox(cohort):
            peak, calls = _run(code)
        cost[count] = peak / count, calls / count
    assert cost[MANY][0] <= 6_000
    assert cost[MANY][1] <= 400
    # Nothing is quadratic: four times the sessions cost each session no more.
    assert cost[MANY][0] <= 1.1 * cost[FEW][0]
    assert cost[MANY][1] <= 1.1 * cost[FEW][1]
