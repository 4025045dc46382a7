"""LIMS2 IDs in the names of files."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import datetime
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aind_session
from aind_session.errors import MissingLimsError
from aind_session.sandbox import Catalogue, Sandbox
from rows import shortest_row
from worlds import invent_session

KNOWN, KNOWN_ID = "ecephys_747816_2024-08-14_13-57-37", 1386750279
INVENTED = "ecephys_999997_2024-05-01_10-00-00"

words = st.text("abcXYZ-0123456789", max_size=8).filter(lambda w: not (w.isdigit() and len(w) >= 9))
ids = st.integers(10**8, 10**11 - 1)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox(Catalogue(buckets={"aind-open-data": {"public": True}})) as box:
        yield box


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("1386750279_747816_20240814.sync", 1386750279),
        ("747816_20240814_1386750279.stim.pkl", 1386750279),
        ("behavior-videos/1386750279_747816_20240814.eye.mp4", 1386750279),
        ("s3://aind-open-data/x/behavior/1386750279_747816_20240814.h5", 1386750279),
        ("DynamicRouting1_670248_20230803_123154.hdf5", None),
        ("20240814135737_747816.h5", None),
        ("202408141357.h5", None),
        ("20240814135737123456.h5", None),
        ("20230803T120415.h5", None),
        ("747816_20240814.sync", None),
        ("1386750279/video.mp4", None),
        ("12345678_747816.sync", None),
        ("", None),
    ],
)
def test_extract_id_of_a_file_name(name: str, found: int | None) -> None:
    if found is not None:
        assert aind_session.lims.extract_id(name) == found
        return
    with pytest.raises(ValueError, match="no LIMS2 ID") as caught:
        aind_session.lims.extract_id(name)
    assert isinstance(caught.value, aind_session.AindSessionError)


@given(st.lists(words, max_size=4), ids, st.lists(words, max_size=4), st.sampled_from("_."))
def test_extract_id_finds_it_at_any_position(
    before: list[str], lims_id: int, after: list[str], separator: str
) -> None:
    name = separator.join([*before, str(lims_id), *after])
    assert aind_session.lims.extract_id(name) == lims_id
    assert aind_session.lims.extract_id(PurePosixPath("/behavior") / name) == lims_id
    assert aind_session.lims.extract_id(PureWindowsPath("c:/behavior") / name) == lims_id


@given(
    st.lists(words, max_size=4),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)),
    st.sampled_from(["%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%d%H%M%S%f"]),
)
def test_extract_id_of_a_date_time_raises(others: list[str], moment: datetime, layout: str) -> None:
    name = "_".join([*others, moment.strftime(layout)])
    with pytest.raises(ValueError, match="no LIMS2 ID"):
        aind_session.lims.extract_id(name)


def test_id_sends_one_listing_per_modality(cold: Sandbox) -> None:
    session = aind_session.Session(KNOWN)
    modalities = session.modalities

    def known() -> None:
        cold.reset()
        assert aind_session.Session(KNOWN).modalities == modalities

    row = shortest_row(cold, lambda: aind_session.Session(KNOWN).lims.id, 1, known)
    assert session.lims.id == aind_session.lims.get_id(KNOWN) == KNOWN_ID
    assert session.lims.get_id(session) == KNOWN_ID
    assert cold.count() == len(modalities)
    assert row == 1
    assert session.lims.id == KNOWN_ID
    assert cold.count() == len(modalities)


def test_id_in_a_large_folder_sends_one_listing(box: Sandbox) -> None:
    invent_session(box.catalogue, INVENTED, modalities=["behavior"])
    for number in range(1100):
        box.catalogue.add_object("aind-open-data", f"{INVENTED}/behavior/frame_{number}.tif", "")
    session = aind_session.Session(INVENTED)
    assert session.modalities == ("behavior",)
    box.requests.clear()
    with pytest.raises(AttributeError):
        _ = session.lims.id
    assert box.count("s3") == 1


def test_get_session_by_lims_id(bundled: Sandbox) -> None:
    for subject, lims_id in ((747816, KNOWN_ID), ("747816", str(KNOWN_ID))):
        assert aind_session.lims.get_session(subject, lims_id) == aind_session.Session(KNOWN)
    found = aind_session.lims.get_session(labtracks_mouse_id=747816, lims_session_id=KNOWN_ID)
    assert found.id == KNOWN
    with pytest.raises(ValueError, match="None of the 1 sessions of subject 747816"):
        aind_session.lims.get_session(747816, 1386750280)
    with pytest.raises(MissingLimsError, match="None of the 0 sessions"):
        aind_session.lims.get_session(123456, KNOWN_ID)


def test_session_without_lims_id_raises(bundled: Sandbox) -> None:
    session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    assert getattr(session.lims, "id", None) is None
    with pytest.raises(ValueError, match="no LIMS2 ID") as caught:
        aind_session.lims.get_id(session.id)
    assert any("list all keys" in line for line in caught.value.trail)  # type: ignore[attr-defined]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(AttributeError, match="no folder"):
        _ = aind_session.Session("ecephys_999999_2030-01-01_10-00-00").lims.id
    with pytest.raises(ValueError, match="session ID"):
        aind_session.lims.get_id("no session here")


def test_id_is_the_most_common_one(box: Sandbox) -> None:
    files = ["behavior/1111111111_x.sync", "behavior/1222222222_x.sync", "behavior/1222222222_y.h5"]
    invent_session(box.catalogue, INVENTED, modalities=["behavior"], files=files)
    assert aind_session.Session(INVENTED).lims.id == 1222222222


def test_failed_listing_is_not_reported_as_missing_id(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "1")
    invent_session(box.catalogue, INVENTED, modalities=["behavior"])
    box.fail("s3", path="aind-open-data", after=1, times=None)
    with pytest.raises(aind_session.ServiceError):
        _ = aind_session.Session(INVENTED).lims.id
    with pytest.raises(aind_session.ServiceError):
        aind_session.lims.get_session("999997", KNOWN_ID)
