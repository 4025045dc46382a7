"""The older API: exact results that programs rely on, and functions that they patch."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from codeocean.data_asset import DataAsset, DataAssetState
from upath import UPath

import aind_session
from aind_session.errors import NotReadyError
from aind_session.sandbox import Catalogue, Sandbox
from aind_session.sandbox.factory import result_asset
from aind_session.utils import codeocean_utils
from loopback import FakeClock
from worlds import invent_session

ID = "ecephys_676909_2023-12-13_13-43-40"
UNSORTED = "ecephys_668759_2023-07-11_13-07-32"
ALIGNED = "ecephys_795555_2025-08-26_11-29-20"
RAW, SORTED = "16d46411-540a-4122-b47f-8cb2a15d593a", "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
RUN = "551ef68d-016d-55ca-902e-ce067089bd7e"
RESULTS = "codeocean-s3datasetsbucket-1u41qdg42ur9"
MANIFEST = "717381_data_converter_manifest"

pytestmark = pytest.mark.usefixtures("bundled")


def converter() -> Any:
    return aind_session.Subject(717381).ibl_data_converter


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "s3://aind-scratch-data/ibl_annotation_temp/manifests/717381/717381_manifest.csv",
            ("aind-scratch-data", "ibl_annotation_temp/manifests/717381"),
        ),
        (UPath("s3://bucket/folder/file.json"), ("bucket", "folder")),
        ("s3://bucket/file.json", ("bucket", "")),
        ("s3://bucket/a/b/", ("bucket", "a")),
    ],
)
def test_bucket_and_prefix_of_a_path_leave_out_its_last_part(path: Any, expected: Any) -> None:
    assert aind_session.get_bucket_and_prefix(path) == expected


def test_sorter_that_was_not_used_has_no_assets() -> None:
    sorter = aind_session.Session(UNSORTED).ecephys.sorter
    assert sorter.kilosort99.sorted_data_assets == ()
    assert sorter.kilosort99.name == "kilosort99"


def test_subject_docdb_is_a_tuple_of_records_oldest_first(bundled: Sandbox) -> None:
    docdb = aind_session.Subject(676909).docdb
    assert isinstance(docdb, tuple)
    assert docdb == aind_session.get_subject_docdb_records(676909)
    created = [record["created"] for record in docdb]
    assert len(created) > 1
    assert created == sorted(created)
    assert docdb.genotype == aind_session.Session(ID).docdb.genotype
    again = pickle.loads(pickle.dumps(docdb))
    assert (again, again.records, again.genotype) == (docdb, docdb.records, docdb.genotype)
    assert set(map(id, docdb)) <= set(map(id, docdb.records))
    assert aind_session.Subject("111111").docdb == ()
    assert aind_session.Subject("111111").docdb.genotype is None


@pytest.mark.parametrize(("what", "polls"), [("state", 60), ("manifest", 4)])
def test_created_asset_is_of_the_folder_of_its_file_and_ready(
    what: str, polls: int, sandbox: Sandbox, clock: FakeClock
) -> None:
    records = converter().get_partial_manifest_records()
    sandbox.launches.polls = polls
    sandbox.launches.listings_until_visible = 3
    if what == "state":
        made = aind_session.Subject(717381).neuroglancer.states[-1].create_data_asset()
        paths = aind_session.Subject(717381).neuroglancer.state_json_paths
        path = next(p for p in paths if p.stem == made.name)
    else:
        made = converter().create_manifest_asset([{**records[0], "probe_name": "ProbeA"}])
        path = converter().csv_manifest_path
    assert type(made) is DataAsset
    assert made.state == DataAssetState.Ready
    (launched,) = sandbox.launched
    source = launched["source_bucket"]
    assert (source["bucket"], source["prefix"]) == aind_session.get_bucket_and_prefix(path)
    folder = aind_session.get_data_asset_source_dir(made)
    assert [p.name for p in folder.iterdir()] == [path.name]


def test_created_asset_that_never_becomes_ready_is_a_timeout_error(
    sandbox: Sandbox, clock: FakeClock
) -> None:
    state = aind_session.Subject(717381).neuroglancer.states[-1]
    sandbox.launches.polls = None
    with pytest.raises(TimeoutError, match="not ready after 600 s") as caught:
        state.create_data_asset()
    assert isinstance(caught.value, NotReadyError)
    assert sum(clock.slept) == pytest.approx(600)


def test_annotation_rows_have_the_keys_of_older_versions() -> None:
    rows = aind_session.ecephys.get_latest_ibl_annotations(ALIGNED, as_ccf_records=True)
    keys = "x y z axial lateral brain_region_id brain_region channel_number ccf_ap ccf_ml ccf_dv"
    assert isinstance(rows, list)
    assert all(type(row) is dict and {*keys.split(), "device_name"} <= set(row) for row in rows)
    assert (rows[0]["device_name"], rows[0]["channel_number"]) == ("ProbeA_0", 0)
    assert rows[0]["x"] == -4.235408306121826


CACHED: dict[str, Any] = {
    "get_data_asset_source_dir": RAW,
    "get_subject_data_assets": 676909,
    "get_data_assets": ID,
    "get_docdb_record": ID,
    "get_subject_docdb_records": 676909,
    "get_codeocean_data_asset_ids_from_docdb": "676909_2023",
    "get_source_dir_by_name": ID,
    "ecephys.get_sorter_name": SORTED,
    "ecephys.get_sorted_probe_names": SORTED,
    "ecephys.is_sorting_analyzer_asset": SORTED,
    "ecephys.is_sorted_data_asset": SORTED,
    "ecephys.get_sorted_data_asset_model": SORTED,
}


@pytest.mark.parametrize("path", CACHED)
def test_cached_function_requests_anew_after_cache_clear(path: str, cold: Sandbox) -> None:
    function: Any = aind_session
    for part in path.split("."):
        function = getattr(function, part)
    first = function(CACHED[path])
    count = cold.count()
    assert function(CACHED[path]) == first
    assert cold.count() == count > 0
    function.cache_clear()
    assert function(CACHED[path]) == first
    assert cold.count() > count


def test_clients_and_computation_searches_have_cache_clear() -> None:
    for name in ("get_codeocean_client", "get_docdb_api_client", "search_computations"):
        getattr(aind_session, name).cache_clear()


@pytest.mark.parametrize("wrong", [867, 8.67, None, b"16d4", ["16d4"]])
def test_normalized_uuid_of_a_wrong_type_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=type(wrong).__name__):
        aind_session.get_normalized_uuid(wrong)


@pytest.mark.parametrize(
    ("links", "ids"),
    [
        ({"Code Ocean": ["id0", "id2"]}, ("id0", "id2")),
        ({"Code Ocean": "id0"}, ("id0",)),
        ([{"Code Ocean": "id0"}, {"Code Ocean": None}, {"Code Ocean": "id0"}], ("id0",)),
        ({"Other": ["id0"]}, ()),
        (None, ()),
    ],
)
def test_linked_ids_are_returned_whatever_they_look_like(links: Any, ids: Any) -> None:
    extract = aind_session.extract_codeocean_data_asset_ids_from_docdb_record
    assert extract({"external_links": links}) == ids


def test_source_dir_by_asset_id_is_in_the_results_bucket(bundled: Sandbox) -> None:
    path = aind_session.get_source_dir_by_name(SORTED)
    assert path.as_posix() == f"s3://{RESULTS}/{SORTED}"
    assert aind_session.get_source_dir_by_name(SORTED.replace("-", "")) == path
    with pytest.raises(FileNotFoundError, match=RESULTS):
        aind_session.get_source_dir_by_name(RAW)


def test_sorter_name_of_an_unfinished_sorting_is_a_value_error() -> None:
    catalogue = Catalogue()
    name = "ecephys_999997_2024-05-01_10-00-00"
    invent_session(catalogue, name)
    asset_id = "00000000-0000-4000-8000-000000000001"
    sorting = result_asset(
        f"{name}_sorted_2024-05-02_10-00-00",
        asset_id=asset_id,
        created=1_714_700_000,
        subject="999997",
        platform="ecephys",
    )
    catalogue.add_asset(sorting)
    catalogue.add_object(RESULTS, f"{asset_id}/output", "N E X T F L O W")
    with aind_session.sandbox(catalogue):
        (asset,) = aind_session.Session(name).ecephys.sorted_data_assets
        with pytest.raises(ValueError, match="names the sorter") as caught:
            _ = asset.sorter_name
        assert isinstance(caught.value, FileNotFoundError)
        with pytest.raises(ValueError, match="names the sorter"):
            aind_session.ecephys.get_sorter_name(asset_id)


def test_probe_and_day_of_a_state_are_by_annotation() -> None:
    layers = [{"type": "annotation", "name": name} for name in ("A1", "268", "probe f_9")]
    state = aind_session.Subject(717381).neuroglancer.from_json({"layers": layers})
    assert converter().get_mindscope_probe_day_from_ng_state(state) == {
        "A1": {"probe": "A", "day": "1"},
        "probe f_9": {"probe": "F", "day": "9"},
    }


# -- functions that programs patch -----------------------------------------------------------------


def test_patched_source_dir_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []

    def elsewhere(asset_id: str, ttl_hash: int | None = None) -> UPath:
        requested.append(asset_id)
        return UPath(f"s3://{RESULTS}/{SORTED}")

    monkeypatch.setattr(codeocean_utils, "get_data_asset_source_dir", elsewhere)
    assert aind_session.get_output_text(RAW).endswith("161658.77s")
    assert aind_session.is_data_asset_error(RAW) is False
    asset = aind_session.Session(ID).ecephys.sorted_data_assets[0]
    assert asset.path == elsewhere("")
    assert set(requested) == {RAW, SORTED, ""}


def test_patched_source_dir_may_be_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ecephys_clipped", "ecephys/ecephys_compressed"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "output").write_text("N E X T F L O W")
    monkeypatch.setattr(
        codeocean_utils, "get_data_asset_source_dir", lambda *_, **__: UPath(tmp_path)
    )
    clipped, compressed = aind_session.ecephys.get_clipped_and_compressed_dirs(RAW)
    assert (clipped.name, compressed.parent.name) == ("ecephys_clipped", "ecephys")
    assert aind_session.get_output_text(SORTED) == "N E X T F L O W"
    (tmp_path / "ecephys_clipped").rmdir()
    with pytest.raises(FileNotFoundError, match="ecephys_clipped"):
        aind_session.ecephys.get_clipped_and_compressed_dirs(RAW)


def test_patched_data_asset_model_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = aind_session.get_data_asset_model(SORTED)
    monkeypatch.setattr(codeocean_utils, "get_data_asset_model", lambda asset_id: model)
    assert aind_session.get_codeocean_model("anything") is model
    assert aind_session.sort_by_created(["anything"]) == (model,)
    assert aind_session.is_raw_data_asset("anything") is False
    assert aind_session.get_data_asset_source_dir("anything").name == SORTED
    assert aind_session.ecephys.get_sorted_data_asset_model("anything") == model
    assert aind_session.ecephys.get_sorter_name("anything") == "kilosort2_5"


def test_patched_client_is_used(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    asset, run = aind_session.get_data_asset_model(RAW), aind_session.get_codeocean_model(RUN)
    client = MagicMock()
    client.data_assets.get_data_asset.return_value = asset
    client.computations.get_computation.return_value = run
    client.computations.run_capsule.return_value = run
    monkeypatch.setattr(codeocean_utils, "get_codeocean_client", lambda *_, **__: client)
    assert aind_session.get_data_asset_model(SORTED) is asset
    assert aind_session.is_raw_data_asset(SORTED) is True
    assert aind_session.get_codeocean_model(SORTED, is_computation=True) is run
    client.data_assets.get_data_asset.assert_called_with(SORTED)
    started = aind_session.Session(UNSORTED).ecephys.run_sorting()
    assert started is run
    assert sandbox.launched == []
    (params,) = client.computations.run_capsule.call_args.args
    assert params.capsule_id == aind_session.ecephys.DEFAULT_TRIGGER_CAPSULE_ID


def test_patched_subject_assets_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asset = aind_session.get_data_asset_model(SORTED)
    seen: list[str] = []

    def own(subject_id: object, ttl_hash: int | None = None, **_: Any) -> tuple[DataAsset, ...]:
        seen.append(str(subject_id))
        return (asset, aind_session.get_data_asset_model(RAW))

    monkeypatch.setattr(codeocean_utils, "get_subject_data_assets", own)
    (found,) = aind_session.Session(ID).ecephys.sorted_data_assets
    assert found == asset
    assert type(found) is aind_session.ecephys.SortedDataAsset
    assert seen == ["676909"]
    assert aind_session.Session(UNSORTED).ecephys.sorted_data_assets == ()


def test_moving_page_names_what_programs_notice() -> None:
    text = (Path(__file__).parents[1] / "docs" / "moving.md").read_text(encoding="utf-8")
    for words in ('pip install "codeocean==0.12.*"', "`owner`", "npc_io", "aind_sandbox"):
        assert words in text
    for name in re.findall(r"`(get_[a-z_]+)`", text):
        assert hasattr(aind_session, name), name
