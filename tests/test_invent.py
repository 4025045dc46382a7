"""Invented sessions: what was requested exists, and the truth of a world holds in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import aind_session
from aind_session.sandbox import Catalogue, Sandbox
from aind_session.sandbox.shapes import (
    FAILURES,
    SessionName,
    invented_id,
    pacific,
    processing,
    sorted_stream,
    stream,
)
from worlds import (
    InventedSession,
    Truth,
    invent_cohort,
    invent_session,
    invent_world,
)

ID = "ecephys_999999_2024-01-01_10-00-00"
RESULTS = "codeocean-s3datasetsbucket-1u41qdg42ur9"
Json = dict[str, Any]


def made(session_id: str = ID, **known: Any) -> tuple[Catalogue, InventedSession]:
    catalogue = Catalogue()
    return catalogue, invent_session(catalogue, session_id, **known)


def keys(catalogue: Catalogue, prefix: str) -> list[str]:
    found = [o["key"] for o in catalogue.objects if o["key"].startswith(f"{prefix}/")]
    return [key.removeprefix(f"{prefix}/") for key in found]


def text(catalogue: Catalogue, key: str) -> str:
    (found,) = [o for o in catalogue.objects if o["key"] == key]
    return str(found["text"])


# -- one session -----------------------------------------------------------------------------------


def test_invent_session_plain_is_in_all_services() -> None:
    catalogue, one = made()
    (asset,) = catalogue.data_assets
    assert (asset["id"], asset["name"]) == (one.raw_asset_id, ID)
    assert asset["tags"] == ["999999", "ecephys", "raw"]
    assert asset["custom_metadata"] == {
        "data level": "raw",
        "experiment type": "ecephys",
        "subject id": "999999",
    }
    (record,) = catalogue.docdb_v1
    assert record["location"] == one.location == f"s3://aind-open-data/{ID}"
    assert record["external_links"] == {"Code Ocean": [one.raw_asset_id]}
    assert catalogue.docdb_v2 == []
    folders = {key.split("/")[0] for key in keys(catalogue, ID) if "/" in key}
    assert folders == {"behavior", "behavior-videos", "ecephys", "original_metadata"}


def test_invent_session_is_deterministic() -> None:
    options: Json = {"sorted_by": ["kilosort4"], "labels": ["nwb"], "generation": "both"}
    assert made(**options) == made(**options)
    assert made(**options) != made("ecephys_999999_2024-01-01_10-00-01", **options)


@pytest.mark.parametrize(
    ("generation", "counts"), [("v1", (1, 0)), ("v2", (0, 1)), ("both", (1, 1)), (None, (0, 0))]
)
def test_invent_session_generation_selects_the_records(
    generation: str | None, counts: tuple[int, int]
) -> None:
    catalogue, _ = made(generation=generation, genotype="wt/wt", project="P")
    assert (len(catalogue.docdb_v1), len(catalogue.docdb_v2)) == counts
    for old in catalogue.docdb_v1:
        assert old["subject"]["genotype"] == "wt/wt"
        assert old["data_description"]["project_name"] == "P"
    for new in catalogue.docdb_v2:
        assert new["subject"]["subject_details"]["genotype"] == "wt/wt"
        assert new["data_description"]["project_name"] == "P"
        assert "quality_control" in new


def test_invent_session_in_both_schemas_agrees() -> None:
    catalogue, one = made(generation="both")
    (old,), (new,) = catalogue.docdb_v1, catalogue.docdb_v2
    assert old["location"] == new["location"]
    assert old["_id"] != new["_id"]
    assert new["other_identifiers"] == {"Code Ocean": [one.raw_asset_id]}
    start = new["acquisition"]["acquisition_start_time"]
    assert start == f"{old['session']['session_start_time']}-08:00"


def test_invent_session_sorted_by_adds_results_files_and_runs() -> None:
    catalogue, one = made(sorted_by=["kilosort2_5", "kilosort4"], probes=["ProbeA", "50213-1"])
    assert len(one.sorted_asset_ids) == len(one.computation_ids) == 2
    assert one.asset_ids == (one.raw_asset_id, *one.sorted_asset_ids)
    first, last = (keys(catalogue, asset_id) for asset_id in one.sorted_asset_ids)
    assert not any(".zarr/" in key for key in first)
    assert f"postprocessed/{sorted_stream('50213-1')}.zarr/.zattrs" in last
    assert f"curated/{sorted_stream('ProbeA')}/si_folder.json" in last
    for asset in catalogue.data_assets[1:]:
        assert asset["name"].startswith(f"{ID}_sorted_")
        assert "source_bucket" not in asset
        assert asset["provenance"]["data_assets"] == [one.raw_asset_id]
        assert asset["provenance"]["computation"] in one.computation_ids
    runs = [c for c in catalogue.computations if c["id"] in one.computation_ids]
    assert [run["data_assets"][0]["id"] for run in runs] == [one.raw_asset_id] * 2
    assert "N E X T F L O W" in runs[0]["_files"]["output"]


@pytest.mark.parametrize("way", [*FAILURES, True])
def test_invent_session_failed_leaves_the_log_of_the_newest(way: str | bool) -> None:
    catalogue, one = made(sorted_by=["kilosort2_5", "kilosort4"], failed=way)
    good, bad = one.sorted_asset_ids
    assert any(key.startswith("nwb/") for key in keys(catalogue, good))
    assert keys(catalogue, bad) == ["nextflow/trace.txt", "output"]
    expected = FAILURES["traceback" if way is True else str(way)]
    assert text(catalogue, f"{bad}/output").endswith(expected)
    (run,) = [c for c in catalogue.computations if c["id"] == one.computation_ids[-1]]
    assert (run["end_status"], run["exit_code"]) == ("failed", 1)


def test_invent_session_sorting_now_adds_a_run_without_end() -> None:
    catalogue, one = made(sorting_now=True)
    (run,) = [c for c in catalogue.computations if c["id"] in one.computation_ids]
    assert run["state"] == "running"
    assert "end_status" not in run
    assert run["data_assets"] == [{"id": one.raw_asset_id, "mount": ID}]


def test_invent_session_labels_add_derived_assets() -> None:
    catalogue, one = made(labels=["dlc-eye", "processed"])
    assert list(one.derived_asset_ids) == ["dlc-eye", "processed"]
    levels = [r["data_description"]["data_level"] for r in catalogue.docdb_v1]
    assert levels == ["raw", "derived", "derived"]
    places = [r["location"] for r in catalogue.docdb_v1[1:]]
    assert places == [f"s3://{RESULTS}/{i}" for i in one.derived_asset_ids.values()]


def test_invent_session_old_layout_has_ecephys_in_the_root() -> None:
    catalogue, _ = made(old_layout=True)
    folders = {key.split("/")[0] for key in keys(catalogue, ID) if "/" in key}
    assert folders == {
        *("behavior", "behavior_videos", "ecephys_clipped", "ecephys_compressed"),
        "original_metadata",
    }


def test_invent_session_without_folder_or_assets() -> None:
    catalogue, one = made(uploaded=False)
    assert (one.raw_asset_id, one.location, catalogue.objects) == (None, None, [])
    assert len(catalogue.docdb_v1) == 1
    catalogue, one = made(in_codeocean=False, labels=["nwb"], sorted_by="kilosort4")
    assert (one.asset_ids, catalogue.data_assets) == ((), [])
    assert all(r["external_links"] == {"Code Ocean": []} for r in catalogue.docdb_v1)
    assert keys(catalogue, ID)


def test_invent_session_unlinked_and_without_metadata() -> None:
    catalogue, one = made(linked_in_codeocean=False, metadata=False, labels=["nwb"])
    assert len(one.asset_ids) == 2
    assert all(r["external_links"] == {"Code Ocean": []} for r in catalogue.docdb_v1)
    assert all("custom_metadata" not in a for a in catalogue.data_assets)


def test_invent_session_name_without_platform() -> None:
    catalogue, _ = made("M2501_2026-01-01_10-00-00", modalities=["fib"], generation="v2")
    assert catalogue.data_assets[0]["tags"] == ["M2501", "raw"]
    assert "platform" not in catalogue.docdb_v2[0]["data_description"]


@pytest.mark.parametrize(
    "text", ["", "676909", f"{ID}_sorted", f"s3://b/{ID}", "raw_2024-01-01_10-00-00"]
)
def test_invent_session_invalid_id_raises(text: str) -> None:
    with pytest.raises(ValueError, match="is not a session ID"):
        invent_session(Catalogue(), text)


def test_invent_session_unknown_generation_raises() -> None:
    with pytest.raises(ValueError, match="'v3'"):
        made(generation="v3")


# -- shapes ----------------------------------------------------------------------------------------


def test_stream_is_named_as_the_software_does() -> None:
    folder = "experiment1_Record Node 104#Neuropix-PXI-100.ProbeF-AP_recording1"
    assert sorted_stream("ProbeF", 104) == folder
    assert sorted_stream("ProbeF_group0", 104) == f"{folder}_group0"
    assert stream("50213-1", suffix="-LFP").endswith(".50213-1")


@pytest.mark.parametrize("era", ["old", "v1", "nested", "v2"])
def test_processing_contains_the_sorter_in_each_nesting(era: str) -> None:
    core = processing([("Preprocessing", {}), ("Spike sorting", {"sorter_name": "ks"})], era)
    top = core.get("processing_pipeline", core)["data_processes"]
    process = top[1][0] if era == "nested" else top[1]
    holder = process["code"] if era == "v2" else process
    assert holder["parameters"] == {"sorter_name": "ks"}


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        ("2024-03-10_01-59-59", "-08:00"),
        ("2024-03-10_03-00-00", "-07:00"),
        ("2024-11-03_00-30-00", "-07:00"),
        ("2024-11-03_02-00-00", "-08:00"),
        ("2025-07-01_12-00-00", "-07:00"),
        ("2025-12-31_12-00-00", "-08:00"),
    ],
)
def test_pacific_has_the_offset_of_the_season(date: str, offset: str) -> None:
    assert pacific(SessionName.read(f"1_{date}").start).endswith(offset)


# -- a world ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[0, 1])
def world(request: pytest.FixtureRequest) -> tuple[Catalogue, Truth]:
    return invent_world(request.param, 200)


def test_invent_world_depends_on_the_seed() -> None:
    assert invent_world(5, 30) == invent_world(5, 30)
    ids = [{a["id"] for a in invent_world(seed, 30)[0].data_assets} for seed in (5, 6)]
    assert ids[0].isdisjoint(ids[1])


def test_invent_world_has_every_source_and_defect(world: tuple[Catalogue, Truth]) -> None:
    _, truth = world
    sessions = truth.sessions.values()
    assert len(sessions) == 200
    sources = {frozenset(s.sources) for s in sessions}
    for only in ({"codeocean"}, {"s3"}, {"v1"}, {"v2"}, {"codeocean", "s3", "v1", "v2"}):
        assert only in sources
    assert {why for s in sessions for why in s.skipped.values()} == {
        *("archived", "closed", "forbidden", "gone"),
    }
    assert any(s.listed_but_closed for s in sessions)
    assert any(s.failed_sortings for s in sessions)
    assert {s.platform for s in sessions} > {None, "ecephys", "SmartSPIM", "behavior"}
    seen = {oddity for s in sessions for oddity in s.oddities}
    assert seen >= {
        *("raw asset: two", "raw asset: moved", "raw asset: renamed", "raw asset: no metadata"),
        *("result: raw tag", "result: raw level", "result: mention"),
        *("links: list", "links: null", "links: text", "both envelopes"),
        *("2.x description in a 1.x record", "asset known by a record's location"),
        *("float created", "unknown type", "unknown state", "source_bucket blank"),
    }


def test_invent_world_ids_are_unique(world: tuple[Catalogue, Truth]) -> None:
    catalogue, _ = world
    for entries, key in (
        (catalogue.data_assets, "id"),
        (catalogue.docdb_v1, "_id"),
        (catalogue.docdb_v2, "_id"),
    ):
        assert [i for i, n in Counter(e[key] for e in entries).items() if n > 1] == []
    places = [(o["bucket"], o["key"]) for o in catalogue.objects]
    assert len(places) == len(set(places))


def test_invent_world_has_a_subject_that_begins_another() -> None:
    _, truth = invent_world(0, 40)
    assert truth.subjects["600001"].sessions
    assert truth.subjects["6000012"].sessions


# -- a cohort --------------------------------------------------------------------------------------


def test_invent_cohort_has_the_requested_size() -> None:
    cohort = invent_cohort(3, 4, 5, generations=("v1", "v2"))
    assert len({a["id"] for a in cohort.data_assets}) == 3 * 4 * 5
    assert len(cohort.docdb_v1) == len(cohort.docdb_v2) == 12
    assert len({r["subject"]["subject_id"] for r in cohort.docdb_v1}) == 3
    linked = {i for r in cohort.docdb_v1 for i in r["external_links"]["Code Ocean"]}
    raw = {a["id"] for a in cohort.data_assets if a["type"] == "dataset"}
    assert linked == raw
    assert {o["key"].split("/")[0] for o in cohort.objects} == {r["name"] for r in cohort.docdb_v1}


def test_real_client_reads_what_is_invented() -> None:
    from codeocean.computation import Computation
    from codeocean.data_asset import DataAsset

    catalogue, _ = made(sorted_by="kilosort4", labels=["nwb"], sorting_now=True)
    for asset in (*catalogue.data_assets, *invent_cohort(1, 1, 3).data_assets):
        assert DataAsset.from_dict(asset).id == asset["id"]
    for run in catalogue.computations:
        assert Computation.from_dict(run).id == run["id"]


def test_ids_belong_to_names() -> None:
    assert invented_id("asset", "a") == "fbf13686-b28a-5aff-b566-dd9dc7e60a90"


def test_further_files_may_have_a_text(sandbox: Sandbox) -> None:
    named = sandbox.add_session("ecephys_999990_2024-01-01_10-00-00", files=["behavior/a.csv"])
    filled = sandbox.add_session(
        "ecephys_999990_2024-01-02_10-00-00", files={"behavior/a.csv": "1,2"}
    )
    texts = [
        (aind_session.Session(made.id).raw_data_dir / "behavior" / "a.csv").read_text()
        for made in (named, filled)
    ]
    assert texts == ["", "1,2"]
