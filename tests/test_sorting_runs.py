"""Failed runs, by their log and what they left; runs of the sorting pipeline, and starting one."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from codeocean.computation import Computation
from hypothesis import given
from hypothesis import strategies as st

import aind_session
from aind_session.errors import MissingFileError
from aind_session.extensions.ecephys import EcephysExtension
from aind_session.lookup import computations, results
from aind_session.sandbox import Catalogue, Sandbox
from aind_session.sandbox.server import Request, Response
from aind_session.services.assets import get_asset
from aind_session.services.models import decode_computation
from aind_session.services.s3 import Listing
from worlds import invent_session

TRIGGER, PIPELINE = "eb5a26e4-a391-4d79-9da5-1ab65b71253f", "1f8f159a-7670-47a9-baf1-078905fc9c2e"
RAW = "16d46411-540a-4122-b47f-8cb2a15d593a"
DOCUMENTED = "ecephys_676909_2023-12-13_13-43-40"
INVENTED = "ecephys_999997_2024-05-01_10-00-00"
RUNNING = "ecephys_999999_2024-01-02_10-00-00"

SORTING_LOG = "N E X T F L O W  ~  version 22.10.8\n[5e] spike sorting kilosort2_5: ProbeA\n"
CUDA = "The CUDA error was: CUDA_ERROR_OUT_OF_MEMORY\n"
ERRORS = (
    "Essential container in task exited",
    "Out of memory.",
    "Task failed to start - DockerTimeoutError",
    "Traceback (most recent call last):",
    "Command error:",
    "WARN: Killing running tasks",
)
harmless = st.text("abcdefghij \n:.", max_size=60)


# -- logs ------------------------------------------------------------------------------------------


@given(harmless, st.sampled_from(ERRORS), harmless, st.booleans())
def test_is_output_error_log_with_error_is_true(
    before: str, error: str, after: str, of_sorting: bool
) -> None:
    start = SORTING_LOG if of_sorting else ""
    assert results.is_output_error(start + before + error + after)
    assert results.is_output_error(start + CUDA + before + error + after)


@given(harmless, harmless)
def test_is_output_error_cuda_alone_in_sorting_is_false(before: str, after: str) -> None:
    assert results.is_output_error(before + CUDA + after)
    assert not results.is_output_error(SORTING_LOG + before + CUDA + after)
    assert not results.is_output_error(before + after)


@pytest.mark.parametrize(
    ("log", "is_sorting"),
    [
        (SORTING_LOG, True),
        ("N E X T F L O W\nsorting", False),
        ("N E X T F L O W\nkilosort4", False),
        ("spike sorting by kilosort4", False),
        ("", False),
    ],
)
def test_is_output_file_from_sorting_pipeline_needs_all_words(log: str, is_sorting: bool) -> None:
    assert results.is_output_file_from_sorting_pipeline(log) is is_sorting


@pytest.mark.parametrize(
    ("root", "log", "is_sorting", "why"),
    [
        (Listing(("nwb", "curated"), ("output",), True), SORTING_LOG, True, None),
        (Listing(("sorting_precurated",), ("output",), True), "done", True, None),
        (Listing(("nwb", "preprocessed"), ("output",), True), SORTING_LOG, True, "no sorted"),
        (Listing(("tracks",), ("output",), True), SORTING_LOG, False, None),
        (Listing(("curated",), ("output",), True), ERRORS[0], True, "an error"),
        (Listing(("nwb",), (), True), None, True, "no log"),
        (Listing(), None, False, "no log"),
    ],
)
def test_why_failed_by_log_and_folders(
    root: Listing, log: str | None, is_sorting: bool, why: str | None
) -> None:
    content = None if log is None else log.encode()
    found = results.why_failed(root, content, is_sorting=is_sorting)
    assert (found is None) if why is None else (found or "").startswith(why)


def test_why_failed_large_log_is_not_copied() -> None:
    log = b"\xff" + SORTING_LOG.encode() + 2**22 * b"..."
    root = Listing(("curated",), ("output",), True)
    tracemalloc.start()
    try:
        assert results.why_failed(root, log, is_sorting=True) is None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert results.why_failed(root, log + b"Out of memory.", is_sorting=True)


def test_failure_raw_data_is_none(sandbox: Sandbox) -> None:

    assert results.failure(get_asset(RAW)) is None
    with pytest.raises(MissingFileError, match="no file 'output'"):
        results.output_of_asset(get_asset(RAW))


def run(**changes: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "id": "11111111-0000-4000-8000-000000000001",
        "created": 1714600000,
        "name": "Run 1",
        "owner": "22222222-0000-4000-8000-000000000001",
        "run_time": 60,
        "state": "completed",
        "end_status": "succeeded",
        "exit_code": 0,
        "has_results": True,
        "_capsule": "33333333-0000-4000-8000-000000000001",
        "_files": {"output": "done", "results/table.csv": "1"},
    }
    return known | changes


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"end_status": None, "exit_code": None, "has_results": None}, None),
        ({"state": "failed"}, "the computation ended as succeeded"),
        ({"state": "failed", "end_status": None}, "the computation ended as failed"),
        ({"end_status": "stopped"}, "the computation ended as stopped"),
        ({"exit_code": 1}, "the computation ended with exit code 1"),
        ({"has_results": False}, "it left no results"),
        ({"_files": {}}, "it left no results"),
        ({"_files": {"output": "done"}}, "it left only output"),
        (
            {"_files": {"output": "done", "nextflow/trace.txt": ""}},
            "it left only nextflow and output",
        ),
        ({"_files": {"table.csv": ""}}, "its result failed: no log ('output')"),
        (
            {"_files": {"output": "Out of memory.", "table.csv": ""}},
            "its result failed: an error in its log ('output')",
        ),
        ({"_files": {"output": SORTING_LOG + CUDA, "curated/x": ""}}, None),
        ({"state": "running", "end_status": None, "exit_code": None, "has_results": None}, None),
        ({"state": "thawing", "end_status": None, "exit_code": None, "has_results": None}, None),
    ],
)
def test_why_failed_computation_by_state_and_results(
    sandbox: Sandbox, changes: dict[str, Any], why: str | None
) -> None:
    from aind_session.services import codeocean

    known = run(**changes)
    sandbox.catalogue.add_computation(known)
    computation = decode_computation(codeocean.get_computation(known["id"]))
    assert computations.why_failed(computation) == why
    assert aind_session.is_computation_error(computation) is (why is not None)


def test_why_failed_sorting_needs_sorted_streams(sandbox: Sandbox) -> None:
    sandbox.catalogue.add_computation(known := run(_files={"output": "done", "nwb/a.nwb": ""}))
    computation = aind_session.get_codeocean_model(known["id"])
    why = "its result failed: no sorted streams"
    assert computations.why_failed(computation, is_sorting=True) == why
    assert computations.why_failed(computation) is None


def test_run_of_sorting_ends_as_its_result_is_judged(sandbox: Sandbox, tmp_path: Path) -> None:
    session = aind_session.Session("ecephys_676909_2023-12-11_14-24-35")
    sessions = aind_session.Sessions([session])
    sandbox.launches.files = {"output": "done", "nwb/units.nwb": ""}
    report = sessions.run(PIPELINE, label="sorted", state=tmp_path / "a.json", poll_seconds=0)
    assert report.counts == {"failed": 1}
    assert "no sorted streams" in report.failed[0].why
    sandbox.launches.files = None
    report = sessions.run(PIPELINE, label="sorted", state=tmp_path / "b.json", poll_seconds=0)
    assert report.counts == {"done": 1}
    session.refresh()
    assert session.ecephys.is_sorted


def test_output_of_computation_missing_raises(sandbox: Sandbox) -> None:
    sandbox.catalogue.add_computation(run())
    sandbox.catalogue.add_computation(run(id="11111111-0000-4000-8000-000000000002", _files={}))
    assert computations.output("11111111-0000-4000-8000-000000000001") == "done"
    with pytest.raises(FileNotFoundError, match="no file 'output'"):
        computations.output("11111111-0000-4000-8000-000000000002")
    with pytest.raises(ValueError, match="404"):
        computations.output("11111111-0000-4000-8000-000000000003")


# -- under way -------------------------------------------------------------------------------------


def test_pipeline_ids_older_names_warn() -> None:
    assert EcephysExtension.DEFAULT_TRIGGER_CAPSULE_ID == TRIGGER
    assert EcephysExtension.DEFAULT_SORTING_PIPELINE_ID == PIPELINE
    instance = aind_session.Session(DOCUMENTED).ecephys
    for place in (EcephysExtension, instance):
        with pytest.warns(DeprecationWarning, match="use DEFAULT_TRIGGER_CAPSULE_ID"):
            assert place.TRIGGER_CAPSULE_ID == TRIGGER
        with pytest.warns(DeprecationWarning, match="use DEFAULT_SORTING_PIPELINE_ID") as caught:
            assert place.SORTING_PIPELINE_ID == PIPELINE
        assert caught[0].filename == __file__


def test_current_sorting_computations_are_those_of_the_session(sandbox: Sandbox) -> None:
    extension = aind_session.Session(RUNNING).ecephys
    (current,) = extension.current_sorting_pipeline_computations
    assert isinstance(current, Computation)
    assert str(current.state) == "running"
    assert aind_session.Session(DOCUMENTED).ecephys.current_sorting_pipeline_computations == ()
    raw = aind_session.Session(RUNNING).raw_data_asset
    for place in (EcephysExtension, extension, aind_session.ecephys):
        assert place.get_current_sorting_pipeline_computations() == (current,)
        for known in (raw, raw.id):
            assert place.get_current_sorting_pipeline_computations(
                raw_data_asset_id_or_model=known
            ) == (current,)
        assert place.get_current_sorting_pipeline_computations(PIPELINE, RAW) == ()
        with pytest.raises(ValueError, match="404"):
            place.get_current_sorting_pipeline_computations(pipeline_id=RAW)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox(Catalogue(buckets={"aind-open-data": {"public": True}})) as box:
        box.launches.polls = None
        invent_session(box.catalogue, INVENTED)
        yield box


def launched(box: Sandbox, capsule: str = TRIGGER) -> list[dict[str, Any]]:
    runs = [*box.launched, *box.launched_by_capsules]
    return [one for one in runs if one["_capsule"] == capsule]


def test_current_sorting_computations_ascend_and_end(box: Sandbox) -> None:
    extension = aind_session.Session(INVENTED).ecephys
    for _ in range(3):
        extension.run_sorting(skip_already_sorting=False)
    created = [c.created for c in extension.current_sorting_pipeline_computations]
    assert len(created) == 3
    assert created == sorted(created)
    box.advance(steps=2)
    assert len(extension.current_sorting_pipeline_computations) == 3
    box.advance()
    assert not extension.current_sorting_pipeline_computations


def test_run_sorting_starts_the_trigger_capsule(box: Sandbox) -> None:
    session = aind_session.Session(INVENTED)
    started = session.ecephys.run_sorting()
    assert isinstance(started, Computation)
    (computation,) = launched(box)
    assert started.id == computation["id"]
    values = [parameter["value"] for parameter in computation["parameters"]]
    assert values == ["ecephys_ks25", session.raw_data_asset.id]


@pytest.mark.parametrize("pipeline_type", ["ecephys_opto_ks25", "ecephys_ks4"])
def test_run_sorting_pipeline_type_is_passed(box: Sandbox, pipeline_type: str) -> None:
    aind_session.Session(INVENTED).ecephys.run_sorting(pipeline_type=pipeline_type)
    assert launched(box)[0]["parameters"][0]["value"] == pipeline_type


def test_run_sorting_other_capsule_and_parameters_are_used(box: Sandbox) -> None:
    other = "9fe42995-ffff-40ff-9c4c-c8206b8aacb5"
    extension = aind_session.Session(INVENTED).ecephys
    extension.run_sorting(trigger_capsule_id=other, override_parameters=["a", "b", "c"])
    (computation,) = launched(box, other)
    assert [p["value"] for p in computation["parameters"]] == ["a", "b", "c"]
    assert not launched(box)


def test_run_sorting_patched_ids_are_used(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    capsule, pipeline = (f"{n}fe42995-ffff-40ff-9c4c-c8206b8aacb5" for n in (8, 9))
    monkeypatch.setattr(aind_session.ecephys, "DEFAULT_TRIGGER_CAPSULE_ID", capsule)
    monkeypatch.setattr(aind_session.ecephys, "DEFAULT_SORTING_PIPELINE_ID", pipeline)
    box.catalogue.capsules[capsule] = {"name": "Mine"}
    session = aind_session.Session(INVENTED)
    attached = [{"id": session.raw_data_asset.id, "mount": "a"}]
    known = run(id=pipeline, state="running", end_status=None, _capsule=pipeline)
    box.catalogue.add_computation(known | {"data_assets": attached})
    (current,) = session.ecephys.current_sorting_pipeline_computations
    assert aind_session.ecephys.get_current_sorting_pipeline_computations() == (current,)
    assert session.ecephys.run_sorting() == current
    session.ecephys.run_sorting(skip_already_sorting=False)
    assert len(launched(box, capsule)) == 1
    assert not launched(box)


def test_run_sorting_in_progress_returns_it(box: Sandbox) -> None:
    extension = aind_session.Session(INVENTED).ecephys
    extension.run_sorting()
    (running,) = extension.current_sorting_pipeline_computations
    again = extension.run_sorting()
    assert again == running
    assert len(launched(box)) == 1
    extension.run_sorting(skip_already_sorting=False)
    assert len(launched(box)) == 2
    box.advance(steps=3)
    extension.run_sorting()
    assert len(launched(box)) == 3


def test_run_sorting_capsule_about_to_launch_returns_it(box: Sandbox) -> None:
    extension = aind_session.Session(INVENTED).ecephys
    first = extension.run_sorting()
    for computation in launched(box, PIPELINE):
        box.catalogue.computations.remove(computation)
    assert extension.current_sorting_pipeline_computations == ()
    assert extension.run_sorting().id == first.id
    assert len(launched(box)) == 1


def test_run_sorting_concurrent_threads_start_one(box: Sandbox) -> None:
    session = aind_session.Session(INVENTED)
    assert session.raw_data_asset
    box.latency = 0.01
    threads = [threading.Thread(target=session.ecephys.run_sorting) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(launched(box)) == 1


def test_run_sorting_failed_start_is_sent_once(box: Sandbox) -> None:
    fault = box.fail("codeocean", path="/computations$", method="POST", status=503, times=None)
    with pytest.raises(aind_session.ServiceError):
        aind_session.Session(INVENTED).ecephys.run_sorting()
    posts = [r for r in box.requests if r.method == "POST" and r.path.endswith("/computations")]
    assert len(posts) == 1
    assert fault


@pytest.mark.parametrize("whose", [PIPELINE, TRIGGER])
def test_run_sorting_runs_not_listed_starts_nothing(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "1")
    box.fail("codeocean", path=whose, times=None)
    with pytest.raises(aind_session.ServiceError):
        aind_session.Session(INVENTED).ecephys.run_sorting()
    assert launched(box) == []


@pytest.mark.parametrize("readable", ["", "data_assets"])
def test_run_sorting_unreadable_run_starts_nothing(box: Sandbox, readable: str) -> None:
    session = aind_session.Session(INVENTED)
    attached = [{"id": session.raw_data_asset.id, "mount": "a"}]
    known = run(state="running", end_status=None, _capsule=PIPELINE, data_assets=attached)
    box.catalogue.add_computation(known)
    other = run(id=TRIGGER, _capsule=PIPELINE, data_assets=[])
    box.catalogue.add_computation(other)

    def change(service: str, answer: Callable[[Request], Response], request: Request) -> Response:
        response = answer(request)
        if not request.path.endswith(f"{PIPELINE}/computations"):
            return response
        gone = readable or "id"
        listed = [
            {k: v for k, v in c.items() if k != gone or c["id"] != known["id"]}
            for c in json.loads(response.body)
        ]
        return replace(response, body=json.dumps(listed).encode())

    box.middleware.intercept(change)
    if readable:
        # The computation itself shows what the list leaves out.
        assert session.ecephys.run_sorting().id == known["id"]
    else:
        with pytest.raises(aind_session.ServiceError, match="skip_already_sorting=False"):
            session.ecephys.run_sorting()
    assert launched(box) == []
    assert session.ecephys.run_sorting(skip_already_sorting=False)


def test_run_sorting_run_that_shows_a_part_of_its_assets_is_returned(box: Sandbox) -> None:
    session = aind_session.Session(INVENTED)
    attached = [{"id": session.raw_data_asset.id, "mount": "a"}, {"mount": "b"}]
    known = run(state="running", end_status=None, _capsule=PIPELINE, data_assets=attached)
    box.catalogue.add_computation(known)
    assert session.ecephys.run_sorting().id == known["id"]
    assert launched(box) == []


def test_run_sorting_hidden_runs_starts(box: Sandbox) -> None:
    box.fail("codeocean", path=f"{TRIGGER}/computations", method="GET", status=403, times=None)
    assert aind_session.Session(INVENTED).ecephys.run_sorting()
    assert len(launched(box)) == 1


def test_run_sorting_without_raw_asset_raises(box: Sandbox) -> None:
    with pytest.raises(AttributeError, match="no raw data asset"):
        aind_session.Session("ecephys_999997_2024-05-02_10-00-00").ecephys.run_sorting()
    assert box.launched == []
