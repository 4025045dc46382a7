"""Neuroglancer states: those of a subject, read from anything, and what is in one."""

from __future__ import annotations

import json
import pickle
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from codeocean.data_asset import DataAsset
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

import aind_session
from aind_session.clock import use_clock
from aind_session.errors import (
    AccessDeniedError,
    BadAnswerError,
    InvalidContentError,
    MissingAttributeError,
    MissingFileError,
    PartialAnswerWarning,
    ServiceError,
)
from aind_session.extensions.ibl.neuroglancer import NeuroglancerExtension, NeuroglancerState
from aind_session.sandbox import Sandbox
from ibl_world import (
    CONTENT,
    LATEST_STATE,
    SHOWN,
    SOURCE,
    STATE,
    STATES,
    STITCHED,
    neuroglancer,
)
from loopback import Answer, FakeClock, Loopback
from rows import shortest_row

SESSION, STITCHED_NAME, FOLDER = SHOWN, STITCHED[1], STATES
NAMES = ("268", "269", "270", "265", "263", "262", "targets")
RESULTS = "codeocean-s3datasetsbucket-1u41qdg42ur9"


# -- those of a subject ----------------------------------------------------------------------------


@pytest.mark.usefixtures("bundled")
def test_states_of_the_documented_subject() -> None:
    of = neuroglancer()
    assert [path.as_posix() for path in of.state_json_paths] == [
        f"{FOLDER}/{name}/{name}.json" for name in (STATE, LATEST_STATE)
    ]
    assert of.state_json_dir.as_posix() == FOLDER
    assert [state.name for state in of.states] == [STATE, LATEST_STATE]
    assert [asset.name for asset in of.state_json_data_assets] == [STATE]
    assert all(isinstance(asset, DataAsset) for asset in of.state_json_data_assets)
    for state in of.states:
        assert state.annotation_names == NAMES
        assert state.session == aind_session.Session(SESSION)
        assert [asset.name for asset in state.image_data_assets] == [STITCHED_NAME]
    # What is changed is a copy of the cached content.
    of.states[0].content["layers"].clear()
    assert of.states[0].annotation_names == NAMES
    of = neuroglancer(676909)
    assert of.states == of.state_json_paths == of.state_json_data_assets == ()


def test_states_send_two_requests_in_a_row(cold: Sandbox) -> None:
    _ = neuroglancer().states
    row = shortest_row(cold, lambda: neuroglancer().states, 2)
    assert len(neuroglancer().states) == 2
    assert (cold.count(), row) == (7, 2)
    assert neuroglancer().states[-1].image_data_assets
    assert len(neuroglancer().state_json_paths) == 2
    assert cold.count() == 7


def test_deleted_file_is_read_from_its_asset(sandbox: Sandbox) -> None:
    made = neuroglancer().states[-1].create_data_asset()
    assert neuroglancer().state_json_paths[-1].stem == made.name
    sandbox.advance(made.id)
    objects = sandbox.catalogue.objects
    objects[:] = [o for o in objects if o["bucket"] != "aind-scratch-data"]
    asset = next(a for a in sandbox.catalogue.data_assets if a["id"] == made.id)
    for name in (made.name, f"{SESSION}_neuroglancer-state_renamed"):
        asset["name"] = name
        sandbox.reset()
        assert neuroglancer().state_json_paths == ()
        assert [state.name for state in neuroglancer().states] == [name]
    sandbox.reset()
    sandbox.fail("s3", path=made.id, status=403, times=None)
    sandbox.fail("codeocean", path=f"{made.id}/files", status=403, times=None)
    assert neuroglancer().states == ()


def test_bad_file_is_left_out(sandbox: Sandbox) -> None:
    for name, text in (("2024-09-01_00-00-00", "<html>"), ("2024-09-02_00-00-00", "[]")):
        stem = f"{SESSION}_neuroglancer-state_{name}"
        sandbox.catalogue.add_object(
            "aind-scratch-data", f"{FOLDER.partition('data/')[2]}/{stem}/{stem}.json", text
        )
    empty = f"{SESSION}_neuroglancer-state_2024-09-03_00-00-00"
    sandbox.catalogue.add_object(
        "aind-scratch-data", f"{FOLDER.partition('data/')[2]}/{empty}/notes.txt", ""
    )
    assert len(neuroglancer().state_json_paths) == 5
    assert [state.name for state in neuroglancer().states] == [STATE, LATEST_STATE]


def test_file_beside_the_folders_is_found(sandbox: Sandbox) -> None:
    stem = "SmartSPIM_999996_2024-01-01_00-00-00_neuroglancer-state_2024-02-01_00-00-00"
    key = f"aind-session/neuroglancer_states/{stem}.json"
    sandbox.catalogue.add_object("aind-scratch-data", key, json.dumps(CONTENT))
    of = neuroglancer(999996)
    assert [path.as_posix() for path in of.state_json_paths] == [f"s3://aind-scratch-data/{key}"]
    assert of.states[0].content == CONTENT


@pytest.mark.parametrize(
    ("service", "names"),
    [("s3", []), ("codeocean", [STATE, LATEST_STATE]), ("docdb", [STATE, LATEST_STATE])],
)
def test_states_with_one_service_down(cold: Sandbox, service: str, names: list[str]) -> None:
    with use_clock(FakeClock()), cold.down(service):
        if service == "s3":
            with pytest.warns(PartialAnswerWarning), pytest.raises(ServiceError):
                _ = neuroglancer().states
            assert len(neuroglancer().state_json_data_assets) == 1
            return
        with pytest.warns(PartialAnswerWarning):
            assert [state.name for state in neuroglancer().states] == names


def test_states_without_a_token_warn(cold: Sandbox) -> None:
    with cold.without_token(), pytest.warns(PartialAnswerWarning):
        assert len(neuroglancer().states) == 2


# -- read from anything ----------------------------------------------------------------------------


@pytest.mark.usefixtures("bundled")
def test_read_from_dictionary_text_and_path(tmp_path: Path) -> None:
    text = json.dumps(CONTENT)
    file = tmp_path / f"{STATE}.json"
    file.write_text(text)
    sources: list[Any] = [
        CONTENT,
        text,
        f"\n {text}",
        f"\ufeff{text}",
        text.encode(),
        file,
        str(file),
        file.as_uri(),
        UPath(file),
        f"https://neuroglancer-demo.appspot.com/#!{urllib.parse.quote(text)}",
    ]
    for source in sources:
        state = neuroglancer().from_json(source)
        assert state.content == CONTENT
        assert state == NeuroglancerState(source)
        assert state.annotation_names == ("A1", "probe B_2")
        assert state.image_sources == (SOURCE,)
    assert NeuroglancerState(file).name == STATE
    assert NeuroglancerState(CONTENT).name is None


@pytest.mark.usefixtures("bundled")
def test_read_from_s3() -> None:
    path = f"{FOLDER}/{STATE}/{STATE}.json"
    link = f"https://neuroglancer-demo.appspot.com/#!{path}"
    for source in (path, UPath(path), UPath(path, anon=True), link):
        assert NeuroglancerState(source).annotation_names == NAMES
        assert NeuroglancerState(source).name == STATE


@pytest.mark.usefixtures("bundled")
def test_read_from_the_web_sends_no_credentials() -> None:
    with Loopback([Answer(body=CONTENT)]) as server:
        url = f"{server.url}/a/{STATE}.json?version=1"
        state = NeuroglancerState(url)
        assert state.content == CONTENT
        assert state.name == STATE
        assert not {"Authorization", "Cookie"} & set(server.requests[0].headers)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(404), FileNotFoundError),
        (Answer(403), AccessDeniedError),
        (Answer(400), ServiceError),
        (Answer(500), ServiceError),
        (Answer(body=b"<html>", headers={"Content-Type": "text/html"}), BadAnswerError),
        (Answer(body=b"{"), InvalidContentError),
        (Answer(body=b"\xff\xfe"), InvalidContentError),
        (Answer(body=[1, 2]), InvalidContentError),
        (Answer(body=b"[" * 100_000), InvalidContentError),
    ],
)
def test_read_of_a_bad_response_raises(
    clock: FakeClock, answer: Answer, error: type[Exception]
) -> None:
    with Loopback([answer]) as server, pytest.raises(error):
        NeuroglancerState(f"{server.url}/state.json")


@pytest.mark.usefixtures("bundled")
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("http://example.org/state.json", ConnectionError),
        *((path, MissingFileError) for path in ("/nowhere/x.json", f"{FOLDER}/x/x.json", "x.json")),
        *(
            (source, InvalidContentError)
            for source in (
                *("", " ", "[]", "{", "https://x/#!", "https://x/#!a#!b", "gs://bucket/x.json"),
                *(5, None, Path.cwd(), str(Path.cwd()), 5000 * "x", "a\0b"),
                *("https://", "https://[x/a.json", "s3://", "s3:///a.json", "s3://bucket"),
                "file://",
            )
        ),
    ],
)
def test_read_of_an_invalid_source_raises(source: Any, error: type[Exception]) -> None:
    assert issubclass(MissingFileError, FileNotFoundError)
    assert issubclass(InvalidContentError, ValueError)
    with pytest.raises(error) as caught:
        NeuroglancerState(source)
    assert len(str(caught.value)) < 500


@pytest.mark.usefixtures("bundled")
def test_name_is_that_of_the_file(tmp_path: Path, sandbox: Sandbox) -> None:
    file = tmp_path / "probe #1.json"
    file.write_text("{}")
    sandbox.catalogue.add_object("aind-scratch-data", "a/probe #1.json", "{}")
    for source in (file, str(file), file.as_uri(), "s3://aind-scratch-data/a/probe #1.json"):
        assert NeuroglancerState(source).name == "probe #1"


# -- what is in one --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "sources", "annotations"),
    [
        (
            [
                {"type": "image", "source": "a"},
                {"type": "image", "source": {"url": "b", "transform": {}}},
                {"type": "image", "source": ["c", {"url": "d"}, {"x": 1}, 5, None]},
                {"type": "segmentation", "source": "e"},
                {"type": "image", "source": {}},
                {"type": "annotation", "name": 268},
                {"type": "annotation", "name": ""},
                {"type": "annotation"},
            ],
            ("a", "b", "c", "d"),
            ("268",),
        ),
        # As older viewers wrote them.
        (
            {"A1": {"type": "annotation"}, "i": {"type": "image", "source": SOURCE}, "x": 1},
            (SOURCE,),
            ("A1",),
        ),
    ],
)
def test_layers_of_all_shapes(
    layers: Any, sources: tuple[str, ...], annotations: tuple[str, ...]
) -> None:
    state = NeuroglancerState({"layers": layers})
    assert (state.image_sources, state.annotation_names) == (sources, annotations)


@pytest.mark.usefixtures("bundled")
@pytest.mark.parametrize(
    "source",
    [
        SOURCE,
        f"precomputed://https://aind-open-data.s3.amazonaws.com/{STITCHED_NAME}/x.zarr",
        f"zarr://https://aind-open-data.s3.us-west-2.amazonaws.com/{STITCHED_NAME}/x.zarr",
        f"https://s3.us-west-2.amazonaws.com/aind-open-data/{STITCHED_NAME}/x.zarr/|zarr2:",
        f"s3://aind-open-data/{STITCHED_NAME}/|zarr2:",
        # Copied since, under its name.
        f"zarr://s3://another-bucket/{STITCHED_NAME}/x.zarr",
        # Below other folders.
        f"zarr://s3://bucket/test_data/{STITCHED_NAME}/image_tile_fusing/Ex_488_Em_525.zarr",
        f"s3://bucket/a/b/c/{STITCHED_NAME}",
        f"https://bucket.s3.amazonaws.com/test_data/{STITCHED_NAME}/image.zarr",
    ],
)
def test_image_assets_by_url(source: str) -> None:
    state = NeuroglancerState({"layers": [{"type": "image", "source": source}]})
    assert state.session.id == SESSION
    assert [asset.name for asset in state.image_data_assets] == [STITCHED_NAME]


def test_image_assets_in_the_results_bucket(sandbox: Sandbox) -> None:
    asset = next(a for a in sandbox.catalogue.data_assets if a["name"] == STITCHED_NAME)
    state = NeuroglancerState(
        {"layers": [{"type": "image", "source": f"zarr://s3://{RESULTS}/{asset['id']}/x.zarr"}]}
    )
    assert state.session.id == SESSION
    assert [found.id for found in state.image_data_assets] == [asset["id"]]


@pytest.mark.usefixtures("bundled")
def test_session_without_images_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / f"{STATE}.json").write_text("{}")
    assert NeuroglancerState(tmp_path / f"{STATE}.json").session.id == SESSION
    with pytest.raises(MissingAttributeError, match="no session"):
        _ = NeuroglancerState({}).session
    assert getattr(NeuroglancerState({}), "session", None) is None
    assert NeuroglancerState({}).image_data_assets == ()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["layers", "type", "name", "source", "url", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
LAYER = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["image", "annotation"]) | ANYTHING,
        "name": ANYTHING,
        "source": st.sampled_from([SOURCE, {"url": SOURCE}, f"s3://{RESULTS}/x"]) | ANYTHING,
    },
)


@given(content=st.fixed_dictionaries({}, optional={"layers": st.lists(LAYER) | ANYTHING}))
def test_any_content_can_be_read(content: dict[str, Any]) -> None:
    state = NeuroglancerState(content)
    assert all(isinstance(name, str) and name for name in state.annotation_names)
    assert all(isinstance(source, str) and source for source in state.image_sources)
    assert repr(state).startswith("<NeuroglancerState")
    found = getattr(state, "session", None)
    assert found is None or found == aind_session.Session(SESSION)


@given(odd=LAYER, place=st.integers(0, 3))
def test_odd_layer_does_not_affect_others(odd: dict[str, Any], place: int) -> None:
    odd = {**odd, "type": odd.get("type") if odd.get("type") != "annotation" else "other"}
    layers = [*CONTENT["layers"][:place], odd, *CONTENT["layers"][place:]]
    assert NeuroglancerState({"layers": layers}).annotation_names == ("A1", "probe B_2")


# -- the value, the namespace ----------------------------------------------------------------------


def test_states_compare_by_content() -> None:
    state = NeuroglancerState(CONTENT)
    assert pickle.loads(pickle.dumps(state)) == state
    assert state != NeuroglancerState({})
    assert state != CONTENT
    assert repr(state) == "<NeuroglancerState 2 annotations>"
    with pytest.raises(TypeError):
        hash(state)
    assert NeuroglancerExtension.from_json(CONTENT) == state
