"""DocDB: one record, many records, aggregations, errors."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from aind_session.errors import (
    BadAnswerError,
    IncompleteAnswerError,
    MissingExtraError,
    ServiceError,
)
from aind_session.services import docdb
from aind_session.services.docdb import DocDBError
from loopback import (
    Answer,
    Script,
    Seen,
    Serve,
)

FILTER = {"subject.subject_id": "676909"}


def parameters_of(seen: Seen) -> dict[str, Any]:
    """Decode the parameters of a `find`."""
    query = parse_qs(urlsplit(seen.path).query)
    return {name: json.loads(values[0]) for name, values in query.items()}


def keeping(records: list[Any], most: int = 10**9) -> Script:
    """Serve records by `find`, never more than a few at once; refuse `aggregate`."""

    def script(seen: Seen) -> Answer:
        if seen.path.endswith("/aggregate"):
            return Answer(413, b"too large")
        query = parameters_of(seen)
        skip, limit = query["skip"], query["limit"] or 10**9
        wanted = query["filter"].get("name", {}).get("$in")
        chosen = [one for one in records if wanted is None or one["name"] in wanted]
        return Answer(200, chosen[skip : skip + min(limit, most)])

    return script


# --- one record ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "created"), [("v1", "created"), ("v2", "_created")])
def test_find_one_sends_one_request_newest_first(serve: Serve, version: str, created: str) -> None:
    server = serve([Answer(200, b'[{"_id": "a",  "name": "x"}]')])
    assert docdb.find_one(version, FILTER) == b'{"_id": "a",  "name": "x"}'
    (seen,) = server.requests
    assert seen.method == "GET"
    assert seen.path.startswith(f"/{version}/metadata_index/data_assets/find?")
    assert parameters_of(seen) == {"limit": 1, "skip": 0, "filter": FILTER, "sort": {created: -1}}
    assert "Authorization" not in seen.headers


def test_find_one_with_sort_uses_it_and_without_record_is_none(serve: Serve) -> None:
    server = serve([Answer(200, [])])
    assert docdb.find_one("v2", FILTER, {"location": 1}) is None
    assert parameters_of(server.requests[0])["sort"] == {"location": 1}


# --- many records -------------------------------------------------------------------------------


def test_find_of_one_projected_page_sends_one_request(serve: Serve) -> None:
    server = serve(keeping([{"_id": str(n), "name": f"n{n}"} for n in range(20)]))
    found = docdb.find("v1", FILTER, {"name": 1})
    assert [record["_id"] for record in found] == [str(n) for n in range(20)]
    query = parameters_of(server.requests[0])
    assert query["projection"] == {"name": 1}
    assert query["sort"] == {"_id": 1}
    assert len(server.requests) == 1


def test_find_of_shortened_pages_reads_all(serve: Serve) -> None:
    records = [{"_id": str(n)} for n in range(7)]
    server = serve(keeping(records, most=3))
    assert docdb.find("v2", FILTER) == records
    assert [parameters_of(seen)["skip"] for seen in server.requests] == [0, 3, 6, 7]


def test_find_of_full_projected_pages_reads_all(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docdb, "PROJECTED_PAGE_SIZE", 4)
    records = [{"_id": str(n)} for n in range(10)]
    server = serve(keeping(records))
    assert docdb.find("v2", FILTER, {"_id": 1}) == records
    assert [parameters_of(seen)["skip"] for seen in server.requests] == [0, 4, 8]


def test_find_of_repeated_records_returns_each_once(serve: Serve) -> None:
    pages = [[{"_id": "a"}, {"_id": "b"}], [{"_id": "b"}, {"_id": "c"}], []]
    serve([Answer(200, page) for page in pages])
    assert docdb.find("v1", FILTER) == [{"_id": "a"}, {"_id": "b"}, {"_id": "c"}]


def test_find_of_records_without_id_returns_all(serve: Serve) -> None:
    serve([Answer(200, [{"name": "a"}, {"name": "a"}])])
    assert docdb.find("v1", FILTER, {"_id": 0, "name": 1}) == [{"name": "a"}, {"name": "a"}]


@pytest.mark.parametrize("body", [[None], [1, 2, 3], [{}], [[]], ["text"]])
def test_response_without_valid_record_is_an_error(serve: Serve, body: list[Any]) -> None:
    serve([Answer(200, body)])
    for ask in (
        lambda: docdb.find("v1", {}, {"name": 1}),
        lambda: docdb.find_one("v1", {}),
        lambda: docdb.aggregate("v1", [{"$group": {"_id": "$name"}}]),
    ):
        with pytest.raises(BadAnswerError, match="holds no record"):
            ask()


def test_find_that_fails_on_page_3_is_incomplete(serve: Serve) -> None:
    pages = [[{"_id": "a"}], [{"_id": "b"}]]
    serve([*(Answer(200, page) for page in pages), Answer(400, b"no")])
    with pytest.raises(IncompleteAnswerError, match="Page 3") as caught:
        docdb.find("v1", FILTER)
    assert caught.value.status == 400
    assert isinstance(caught.value.__cause__, DocDBError)


def test_find_with_a_repeated_page_stops(serve: Serve) -> None:
    server = serve([Answer(200, [{"_id": "a"}])])
    with pytest.raises(IncompleteAnswerError, match="again"):
        docdb.find("v1", FILTER)
    assert len(server.requests) == 2


def test_page_limit_that_is_reached_is_an_error(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docdb, "MAX_PAGES", 3)
    server = serve(keeping([{"_id": str(n)} for n in range(9)], most=1))
    with pytest.raises(IncompleteAnswerError, match="more than 3 pages"):
        docdb.find("v1", FILTER)
    assert len(server.requests) == 3


# --- aggregate ----------------------------------------------------------------------------------


def test_aggregate_sends_one_post(serve: Serve) -> None:
    server = serve([Answer(200, [{"_id": "a"}])])
    pipeline: list[dict[str, Any]] = [{"$match": FILTER}, {"$group": {"_id": "$name"}}]
    assert docdb.aggregate("v2", pipeline) == [{"_id": "a"}]
    (seen,) = server.requests
    assert (seen.method, seen.path) == ("POST", "/v2/metadata_index/data_assets/aggregate")
    assert seen.json == pipeline


def test_aggregate_that_fails_is_repeated(serve: Serve) -> None:
    server = serve([Answer(503), Answer(kind="reset"), Answer(200, [])])
    assert docdb.aggregate("v1", [{"$match": FILTER}]) == []
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "failure", [Answer(413), Answer(400), Answer(500), Answer(200, b"<html>"), Answer(200, {})]
)
def test_aggregate_that_fails_is_read_page_by_page(serve: Serve, failure: Answer) -> None:
    records = [{"_id": "a", "name": "x"}]

    def script(seen: Seen) -> Answer:
        return failure if seen.method == "POST" else Answer(200, records)

    server = serve(script)
    pipeline: list[dict[str, Any]] = [
        {"$match": FILTER},
        {"$sort": {"created": -1}},
        {"$project": {"name": 1}},
    ]
    assert docdb.aggregate("v1", pipeline) == records
    query = parameters_of(server.requests[-1])
    assert query["filter"] == FILTER
    assert query["projection"] == {"name": 1}
    assert query["sort"] == {"created": -1}


@pytest.mark.parametrize(
    "pipeline",
    [
        [{"$match": FILTER}, {"$group": {"_id": "$name"}}],
        [{"$group": {"_id": "$name"}}],
        [{"$project": {"name": 1}}, {"$match": FILTER}],
        [{"$match": FILTER}, {"$match": FILTER}],
        [{"$match": FILTER}, {"$project": {"name": "$subject.subject_id"}}],
        [{"$match": FILTER}, {"$project": {"first": {"$slice": ["$a", 1]}}}],
        [{"$match": FILTER}, {"$limit": 3}],
    ],
)
def test_aggregate_that_computes_is_not_read_page_by_page(
    serve: Serve, pipeline: list[dict[str, Any]]
) -> None:
    server = serve(keeping([{"_id": "a"}]))
    with pytest.raises(DocDBError):
        docdb.aggregate("v1", pipeline)
    assert {seen.method for seen in server.requests} == {"POST"}


def test_aggregate_that_fails_both_ways_names_both(serve: Serve) -> None:
    serve([Answer(400, b"neither")])
    with pytest.raises(DocDBError) as caught:
        docdb.aggregate("v1", [{"$match": FILTER}])
    assert "/find" in str(caught.value)
    assert "/aggregate" in str(caught.value.__cause__)


def test_aggregate_with_many_names_is_sent_in_parts(serve: Serve) -> None:
    names = [f"ecephys_{n}_2023-12-13_13-43-40" for n in range(100_000, 100_500)]
    records = [{"_id": name, "name": name} for name in names]
    server = serve(keeping(records))
    found = docdb.aggregate("v1", [{"$match": {"name": {"$in": names}}}, {"$project": {"name": 1}}])
    assert sorted(record["name"] for record in found) == names
    urls = [seen.path for seen in server.requests if seen.method == "GET"]
    assert len(urls) > 2
    assert max(map(len, urls)) < docdb.URL_LIMIT


@given(st.lists(st.text(max_size=50), max_size=60), st.integers(20, 500))
def test_chunks_hold_all_values_in_order(values: list[str], limit: int) -> None:
    parts = list(docdb.chunks_for_in(values, limit))
    assert [value for part in parts for value in part] == values
    for part in parts:
        assert part
        assert len(part) == 1 or len(quote_plus(json.dumps(part))) <= limit + 6


# --- errors -------------------------------------------------------------------------------------

WAYS: list[Callable[[], Any]] = [
    lambda: docdb.find_one("v1", FILTER),
    lambda: docdb.find("v2", FILTER),
    lambda: docdb.aggregate("v1", [{"$group": {"_id": 1}}]),
    lambda: docdb.get_client("v1").retrieve_docdb_records(FILTER, limit=1),
    lambda: docdb.get_client("v2").aggregate_docdb_records([{"$match": FILTER}]),
]


@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize("status", [400, 403, 413, 500, 504])
def test_docdb_error_has_all_base_classes(
    serve: Serve, ask: Callable[[], Any], status: int
) -> None:
    server = serve([Answer(status, {"message": "because"}, {"apigw-requestid": "r-17"})])
    with pytest.raises(DocDBError, match="because") as caught:
        ask()
    error = caught.value
    assert isinstance(error, requests.HTTPError)
    assert error.status == error.response.status_code == status
    assert error.attempts == len(server.requests) == (4 if status >= 500 else 1)
    assert error.request_id == "r-17"
    assert isinstance(error.__cause__, requests.HTTPError)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(again), str(again), again.status) == (DocDBError, str(error), status)
        assert again.response.json() == {"message": "because"}


@pytest.mark.parametrize("ask", WAYS)
def test_service_without_response_ends_in_time(serve: Serve, ask: Callable[[], Any]) -> None:
    serve([Answer(kind="hang")], AIND_SESSION_TIMEOUT="0.1", AIND_SESSION_ATTEMPTS="1")
    with pytest.raises(TimeoutError) as caught:
        ask()
    assert isinstance(caught.value, ServiceError)
    assert caught.value.service == "DocDB"


@pytest.mark.parametrize("ask", WAYS[:3])
@pytest.mark.parametrize(
    "body",
    [b"<html>504</html>", b"", b'[{"a": "\xff"}]', b"[{", b'{"message": "no"}', b'"x"'],
    ids=repr,
)
def test_response_without_list_is_a_typed_error(
    serve: Serve, ask: Callable[[], Any], body: bytes
) -> None:
    serve([Answer(200, body)])
    with pytest.raises(BadAnswerError) as caught:
        ask()
    assert caught.value.status == 200
    assert body.decode("utf-8", "replace")[:200] in str(caught.value)


def test_plain_host_beyond_loopback_is_refused(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve([Answer(200, [])])
    monkeypatch.setenv("AIND_SESSION_DOCDB_HOST", "http://example.org")
    with pytest.raises(ServiceError, match="https only"):
        docdb.find_one("v1", FILTER)


def test_client_is_the_real_one(serve: Serve) -> None:
    from aind_data_access_api.document_db import MetadataDbClient

    server = serve([Answer(200, [{"_id": "a"}])])
    client = docdb.get_client("v2")
    assert isinstance(client, MetadataDbClient)
    assert client.retrieve_docdb_records(FILTER, limit=1) == [{"_id": "a"}]
    assert server.requests[0].path.startswith("/v2/metadata_index/data_assets/find?")


def test_client_write_that_fails_is_sent_once(serve: Serve) -> None:
    server = serve([Answer(503)])
    client = docdb.get_client("v1")
    with pytest.raises(DocDBError):
        client.session.post(f"{client._base_url}/insert_one", data="{}")
    assert len(server.requests) == 1


# --- a schema whose endpoint was switched off ---

GONE = [
    Answer(404, {"message": "Not Found"}),
    Answer(410),
    Answer(403, {"message": "Missing Authentication Token"}),
]
CALLS: list[tuple[Callable[[str], Any], Any]] = [
    (lambda version: docdb.find_one(version, FILTER), None),
    (lambda version: docdb.find(version, FILTER), []),
    (lambda version: docdb.aggregate(version, [{"$match": FILTER}]), []),
]


def retiring(version: str, answer: Answer) -> Script:
    return lambda seen: answer if seen.path.startswith(f"/{version}/") else Answer(200, [])


@pytest.mark.parametrize("answer", GONE, ids=["404", "410", "403"])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("call", "nothing"), CALLS, ids=["find_one", "find", "aggregate"])
def test_retired_schema_is_remembered_and_logged_once(
    serve: Serve,
    caplog: pytest.LogCaptureFixture,
    answer: Answer,
    version: str,
    call: Callable[[str], Any],
    nothing: Any,
) -> None:
    server = serve(retiring(version, answer))
    for _ in range(3):
        assert call(version) == nothing
    assert len(server.requests) == 1
    assert docdb.retired_schemas() == (version,)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"/{version}/ is retired" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, {"message": "Forbidden"}),
        Answer(404, b"<html>gateway</html>"),
        Answer(400),
        Answer(503),
    ],
)
def test_schema_that_fails_otherwise_is_not_retired(serve: Serve, answer: Answer) -> None:
    serve(retiring("v1", answer))
    with pytest.raises(DocDBError):
        docdb.find_one("v1", FILTER)
    assert docdb.retired_schemas() == ()


def test_schemas_that_are_both_missing_are_an_error(serve: Serve) -> None:
    serve([GONE[0]])
    assert docdb.find_one("v1", FILTER) is None
    for call, _ in CALLS:
        with pytest.raises(DocDBError, match="404"):
            call("v2")


def test_client_without_its_package_names_what_to_install(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve([Answer(200, [{"_id": "a"}])])
    monkeypatch.setitem(sys.modules, "aind_data_access_api.document_db", None)
    with pytest.raises(ImportError, match="pip install") as caught:
        docdb.get_client("v2")
    assert isinstance(caught.value, MissingExtraError)
    # Nothing else needs it.
    assert docdb.find_one("v1", FILTER) == b'{"_id": "a"}'


def test_lookups_do_not_load_the_client(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("aind_data_access_api")]:
        monkeypatch.delitem(sys.modules, name)
    serve([Answer(200, [])])
    for call, nothing in CALLS:
        assert call("v1") == nothing
    assert not any(name.startswith("aind_data_access_api") for name in sys.modules)
