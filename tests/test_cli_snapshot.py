"""`aind-session snapshot`, and working from what it recorded."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import aind_session
from aind_session.cli import main
from aind_session.sandbox import Sandbox
from cli_calls import Here, call, error_of

ID = "ecephys_676909_2023-12-13_13-43-40"
#: As started from a shell, whatever serves in this process.
ALONE = {"AIND_SESSION_SANDBOX_ACTIVE": None}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record one subject and one session by the command."""
    folder = tmp_path_factory.mktemp("study")
    what = ("676909", "ecephys_717381_2024-04-09_11-14-13")
    with aind_session.sandbox(), redirect_stdout(io.StringIO()) as out:
        assert main(["snapshot", *what, "-o", str(folder)]) == 0
    title, *lines = out.getvalue().splitlines()
    counts = {name.strip(): int(n) for name, n in (line.rsplit(maxsplit=1) for line in lines)}
    assert title == str(folder)
    assert (counts["subjects"], counts["sessions of other subjects"]) == (1, 1)
    assert counts["data assets"] > 40
    assert counts["computations"] > 2
    return folder


def test_snapshot_of_the_environment_serves_the_command(study: Path) -> None:
    done = call("show", ID, "--json", env=ALONE | {"AIND_SESSION_SANDBOX": str(study)})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["id"] == ID


def test_snapshot_serves_a_child_process_and_warns_of_gaps(study: Path) -> None:
    code = "import aind_session as a; print(*(len(a.get_sessions(s)) for s in (676909, 999999)))"
    with aind_session.sandbox(study):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "4 0\n"
    assert f"`aind-session snapshot 999999 -o {study}` adds it" in done.stderr
    assert "snapshot 676909" not in done.stderr


def test_snapshot_command_warns_of_gaps(study: Path, here: Here) -> None:
    with aind_session.sandbox(study):
        done = here("show", "ecephys_999999_2024-01-01_10-00-00")
        assert done.returncode == 1
        # The error contains it: there is no note of it.
        assert "This is a sandbox of the snapshot" in error_of(done)[0]
        done = here("list", "717381")
    assert done.returncode == 0
    assert "717381 was recorded in part only" in done.stderr


def test_snapshot_without_arguments_is_refused(
    sandbox: Sandbox, here: Here, tmp_path: Path
) -> None:
    done = here("snapshot", "-o", str(tmp_path / "x"))
    assert done.returncode == 2
    assert "Nothing to record" in done.stderr
    done = here("snapshot", "676909")
    assert done.returncode == 2
    assert "--output" in done.stderr
    assert not (tmp_path / "x").exists()


def test_snapshot_unknown_session_is_noted(sandbox: Sandbox, here: Here, tmp_path: Path) -> None:
    mistyped = "ecephys_668759_2033-07-11_13-07-32"
    done = here("snapshot", "668759", "66875", mistyped, "-o", str(tmp_path))
    assert done.returncode == 0
    assert [line.split(",")[0] for line in done.stderr.splitlines()] == [
        "note: Nothing was found for 66875",
        f"note: Nothing was found for {mistyped}",
    ]


def test_snapshot_failed_requests_are_noted(sandbox: Sandbox, here: Here, tmp_path: Path) -> None:
    sandbox.catalogue.buckets["aind-scratch-data"] = {"public": False, "denied": True}
    done = here("snapshot", "668759", "-o", str(tmp_path))
    assert done.returncode == 0
    assert "not recorded: s3://aind-scratch-data/aind-session: access denied" in done.stdout
    sandbox.fail("docdb", status=400, times=None)
    done = here("snapshot", "717381", "-o", str(tmp_path))
    assert done.returncode == 3
    assert "1 part could not be recorded" in done.stderr
