"""The command in a terminal: colour, widths, nothing lost; plain where colour is not wanted."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

import aind_session
from aind_session.sandbox import Catalogue, Sandbox
from cli_calls import ANSI, COMMAND, RAW_ID, SESSION, call, environment

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

import fcntl
import pty
import struct
import termios


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox() as serving:
        yield serving


def look(*arguments: str, columns: int = 100, **variables: str) -> tuple[str, int]:
    """Run the command in a terminal; gives what stands there at the end, and the exit code."""
    env = environment({"TERM": "xterm-256color", "NO_COLOR": None, "COLUMNS": None, **variables})
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    pid = os.posix_spawn(
        COMMAND[0],
        [*COMMAND, *arguments],
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, number) for number in (0, 1, 2)],
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            chunk = os.read(ours, 2**16)
        except OSError:
            break
        if not chunk:
            break
        written += chunk
    os.close(ours)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    # What tells that something is under way is wiped out before the answer stands there.
    return written.decode().replace("\r\n", "\n").rpartition("\x1b[2K")[2], code


def test_spinner_with_progress_off_is_absent(box: Sandbox) -> None:
    box.reset()
    box.latency = 0.1
    text, code = look("show", "668759", AIND_SESSION_PROGRESS="0")
    box.latency = 0.0
    assert code == 0
    assert "asking about" not in text
    assert not any("\u2800" <= letter <= "\u28ff" for letter in text)


def test_show_in_a_terminal_is_colored(box: Sandbox) -> None:
    text, code = look("show", SESSION, columns=120)
    assert code == 0
    assert "\x1b[" in text
    plain = ANSI.sub("", text)
    assert plain.startswith(f"{SESSION}\n")
    assert RAW_ID in plain
    assert "behavior, behavior_videos, ecephys" in plain
    assert f"{SESSION}_sorted_2024-03-01_16-02-45" in plain
    assert "asking about" not in plain


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_list_in_any_width_loses_nothing(box: Sandbox, columns: int) -> None:
    text, code = look("list", "676909", "--columns", "id,folder,modalities", columns=columns)
    assert code == 0
    lines = ANSI.sub("", text).splitlines()
    # Only what cannot be broken is longer: a folder, which is copied as a whole.
    assert all(len(line) <= columns or line.split()[0] == "folder" for line in lines)
    everything = sorted("".join(lines).replace(" ", ""))
    # A terminal that is too narrow for whole folders shows one block per session.
    is_table = lines[0].split() == ["id", "folder", "modalities"]
    assert is_table == (columns == 200)
    expected = "idfoldermodalities" if is_table else ""
    for session in aind_session.get_sessions(676909):
        modalities = ",".join(session.docdb.modalities)
        folder = session.raw_data_dir.as_posix()
        expected += session.id
        expected += folder + modalities if is_table else f"folder{folder}modalities{modalities}"
    assert everything == sorted(expected)
    assert all(session.id in text for session in aind_session.get_sessions(676909))


def ids_in(catalogue: Catalogue) -> set[str]:
    """Return the names and IDs of all data assets."""
    return {one[key] for one in catalogue.data_assets for key in ("id", "name")}


LIST = ("list", "676909", "--columns", "id,raw_asset_id,raw_asset_name,derived:sorted")


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        *((LIST, columns) for columns in (60, 100, 140, 200)),
        *((("show", SESSION), columns) for columns in (60, 80, 120, 200)),
        (("show", "676909"), 60),
        (("explain", SESSION), 60),
    ],
)
def test_ids_in_any_width_are_whole(box: Sandbox, arguments: tuple[str, ...], columns: int) -> None:
    text, code = look(*arguments, columns=columns)
    assert code == 0
    plain = ANSI.sub("", text)
    in_a_pipe = call(*arguments)
    expected = Counter(word for word in in_a_pipe.stdout.split() if word in ids_in(box.catalogue))
    assert SESSION in expected
    assert Counter(word for word in plain.split() if word in expected) == expected
    if arguments[0] != "explain":
        # The terminal itself breaks no word either: what is longer than a line is one word.
        assert all(len(ln) <= columns or len(ln.split()) <= 2 for ln in plain.splitlines())


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_run_plan_in_any_width_keeps_ids_whole(box: Sandbox, columns: int) -> None:
    run = ("run", "1f8f159a-7670-47a9-baf1-078905fc9c2e", "999999", "--platform", "ecephys")
    text, code = look(*run, "--dry-run", columns=columns)
    assert code == 0
    planned = aind_session.get_sessions(999999, platform="ecephys")
    lines = [line.split()[0] for line in ANSI.sub("", text).splitlines() if line[:1].strip()]
    assert [line for line in lines if line.startswith("ecephys")] == [s.id for s in planned]


@pytest.mark.parametrize("arguments", [("show", SESSION), ("show", "--help")])
def test_width_of_zero_is_ignored(box: Sandbox, arguments: tuple[str, ...]) -> None:
    text, code = look(*arguments, COLUMNS="0")
    assert code == 0
    assert "SESSION" in text or SESSION in text


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")])
def test_help_in_a_terminal_has_no_types_of_python(
    box: Sandbox, arguments: tuple[str, ...]
) -> None:
    text, code = look(*arguments)
    plain = ANSI.sub("", text)
    assert code == 0
    assert "--help" in plain
    # Names and repetition are written once: `[SESSION]...`, not `[[SESSION]...]...`.
    assert not re.search(r"<\w+[^>]*>|\[\[|\.\.\.[]}]\.\.\.", plain)


def test_no_color_variable_turns_colors_off(box: Sandbox) -> None:
    text, _ = look("doctor", NO_COLOR="1")
    assert "\x1b[3" not in text
    text, _ = look("doctor")
    assert "\x1b[32mok" in text


def test_error_in_a_terminal_is_one_line(box: Sandbox) -> None:
    text, code = look("list", "676909", "--date", "someday")
    assert code == 2
    line, advice = ANSI.sub("", text).splitlines()
    assert "someday" in line
    assert advice == "Try: aind-session list --help"
