"""What is attached to a capsule: folder trees of every kind, and Code Ocean's own list."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

import aind_session
from aind_session.attached_data import Attached
from aind_session.errors import MissingFileError, PartialAnswerWarning, ServiceError
from aind_session.sandbox import Sandbox

RAW = "ecephys_676909_2023-12-13_13-43-40"
SORTED = "ecephys_676909_2023-12-13_13-43-40_sorted_2024-03-01_16-02-45"
OTHER = "behavior_676909_2023-10-24_15-15-50"
#: A name without the time of its session.
TRUNCATED = "ecephys_676909_2023-12-13_sorted_2024-03-01_16-02-45"
COMPUTATION = "a6cb7a52-9d5b-4c0c-b5a5-0f3bb8ca1c11"


def write(root: Path, path: str, content: object = "") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def sessions_and_names(root: Path) -> dict[str, tuple[str | None, str]]:
    """Session and name of what is attached, by the path below the root."""
    return {
        one.path.relative_to(root).as_posix(): (one.session.id if one.session else None, one.name)
        for one in aind_session.attached(root)
    }


# --- by folders -----------------------------------------------------------------------------------


def test_attached_empty_or_missing_folders_returns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert aind_session.attached(tmp_path) == ()
    monkeypatch.setattr("aind_session.attached_data.ROOTS", (str(tmp_path / "none"),))
    monkeypatch.delenv("AIND_SESSION_DATA_DIR", raising=False)
    assert aind_session.attached() == ()
    assert aind_session.Session(RAW).attached_dirs == ()


def test_attached_default_root_is_the_first_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "capsule" / RAW).mkdir(parents=True)
    monkeypatch.delenv("AIND_SESSION_DATA_DIR", raising=False)
    roots = tuple(str(tmp_path / name) for name in ("data", "capsule"))
    monkeypatch.setattr("aind_session.attached_data.ROOTS", roots)
    assert [one.name for one in aind_session.attached()] == [RAW]


def test_attached_missing_root_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingFileError, match="does not exist"):
        aind_session.attached(tmp_path / "none")
    monkeypatch.setenv("AIND_SESSION_DATA_DIR", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="AIND_SESSION_DATA_DIR in the environment"):
        aind_session.attached()


def test_attached_raw_and_derived_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (RAW, SORTED, OTHER, "atlas", ".hidden"):
        (tmp_path / name).mkdir()
    write(tmp_path, "notes.txt")
    assert sessions_and_names(tmp_path) == {
        RAW: (RAW, RAW),
        SORTED: (RAW, SORTED),
        OTHER: (OTHER, OTHER),
        "atlas": (None, "atlas"),
    }
    raw = {one.name: one.is_raw for one in aind_session.attached(tmp_path)}
    assert raw == {RAW: True, SORTED: False, OTHER: True, "atlas": False}
    monkeypatch.setenv("AIND_SESSION_DATA_DIR", str(tmp_path))
    session = aind_session.Session(RAW)
    assert session.attached_dirs == (tmp_path / RAW, tmp_path / SORTED)
    # Under its other spelling, too.
    assert aind_session.Session("676909_2023-12-13_13-43-40").attached_dirs == session.attached_dirs
    assert aind_session.Session("fib_676909_2023-12-13_13-43-40").attached_dirs == ()


DESCRIBED = [
    ("data_description.json", {"name": SORTED}, SORTED),
    ("metadata.nd.json", {"name": RAW, "location": "s3://b/x"}, RAW),
    ("metadata.nd.json", {"data_description": {"name": RAW}}, RAW),
    ("processing.json", {"data_processes": [{"input_location": f"/data/{RAW}"}]}, "renamed"),
    ("data_description.json", {"name": TRUNCATED, "input_data_name": RAW}, TRUNCATED),
    ("data_description.json", {"name": TRUNCATED, "source_data": ["x", RAW]}, TRUNCATED),
    ("data_description.json", {"input_data_name": RAW}, "renamed"),
    (
        "metadata.nd.json",
        {"name": TRUNCATED, "data_description": {"source_data": [RAW]}},
        TRUNCATED,
    ),
]
BROKEN = ["", "{", "[]", '{"name": 3}', '{"name": " "}', "\x00" * 50]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        *(({f"renamed/{file}": text}, {"renamed": (RAW, name)}) for file, text, name in DESCRIBED),
        *(
            (
                {f"renamed/{file}": text for file, _, _ in DESCRIBED},
                {"renamed": (None, "renamed")},
            )
            for text in BROKEN
        ),
        ({"model/data_description.json": {"name": "A model"}}, {"model": (None, "A model")}),
        # A combined asset.
        (
            {f"cohort/{RAW}/x": "", f"cohort/{OTHER}/x": "", f"cohort/notes/{SORTED}/x": ""},
            {
                "cohort": (None, "cohort"),
                f"cohort/{RAW}": (RAW, RAW),
                f"cohort/{OTHER}": (OTHER, OTHER),
            },
        ),
        # An asset as the root.
        (
            {"data_description.json": {"name": RAW}, "ecephys/ecephys_compressed/x": "", "b/x": ""},
            {".": (RAW, RAW)},
        ),
        # As pipelines map them: the session's own files in the root, its results beside.
        (
            {
                "data_description.json": {"name": RAW},
                "spikes/data_description.json": {"name": SORTED},
                "ecephys/x": "",
            },
            {".": (RAW, RAW), "spikes": (RAW, SORTED)},
        ),
    ],
)
def test_attached_by_names_and_metadata_files(
    tmp_path: Path, files: dict[str, Any], expected: dict[str, tuple[str | None, str]]
) -> None:
    for path, content in files.items():
        write(tmp_path, path, content)
    assert sessions_and_names(tmp_path) == expected
    mounts = {one.mount for one in aind_session.attached(tmp_path)}
    assert mounts == {path.partition("/")[0].strip(".") for path in expected}


def test_attached_irregular_metadata_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "renamed" / "data_description.json").mkdir(parents=True)
    os.mkfifo(tmp_path / "renamed" / "metadata.nd.json")
    assert sessions_and_names(tmp_path) == {"renamed": (None, "renamed")}


def test_attached_broken_links_are_left_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(tmp_path, "elsewhere/data_description.json", {"name": RAW})
    (data / "good").symlink_to(tmp_path / "elsewhere")
    (data / SORTED).symlink_to(tmp_path / "gone")
    (data / "circle").symlink_to(data / "circle")
    assert sessions_and_names(data) == {"good": (RAW, RAW)}


def test_attached_unreadable_folders_break_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("closed", RAW):
        (tmp_path / name).mkdir()
    scandir = os.scandir

    def refuse(path: Any = ".") -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert sessions_and_names(tmp_path) == {RAW: (RAW, RAW), "closed": (None, "closed")}


def test_attached_lists_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        (tmp_path / f"mount{number}" / "a" / "b").mkdir(parents=True)
    (tmp_path / RAW / "ecephys").mkdir(parents=True)
    listed: list[str] = []
    scandir = os.scandir

    def listing(path: Any) -> Any:
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listing)
    assert len(aind_session.attached(tmp_path)) == 21
    # A name with the session is enough: that folder is not even opened.
    assert sorted(listed) == sorted(
        [str(tmp_path), *(str(tmp_path / f"mount{number}") for number in range(20))]
    )


def test_attached_huge_mounts_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        """A folder of more files than are read."""

        seen = 0

        def __enter__(self) -> Endless:
            return self

        def __exit__(self, *exc: object) -> None:
            return None

        def __iter__(self) -> Iterator[Any]:
            while True:
                Endless.seen += 1
                yield type("Entry", (), {"name": "frame.tif", "is_dir": lambda self: False})()

    (tmp_path / "frames").mkdir()
    scandir = os.scandir
    monkeypatch.setattr(
        os, "scandir", lambda path: Endless() if str(path).endswith("frames") else scandir(path)
    )
    assert sessions_and_names(tmp_path) == {"frames": (None, "frames")}
    # Neither a stat nor an entry more than what is looked at.
    assert Endless.seen == 1001


def test_attached_logs_its_choice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "renamed/data_description.json", {"name": RAW})
    with caplog.at_level(logging.INFO, "aind_session"):
        aind_session.attached(tmp_path)
    assert f"renamed is {RAW}, according to data_description.json" in caplog.text


def test_attached_entry_is_a_value(tmp_path: Path) -> None:
    (tmp_path / RAW).mkdir()
    (one,) = aind_session.attached(tmp_path)
    assert repr(one) == f"<Attached {RAW} at {tmp_path / RAW}>"
    assert pickle.loads(pickle.dumps(one)) == one
    assert len({one, one}) == 1
    with pytest.raises(AttributeError):
        one.name = "other"  # type: ignore[misc]


# --- by Code Ocean --------------------------------------------------------------------------------


@pytest.fixture
def capsule(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Attach assets of the bundled catalogue to a computation, none of them on disk yet."""
    monkeypatch.setenv("CO_COMPUTATION_ID", COMPUTATION)
    monkeypatch.setenv("AIND_SESSION_DATA_DIR", str(tmp_path))
    return tmp_path


def attach(box: Sandbox, **mounts: str) -> None:
    assets = [{"id": asset_id, "mount": mount} for mount, asset_id in mounts.items()]
    box.catalogue.add_computation(
        {"id": COMPUTATION, "state": "running", "data_assets": assets, "_capsule": "capsule"}
    )


def id_of(box: Sandbox, name: str) -> str:
    return next(str(a["id"]) for a in box.catalogue.data_assets if a["name"].startswith(name))


def test_attached_renamed_mounts_have_code_oceans_names(sandbox: Sandbox, capsule: Path) -> None:
    raw = id_of(sandbox, RAW)
    attach(sandbox, ecephys_session=raw)
    write(capsule, "ecephys_session/ecephys/x")
    (one,) = aind_session.attached()
    assert one == Attached(
        capsule / "ecephys_session", RAW, "ecephys_session", aind_session.Session(RAW), raw
    )
    assert sandbox.count() == 2
    aind_session.attached()
    assert sandbox.count() == 2


def test_attached_unknown_computation_uses_folders(
    sandbox: Sandbox, capsule: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CO_COMPUTATION_ID", "none/of/them")
    write(capsule, f"{RAW}/x")
    assert [one.name for one in aind_session.attached()] == [RAW]
    assert sandbox.count() == 0


def test_attached_unlisted_folders_are_identified_by_name(sandbox: Sandbox, capsule: Path) -> None:
    attach(sandbox, first=id_of(sandbox, RAW))
    write(capsule, "first/x")
    write(capsule, f"{OTHER}/x")
    assert [(a.name, a.asset_id is None) for a in aind_session.attached()] == [
        (OTHER, True),
        (RAW, False),
    ]


def test_attached_listed_without_folder_is_left_out(
    sandbox: Sandbox, capsule: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw, other = id_of(sandbox, RAW), id_of(sandbox, OTHER)
    attach(sandbox, here=raw, elsewhere=other)
    write(capsule, "here/x")
    with caplog.at_level(logging.INFO, "aind_session"):
        assert [a.asset_id for a in aind_session.attached()] == [raw]
    assert f"{other} is attached to this computation, but has no folder" in caplog.text


def test_attached_one_listed_asset_can_be_the_root(sandbox: Sandbox, capsule: Path) -> None:
    attach(sandbox, anything=id_of(sandbox, RAW))
    assert aind_session.attached() == ()
    write(capsule, "behavior_videos/x.mp4")
    (one,) = aind_session.attached()
    assert (one.path, one.name, one.mount) == (capsule, RAW, "")


def test_attached_listed_asset_without_session_in_its_name_uses_its_description(
    sandbox: Sandbox, capsule: Path
) -> None:
    asset = sandbox.catalogue.add_asset({"name": TRUNCATED})
    attach(sandbox, sorted=asset["id"])
    write(capsule, "sorted/data_description.json", {"name": TRUNCATED, "source_data": [RAW]})
    (one,) = aind_session.attached()
    assert one == Attached(
        capsule / "sorted", TRUNCATED, "sorted", aind_session.Session(RAW), asset["id"]
    )


def test_attached_combined_assets_have_ids_of_parts(sandbox: Sandbox, capsule: Path) -> None:
    raw = id_of(sandbox, RAW)
    combined = sandbox.catalogue.add_asset(
        {
            "name": "A cohort",
            "type": "combined",
            "contained_data_assets": [{"id": raw, "mount": RAW}],
        }
    )
    attach(sandbox, cohort=combined["id"])
    for name in (RAW, OTHER):
        write(capsule, f"cohort/{name}/x")
    assert {a.name: a.asset_id for a in aind_session.attached()} == {
        "A cohort": combined["id"],
        RAW: raw,
        OTHER: None,
    }


def test_attached_odd_list_of_code_ocean_hides_nothing(sandbox: Sandbox, capsule: Path) -> None:
    (capsule / "mine" / OTHER).mkdir(parents=True)
    combined = sandbox.catalogue.add_asset(
        {"name": "combined", "contained_data_assets": [None, "x", {"id": 5}, {"mount": OTHER}]}
    )
    attach(sandbox, mine=combined["id"])
    (run,) = (c for c in sandbox.catalogue.computations if c["id"] == COMPUTATION)
    run["data_assets"] += [None, "x", {"id": None}]
    assert [(one.path.name, one.asset_id) for one in aind_session.attached()] == [
        ("mine", combined["id"]),
        (OTHER, None),
    ]
    for odd in ("x", 5, None):
        run["data_assets"] = odd
        sandbox.reset()
        assert [one.path.name for one in aind_session.attached()] == ["mine", OTHER]


def test_attached_closed_asset_is_named_by_its_folder(sandbox: Sandbox, capsule: Path) -> None:
    closed = sandbox.catalogue.add_asset({"name": "x", "_access": "closed"})
    attach(sandbox, renamed=closed["id"])
    write(capsule, "renamed/data_description.json", {"name": SORTED})
    (one,) = aind_session.attached()
    assert (one.name, one.asset_id) == (SORTED, closed["id"])


def test_attached_without_a_token_uses_metadata_files(sandbox: Sandbox, capsule: Path) -> None:
    attach(sandbox, renamed=id_of(sandbox, RAW))
    write(capsule, "renamed/data_description.json", {"name": RAW})
    with sandbox.without_token():
        (one,) = aind_session.attached()
    assert (one.name, one.asset_id) == (RAW, None)


def test_attached_with_code_ocean_down_uses_names_and_warns(
    sandbox: Sandbox, capsule: Path
) -> None:
    write(capsule, f"{RAW}/x")
    sandbox.fail("codeocean", status=400, times=None)
    with pytest.warns(PartialAnswerWarning, match="IDs of attached data assets"):
        (one,) = aind_session.attached()
    assert (one.name, one.asset_id) == (RAW, None)


# --- the folder of an asset -----------------------------------------------------------------------


def test_get_asset_dir_prefers_the_attached_copy(sandbox: Sandbox, capsule: Path) -> None:
    asset = aind_session.Session(RAW).raw_data_asset
    attach(sandbox, renamed=asset.id)
    write(capsule, "renamed/x")
    for given in (asset, asset.id, asset.name):
        found = aind_session.get_asset_dir(given)
        assert isinstance(found, UPath)
        assert isinstance(found, Path)
        assert str(found) == str(capsule / "renamed")


def test_get_asset_dir_without_id_compares_names(sandbox: Sandbox, capsule: Path) -> None:
    asset = aind_session.Session(RAW).raw_data_asset
    write(capsule, f"{RAW}/x")
    sandbox.catalogue.add_computation({"id": COMPUTATION, "_capsule": "capsule"})
    for given in (asset, asset.id, asset.name):
        assert str(aind_session.get_asset_dir(given)) == str(capsule / RAW)


def test_get_asset_dir_folder_that_mentions_a_session_is_not_raw(
    sandbox: Sandbox, capsule: Path
) -> None:
    sandbox.catalogue.add_computation({"id": COMPUTATION, "_capsule": "capsule"})
    write(capsule, "mine/processing.json", {"input_location": f"../data/{RAW}"})
    assert aind_session.Session(RAW).attached_dirs == (capsule / "mine",)
    assert aind_session.get_asset_dir(RAW).as_posix() == f"s3://aind-ephys-data/{RAW}"


def test_get_asset_dir_not_attached_is_in_s3(cold: Sandbox, tmp_path: Path) -> None:
    asset = aind_session.Session(RAW).raw_data_asset
    for given in (asset, asset.id, RAW):
        found = aind_session.get_asset_dir(given, root=tmp_path)
        assert found.as_posix() == f"s3://aind-ephys-data/{RAW}"
    # DocDB has it, too.
    with cold.without_token():
        found = aind_session.get_asset_dir(asset.id, root=tmp_path)
        assert found.as_posix() == f"s3://aind-ephys-data/{RAW}"
        with pytest.raises(KeyError):
            aind_session.get_asset_dir(COMPUTATION, root=tmp_path)


@pytest.mark.usefixtures("clock")
def test_get_asset_dir_of_an_unknown_asset_raises(cold: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not found"):
        aind_session.get_asset_dir(COMPUTATION, root=tmp_path)
    with pytest.raises(FileNotFoundError, match="Data asset no such asset is not attached"):
        aind_session.get_asset_dir("no such asset", root=tmp_path)
    cold.reset()
    with cold.down("docdb"), pytest.raises(ServiceError):
        aind_session.get_asset_dir("no such asset", root=tmp_path)


def test_get_asset_dir_other_asset_of_the_same_name_is_no_copy(
    sandbox: Sandbox, capsule: Path
) -> None:
    raw = id_of(sandbox, RAW)
    attach(sandbox, here=raw)
    write(capsule, "here/x")
    original = next(a for a in sandbox.catalogue.data_assets if a["id"] == raw)
    other = sandbox.catalogue.add_asset({**original, "id": raw.replace("1", "2")})
    assert aind_session.get_asset_dir(raw).as_posix() == (capsule / "here").as_posix()
    assert aind_session.get_asset_dir(other["id"]).as_posix() == f"s3://aind-ephys-data/{RAW}"
