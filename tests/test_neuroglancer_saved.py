"""Neuroglancer states: written to S3, and made data assets."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from upath import UPath

import aind_session
from aind_session.errors import (
    InvalidContentError,
    MissingAttributeError,
    ServiceError,
    ServiceTimeoutError,
)
from aind_session.extensions.ibl.neuroglancer import NeuroglancerState
from aind_session.sandbox import Catalogue, Sandbox
from ibl_world import CONTENT, SHOWN, STATES, neuroglancer
from loopback import FakeClock
from worlds import invent_session

# 2023-11-14 22:13:20 in Greenwich.
PACIFIC = "2023-11-14_14-13-20"
# -- saved -----------------------------------------------------------------------------------------


def test_create_without_token_writes_nothing(sandbox: Sandbox) -> None:
    before = len(sandbox.catalogue.objects)
    with sandbox.without_token(), pytest.raises(KeyError, match="CODE_OCEAN_API_TOKEN"):
        NeuroglancerState(CONTENT).create_data_asset()
    assert len(sandbox.catalogue.objects) == before


def test_write_uses_a_folder_of_its_own(sandbox: Sandbox, clock: FakeClock) -> None:
    assert len(neuroglancer().states) == 2
    path = NeuroglancerState(CONTENT).write()
    name = f"{SHOWN}_neuroglancer-state_{PACIFIC}"
    assert path.as_posix() == f"{STATES}/{name}/{name}.json"
    assert json.loads(path.read_text()) == CONTENT
    assert clock.slept == []
    # The cached listing is dropped.
    assert path in neuroglancer().state_json_paths
    assert NeuroglancerState(path).content == CONTENT
    # Two states of one second are two files.
    assert NeuroglancerState(CONTENT).write().stem.endswith("_14-13-21")


def test_write_to_a_given_path(sandbox: Sandbox, tmp_path: Path) -> None:
    local = NeuroglancerState(CONTENT).write(tmp_path / "a" / "b.json")
    assert NeuroglancerState(local).content == CONTENT
    assert NeuroglancerState(str(tmp_path / "a" / "b.json")).content == CONTENT
    there = "s3://aind-scratch-data/a folder/b#1.json"
    assert NeuroglancerState(CONTENT).write(there).as_posix() == there
    state = NeuroglancerState(there)
    assert state.content == CONTENT
    state.content["layers"].pop()
    state.write(UPath(there))
    assert NeuroglancerState(there).annotation_names == ("A1",)
    assert len(CONTENT["layers"]) == 3


def test_write_waits_until_the_file_is_listed(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.launches.index.hide("aind-scratch-data", "late/", 3)
    NeuroglancerState(CONTENT).write("s3://aind-scratch-data/late/x.json")
    assert clock.slept == [0.1, 0.2, 0.4]


def test_write_raises_when_the_timeout_is_over(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.launches.index.hide("aind-scratch-data", "late/", 1000)
    with pytest.raises(TimeoutError, match="timeout_sec") as raised:
        NeuroglancerState(CONTENT).write("s3://aind-scratch-data/late/x.json", timeout_sec=7)
    assert isinstance(raised.value, ServiceTimeoutError)
    assert sum(clock.slept) == pytest.approx(7)
    clock.slept.clear()
    with pytest.raises(TimeoutError):
        NeuroglancerState(CONTENT).write("s3://aind-scratch-data/late/x.json", timeout_sec=0)
    assert clock.slept == []


def test_write_to_a_hanging_server_raises_in_time(sandbox: Sandbox) -> None:
    sandbox.fail("s3", method="GET", kind="hang", times=None)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        NeuroglancerState(CONTENT).write("s3://aind-scratch-data/a/b.json", timeout_sec=0.2)
    assert time.monotonic() - started < 10
    sandbox.heal()


def test_write_of_an_invalid_state_or_without_rights_raises(sandbox: Sandbox) -> None:
    with pytest.raises(MissingAttributeError):
        NeuroglancerState({}).write()
    with pytest.raises(InvalidContentError, match="JSON"):
        NeuroglancerState({**CONTENT, "x": {1, 2}}).write()
    with sandbox.without_aws(), pytest.raises(PermissionError):
        NeuroglancerState(CONTENT).write("s3://aind-scratch-data/x/x.json")


def test_create_data_asset_of_a_state(sandbox: Sandbox, clock: FakeClock) -> None:
    assert len(neuroglancer().state_json_data_assets) == 1
    made = NeuroglancerState(CONTENT).create_data_asset()
    name = f"{SHOWN}_neuroglancer-state_{PACIFIC}"
    (launched,) = sandbox.launched
    assert launched in sandbox.catalogue.data_assets
    assert (made.id, made.name, made.mount) == (launched["id"], name, name)
    assert launched["tags"] == ["neuroglancer", "ecephys", "annotation", "717381"]
    assert launched["custom_metadata"] == {"experiment type": "SmartSPIM", "subject id": "717381"}
    assert launched["source_bucket"]["prefix"] == f"aind-session/neuroglancer_states/{name}"
    copied = [o["key"] for o in sandbox.catalogue.objects if o["key"].startswith(made.id)]
    assert copied == [f"{made.id}/{name}.json"]
    # Cached searches are dropped.
    assert neuroglancer().state_json_data_assets[-1].id == made.id


def test_create_in_a_shared_folder_raises(sandbox: Sandbox, tmp_path: Path) -> None:
    state = NeuroglancerState(CONTENT)
    sandbox.catalogue.add_object("aind-scratch-data", "shared/other.json", "{}")
    for path in ("s3://aind-scratch-data/shared/x.json", "s3://aind-scratch-data/x.json"):
        with pytest.raises(InvalidContentError, match="folder of its own"):
            state.create_data_asset(path)
    with pytest.raises(InvalidContentError, match="not in S3"):
        state.create_data_asset(str(tmp_path / "x.json"))
    assert sandbox.launched == []
    assert state.create_data_asset("s3://aind-scratch-data/own/own.json").name == "own"


def test_create_request_is_sent_once(sandbox: Sandbox, clock: FakeClock) -> None:
    sandbox.fail("codeocean", path="/data_assets$", method="POST", times=None)
    with pytest.raises(ServiceError):
        NeuroglancerState(CONTENT).create_data_asset()
    sent = [r for r in sandbox.requests if r.service == "codeocean" and r.method == "POST"]
    assert len(sent) == 1


def test_first_state_of_a_subject(clock: FakeClock) -> None:
    catalogue = Catalogue()
    session = "SmartSPIM_999995_2025-01-01_00-00-00"
    invent_session(catalogue, session, modalities=("SPIM",))
    catalogue.buckets["aind-scratch-data"] = {"public": False}
    with aind_session.sandbox(catalogue):
        of = neuroglancer(999995)
        assert of.states == ()
        source = f"zarr://s3://aind-open-data/{session}/SPIM/Ex_488_Em_525"
        made = of.from_json({"layers": [{"type": "image", "source": source}]})
        assert made.image_data_assets[0].name == session
        assert made.write() == of.state_json_paths[0]
        assert list(of.states) == [made]
