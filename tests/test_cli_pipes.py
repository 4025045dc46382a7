"""Standard input of `show -`, `run -` and `download -`, and the line of usage of each command."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

import aind_session
from aind_session.cli import app
from aind_session.sandbox import Sandbox
from cli_calls import SESSION, Here, error_of

PIPELINE = "1f8f159a-7670-47a9-baf1-078905fc9c2e"


@pytest.mark.parametrize("command", ["show", "run", "download"])
@pytest.mark.parametrize(
    "form",
    [
        None,
        (),
        ("--columns", "id"),
        ("--csv",),
        ("--json",),
        # The ID is not first, and cells before it are empty, or contain commas and spaces.
        ("--columns", "genotype,modalities,id"),
        ("--columns", "genotype,modalities,id", "--csv"),
        ("--columns", "genotype,id", "--json"),
    ],
    ids=str,
)
def test_standard_input_may_be_any_output_of_list(
    command: str,
    form: tuple[str, ...] | None,
    sandbox: Sandbox,
    here: Here,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = aind_session.get_sessions(676909, platform="ecephys")[-2:]
    days = ("--start", str(sessions[0].date), "--platform", "ecephys")
    if form is None:
        text = "\ufeff" + "\n".join(session.id for session in sessions)
    else:
        text = here("list", "676909", *days, *form).stdout
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    ids = [session.id for session in sessions]
    if command == "show":
        done = here("show", "-", "--json")
        assert [one["id"] for one in json.loads(done.stdout)] == ids
    elif command == "run":
        done = here("run", PIPELINE, "-", "--dry-run", "--json")
        assert [one["session"] for one in json.loads(done.stdout)] == ids
    else:
        done = here("download", "-", "--pattern", "subject.json", "-o", str(tmp_path))
        written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.json"))
        assert written == [Path(one, "subject.json") for one in ids]
    assert done.returncode == 0


def test_download_of_one_session_from_standard_input_has_no_folder_of_its_own(
    sandbox: Sandbox, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps([{"id": SESSION}, {"id": SESSION}])))
    done = here("download", "-", "--pattern", "subject.json", "-o", str(tmp_path))
    assert done.stdout == f"{tmp_path / 'subject.json'}\n"


@pytest.mark.parametrize("text", ["[", '{"a": 1}', "[1]", '[{"platform": "ecephys"}]'])
def test_standard_input_without_ids_is_refused(
    text: str, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    done = here("show", "-")
    assert done.returncode == 2
    assert "neither a list of IDs nor the output of `list`" in error_of(done)[0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (f"platform  id\n\necephys   {SESSION}\necephys\n", 4),
        (f"platform,id\n\necephys,{SESSION}\necephys\n", 4),
        (f"platform,id\necephys,\necephys,{SESSION}\n", 2),
        ('platform,id\n"a\nb",\n', 3),
    ],
)
def test_standard_input_with_a_short_line_names_it(
    text: str, number: int, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    done = here("show", "-")
    assert done.returncode == 2
    assert f"line {number} of standard input has no value in the column `id`" in error_of(done)[0]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("command", app.commands())
def test_usage_has_arguments_as_in_manuals(
    command: str, terminal: bool, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    if terminal:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("TERM", "dumb")
    text = here(command, "--help").stdout
    usage = re.search(r"Usage: aind-session (.*)", text)
    assert usage
    words = usage[1].split()
    assert words[:2] == [command, "[OPTIONS]"]
    one = r"[A-Z]+(\|[A-Z]+)*"
    assert all(re.fullmatch(rf"{one}(\.\.\.)?|\[{one}(\.\.\.)?\]", word) for word in words[2:])
    assert "range>" not in text


def test_usage_of_show_and_list_repeats_their_arguments(here: Here) -> None:
    assert "show [OPTIONS] SESSION...\n" in here("show", "--help").stdout
    assert "list [OPTIONS] [SUBJECT...]\n" in here("list", "--help").stdout
