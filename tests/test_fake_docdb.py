"""The fake DocDB, used by the real client: it answers and refuses like the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from aind_data_access_api.document_db import MetadataDbClient
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from aind_session.sandbox import Catalogue, Sandbox, sandbox
from aind_session.sandbox import fake_docdb as mongo

NAME = "ecephys_{:06d}_2024-01-01_12-00-00"


class PlainAdapter(HTTPAdapter):
    """Speaks plain HTTP where the client writes https."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        assert request.url is not None
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **{**kwargs, "timeout": 5})


@pytest.fixture
def box() -> Iterator[Sandbox]:
    catalogue = Catalogue()
    for number in range(5):
        name = NAME.format(number)
        catalogue.add_record(
            1,
            {
                "name": name,
                "location": f"s3://aind-open-data/{name}",
                "created": f"2024-01-0{number + 1}T00:00:00Z",
                "subject": {"subject_id": f"{number % 2:06d}"},
                "external_links": {"Code Ocean": [f"asset-{number}"]},
            },
        )
    catalogue.add_record(1, {"name": "listed", "external_links": [{"Code Ocean": "asset-9"}]})
    catalogue.add_record(1, {"name": "bare", "external_links": None, "subject": None})
    catalogue.add_record(2, {"name": NAME.format(0), "other_identifiers": {"Code Ocean": ["x"]}})
    with sandbox(catalogue) as serving:
        yield serving


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        for scheme in ("https", "http"):
            opened.mount(f"{scheme}://127.0.0.1", PlainAdapter())
        yield opened


def client(box: Sandbox, session: requests.Session, version: str = "v1") -> MetadataDbClient:
    host = box.urls["docdb"].removeprefix("http://")
    return MetadataDbClient(host=host, version=version, session=session)


def names(records: list[dict[str, Any]]) -> list[str]:
    return [record["name"] for record in records]


def test_url_version_selects_the_schema(box: Sandbox, session: requests.Session) -> None:
    assert len(client(box, session).retrieve_docdb_records()) == 7
    assert names(client(box, session, "v2").retrieve_docdb_records()) == [NAME.format(0)]
    old = MetadataDbClient(
        host=box.urls["docdb"].removeprefix("http://"),
        database="metadata_index_v2",
        session=session,
    )
    assert names(old.retrieve_docdb_records()) == [NAME.format(0)]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"name": NAME.format(3)}, [3]),
        ({"subject.subject_id": "000001"}, [1, 3]),
        ({"name": {"$in": [NAME.format(1), NAME.format(4), "missing"]}}, [1, 4]),
        ({"name": {"$regex": "^ecephys_00000[01]"}}, [0, 1]),
        ({"name": {"$regex": "^ECEPHYS_00000[01]", "$options": "i"}}, [0, 1]),
        ({"$or": [{"name": NAME.format(0)}, {"subject.subject_id": "000001"}]}, [0, 1, 3]),
        ({"$and": [{"name": {"$regex": "000"}}, {"created": {"$gt": "2024-01-03"}}]}, [2, 3, 4]),
        ({"external_links.Code Ocean": "asset-2"}, [2]),
        ({"external_links.Code Ocean": {"$in": ["asset-0", "asset-1"]}}, [0, 1]),
        ({"name": {"$ne": NAME.format(0), "$regex": "^ecephys"}}, [1, 2, 3, 4]),
        (
            {"subject.subject_id": {"$exists": True}, "name": {"$nin": [NAME.format(2)]}},
            [0, 1, 3, 4],
        ),
    ],
)
def test_find_filter_matches_like_mongo(
    box: Sandbox, session: requests.Session, query: dict[str, Any], numbers: list[int]
) -> None:
    found = client(box, session).retrieve_docdb_records(filter_query=query)
    assert names(found) == [NAME.format(number) for number in numbers]


def test_find_links_match_both_shapes(box: Sandbox, session: requests.Session) -> None:
    query = {"external_links.Code Ocean": "asset-9"}
    assert names(client(box, session).retrieve_docdb_records(filter_query=query)) == ["listed"]


def test_find_projection_sort_limit_skip_apply(box: Sandbox, session: requests.Session) -> None:
    found = client(box, session).retrieve_docdb_records(
        filter_query={"subject.subject_id": "000000"},
        projection={"name": 1, "_id": 0},
        sort={"created": -1},
        limit=2,
    )
    assert found == [{"name": NAME.format(4)}, {"name": NAME.format(2)}]


def test_client_requests_the_empty_page(box: Sandbox, session: requests.Session) -> None:
    client(box, session).retrieve_docdb_records(filter_query={"name": NAME.format(0)})
    assert [r.params["skip"] for r in box.requests] == ["0", "1"]


def test_find_too_large_returns_fewer_records(box: Sandbox, session: requests.Session) -> None:
    box.docdb.max_payload = 600
    found = client(box, session).retrieve_docdb_records()
    assert len(found) == 7
    assert box.count("docdb") > 3
    first = session.get(f"{box.urls['docdb']}/v1/metadata_index/data_assets/find")
    assert first.status_code == 200
    assert len(first.json()) < 7


def test_base_url_and_aggregate_too_large_return_413(
    box: Sandbox, session: requests.Session
) -> None:
    base = f"{box.urls['docdb']}/v1/metadata_index/data_assets"
    assert len(session.get(base).json()) == 7
    box.docdb.max_payload = 600
    assert session.get(base).status_code == 413
    assert session.post(f"{base}/aggregate", json=[{"$match": {}}]).status_code == 413
    box.docdb.max_payload = 100
    assert session.get(f"{base}/find").status_code == 413


def test_aggregate_groups_and_projects(box: Sandbox, session: requests.Session) -> None:
    pipeline = [
        {"$match": {"name": {"$regex": "^ecephys"}}},
        {"$group": {"_id": "$subject.subject_id", "count": {"$sum": 1}}},
        {"$sort": {"_id": 1}},
    ]
    found = client(box, session).aggregate_docdb_records(pipeline)
    assert found == [{"_id": "000000", "count": 3}, {"_id": "000001", "count": 2}]
    wanted = [NAME.format(number) for number in (0, 2)]
    projected = client(box, session).fetch_records_by_filter_list("name", wanted, {"name": 1})
    assert names(projected) == wanted
    assert all(set(record) == {"_id", "name"} for record in projected)


def test_aggregate_keeps_records_unchanged(box: Sandbox, session: requests.Session) -> None:
    before = json.dumps(box.catalogue.docdb_v1)
    pipeline = [{"$match": {"name": NAME.format(0)}}, {"$addFields": {"subject.age": "old"}}]
    found = client(box, session).aggregate_docdb_records(pipeline)
    assert found[0]["subject"] == {"subject_id": "000000", "age": "old"}
    assert json.dumps(box.catalogue.docdb_v1) == before


def test_count_documents_returns_both_counts(box: Sandbox, session: requests.Session) -> None:
    counted = client(box, session)._count_records({"subject.subject_id": "000000"})
    assert counted == {"total_record_count": 7, "filtered_record_count": 3}


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "find", {"params": {"filter": "{not json"}}, 400),
        ("GET", "find", {"params": {"filter": "[]"}}, 400),
        ("GET", "find", {"params": {"limit": "many"}}, 400),
        ("GET", "find", {"params": {"limit": "-1"}}, 400),
        ("GET", "find", {"params": {"filter": '{"name": {"$regex": "("}}'}}, 400),
        ("GET", "find", {"params": {"filter": '{"name": {"$nonsense": 1}}'}}, 400),
        ("GET", "find", {"params": {"projection": '{"a": 1, "b": 0}'}}, 400),
        ("GET", "find", {"params": {"sort": '{"a": "up"}'}}, 400),
        ("GET", "find", {"params": {"filter": json.dumps({"name": "x" * 9000})}}, 414),
        ("POST", "aggregate", {"data": b"no json"}, 400),
        ("POST", "aggregate", {"json": {"$match": {}}}, 400),
        ("POST", "aggregate", {"json": [{"$nonsense": {}}]}, 400),
        ("POST", "aggregate", {"json": [{"$match": {}}, {"$out": "elsewhere"}]}, 403),
        ("POST", "aggregate", {"json": [{"$merge": {"into": "elsewhere"}}]}, 403),
        ("POST", "insert_one", {"json": {}}, 403),
        ("POST", "update_one", {"json": {}}, 403),
        ("DELETE", "delete_one", {}, 403),
        ("GET", "nonsense", {}, 404),
    ],
)
def test_request_invalid_is_refused(
    box: Sandbox,
    session: requests.Session,
    method: str,
    path: str,
    options: dict[str, Any],
    status: int,
) -> None:
    url = f"{box.urls['docdb']}/v1/metadata_index/data_assets/{path}"
    answer = session.request(method, url, **options)
    assert answer.status_code == status
    assert answer.json()["message"]


def test_database_unknown_names_the_sandbox(box: Sandbox, session: requests.Session) -> None:
    answer = session.get(f"{box.urls['docdb']}/v1/elsewhere/data_assets/find")
    assert answer.status_code == 404
    assert "sandbox" in answer.json()["message"]
    assert "aind-session snapshot" in answer.json()["message"]


def test_records_added_or_changed_are_served(box: Sandbox, session: requests.Session) -> None:
    made = client(box, session)
    record = box.catalogue.add_record(1, {"name": "new"})
    assert names(made.retrieve_docdb_records(filter_query={"name": "new"})) == ["new"]
    record["name"] = "newer"
    assert made.retrieve_docdb_records(filter_query={"name": "new"}) == []
    assert names(made.retrieve_docdb_records(filter_query={"name": "newer"})) == ["newer"]


values = st.sampled_from(["a", "ab", "b", "", None, 1, ["a", "b"], [{"y": "a"}], {"y": "ab"}])
documents = st.lists(st.dictionaries(st.sampled_from(["x", "z"]), values, max_size=2), max_size=5)
conditions: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("a", None, 1, {"$in": ["a", "ab"]}, {"$in": ["a", None]}, {"$regex": "^a"}),
        *({"$eq": "b"}, {"$ne": "a"}, {"$exists": False}, {"$in": []}),
        {"$regex": "^A", "$options": "i"},
    ]
)
queries = st.recursive(
    st.dictionaries(st.sampled_from(["x", "z", "x.y", "x.0"]), conditions, max_size=2),
    lambda inside: st.builds(
        lambda verb, several: {verb: several},
        st.sampled_from(["$and", "$or"]),
        st.lists(inside, min_size=1, max_size=3),
    ),
    max_leaves=4,
)


@given(records=documents, query=queries)
def test_prefilter_selects_like_mongomock(
    records: list[dict[str, Any]], query: dict[str, Any]
) -> None:
    import mongomock

    collection = mongomock.MongoClient().db.records
    for number, record in enumerate(records):
        collection.insert_one({**record, "_id": number})
    try:
        expected = list(collection.find(query))
    except Exception:
        return
    numbered = [{**record, "_id": number} for number, record in enumerate(records)]
    assert list(mongo.matching(numbered, query)) == expected


def test_find_in_10000_records_is_fast(session: requests.Session) -> None:
    catalogue = Catalogue()
    for number in range(10_000):
        name = NAME.format(number)
        subject = {"subject_id": f"{number // 10:06d}"}
        catalogue.add_record(1, {"_id": name, "name": name, "subject": subject})
    wanted = [NAME.format(number) for number in range(0, 10_000, 100)]
    with sandbox(catalogue) as box:
        made = client(box, session)
        made.retrieve_docdb_records(filter_query={"name": "warm up"}, limit=1)
        started = time.process_time()
        for query, count in (
            ({"name": NAME.format(5)}, 1),
            ({"subject.subject_id": "000500"}, 10),
            ({"name": {"$in": wanted}}, 100),
            ({"name": {"$regex": "^ecephys_00050"}}, 10),
        ):
            assert len(made.aggregate_docdb_records([{"$match": query}])) == count
        # Without the short cut each of these takes more than a tenth of a second.
        assert time.process_time() - started < 0.5


FIRST_QUERIES = """
import threading
from aind_session.sandbox import fake_docdb as mongo

records = [{"name": "a", "at": {"b": 1}}, {"name": "b", "at": {"b": 2}}]
start = threading.Barrier(8)
failed = []

def query(number):
    start.wait()
    try:
        if number % 2:
            assert len(mongo.aggregate(records, [{"$match": {"name": "a"}}])) == 1
        else:
            assert len(list(mongo.find(records, {"name": "a"}, {}, {"at.b": 1}))) == 1
    except Exception as error:
        failed.append(error)

threads = [threading.Thread(target=query, args=[n]) for n in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failed, failed
"""


def test_first_queries_in_threads_succeed() -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_QUERIES], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
