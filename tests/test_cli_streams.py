"""The command where its output is closed or full, and where services say odd things."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aind_session
from aind_session.cli import main
from aind_session.sandbox import Sandbox
from cli_calls import (
    ANSI,
    COMMAND,
    SESSION,
    Done,
    Here,
    environment,
    error_of,
)

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox() as serving:
        yield serving


def in_shell(redirection: str, *arguments: str) -> Done:
    command = f"{shlex.join([*COMMAND, *arguments])} {redirection}"
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, env=environment(), timeout=60
    )


@POSIX
@pytest.mark.parametrize("arguments", [("show", SESSION, "--json"), ("--help",)])
def test_output_closed_ends_quietly(box: Sandbox, arguments: tuple[str, ...]) -> None:
    done = in_shell(">&-", *arguments)
    assert (done.returncode, done.stderr) == (0, "")


@POSIX
def test_output_all_closed_keeps_the_exit_code(box: Sandbox) -> None:
    assert in_shell(">&- 2>&-", "show", "nothing").returncode == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_full_is_one_line(box: Sandbox) -> None:
    done = in_shell(">/dev/full", "show", SESSION, "--json")
    assert done.returncode == 3
    line, _ = error_of(done)
    assert "No space left" in line
    assert "fault" not in line


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    "arguments", [("show", SESSION), ("list", "676909"), ("list", "676909", "--csv")]
)
def test_output_unencodable_names_are_escaped(
    box: Sandbox, encoding: str, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = next(r for r in box.catalogue.docdb_v1 if r["name"] == SESSION)
    record["data_description"]["project_name"] = "Projekt 日本"
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    assert main(arguments) == 0
    assert rb"Projekt \u65e5\u672c" in written.getvalue()


def test_output_control_characters_of_services_are_escaped(box: Sandbox, here: Here) -> None:
    box.fail("docdb", status=500, times=99, body="\x1b[31mred\x1b]0;title\x07\x9b")
    done = here("list", "676909", env={"AIND_SESSION_ATTEMPTS": "1"})
    assert done.returncode == 0
    assert r"\x1b[31mred" in done.stderr
    assert done.stderr.replace("\n", "").isprintable()


def test_snapshot_output_that_is_a_file_is_refused(
    box: Sandbox, here: Here, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for where, code in ((str(file), 2), ("", 2), (str(file / "inside"), 3)):
        done = here("snapshot", "676909", "-o", where)
        assert done.returncode == code
        line, _ = error_of(done)
        assert "fault" not in line
    assert box.count() == 0
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_json_of_a_failure_is_absent(box: Sandbox, here: Here) -> None:
    for what in ("", "nothing", "000001", "ecephys_000001_2023-12-13_13-43-40"):
        for verb in ("show", "list", "explain"):
            done = here(verb, what, "--json")
            assert done.returncode in (0, 1, 2)
            assert not done.stdout or json.loads(done.stdout) is not None
            assert bool(done.stdout) or done.stderr
            assert not ANSI.search(done.stderr)
