"""One value that cannot be decoded never loses the others of an answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aind_session.services import codeocean, decode, docdb
from loopback import Answer, Serve, serving

GOOD = {
    "id": "16d46411-540a-4122-b47f-8cb2a15d593a",
    "name": "ecephys_676909_2023-12-13_13-43-40",
    "created": 1702620828,
}
DEEP = "[" * 5_000 + "]" * 5_000
INVALID = {
    "deep": f'{{"id": "e", "name": "x", "created": 1, "deep": {DEEP}}}',
    "huge number": f'{{"id": "f", "name": "x", "created": {"9" * 5_000}}}',
    "lone surrogate": '{"id": "d", "name": "\\ud800", "created": 1}',
    "not an object": "7",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    with serving(monkeypatch) as start:
        yield start


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


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
def test_records_with_an_undecodable_record_returns_the_others(
    serve: Serve, invalid: str, caplog: pytest.LogCaptureFixture
) -> None:
    serve([Answer(200, f'[{{"_id": "a", "name": "good"}}, {invalid}]'.encode())])
    with caplog.at_level(logging.WARNING, "aind_session"):
        found = docdb.aggregate("v1", [{"$match": {}}])
    assert found == [{"_id": "a", "name": "good"}]
    assert "Left out" in caplog.text


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
