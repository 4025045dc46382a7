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


def _counting() -> tuple[list[int], Callable[[], str]]:
    asked: list[int] = []

    def ask() -> str:
        asked.append(1)
        return f"answer {len(asked)}"

    return asked, ask


def test_an_answer_is_good_for_its_time(cache: Cache, clock: Clock) -> None:
    asked, ask = _counting()
    assert cache.get(("k",), ask, 10) == "answer 1"
    clock.now = 9.9
    assert cache.get(("k",), ask, 10) == "answer 1"
    assert cache.peek(("k",)) == "answer 1"
    clock.now = 10.0
    assert cache.peek(("k",)) is None
    assert cache.get(("k",), ask, 10) == "answer 2"
    assert len(asked) == 2


def test_an_error_is_raised_and_not_kept(cache: Cache) -> None:
    def fail() -> str:
        raise ValueError("down")

    with pytest.raises(ValueError, match="down"):
        cache.get(("k",), fail, 10)
    assert cache.get(("k",), lambda: "up", 10) == "up"


def test_it_is_bounded_by_number_and_by_size(clock: Clock) -> None:
    few = Cache(max_entries=3, clock=clock)
    for i in range(5):
        few.put((str(i),), "x", 10)
        few.peek(("2",))
    # What was asked least recently went first.
    assert [few.peek((str(i),)) for i in range(5)] == [None, None, "x", "x", "x"]
    small = Cache(max_bytes=10_000, clock=clock)
    for i in range(100):
        small.put((str(i),), b"x" * 1000, 10)
    assert 5 <= len(small) <= 10
    for size in (20_000, 6_000):
        # Kept, it would drive most of the others out.
        small.put(("large",), b"x" * size, 10)
        assert small.peek(("large",)) is None
        assert 5 <= len(small) <= 10


def test_asked_twice_at_once_is_asked_once(cache: Cache) -> None:
    begun, go = threading.Event(), threading.Event()
    asked = []

    def ask() -> str:
        asked.append(1)
        begun.set()
        assert go.wait(10)
        return "one"

    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(cache.get, ("k",), ask, 10)
        assert begun.wait(10)
        others = [threads.submit(cache.get, ("k",), ask, 10) for _ in range(7)]
        go.set()
        assert {f.result(10) for f in (first, *others)} == {"one"}
    assert asked == [1]


def test_who_waited_gets_the_error_too(cache: Cache) -> None:
    begun, go = threading.Event(), threading.Event()

    def ask() -> str:
        begun.set()
        assert go.wait(10)
        raise aind_session.ServiceError("down", status=503)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.get, ("k",), ask, 10)
        assert begun.wait(10)
        second = threads.submit(cache.get, ("k",), lambda: "asked again", 10)
        # The second one may come late: then it asks for itself.
        go.set()
        with pytest.raises(aind_session.ServiceError):
            first.result(10)
        error = second.exception(10)
        assert error is None or getattr(error, "status", None) == 503


def test_what_is_forgotten_while_it_is_asked_is_not_kept(cache: Cache) -> None:
    def ask() -> str:
        cache.forget(lambda key: key == ("k",))
        return "old"

    assert cache.get(("k",), ask, 10) == "old"
    assert cache.get(("k",), lambda: "new", 10) == "new"


def test_what_was_forgotten_after_its_request_is_not_stored(cache: Cache) -> None:
    moment = cache.moment()
    cache.forget(lambda key: key[0] == "a")
    cache.put(("a", "1"), "old", moment=moment)
    cache.put(("b", "1"), "other", moment=moment)
    assert (cache.peek(("a", "1")), cache.peek(("b", "1"))) == (None, "other")
    cache.put(("a", "1"), "new", moment=cache.moment())
    assert cache.peek(("a", "1")) == "new"
    for _ in range(MAX_FORGOTTEN + 1):
        cache.forget(lambda key: False)
    # So many were forgotten since that not all are remembered.
    cache.put(("b", "2"), "old", moment=moment)
    assert cache.peek(("b", "2")) is None


def test_questions_that_put_questions_never_lock_each_other_out() -> None:
    def tree(depth: int) -> int:
        return 1 if depth == 0 else sum(gather(*[lambda: tree(depth - 1)] * 3))

    # 3^5 questions, nested five deep, in a pool that is far smaller.
    assert WORKERS < 3**5
    assert tree(5) == 3**5


def test_every_question_ends_before_an_error_is_raised() -> None:
    ended = []

    def slow() -> None:
        ended.append(1)

    def fail() -> None:
        raise KeyError("first")

    with pytest.raises(KeyError):
        gather(fail, slow, slow)
    assert ended == [1, 1]
    assert [type(o.error) for o in outcomes(fail, slow)] == [KeyError, type(None)]


def test_two_threads_send_one_request(sandbox: Sandbox) -> None:
    sandbox.latency = 0.05
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: len(Session(SESSION).data_assets), range(8)))
    assert found == [42] * 8
    assert sandbox.count() == 3


def test_what_a_caller_changes_stays_with_the_caller(sandbox: Sandbox) -> None:
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


def test_another_token_never_sees_this_ones_answers(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(Session(SESSION).data_assets) == 42
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", "cop_another0token0of0nobody")
    with pytest.raises(ValueError, match=r"refused|valid"):
        _ = Session(SESSION).data_assets
    # The first token's results were dropped with its context, so they are requested again.
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", sandbox.token)
    before = sandbox.count()
    assert len(Session(SESSION).data_assets) == 42
    assert sandbox.count() > before


def test_refresh_asks_anew(sandbox: Sandbox) -> None:
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
def test_a_fork_while_others_ask(sandbox: Sandbox) -> None:
    """A child that is forked while locks are held and questions are under way can look up."""
    sandbox.latency = 0.05
    stop = threading.Event()

    def ask_on() -> None:
        while not stop.is_set():
            context.current().cache.clear()
            assert Session(SESSION).is_uploaded

    threads = [threading.Thread(target=ask_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        forking = multiprocessing.get_context("fork")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for _ in range(3):
                child = forking.Process(target=_look_up_in_child)
                child.start()
                child.join(30)
                assert child.exitcode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_fork_while_the_cache_is_locked_and_a_question_is_under_way(sandbox: Sandbox) -> None:
    """Locks and requests of the parent's threads do not exist in the child."""
    session = Session(SESSION)
    session.refresh()
    held = sandbox.fail("docdb", path="/v1/", kind="hang", times=1)
    assert held.times == 1
    asking = threading.Thread(target=lambda: session.docdb)
    asking.start()
    while held.times:
        asking.join(0.005)
    forking = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with context.current().cache._lock:
            child = forking.Process(target=_ask_the_same_in_child)
            child.start()
        child.join(30)
    sandbox.heal()
    asking.join(30)
    assert child.exitcode == 0


def _ask_the_same_in_child() -> None:
    assert Session(SESSION).docdb["subject"]


def _look_up_in_child() -> None:
    context.current().cache.clear()
    assert Session(SESSION).raw_data_dir.as_posix().startswith("s3://")
    assert Session(SESSION).docdb["subject"]


def test_memory_is_flat_over_thousands_of_sessions_and_many_lifetimes(clock: Clock) -> None:
    cache = Cache(max_bytes=2**20, clock=clock)

    def round_of_questions(first: int) -> None:
        for i in range(first, first + 100):
            for kind in ("assets", "rows v1", "rows v2"):
                cache.get((kind, f"session {i}"), lambda: b"x" * 500, 600)
        clock.now += 600

    for number in range(10):
        round_of_questions(number * 100)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(10, 40):
        round_of_questions(number * 100)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert cache._bytes <= 2**20
    assert after - before < 2**20


def test_memory_is_flat_over_many_looked_up_sessions() -> None:
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
