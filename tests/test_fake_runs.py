"""The fake Code Ocean, used by its SDK: computations, their results, and new assets."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import codeocean
import pytest
import requests
from codeocean.computation import (
    Computation,
    ComputationEndStatus,
    ComputationState,
    DataAssetsRunParam,
    NamedRunParam,
    RunParams,
)
from codeocean.data_asset import (
    AWSS3Source,
    AWSS3Target,
    ComputationSource,
    DataAssetAttachParams,
    DataAssetParams,
    DataAssetState,
    Source,
    Target,
)
from codeocean.error import Error

from aind_session.sandbox import Catalogue, Sandbox, sandbox
from aind_session.sandbox.launches import SORTING_CAPSULE, SORTING_PIPELINE
from aind_session.settings import RESULTS_BUCKET
from conducted import CAPSULE as CAPSULE_OF_RUNS
from conducted import cohort
from serving import sdk

CAPSULE = "11111111-1111-1111-1111-111111111111"


get = functools.partial(requests.get, timeout=5)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    catalogue = Catalogue()
    catalogue.capsules[CAPSULE] = {"name": "Sort of sorting"}
    catalogue.add_asset({"id": "raw", "name": "raw"})
    old = {"id": "old", "created": 1, "_files": {"output": "fine", "nwb/a.nwb": None}}
    for one in (old, {"id": "new", "created": 2, "state": "running"}):
        catalogue.add_computation({**one, "_capsule": CAPSULE})
    with sandbox(catalogue) as serving:
        yield serving


@pytest.fixture
def client(box: Sandbox) -> Iterator[codeocean.CodeOcean]:
    yield from sdk(box)


def pipelines(client: codeocean.CodeOcean) -> Any:
    """Return the pipelines' client; before SDK 0.13 the capsules' one was used for them."""
    return getattr(client, "pipelines", client.capsules)


def poll(client: codeocean.CodeOcean, computation: Computation) -> Computation:
    return client.computations.get_computation(computation.id)


def run(client: codeocean.CodeOcean) -> Computation:
    params = RunParams(
        capsule_id=CAPSULE,
        data_assets=[DataAssetsRunParam(id="raw", mount="raw")],
        parameters=["first", "second"],
        named_parameters=[NamedRunParam(param_name="n", value="3")],
    )
    return client.computations.run_capsule(params)


def test_list_computations_returns_those_of_the_capsule(client: codeocean.CodeOcean) -> None:
    for kind in (client.capsules, pipelines(client)):
        assert [c.id for c in kind.list_computations(CAPSULE)] == ["new", "old"]
    assert client.capsules.get_capsule(CAPSULE).name == "Sort of sorting"
    assert pipelines(client).list_computations(SORTING_PIPELINE) == []


def test_unknown_ids_name_the_sandbox(client: codeocean.CodeOcean) -> None:
    for call in (
        client.capsules.get_capsule,
        client.capsules.list_computations,
        pipelines(client).list_computations,
        client.computations.get_computation,
        client.computations.list_computation_results,
    ):
        with pytest.raises(Error, match="aind-session snapshot") as caught:
            call("missing")
        assert caught.value.status_code == 404


def test_search_capsules_matches_names(client: codeocean.CodeOcean) -> None:
    params = codeocean.capsule.CapsuleSearchParams
    found = client.capsules.search_capsules(params(query="name:sorting")).results
    assert [capsule.id for capsule in found] == [CAPSULE]
    assert client.capsules.search_capsules(params(query="none")).results == []


def test_result_files_are_listed_and_linked(box: Sandbox, client: codeocean.CodeOcean) -> None:
    computations = client.computations
    items = computations.list_computation_results("old").items
    assert [(item.name, item.type) for item in items] == [("nwb", "folder"), ("output", "file")]
    link = computations.get_result_file_urls("old", "output").download_url
    assert get(link).text == "fine"
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert computations.get_result_file_download_url("old", "output").url == link
    unrecorded = computations.get_result_file_urls("old", "nwb/a.nwb").download_url
    assert get(unrecorded).status_code == 501


def test_run_requested_advances_one_state(box: Sandbox, client: codeocean.CodeOcean) -> None:
    computation = run(client)
    states = [computation.state, *(poll(client, computation).state for _ in range(4))]
    assert states == ["initializing", "running", "finalizing", "completed", "completed"]
    done = poll(client, computation)
    assert (done.end_status, done.exit_code) == (ComputationEndStatus.Succeeded, 0)
    assert done.has_results
    assert [p.value for p in done.parameters or ()] == ["first", "second", "3"]
    assert [a.id for a in done.data_assets or ()] == ["raw"]
    assert [entry["id"] for entry in box.launched] == [computation.id]
    assert box.launched[0] in box.catalogue.computations
    assert client.capsules.list_computations(CAPSULE)[0].id == computation.id


def test_run_with_outcome_failed_fails(box: Sandbox, client: codeocean.CodeOcean) -> None:
    box.launches.outcome = "failed"
    box.launches.files = {"output": "Out of memory."}
    computation = run(client)
    box.advance(steps=3)
    done = poll(client, computation)
    assert (done.end_status, done.exit_code) == (ComputationEndStatus.Failed, 1)
    link = client.computations.get_result_file_urls(done.id, "output").download_url
    assert get(link).text == "Out of memory."


def test_run_without_polls_waits_for_advance(box: Sandbox, client: codeocean.CodeOcean) -> None:
    box.launches.polls = None
    computation = run(client)
    assert [poll(client, computation).state for _ in range(3)] == ["initializing"] * 3
    box.advance(computation.id)
    assert poll(client, computation).state == "running"
    box.launches.polls = 2
    assert [poll(client, computation).state for _ in range(2)] == ["running", "finalizing"]


def test_poll_of_recorded_run_changes_nothing(box: Sandbox, client: codeocean.CodeOcean) -> None:
    assert client.computations.get_computation("new").state == ComputationState.Running
    assert client.computations.get_computation("new").state == ComputationState.Running
    box.advance("new", steps=2)
    assert client.computations.get_computation("new").state == ComputationState.Completed


def test_sorting_capsule_launches_its_pipeline(box: Sandbox, client: codeocean.CodeOcean) -> None:
    params = RunParams(capsule_id=SORTING_CAPSULE, parameters=["ecephys_ks4", "raw"])
    client.computations.run_capsule(params)
    (launched,) = pipelines(client).list_computations(SORTING_PIPELINE)
    assert [asset.id for asset in launched.data_assets or ()] == ["raw"]
    assert launched.state == ComputationState.Initializing
    assert [run["_capsule"] for run in box.launched] == [SORTING_CAPSULE]
    assert [run["_capsule"] for run in box.launched_by_capsules] == [SORTING_PIPELINE]
    box.advance(steps=3)
    runs = [*box.launched, *box.launched_by_capsules]
    assert [run["state"] for run in runs] == ["completed"] * 2


def test_on_run_is_called_for_each_run(box: Sandbox, client: codeocean.CodeOcean) -> None:
    seen: list[str] = []
    box.launches.on_run = lambda computation: seen.append(computation["_capsule"])
    run(client)
    assert seen == [CAPSULE]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        (RunParams(), 400),
        (RunParams(capsule_id=CAPSULE, pipeline_id=CAPSULE), 400),
        (RunParams(capsule_id="missing"), 404),
        (RunParams(capsule_id=CAPSULE, data_assets=[DataAssetsRunParam(id="none")]), 404),
    ],
)
def test_run_invalid_returns_4xx(
    box: Sandbox, client: codeocean.CodeOcean, params: RunParams, status: int
) -> None:
    with pytest.raises(Error) as caught:
        client.computations.run_capsule(params)
    assert caught.value.status_code == status
    assert box.launched == []


def capture(client: codeocean.CodeOcean, source: Source, target: Target | None = None) -> str:
    params = DataAssetParams(name="made", tags=["t"], mount="made", source=source, target=target)
    asset = client.data_assets.create_data_asset(params)
    assert asset.state == DataAssetState.Draft
    assert client.data_assets.get_data_asset(asset.id).state == DataAssetState.Ready
    return str(asset.id)


def test_create_asset_from_computation_copies_results(
    box: Sandbox, client: codeocean.CodeOcean
) -> None:
    asset_id = capture(client, Source(computation=ComputationSource(id="old")))
    asset = client.data_assets.get_data_asset(asset_id)
    assert asset.provenance.computation == "old"
    assert asset.source_bucket is None
    assert [i.name for i in client.data_assets.list_data_asset_files(asset_id).items] == [
        "nwb",
        "output",
    ]
    entry = {"bucket": RESULTS_BUCKET, "key": f"{asset_id}/output", "text": "fine"}
    assert entry in box.catalogue.objects
    assert box.launched == [box.catalogue.data_assets[-1]]


def test_launched_has_computations_and_created_assets(
    box: Sandbox, client: codeocean.CodeOcean
) -> None:
    computation = run(client)
    box.advance(steps=3)
    asset_id = capture(client, Source(computation=ComputationSource(id=computation.id)))
    assert [one["id"] for one in box.launched] == [computation.id, asset_id]
    # As documented: only a computation has a run time.
    assert [one["id"] for one in box.launched if "run_time" in one] == [computation.id]
    assert box.launched_by_capsules == []


def test_create_asset_with_target_is_external(box: Sandbox, client: codeocean.CodeOcean) -> None:
    target = Target(aws=AWSS3Target(bucket="aind-open-data", prefix="made"))
    asset_id = capture(client, Source(computation=ComputationSource(id="old", path="nwb")), target)
    asset = client.data_assets.get_data_asset(asset_id)
    assert (asset.source_bucket.bucket, asset.source_bucket.prefix) == ("aind-open-data", "made")
    assert "made/a.nwb" in [entry["key"] for entry in box.catalogue.objects]


@pytest.mark.parametrize("external", [True, False])
def test_create_asset_from_bucket_has_its_files(
    box: Sandbox, client: codeocean.CodeOcean, external: bool
) -> None:
    box.catalogue.add_object("aind-scratch-data", "folder/x/1.json", "{}")
    source = AWSS3Source(
        bucket="aind-scratch-data", prefix="folder/x", keep_on_external_storage=external
    )
    asset_id = capture(client, Source(aws=source))
    asset = client.data_assets.get_data_asset(asset_id)
    assert asset.source_bucket.external is external
    copied = f"{asset_id}/1.json" in [entry["key"] for entry in box.catalogue.objects]
    assert copied is not external


def test_create_asset_from_unfinished_or_unknown_is_refused(
    box: Sandbox, client: codeocean.CodeOcean
) -> None:
    for source, message in (
        (Source(computation=ComputationSource(id="new")), "running"),
        (Source(computation=ComputationSource(id="none")), "not found"),
        (Source(aws=AWSS3Source(bucket="none")), "not found"),
    ):
        with pytest.raises(Error, match=message):
            capture(client, source)


def test_draft_lists_no_files(box: Sandbox, client: codeocean.CodeOcean) -> None:
    source = Source(computation=ComputationSource(id="old"))
    params = DataAssetParams(name="made", tags=[], mount="made", source=source)
    asset = client.data_assets.create_data_asset(params)
    with pytest.raises(Error, match="not ready"):
        client.data_assets.list_data_asset_files(asset.id)


@pytest.mark.skipif(
    not hasattr(codeocean.computation.Computations, "attach_data_assets"), reason="an older SDK"
)
def test_attach_and_detach_change_the_run(box: Sandbox, client: codeocean.CodeOcean) -> None:
    wanted = [DataAssetAttachParams(id="raw", mount="here")]
    attached = client.computations.attach_data_assets("new", wanted)
    assert [(a.id, a.mount, a.ready) for a in attached] == [("raw", "here", True)]
    known = client.computations.get_computation("new").data_assets
    assert [(a.id, a.mount) for a in known] == [("raw", "here")]
    client.computations.detach_data_assets("new", ["raw"])
    assert client.computations.get_computation("new").data_assets == []
    assert client.capsules.attach_data_assets(CAPSULE, wanted)[0].mount == "here"
    client.capsules.detach_data_assets(CAPSULE, ["raw"])


def test_rename_and_delete_change_the_run(box: Sandbox, client: codeocean.CodeOcean) -> None:
    client.computations.rename_computation("old", "renamed")
    assert client.computations.get_computation("old").name == "renamed"
    client.computations.delete_computation("old")
    with pytest.raises(Error):
        client.computations.get_computation("old")


def test_custom_metadata_lists_all_fields(box: Sandbox, client: codeocean.CodeOcean) -> None:
    box.catalogue.add_asset({"name": "x", "custom_metadata": {"subject id": "1"}})
    fields = client.custom_metadata.get_custom_metadata().fields
    assert [field.name for field in fields] == ["subject id"]


def test_launched_run_by_default_succeeds(tmp_path: Path) -> None:
    catalogue, sessions = cohort(1, 2)
    with sandbox(catalogue):
        report = sessions.run(
            CAPSULE_OF_RUNS, label="metrics", state=tmp_path / "a.json", poll_seconds=0
        )
        assert report.counts == {"done": 2}
        assert [s.get_derived_data_assets("metrics")[-1].is_error for s in sessions] == [False] * 2
