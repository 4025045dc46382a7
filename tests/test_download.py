"""Downloads of raw and derived folders: complete files only, resumed, never outside the folder."""

from __future__ import annotations

import builtins
import errno
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aind_session import Sandbox, Session, download
from aind_session.derived import DerivedDataAsset
from aind_session.errors import DownloadError, InvalidFilterError, MissingAttributeError
from aind_session.extensions.ecephys.sorting import SortedDataAsset
from aind_session.services import s3
from sortings import add_sorting

NAME = "ecephys_999996_2024-05-01_10-00-00"
SORTED = "ecephys_676909_2023-12-13_13-43-40_sorted_"
BUCKET = "aind-ephys-data"
FILES = {
    "data_description.json": "{}",
    "notes/empty.txt": "",
    "behavior/events.csv": "a,b\n1,2\n",
    "behavior/deep/er/trials.json": "[1, 2]",
    "behavior_videos/eye.mp4": "0123456789" * 10,
}


@pytest.fixture
def session(sandbox: Sandbox) -> Session:
    sandbox.add_session(NAME, bucket=BUCKET)
    catalogue = sandbox.catalogue
    catalogue.objects[:] = [one for one in catalogue.objects if not one["key"].startswith(NAME)]
    for path, text in FILES.items():
        catalogue.add_object(BUCKET, f"{NAME}/{path}", text)
    sandbox.reset()
    return Session(NAME)


def below(root: Path) -> dict[str, str]:
    """Return the content of every file below a folder, by path."""
    every = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_text() for path in every}


def test_download_writes_every_file_and_returns_its_path(session: Session, tmp_path: Path) -> None:
    paths = session.download(tmp_path / "new" / "folder")
    root = tmp_path / "new" / "folder"
    assert paths == tuple(root / path for path in sorted(FILES))
    assert below(root) == FILES


@pytest.mark.parametrize(
    ("pattern", "modality", "expected"),
    [
        ("**/*.json", None, {"data_description.json", "behavior/deep/er/trials.json"}),
        ("*.json", None, {"data_description.json"}),
        ("behavior/**", None, {"behavior/events.csv", "behavior/deep/er/trials.json"}),
        ("**/event?.csv", None, {"behavior/events.csv"}),
        (None, "behavior", {"behavior/events.csv", "behavior/deep/er/trials.json"}),
        (None, "behavior-videos", {"behavior_videos/eye.mp4"}),
        (None, "behavior_videos", {"behavior_videos/eye.mp4"}),
        (None, "Behavior videos", {"behavior_videos/eye.mp4"}),
    ],
)
def test_download_pattern_and_modality_select_files(
    session: Session, tmp_path: Path, pattern: str | None, modality: str | None, expected: set[str]
) -> None:
    paths = session.download(tmp_path, pattern=pattern, modality=modality)
    assert set(below(tmp_path)) == expected
    assert len(paths) == len(expected)


@pytest.mark.parametrize(
    ("pattern", "modality", "message"),
    [
        ("[a-z].json", None, "No file in {} matches '[a-z].json'"),
        ("**/*.csv", "behavior-videos", "No file of behavior-videos in {} matches '**/*.csv'"),
    ],
)
def test_download_pattern_that_matches_nothing_warns(
    session: Session,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    pattern: str,
    modality: str | None,
    message: str,
) -> None:
    with caplog.at_level("WARNING", "aind_session"):
        assert session.download(tmp_path / "new", pattern=pattern, modality=modality) == ()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("aind_session", "WARNING")
    assert record.getMessage() == message.format(f"s3://{BUCKET}/{NAME}")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("modality", "hint"),
    [
        (
            "behaviour_videos",
            "Did you mean 'behavior-videos'? It has behavior-videos, behavior, notes.",
        ),
        ("behaviour", "Did you mean 'behavior'? It has behavior, behavior-videos, notes."),
        ("pophys", "It has behavior, behavior-videos, notes."),
        ("", "It has behavior, behavior-videos, notes."),
        ("data_description.json", "It has behavior, behavior-videos, notes."),
    ],
)
def test_download_modality_that_does_not_exist_raises_with_those_that_do(
    session: Session, tmp_path: Path, modality: str, hint: str
) -> None:
    with pytest.raises(InvalidFilterError) as caught:
        session.download(tmp_path / "new", modality=modality)
    assert str(caught.value) == f"modality {modality!r} is not in s3://{BUCKET}/{NAME}. {hint}"
    assert not (tmp_path / "new").exists()


def test_download_modality_of_folders_without_any_raises(
    sandbox: Sandbox, session: Session, tmp_path: Path
) -> None:
    objects = sandbox.catalogue.objects
    objects[:] = [one for one in objects if one["key"].count("/") == 1 or NAME not in one["key"]]
    with pytest.raises(InvalidFilterError, match=r"It has no folder of a modality\.$"):
        session.download(tmp_path, modality="behavior")


def test_download_empty_pattern_raises(session: Session, tmp_path: Path) -> None:
    with pytest.raises(InvalidFilterError, match="glob"):
        session.download(tmp_path, pattern="")


def test_download_existing_file_of_the_same_size_is_kept_unless_overwrite(
    sandbox: Sandbox, session: Session, tmp_path: Path
) -> None:
    session.download(tmp_path)
    own, shorter = tmp_path / "behavior/events.csv", tmp_path / "data_description.json"
    own.write_text("x" * len(FILES["behavior/events.csv"]))
    shorter.write_text("{")
    before = sandbox.count("s3")
    session.download(tmp_path)
    # One listing, and the file whose size was wrong.
    assert sandbox.count("s3") == before + 2
    assert own.read_text().startswith("x")
    assert shorter.read_text() == "{}"
    session.download(tmp_path, overwrite=True)
    assert below(tmp_path) == FILES


VIDEO = "behavior_videos/eye.mp4"
Stop = Callable[[type[BaseException]], None]


@pytest.fixture
def interrupt(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Interrupt the download of the video after 60 of its 100 bytes."""
    monkeypatch.setattr(download, "PART_BYTES", 30)
    read = s3.read_part

    def download_until(stop: type[BaseException]) -> None:
        def read_until(bucket: str, key: str, start: int, size: int, etag: str) -> bytes:
            if start >= 60:
                raise stop
            return read(bucket, key, start, size, etag)

        with monkeypatch.context() as patch:
            patch.setattr(s3, "read_part", read_until)
            with pytest.raises(stop):
                session.download(tmp_path, pattern="**/*.mp4")
        # No file that looks complete is left.
        (left,) = below(tmp_path)
        assert left.startswith("behavior_videos/.eye.mp4.")
        assert left.endswith(".part")

    return download_until


def _change(sandbox: Sandbox, key: str, text: str) -> None:
    """Replace the content of an object."""
    (stored,) = (one for one in sandbox.catalogue.objects if one["key"] == f"{NAME}/{key}")
    stored["text"] = text
    sandbox.reset()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_download_interrupted_resumes_where_it_stopped(
    sandbox: Sandbox, session: Session, tmp_path: Path, interrupt: Stop, stop: type[BaseException]
) -> None:
    interrupt(stop)
    before = sandbox.count("s3")
    session.download(tmp_path, pattern="**/*.mp4")
    # A listing, and the last 40 of 100 bytes.
    assert sandbox.count("s3") == before + 3
    assert below(tmp_path) == {VIDEO: FILES[VIDEO]}


def test_download_interrupted_of_an_object_that_changed_begins_again(
    sandbox: Sandbox, session: Session, tmp_path: Path, interrupt: Stop
) -> None:
    interrupt(KeyboardInterrupt)
    other = "abcdefghij" * 10
    _change(sandbox, VIDEO, other)
    session.download(tmp_path, pattern="**/*.mp4")
    assert below(tmp_path) == {VIDEO: other}


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file system have no locks."""

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(download, "lock_file", refuse)


@pytest.mark.usefixtures("no_locks")
def test_download_in_a_file_system_without_locks_leaves_no_part(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.download(tmp_path, pattern="**/*.mp4")
    assert below(tmp_path) == {VIDEO: FILES[VIDEO]}
    (tmp_path / VIDEO).unlink()

    def interrupt(*part: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(s3, "read_part", interrupt)
    with pytest.raises(KeyboardInterrupt):
        session.download(tmp_path, pattern="**/*.mp4")
    assert below(tmp_path) == {}


@pytest.mark.parametrize("has_locks", [True, False])
def test_download_removes_parts_of_killed_processes_but_none_that_may_be_in_use(
    session: Session, tmp_path: Path, request: pytest.FixtureRequest, has_locks: bool
) -> None:
    folder = tmp_path / "behavior_videos"
    folder.mkdir()
    killed, used = (folder / f".eye.mp4.{letter * 32}.part" for letter in "ab")
    other = folder / ".another.mp4.aaaaaaaaaaaa.part"
    for part in (killed, other):
        part.write_text("x")
    with open(used, "ab") as out:
        download.lock_file(out.fileno())
        if not has_locks:
            request.getfixturevalue("no_locks")
        session.download(tmp_path, pattern="**/*.mp4")
    expected = {tmp_path / VIDEO, used, other} | (set() if has_locks else {killed})
    assert set(folder.iterdir()) == expected


def _part_of_video(folder: Path) -> Path:
    """Return the part with which a download of the video resumes."""
    key, text = f"{NAME}/{VIDEO}", FILES[VIDEO]
    ((_, _, etag),) = s3.list_objects(BUCKET, key)
    return download.File(key, VIDEO, len(text), etag).part_of(folder / VIDEO)


def test_download_part_that_is_too_long_begins_again(session: Session, tmp_path: Path) -> None:
    part = _part_of_video(tmp_path)
    part.parent.mkdir()
    part.write_text("x" * 200)
    session.download(tmp_path, pattern="**/*.mp4")
    assert below(tmp_path) == {VIDEO: FILES[VIDEO]}


def test_download_part_that_another_process_wrote_to_is_reported_and_not_left(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = _part_of_video(tmp_path)
    read = s3.read_part

    def read_and_write(bucket: str, key: str, start: int, size: int, etag: str) -> bytes:
        with open(part, "a") as out:
            out.write("x")
        return read(bucket, key, start, size, etag)

    monkeypatch.setattr(s3, "read_part", read_and_write)
    with pytest.raises(DownloadError, match=f"{VIDEO}: another program wrote to its part"):
        session.download(tmp_path, pattern="**/*.mp4")
    assert below(tmp_path) == {}


@pytest.mark.parametrize("overwrite", [False, True])
def test_download_part_that_vanishes_is_reported_beside_an_older_file(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    path = tmp_path / VIDEO
    path.parent.mkdir()
    path.write_text("x" * (100 if overwrite else 5))
    read = s3.read_part

    def read_and_remove(bucket: str, key: str, start: int, size: int, etag: str) -> bytes:
        (part,) = path.parent.glob(".*.part")
        part.unlink()
        return read(bucket, key, start, size, etag)

    monkeypatch.setattr(s3, "read_part", read_and_remove)
    with pytest.raises(DownloadError, match=VIDEO):
        session.download(tmp_path, pattern="**/*.mp4", overwrite=overwrite)
    assert set(below(tmp_path)[VIDEO]) == {"x"}


@pytest.mark.parametrize("is_current", [False, True])
@pytest.mark.parametrize("kind", ["folder", "read-only"])
def test_download_part_that_cannot_be_opened_is_left_alone(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_current: bool
) -> None:
    part = _part_of_video(tmp_path)
    part = part if is_current else part.with_name(".eye.mp4.abc.part")
    part.parent.mkdir()
    if kind == "folder":
        part.mkdir()
    else:
        part.write_text("x")
        # The superuser may open what is read-only.
        opened = builtins.open

        def refuse(path: Any, *args: Any, **kwargs: Any) -> Any:
            if path == part:
                raise PermissionError(errno.EACCES, "Permission denied")
            return opened(path, *args, **kwargs)

        monkeypatch.setattr(download, "open", refuse, raising=False)
    session.download(tmp_path, pattern="**/*.mp4")
    assert (tmp_path / VIDEO).read_text() == FILES[VIDEO]
    assert set(part.parent.iterdir()) == {tmp_path / VIDEO, part}


def test_download_object_that_changes_meanwhile_is_reported_and_not_left(
    sandbox: Sandbox, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PART_BYTES", 30)
    read = s3.read_part

    def read_and_change(bucket: str, key: str, start: int, size: int, etag: str) -> bytes:
        if start == 30:
            _change(sandbox, VIDEO, "abcdefghij" * 10)
        return read(bucket, key, start, size, etag)

    monkeypatch.setattr(s3, "read_part", read_and_change)
    with pytest.raises(DownloadError, match=f"{VIDEO}: it changed while it was downloaded"):
        session.download(tmp_path, pattern="**/*.mp4")
    assert below(tmp_path) == {}


@pytest.mark.parametrize("has_locks", [True, False])
@pytest.mark.parametrize("overwrite", [(False, False), (False, True), (True, False), (True, True)])
def test_download_twice_at_once_to_one_folder_mixes_nothing(
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    overwrite: tuple[bool, bool],
    has_locks: bool,
) -> None:
    if not has_locks:
        request.getfixturevalue("no_locks")
    (tmp_path / VIDEO).parent.mkdir()
    (tmp_path / VIDEO).write_text("old")
    monkeypatch.setattr(download, "PART_BYTES", 30)
    read = s3.read_part
    reads: list[int] = []

    def read_with_another(bucket: str, key: str, start: int, size: int, etag: str) -> bytes:
        reads.append(start)
        if len(reads) == 2:
            # Another process, in the middle of the first one's file.
            session.download(tmp_path, pattern="**/*.mp4", overwrite=overwrite[1])
        return read(bucket, key, start, size, etag)

    monkeypatch.setattr(s3, "read_part", read_with_another)
    (path,) = session.download(tmp_path, pattern="**/*.mp4", overwrite=overwrite[0])
    assert below(tmp_path) == {VIDEO: FILES[VIDEO]}
    assert path == tmp_path / VIDEO
    assert sorted(reads) == [0, 0, 30, 30, 60, 60, 90, 90]


def test_download_file_that_became_shorter_is_reported_and_not_left(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "read_part", lambda *part: b"" if part[2] else b"0")
    with pytest.raises(DownloadError, match="changed while it was downloaded"):
        session.download(tmp_path, modality="behavior-videos")
    assert below(tmp_path) == {}


def test_download_error_lists_what_failed_and_keeps_the_rest(
    sandbox: Sandbox, session: Session, tmp_path: Path
) -> None:
    sandbox.fail("s3", path="events.csv", status=403, times=None)
    # A file is in the place of a folder.
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(DownloadError) as caught:
        session.download(tmp_path)
    assert set(caught.value.failed) == {"behavior/events.csv", "notes/empty.txt"}
    assert len(caught.value.paths) == len(FILES) - 2
    message = str(caught.value)
    assert f"2 of {len(FILES)} files" in message
    assert all(path in message for path in caught.value.failed)
    sandbox.heal()
    (tmp_path / "notes").unlink()
    assert len(session.download(tmp_path)) == len(FILES)
    assert below(tmp_path) == FILES


@pytest.mark.parametrize("name", ["../../evil", "a/../../evil", "/evil", "a//evil", "a\\..\\evil"])
def test_download_name_that_leads_out_of_the_folder_is_refused(
    sandbox: Sandbox, session: Session, tmp_path: Path, name: str
) -> None:
    sandbox.catalogue.add_object(BUCKET, f"{NAME}/{name}", "evil")
    target = tmp_path / "in" / "here"
    with pytest.raises(DownloadError, match="not a safe path"):
        session.download(target)
    assert below(target) == FILES
    assert below(tmp_path) == {f"in/here/{path}": text for path, text in FILES.items()}


def _of_label(session: Session) -> DerivedDataAsset:
    return session.get_derived_data_assets("sorted")[-1]


def _of_sorting(session: Session) -> SortedDataAsset:
    return session.ecephys.sorted_data_assets[-1]


@pytest.mark.parametrize("find", [_of_label, _of_sorting])
def test_download_of_an_asset_writes_its_files(
    sandbox: Sandbox,
    session: Session,
    tmp_path: Path,
    find: Callable[[Session], DerivedDataAsset | SortedDataAsset],
) -> None:
    files = {"output": "log", "nwb/x.json": "{}"}
    asset_id = add_sorting(sandbox.catalogue, NAME, 1_800_000_000, files)
    sandbox.reset()
    asset = find(session)
    assert asset.id == asset_id
    assert asset.url.endswith(f"/data-assets/{asset_id}")
    assert asset.download(tmp_path) == (tmp_path / "nwb/x.json", tmp_path / "output")
    assert below(tmp_path) == files
    (only,) = asset.download(tmp_path / "again", pattern="**/*.json")
    assert only.read_text() == "{}"


def test_download_of_an_asset_without_a_folder_raises(sandbox: Sandbox, tmp_path: Path) -> None:
    stored = next(a for a in sandbox.catalogue.data_assets if a["name"].startswith(SORTED))
    # In a bucket of another provider, which Code Ocean does not name.
    stored |= {"type": "dataset", "source_bucket": {"origin": "gcp", "external": True}}
    session = Session("ecephys_676909_2023-12-13_13-43-40")
    for assets in (session.ecephys.sorted_data_assets, session.get_derived_data_assets("sorted")):
        (asset,) = (one for one in assets if one.id == stored["id"])
        with pytest.raises(MissingAttributeError, match="does not name the folder"):
            asset.download(tmp_path)


def test_session_url_is_the_page_of_the_raw_asset(sandbox: Sandbox) -> None:
    session = Session("ecephys_676909_2023-12-13_13-43-40")
    assert session.url.endswith(f"/data-assets/{session.raw_data_asset.id}")
    with pytest.raises(AttributeError):
        _ = Session("ecephys_123456_2001-01-01_00-00-00").url


def test_local_dir_is_the_attached_folder_else_the_one_in_s3(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_DATA_DIR", str(tmp_path))
    assert session.local_dir() == session.raw_data_dir
    # A result of the session is not its raw folder.
    (tmp_path / f"{NAME}_sorted_2024-06-01_00-00-00").mkdir()
    assert session.local_dir() == session.raw_data_dir
    (tmp_path / NAME).mkdir()
    assert session.local_dir() == tmp_path / NAME
    assert session.raw_data_dir.as_posix() == f"s3://{BUCKET}/{NAME}"


def test_download_shows_the_total_size_first_in_a_terminal_only(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("AIND_SESSION_PROGRESS", raising=False)
    session.download(tmp_path / "a", progress=False)
    assert terminal.getvalue() == ""
    session.download(tmp_path / "b")
    size = sum(map(len, FILES.values()))
    assert terminal.getvalue().startswith(f"s3://{BUCKET}/{NAME}: {len(FILES)} files, {size} B -> ")
    terminal.truncate(0)
    session.download(tmp_path / "c", pattern="*.json")
    assert ": 1 file, 2 B -> " in terminal.getvalue()
