"""From a session to its results: labels, what made each, whether it failed, the way back."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
from codeocean.data_asset import DataAsset

import aind_session
from aind_session import PartialAnswerWarning, Sandbox, ServiceError, Session
from aind_session.clock import use_clock
from aind_session.derived import DerivedDataAsset, Maker
from aind_session.errors import UnresolvedInputsWarning
from aind_session.sandbox import Catalogue
from aind_session.settings import RESULTS_BUCKET
from loopback import FakeClock

SESSION = "ecephys_990001_2024-01-01_10-00-00"
CAPSULE = "00000000-0000-4000-8000-00000000ca95"


def _id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def _asset(number: int, name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": _id(number),
        "name": name,
        "created": 1_704_000_000 + number,
        "mount": name,
        "last_used": 0,
        "owner": _id(999),
        "state": "ready",
        "type": "result",
        "tags": ["derived"],
        **more,
    }


def _made_of(*numbers: int, **more: Any) -> dict[str, Any]:
    return {"provenance": {"data_assets": [_id(n) for n in numbers], **more}}


@pytest.fixture
def world() -> Catalogue:
    """Make raw data, a combined asset of it, results of results, a circle, and what is gone."""
    made = Catalogue()
    made.buckets.update({"aind-open-data": {"public": True}, RESULTS_BUCKET: {"public": False}})
    raw = {
        "type": "dataset",
        "tags": ["raw"],
        "source_bucket": {
            "bucket": "aind-open-data",
            "prefix": SESSION,
            "origin": "aws",
            "external": True,
        },
    }
    made.add_asset(_asset(1, SESSION, **raw))
    combined = {"type": "combined", "contained_data_assets": [{"id": _id(1), "mount": "a"}]}
    made.add_asset(_asset(2, "a collection", **combined))
    made.add_asset(_asset(3, f"{SESSION}_dlc-eye_2024-01-02_10-00-00", **_made_of(2)))
    made.add_asset(_asset(4, f"{SESSION}_dlc_face_2024-01-03_10-00-00", **_made_of(3, 77)))
    made.add_asset(_asset(5, f"{SESSION}_sortedKS4_2024-01-04_10-00-00", **_made_of(6, 1)))
    made.add_asset(_asset(6, f"{SESSION}_sorted-ks2.5_2024-01-03_10-00-00", **_made_of(5)))
    made.add_asset(_asset(7, f"{SESSION}_dlc-eye_2024-01-05_10-00-00", **_made_of(1)))
    for number, text in {
        3: "Done.",
        4: "Traceback (most recent call last):",
        7: "Out of memory.",
    }.items():
        made.add_object(RESULTS_BUCKET, f"{_id(number)}/output", text)
    return made


def _names(assets: tuple[DataAsset, ...]) -> list[str]:
    return [asset.name.removeprefix(f"{SESSION}_") for asset in assets]


def test_get_derived_data_assets_any_spelling_of_label_matches(world: Catalogue) -> None:
    with aind_session.sandbox(world):
        session = Session(SESSION)
        for spelling in ("sorted", "sorted-ks25", "sortedKS4", "SORTED"):
            found = session.get_derived_data_assets(spelling)
            assert _names(found) == [
                "sortedKS4_2024-01-04_10-00-00",
                "sorted-ks2.5_2024-01-03_10-00-00",
            ]
        assert len(session.get_derived_data_assets("dlc")) == 3
        assert len(session.get_derived_data_assets("dlc_eye")) == 2
        assert session.get_derived_data_assets("dlc-face")[0].label == "dlc_face"
        assert session.get_derived_data_assets("stitched") == ()
        assert len(session.get_derived_data_assets()) == 5


def test_get_derived_data_assets_equal_the_sdk_models(world: Catalogue) -> None:
    with aind_session.sandbox(world):
        session = Session(SESSION)
        plain = {asset.id: asset for asset in session.data_assets}
        for asset in session.get_derived_data_assets():
            assert isinstance(asset, DataAsset)
            assert asset == plain[asset.id]
            assert pickle.loads(pickle.dumps(asset)) == asset
            assert copy.copy(asset).label == asset.label
            assert asset.path is not None
            assert asset.path.as_posix() == f"s3://{RESULTS_BUCKET}/{asset.id}"


def _one(session: Session, label: str) -> DerivedDataAsset:
    return session.get_derived_data_assets(label)[0]


def test_provenance_chain_intermediate_assets_included(world: Catalogue) -> None:
    with aind_session.sandbox(world):
        session = Session(SESSION)
        # Asset 77 is gone: its branch ends, and a warning names it; the other continues.
        asset = _one(session, "dlc_face")
        with pytest.warns(UnresolvedInputsWarning, match=f"dlc_face.*{_id(77)}"):
            chain = asset.provenance_chain
        assert [a.name for a in chain] == [
            f"{SESSION}_dlc-eye_2024-01-02_10-00-00",
            "a collection",
            SESSION,
        ]


def test_provenance_chain_circle_ends(world: Catalogue) -> None:
    with aind_session.sandbox(world):
        chain = _one(Session(SESSION), "sortedKS4").provenance_chain
        assert {a.id for a in chain} == {_id(1), _id(6)}


@pytest.fixture
def traced(world: Catalogue) -> Catalogue:
    """Add an external result whose inputs are in its record only."""
    name = f"{SESSION}_processed_2024-02-01_10-00-00"
    external = {"bucket": "aind-open-data", "prefix": name, "origin": "aws", "external": True}
    world.add_asset(_asset(8, name, source_bucket=external))
    process = {
        "process_type": "Other",
        "code": {"url": "https://example.org/code", "version": "1.2", "parameters": {"a": 3}},
    }
    world.add_record(
        "v2",
        {
            "_id": "r8",
            "name": name,
            "location": f"s3://aind-open-data/{name}",
            "data_description": {"object_type": "Data description", "source_data": [SESSION]},
            "processing": {"schema_version": "2.1.0", "data_processes": [process]},
        },
    )
    return world


def test_provenance_chain_external_result_uses_record(traced: Catalogue) -> None:
    with aind_session.sandbox(traced):
        asset = _one(Session(SESSION), "processed")
        assert [a.name for a in asset.provenance_chain] == [SESSION]
        made_by = asset.made_by
        assert (made_by.version, made_by.run_script) == ("1.2", "https://example.org/code")
        assert made_by.parameters == (("a", "3"),)


OTHER_RAW = "SmartSPIM_990002_2023-05-01_10-00-00"


def _record(name: str, generation: str, **cores: Any) -> dict[str, Any]:
    own = {"_id": name, "name": name, "location": f"s3://aind-open-data/{name}"}
    return {**own, **cores} if generation == "v1" else {**own, "object_type": "Metadata", **cores}


def _with_code_input(*inputs: dict[str, str]) -> dict[str, Any]:
    code = {"url": "https://example.org/code", "input_data": list(inputs), "parameters": {}}
    processing = {"schema_version": "2.2.4", "data_processes": [{"name": "x", "code": code}]}
    return {"processing": processing}


@pytest.mark.parametrize(
    ("generation", "cores", "found", "missing"),
    [
        # Only in the steps of processing: by name and location, of this or another subject.
        (
            "v2",
            _with_code_input({"name": SESSION, "url": f"s3://aind-open-data/{SESSION}"}),
            [1],
            "",
        ),
        ("v2", _with_code_input({"url": f"s3://aind-open-data/{OTHER_RAW}"}), [12], ""),
        ("v2", _with_code_input({"url": f"s3://{RESULTS_BUCKET}/{_id(3)}"}), [3, 2, 1], ""),
        ("v2", {"data_description": {"source_data": [SESSION, OTHER_RAW]}}, [1, 12], ""),
        ("v1", {"data_description": {"input_data_name": OTHER_RAW}}, [12], ""),
        # Under its other spelling.
        ("v1", {"data_description": {"input_data_name": OTHER_RAW[10:]}}, [12], ""),
        # An asset without a session in its name, and one that does not exist.
        ("v2", {"data_description": {"source_data": ["an atlas", "no such"]}}, [13], "no such"),
    ],
)
def test_provenance_chain_inputs_in_record_only_are_found_in_every_place(
    world: Catalogue, generation: str, cores: dict[str, Any], found: list[int], missing: str
) -> None:
    name = f"{SESSION}_processed_2024-02-01_10-00-00"
    place = {"bucket": "aind-open-data", "prefix": name, "origin": "aws", "external": True}
    world.add_asset(_asset(8, name, source_bucket=place))
    where = place | {"prefix": OTHER_RAW}
    world.add_asset(_asset(12, OTHER_RAW, type="dataset", tags=["raw"], source_bucket=where))
    world.add_asset(_asset(14, OTHER_RAW, type="dataset", tags=["raw"], state="failed"))
    world.add_asset(_asset(13, "an atlas", type="dataset", tags=[]))
    world.add_record(generation, _record(name, generation, **cores))
    with aind_session.sandbox(world):
        asset = _one(Session(SESSION), "processed")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert [a.id for a in asset.provenance_chain] == [_id(n) for n in found]
        assert [str(w.message).rpartition(" for ")[2] for w in caught] == [missing] * bool(missing)


def test_provenance_chain_input_registered_anew_is_found_by_record(world: Catalogue) -> None:
    name = f"{SESSION}_processed_2024-02-01_10-00-00"
    world.add_asset(_asset(8, name, **_made_of(77)))
    cores = {"data_description": {"source_data": [SESSION]}}
    world.add_record("v2", _record(name, "v2", **cores))
    with aind_session.sandbox(world):
        asset = _one(Session(SESSION), "processed")
        with pytest.warns(UnresolvedInputsWarning, match=_id(77)):
            assert [a.id for a in asset.provenance_chain] == [_id(1)]


def test_provenance_chain_input_of_another_subject_is_found(world: Catalogue) -> None:
    world.add_asset(_asset(12, OTHER_RAW, type="dataset", tags=["raw"]))
    world.add_asset(_asset(8, f"{SESSION}_aligned_2024-02-01_10-00-00", **_made_of(1, 12)))
    with aind_session.sandbox(world):
        chain = _one(Session(SESSION), "aligned").provenance_chain
        assert [a.id for a in chain] == [_id(1), _id(12)]


def test_get_derived_data_assets_modality_selects_among_one_label(
    world: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = "multiplane-ophys_990003_2025-01-01_10-00-00"
    written = {20: "pophys", 21: "behavior", 22: "behavior-videos", 23: None}
    for number, modality in written.items():
        name = f"{session_id}_processed_2025-01-{number}_10-00-00"
        # The last one has no record: its tags are read.
        tags = ["derived", "behavior-videos"] if modality is None else ["derived"]
        world.add_asset(_asset(number, name, tags=tags))
        if modality is not None:
            described = {"modalities": [{"abbreviation": modality}], "data_level": "derived"}
            core = {"object_type": "Data description", **described}
            world.add_record("v2", _record(name, "v2", data_description=core))
    with aind_session.sandbox(world) as box:
        session = Session(session_id)
        for wanted, numbers in {
            "pophys": [20],
            "multiplane-ophys": [20],
            "behavior": [21],
            "behavior_videos": [22, 23],
            "ecephys": [],
        }.items():
            found = session.get_derived_data_assets("processed", modality=wanted)
            assert [a.id for a in found] == [_id(n) for n in numbers]
        assert box.count() <= 3
        assert len(session.get_derived_data_assets("processed")) == 4
        assert session.get_derived_data_assets(modality="pophys")[0].id == _id(20)
        sessions = aind_session.get_sessions("990003")
        with caplog.at_level("INFO", logger="aind_session"):
            table = sessions.to_pandas(["derived:processed"])
        assert table["derived:processed"].tolist() == [
            f"{session_id}_processed_2025-01-23_10-00-00"
        ]
        assert "has 4 derived data assets with the label processed" in caplog.text


def test_provenance_chain_docdb_down_raises_service_error(traced: Catalogue) -> None:
    with aind_session.sandbox(traced) as box, use_clock(FakeClock()):
        asset = _one(Session(SESSION), "processed")
        box.fail("docdb", times=None)
        with pytest.raises(ServiceError, match="DocDB"):
            _ = asset.provenance_chain
        box.heal()
        assert [a.name for a in asset.provenance_chain] == [SESSION]


def test_provenance_chain_asset_unreadable_warns(world: Catalogue) -> None:
    with aind_session.sandbox(world) as box, use_clock(FakeClock()):
        asset = _one(Session(SESSION), "dlc_face")
        box.fail("codeocean", path=f"data_assets/{_id(2)}$", times=None)
        with (
            pytest.warns(UnresolvedInputsWarning),
            pytest.warns(PartialAnswerWarning, match="Code Ocean failed.*further back"),
        ):
            assert [a.id for a in asset.provenance_chain] == [_id(3)]


def test_made_by_every_source_is_read(world: Catalogue) -> None:
    world.add_computation(
        {
            "id": _id(50),
            "created": 1_704_000_000,
            "name": "a run",
            "owner": _id(999),
            "run_time": 5,
            "state": "completed",
            "parameters": [{"param_name": "threshold", "value": "3"}, {"value": "second"}],
            "_capsule": CAPSULE,
        }
    )
    own = _made_of(1, capsule=CAPSULE, commit="abc", run_script="code/run", computation=_id(50))
    world.add_asset(_asset(9, f"{SESSION}_facemap_2024-02-01_10-00-00", **own))
    results = {
        "results_info": {
            "pipeline_id": CAPSULE,
            "version": 3,
            "commit": "def",
            "data_assets": [_id(1)],
            "parameters": [{"name": "mode", "value": "fast"}],
        }
    }
    own = {**_made_of(1, computation=_id(50)), "app_parameters": [{"value": "whole"}]}
    world.add_asset(_asset(11, f"{SESSION}_unit-metrics_2024-02-01_10-00-00", **own))
    world.add_asset(_asset(10, f"{SESSION}_nwb_2024-02-01_10-00-00", **results))
    with aind_session.sandbox(world):
        session = Session(SESSION)
        assert _one(session, "facemap").made_by == Maker(
            capsule=CAPSULE,
            commit="abc",
            run_script="code/run",
            computation=_id(50),
            parameters=(("threshold", "3"), ("1", "second")),
        )
        assert _one(session, "nwb").made_by == Maker(
            pipeline=CAPSULE, commit="def", version="3", parameters=(("mode", "fast"),)
        )
        assert [a.id for a in _one(session, "nwb").provenance_chain] == [_id(1)]
        assert _one(session, "unit-metrics").made_by.parameters == (("0", "whole"),)
        # No source has anything about it.
        assert _one(session, "dlc_face").made_by == Maker()


def test_results_column_is_good_failed_or_never(world: Catalogue, sandbox: Sandbox) -> None:
    with aind_session.sandbox(world):
        session = Session(SESSION)
        assert [a.is_error for a in session.get_derived_data_assets("dlc-eye")] == [False, True]
        sessions = aind_session.get_sessions("990001")
        row = sessions.to_pandas(["id", "results", "result:stitched", "result:dlc"]).iloc[0]
        # The newest failed, an older one is good.
        assert row["result:dlc-eye"] == "good"
        assert row["result:dlc-face"] == "failed"
        assert row["result:dlc"] == "good"
        assert row["result:sorted"] == "failed"
        assert row["result:stitched"] == "never"


def test_results_column_service_down_is_none(world: Catalogue) -> None:
    with aind_session.sandbox(world) as box:
        sessions = aind_session.get_sessions("990001")
        sessions.prefetch()
        box.fail(service="s3", status=500, times=None)
        box.fail(service="codeocean", path="data_assets/.*/files", status=500, times=None)
        with use_clock(FakeClock()), pytest.warns(PartialAnswerWarning, match="`result:dlc-face`"):
            table = sessions.to_pandas(["result:dlc-face"])
        assert table["result:dlc-face"].tolist() == [None]
