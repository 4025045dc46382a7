"""How old an answer may be: hashes, refreshing, and a cache that keeps nothing."""

from __future__ import annotations

import pytest

import aind_session
from aind_session import context
from aind_session.context import Cache, newer_than
from aind_session.lookup import refresh
from aind_session.sandbox import Sandbox
from aind_session.threads import gather
from worlds import invent_session

ID, RAW = "ecephys_676909_2023-12-13_13-43-40", "16d46411-540a-4122-b47f-8cb2a15d593a"
ONLY_DOCDB = "999301_2026-02-01_10-00-00"


def test_get_of_an_answer_that_is_too_old_fetches_again() -> None:
    now = [0.0]
    cache = Cache(clock=lambda: now[0])
    answers = iter(["first", "second", "third"])

    def look() -> str:
        return cache.get(("key",), lambda: next(answers), seconds=60)

    assert look() == "first"
    now[0] = 10
    with newer_than(0):
        assert look() == "first"
    with newer_than(5):
        assert cache.cached(("key",)) is None
        assert look() == look() == "second"
        with newer_than(1):
            # The inner limit does not undo the outer one.
            assert look() == "second"
    assert look() == "second"
    now[0] = 20
    with newer_than(15):
        assert look() == "third"


def test_newer_than_holds_in_the_pool() -> None:
    context.current().cache.put(("a test", "", "old"), "old", 60)
    with newer_than(context.current().cache.clock() + 1):
        found = gather(*[lambda: context.current().cache.cached(("a test", "", "old"))] * 4)
    assert found == [None] * 4
    assert context.current().cache.cached(("a test", "", "old")) == "old"


def test_get_data_assets_without_a_hash_uses_the_cache(sandbox: Sandbox) -> None:
    session = aind_session.Session(ID)
    assert session.data_assets
    count = sandbox.count()
    assert len(aind_session.get_data_assets(ID)) == len(session.data_assets)
    assert sandbox.count() == count
    aind_session.get_data_assets(ID, ttl_hash=1)
    assert sandbox.count() > count


def test_refresh_of_an_asset_forgets_its_files(sandbox: Sandbox) -> None:
    sorting = "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
    assert not aind_session.is_data_asset_error(sorting)
    sandbox.requests.clear()
    assert not aind_session.is_data_asset_error(sorting)
    assert sandbox.count() == 0
    refresh.asset(RAW)
    assert not aind_session.is_data_asset_error(sorting)
    assert sandbox.count() == 0
    refresh.asset(sorting)
    assert not aind_session.is_data_asset_error(sorting)
    assert sandbox.count() == 3


@pytest.mark.parametrize("seconds", ["600", "0"])
def test_lookups_without_a_cache_find_the_same(
    seconds: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_CACHE_SECONDS", seconds)
    invent_session(
        sandbox.catalogue,
        ONLY_DOCDB,
        generation="v2",
        in_codeocean=False,
        linked_in_codeocean=False,
        modalities=["behavior"],
    )
    plain = {"id": "00000000-0000-4000-8000-000000000301", "name": "no session in it"}
    sandbox.catalogue.add_asset({**plain, "custom_metadata": {"subject id": "999302"}})
    assert aind_session.get_sessions("999301") == (aind_session.Session(ONLY_DOCDB),)
    both = aind_session.get_sessions(["999301", "676909"])
    assert len(both) == 5
    assert [asset.id for asset in aind_session.Subject("999302").data_assets] == [plain["id"]]
    count = sandbox.count()
    assert aind_session.get_sessions(["999301", "676909"]) == both
    assert (sandbox.count() > count) == (seconds == "0")


def test_folder_after_a_refresh_is_listed_again(sandbox: Sandbox) -> None:
    session = aind_session.Session(ID)
    before = {path.name for path in session.raw_data_dir.iterdir()}
    sandbox.catalogue.add_object("aind-ephys-data", f"{ID}/late.txt", "late")
    session.refresh()
    assert {path.name for path in session.raw_data_dir.iterdir()} == before | {"late.txt"}
