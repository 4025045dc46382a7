"""The commands for several sessions, for folders and files; the words of help and messages."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import aind_session
from aind_session.cli import app
from aind_session.sandbox import Sandbox
from cli_calls import RAW_ID, SESSION, Here, error_of

OTHER = "ecephys_676909_2023-12-11_14-24-35"
UNKNOWN = "ecephys_123456_2001-01-01_00-00-00"
FOLDER = f"s3://aind-ephys-data/{SESSION}"


@pytest.fixture(scope="module")
def serving() -> Iterator[Sandbox]:
    with aind_session.sandbox() as box:
        yield box


@pytest.fixture(autouse=True)
def box(serving: Sandbox) -> Iterator[Sandbox]:
    serving.reset()
    yield serving
    serving.heal()


# -- show ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "piped"),
    [
        ((SESSION, OTHER), ""),
        (("-",), f"{SESSION}\n\n {OTHER} \n"),
        ((SESSION, "-"), f"/data/my folder/{OTHER}/x\n"),
        (("-",), f"{SESSION} {OTHER}"),
    ],
)
def test_show_several_sessions_writes_each(
    arguments: tuple[str, ...], piped: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(piped))
    done = here("show", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    titles = [line for line in done.stdout.splitlines() if re.fullmatch(r"ecephys_\S+", line)]
    assert titles == [SESSION, OTHER]


@pytest.mark.parametrize("form", [(), ("--csv",), ("--columns", "id,platform", "--csv")])
def test_show_reads_the_output_of_list(
    form: tuple[str, ...], here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = here("list", "676909", "--date", "2023-12", *form).stdout
    monkeypatch.setattr("sys.stdin", io.StringIO(listed))
    done = here("show", "-", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = aind_session.get_sessions(676909, date="2023-12")
    assert [one["id"] for one in json.loads(done.stdout)] == [session.id for session in found]


def test_show_several_sessions_in_json_and_csv_is_one_document(here: Here) -> None:
    values = json.loads(here("show", SESSION, OTHER, "--json").stdout)
    assert [one["id"] for one in values] == [SESSION, OTHER]
    rows = list(csv.DictReader(io.StringIO(here("show", SESSION, OTHER, "--csv").stdout)))
    assert [row["id"] for row in rows] == [SESSION, OTHER]
    assert rows[0]["raw_data_asset"] == RAW_ID


def test_show_one_of_several_not_found_shows_the_others(here: Here) -> None:
    done = here("show", UNKNOWN, SESSION)
    assert done.returncode == 1
    assert RAW_ID in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"note: {UNKNOWN}: ")


# -- path, attached, download ----------------------------------------------------------------------


def test_path_prints_the_raw_folder_alone(here: Here) -> None:
    done = here("path", f"/data/{SESSION}_sorted/x.nwb")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{FOLDER}\n", "")


def test_path_of_an_unknown_session_is_not_found(here: Here) -> None:
    done = here("path", UNKNOWN)
    assert (done.returncode, done.stdout) == (1, "")
    assert error_of(done)[1] == f"Try: aind-session explain {UNKNOWN}"


def test_attached_lists_the_mounts(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_DATA_DIR", str(tmp_path))
    done = here("attached")
    assert (done.returncode, done.stdout) == (1, "")
    assert error_of(done)[0] == "aind-session: nothing is attached here."
    for name in (SESSION, "some reference"):
        (tmp_path / name).mkdir()
    expected = [
        {"session": SESSION, "name": SESSION, "path": str(tmp_path / SESSION), "asset_id": None},
        {
            "session": None,
            "name": "some reference",
            "path": str(tmp_path / "some reference"),
            "asset_id": None,
        },
    ]
    assert json.loads(here("attached", "--json").stdout) == expected
    rows = list(csv.DictReader(io.StringIO(here("attached", "--csv").stdout)))
    assert [row["path"] for row in rows] == [one["path"] for one in expected]
    names, first, second = here("attached").stdout.splitlines()
    assert names.split() == ["session", "name", "path", "asset_id"]
    assert first.split() == [SESSION, SESSION, str(tmp_path / SESSION)]
    assert second.split() == ["some", "reference", str(tmp_path / "some"), "reference"]


def test_download_writes_files_and_prints_their_paths(here: Here, tmp_path: Path) -> None:
    done = here("download", SESSION, "--pattern", "*.json", "-o", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    written = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert done.stdout.split() == [str(path) for path in written]
    subject = json.loads((tmp_path / "subject.json").read_text())
    assert subject["subject_id"] == "676909"


def test_download_without_a_selection_or_a_match_is_refused(here: Here, tmp_path: Path) -> None:
    done = here("download", SESSION)
    assert done.returncode == 2
    assert '--pattern "**" downloads everything' in error_of(done)[0]
    done = here("download", SESSION, "--pattern", "nothing*", "-o", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (1, "")
    assert error_of(done)[0] == "aind-session: no file matches."
    done = here("download", SESSION, "--modality", "behaviour_videos", "-o", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'behavior-videos'?" in error_of(done)[0]
    assert not (tmp_path / "new").exists()


def test_download_that_fails_lists_the_files(here: Here, box: Sandbox, tmp_path: Path) -> None:
    box.fail("s3", path=r"subject\.json", status=403, times=None)
    done = here("download", SESSION, "--pattern", "*.json", "-o", str(tmp_path))
    assert done.returncode == 3
    assert re.search(r"1 of \d+ files .* could not be downloaded", done.stderr)
    assert not (tmp_path / "subject.json").exists()


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_one_line(option: str, here: Here) -> None:
    done = here(option)
    assert done.stdout == f"aind-session {metadata.version('aind-session')}\n"
    assert done.returncode == 0


@pytest.mark.parametrize("command", app.commands())
def test_help_has_no_words_of_python(command: str, here: Here) -> None:
    done = here(command, "--help")
    assert done.returncode == 0
    assert not re.search(r"<\w+(\[\w+\])?>|\bNone\b|\bTrue\b|\bFalse\b|_id_or_|\(\)", done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ("676909", "--start", "2024", "--end", "2023"),
        ("676909", "--start", "someday"),
        ("676909", "--end", "someday"),
        ("676909", "--date", "someday"),
        ("--platform", "nonsense"),
        ("--modality", "nonsense"),
        ("--project", "nonsense"),
    ],
)
def test_messages_name_options_not_arguments_of_functions(
    arguments: tuple[str, ...], here: Here
) -> None:
    done = here("list", *arguments)
    line, advice = error_of(done)
    assert done.returncode == 2
    assert not re.search(r"start_date|end_date|get_sessions|\w+=|\(\)", line)
    assert advice == "Try: aind-session list --help"
    if "--end" in arguments and "--start" in arguments:
        assert "--start '2024' is after --end '2023'" in line
