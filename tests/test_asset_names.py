"""Names of data assets: the session, the steps of processing and their labels."""

from __future__ import annotations

import pathlib

import pytest

from aind_session.identifiers import (
    label_family,
    normalise_label,
    parse_session_id,
    split_asset_name,
)

LEGACY = "ecephys_676909_2023-12-13_13-43-40"

# Invented for tests: they name a raw asset or a session of no subject.
NO_SESSION = {
    "SmartSPIM_raw_2026-01-01_00-00-00",
    "SmartSPIM_raw_2026-01-01_00-00-00_processed_2026-01-02_00-00-00",
    "SmartSPIM_raw_2026-01-01_00-00-00_stitched_2026-01-02_00-00-00",
    "ecephys_new_2026-01-03_00-00-00",
    "ecephys_old_2026-01-01_00-00-00",
}


def test_split_asset_name_of_every_real_name_finds_its_session(shared_data: pathlib.Path) -> None:
    names = (shared_data / "asset_names.txt").read_text().split("\n")
    for name in filter(None, names):
        found = split_asset_name(name)
        if name in NO_SESSION:
            assert found.session is None, name
            continue
        assert found.session is not None, name
        assert name.startswith(found.session.id), name
        assert found.is_session_name == (name == found.session.id), name
        assert found.is_session_name or found.steps or name[len(found.session.id)] in "._", name


@pytest.mark.parametrize(
    ("rest", "steps"),
    [
        ("", []),
        ("_sorted_2024-03-01_16-02-45", [("sorted", "2024-03-01T16:02:45")]),
        ("_sorted-ks2.5_2023-09-14_17-40-27", [("sorted-ks2.5", "2023-09-14T17:40:27")]),
        ("_dlc_face_2024-04-25_12-15-20", [("dlc_face", "2024-04-25T12:15:20")]),
        ("_sorted_20240301_160245", [("sorted", "2024-03-01T16:02:45")]),
        ("_sorted_20240301T160245", [("sorted", "2024-03-01T16:02:45")]),
        ("_raw_data", [("raw_data", None)]),
        ("_sorted_curated", [("sorted_curated", None)]),
        (
            "_processed_2024-01-12_22-05-53_processed_2024-02-07_18-05-32",
            [("processed", "2024-01-12T22:05:53"), ("processed", "2024-02-07T18:05:32")],
        ),
        ("_sorted_CAR_first_2023-11-14", [("sorted_CAR_first", "2023-11-14T00:00:00")]),
        ("_None_2023-11-14_10-00-00", [("None", "2023-11-14T10:00:00")]),
        ("_2023-11-14_10-00-00", [(None, "2023-11-14T10:00:00")]),
        ("_processed_2023-02-30_10-00-00", [("processed_2023-02-30_10-00-00", None)]),
        (".json", []),
        ("_", []),
    ],
)
def test_split_asset_name_of_a_derived_name_returns_its_steps(
    rest: str, steps: list[tuple[str | None, str | None]]
) -> None:
    found = split_asset_name(LEGACY + rest)
    assert found.session == parse_session_id(LEGACY)
    assert [(s.label, s.dt and s.dt.isoformat()) for s in found.steps] == steps
    assert found.is_session_name == (rest == "")
    assert found.label == (steps[-1][0] if steps else None)
    assert (found.dt and found.dt.isoformat()) == (steps[-1][1] if steps else None)


def test_split_asset_name_of_a_path_or_other_text() -> None:
    assert split_asset_name(f"s3://a-bucket/{LEGACY}").is_session_name
    assert split_asset_name(f"s3://a-bucket/{LEGACY}/ecephys").is_session_name
    assert split_asset_name(f"s3://a-bucket/{LEGACY}_sorted/nwb").label == "sorted"
    assert not split_asset_name(f"copy of {LEGACY}").is_session_name
    assert split_asset_name("ecephys_686740_2023_10_26_12_29_08").is_session_name
    assert split_asset_name("Example T1 and T2 MRI Images") == (None, (), False)


@pytest.mark.parametrize(
    ("label", "family"),
    [
        *((f"sorted{rest}", "sorted") for rest in ("", "-ks2.5", "-ks25", "KS4", "-opto")),
        *(("sorted_curated", "sorted"), ("sorted_2025", "sorted"), ("processed", "processed")),
        *(("curated-alakunina", "curated"), ("dlc_eye", "dlc")),
        ("videoprocessed", "videoprocessed"),
    ],
)
def test_label_family_is_the_first_word(label: str, family: str) -> None:
    assert label_family(label) == family


def test_normalise_label_joins_spellings() -> None:
    assert normalise_label("dlc-eye") == normalise_label("DLC_eye")
    assert normalise_label("sorted-ks2.5") == normalise_label("sorted-ks25")
    assert normalise_label("sortedKS4") == normalise_label("sorted_ks4")
    assert normalise_label("sorted-ks4") != normalise_label("sorted-ks25")
