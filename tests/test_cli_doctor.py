"""`aind-session doctor`: what it finds, what it advises, how long it takes, what it never shows."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from email.utils import format_datetime
from pathlib import Path

import pytest

import aind_session
from aind_session import capsule
from aind_session.cli import checks
from aind_session.sandbox import Sandbox
from cli_calls import Here, call, running_here

IMPATIENT = {"AIND_SESSION_TIMEOUT": "1", "AIND_SESSION_ATTEMPTS": "1"}


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox() as serving:
        yield serving


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Here:
    return running_here(capsys, monkeypatch)


def run() -> dict[str, checks.Check]:
    """Run all checks in this process; of several of one name the worst counts."""
    worst = {"ok": 0, "warn": 1, "fail": 2}
    found: dict[str, checks.Check] = {}
    for check in checks.run_all():
        if check.check not in found or worst[found[check.check].state] < worst[check.state]:
            found[check.check] = check
        # Whoever reads that something is wrong reads what to do.
        assert check.state == "ok" or check.next
    return found


def test_all_is_well(box: Sandbox) -> None:
    done = call("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    for what in ("token", "domain", "clock", "DocDB v1", "DocDB v2", "aind-open-data", "mounts"):
        assert what in done.stdout
    assert box.token not in done.stdout
    # A request or two for each: search, page, two ways into two generations, nine buckets.
    assert box.count() <= 1 + 1 + 4 + 9


def test_for_programs(box: Sandbox, here: Here) -> None:
    found = json.loads(here("doctor", "--json").stdout)
    assert {check["state"] for check in found} == {"ok"}
    rows = list(csv.DictReader(io.StringIO(here("doctor", "--csv").stdout)))
    assert [row["check"] for row in rows] == [check["check"] for check in found]


def test_no_token(box: Sandbox, here: Here) -> None:
    with box.without_token():
        done = here("doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (number,) = [i for i, line in enumerate(lines) if line.startswith("fail")]
    assert "token" in lines[number]
    assert "CODE_OCEAN_API_TOKEN" in lines[number + 1]


def test_a_refused_token_is_not_shown(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "cop_canaryCanary0canaryCanary0canary"
    monkeypatch.setenv("CODE_OCEAN_API_TOKEN", canary)
    done = call("--debug", "doctor")
    assert done.returncode == 1
    assert "refused by" in done.stdout
    assert canary not in done.stdout + done.stderr


def test_a_token_that_would_go_astray(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CODE_OCEAN_DOMAIN=https://elsewhere.example\n")
    monkeypatch.setenv("CODE_OCEAN_DOMAIN", "")
    # The domain is not asked for here: it is somebody else's.
    (check,) = checks.token()
    assert check.state == "fail"
    assert ".env" in check.told
    assert box.count() == 0


@pytest.mark.parametrize("off", [0, 3600, -3600, 120])
def test_the_clock(box: Sandbox, off: int) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    theirs = format_datetime(now - datetime.timedelta(seconds=off), usegmt=True)
    box.fail("codeocean", path="^/$", status=200, headers={"Date": theirs}, times=None)
    clock = run()["clock"]
    assert clock.state == {0: "ok", 120: "warn"}.get(off, "fail")
    assert {3600: " ahead of", -3600: " behind"}.get(off, "") in clock.told


@pytest.mark.parametrize(
    ("service", "failing"),
    [
        ("docdb", {"DocDB v1", "DocDB v2"}),
        ("codeocean", {"token", "domain"}),
        ("s3", {"bucket"}),
    ],
)
def test_a_service_that_is_down(
    box: Sandbox, service: str, failing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    with box.down(service):
        found = run()
    assert {name for name, check in found.items() if check.state == "fail"} == failing


def test_one_generation_is_down(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "1")
    box.fail("docdb", path="^/v2/", times=None)
    found = run()
    assert (found["DocDB v1"].state, found["DocDB v2"].state) == ("ok", "fail")


def test_services_that_hang_are_waited_for_together(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    box.fail(kind="hang", times=None)
    began = time.perf_counter()
    found = run()
    took = time.perf_counter() - began
    box.heal()
    states = {name: check.state for name, check in found.items()}
    assert states["DocDB v1"] == states["bucket"] == states["domain"] == "fail"
    assert states["clock"] == "warn"
    # Thirteen checks that wait a second each.
    assert took < 6
    assert "did not answer in 1 s" in found["DocDB v1"].told


def test_without_aws_credentials(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, public in (("open-1", True), ("closed-1", False)):
        box.catalogue.buckets[name] = {"public": public}
        box.catalogue.add_object(name, "a/key")
    monkeypatch.setenv("AIND_SESSION_BUCKETS", "open-1,closed-1,closed-1")
    with box.without_aws():
        told = [check for check in checks.run_all() if check.check == "bucket"]
        aws = run()["AWS credentials"]
    assert aws.state == "warn"
    assert [(c.state, c.told) for c in told[:2]] == [
        ("ok", "open-1: read anonymously"),
        ("warn", "closed-1: closed to this identity"),
    ]


@pytest.mark.parametrize(
    ("variables", "state"),
    [({}, "ok"), ({"CO_CAPSULE_ID": "a-capsule"}, "fail")],
)
def test_mounts(
    variables: Mapping[str, str], state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(capsule, "ROOTS", (str(tmp_path / "none"),))
    for name in ("CO_CAPSULE_ID", "CO_COMPUTATION_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (check,) = checks.mounts()
    assert check.state == state


def test_mounts_of_a_capsule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # In some workstations it is the second that is there.
    monkeypatch.setattr(capsule, "ROOTS", (str(tmp_path / "none"), str(tmp_path)))
    monkeypatch.setenv("CO_CAPSULE_ID", "a-capsule")
    (check,) = checks.mounts()
    assert (check.state, check.told) == ("warn", f"{tmp_path} is empty")
    for number in range(7):
        (tmp_path / f"asset{number}").mkdir()
    (check,) = checks.mounts()
    assert check.state == "ok"
    assert "7 attached: asset0, asset1, asset2, asset3, asset4, ..." in check.told
    monkeypatch.setenv("AIND_SESSION_DATA_DIR", str(tmp_path / "renamed"))
    (check,) = checks.mounts()
    assert (check.state, "renamed cannot be read" in check.told) == ("fail", True)


def test_a_check_that_breaks_is_one_line(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[checks.Check]:
        raise RuntimeError("broken\nin two lines")
        yield

    monkeypatch.setattr(checks, "versions", broken)
    assert run()["versions"].told == "RuntimeError: broken"


def test_the_environment_stays_as_it_was(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIND_SESSION_TIMEOUT", raising=False)
    before = dict(os.environ)
    checks.run_all()
    assert dict(os.environ) == before


def test_a_profile_that_is_not_there(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mistyped")
    found = run()
    for name in ("AWS credentials", "bucket"):
        assert "mistyped" in found[name].told
        assert "aws configure" in found[name].next


def test_settings_that_are_not_the_default(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIND_SESSION_TIMEOUT", "12.5")
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "tow")
    told = [(c.state, c.told) for c in checks.run_all() if c.check == "setting"]
    assert ("ok", "AIND_SESSION_TIMEOUT in the environment: 12.5") in told
    unread = "AIND_SESSION_ATTEMPTS in the environment cannot be read ('tow'), the default counts"
    assert ("warn", unread) in told
