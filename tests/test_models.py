"""Code Ocean's JSON as models, whole and odd."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from codeocean.computation import Computation, ComputationState
from codeocean.data_asset import DataAsset, DataAssetOrigin, DataAssetState, DataAssetType
from hypothesis import given
from hypothesis import strategies as st

from aind_session.errors import BadAnswerError
from aind_session.services.models import (
    decode_asset,
    decode_assets,
    decode_computation,
    decode_computations,
    split_list,
    split_results,
    summarise,
)

WHOLE: dict[str, Any] = {
    "id": "11ee1e1e-11e1-4111-8111-e11eeeee1e11",
    "created": 1718227288,
    "name": "ecephys_712141_2024-06-06_10-44-36_sorted_2024-06-12_21-21-28",
    "mount": "sorted",
    "last_used": 1718227621,
    "owner": "8b0c5a64",
    "state": "ready",
    "type": "result",
    "files": 8732,
    "size": 19692901898,
    "description": "",
    "tags": ["derived", "ecephys", "712141"],
    "custom_metadata": {"data level": "derived", "subject id": "712141", "acquired": 1.5e9},
    "provenance": {"capsule": None, "computation": "77a777aa", "data_assets": ["aaa3a3aa"]},
    "source_bucket": {
        "bucket": "aind-open-data",
        "origin": "aws",
        "prefix": "some/folder/",
        "external": True,
    },
    "app_parameters": [{"name": "sorter", "value": "ks4"}],
    "contained_data_assets": [{"id": "aaa3a3aa", "mount": "raw", "size": 12}],
    "a_field_of_the_future": {"deep": [1, 2, {"er": None}]},
}
RUN: dict[str, Any] = {
    "id": "da8dd108-2a10-471d-82b9-1e671b107bf8",
    "created": 1668125314,
    "name": "Run With Parameters 8125314",
    "owner": "8b0c5a64",
    "run_time": 8,
    "state": "completed",
    "end_status": "succeeded",
    "exit_code": 0,
    "has_results": True,
    "data_assets": [{"id": "aaa3a3aa", "mount": "raw"}],
    "parameters": [{"param_name": "sorter", "value": "ks4"}],
    "processes": [{"name": "main", "capsule_id": "9fe42995", "parameters": [{"value": "1"}]}],
}


def raw(record: object) -> bytes:
    return json.dumps(record).encode()


def without(*keys: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**WHOLE, **changes}.items() if key not in keys}


def test_decode_asset_of_complete_json_equals_the_sdk() -> None:
    assert decode_asset(raw(WHOLE)) == DataAsset.from_dict(WHOLE)
    assert decode_assets([raw(WHOLE)] * 2) == (DataAsset.from_dict(WHOLE),) * 2


def test_decode_computation_of_complete_json_equals_the_sdk() -> None:
    assert decode_computation(raw(RUN)) == Computation.from_dict(RUN)


optional_text = st.none() | st.text(max_size=20)
whole_assets = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "created": st.integers(0, 2**33),
        "name": st.text(max_size=40),
        "mount": st.text(max_size=10),
        "last_used": st.integers(0, 2**33),
        "owner": st.text(max_size=10),
        "state": st.sampled_from(["draft", "ready", "failed"]),
        "type": st.sampled_from(["dataset", "result", "combined", "model"]),
    },
    optional={
        "files": st.none() | st.integers(0, 2**40),
        "size": st.none() | st.integers(0, 2**60),
        "description": optional_text,
        "tags": st.none() | st.lists(st.text(max_size=8), max_size=4),
        "custom_metadata": st.none()
        | st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.floats(0, 1e9), max_size=3),
        "provenance": st.none()
        | st.fixed_dictionaries(
            {}, optional={"capsule": optional_text, "computation": optional_text}
        ),
        "source_bucket": st.none()
        | st.fixed_dictionaries(
            {"origin": st.sampled_from(["aws", "local", "gcp"])},
            optional={"bucket": optional_text, "prefix": optional_text, "external": st.booleans()},
        ),
        "nonsense": st.integers() | st.text(max_size=3),
    },
)


@given(whole_assets)
def test_decode_asset_of_any_complete_json_equals_the_sdk(record: dict[str, Any]) -> None:
    assert decode_asset(raw(record)) == DataAsset.from_dict(record)


def test_summarise_returns_the_fields_of_joins() -> None:
    summary = summarise(raw(WHOLE))
    assert (summary.id, summary.name, summary.created) == (
        WHOLE["id"],
        WHOLE["name"],
        1718227288,
    )
    assert summary.tags == ("derived", "ecephys", "712141")
    assert summary.custom_metadata["subject id"] == "712141"
    assert (summary.bucket, summary.prefix, summary.external) == (
        "aind-open-data",
        "some/folder",
        True,
    )
    assert (summary.state, summary.type, summary.archived) == ("ready", "result", False)
    assert decode_asset(summary.raw) == DataAsset.from_dict(WHOLE)


# Nothing odd about these, for an SDK of today or for one of before.
ALSO_WHOLE = [without(tags=None)]
if "owner" not in DataAsset.__dataclass_fields__:
    ALSO_WHOLE.append(without("owner"))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (without("mount"), {"mount": WHOLE["name"]}),
        (without("owner"), {"owner": ""}),
        (without("last_used"), {"last_used": 0}),
        (without("mount", "owner", "last_used"), {"mount": WHOLE["name"], "owner": ""}),
        (without("created"), {"created": 0}),
        (without(created=1718227288.75), {"created": 1718227288}),
        (without(created="1718227288"), {"created": 1718227288}),
        (without(created="2024-06-12T21:21:28Z"), {"created": 1718227288}),
        (without(created=None), {"created": 0}),
        (without(created={"seconds": 1}), {"created": 0}),
        (without(state="archiving"), {"state": "archiving"}),
        (without(type="notebook"), {"type": "notebook"}),
        (without(state="archiving", type="result"), {"type": DataAssetType.Result}),
        (without("state"), {"state": "unknown"}),
        (without(source_bucket={}), {"source_bucket": None}),
        (without(source_bucket="s3://a/b"), {"source_bucket": None}),
        (without(tags=None), {"tags": None}),
        (without(tags="raw"), {"tags": ["raw"]}),
        (without(tags=["raw", 676909, None]), {"tags": ["raw", "676909"]}),
        (without(custom_metadata=["odd"]), {"custom_metadata": None}),
        (without(custom_metadata="odd"), {"custom_metadata": None}),
        (without(size="12"), {"size": 12}),
        (without(size="large"), {"size": None}),
        (without(size=1e400), {"size": None}),
        (without(files=True), {"files": None}),
        (without(description=7), {"description": "7"}),
        (without(provenance=[]), {"provenance": None}),
        (without(name=None), {"name": ""}),
        (without(contained_data_assets=[None, {"id": "a"}, 3]), {}),
    ],
)
def test_decode_asset_of_odd_json_is_a_model_of_the_sdk(
    record: dict[str, Any], expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    text = raw(record)
    with caplog.at_level(logging.INFO, "aind_session"):
        asset = decode_asset(text.replace(b"Infinity", b"1e400"))
    assert type(asset) is DataAsset
    # Older versions of the SDK have no `owner`.
    expected = {key: value for key, value in expected.items() if hasattr(asset, key)}
    assert {key: getattr(asset, key) for key in expected} == expected
    untouched = {"id", "files", "description"} - expected.keys() - (WHOLE.keys() - record.keys())
    for key in untouched & record.keys():
        if record[key] == WHOLE[key]:
            assert getattr(asset, key) == WHOLE[key]
    if "state" in expected:
        assert asset.to_dict()["state"] == expected["state"] != DataAssetState.Ready
    if record not in ALSO_WHOLE:
        assert f"Odd data asset {WHOLE['id']}" in caplog.text


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [
        ({"bucket": "b", "prefix": "p"}, ("b", "p", DataAssetOrigin.AWS)),
        ({"bucket": "b", "prefix": "p", "origin": "azure"}, ("b", "p", "azure")),
        ({"bucket": "", "prefix": "", "origin": "local"}, ("", "", DataAssetOrigin.Local)),
        ({"bucket": None, "prefix": 5, "origin": "aws"}, ("", "5", DataAssetOrigin.AWS)),
    ],
)
def test_decode_asset_with_odd_bucket_keeps_its_location(
    bucket: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    record = raw(without(source_bucket=bucket))
    source = decode_asset(record).source_bucket
    assert (source.bucket or "", source.prefix, source.origin) == expected
    summary = summarise(record)
    assert (summary.bucket, summary.prefix) == expected[:2]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"state": "queued"}, {"state": "queued", "end_status": "succeeded"}),
        ({"end_status": "evicted"}, {"end_status": "evicted"}),
        ({"run_time": 8.4}, {"run_time": 8}),
        ({"exit_code": "1"}, {"exit_code": 1}),
        ({"data_assets": None}, {"data_assets": None}),
        ({"parameters": {}}, {"state": ComputationState.Completed}),
        ({"has_results": "yes"}, {"has_results": None}),
    ],
)
def test_decode_computation_of_odd_json_is_a_model_of_the_sdk(
    change: dict[str, Any], expected: dict[str, Any]
) -> None:
    run = decode_computation(raw({**RUN, **change}))
    assert type(run) is Computation
    assert {key: getattr(run, key) for key in expected} == expected


@pytest.mark.parametrize("key", ["owner", "run_time", "created", "name", "state"])
def test_decode_computation_without_any_field_but_the_id_is_a_model(key: str) -> None:
    run = decode_computation(raw({k: v for k, v in RUN.items() if k != key}))
    assert run.id == RUN["id"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted({*WHOLE, *RUN} - {"id"})), json_values)
def test_decode_with_any_value_in_a_field_is_a_model(key: str, value: Any) -> None:
    record = raw({**WHOLE, key: value}).replace(b"Infinity", b"1e400")
    assert decode_asset(record).id == summarise(record).id == WHOLE["id"]
    record = raw({**RUN, key: value}).replace(b"Infinity", b"1e400")
    assert decode_computation(record).id == RUN["id"]


@pytest.mark.parametrize(
    "record",
    [
        b'{"name": "no id"}',
        b'{"id": ""}',
        b'{"id": null}',
        b'{"id": 7}',
        b"[]",
        b"null",
        b'"text"',
        b"",
        b"<html>",
        b'{"id": "a", "na',
        b'{"id": "\xff"}',
    ],
)
def test_decoding_json_without_an_id_raises(record: bytes) -> None:
    for read in (decode_asset, decode_computation, summarise):
        with pytest.raises(BadAnswerError):
            read(record)


def test_split_results_returns_assets_and_token() -> None:
    found, more, token = split_results(
        raw({"results": [WHOLE], "has_more": True, "next_token": "abc"})
    )
    assert [summary.id for summary in found] == [WHOLE["id"]]
    assert (more, token) == (True, "abc")


@pytest.mark.parametrize(
    ("page", "more", "token"),
    [
        ({"results": []}, False, None),
        ({"results": [], "has_more": False, "next_token": ""}, False, None),
        ({"results": [], "next_token": "abc"}, True, "abc"),
        ({"results": [], "has_more": True, "next_token": 12}, True, "12"),
        ({"results": [], "has_more": False, "next_token": "abc", "new": 1}, False, "abc"),
    ],
)
def test_split_results_reads_the_end_of_a_page(
    page: dict[str, Any], more: bool, token: str | None
) -> None:
    assert split_results(raw(page)) == ([], more, token)


def test_split_results_with_invalid_assets_returns_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = [WHOLE, {"name": "no id"}, None, 3, without("mount", state="new", id="b")]
    found, _, _ = split_results(raw({"results": odd}))
    assert [summary.id for summary in found] == [WHOLE["id"], "b"]
    assert caplog.text.count("Left out") == 3


@pytest.mark.parametrize(
    "payload",
    [b"", b"<html>504", b'{"message": "no"}', b"[]", b'{"results": [{"id": "\xff"'],
    ids=repr,
)
def test_split_results_of_other_content_raises(payload: bytes) -> None:
    with pytest.raises(BadAnswerError, match="not a page") as caught:
        split_results(payload)
    assert payload[:9].decode("utf-8", "replace") in str(caught.value)


def test_split_list_of_other_content_raises() -> None:
    assert split_list(b'[{"id": "a"}, 3]', "runs") == (b'{"id": "a"}', b"3")
    for payload in (b"{}", b"", b"<html>"):
        with pytest.raises(BadAnswerError, match="not a list of runs"):
            split_list(payload, "runs")


def test_decode_asset_of_recorded_json_equals_the_sdk(shared_data: Path) -> None:
    compared = 0
    for file in sorted((shared_data / "records" / "codeocean").glob("*.json")):
        content = json.loads(file.read_text())
        if isinstance(content, list):
            assert all(decode_computation(raw(item)).id == item["id"] for item in content)
            continue
        for item in content.get("results", [content]):
            asset = decode_asset(raw(item))
            assert asset.name == summarise(raw(item)).name == item["name"]
            assert asset.created == item["created"]
            assert asset == DataAsset.from_dict({"owner": "", "mount": item["name"], **item})
            compared += 1
    assert compared > 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["assets", "computations"])
def test_decoding_10000_models_takes_at_most_200_ms(kind: str) -> None:
    whole = WHOLE if kind == "assets" else RUN
    items = [{**whole, "id": f"{number:036d}"} for number in range(10_000)]
    payload = raw({"results": items, "has_more": False} if kind == "assets" else items)
    spent = []
    for _ in range(3):
        began = time.process_time()
        models: tuple[object, ...]
        if kind == "assets":
            models = decode_assets(summary.raw for summary in split_results(payload)[0])
        else:
            models = decode_computations(split_list(payload, "computations"))
        spent.append(time.process_time() - began)
        assert len(models) == 10_000
        del models
    assert min(spent) <= 0.2
