"""One value that cannot be decoded never loses the others of an answer."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aind_session.errors import BadAnswerError
from aind_session.services import codeocean, decode, docdb
from aind_session.services.models import decode_assets, decode_computations, summarise
from loopback import Answer, Serve

GOOD = {
    "id": "16d46411-540a-4122-b47f-8cb2a15d593a",
    "name": "ecephys_676909_2023-12-13_13-43-40",
    "created": 1702620828,
}
# Python 3.13 decodes some 10,000 levels, older ones 1,000.
DEEP = "[" * 100_000 + "]" * 100_000
INVALID = {
    "deep": f'{{"id": "e", "name": "x", "created": 1, "deep": {DEEP}}}',
    "huge number": f'{{"id": "f", "name": "x", "created": {"9" * 5_000}}}',
    "brackets in text": f'{{"a,]": "}},{{", "deep": {DEEP}}}',
    "lone surrogate": '{"id": "d", "name": "\\ud800", "created": 1}',
    "not an object": "7",
}

json_values = st.recursive(
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text('a\\"[]{},: ü'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('a\\"[]{},: ü'), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
def test_search_with_an_undecodable_asset_returns_the_others(
    serve: Serve, invalid: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = f'{{"has_more": false, "results": [{json.dumps(GOOD)}, {invalid}]}}'
    serve([Answer(200, page.encode())])
    with caplog.at_level(logging.WARNING, "aind_session"):
        found = codeocean.search_assets(query="x", archived=False)
    assert [asset.id for asset in found] == [GOOD["id"]]
    assert "Left out" in caplog.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_search_with_a_number_that_json_does_not_have_returns_all(
    serve: Serve, number: str
) -> None:
    odd = f'{{"id": "b", "name": "x", "created": 1, "size": {number}}}'
    page = f'{{"has_more": false, "results": [{json.dumps(GOOD)}, {odd}]}}'
    serve([Answer(200, page.encode())])
    found = codeocean.search_assets(query="x", archived=False)
    assert [asset.id for asset in found] == [GOOD["id"], "b"]


def test_records_with_every_kind_of_invalid_record_returns_the_others(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    # NaN alone is read as null; with the others it must not prevent that.
    odd = '{"_id": "b", "value": NaN, "most": Infinity}'
    some = [*INVALID.values(), odd, '{"_id": "c", "value": 1e400}', "null", '"text"', "{}"]
    serve([Answer(200, f'[{",".join(some)}, {{"_id": "a"}}]'.encode())])
    expected = [{"_id": "b", "value": None, "most": None}, {"_id": "a"}]
    with caplog.at_level(logging.WARNING, "aind_session"):
        assert docdb.aggregate("v1", [{"$match": {}}]) == expected
        assert docdb.find("v1", {}, {"name": 1}) == expected
    assert caplog.text.count("Left out") == 2 * (len(some) - 1)


def test_find_returns_records_whose_id_is_an_object_once(serve: Serve) -> None:
    records = [{"_id": {"$oid": "a"}}, {"_id": {"$oid": "b"}}, {"_id": {"$oid": "a"}}]
    serve([Answer(200, records)])
    assert docdb.find("v1", {}, {"name": 1}) == records[:2]


def test_get_record_with_an_undecodable_record_raises(serve: Serve) -> None:
    serve([Answer(200, f"[{INVALID['lone surrogate']}]".encode())])
    with pytest.raises(BadAnswerError, match="surrogates not allowed"):
        docdb.find_one("v1", {})


@pytest.mark.parametrize(
    "extra", ['"description": "\\ud800"', f'"app_parameters": {DEEP}', f'"size": {"9" * 5_000}']
)
def test_search_never_returns_an_asset_whose_model_cannot_be_made(serve: Serve, extra: str) -> None:
    odd = f'{{"id": "b", "name": "x", "created": 1, "state": "ready", "type": "result", {extra}}}'
    page = f'{{"has_more": false, "results": [{odd}, {json.dumps(GOOD)}]}}'
    serve([Answer(200, page.encode())])
    found = codeocean.search_assets(query="x", archived=False)
    assert [model.id for model in decode_assets(one.raw for one in found)] == [GOOD["id"]]


def test_summary_of_an_asset_with_nan_contains_strict_json() -> None:
    raw = b'{"id": "b", "name": "x", "created": 1, "custom_metadata": {"a": NaN, "b": 1e400}}'
    whole = json.loads(summarise(raw).raw, parse_constant=pytest.fail)
    assert whole["custom_metadata"] == {"a": None, "b": None}


def test_computations_with_an_undecodable_one_returns_the_others() -> None:
    good = b'{"id": "a", "name": "run", "created": 1, "run_time": 1, "state": "completed"}'
    raws = [b'{"id": "b", "name": "\\ud800"}', good]
    assert [run.id for run in decode_computations(raws)] == ["a"]
    with pytest.raises(BadAnswerError, match="holds no computation"):
        decode_computations(raws[:1])


def test_unexpected_error_while_decoding_is_a_failure_of_the_service(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> list[bytes]:
        raise AttributeError("a fault of this package")

    monkeypatch.setattr(decode, "split_list", fail)
    serve([Answer(200, [])])
    caplog.set_level(logging.DEBUG, "aind_session")
    with pytest.raises(BadAnswerError, match="DocDB's answer could not be decoded") as caught:
        docdb.find_one("v1", {})
    assert caught.value.service == "DocDB"
    assert "Traceback" in caplog.text
    assert "a fault of this package" in caplog.text


@given(st.lists(json_values))
def test_split_list_equals_decoding_and_encoding(items: list[object]) -> None:
    body = json.dumps(items).encode()
    assert [json.loads(raw) for raw in decode.split_list(body)] == items
    # The way for lists that cannot be decoded as a whole.
    assert [json.loads(raw) for raw in decode._split(body, b"[", b"]")] == items


@given(st.dictionaries(st.text(), json_values))
def test_split_object_equals_decoding_and_encoding(members: dict[str, object]) -> None:
    body = json.dumps(members).encode()
    assert {k: json.loads(raw) for k, raw in decode.split_object(body).items()} == members


@pytest.mark.parametrize("body", [b"", b"[", b"[1", b"[1,", b"{}", b"[1] 2", b'["a]', b"null"])
def test_split_list_of_an_incomplete_list_raises(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"JSON"):
        decode.split_list(body)
