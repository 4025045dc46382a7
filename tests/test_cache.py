"""The cache: bounded, timed, one request for concurrent callers, copies for each of them."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import tracemalloc
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import aind_session
from aind_session import Sandbox, Session, context
from aind_session.context import MAX_FORGOTTEN, Cache
from aind_session.services.metadata import records_named, records_of_subject
from aind_session.threads import WORKERS, gather, outcomes
from worlds import invent_cohort

SESSION = "ecephys_676909_2023-12-13_13-43-40"


class Clock:
    """A clock that a test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return Cache(clock=clock)


def test_get_after_the_lifetime_fetches_again(cache: Cache, clock: Clock) -> None:
    answers = iter(("answer 1", "answer 2"))
    assert cache.get(("k",), lambda: next(answers), 10) == "answer 1"
    clock.now = 9.9
    assert cache.get(("k",), lambda: next(answers), 10) == cache.cached(("k",)) == "answer 1"
    clock.now = 10.0
    assert cache.cached(("k",)) is None
    assert cache.get(("k",), lambda: next(answers), 10) == "answer 2"


def test_get_with_a_lifetime_that_depends_on_the_answer(cache: Cache) -> None:
    answers = iter(("running", "ended", "not fetched"))

    def look() -> str:
        return cache.get(("k",), lambda: next(answers), lambda a: None if a == "ended" else 0)

    assert [look() for _ in range(3)] == ["running", "ended", "ended"]


def test_get_that_fails_raises_and_caches_nothing(cache: Cache) -> None:
    def fail() -> str:
        raise ValueError("down")

    with pytest.raises(ValueError, match="down"):
        cache.get(("k",), fail, 10)
    assert cache.get(("k",), lambda: "up", 10) == "up"


def test_cache_is_bounded_by_number_and_size(clock: Clock) -> None:
    few = Cache(max_entries=3, clock=clock)
    for i in range(5):
        few.put((str(i),), "x", 10)
        few.cached(("2",))
    # The least recently used were dropped.
    assert [few.cached((str(i),)) for i in range(5)] == [None, None, "x", "x", "x"]
    small = Cache(max_bytes=10_000, clock=clock)
    for i in range(100):
        small.put((str(i),), b"x" * 1000, 10)
    assert 5 <= len(small) <= 10
    for size in (20_000, 6_000):
        # Kept, it would drive most of the others out.
        small.put(("large",), b"x" * size, 10)
        assert small.cached(("large",)) is None
        assert 5 <= len(small) <= 10


def test_get_in_several_threads_fetches_once(cache: Cache) -> None:
    begun, go = threading.Event(), threading.Event()
    fetched = []

    def fetch() -> str:
        fetched.append(1)
        begun.set()
        assert go.wait(10)
        return "one"

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(cache.get, ("k",), fetch, 10)
        assert begun.wait(10)
        others = [threads.submit(cache.get, ("k",), fetch, 10) for _ in range(7)]
        go.set()
        assert {f.result(10) for f in (first, *others)} == {"one"}
    assert fetched == [1]


def test_get_that_waits_for_a_failing_thread_raises_its_error(cache: Cache) -> None:
    begun, go = threading.Event(), threading.Event()

    def fetch() -> str:
        begun.set()
        assert go.wait(10)
        raise aind_session.ServiceError("down", status=503)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get, ("k",), fetch, 10)
        assert begun.wait(10)
        second = threads.submit(cache.get, ("k",), lambda: "fetched again", 10)
        # The second one may come late: then it fetches for itself.
        go.set()
        with pytest.raises(aind_session.ServiceError):
            first.result(10)
        error = second.exception(10)
        assert error is None or getattr(error, "status", None) == 503


def test_get_of_a_key_forgotten_meanwhile_caches_nothing(cache: Cache) -> None:
    def fetch() -> str:
        cache.forget(lambda key: key == ("k",))
        return "old"

    assert cache.get(("k",), fetch, 10) == "old"
    assert cache.get(("k",), lambda: "new", 10) == "new"


def test_put_of_a_key_forgotten_since_its_request_stores_nothing(cache: Cache) -> None:
    moment = cache.moment()
    cache.forget(lambda key: key[0] == "a")
    cache.put(("a", "1"), "old", moment=moment)
    cache.put(("b", "1"), "other", moment=moment)
    assert (cache.cached(("a", "1")), cache.cached(("b", "1"))) == (None, "other")
    cache.put(("a", "1"), "new", moment=cache.moment())
    assert cache.cached(("a", "1")) == "new"
    for _ in range(MAX_FORGOTTEN + 1):
        cache.forget(lambda key: False)
    # So many were forgotten since that not all are remembered.
    cache.put(("b", "2"), "old", moment=moment)
    assert cache.cached(("b", "2")) is None


def test_gather_of_nested_calls_never_blocks() -> None:
    def tree(depth: int) -> int:
        return 1 if depth == 0 else sum(gather(*[lambda: tree(depth - 1)] * 3))

    # 3^5 calls, nested five deep, in a pool that is far smaller.
    assert WORKERS < 3**5
    assert tree(5) == 3**5


def test_gather_with_an_error_ends_every_call_before_it_raises() -> None:
    ended = []

    def slow() -> None:
        ended.append(1)

    def fail() -> None:
        raise KeyError("first")

    with pytest.raises(KeyError):
        gather(fail, slow, slow)
    assert ended == [1, 1]
    assert [type(o.error) for o in outcomes(fail, slow)] == [KeyError, type(None)]


def test_attribute_in_several_threads_sends_one_request(sandbox: Sandbox) -> None:
    sandbox.latency = 0.05
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: len(Session(SESSION).data_assets), range(8)))
    assert found == [42] * 8
    assert sandbox.count() == 3


def test_answer_that_a_caller_changed_is_unchanged_for_others(sandbox: Sandbox) -> None:
    first = Session(SESSION)
    assets = first.data_assets
    assert assets[0].custom_metadata is not None
    assets[0].custom_metadata["data level"] = "spoiled"
    assets[0].tags.append("spoiled")
    first.docdb["subject"]["genotype"] = "spoiled"
    first.docdb.clear()
    again = Session(SESSION)
    assert "spoiled" not in str(again.data_assets)
    assert again.docdb["subject"]["genotype"] != "spoiled"
    assert first.docdb.v1["subject"]["genotype"] == again.docdb.genotype


def test_answers_of_one_token_are_not_returned_for_another(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(Session(SESSION).data_assets) == 42
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "cop_another0token0for0tests")
    with pytest.raises(ValueError, match=r"refused|valid"):
        _ = Session(SESSION).data_assets
    # The first token's results were dropped with its context, so they are requested again.
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", sandbox.token)
    before = sandbox.count()
    assert len(Session(SESSION).data_assets) == 42
    assert sandbox.count() > before


def test_refresh_sends_requests_again(sandbox: Sandbox) -> None:
    session = Session(SESSION)
    aind_session.get_sessions(676909)
    assert len(session.data_assets) == 42
    name = f"{SESSION}_nwb_2026-01-01_00-00-00"
    sandbox.catalogue.add_asset({**sandbox.catalogue.data_assets[0], "id": "new", "name": name})
    assert len(session.data_assets) == 42
    session.refresh()
    assert len(session.data_assets) == 43
    assert len(Session(SESSION).data_assets) == 43


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_fork_during_lookups_looks_up(sandbox: Sandbox) -> None:
    # While another thread imports, a fork can leave Python's import lock taken in the child.
    assert Session(SESSION).is_uploaded
    sandbox.latency = 0.05
    stop = threading.Event()

    def look_up() -> None:
        while not stop.is_set():
            context.current().cache.clear()
            assert Session(SESSION).is_uploaded

    threads = [threading.Thread(target=look_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            child = _forked(_look_up_in_child)
            child.join(30)
            assert child.exitcode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_fork_while_the_cache_is_locked_and_a_request_is_under_way_looks_up(
    sandbox: Sandbox,
) -> None:
    session = Session(SESSION)
    session.refresh()
    held = sandbox.fail("docdb", path="/v1/", kind="hang", times=1)
    assert held.times == 1
    waiting = threading.Thread(target=lambda: session.docdb)
    waiting.start()
    while held.times:
        waiting.join(0.005)
    with context.current().cache._lock:
        child = _forked(lambda: Session(SESSION).docdb["subject"])
    child.join(30)
    sandbox.heal()
    waiting.join(30)
    assert child.exitcode == 0


def _forked(target: Callable[[], object]) -> multiprocessing.process.BaseProcess:
    child = multiprocessing.get_context("fork").Process(target=target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    return child


def _look_up_in_child() -> None:
    context.current().cache.clear()
    assert Session(SESSION).raw_data_dir.as_posix().startswith("s3://")
    assert Session(SESSION).docdb["subject"]


def test_memory_over_many_lifetimes_is_flat(clock: Clock) -> None:
    cache = Cache(max_bytes=2**20, clock=clock)

    def look_up(first: int) -> None:
        for i in range(first, first + 100):
            for kind in ("assets", "rows v1", "rows v2"):
                cache.get((kind, f"session {i}"), lambda: b"x" * 500, 600)
        clock.now += 600

    for number in range(10):
        look_up(number * 100)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(10, 40):
        look_up(number * 100)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert cache._bytes <= 2**20
    assert after - before < 2**20


def test_memory_over_many_sessions_is_bounded() -> None:
    cohort = invent_cohort(n_subjects=18, sessions_per_subject=10, assets_per_session=2)
    subjects = sorted({str(r["subject"]["subject_id"]) for r in cohort.docdb_v1})
    with aind_session.sandbox(cohort):
        context.current().cache.max_bytes = 90_000
        sizes = []
        for chunk in range(0, 18, 3):
            aind_session.get_sessions(subjects[chunk : chunk + 3]).prefetch()
            sizes.append(context.current().cache._bytes)
            assert len(context.current().cache) < 600
        assert 45_000 < max(sizes) <= 90_000


def test_record_that_two_searches_find_is_kept_once(sandbox: Sandbox) -> None:
    named = records_named("v1", SESSION)
    assert named
    assert {id(record) for record in named} <= {
        id(record) for record in records_of_subject("v1", "676909")
    }
