"""The IBL data converter: its inputs and runs."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from codeocean.computation import Computation, NamedRunParam, RunParams
from codeocean.data_asset import DataAsset

import aind_session
from aind_session.errors import (
    InvalidIdentifierError,
    MissingAttributeError,
    MissingExtraError,
    MissingFileError,
    PartialAnswerWarning,
    ServiceError,
)
from aind_session.extensions.ecephys import SortedDataAsset
from aind_session.extensions.ibl import inputs
from aind_session.extensions.ibl.converter import IBLDataConverterExtension
from aind_session.sandbox import Sandbox
from ibl_world import (
    IMAGED,
    LATEST_STATE,
    MANIFEST,
    RECORDED,
    SORTED,
    STATE,
    STITCHED,
    SUBJECT,
    SURFACES,
    completed,
    converter,
    world,
)
from loopback import FakeClock
from rows import shortest_row
from worlds import invent_session

CONVERTER = "9fe42995-ffff-40ff-9c4c-c8206b8aacb5"
MONITOR = "567b5b98-8d41-413b-9375-9ca610ca2fd3"
PACKAGE = "aind_codeocean_pipeline_monitor"


def names(assets: tuple[DataAsset, ...]) -> tuple[str, ...]:
    return tuple(asset.name for asset in assets)


# -- what the subject has --------------------------------------------------------------------------


@pytest.mark.usefixtures("sandbox")
def test_inputs_of_the_documented_subject() -> None:
    of = converter()
    assert of.ecephys_sessions == tuple(map(aind_session.Session, RECORDED))
    assert isinstance(of.ecephys_sessions, aind_session.Sessions)
    assert names(of.ecephys_data_assets) == RECORDED
    assert of.surface_recording_names == SURFACES
    assert names(of.sorted_data_assets) == (SORTED,)
    assert isinstance(of.sorted_data_assets[0], SortedDataAsset)
    assert of.smartspim_sessions == tuple(map(aind_session.Session, IMAGED))
    assert names(of.smartspim_data_assets) == IMAGED
    assert of.neuroglancer_state_json_asset.name == STATE
    with pytest.raises(MissingAttributeError, match="create_manifest_asset"):
        _ = of.manifest_data_asset
    assert getattr(of, "manifest_data_asset", None) is None
    of = converter(717121)
    assert of.ecephys_sessions == of.smartspim_sessions == ()
    assert of.ecephys_data_assets == of.sorted_data_assets == of.smartspim_data_assets == ()
    assert of.surface_recording_names == {}
    assert getattr(of, "neuroglancer_state_json_asset", None) is None


def test_all_inputs_send_the_subjects_searches_once(cold: Sandbox) -> None:
    of = converter()
    assert names(of.ecephys_data_assets) == RECORDED
    assert cold.count() == 4
    assert (of.surface_recording_names, len(of.smartspim_data_assets)) == (SURFACES, 2)
    assert names(of.get_stitched_data_assets(IMAGED[0])) == STITCHED[:1]
    assert cold.count() == 4


@pytest.mark.usefixtures("bundled")
def test_stitched_assets_by_session_asset_and_id() -> None:
    asset = converter().smartspim_data_assets[0]
    session = aind_session.Session(IMAGED[0])
    for given_id in (IMAGED[0], session, asset, asset.id, asset.id.upper(), STITCHED[0]):
        found = IBLDataConverterExtension.get_stitched_data_assets(given_id)
        assert names(found) == STITCHED[:1]
    assert converter().get_stitched_data_assets(RECORDED[0]) == ()
    with pytest.raises(InvalidIdentifierError):
        converter().get_stitched_data_assets("no session")
    with pytest.raises(ValueError, match="not found"):
        converter().get_stitched_data_assets("00000000-0000-4000-8000-000000000000")


def test_sessions_with_current_names() -> None:
    catalogue = world()
    invent_session(catalogue, "smartspim_999994_2025-03-01_10-00-00", modalities=("SPIM",))
    with aind_session.sandbox(catalogue):
        of = converter(999994)
        assert [session.id for session in of.ecephys_sessions] == [
            "ecephys_999994_2025-01-01_10-00-00",
            "999994_2025-01-03_10-00-00",
            "ecephys_999994_2025-01-03_11-00-00",
            "ecephys_999994_2025-01-05_10-00-00",
        ]
        assert len(of.ecephys_data_assets) == 3
        assert of.surface_recording_names == {
            "999994_2025-01-03_10-00-00": "ecephys_999994_2025-01-03_11-00-00"
        }
        assert [session.id for session in of.smartspim_sessions] == [
            "SmartSPIM_999994_2025-02-01_10-00-00",
            "smartspim_999994_2025-03-01_10-00-00",
        ]
        with inputs.looking("999994", "stitched data assets") as stock:
            (latest,) = stock.latest_stitched()
        assert latest.id == of.get_stitched_data_assets(of.smartspim_sessions[0])[-1].id


def test_use_flags_select_sorted_assets() -> None:
    with aind_session.sandbox(world()):
        subject = aind_session.Subject(999994)
        of = subject.ibl_data_converter
        assert (of.use_data_assets_with_errors, of.use_data_assets_with_sorting_analyzer) == (
            False,
            True,
        )
        good = of.sorted_data_assets
        assert len(good) == 3
        assert not any(asset.is_sorting_error for asset in good)
        assert [asset.created for asset in good] == sorted(asset.created for asset in good)
        # Kept with the subject, like every namespace.
        subject.ibl_data_converter.use_data_assets_with_errors = True
        assert len(of.sorted_data_assets) == 4
        of.use_data_assets_with_errors = False
        of.use_data_assets_with_sorting_analyzer = False
        assert [asset.sorter_name for asset in of.sorted_data_assets] == ["kilosort2_5"]
        assert len(converter(999994).sorted_data_assets) == 3


def test_sorting_that_cannot_be_checked_raises(cold: Sandbox, clock: FakeClock) -> None:
    cold.fail("s3", times=None)
    cold.fail("codeocean", path="/files", times=None)
    with pytest.raises(ServiceError):
        _ = converter().sorted_data_assets


@pytest.mark.filterwarnings("error")
def test_inputs_with_one_service_down(cold: Sandbox, clock: FakeClock) -> None:
    with cold.down("docdb"), pytest.warns(PartialAnswerWarning) as caught:
        assert names(converter().ecephys_data_assets) == RECORDED
    assert len(caught) == 1
    with cold.down("codeocean"):
        with pytest.raises(ServiceError):
            _ = converter().ecephys_data_assets
        with pytest.warns(PartialAnswerWarning):
            assert len(converter().ecephys_sessions) == 4


# -- runs ------------------------------------------------------------------------------------------

ATTACHED = (*RECORDED, SORTED, *IMAGED, *STITCHED, MANIFEST, STATE)


def prepare(box: Sandbox, state: str = STATE) -> None:
    converter().create_manifest_asset(completed(state))
    box.advance()
    box.reset()


def test_run_attaches_all_inputs(sandbox: Sandbox) -> None:
    prepare(sandbox)
    run = converter().run_data_converter_capsule(pipeline_monitor_capsule_id=None)
    assert isinstance(run, Computation)
    launched = sandbox.launched[-1]
    assert (launched["id"], launched["_capsule"]) == (run.id, CONVERTER)
    assert tuple(each["mount"] for each in launched["data_assets"]) == ATTACHED
    by_name = {asset["name"]: asset["id"] for asset in sandbox.catalogue.data_assets}
    assert [each["id"] for each in launched["data_assets"]] == [by_name[n] for n in ATTACHED]
    assert {p["param_name"]: p["value"] for p in launched["parameters"]} == {
        "manifest": f"{MANIFEST}/{MANIFEST}.csv",
        "neuroglancer": f"{STATE}/{STATE}.json",
    }


def test_run_params_send_three_requests_in_a_row(sandbox: Sandbox) -> None:
    prepare(sandbox)
    found: list[RunParams] = []
    row = shortest_row(
        sandbox, lambda: found.append(converter().get_data_converter_run_params()), 3
    )
    assert isinstance(found[-1], RunParams)
    assert len(found[-1].data_assets) == len(ATTACHED)
    assert sandbox.count() <= 8
    assert row <= 3
    assert not any(r.path.endswith("/computations") for r in sandbox.requests)


def test_run_params_with_additional_assets(sandbox: Sandbox) -> None:
    prepare(sandbox)
    extra = aind_session.Session("ecephys_676909_2023-12-13_13-43-40").raw_data_asset
    other = "537f2e0f-631a-4ac3-9f6f-1972feb11892"
    params = converter().get_data_converter_run_params(
        MONITOR,
        additional_assets=[extra, other, extra.id],
        override_parameters=["a", "b"],
    )
    assert params.capsule_id == MONITOR
    assert (params.parameters, params.named_parameters) == (["a", "b"], None)
    assert [each.id for each in params.data_assets[-2:]] == [extra.id, other]


def test_run_inputs_can_be_given_by_id_model_and_name(sandbox: Sandbox) -> None:
    first = converter().create_manifest_asset(completed())
    converter().create_manifest_asset(completed(), asset_name="717381_other")
    older = converter().neuroglancer_state_json_asset
    aind_session.Subject(SUBJECT).neuroglancer.states[-1].create_data_asset()
    for extra in ({"mode": "fast"}, [NamedRunParam(param_name="mode", value="fast")]):
        params = converter().get_data_converter_run_params(
            manifest_asset=first.id, neuroglancer_state_json_asset=older, named_parameters=extra
        )
        assert {p.param_name: p.value for p in params.named_parameters} == {
            "manifest": f"{MANIFEST}/{MANIFEST}.csv",
            "neuroglancer": f"{STATE}/{STATE}.json",
            "mode": "fast",
        }
        assert {first.id, older.id} <= {each.id for each in params.data_assets}


def test_run_uses_the_state_of_the_manifest(sandbox: Sandbox) -> None:
    newer = aind_session.Subject(SUBJECT).neuroglancer.states[-1].create_data_asset()
    prepare(sandbox, STATE)
    assert converter().neuroglancer_state_json_asset.id == newer.id
    params = converter().get_data_converter_run_params()
    assert params.named_parameters[-1].value == f"{STATE}/{STATE}.json"


def test_run_with_a_manifest_of_another_state_warns(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(sandbox, LATEST_STATE)
    params = converter().get_data_converter_run_params()
    assert params.named_parameters[-1].value == f"{STATE}/{STATE}.json"
    assert [r.levelname for r in caplog.records if LATEST_STATE in r.getMessage()] == ["WARNING"]


@pytest.mark.usefixtures("clock")
def test_run_with_an_unreadable_manifest_starts_nothing(sandbox: Sandbox) -> None:
    prepare(sandbox)
    before = len(sandbox.launched)
    sandbox.fail("s3", path=f"{MANIFEST}.csv$", times=None)
    sandbox.fail("codeocean", path="/files", times=None)
    with pytest.raises(ServiceError):
        converter().run_data_converter_capsule(pipeline_monitor_capsule_id=None)
    assert len(sandbox.launched) == before


def test_run_waits_for_a_draft_manifest(sandbox: Sandbox, clock: FakeClock) -> None:
    converter().create_manifest_asset(completed())
    sandbox.launched[-1]["state"] = "draft"
    sandbox.reset()
    sandbox.launches.polls = 3
    run = converter().run_data_converter_capsule(pipeline_monitor_capsule_id=None)
    assert run.id == sandbox.launched[-1]["id"]
    assert sandbox.launched[0]["state"] == "ready"
    assert clock.slept


def test_run_names_all_missing_inputs(sandbox: Sandbox) -> None:
    with pytest.raises(FileNotFoundError, match="no manifest") as raised:
        converter().run_data_converter_capsule(pipeline_monitor_capsule_id=None)
    assert "no sorted" not in str(raised.value)
    with pytest.raises(MissingFileError) as missing:
        converter(717121).get_data_converter_run_params()
    for what in ("raw ecephys", "sorted", "SmartSPIM", "stitched", "manifest", "Neuroglancer"):
        assert f"no {what}" in str(missing.value)
    assert missing.value.trail
    assert sandbox.launched == []


def test_run_request_is_sent_once(sandbox: Sandbox, clock: FakeClock) -> None:
    prepare(sandbox)
    sandbox.fail("codeocean", path="/computations$", method="POST", times=None)
    with pytest.raises(ServiceError):
        converter().run_data_converter_capsule(pipeline_monitor_capsule_id=None)
    assert sum(r.path.endswith("/computations") for r in sandbox.requests) == 1


# -- the monitor -----------------------------------------------------------------------------------


def test_run_without_the_extra_names_it(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python marks a module that does not exist.
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    monkeypatch.setitem(sys.modules, f"{PACKAGE}.models", None)
    with pytest.raises(ImportError, match=r'pip install "aind-session\[monitor\]"') as raised:
        converter().run_data_converter_capsule()
    assert isinstance(raised.value, MissingExtraError)
    assert "pipeline_monitor_capsule_id=None" in str(raised.value)
    assert sandbox.requests == []


def _stand_in() -> ModuleType:
    """Make a module with as much of the monitor's models as is used."""

    class Model(SimpleNamespace):
        def model_dump_json(self, exclude_none: bool = False) -> str:
            def plain(value: Any) -> Any:
                if isinstance(value, Model):
                    return {k: v for k, v in vars(value).items() if not k.startswith("_")}
                found = value.to_dict()
                return {k: v for k, v in found.items() if v is not None or not exclude_none}

            return json.dumps(vars(self), default=plain)

    module = ModuleType(f"{PACKAGE}.models")
    module.CaptureSettings = module.PipelineMonitorSettings = Model  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("real", [False, True])
def test_run_with_a_monitor_passes_its_settings(
    sandbox: Sandbox, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, real: bool
) -> None:
    if real:
        pytest.importorskip(f"{PACKAGE}.models")
    else:
        monkeypatch.setitem(sys.modules, PACKAGE, ModuleType(PACKAGE))
        monkeypatch.setitem(sys.modules, f"{PACKAGE}.models", _stand_in())
    # The models could read the environment.
    monkeypatch.setenv("ALERT_URL", "https://example.org")
    monkeypatch.setenv("DESCRIPTION", "from the environment")
    prepare(sandbox)
    run = converter().run_data_converter_capsule()
    launched = sandbox.launched[-1]
    assert (launched["id"], launched["_capsule"]) == (run.id, MONITOR)
    assert "data_assets" not in launched
    (parameter,) = launched["parameters"]
    sent = json.loads(parameter["value"])
    # An older SDK in the monitor does not know every field.
    assert "null" not in parameter["value"]
    assert sent["run_params"]["capsule_id"] == CONVERTER
    assert tuple(a["mount"] for a in sent["run_params"]["data_assets"]) == ATTACHED
    named = {p["param_name"]: p["value"] for p in sent["run_params"]["named_parameters"]}
    assert named["manifest"] == f"{MANIFEST}/{MANIFEST}.csv"
    capture = sent["capture_settings"]
    assert capture["name"] == "717381_ibl-data-converter_2023-11-14_14-13-20"
    assert capture["custom_metadata"]["subject id"] == SUBJECT
    assert "derived" in capture["tags"]
    assert "alert_url" not in sent
    assert "description" not in capture
