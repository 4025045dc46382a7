"""The command in a terminal: color, widths, nothing lost; plain where color is not wanted."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

import aind_session
from aind_session.cli import main
from aind_session.sandbox import Sandbox
from cli_calls import ANSI, COMMAND, RAW_ID, SESSION, Here, environment

#: Runs the command in a terminal of this many columns; returns the output and the exit code.
Look = Callable[..., tuple[str, int]]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox() as serving:
        yield serving


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Look:
    def run(*arguments: str, columns: int = 100, **variables: str) -> tuple[str, int]:
        with monkeypatch.context() as patch:
            patch.delenv("NO_COLOR", raising=False)
            for name, value in {"COLUMNS": f"{columns}", "TERM": "xterm", **variables}.items():
                patch.setenv(name, value)
            patch.setattr(sys.stdout, "isatty", lambda: True)
            code = main(arguments)
        out, err = capsys.readouterr()
        return out + err, code

    return run


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("progress", ["0", "1"])
def test_show_in_a_terminal_is_colored_and_has_a_spinner_if_wanted(
    box: Sandbox, progress: str
) -> None:
    import pty

    box.reset()
    box.latency = 0.1
    env = environment(
        {"TERM": "xterm-256color", "NO_COLOR": None, "AIND_SESSION_PROGRESS": progress}
    )
    ours, theirs = pty.openpty()
    outputs = [(os.POSIX_SPAWN_DUP2, theirs, number) for number in (0, 1, 2)]
    pid = os.posix_spawn(COMMAND[0], [*COMMAND, "show", SESSION], env, file_actions=outputs)
    os.close(theirs)
    written = b""
    while chunk := read_or_end(ours):
        written += chunk
    os.close(ours)
    box.latency = 0.0
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    spinner, _, text = written.decode().replace("\r\n", "\n").rpartition("\x1b[2K")
    assert ("looking up" in spinner) is (progress == "1")
    assert any("\u2800" <= letter <= "\u28ff" for letter in spinner) is (progress == "1")
    assert "\x1b[1m" in text
    plain = ANSI.sub("", text)
    assert plain.startswith(f"{SESSION}\n")
    assert RAW_ID in plain
    assert "behavior, behavior-videos, ecephys" in plain


def read_or_end(terminal: int) -> bytes:
    try:
        return os.read(terminal, 2**16)
    except OSError:
        return b""


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_list_in_any_width_loses_nothing(box: Sandbox, look: Look, columns: int) -> None:
    text, code = look("list", "676909", "--columns", "id,folder,modalities", columns=columns)
    assert code == 0
    lines = ANSI.sub("", text).splitlines()
    # Only what cannot be broken is longer: a folder, which is copied as a whole.
    assert all(len(line) <= columns or line.split()[0] == "folder" for line in lines)
    # A terminal that is too narrow for whole folders shows one block per session.
    is_table = lines[0].split() == ["id", "folder", "modalities"]
    assert is_table == (columns == 200)
    expected = "idfoldermodalities" if is_table else ""
    for session in aind_session.get_sessions(676909):
        modalities = ",".join(session.docdb.modalities)
        folder = session.raw_data_dir.as_posix()
        expected += session.id
        expected += folder + modalities if is_table else f"folder{folder}modalities{modalities}"
        assert session.id in text
    assert sorted("".join(lines).replace(" ", "")) == sorted(expected)


@pytest.mark.parametrize("columns", [60, 100, 140, 200])
@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "676909", "--columns", "id,raw_asset_id,raw_asset_name,derived:sorted"),
        ("show", SESSION),
        ("show", "676909"),
        ("explain", SESSION),
        ("run", "1f8f159a-7670-47a9-baf1-078905fc9c2e", "676909", "--dry-run"),
    ],
    ids=" ".join,
)
def test_ids_in_any_width_are_whole(
    box: Sandbox, look: Look, here: Here, arguments: tuple[str, ...], columns: int
) -> None:
    text, code = look(*arguments, columns=columns)
    assert code == 0
    plain = ANSI.sub("", text)
    names = {one[key] for one in box.catalogue.data_assets for key in ("id", "name")}
    expected = Counter(word for word in here(*arguments).stdout.split() if word in names)
    assert SESSION in expected
    assert Counter(word for word in plain.split() if word in expected) == expected
    if arguments[0] in ("list", "show"):
        # The terminal itself breaks no word either: what is longer than a line is one word.
        assert all(len(ln) <= columns or len(ln.split()) <= 2 for ln in plain.splitlines())


@pytest.mark.parametrize("arguments", [("show", SESSION), ("show", "--help")])
def test_width_of_zero_is_ignored(box: Sandbox, look: Look, arguments: tuple[str, ...]) -> None:
    text, code = look(*arguments, columns=0)
    assert code == 0
    assert "SESSION" in text or SESSION in text


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help")])
def test_help_in_a_terminal_has_no_types_of_python(
    box: Sandbox, look: Look, arguments: tuple[str, ...]
) -> None:
    text, code = look(*arguments)
    plain = ANSI.sub("", text)
    assert code == 0
    assert "--help" in plain
    # Names and repetition are written once: `[SESSION]...`, not `[[SESSION]...]...`.
    assert not re.search(r"<\w+[^>]*>|\[\[|\.\.\.[]}]\.\.\.", plain)


def test_no_color_variable_turns_colors_off(box: Sandbox, look: Look) -> None:
    assert "\x1b[3" not in look("doctor", NO_COLOR="1")[0]
    assert "\x1b[32mok" in look("doctor")[0]


def test_error_in_a_terminal_is_one_line(box: Sandbox, look: Look) -> None:
    text, code = look("list", "676909", "--date", "someday")
    assert code == 2
    line, advice = ANSI.sub("", text).splitlines()
    assert "someday" in line
    assert advice == "Try: aind-session list --help"
