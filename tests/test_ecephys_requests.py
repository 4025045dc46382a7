"""Requests that sortings send, and results when a service does not answer."""

from __future__ import annotations

import pytest

import aind_session
from aind_session.clock import use_clock
from aind_session.errors import NotFoundError
from aind_session.extensions.ecephys import EcephysExtension, SortedDataAsset
from aind_session.sandbox import Sandbox
from aind_session.sandbox.factory import result_asset
from aind_session.sandbox.shapes import RESULTS_BUCKET, sorting_files
from loopback import FakeClock
from rows import shortest_row
from sortings import (
    DOCUMENTED,
    INVENTED,
    PROBES,
    RAW,
    add_sorting,
    ecephys,
    sent,
)
from worlds import invent_session, invent_world

# -- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("era", "per_asset", "precurated", "failed"),
    [("v1", 4, False, 0), ("old", 4, True, 1), ("none", 6, False, 0), ("none", 6, True, 3)],
)
def test_ecephys_many_sortings_within_request_budget(
    box: Sandbox, era: str, per_asset: int, precurated: bool, failed: int
) -> None:
    count = 20
    start = 1690000000 if precurated else 1714600000
    good = sorting_files(INVENTED, "kilosort4", era=era, precurated=precurated)
    bad = sorting_files(INVENTED, "kilosort4", failure="memory")
    for n in range(count):
        add_sorting(box.catalogue, INVENTED, start + n, bad if n >= count - failed else good)
    extension = ecephys(INVENTED)

    def look() -> None:
        assert extension.is_sorted
        assert extension.sorter.names == ("kilosort4",)
        found = [asset.sorted_probes for asset in extension.sorted_data_assets]
        assert found == [("ProbeA",)] * (count - failed) + [()] * failed
        assert box.count() <= 4 + count * per_asset

    assert shortest_row(box, look, 7) <= 7
    errors = [asset.is_sorting_error for asset in extension.sorted_data_assets]
    assert errors == [False] * (count - failed) + [True] * failed
    assert box.count() <= 4 + count * per_asset


def test_is_sorted_reads_the_newest_and_a_loop_all_at_once(box: Sandbox) -> None:
    for number in range(6):
        files = sorting_files(INVENTED, "kilosort4")
        add_sorting(box.catalogue, INVENTED, 1714600000 + number, files)
    found: list[SortedDataAsset] = []

    def known() -> None:
        aind_session.Session(INVENTED).refresh()
        found[:] = ecephys(INVENTED).sorted_data_assets

    aind_session.Session(INVENTED).refresh()
    box.requests.clear()
    assert ecephys(INVENTED).is_sorted
    places = [place for service, place in sent(box) if service == "s3"]
    newest = ecephys(INVENTED).sorted_data_assets[-1].id
    assert [newest in place for place in places] == [True, True]

    def look() -> None:
        assert [asset.sorter_name for asset in found] == ["kilosort4"] * 6
        assert box.count() == 6

    row = shortest_row(box, look, 2, known)
    assert row == 2


def test_refresh_after_changed_files_reads_them_again(box: Sandbox) -> None:
    files = sorting_files(INVENTED, "kilosort4")
    first = {key: text for key, text in files.items() if key in ("output", "subject.json")}
    asset_id = add_sorting(box.catalogue, INVENTED, 1714600000, first)
    session = aind_session.Session(INVENTED)
    assert session.ecephys.is_sorted is False
    assert session.ecephys.sorter.names == ()
    for key in files.keys() - first.keys():
        box.catalogue.add_object(RESULTS_BUCKET, f"{asset_id}/{key}", files[key])
    assert session.ecephys.is_sorted is False
    session.refresh()
    assert session.ecephys.is_sorted is True
    assert session.ecephys.sorter.names == ("kilosort4",)


# -- services that do not answer -------------------------------------------------------------------


def test_ecephys_without_aws_reads_through_code_ocean(sandbox: Sandbox) -> None:
    with sandbox.without_aws():
        sandbox.requests.clear()
        extension = ecephys()
        assert extension.is_sorted
        assert extension.sorter.names == ("kilosort2_5",)
        asset = extension.sorted_data_assets[0]
        assert asset.sorted_probes == PROBES
        assert asset.output.endswith("161658.77s")
        assert not any(service == "s3" for service, _ in sent(sandbox))


def test_ecephys_closed_bucket_is_requested_once(sandbox: Sandbox) -> None:
    sandbox.fail("s3", path=RESULTS_BUCKET, status=403, times=None)
    extension = ecephys()
    assert extension.is_sorted
    assert extension.sorter.names == ("kilosort2_5",)
    closed = sum(service == "s3" for service, _ in sent(sandbox))
    assert [asset.sorted_probes for asset in extension.sorted_data_assets] == [PROBES, PROBES]
    assert sum(service == "s3" for service, _ in sent(sandbox)) == closed


def test_ecephys_files_hidden_from_s3_read_through_code_ocean(sandbox: Sandbox) -> None:
    name = f"{INVENTED}_sorted_2024-05-03_10-00-00"
    files = sorting_files(INVENTED, "kilosort4")
    run = "11111111-0000-4000-8000-000000000000"
    asset_id = "22222222-0000-4000-8000-000000000000"
    sandbox.catalogue.add_computation(
        {"id": run, "created": 1, "name": "run", "owner": "x", "run_time": 1, "state": "completed"}
        | {"_files": files, "_capsule": "33333333-0000-4000-8000-000000000000"}
    )
    asset = result_asset(
        name, asset_id=asset_id, created=1714732800, subject="999997", platform="ecephys"
    )
    asset["provenance"]["computation"] = run
    sandbox.catalogue.add_asset(asset)
    assert ecephys(INVENTED).is_sorted is True
    assert ecephys(INVENTED).sorted_data_assets[0].sorted_probes == ("ProbeA",)
    assert ecephys(INVENTED).sorter.names == ("kilosort4",)


def test_is_sorted_s3_down_raises_service_error(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "1")
    files = sorting_files(INVENTED, "kilosort4")
    add_sorting(box.catalogue, INVENTED, 1714600000, files, bucket="aind-open-data")
    assert ecephys(INVENTED).is_sorted is True
    box.reset()
    box.fail("s3", status=500, times=None, body="broken")
    with pytest.raises(aind_session.ServiceError) as caught:
        _ = ecephys(INVENTED).is_sorted
    assert not isinstance(caught.value, NotFoundError)


def test_ecephys_one_unreadable_sorting_warns(box: Sandbox) -> None:
    files = sorting_files(INVENTED, "kilosort4")
    add_sorting(box.catalogue, INVENTED, 1714600000, files)
    add_sorting(box.catalogue, INVENTED, 1714600001, files, bucket="aind-open-data")
    box.fail("s3", path="aind-open-data", status=403, times=None)
    with pytest.warns(aind_session.PartialAnswerWarning):
        assert ecephys(INVENTED).is_sorted is True
    with pytest.warns(aind_session.PartialAnswerWarning, match="sorters"):
        assert ecephys(INVENTED).sorter.names == ("kilosort4",)


@pytest.mark.parametrize("bucket", [None, "aind-open-data"])
def test_sorter_name_listing_fails_raises_service_error(box: Sandbox, bucket: str | None) -> None:
    # Nothing but a file deep below names the sorter, and the search for it is what fails.
    files = sorting_files(INVENTED, "kilosort4", era="none")
    add_sorting(box.catalogue, INVENTED, 1714600000, files, bucket=bucket)
    box.fail("s3", status=503, times=None)
    with use_clock(FakeClock()):
        if bucket:
            with pytest.raises(aind_session.ServiceError, match="S3"):
                _ = ecephys(INVENTED).sorter.names
        else:
            # Code Ocean lists the folders of what it holds.
            assert ecephys(INVENTED).sorter.names == ("kilosort4",)


def test_is_sorted_without_token_answers_from_docdb_and_s3(box: Sandbox) -> None:
    invent_session(box.catalogue, INVENTED, sorted_by="kilosort4")
    with box.without_token():
        with pytest.warns(aind_session.PartialAnswerWarning, match="Code Ocean"):
            assert ecephys(INVENTED).is_sorted is True
        with pytest.raises(KeyError):
            _ = ecephys(INVENTED).sorted_data_assets
        with pytest.raises(KeyError):
            _ = ecephys("ecephys_999997_2024-05-02_10-00-00").is_sorted


# -- the recording ---------------------------------------------------------------------------------


def test_compressed_dir_older_recording_is_in_root(bundled: Sandbox) -> None:
    root = f"s3://aind-ephys-data/{DOCUMENTED}"
    assert ecephys().clipped_dir.as_posix() == f"{root}/ecephys_clipped"
    assert ecephys().compressed_dir.as_posix() == f"{root}/ecephys_compressed"
    asset = aind_session.Session(DOCUMENTED).raw_data_asset
    for place in (aind_session.ecephys, ecephys()):
        for known in (RAW, asset):
            both = place.get_clipped_and_compressed_dirs(known)
            assert both == (ecephys().clipped_dir, ecephys().compressed_dir)


def test_compressed_dir_newer_recording_is_in_modality_folder(box: Sandbox) -> None:
    made = invent_session(box.catalogue, INVENTED)
    assert made.raw_asset_id is not None
    for name in ("ecephys_clipped", "ecephys_compressed"):
        box.catalogue.add_object("aind-open-data", f"{INVENTED}/{name}/old.txt", "")
    root = f"s3://aind-open-data/{INVENTED}/ecephys"
    assert str(ecephys(INVENTED).clipped_dir) == f"{root}/ecephys_clipped"
    assert str(ecephys(INVENTED).compressed_dir) == f"{root}/ecephys_compressed"
    both = EcephysExtension.get_clipped_and_compressed_dirs(made.raw_asset_id)
    assert [str(path) for path in both] == [
        f"{root}/ecephys_clipped",
        f"{root}/ecephys_compressed",
    ]


def test_compressed_dir_missing_raises_attribute_error(box: Sandbox) -> None:
    made = invent_session(box.catalogue, INVENTED, modalities=["behavior"])
    assert made.raw_asset_id is not None
    box.catalogue.add_object("aind-open-data", f"{INVENTED}/ecephys/ecephys_clipped/x", "")
    assert ecephys(INVENTED).clipped_dir.name == "ecephys_clipped"
    with pytest.raises(AttributeError, match="ecephys_compressed"):
        _ = ecephys(INVENTED).compressed_dir
    assert getattr(ecephys(INVENTED), "compressed_dir", None) is None
    with pytest.raises(FileNotFoundError, match="ecephys_compressed"):
        EcephysExtension.get_clipped_and_compressed_dirs(made.raw_asset_id)
    with pytest.raises(AttributeError):
        _ = ecephys("ecephys_999997_2024-05-02_10-00-00").clipped_dir


# -- older spellings -------------------------------------------------------------------------------


def test_ecephys_older_spellings_work_and_warn(bundled: Sandbox) -> None:
    extension = ecephys()
    latest = extension.sorted_data_assets[-1]
    for name, value in (
        ("sorted_data_asset", latest),
        ("sorted_data_dir", latest.path),
        ("is_sorting_fail", False),
        ("sorted_probes", PROBES),
    ):
        with pytest.warns(DeprecationWarning, match=rf"{name} is deprecated since 0\.4.* use "):
            assert getattr(extension, name) == value


# -- a whole world ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_ecephys_generated_world_matches_its_truth(seed: int) -> None:
    catalogue, truth = invent_world(seed=seed, n_sessions=90)
    names = {a["id"]: a["name"] for a in catalogue.data_assets}
    checked = 0
    with aind_session.sandbox(catalogue):
        for session_id, true in truth.sessions.items():
            if not true.sorted_assets:
                continue
            checked += 1
            found = ecephys(session_id).sorted_data_assets
            assert {a.id for a in found} == set(true.sorted_assets), true.oddities
            good = set(true.sorted_assets) - true.failed_sortings
            assert ecephys(session_id).is_sorted == bool(good), true.oddities
            for asset in found:
                assert asset.name == names[asset.id]
                assert asset.is_sorting_error == (asset.id in true.failed_sortings)
                if asset.id in true.sorters:
                    assert asset.sorter_name == true.sorters[asset.id]
                    assert asset.sorted_probes == ("50213-1", "ProbeA")
    assert checked > 3
