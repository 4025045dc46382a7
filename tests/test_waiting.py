"""Waiting for a data asset: until it is ready and its files are visible, within its time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from codeocean.data_asset import DataAsset, DataAssetState

import aind_session
from aind_session.clock import use_clock
from aind_session.errors import FailedAssetError, NotReadyError
from aind_session.lookup import refresh
from aind_session.sandbox import Sandbox
from aind_session.settings import RESULTS_BUCKET
from loopback import FakeClock

NAME = "ecephys_676909_2023-12-13_13-43-40_processed_2026-01-01_00-00-00"
RAW = "16d46411-540a-4122-b47f-8cb2a15d593a"
TRIGGER_RUN = "5c7c5fa3-8555-5645-8582-085313272d75"


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with use_clock(FakeClock(0.0)) as fake:
        assert isinstance(fake, FakeClock)
        yield fake


def created(name: str = NAME, **options: Any) -> DataAsset:
    """Make an asset of a run's results, as programs do."""
    from codeocean.data_asset import ComputationSource, DataAssetParams, Source

    source = Source(computation=ComputationSource(id=TRIGGER_RUN))
    params = DataAssetParams(name=name, tags=["derived"], mount=name, source=source, **options)
    return aind_session.get_codeocean_client().data_assets.create_data_asset(params)


def polls_of(box: Sandbox, asset_id: str) -> int:
    return len([r for r in box.requests if r.path.endswith(f"data_assets/{asset_id}")])


def test_wait_polls_until_the_asset_is_ready(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.launches.polls = 4
    asset = created()
    assert asset.state == DataAssetState.Draft
    found = aind_session.wait_until_ready(asset)
    assert type(found) is DataAsset
    assert (found.id, found.state) == (asset.id, DataAssetState.Ready)
    assert polls_of(sandbox, asset.id) == 4
    assert clock.slept == [0.5, 1.0, 2.0]


def test_wait_by_id_polls_at_the_given_interval(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.launches.polls = 3
    asset = created()
    assert aind_session.wait_until_ready(asset.id, polling_interval=7).id == asset.id
    assert clock.slept == [7, 7]


def test_wait_includes_files_by_default(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.launches.listings_until_visible = 3
    hidden, visible = created(), created(NAME.replace("processed", "nwb"))
    assert aind_session.wait_until_ready(hidden, check_files=False).state == DataAssetState.Ready
    assert clock.slept == []
    assert sandbox.count("s3") == 0
    found = aind_session.wait_until_ready(visible)
    assert len(clock.slept) == 3
    listed = aind_session.get_data_asset_source_dir(found)
    assert listed.as_posix() == f"s3://{RESULTS_BUCKET}/{visible.id}"
    assert [path.name for path in listed.iterdir()] == ["output"]


def test_wait_lists_files_with_code_ocean_if_s3_is_closed(
    sandbox: Sandbox, clock: FakeClock
) -> None:
    asset = created()
    with sandbox.without_aws():
        assert aind_session.wait_until_ready(asset).id == asset.id
    assert any(r.path.endswith(f"{asset.id}/files") for r in sandbox.requests)


def test_wait_assumes_files_in_closed_buckets(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.fail("s3", status=403, times=None)
    assert aind_session.wait_until_ready(RAW).id == RAW
    assert clock.slept == []


def test_wait_for_a_combined_asset_checks_no_files(sandbox: Sandbox, clock: FakeClock) -> None:
    parts = {"type": "combined", "contained_data_assets": [{"id": RAW, "mount": "a"}]}
    asset = sandbox.catalogue.add_asset({"name": "two days", "state": "ready", **parts})
    assert aind_session.wait_until_ready(asset["id"]).id == asset["id"]
    assert clock.slept == []


def test_wait_raises_when_the_timeout_is_over(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.launches.polls = None
    asset = created()
    with pytest.raises(TimeoutError, match=r"not ready after 20 s: its state is 'draft'") as caught:
        aind_session.wait_until_ready(asset, timeout=20)
    assert isinstance(caught.value, NotReadyError)
    assert clock.now == 20
    assert clock.slept == [0.5, 1, 2, 4, 5, 5, 2.5]
    sandbox.advance(asset.id)
    assert aind_session.wait_until_ready(asset, timeout=20).state == DataAssetState.Ready


def test_timeout_error_names_missing_files(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.launches.listings_until_visible = 1000
    with pytest.raises(NotReadyError, match="files are not visible"):
        aind_session.wait_until_ready(created(), timeout=3)


def test_failed_asset_ends_the_wait(sandbox: Sandbox, clock: FakeClock) -> None:
    asset = created()
    sandbox.catalogue.data_assets[-1]["state"] = "failed"
    with pytest.raises(FailedAssetError, match=NAME):
        aind_session.wait_until_ready(asset)
    assert clock.slept == []


def test_failed_request_does_not_end_the_wait(sandbox: Sandbox, clock: FakeClock) -> None:
    asset = created()
    sandbox.fail("codeocean", path=asset.id, status=400, times=2)
    assert aind_session.wait_until_ready(asset).id == asset.id
    assert clock.slept == [0.5, 1.0]


def test_timeout_error_names_the_failing_service(sandbox: Sandbox, clock: FakeClock) -> None:
    asset = created()
    sandbox.fail("codeocean", path=asset.id, status=500, times=None)
    with pytest.raises(NotReadyError, match="500") as caught:
        aind_session.wait_until_ready(asset, timeout=10)
    assert isinstance(caught.value.__cause__, aind_session.ServiceError)


@pytest.mark.parametrize("service", ["codeocean", "s3"])
def test_hanging_server_does_not_exceed_the_timeout(service: str, sandbox: Sandbox) -> None:
    asset = created()
    sandbox.fail(service, kind="hang", times=None)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"not ready after 0\.2 s"):
        aind_session.wait_until_ready(asset, timeout=0.2)
    assert time.monotonic() - started < 10
    sandbox.heal()


def test_wait_without_timeout_continues(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.launches.polls = 50
    assert aind_session.wait_until_ready(created(), timeout=None).state == DataAssetState.Ready
    assert clock.now > 200


def test_lookup_after_the_wait_finds_asset_and_log(sandbox: Sandbox, clock: FakeClock) -> None:
    session = aind_session.Session(NAME)
    before = session.data_assets
    sandbox.launches.polls = 2
    asset = created()
    # Of what is still being captured nothing is missing yet.
    assert not aind_session.is_data_asset_error(asset)
    ready = aind_session.wait_until_ready(asset)
    assert session.data_assets == (*before, ready)
    assert "Started" in aind_session.get_output_text(ready)


def test_lookup_after_the_wait_lists_files_again(sandbox: Sandbox, clock: FakeClock) -> None:
    (run,) = (c for c in sandbox.catalogue.computations if c["id"] == TRIGGER_RUN)
    run["_files"]["postprocessed/ProbeA.zarr/.zattrs"] = "{}"
    sandbox.launches.listings_until_visible = 9
    asset = created()
    assert not aind_session.ecephys.is_sorting_analyzer_asset(asset)
    ready = aind_session.wait_until_ready(asset)
    sandbox.requests.clear()
    assert aind_session.ecephys.is_sorting_analyzer_asset(ready)
    assert [request.service for request in sandbox.requests] == ["s3"]


def test_model_of_a_draft_is_requested_each_time(sandbox: Sandbox) -> None:
    sandbox.launches.polls = None
    asset = created()
    assert aind_session.get_data_asset_model(asset.id).state == DataAssetState.Draft
    sandbox.advance(asset.id)
    assert aind_session.get_data_asset_model(asset.id).state == DataAssetState.Ready
    count = sandbox.count()
    assert aind_session.get_data_asset_model(asset.id).state == DataAssetState.Ready
    assert sandbox.count() == count


def test_each_poll_is_logged(
    sandbox: Sandbox, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aind_session")
    sandbox.launches.polls = 3
    aind_session.wait_until_ready(created())
    said = [message for message in caplog.messages if message.startswith("Waiting")]
    assert len(said) == 2
    assert "'draft'" in said[0]


def test_wait_shows_progress(
    sandbox: Sandbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[tuple[int, str, bool, float]] = []

    class Bar:
        def __init__(self, total: int, what: str, shown: bool) -> None:
            self.about = (total, what, shown)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, n: float = 1) -> None:
            moved.append((*self.about, n))

    monkeypatch.setattr(refresh, "progress", Bar)
    sandbox.launches.polls = 3
    asset = created()
    aind_session.wait_until_ready(asset, timeout=30)
    assert moved == [(30, f"waiting for {asset.id}", True, n) for n in (0.5, 1.0)]
    moved.clear()
    aind_session.wait_until_ready(created(), timeout=30, progress=False)
    assert {shown for _, _, shown, _ in moved} == {False}


def test_unknown_argument_is_a_type_error(sandbox: Sandbox) -> None:
    with pytest.raises(TypeError, match="intervall"):
        aind_session.wait_until_ready(RAW, intervall=3)
