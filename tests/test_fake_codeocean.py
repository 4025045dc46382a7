"""The fake Code Ocean, used by its SDK: searches, assets, files and refusals."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import codeocean
import codeocean.components
import pytest
import requests
from codeocean.data_asset import (
    DataAssetParams,
    DataAssetSearchParams,
    DataAssetState,
    DataAssetUpdateParams,
)
from codeocean.error import Error
from hypothesis import given
from hypothesis import strategies as st

from aind_session.sandbox import Catalogue, Sandbox, asset_search, sandbox
from aind_session.settings import RESULTS_BUCKET
from serving import sdk

RAW = "ecephys_000001_2024-01-01_12-00-00"
SOURCE = {"bucket": "aind-open-data", "prefix": RAW, "origin": "aws", "external": True}
get = functools.partial(requests.get, timeout=5)
post = functools.partial(requests.post, timeout=5)


ASSETS: dict[str, dict[str, Any]] = {
    "raw": {
        "name": RAW,
        "created": 100,
        "size": 5,
        "tags": ["ecephys", "raw", "000001"],
        "custom_metadata": {"subject id": "000001", "data level": "raw", "age": 90},
        "source_bucket": SOURCE,
    },
    "sorted": {
        "name": f"{RAW}_sorted_2024-01-02_12-00-00",
        "created": 200,
        "size": 3,
        "type": "result",
        "tags": ["derived", "ecephys", "000001"],
        "provenance": {"commit": "abc123", "run_script": "code/run", "computation": None},
        "custom_metadata": {"subject id": "000001", "data level": "derived"},
    },
    "other": {
        "name": "behavior_000002_2024-01-03_12-00-00",
        "created": 300,
        "size": 9,
        "archived": True,
        "description": "Compared with 000001: the subject id is that of its sister.",
        "tags": ["behavior", "raw", "000002"],
        "custom_metadata": {"subject id": "000002", "age": 120},
    },
    "closed": {"name": "closed_one", "created": 50, "_access": "closed"},
    "barred": {"name": "barred_one", "created": 3, "_access": "forbidden"},
    "gone": {"name": "gone_one", "created": 40, "_access": "gone"},
    "both": {
        "name": "both together",
        "created": 30,
        "type": "combined",
        "contained_data_assets": [{"id": "raw"}, {"id": "other"}],
    },
}
FILES = {"output": "all went well", "nwb/a #1.nwb": "hdf", "spikesorted/probe A/info.json": "{}"}


@pytest.fixture
def box() -> Iterator[Sandbox]:
    catalogue = Catalogue(description="two invented subjects")
    for asset_id, known in copy.deepcopy(ASSETS).items():
        catalogue.add_asset({"id": asset_id, **known})
    for path, text in FILES.items():
        catalogue.add_object(RESULTS_BUCKET, f"sorted/{path}", text)
    catalogue.add_object(RESULTS_BUCKET, "sorted/nwb/large.nwb", size=10**9)
    with sandbox(catalogue) as serving:
        yield serving


@pytest.fixture
def client(box: Sandbox) -> Iterator[codeocean.CodeOcean]:
    yield from sdk(box)


def url(box: Sandbox, path: str) -> str:
    return f"{box.urls['codeocean']}/api/v1/{path}"


def search(client: codeocean.CodeOcean, **params: Any) -> list[str]:
    found = client.data_assets.search_data_assets(DataAssetSearchParams(**params))
    return [asset.id for asset in found.results]


EVERYTHING = ["other", "sorted", "raw", "closed", "gone", "both", "barred"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        (None, EVERYTHING),
        ("", EVERYTHING),
        # 20 characters of a name find it, 21 find nothing.
        ("name:ecephys_000001_2024-0", []),
        ("name:ecephys_000001_2024-", ["sorted", "raw"]),
        ('name:"ecephys_000001"', ["sorted", "raw"]),
        ("name:ECEPHYS_000001", ["sorted", "raw"]),
        (f"name:{RAW}", []),
        (f'name:"{RAW}"', []),
        ("name:ecephys_000001 name:behavior_000002", ["other", "sorted", "raw"]),
        ("name:ecephys_000001 tag:raw", ["raw"]),
        ("tag:raw", ["other", "raw"]),
        ("tag:raw tag:derived", ["other", "sorted", "raw"]),
        ('name:"both together"', ["both"]),
        ('name:"together both"', []),
        ("name:ecephys*", []),
        ("000001", ["other", "sorted", "raw"]),
        ("subject id:000001", ["other", "sorted", "raw"]),
        ("subject id:000002", ["other"]),
        ("commit_id:abc123", ["sorted"]),
        ("run_script:code/run", ["sorted"]),
        ("contained_data_id:raw", ["both"]),
        ("sister", ["other"]),
        ("nowhere", []),
    ],
)
def test_search_query_follows_the_documented_language(
    client: codeocean.CodeOcean, query: str | None, ids: list[str]
) -> None:
    assert search(client, query=query) == ids


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ({"type": "result"}, ["sorted"]),
        ({"type": "combined"}, ["both"]),
        ({"origin": "external"}, ["raw"]),
        ({"origin": "internal", "query": "000001"}, ["other", "sorted"]),
        ({"archived": True}, ["other"]),
        ({"archived": False, "query": "tag:raw"}, ["raw"]),
        ({"favorite": True}, []),
        ({"ownership": "created"}, []),
        ({"ownership": "shared", "query": "tag:raw"}, ["other", "raw"]),
        ({"sort_field": "created", "sort_order": "asc", "query": "tag:raw"}, ["raw", "other"]),
        ({"sort_field": "name", "query": "000001"}, ["other", "raw", "sorted"]),
        ({"sort_field": "size", "sort_order": "desc", "query": "1"}, ["other", "raw", "sorted"]),
        ({"sort_order": "asc", "query": "tag:raw"}, ["other", "raw"]),
        ({"limit": 2}, EVERYTHING[:2]),
        ({"limit": 2, "offset": 3}, EVERYTHING[3:5]),
    ],
)
def test_search_options_select_assets(
    client: codeocean.CodeOcean, params: dict[str, Any], ids: list[str]
) -> None:
    assert search(client, **params) == ids


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"key": "subject id", "value": "000001"}, ["sorted", "raw"]),
        ({"key": "subject id", "value": "00000"}, []),
        ({"key": "subject id", "values": ["000001", "000002"]}, ["other", "sorted", "raw"]),
        ({"key": "age", "range": {"min": 100, "max": 200}}, ["other"]),
        ({"key": "age", "value": 90.0}, ["raw"]),
        ({"key": "tags", "value": "derived"}, ["sorted"]),
        ({"key": "name", "value": RAW}, ["raw"]),
        (
            {"key": "data level", "value": "raw", "exclude": True},
            [*EVERYTHING[:2], *EVERYTHING[3:]],
        ),
    ],
)
def test_search_filters_select_assets(
    client: codeocean.CodeOcean, wanted: dict[str, Any], ids: list[str]
) -> None:
    wanted = dict(wanted)
    if "range" in wanted:
        wanted["range"] = codeocean.components.SearchFilterRange(**wanted["range"])
    assert search(client, filters=[codeocean.components.SearchFilter(**wanted)]) == ids


def test_search_next_token_returns_all_pages(box: Sandbox, client: codeocean.CodeOcean) -> None:
    params = DataAssetSearchParams(limit=3)
    assert [a.id for a in client.data_assets.search_data_assets_iterator(params)] == EVERYTHING
    assert box.count("codeocean") == 3
    first = client.data_assets.search_data_assets(params)
    assert first.has_more
    again = DataAssetSearchParams(limit=3, next_token=first.next_token, offset=1)
    assert search(client, **again.to_dict()) == EVERYTHING[3:6]


def test_search_without_limit_returns_100(box: Sandbox) -> None:
    for _ in range(1200):
        box.catalogue.add_asset({"name": "many"})
    for body, count in (({}, 100), ({"limit": 1000}, 1000), ({"limit": 1000, "offset": 1000}, 200)):
        answer = post(
            url(box, "data_assets/search"),
            json={"query": "name:many", **body},
            auth=(box.token, ""),
        )
        assert len(answer.json()["results"]) == count
        assert answer.json()["has_more"] is (count < 1200 and "offset" not in body)


def test_search_with_duplicates_repeats_assets(box: Sandbox, client: codeocean.CodeOcean) -> None:
    box.duplicates = 2
    assert search(client, query="tag:raw") == ["other", "raw", "other", "raw"]


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 1001},
        {"limit": "many"},
        {"next_token": "made up"},
        {"sort_field": "owner"},
        {"sort_field": "name", "sort_order": "up"},
        {"type": "nonsense"},
        {"origin": "elsewhere"},
        {"archived": "no"},
        {"qwery": "raw"},
        {"query": 1},
        {"filters": [{"value": "x"}]},
        {"filters": [{"key": "x"}]},
        {"offset": "x"},
        [],
        "no json",
    ],
)
def test_search_malformed_body_returns_400(box: Sandbox, body: Any) -> None:
    data = {"data": body} if isinstance(body, str) else {"json": body}
    answer = post(url(box, "data_assets/search"), auth=(box.token, ""), **data)
    assert answer.status_code == 400
    assert answer.json()["message"]


@pytest.mark.parametrize("token", ["", "cop_wrong", None])
def test_token_missing_or_wrong_returns_401(box: Sandbox, token: str | None) -> None:
    answer = get(url(box, "data_assets/raw"), auth=None if token is None else (token, ""))
    assert answer.status_code == 401
    assert "message" in answer.json()
    bearer = get(url(box, "data_assets/raw"), headers={"Authorization": f"Bearer {box.token}"})
    assert bearer.status_code == 401


@pytest.mark.parametrize(
    ("asset_id", "status"), [("closed", 401), ("barred", 403), ("gone", 404), ("missing", 404)]
)
def test_get_asset_inaccessible_returns_its_status(
    box: Sandbox, client: codeocean.CodeOcean, asset_id: str, status: int
) -> None:
    with pytest.raises(Error) as caught:
        client.data_assets.get_data_asset(asset_id)
    assert caught.value.status_code == status
    assert caught.value.data == {"message": caught.value.message}
    if asset_id == "missing":
        assert "two invented subjects" in caught.value.message
        assert "aind-session snapshot" in caught.value.message


def test_route_unknown_names_the_sandbox(box: Sandbox) -> None:
    answer = get(url(box, "nonsense"), auth=(box.token, ""))
    assert answer.status_code == 404
    assert "sandbox" in answer.json()["message"]


def test_get_asset_omits_private_keys(box: Sandbox, client: codeocean.CodeOcean) -> None:
    box.catalogue.data_assets[0]["_note"] = "private"
    asset = client.data_assets.get_data_asset("raw")
    assert (asset.name, asset.state) == (RAW, DataAssetState.Ready)
    assert "_note" not in get(url(box, "data_assets/raw"), auth=(box.token, "")).json()


def test_list_files_of_internal_asset_returns_folders(
    box: Sandbox, client: codeocean.CodeOcean
) -> None:
    def listed(path: str) -> list[tuple[str, str, str, int | None]]:
        items = client.data_assets.list_data_asset_files("sorted", path).items
        return [(item.name, item.path, item.type, item.size) for item in items]

    assert listed("") == [
        ("nwb", "nwb", "folder", None),
        ("output", "output", "file", 13),
        ("spikesorted", "spikesorted", "folder", None),
    ]
    assert listed("nwb/") == [
        ("a #1.nwb", "nwb/a #1.nwb", "file", 3),
        ("large.nwb", "nwb/large.nwb", "file", 10**9),
    ]
    with pytest.raises(Error, match="not found"):
        listed("nothing")


def test_link_with_credentials_is_refused(box: Sandbox, client: codeocean.CodeOcean) -> None:
    urls = client.data_assets.get_data_asset_file_urls("sorted", "nwb/a #1.nwb")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old = client.data_assets.get_data_asset_file_download_url("sorted", "nwb/a #1.nwb")
    assert old.url == urls.download_url == urls.view_url
    assert not urls.download_url.startswith(box.urls["codeocean"])
    answer = get(urls.download_url)
    assert (answer.status_code, answer.text) == (200, "hdf")
    leak = get(urls.download_url, auth=(box.token, ""))
    assert leak.status_code == 400
    assert get(urls.download_url[:-1] + "!").status_code == 403
    assert get(urls.download_url.replace("nwb", "other", 1)).status_code == 403
    assert box.count("files") == 4


def test_files_missing_or_unrecorded_return_errors(
    box: Sandbox, client: codeocean.CodeOcean
) -> None:
    with pytest.raises(Error) as caught:
        client.data_assets.get_data_asset_file_urls("sorted", "nothing")
    assert caught.value.status_code == 404
    link = client.data_assets.get_data_asset_file_urls("sorted", "nwb/large.nwb").download_url
    answer = get(link)
    assert answer.status_code == 501
    assert "aind-session snapshot" in answer.text


def test_list_files_of_external_asset_returns_400(client: codeocean.CodeOcean) -> None:
    with pytest.raises(Error, match="internal") as caught:
        client.data_assets.list_data_asset_files("raw")
    assert caught.value.status_code == 400


def test_asset_update_archive_share_delete_are_served(
    box: Sandbox, client: codeocean.CodeOcean
) -> None:
    assets = client.data_assets
    changed = assets.update_metadata("raw", DataAssetUpdateParams(name="new", tags=["x"]))
    assert (changed.name, changed.tags, changed.mount) == ("new", ["x"], RAW)
    assets.archive_data_asset("raw", archive=True)
    assert search(client, archived=True) == ["other", "raw"]
    permissions = codeocean.components.Permissions(
        everyone=codeocean.components.EveryoneRole.Viewer
    )
    assets.update_permissions("raw", permissions)
    shared = get(url(box, "data_assets/raw/permissions"), auth=(box.token, ""))
    assert shared.json()["everyone"] == "viewer"
    assets.delete_data_asset("raw")
    with pytest.raises(Error):
        assets.get_data_asset("raw")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "", "tags": [], "mount": "m"}, "name"),
        ({"name": "n", "tags": [], "mount": ""}, "mount"),
        ({"name": "n", "tags": [], "mount": "m"}, "source"),
        ({"name": "n", "tags": [], "mount": "m", "data_asset_ids": ["missing"]}, "not found"),
    ],
)
def test_create_asset_invalid_returns_400(
    box: Sandbox, client: codeocean.CodeOcean, params: dict[str, Any], message: str
) -> None:
    count = len(box.catalogue.data_assets)
    with pytest.raises(Error, match=message):
        client.data_assets.create_data_asset(DataAssetParams(**params))
    assert len(box.catalogue.data_assets) == count


@given(
    names=st.lists(st.text(st.sampled_from("ab_"), min_size=1, max_size=5), max_size=4),
    part=st.text(st.sampled_from("ab_"), min_size=1, max_size=2),
)
def test_search_name_matches_any_substring(names: list[str], part: str) -> None:
    assets = [{"id": name, "name": name, "created": 0} for name in names]
    found = asset_search.search(assets, {"query": f"name:{part}"}, "user")
    assert [asset["name"] for asset in found] == [name for name in names if part in name]
