"""The older API: types and values of results, against the sandbox."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable
from typing import Any

import codeocean
import npc_session
import pytest
from aind_data_access_api.document_db import MetadataDbClient
from codeocean.components import SearchFilter, SortOrder
from codeocean.computation import Computation, ComputationState
from codeocean.data_asset import (
    DataAsset,
    DataAssetSearchParams,
    DataAssetSortBy,
    DataAssetType,
)
from upath import UPath

import aind_session
from aind_session.sandbox import Catalogue, Sandbox

ID = "ecephys_676909_2023-12-13_13-43-40"
RAW, SORTED = "16d46411-540a-4122-b47f-8cb2a15d593a", "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
PIPELINE = aind_session.ecephys.DEFAULT_SORTING_PIPELINE_ID
RUN, TRIGGER_RUN = "551ef68d-016d-55ca-902e-ce067089bd7e", "5c7c5fa3-8555-5645-8582-085313272d75"
RUNNING, FAILED = "dbe18f52-26df-57ef-b732-b56d8878c67e", "aa3a324e-6680-5b2b-a470-1e589f2d40f8"
NOBODY = "ecephys_676909_2099-01-01_00-00-00"

pytestmark = pytest.mark.usefixtures("bundled")


def session() -> aind_session.Session:
    return aind_session.Session(ID)


# --- sessions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((*"676909_2023-12-13".split("_"),), {}),  # noqa: SIM905 - as it is called
        ((676909,), {"date": "2023-12-13"}),
        (("676909", "2023-12-13", "ecephys"), {}),
        (("676909", "", ""), {"start_date": "2023-12-13", "end_date": "2023-12-13"}),
        ((npc_session.SubjectRecord(676909), npc_session.DateRecord("2023-12-13")), {}),
        ((676909,), {"date": datetime.date(2023, 12, 13), "platform": ""}),
        ((676909,), {"date": datetime.datetime(2023, 12, 13, 1, 2, 3), "start_date": ""}),
        ((676909,), {"date": npc_session.DatetimeRecord("2023-12-13 13:43:40"), "end_date": ""}),
        (
            (npc_session.SubjectRecord("676909"), None, "ecephys"),
            {"start_date": npc_session.DateRecord("2023-12-13"), "end_date": "2023-12-14_10-00-00"},
        ),
    ],
)
def test_get_sessions_takes_values_of_any_type(
    arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    for search in (aind_session.get_sessions, aind_session.session.get_sessions):
        found = search(*arguments, **options)
        assert isinstance(found, tuple)
        assert found == (session(),)


def test_get_sessions_ignores_empty_texts_and_dates_are_records() -> None:
    every = aind_session.get_sessions(676909)
    assert len(every) == 4
    assert every == aind_session.get_sessions("676909", "", "", "", "")
    assert list(every) == sorted(every, key=lambda one: one.dt)
    assert every[-1] == next(reversed(every))
    for value, record, text in (
        (session().date, npc_session.DateRecord, "2023-12-13"),
        (session().time, npc_session.TimeRecord, "13:43:40"),
        (session().datetime, npc_session.DatetimeRecord, "2023-12-13 13:43:40"),
    ):
        assert isinstance(value, record)
        assert isinstance(value, str)
        assert value == text


def test_docdb_of_a_session_is_a_dict(capsys: pytest.CaptureFixture[str]) -> None:
    record = session().docdb
    assert isinstance(record, dict)
    print(record.keys())
    assert capsys.readouterr().out.startswith("dict_keys(['_id', 'acquisition', 'created', 'data_")
    assert (
        record.get("name") == json.loads(json.dumps(record))["name"] == dict(record)["name"] == ID
    )
    assert aind_session.Session(NOBODY).docdb == {}


def test_data_assets_are_sdk_models_ascending() -> None:
    assets = session().data_assets
    assert isinstance(assets, tuple)
    assert {type(asset) for asset in assets} == {DataAsset}
    assert [a.created for a in assets] == sorted(a.created for a in assets)
    sortings = session().ecephys.sorted_data_assets
    assert isinstance(sortings, tuple)
    assert all(isinstance(asset, DataAsset) for asset in sortings)
    assert {type(asset) for asset in sortings} == {aind_session.ecephys.SortedDataAsset}


@pytest.mark.parametrize(
    "path",
    [
        lambda: session().raw_data_dir,
        lambda: session().ecephys.clipped_dir,
        lambda: session().ecephys.compressed_dir,
        lambda: session().ecephys.sorted_data_assets[0].path,
        lambda: aind_session.ecephys.get_clipped_and_compressed_dirs(RAW)[0],
        lambda: aind_session.get_source_dir_by_name(ID),
        lambda: aind_session.get_data_asset_source_dir(RAW),
        lambda: aind_session.get_data_asset_source_dir(SORTED),
        lambda: aind_session.Subject("676909").neuroglancer.state_json_dir,
    ],
)
def test_paths_are_upaths_in_s3(path: Callable[[], UPath]) -> None:
    found = path()
    assert isinstance(found, UPath)
    assert found.as_posix().startswith("s3://")
    assert str(found).startswith("s3://")
    assert UPath(found, anon=True).as_posix() == found.as_posix()


@pytest.mark.parametrize(
    ("search", "empty"),
    [
        (lambda: aind_session.get_sessions(676909, date="2099-01-01"), ()),
        (lambda: aind_session.get_sessions("111111"), ()),
        (lambda: aind_session.Session(NOBODY).data_assets, ()),
        (lambda: aind_session.Session(NOBODY).ecephys.sorted_data_assets, ()),
        (lambda: aind_session.Session(NOBODY).ecephys.sorter.names, ()),
        (lambda: aind_session.Subject("111111").data_assets, ()),
        (lambda: aind_session.Subject("111111").sessions, ()),
        (lambda: aind_session.Subject("111111").neuroglancer.states, ()),
        (lambda: aind_session.get_subject_data_assets("111111"), ()),
        (lambda: aind_session.get_data_assets("no_such_name"), ()),
        (lambda: aind_session.search_data_assets({"query": "name:nothing"}), ()),
        (lambda: aind_session.search_computations(PIPELINE, name="no such run"), ()),
        (lambda: aind_session.get_docdb_record("no such name"), {}),
        (lambda: aind_session.get_docdb_record(str(uuid.UUID(int=1))), {}),
        (lambda: aind_session.get_subject_docdb_records("111111"), ()),
        (lambda: aind_session.get_codeocean_data_asset_ids_from_docdb("no such name"), []),
        (lambda: aind_session.extract_codeocean_data_asset_ids_from_docdb_record({}), ()),
        (lambda: aind_session.Session(NOBODY).docdb, {}),
    ],
)
def test_search_without_match_is_empty(search: Callable[[], Any], empty: object) -> None:
    found = search()
    assert found == empty
    assert isinstance(found, type(empty))


# --- code ocean -----------------------------------------------------------------------------------


def test_codeocean_client_is_the_sdk_client(cold: Sandbox) -> None:
    client = aind_session.get_codeocean_client()
    assert isinstance(client, codeocean.CodeOcean)
    assert client.domain == cold.urls["codeocean"]
    assert client is aind_session.get_codeocean_client(check_credentials=False)
    assert client.data_assets.get_data_asset(RAW) == aind_session.get_data_asset_model(RAW)
    assert isinstance(aind_session.get_codeocean_client(retries=1), codeocean.CodeOcean)


def test_models_of_all_spellings_and_models() -> None:
    asset, run = aind_session.get_codeocean_model(RAW), aind_session.get_codeocean_model(RUN)
    assert type(asset) is DataAsset
    assert type(run) is Computation
    for written in (RAW, RAW.upper(), RAW.replace("-", ""), uuid.UUID(RAW)):
        assert aind_session.get_normalized_uuid(written) == RAW
        assert aind_session.get_codeocean_model(written).id == RAW
    assert aind_session.get_codeocean_model(RUN, is_computation=True) == run
    assert aind_session.get_codeocean_model(RAW, is_computation=False) == asset
    for model in (asset, run):
        assert aind_session.get_codeocean_model(model) is model
        assert aind_session.get_normalized_uuid(model) == model.id
    assert aind_session.get_data_asset_model(RAW) == asset
    assert aind_session.get_data_asset_model(asset) is asset


def test_running_computation_is_requested_each_time(sandbox: Sandbox) -> None:
    assert aind_session.get_codeocean_model(RUNNING).state == ComputationState.Running
    (known,) = (c for c in sandbox.catalogue.computations if c["id"] == RUNNING)
    known["state"] = "completed"
    for _ in range(2):
        found = aind_session.get_codeocean_model(RUNNING, is_computation=True)
        assert found.state == ComputationState.Completed
    assert len([r for r in sandbox.requests if r.path.endswith(f"computations/{RUNNING}")]) == 2


def test_sort_by_created_of_ids_and_models() -> None:
    asset = aind_session.get_data_asset_model(SORTED)
    found = aind_session.sort_by_created([RUN, asset, RAW])
    assert [one.id for one in found] == [RUN, RAW, SORTED]
    assert aind_session.sort_by_created(RAW) == (aind_session.get_data_asset_model(RAW),)
    assert aind_session.sort_by_created(asset) == (asset,)
    assert aind_session.sort_by_created(iter([])) == ()


def test_search_query_of_all_arguments_and_requested_order() -> None:
    write = aind_session.get_data_asset_search_query
    assert write() == ""
    assert write(name=ID) == "name:ecephys_676909_2023-"
    assert write(tag="two words", subject_id=676909) == 'tag:"two words" 676909'
    assert write("a", "676909", "b", "c") == "name:a tag:b 676909 c"
    query = write(name="ecephys_676909", tag="raw")
    found = aind_session.search_data_assets({"query": query})
    assert {asset.name[:14] for asset in found} == {"ecephys_676909"}
    params = DataAssetSearchParams(
        query="name:676909", sort_field=DataAssetSortBy.Name, sort_order=SortOrder.Descending
    )
    names = [asset.name for asset in aind_session.search_data_assets(params)]
    assert len(names) > 3
    assert names == sorted(names, reverse=True)


@pytest.mark.parametrize(
    "params",
    [
        {"query": "name:ecephys_676909", "type": "dataset"},
        {"query": "name:ecephys_676909", "type": DataAssetType.Dataset, "offset": None},
        DataAssetSearchParams(query="name:ecephys_676909", type=DataAssetType.Dataset),
        DataAssetSearchParams(query="name:ecephys_676909", archived=False, limit=2, offset=0),
        {
            "query": "name:ecephys_676909",
            "filters": [SearchFilter(key="data level", value="raw")],
            "limit": 10_000,
        },
    ],
)
@pytest.mark.parametrize("size", [1000, 1])
def test_search_takes_dict_and_params(params: Any, size: int) -> None:
    search = aind_session.search_data_assets
    found = search(params, page_size=size, max_pages=1000)
    assert isinstance(found, tuple)
    assert {type(asset) for asset in found} == {DataAsset}
    assert RAW in [asset.id for asset in found]
    assert [a.created for a in found] == sorted(a.created for a in found)
    plain = search(params, as_dict=True)
    assert [DataAsset.from_dict(one) for one in plain] == list(found)
    assert {type(one) for one in plain} == {dict}


def test_search_stops_at_max_pages(cold: Sandbox) -> None:
    query = {"query": "name:ecephys_676909"}
    limits: dict[str, Any] = {"page_size": 2, "max_pages": 2}
    with pytest.raises(aind_session.ServiceError, match="more than 2 pages of 2"):
        aind_session.search_data_assets(query, **limits)
    cold.reset()
    found = aind_session.search_data_assets(query, **limits, raise_on_page_limit=False)
    assert len(found) == 4
    assert cold.count() == 2
    for name in tuple(limits):
        limits = {name: 0}
        with pytest.raises(ValueError, match="begin at 1"):
            aind_session.search_data_assets(query, **limits)


def test_subject_assets_with_conditions(cold: Sandbox) -> None:
    every = aind_session.get_subject_data_assets(668759)
    assert every == aind_session.Subject(668759).data_assets
    assert (every[0].name, every[0].created) == ("Example T1 and T2 MRI Images", 1673996872)
    tagged = aind_session.get_subject_data_assets(
        "668759", filters=[{"key": "tags", "value": "T1"}]
    )
    assert tagged == every[:1]
    cold.requests.clear()
    results = aind_session.get_subject_data_assets("668759", type="result")
    bodies = [json.loads(request.body) for request in cold.requests]
    assert [{"key": "subject id", "value": "668759"}] in [b.get("filters") for b in bodies]
    assert "668759" in [body.get("query") for body in bodies]
    assert {str(asset.type) for asset in results} == {"result"}
    assert set(map(str, results)) < set(map(str, every))


def test_limit_is_the_page_size() -> None:
    searches: list[tuple[Any, str]] = [
        (aind_session.get_subject_data_assets, "676909"),
        (aind_session.get_data_assets, "ecephys_676909"),
    ]
    for search, wanted in searches:
        for limit in (0, 2, 5000):
            assert search(wanted, limit=limit) == search(wanted)


@pytest.mark.parametrize(
    ("beginning", "count"),
    [(ID, 42), ("ecephys_676909_2023-12-13", 42), (f"{ID}_sorted_2024", 1), ("676909", 0)],
)
def test_data_assets_by_beginning_of_the_name(beginning: str, count: int) -> None:
    found = aind_session.get_data_assets(beginning)
    assert len(found) == count
    assert all(asset.name.startswith(beginning) for asset in found)


def test_data_assets_of_a_long_platform_name(cold: Sandbox) -> None:
    name = "multiplane-ophys_721291_2024-05-08"
    found = aind_session.get_data_assets(name)
    assert found
    assert all(asset.name.startswith(name) for asset in found)
    assert b"name:" not in b"".join(request.body for request in cold.requests)
    narrowed = aind_session.get_data_assets(name, type="dataset")
    assert [asset.name for asset in narrowed] == ["multiplane-ophys_721291_2024-05-08_08-05-54"]


def test_raw_and_failed_assets() -> None:
    for asset, is_raw in ((RAW, True), (SORTED, False)):
        for form in (asset, aind_session.get_data_asset_model(asset)):
            assert aind_session.is_raw_data_asset(form) is is_raw
            assert aind_session.is_data_asset_error(form) is False


def test_failed_computations() -> None:
    for run, failed in ((RUN, False), (RUNNING, False), (FAILED, True)):
        model = aind_session.get_codeocean_model(run)
        assert isinstance(model, Computation)
        for form in (run, model):
            assert aind_session.is_computation_error(form) is failed


def test_output_text_by_id_and_model(cold: Sandbox) -> None:
    for asset_or_run in (SORTED, RUN):
        text = aind_session.get_output_text(asset_or_run)
        assert text.startswith("N E X T F L O W")
        model = aind_session.get_codeocean_model(asset_or_run)
        assert aind_session.get_output_text(model) == text
        assert aind_session.is_output_file_from_sorting_pipeline(text) is True
        assert aind_session.is_output_error(text) is False
    sent = [r for r in cold.requests if r.service == "files"]
    assert sent
    assert all(request.status == 200 for request in sent)


def test_source_dir_without_bucket_is_searched_by_name(sandbox: Sandbox) -> None:
    found = aind_session.get_data_asset_source_dir(RAW)
    assert aind_session.get_bucket_and_prefix(found / "x.json") == ("aind-ephys-data", ID)
    assert sandbox.count("s3") == 0
    assert aind_session.get_source_dir_by_name(ID) == found
    asset = {"source_bucket": {"bucket": "", "origin": "local", "prefix": "", "external": True}}
    added = sandbox.catalogue.add_asset({"id": str(uuid.UUID(int=7)), "name": ID, **asset})
    assert aind_session.get_data_asset_source_dir(added["id"]) == found


# --- docdb ----------------------------------------------------------------------------------------


def test_docdb_client_is_the_original() -> None:
    client = aind_session.get_docdb_api_client()
    assert isinstance(client, MetadataDbClient)
    found = client.retrieve_docdb_records(filter_query={"name": ID}, limit=1)
    assert found == [aind_session.get_docdb_record(ID)]
    newer = aind_session.get_docdb_api_client(retries=2, version="v2")
    assert newer.retrieve_docdb_records(filter_query={"name": ID}, limit=1) == []


def test_docdb_record_is_a_dict() -> None:
    for key in (ID, RAW, RAW.replace("-", "")):
        record = aind_session.get_docdb_record(key)
        assert type(record) is dict
        assert record["name"] == ID
    assert RAW in aind_session.extract_codeocean_data_asset_ids_from_docdb_record(record)
    only_new = aind_session.get_docdb_record("828418_2026-02-13_18-31-13")
    assert only_new["acquisition"]


def test_subject_records_are_one_per_asset(sandbox: Sandbox) -> None:
    records = aind_session.get_subject_docdb_records("676909")
    twin = {**records[0], "_id": str(uuid.UUID(int=5)), "_created": "2026-01-01T00:00:00.000Z"}
    twin["location"] += "/"
    del twin["created"]
    sandbox.catalogue.add_record("v2", twin)
    sandbox.reset()
    again = aind_session.get_subject_docdb_records(676909)
    assert again == records
    created = [record["created"] for record in records]
    assert created == sorted(created)
    assert ID in {record["name"] for record in records}


def test_linked_ids_by_name_and_subject() -> None:
    by_name = aind_session.get_codeocean_data_asset_ids_from_docdb(partial_name="676909_2023-12-13")
    by_subject = aind_session.get_codeocean_data_asset_ids_from_docdb(subject_id=676909)
    both = aind_session.get_codeocean_data_asset_ids_from_docdb("2023-12-13", 676909)
    assert RAW in by_name
    assert set(by_name) == set(both) < set(by_subject)
    assert len(set(by_subject)) == len(by_subject)


def test_linked_ids_are_the_subjects_own_ascending(sandbox: Sandbox) -> None:
    def add(name: str, created: str, number: int) -> str:
        asset_id = str(uuid.UUID(int=number))
        record = {"name": name, "created": created, "subject": {"subject_id": "999123"}}
        links = {"Code Ocean": [asset_id]}
        location = f"s3://aind-open-data/{name}"
        sandbox.catalogue.add_record(
            "v1", {**record, "location": location, "external_links": links}
        )
        return asset_id

    later = add("ecephys_999123_2024-01-02_10-00-00", "2024-02-02T00:00:00Z", 1)
    earlier = add("ecephys_999123_2024-01-03_10-00-00", "2024-02-01T00:00:00Z", 2)
    add("ecephys_999124_2024-01-03_10-00-00", "2024-02-01T00:00:00Z", 3)
    find = aind_session.get_codeocean_data_asset_ids_from_docdb
    assert find(subject_id="999123") == [earlier, later]
    sandbox.reset()
    sandbox.fail("docdb", path="/v2/", status=400, times=None)
    with pytest.warns(aind_session.PartialAnswerWarning, match="the other generation"):
        assert find(subject_id="999123") == [earlier, later]


# --- the rest -------------------------------------------------------------------------------------


def test_ttl_hash_is_constant_within_a_window() -> None:
    assert isinstance(aind_session.get_ttl_hash(), int)
    assert aind_session.get_ttl_hash(10**9) == aind_session.get_ttl_hash(seconds=10**9)
    assert aind_session.get_ttl_hash(1) > aind_session.get_ttl_hash(2)
    with pytest.raises(ValueError, match="no length"):
        aind_session.get_ttl_hash(0)


CALLS_WITH_A_HASH: list[Callable[..., Any]] = [
    lambda **h: aind_session.get_data_asset_source_dir(RAW, **h),
    lambda **h: aind_session.search_computations(PIPELINE, **h),
    lambda **h: aind_session.get_subject_data_assets("676909", **h),
    lambda **h: aind_session.get_subject_data_assets("676909", type="result", **h),
    lambda **h: aind_session.get_data_assets(ID, **h),
    lambda **h: aind_session.get_data_assets(ID, type="result", page_size=10, **h),
    lambda **h: aind_session.get_docdb_record(ID, **h),
    lambda **h: aind_session.get_subject_docdb_records("676909", **h),
    lambda **h: aind_session.get_codeocean_data_asset_ids_from_docdb("676909_2023", **h),
    lambda **h: aind_session.get_source_dir_by_name(ID, **h),
]


@pytest.mark.parametrize("ask", CALLS_WITH_A_HASH)
def test_new_ttl_hash_requests_anew(ask: Callable[..., Any], cold: Sandbox) -> None:
    first = ask(ttl_hash=1)
    count = cold.count()
    assert count > 0
    assert ask(ttl_hash=1) == first
    assert cold.count() == count
    assert ask(ttl_hash=2) == first
    assert cold.count() == 2 * count
    assert ask(ttl_hash=None) == first


def test_patched_class_attribute_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    from aind_session.extensions.ecephys import EcephysExtension

    name = "get_latest_ibl_annotations"
    monkeypatch.setattr(aind_session.ecephys, name, staticmethod(lambda session_id: session_id))
    for owner in (aind_session.ecephys, EcephysExtension, session().ecephys):
        assert getattr(owner, name)("x") == "x"
    monkeypatch.setattr(aind_session.ecephys, name, lambda session_id: 2 * session_id)
    assert getattr(aind_session.ecephys, name)("x") == "xx"
    monkeypatch.setattr(aind_session.ecephys, "is_sorted", True)
    assert aind_session.Session(NOBODY).ecephys.is_sorted is True


def test_computation_state_as_text_or_enum(bundled: Sandbox) -> None:
    for state in ("completed", ComputationState.Completed):
        found = aind_session.search_computations(PIPELINE, computation_state=state)
        assert {type(one) for one in found} == {Computation}
        assert {one.state for one in found} == {ComputationState.Completed}


def test_search_in_an_empty_catalogue_is_empty() -> None:
    with aind_session.sandbox(Catalogue()):
        assert aind_session.get_sessions(676909) == ()
        assert aind_session.search_data_assets({}) == ()
