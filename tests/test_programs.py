"""Programs as users write them, each run from top to bottom against the sandbox."""

from __future__ import annotations

import csv
import importlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import codeocean.computation
import pytest

import aind_session
from aind_session.clock import use_clock
from aind_session.sandbox import Sandbox
from loopback import FakeClock
from worlds import invent_session

PROGRAMS = Path(__file__).parent / "programs"
ID = "ecephys_676909_2023-12-13_13-43-40"
CAPSULE = "11111111-1111-4111-8111-111111111111"

Run = Callable[..., str]


@pytest.fixture
def run(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Run a program with arguments, as from a command line; waiting takes no time."""
    sandbox.catalogue.capsules[CAPSULE] = {"name": "Mine"}
    monkeypatch.setenv("MY_CAPSULE_ID", CAPSULE)
    # The SDK's own wait sleeps by itself.
    sdk = importlib.import_module(codeocean.computation.Computations.__module__)
    monkeypatch.setattr(sdk, "sleep", lambda seconds: None)

    def run_program(name: str, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(PROGRAMS / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    with use_clock(FakeClock()):
        yield run_program


def test_every_program_is_run() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    programs = sorted(path.stem for path in PROGRAMS.glob("*.py"))
    assert len(programs) >= 8
    assert [n for n in programs if f'run("{n}"' not in source and f"{n}.py" not in source] == []


def test_dashboard_has_one_row_per_session(run: Run, sandbox: Sandbox) -> None:
    rows: list[dict[str, Any]] = json.loads(run("dashboard_data", 676909))
    assert [row["session"] for row in rows] == [
        "ecephys_676909_2023-12-14_12-43-11",
        ID,
        "ecephys_676909_2023-12-11_14-24-35",
    ]
    row = rows[1]
    assert row["date"] == "2023-12-13"
    assert row["genotype"].startswith("Pvalb-IRES-Cre")
    assert row["raw_asset_link"] == f"{sandbox.urls['codeocean']}/data-assets/{row['raw_asset_id']}"
    assert row["s3"] == f"s3://aind-ephys-data/{ID}"
    assert (row["uploaded"], row["sorted"], row["being sorted"]) == (True, True, False)
    assert row["sorters"] == ["kilosort2_5"]
    assert row["sortings"][-1]["last line"] == "FULL PIPELINE time:  161658.77s"
    assert row["sortings"][-1]["probes"][0] == "ProbeA"
    assert {"annotated_probes", "sortings"} <= set(rows[0])


def test_dashboard_of_an_aligned_session_lists_its_probes(run: Run) -> None:
    (row,) = json.loads(run("dashboard_data", 795555))
    assert row["annotated_probes"] == [f"Probe{letter}_0" for letter in "ABCDEF"]


def test_sorting_capsule_starts_sessions_that_are_not_sorted(
    run: Run, sandbox: Sandbox, tmp_path: Path
) -> None:
    days = [f"ecephys_999123_2024-05-0{day}_10-00-00" for day in range(1, 7)]
    invent_session(sandbox.catalogue, days[0], sorted_by="kilosort4")
    invent_session(sandbox.catalogue, days[1], sorted_by="kilosort4", failed=True)
    invent_session(sandbox.catalogue, days[2], sorting_now=True)
    invent_session(sandbox.catalogue, days[3])
    invent_session(sandbox.catalogue, days[4], in_codeocean=False, linked_in_codeocean=False)
    invent_session(sandbox.catalogue, days[5], probes=())

    def report(*options: str) -> dict[str, str]:
        run("sort_unsorted", 999123, "--results", tmp_path, *options)
        found: dict[str, str] = json.loads((tmp_path / "sorting.json").read_text())
        return found

    expected = {
        days[0]: "sorted",
        days[1]: "would be sorted",
        days[2]: "being sorted",
        days[3]: "would be sorted",
        days[4]: "no raw data asset",
        days[5]: "no probes",
    }
    assert report("--dry-run") == expected
    assert sandbox.launched == []
    assert report("--dry-run", "--end-date", "2024-05-02") == {d: expected[d] for d in days[:2]}

    started = report()
    assert [started[day].split()[0] for day in (days[1], days[3])] == ["started", "started"]
    # Each run of the capsule launches the pipeline.
    assert (len(sandbox.launched), len(sandbox.launched_by_capsules)) == (2, 2)
    again = report()
    assert [again[day] for day in (days[1], days[3])] == ["being sorted", "being sorted"]
    assert len(sandbox.launched) == 2


def test_cohort_table_counts_probes(run: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    for day in (1, 2):
        name = f"ecephys_999124_2024-05-0{day}_10-00-00"
        invent_session(sandbox.catalogue, name, sorted_by=["kilosort2_5", "kilosort4"])
    invent_session(sandbox.catalogue, "ecephys_999124_2024-05-03_10-00-00")
    path = tmp_path / "cohort.csv"
    run("cohort_table", path, 999124, 676909, 795555)
    table = path.read_text(encoding="utf-8").splitlines()
    rows = {row["subject_id"]: row for row in csv.DictReader(table)}
    assert sorted(rows) == ["676909", "795555", "999124"]
    assert rows["999124"] == {
        "subject_id": "999124",
        "sessions": "2",
        "probes": "4",
        "sorter": "kilosort4",
        "aligned": "0",
    }
    assert rows["676909"]["sorter"] == "kilosort2_5"
    assert int(rows["795555"]["aligned"]) > 0


def test_launcher_runs_a_capsule_once_per_session(run: Run, sandbox: Sandbox) -> None:
    sandbox.launches.files = {"output": "all good\n", "table.csv": "a,b\n", "plots/a.png": ""}
    sandbox.launches.listings_until_visible = 2
    day = "676909_2023-12-13"
    assert json.loads(run("launch_per_session", day)) == {ID: ["output", "plots", "table.csv"]}
    computation, asset = sandbox.launched
    assert computation["parameters"] == [{"param_name": "session", "value": ID}]
    assert asset["custom_metadata"]["subject id"] == "676909"
    assert json.loads(run("launch_per_session", day)) == {ID: "done before"}
    assert len(sandbox.launched) == 2


def test_launcher_of_a_failing_capsule_reports_the_error(run: Run, sandbox: Sandbox) -> None:
    sandbox.launches.files = {"output": "Traceback (most recent call last):\nKeyError: 'spikes'"}
    report = json.loads(run("launch_per_session", "676909"))
    assert len(report) == 4
    assert set(report.values()) == {"failed: KeyError: 'spikes'"}
    assert len(sandbox.launched) == 4


def test_ibl_launcher_attaches_all_inputs(run: Run, sandbox: Sandbox) -> None:
    found = json.loads(run("ibl_launcher_data", 717381, "268=ProbeA", "269=ProbeB"))
    choices, launched = found["choices"], found["launched"]
    assert choices["ecephys"][0] == "ecephys_717381_2024-04-09_11-14-13"
    assert choices["surface"] == [
        "ecephys_717381_2024-04-09_11-44-16",
        "ecephys_717381_2024-04-10_16-51-20",
    ]
    assert "ecephys_717381_2024-04-09_11-14-13_sorted_2024-04-10_22-15-25" in choices["sorted"]
    assert "SmartSPIM_717381_2024-05-20_15-19-15" in choices["smartspim"]
    stitched = "SmartSPIM_717381_2024-05-20_15-19-15_stitched_2024-06-23_02-34-02"
    assert stitched in choices["stitched"]
    assert choices["annotations"][-1] == ["268", "269", "270", "265", "263", "262", "targets"]
    assert launched["records"] == 2
    assert launched["folder"] == "aind-scratch-data/aind-session/manifests/717381"
    assert launched["manifest"] in launched["attached"]
    assert {*choices["sorted"][-1:], stitched} <= set(launched["attached"])


def test_ibl_launcher_saves_a_pasted_state(run: Run, sandbox: Sandbox) -> None:
    program = runpy.run_path(str(PROGRAMS / "ibl_launcher_data.py"))
    state = aind_session.Subject(717381).neuroglancer.states[-1]
    name = program["save_state"](dict(state.content))
    assert name.startswith("SmartSPIM_717381_2024-07-03_10-49-01_neuroglancer-state_")
    assert sandbox.launched[-1]["tags"][-1] == "717381"
    assert name in program["get_choices"]("717381")["states"]


def test_annotation_table_keeps_all_channels(run: Run) -> None:
    report = json.loads(run("annotation_table", 795555, 676909))
    assert report["795555"]["channels"] == 48
    assert report["795555"]["devices"] == [f"Probe{letter}_0" for letter in "ABCDEF"]
    assert report["795555"]["deepest"] > 1000
    assert report["676909"]["channels"] == 0
    assert report["676909"]["genotypes"] == ["Pvalb-IRES-Cre/wt;Ai32(RCL-ChR2(H134R)_EYFP)/wt"]


def test_patched_functions_are_used_by_the_utilities(run: Run, tmp_path: Path) -> None:
    for name in ("ecephys_clipped", "ecephys_compressed/ProbeA.zarr"):
        (tmp_path / "ecephys" / name).mkdir(parents=True)
    (tmp_path / "output").write_text("N E X T F L O W\ndone")
    asset_id = aind_session.Session(ID).raw_data_asset.id
    assert json.loads(run("patched_tests", asset_id, tmp_path)) == {
        "streams": ["ProbeA"],
        "log": "done",
        "error": "patched",
    }


def test_own_namespace_replaces_the_converter() -> None:
    # In a process of its own: what it registers stays.
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "own_namespace.py"), "717381"],
        env={**os.environ, "AIND_SESSION_SANDBOX": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    report = json.loads(done.stdout)
    assert report["class"] == "OwnConverter"
    assert report["bucket"] == "aind-scratch-data"
    assert report["prefix"] == "ibl_annotation_temp/manifests/717381"
    assert len(report["surface"]) == 2
    # The program logs to stderr.
    assert "WARNING:aind_session" in done.stderr
    assert "ibl_data_converter" in done.stderr
