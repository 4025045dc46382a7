"""The command's words: options, errors with the next command to try, exit codes, formats."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aind_session
from aind_session.cli import app, output, sessions
from aind_session.lookup import explain
from aind_session.sandbox import Sandbox
from aind_session.settings import CATALOGUE_HEADER
from aind_session.table import COLUMNS
from cli_calls import RAW_ID, SESSION, Here, error_of

VERBS = ("show", "list", "explain", "open", "doctor")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox() as serving:
        yield serving


# -- global options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        ("--sandbox show ID", "--sandbox=1 show ID"),
        ("--sandbox PATH show ID", "--sandbox=PATH show ID"),
        ("--sandbox=PATH show ID", "--sandbox=PATH show ID"),
        ("--sandbox missing show ID", "--sandbox=missing show ID"),
        ("--debug --sandbox show ID", "--debug --sandbox=1 show ID"),
        ("--sandbox --debug show ID", "--sandbox=1 --debug show ID"),
        ("show ID --sandbox", "--sandbox=1 show ID"),
        ("show --sandbox ID", "--sandbox=1 show ID"),
        ("show --sandbox PATH ID", "--sandbox=PATH show ID"),
        ("show ID --sandbox --json", "--sandbox=1 show ID --json"),
        ("show ID --debug", "--debug show ID"),
        ("--sandbox", "--sandbox=1"),
        ("--sandbox PATH", "--sandbox=PATH"),
        ("--sandbox shw ID", "--sandbox=1 shw ID"),
        ("show -- --sandbox", "show -- --sandbox"),
        ("list --columns a,b 676909", "list --columns a,b 676909"),
    ],
)
def test_sandbox_takes_a_path_where_there_is_one(
    given: str, settled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Folders named as a command and as a session are not paths unless they are catalogues.
    for folder in ("PATH", "show", "ID"):
        (tmp_path / folder).mkdir()
    (tmp_path / "PATH" / CATALOGUE_HEADER).touch()
    monkeypatch.chdir(tmp_path)
    assert app.settle(given.split(), VERBS) == settled.split()


@given(st.lists(st.sampled_from([*VERBS, "ID", "--json", "--sandbox", "--debug", "--", "x y"])))
def test_settle_any_words_loses_none(words: list[str]) -> None:
    settled = app.settle(words, VERBS)
    assert app.settle(settled, VERBS) == settled
    paths = [w.partition("=")[2] for w in settled if w.startswith("--sandbox=")]
    kept = [w for w in settled if not w.startswith("--sandbox=")]
    kept += [w for w in paths if w != app.BUNDLED] + ["--sandbox"] * len(paths)
    assert sorted(kept) == sorted(words)


def test_build_registers_every_command() -> None:
    assert set(VERBS) <= {one.name for one in app.build().registered_commands}


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line", "advice"),
    [
        ("", "Missing command", "--help"),
        ("shwo x", "No such command 'shwo'", "--help"),
        ("show", "Missing argument 'SESSION'", "show --help"),
        ("open a b", "unexpected extra argument", "open --help"),
        ("list --platfrm x", "No such option: --platfrm", "list --help"),
        ("list", "list needs a subject, or a filter", "list --help"),
        ("list 676909 --columns id,plattform", "did you mean 'platform'", "list --help"),
        ("list 676909 --date someday", "someday", "list --help"),
        ("list 676909 --json --csv", "exclude each other", "list --help"),
        ("show nonsense", "'nonsense' is not a valid subject ID", "show --help"),
        ("explain 676909", "'676909' looks like a subject ID, not a session ID.", "list 676909"),
        ("open nonsense", "No session ID in 'nonsense'", "open --help"),
        ("show ID --sandbox=nowhere", "'nowhere' is not a catalogue folder", "snapshot --help"),
    ],
)
def test_wrong_usage_is_one_line_and_the_next_command(
    arguments: str, line: str, advice: str, here: Here
) -> None:
    done = here(*(arguments.split() or ["--sandbox"]))
    line_shown, tried = error_of(done)
    assert (done.returncode, done.stdout) == (2, "")
    assert line in line_shown
    assert tried.endswith(f" {advice}")


def test_no_arguments_show_the_help(here: Here) -> None:
    done = here()
    assert (done.returncode, done.stderr) == (0, "")
    assert "..." not in done.stdout.partition("Commands:")[2]
    assert "Usage: aind-session" in done.stdout


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--platform", "ecefys", "did you mean ecephys"),
        ("--project", "a project", "Unknown project 'a project': did you mean Invented project"),
    ],
)
def test_list_unknown_value_suggests_one_without_naming_python(
    box: Sandbox, here: Here, option: str, value: str, expected: str
) -> None:
    done = here("list", option, value)
    assert done.returncode == 2
    assert expected in error_of(done)[0]


def test_not_found_and_unknown_have_different_exit_codes(
    box: Sandbox, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "1")
    missing = SESSION.replace("43-40", "43-41")
    done = here("open", missing)
    assert (done.returncode, error_of(done)[1]) == (1, f"Try: aind-session explain {missing}")
    box.reset()
    with box.down("codeocean"):
        done = here("open", SESSION)
    assert (done.returncode, error_of(done)[1]) == (3, "Try: aind-session doctor")


def test_own_fault_is_reported_as_such(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:

    def broken(session: object) -> str:
        raise ZeroDivisionError("a fault\nin two lines")

    monkeypatch.setattr(explain, "of_session", broken)
    done = here("explain", SESSION)
    line, advice = error_of(done)
    assert done.returncode == 3
    assert line.endswith("a fault of aind-session itself: ZeroDivisionError: a fault")
    assert advice == f"Try: aind-session --debug explain {SESSION}"


def test_show_fault_in_one_fact_hides_no_other(
    box: Sandbox, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object) -> str:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(aind_session.Session, "modalities", property(broken))
    done = here("show", SESSION)
    assert done.returncode == 0
    assert "modalities  unknown" in done.stdout
    assert "genotype    Pvalb" in done.stdout
    assert "Unknown: modalities. ZeroDivisionError: a fault (--debug shows more)" in done.stdout


def test_show_failed_sorting_is_shown(box: Sandbox, here: Here) -> None:
    for entry in box.catalogue.objects:
        if entry["key"].endswith("/output"):
            entry["text"] = "Traceback (most recent call last):\nRuntimeError: it failed\n"
    done = here("show", SESSION)
    assert "sorted      no, sorting failed; the newest of 2 is" in done.stdout


# -- formats ---------------------------------------------------------------------------------------


def test_help_names_every_column(here: Here) -> None:
    of_labels = {"derived:*", "derived:LABEL", "results", "result:LABEL"}
    assert set(sessions.COLUMNS) == {*COLUMNS, *of_labels}
    done = here("list", "--help")
    assert all(name in done.stdout for name in COLUMNS)


@given(
    st.lists(
        st.lists(
            st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2),
            min_size=2,
            max_size=2,
        ),
        max_size=4,
    )
)
def test_csv_and_tables_keep_any_value(rows: list[list[Any]]) -> None:
    for write in (output.write_csv, output.write_table):
        written = io.StringIO(newline="")
        before, sys.stdout = sys.stdout, written
        try:
            if write is output.write_csv:
                output.write_csv([dict(zip("ab", row, strict=True)) for row in rows], ["a", "b"])
            else:
                output.write_table(["a", "b"], rows)
        finally:
            sys.stdout = before
        text = written.getvalue()
        if write is output.write_csv:
            assert len(list(csv.reader(io.StringIO(text, newline="")))) == len(rows) + 1
        else:
            # A row is a line, whatever the values have in them.
            assert text.count("\n") == len(rows) + 1
            assert all(c.isprintable() or c == "\n" for c in text)


@given(st.text())
def test_printable_any_text_is_one_line(text: str) -> None:
    shown = output.printable(text)
    assert shown.isprintable()
    assert (shown == text) == text.isprintable()


def test_json_without_utf8_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"

    written, before = Ascii(), sys.stdout
    sys.stdout = written
    try:
        output.write_json({"name": "Ångström"})
    finally:
        sys.stdout = before
    assert written.getvalue().isascii()
    assert json.loads(written.getvalue()) == {"name": "Ångström"}


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize(
    ("what", "said", "advice"),
    [
        ("676909_2023-12-13", "the time is missing.", "list 676909 --date 2023-12-13"),
        ("676909_20231213_001", "the time is missing.", "list 676909 --date 2023-12-13"),
        (RAW_ID, "is the ID of a data asset", "show --help"),
        ("hello world", "is not a valid subject ID", "show --help"),
    ],
)
def test_show_incomplete_name_says_what_is_missing(
    here: Here, what: str, said: str, advice: str
) -> None:
    done = here("show", what)
    assert done.returncode == 2
    line, tried = error_of(done)
    assert said in line
    assert "get_sessions" not in line
    assert tried.endswith(advice)
