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
from importlib.metadata import version
from pathlib import Path

import pytest

import aind_session
from aind_session import attached_data, settings
from aind_session.cli import doctor
from aind_session.errors import SettingsWarning
from aind_session.sandbox import Sandbox
from aind_session.services.sdk import CodeOcean
from cli_calls import Here

IMPATIENT = {"AIND_SESSION_TIMEOUT": "1", "AIND_SESSION_ATTEMPTS": "1"}


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with aind_session.sandbox() as serving:
        yield serving


def run() -> dict[str, doctor.Check]:
    """Run all checks in this process; of several of one name the worst counts."""
    worst = {"ok": 0, "warn": 1, "fail": 2}
    found: dict[str, doctor.Check] = {}
    for check in doctor.run_all():
        if check.check not in found or worst[found[check.check].state] < worst[check.state]:
            found[check.check] = check
        # Whoever reads that something is wrong reads what to do.
        assert check.state == "ok" or check.next
    return found


def test_doctor_in_the_sandbox_reports_ok(box: Sandbox, here: Here) -> None:
    done = here("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    for what in ("token", "domain", "clock", "DocDB v1", "DocDB v2", "aind-open-data", "mounts"):
        assert what in done.stdout
    assert box.token not in done.stdout
    # A request or two for each: search, page, two ways into two generations, nine buckets.
    assert box.count() <= 1 + 1 + 4 + 9


def test_doctor_as_json_and_csv_has_the_same_checks(box: Sandbox, here: Here) -> None:
    found = json.loads(here("doctor", "--json").stdout)
    assert {check["state"] for check in found} == {"ok"}
    rows = list(csv.DictReader(io.StringIO(here("doctor", "--csv").stdout)))
    assert [row["check"] for row in rows] == [check["check"] for check in found]


def test_doctor_without_token_fails_and_names_the_variable(box: Sandbox, here: Here) -> None:
    with box.without_token():
        done = here("doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (number,) = [i for i, line in enumerate(lines) if line.startswith("fail")]
    assert "token" in lines[number]
    assert "CODE_OCEAN_API_TOKEN" in lines[number + 1]


def test_doctor_with_a_refused_token_does_not_show_it(box: Sandbox, here: Here) -> None:
    canary = "cop_canaryCanary0canaryCanary0canary"
    done = here("--debug", "doctor", env={"CODE_OCEAN_API_TOKEN": canary})
    assert done.returncode == 1
    assert "refused by" in done.stdout
    assert canary not in done.stdout + done.stderr


def test_token_with_a_domain_of_another_source_fails(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CODE_OCEAN_DOMAIN=https://elsewhere.example\n")
    monkeypatch.setenv("CODE_OCEAN_DOMAIN", "")
    # No request is sent: the domain comes from another source.
    (check,) = doctor.token()
    assert check.state == "fail"
    assert ".env" in check.text
    assert box.count() == 0


@pytest.mark.parametrize("off", [0, 3600, -3600, 120])
def test_clock_that_is_off_is_reported(box: Sandbox, off: int) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    theirs = format_datetime(now - datetime.timedelta(seconds=off), usegmt=True)
    box.fail("codeocean", path="^/$", status=200, headers={"Date": theirs}, times=None)
    clock = run()["clock"]
    assert clock.state == {0: "ok", 120: "warn"}.get(off, "fail")
    assert {3600: " ahead of", -3600: " behind"}.get(off, "") in clock.text


@pytest.mark.parametrize(
    ("service", "failing"),
    [
        ("docdb", {"DocDB v1", "DocDB v2"}),
        ("codeocean", {"token", "domain"}),
        ("s3", {"bucket"}),
    ],
)
def test_doctor_with_a_service_down_fails_its_checks(
    box: Sandbox, service: str, failing: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    with box.down(service):
        found = run()
    assert {name for name, check in found.items() if check.state == "fail"} == failing


def test_doctor_with_one_docdb_schema_down_fails_its_check(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_ATTEMPTS", "1")
    box.fail("docdb", path="^/v2/", times=None)
    found = run()
    assert (found["DocDB v1"].state, found["DocDB v2"].state) == ("ok", "fail")


def test_doctor_with_hanging_services_waits_for_them_together(
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
    assert "did not answer in 1 s" in found["DocDB v1"].text


def test_doctor_without_aws_credentials_reads_public_buckets(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, public in (("open-1", True), ("closed-1", False)):
        box.catalogue.buckets[name] = {"public": public}
        box.catalogue.add_object(name, "a/key")
    monkeypatch.setenv("AIND_SESSION_BUCKETS", "open-1,closed-1,closed-1")
    with box.without_aws():
        checks = [check for check in doctor.run_all() if check.check == "bucket"]
        aws = run()["AWS credentials"]
    assert aws.state == "warn"
    assert [(c.state, c.text) for c in checks[:2]] == [
        ("ok", "open-1: read anonymously"),
        ("warn", "closed-1: closed to this identity"),
    ]


@pytest.mark.parametrize(
    ("variables", "state"),
    [({}, "ok"), ({"CO_CAPSULE_ID": "a-capsule"}, "fail")],
)
def test_mounts_without_data_depends_on_the_capsule(
    variables: Mapping[str, str], state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(attached_data, "ROOTS", (str(tmp_path / "none"),))
    for name in ("CO_CAPSULE_ID", "CO_COMPUTATION_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (check,) = doctor.mounts()
    assert check.state == state


def test_mounts_of_a_capsule_are_listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # In some workstations it is the second that is there.
    monkeypatch.setattr(attached_data, "ROOTS", (str(tmp_path / "none"), str(tmp_path)))
    monkeypatch.setenv("CO_CAPSULE_ID", "a-capsule")
    (check,) = doctor.mounts()
    assert (check.state, check.text) == ("warn", f"{tmp_path} is empty")
    for number in range(7):
        (tmp_path / f"asset{number}").mkdir()
    (check,) = doctor.mounts()
    assert check.state == "ok"
    assert "7 attached: asset0, asset1, asset2, asset3, asset4, ..." in check.text
    monkeypatch.setenv("AIND_SESSION_DATA_DIR", str(tmp_path / "renamed"))
    (check,) = doctor.mounts()
    assert (check.state, "renamed cannot be read" in check.text) == ("fail", True)


def test_check_that_breaks_is_one_line(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[doctor.Check]:
        raise RuntimeError("broken\nin two lines")
        yield

    monkeypatch.setattr(doctor, "versions", broken)
    assert run()["versions"].text == "RuntimeError: broken"


def test_doctor_leaves_the_environment_unchanged(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIND_SESSION_TIMEOUT", raising=False)
    before = dict(os.environ)
    doctor.run_all()
    assert dict(os.environ) == before


def test_doctor_with_a_missing_profile_names_it(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mistyped")
    found = run()
    for name in ("AWS credentials", "bucket"):
        assert "mistyped" in found[name].text
        assert "aws configure" in found[name].next


def test_doctor_shows_settings_that_are_not_the_default(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIND_SESSION_TIMEOUT", "12.5")
    shown = [(c.state, c.text) for c in doctor.run_all() if c.check == "setting"]
    assert shown == [("ok", "AIND_SESSION_TIMEOUT in the environment: 12.5")]


def test_doctor_shows_the_sdk_and_the_server_it_requires(box: Sandbox) -> None:
    sdk = run()["SDK"]
    assert sdk.state == "ok"
    assert f"codeocean {version('codeocean')}" in sdk.text
    assert f"Code Ocean {CodeOcean.MIN_SERVER_VERSION}" in sdk.text


@pytest.mark.parametrize(
    ("variable", "value", "without"),
    [
        ("CODE_OCEAN_DOMAIN", "https://user:Secret0Password@co.example.org", {"token", "domain"}),
        ("AIND_SESSION_DOCDB_HOST", "api.example.org:port", {"DocDB v1", "DocDB v2"}),
        ("AIND_SESSION_BUCKETS", "a bucket", {"bucket"}),
        ("AIND_SESSION_ATTEMPTS", "tow", {"token", "domain", "DocDB v1", "DocDB v2", "bucket"}),
        ("AIND_SESSION_RIG_TIME_ZONE", "Pacific", set()),
    ],
)
def test_doctor_reports_an_invalid_setting_once(
    variable: str, value: str, without: set[str], box: Sandbox, here: Here
) -> None:
    remote = {"token", "domain", "DocDB v1", "DocDB v2", "bucket"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, value)
        done = here("doctor", "--json")
        shown = here("doctor").stdout
    found = json.loads(done.stdout)
    assert done.returncode == 1
    failed = [one for one in found if one["state"] == "fail"]
    assert [one["check"] for one in failed if variable in one["text"]] == ["setting"]
    assert {one["check"] for one in found} & remote == remote - without
    assert "bug" not in shown
    assert "Secret0Password" not in done.stdout + done.stderr + shown


@pytest.mark.parametrize(
    ("variable", "value"), [("AWS_ENDPOINT_URL_S3", "'x'"), ("AWS_DEFAULT_REGION", "us west 2")]
)
def test_doctor_reports_an_invalid_aws_setting(variable: str, value: str, box: Sandbox) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, value)
        found = run()
    assert {name for name, check in found.items() if check.state == "fail"} == {
        "bucket",
        "AWS credentials",
    }
    assert variable in found["bucket"].text
    assert "bug" not in found["bucket"].next


def test_doctor_with_an_unsendable_token_does_not_show_it(box: Sandbox, here: Here) -> None:
    env = {"CODE_OCEAN_API_TOKEN": "cop_canary0\u200bcanary0canary0"}
    done = here("--debug", "doctor", env=env)
    assert "contains an invisible character" in done.stdout
    assert "bug" not in done.stdout
    assert "canary0" not in done.stdout + done.stderr


@pytest.mark.skipif(os.name == "nt", reason="variables have no case there")
def test_doctor_mentions_variables_in_the_wrong_case_and_unreadable_files(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("Aind_Session_Timeout", "5")
    settings.forget()
    with pytest.warns(SettingsWarning, match=".env"):
        settings.current()
    checks = [c for c in doctor.run_all() if c.check == "setting"]
    assert [c.state for c in checks] == ["warn", "warn"]
    assert "Aind_Session_Timeout in the environment is ignored" in checks[0].text
    assert checks[0].next == "Rename it to AIND_SESSION_TIMEOUT."
    assert str(tmp_path / ".env") in checks[1].text


def test_doctor_offline_reports_the_network_once(box: Sandbox) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CODE_OCEAN_DOMAIN", "AIND_SESSION_DOCDB_HOST", "AWS_ENDPOINT_URL_S3"):
            # Nothing listens at port 1.
            patch.setenv(name, "http://127.0.0.1:1")
        patch.setenv("AIND_SESSION_ATTEMPTS", "1")
        checks = doctor.run_all()
    assert [check.check for check in checks if check.state == "fail"] == ["network"]
    assert "no service can be reached" in next(c.text for c in checks if c.state == "fail")
