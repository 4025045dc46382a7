"""Sortings of a session: which assets, failed or not, by which sorter, of which probes."""

from __future__ import annotations

import copy
import pickle

import pytest
from codeocean.data_asset import DataAsset
from hypothesis import given
from hypothesis import strategies as st

import aind_session
from aind_session.errors import MissingAttributeError, MissingFileError
from aind_session.extensions.ecephys import EcephysExtension, SortedDataAsset, probes, sorting
from aind_session.lookup import results
from aind_session.sandbox import Sandbox
from aind_session.sandbox.shapes import RESULTS_BUCKET, sorting_files
from aind_session.services.assets import get_asset
from rows import shortest_row
from sortings import (
    DOCUMENTED,
    FIRST,
    INVENTED,
    LATEST,
    PROBES,
    RAW,
    add_sorting,
    asked,
    ecephys,
)
from worlds import invent_session

# -- the documented session ------------------------------------------------------------------------


def test_ecephys_documented_session_is_sorted_by_one_sorter(sandbox: Sandbox) -> None:
    session = aind_session.Session(DOCUMENTED)
    assert session.ecephys.is_sorted is True
    assert [a.id for a in session.ecephys.sorted_data_assets] == [FIRST, LATEST]
    assert session.ecephys.sorter.names == ("kilosort2_5",)
    latest = session.ecephys.sorter.kilosort2_5.sorted_data_assets[-1]
    assert latest.name == f"{DOCUMENTED}_sorted_2024-03-01_16-02-45"


def test_is_sorted_after_modalities_costs_four_requests(sandbox: Sandbox) -> None:
    def known() -> None:
        sandbox.reset()
        assert aind_session.Session(DOCUMENTED).modalities

    def look() -> None:
        session = aind_session.Session(DOCUMENTED)
        assert session.ecephys.is_sorted
        assert session.ecephys.sorter.kilosort2_5.sorted_data_assets[-1].id == LATEST

    row = shortest_row(sandbox, look, 2, known)
    assert sandbox.count() == 4
    assert row <= 2


def test_sorted_data_assets_equal_and_pickle_as_sdk_models(sandbox: Sandbox) -> None:
    session = aind_session.Session(DOCUMENTED)
    asset = session.ecephys.sorted_data_assets[0]
    assert isinstance(asset, DataAsset)
    assert isinstance(asset, SortedDataAsset)
    assert isinstance(asset, aind_session.ecephys.SortedDataAsset)
    (plain,) = (a for a in session.data_assets if a.id == FIRST)
    assert type(plain) is DataAsset
    assert plain == asset
    assert asset == plain
    assert asset != session.ecephys.sorted_data_assets[1]
    assert asset != FIRST
    assert asset in session.data_assets
    assert len({asset, *session.ecephys.sorted_data_assets}) == 2
    assert asset.to_dict() == plain.to_dict()
    for other in (copy.copy(asset), copy.deepcopy(asset), pickle.loads(pickle.dumps(asset))):
        assert type(other) is SortedDataAsset
        assert other == asset
        assert other.sorted_probes == PROBES


def test_sorted_data_asset_documented_returns_its_properties(sandbox: Sandbox) -> None:
    asset = ecephys().sorted_data_assets[0]
    assert asset.path.as_posix() == f"s3://{RESULTS_BUCKET}/{FIRST}"
    assert str(asset.path).startswith("s3://")
    assert asset.output.endswith("FULL PIPELINE time:  161658.77s")
    assert asset.sorted_probes == PROBES
    assert asset.sorter_name == "kilosort2_5"
    assert asset.is_sorting_error is False
    assert asset.is_sorting_analyzer is False


def test_sorted_data_asset_single_property_reads_only_that_asset(sandbox: Sandbox) -> None:
    asset = ecephys().sorted_data_assets[-1]
    sandbox.requests.clear()
    assert asset.sorted_probes == PROBES
    assert sandbox.count() == 1
    assert asset.sorter_name == "kilosort2_5"
    assert sandbox.count() == 2
    assert all(FIRST not in place for _, place in asked(sandbox))


def test_ecephys_functions_on_class_and_instance_accept_id_or_model(sandbox: Sandbox) -> None:
    extension = ecephys()
    plain = next(a for a in aind_session.Session(DOCUMENTED).data_assets if a.id == FIRST)
    for place in (aind_session.ecephys, EcephysExtension, extension):
        for asset in (FIRST, plain, extension.sorted_data_assets[0]):
            assert place.get_sorter_name(asset) == "kilosort2_5"
            assert place.get_sorted_probe_names(asset) == PROBES
            assert place.is_sorted_data_asset(asset) is True
            assert place.is_sorting_analyzer_asset(asset) is False
            model = place.get_sorted_data_asset_model(asset)
            assert isinstance(model, SortedDataAsset)
            assert model.id == FIRST
        assert place.is_sorted_data_asset(RAW) is False


def test_is_sorting_analyzer_raw_data_is_false(sandbox: Sandbox) -> None:
    (stream, *_) = ecephys().compressed_dir.iterdir()
    assert stream.name.endswith(".zarr")
    assert EcephysExtension.is_sorting_analyzer_asset(RAW) is False


def test_get_sorter_name_by_id_costs_two_requests(sandbox: Sandbox) -> None:
    assert aind_session.ecephys.get_sorter_name(FIRST) == "kilosort2_5"
    assert [service for service, _ in asked(sandbox)] == ["codeocean", "s3"]


def test_get_sorted_data_asset_model_other_asset_raises_value_error(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="not a spike sorting"):
        aind_session.ecephys.get_sorted_data_asset_model(RAW)
    with pytest.raises(ValueError, match="404"):
        aind_session.ecephys.get_sorter_name("00000000-0000-4000-8000-000000000000")


# -- invented sessions -----------------------------------------------------------------------------


def test_ecephys_newest_failed_uses_older_sorting(box: Sandbox) -> None:
    made = invent_session(
        box.catalogue, INVENTED, sorted_by=["kilosort2_5", "kilosort4"], failed="memory"
    )
    extension = ecephys(INVENTED)
    assert extension.is_sorted is True
    assert [a.id for a in extension.sorted_data_assets] == list(made.sorted_asset_ids)
    old, failed = extension.sorted_data_assets
    assert (old.is_sorting_error, failed.is_sorting_error) == (False, True)
    assert failed.sorted_probes == ()
    assert extension.sorter.names == ("kilosort2_5",)
    assert "Out of memory." in failed.output
    with pytest.raises(FileNotFoundError, match="did not finish for any probe") as told:
        _ = failed.sorter_name
    assert isinstance(told.value, MissingFileError)
    assert any("S3" in line for line in told.value.trail)


@pytest.mark.parametrize(
    "failure", ["traceback", "memory", "command", "killed", "docker", "container"]
)
def test_is_sorted_only_failed_sorting_is_false(box: Sandbox, failure: str) -> None:
    invent_session(box.catalogue, INVENTED, sorted_by="kilosort4", failed=failure)
    assert ecephys(INVENTED).is_sorted is False
    assert ecephys(INVENTED).sorter.names == ()


def test_ecephys_without_sortings_is_empty(box: Sandbox) -> None:
    invent_session(box.catalogue, INVENTED)
    extension = ecephys(INVENTED)
    assert extension.is_sorted is False
    assert extension.sorted_data_assets == ()
    assert extension.sorter.names == ()
    # An attribute of any name has no assets; only the subscript is an error.
    assert extension.sorter.kilosort4.sorted_data_assets == ()
    with pytest.raises(AttributeError, match="no sorting by 'kilosort4'"):
        _ = extension.sorter["kilosort4"]


CAPSULE = "33333333-0000-4000-8000-000000000001"
FILES_2024 = sorting_files(INVENTED, "kilosort4")
NO_STREAMS = {
    "output": "N E X T F L O W  ~ sorting kilosort4\ncompleted",
    "nwb/x_experiment1_recording1.nwb/.zgroup": "{}",
    "preprocessed/a.json": "{}",
    "nextflow/trace.txt": "",
    "processing.json": "{}",
}


@pytest.mark.parametrize(
    ("files", "why", "is_data_asset_error"),
    [
        (FILES_2024, None, False),
        # The results of 2023 have no `nwb` folder.
        (
            {"output": "FULL PIPELINE time:  161658.77s", "sorting_precurated/a#ProbeA-AP/x": ""},
            None,
            False,
        ),
        ({k: v for k, v in FILES_2024.items() if not k.startswith("nwb/")}, None, True),
        ({"output": "done", "spikesorted/a/x": ""}, None, False),
        # The pipeline ended, but every sorting job failed.
        (NO_STREAMS, "no sorted streams", False),
        ({"output": "done"}, "no sorted streams", False),
        ({k: v for k, v in FILES_2024.items() if k != "output"}, "no file 'output'", True),
        (FILES_2024 | {"output": "Out of memory."}, "an error in its 'output'", True),
        (FILES_2024 | {"output": FILES_2024["output"] + "\nThe CUDA error was: 2"}, None, False),
    ],
)
def test_failure_of_a_sorting_is_the_same_everywhere(
    box: Sandbox,
    files: dict[str, str],
    why: str | None,
    is_data_asset_error: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asset_id = add_sorting(box.catalogue, INVENTED, 1714600000, files)
    session = aind_session.Session(INVENTED)
    good = why is None
    assert session.ecephys.is_sorted is good
    assert session.ecephys.sorted_data_assets[0].is_sorting_error is not good
    assert session.get_derived_data_assets("sorted")[0].is_error is not good
    sessions = aind_session.get_sessions("999997")
    table = sessions.to_pandas(["sorted", "result:sorted"])
    assert table["sorted"].tolist() == [good]
    assert table["result:sorted"].tolist() == ["good" if good else "failed"]
    raw = {"id": RAW, "name": INVENTED, "tags": ["raw"], "created": 1714500000}
    box.catalogue.add_asset({**raw, "state": "ready", "type": "dataset", "owner": "o"})
    box.catalogue.capsules[CAPSULE] = {"name": "Sort"}
    plan = sessions.run(CAPSULE, label="sorted", dry_run=True)
    assert [one.action for one in plan.sessions] == ["good" if good else "start"]
    assert results.failure(get_asset(asset_id)) == why
    assert aind_session.is_data_asset_error(asset_id) is is_data_asset_error
    session.explain()
    expected = "sorted: yes: " if good else f"sorted: failed: {why}"
    assert expected in capsys.readouterr().out


def test_is_sorted_newest_failed_and_older_good_is_true(
    box: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    good = add_sorting(box.catalogue, INVENTED, 1714600000, FILES_2024)
    add_sorting(box.catalogue, INVENTED, 1714700000, NO_STREAMS)
    assert ecephys(INVENTED).is_sorted is True
    aind_session.Session(INVENTED).explain()
    assert f"({good})" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError):
        _ = ecephys(INVENTED).sorted_data_assets[1].sorter_name


def test_is_sorted_draft_asset_is_false(box: Sandbox) -> None:
    asset_id = add_sorting(box.catalogue, INVENTED, 1714600000, {})
    (asset,) = (a for a in box.catalogue.data_assets if a["id"] == asset_id)
    asset["state"] = "draft"
    assert ecephys(INVENTED).is_sorted is False
    assert [a.id for a in ecephys(INVENTED).sorted_data_assets] == [asset_id]


def test_sorted_data_assets_every_spelling_of_label_found(box: Sandbox) -> None:
    labels = ["sorted", "sorted-ks2.5", "sorted-opto", "sortedKS4", "sorted_curated"]
    for number, label in enumerate([*labels, "curated", "nwb", "unsorted", "curated-sorted"]):
        add_sorting(box.catalogue, INVENTED, 1714600000 + number, {}, label)
    found = ecephys(INVENTED).sorted_data_assets
    assert [a.name.removeprefix(INVENTED).split("_2024")[0][1:] for a in found] == labels


def test_is_sorted_any_platform_or_spelling_is_true(box: Sandbox) -> None:
    session_id = "behavior_999997_2024-05-01_10-00-00"
    add_sorting(box.catalogue, session_id, 1714600000, sorting_files(session_id, "kilosort4"))
    assert ecephys(session_id).is_sorted
    assert ecephys("999997_2024-05-01_10-00-00").is_sorted


@pytest.mark.parametrize("era", ["old", "v1", "nested", "v2", "none"])
def test_sorter_name_every_nesting_of_processing_found(box: Sandbox, era: str) -> None:
    files = sorting_files(INVENTED, "kilosort4", era=era, analyzer=True)
    add_sorting(box.catalogue, INVENTED, 1714600000, files)
    (asset,) = ecephys(INVENTED).sorted_data_assets
    assert asset.sorter_name == "kilosort4"
    assert asset.is_sorting_analyzer is True
    assert ecephys(INVENTED).sorter.names == ("kilosort4",)


NAMED = '{"annotations": {"__sorting_info__": {"params": {"sorter_name": "spykingcircus2"}}}}'
UNNAMED = '{"annotations": {}}'
# As some files have the core within the record's own key.
WRAPPED = '{"processing": {"data_processes": [{"parameters": {"sorter_name": "spykingcircus2"}}]}}'


@pytest.mark.parametrize(
    "files",
    [
        {"processing.json": WRAPPED},
        {"processing.json": "{}", "spikesorted/a/si_folder.json": NAMED},
        {"processing.json": "not JSON", "spikesorted/a/deep/er/si_folder.json": NAMED},
        {"spikesorted/a/si_folder.json": UNNAMED, "spikesorted/b/si_folder.json": NAMED},
        {"spikesorted/a/si_folder.json": UNNAMED, "postprocessed/a/sorting.json": NAMED},
        {"postprocessed/a/sorting.json": NAMED, "params.json": "{}"},
        {"params.json": '{"spikesorting": {"sorter_name": "spykingcircus2"}}'},
        # As Python writes what is no number, and as Windows begins its files.
        {"spikesorted/a/si_folder.json": f'{NAMED[:-1]}, "threshold": NaN, "most": Infinity}}'},
        {"processing.json": "[" * 100_000, "spikesorted/a/si_folder.json": f"\ufeff{NAMED}"},
    ],
)
def test_sorter_name_without_processing_read_from_other_files(
    box: Sandbox, files: dict[str, str]
) -> None:
    add_sorting(box.catalogue, INVENTED, 1714600000, files)
    (asset,) = ecephys(INVENTED).sorted_data_assets
    assert asset.sorter_name == "spykingcircus2"
    with box.without_aws():
        assert ecephys(INVENTED).sorted_data_assets[0].sorter_name == "spykingcircus2"


def test_sorter_names_spellings_are_joined(box: Sandbox) -> None:
    for number, name in enumerate(("kilosort2.5", "kilosort2_5", "kilosort4")):
        files = sorting_files(INVENTED, name)
        add_sorting(box.catalogue, INVENTED, 1714600000 + number, files)
    sorter = ecephys(INVENTED).sorter
    assert sorter.names == ("kilosort2_5", "kilosort4")
    for one in (sorter.kilosort2_5, sorter["kilosort2.5"], sorter.Kilosort25, sorter.ks25):
        assert [a.sorter_name for a in one.sorted_data_assets] == ["kilosort2.5", "kilosort2_5"]
    assert sorter.ks4.name == "kilosort4"
    assert "kilosort4" in sorter
    assert "kilosort3" not in sorter
    assert 3 not in sorter
    assert [sorter[name].name for name in sorter] == list(sorter.names)
    assert {"kilosort2_5", "kilosort4", "names"} <= set(dir(sorter))
    with pytest.raises(MissingAttributeError, match="kilosort2_5, kilosort4"):
        _ = sorter["kilosort3"]
    assert sorter.kilosort3.sorted_data_assets == ()


def test_sorter_repr_and_dir_send_no_request(sandbox: Sandbox) -> None:
    extension = ecephys()
    sorter = extension.sorter
    assert DOCUMENTED in repr(sorter)
    assert DOCUMENTED in repr(extension)
    assert not hasattr(sorter, "_repr_html_")
    assert "is_sorted" in dir(extension)
    assert sandbox.count() == 0


def test_get_sorted_probes_groups_serials_older_folders_read(box: Sandbox) -> None:
    probes = ["ProbeB_group0", "ProbeB_group1", "50213-1", "ProbeA"]
    for created, precurated in ((1700000000, True), (1714600000, False), (1714600001, True)):
        files = sorting_files(INVENTED, "kilosort4", probes=probes, precurated=precurated)
        add_sorting(box.catalogue, INVENTED, created, files)
    extension = ecephys(INVENTED)
    for asset in extension.sorted_data_assets:
        assert asset.sorted_probes == ("50213-1", "ProbeA", "ProbeB")
        found = extension.get_sorted_probes(asset)
        assert [(p.name, p.serial, p.group) for p in found] == [
            ("50213-1", "50213-1", None),
            ("ProbeA", None, None),
            ("ProbeB", None, 0),
            ("ProbeB", None, 1),
        ]
        assert found[2].stream.endswith("ProbeB-AP_recording1_group0")


@given(
    st.integers(1, 9),
    st.integers(100, 999),
    st.from_regex(r"Probe[A-F][0-9]?|[0-9]{5}(-[0-9])?", fullmatch=True),
    st.sampled_from(["", "-AP", "-LFP"]),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(0, 3),
)
def test_parse_any_stream_returns_its_parts(
    experiment: int, node: int, probe: str, band: str, recording: int | None, group: int | None
) -> None:
    stream = f"experiment{experiment}_Record Node {node}#Neuropix-PXI-100.{probe}{band}"
    stream += "" if recording is None else f"_recording{recording}"
    stream += "" if group is None else f"_group{group}"
    found = probes.parse(stream)
    serial = probe if probe[0].isdigit() else None
    assert found == (probe, serial, group, recording, stream)


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        ("ProbeA", "ProbeA"),
        ("ProbeA-AP_recording1_group0", "ProbeA"),
        ("50213-1", "50213-1"),
        ("experiment1_Record Node 102#Neuropix-PXI-100.ProbeA-AP.zarr", "ProbeA"),
        ("experiment1_Record Node 102#NI-DAQmx-101.PXI-6133_recording1", None),
        ("", None),
    ],
)
def test_parse_unusual_streams_returns_name_or_none(stream: str, name: str | None) -> None:
    found = probes.parse(stream)
    assert (found and found.name) == name


@given(st.text())
def test_parse_any_text_does_not_raise(text: str) -> None:
    found = probes.parse(text)
    assert found is None or found.stream == text
    assert sorting.as_attribute(text).isidentifier() or not text.strip()
