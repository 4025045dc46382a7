"""The command, in processes of its own, against the sandbox of this one."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import aind_session
from aind_session.sandbox import Catalogue, Sandbox
from cli_calls import COMMAND, RAW_ID, SESSION, Here, call, environment, error_of
from rows import shortest_row

#: Small limits, where a service is made to fail.
IMPATIENT = {"AIND_SESSION_TIMEOUT": "1", "AIND_SESSION_ATTEMPTS": "1"}
NO_TOKEN = {"CODE_OCEAN_API_TOKEN": None}


@pytest.fixture(scope="module")
def serving() -> Iterator[Sandbox]:
    with aind_session.sandbox() as box:
        yield box


@pytest.fixture
def box(serving: Sandbox) -> Iterator[Sandbox]:
    serving.reset()
    yield serving
    serving.heal()


# -- show ------------------------------------------------------------------------------------------


def test_show_session_writes_its_facts(box: Sandbox) -> None:
    done = call("show", SESSION)
    assert (done.returncode, done.stderr) == (0, "")
    title, *lines = done.stdout.split("\n\n")[0].splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines if "raw asset" not in line)
    assert title == SESSION
    assert facts == {
        "platform": "ecephys",
        "subject": "676909",
        "time": "2023-12-13 13:43:40",
        "uploaded": "yes",
        "folder": f"s3://aind-ephys-data/{SESSION}",
        "modalities": "behavior, behavior-videos, ecephys",
        "project": facts["project"],
        "genotype": "Pvalb-IRES-Cre/wt;Ai32(RCL-ChR2(H134R)_EYFP)/wt",
        "metadata": "DocDB v1",
        "sorted": f"yes, the newest of 2 is {SESSION}_sorted_2024-03-01_16-02-45",
        "assets": facts["assets"],
    }
    assert f"raw asset   {RAW_ID}" in done.stdout
    assets = [a for a in box.catalogue.data_assets if a["name"].startswith(SESSION)]
    assert facts["assets"] == str(len(assets))
    # A line for each label, none of them cut off, however narrow the terminal would be.
    names, *table = done.stdout.split("\n\n")[1].splitlines()
    assert names.split() == ["label", "assets", "newest", "created"]
    assert sum(int(line.split()[1]) for line in table) == len(assets)
    shown = {line.split()[2] for line in table}
    assert shown <= {asset["name"] for asset in assets}


def test_show_json_has_every_fact(box: Sandbox, here: Here) -> None:
    done = here("show", SESSION, "--json")
    value = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert value["id"] == SESSION
    assert value["is_uploaded"] is True
    assert value["raw_data_asset"]["id"] == RAW_ID
    assert value["modalities"] == ["behavior", "behavior_videos", "ecephys"]
    assert value["sorting"]["is_sorted"] is True
    assert {"label": "sorted", "count": 2} in [
        {"label": one["label"], "count": one["count"]} for one in value["data_assets"]["labels"]
    ]
    assert value["unknown"] == value["may_be_missing"] == {}


def test_show_csv_is_one_row(box: Sandbox, here: Here) -> None:
    done = here("show", f"/data/{SESSION}_sorted/x.nwb", "--csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["id"] == SESSION
    assert (row["is_uploaded"], row["sorting"]) == ("true", "true")
    assert row["raw_data_asset"] == RAW_ID
    assert row["modalities"] == "behavior;behavior_videos;ecephys"


def test_show_subject_lists_its_sessions(box: Sandbox, here: Here) -> None:
    done = here("show", "676909")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("676909\n")
    assert "sessions       4" in done.stdout
    assert SESSION in done.stdout


def test_show_session_sends_few_requests(box: Sandbox, here: Here) -> None:
    row = shortest_row(box, lambda: here("show", SESSION), 3)
    # The session's five attributes (4), its record (2), and the newest sorting (2).
    assert box.count() <= 8
    assert row <= 3


def test_show_unknown_session_suggests_the_nearest(box: Sandbox, here: Here) -> None:
    done = here("show", SESSION.replace("43-40", "43-41"))
    line, advice = error_of(done)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Did you mean {SESSION}" in line
    assert advice == "Try: aind-session list 676909"


def test_show_unknown_subject_is_not_found(box: Sandbox, here: Here) -> None:
    done = here("show", "123456")
    line, _ = error_of(done)
    assert done.returncode == 1
    assert "123456" in line


def test_show_without_token_shows_what_other_services_have(box: Sandbox, here: Here) -> None:
    done = here("show", SESSION, env=NO_TOKEN)
    assert done.returncode == 0
    assert f"folder      s3://aind-ephys-data/{SESSION}" in done.stdout
    assert "genotype    Pvalb" in done.stdout
    assert "assets      unknown" in done.stdout
    (reason,) = [line for line in done.stdout.splitlines() if "CODE_OCEAN_API_TOKEN" in line]
    assert reason.startswith("Unknown: raw asset, sorted, assets")
    value = json.loads(here("show", SESSION, "--json", env=NO_TOKEN).stdout)
    assert set(value["unknown"]) == {"raw_data_asset", "sorting", "data_assets"}


def test_show_with_a_service_down_lists_what_is_missing(box: Sandbox, here: Here) -> None:
    with box.down("docdb"):
        done = here("show", SESSION, env=IMPATIENT)
    assert done.returncode == 0
    assert RAW_ID in done.stdout
    assert "genotype    unknown" in done.stdout
    assert "DocDB answered 503" in done.stdout.splitlines()[-1]


def test_show_with_all_services_down_is_unknown(box: Sandbox, here: Here) -> None:
    box.fail(times=None)
    done = here("show", SESSION, env=IMPATIENT)
    line, advice = error_of(done)
    assert (done.returncode, done.stdout) == (3, "")
    assert "503" in line
    assert advice == "Try: aind-session doctor"


@pytest.mark.parametrize("options", [(), ("--json",), ("--csv",), ("--debug",)])
def test_names_with_control_characters_are_escaped(
    box: Sandbox, here: Here, options: tuple[str, ...]
) -> None:
    asset = next(a for a in box.catalogue.data_assets if a["id"] == RAW_ID)
    # C0, C1, and an override of the direction of text.
    name = f"{SESSION}_\x1b[31mred\r\n\x9b\u202e_2030-01-01_00-00-00"
    evil = {**asset, "id": "evil-1", "name": name, "tags": [], "created": 2e9}
    box.catalogue.data_assets.append(evil)
    box.fail("docdb", status=500, times=None, body="\x1b]0;title\x07\u202e")
    try:
        done = here("show", SESSION, *options, env={"AIND_SESSION_ATTEMPTS": "1"})
    finally:
        box.catalogue.data_assets.remove(evil)
    assert done.returncode == 0
    for text in (done.stdout, done.stderr):
        assert text.replace("\n", "").isprintable()
    if options == ("--json",):
        labels = json.loads(done.stdout)["data_assets"]["labels"]
        assert name in [one["newest"]["name"] for one in labels]
    elif options != ("--csv",):
        assert "\\x1b[31mred\\r\\n\\x9b\\u202e" in done.stdout


# -- list ------------------------------------------------------------------------------------------


def test_list_subjects_writes_their_sessions(box: Sandbox, here: Here) -> None:
    done = here("list", "676909", "668759", "--columns", "id,subject,n_assets")
    names, *lines = done.stdout.splitlines()
    assert names.split() == ["id", "subject", "n_assets"]
    expected = aind_session.get_sessions([676909, 668759])
    assert [line.split()[0] for line in lines] == [session.id for session in expected]
    width = max(len(session.id) for session in expected)
    assert [line[width + 2 :].split()[0] for line in lines] == [s.subject_id for s in expected]


def test_list_filters_select_in_json_and_csv(box: Sandbox, here: Here) -> None:
    filters = ("--platform", "ecephys", "--start", "2023-12", "--end", "2023-12-13")
    done = here("list", *filters, "--json")
    rows = json.loads(done.stdout)
    assert [row["id"][-19:-9] for row in rows] == ["2023-12-11", "2023-12-13"]
    assert rows[0]["modalities"] == ["behavior", "behavior-videos", "ecephys"]
    done = here("list", "676909", *filters, "--csv", "--columns", "id,uploaded,derived:sorted")
    csv_rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["id"] for row in csv_rows] == [row["id"] for row in rows]
    assert csv_rows[1]["uploaded"] == "true"
    assert csv_rows[1]["derived:sorted"].endswith("_sorted_2024-03-01_16-02-45")


def test_list_without_a_match_is_not_found(box: Sandbox, here: Here) -> None:
    done = here("list", "123456", "--json")
    error_of(done)
    assert (done.returncode, json.loads(done.stdout)) == (1, [])


def test_list_reasons_of_failures_are_one_line(box: Sandbox, here: Here) -> None:
    with box.down("docdb", status=400), box.down("s3", status=400):
        done = here("show", SESSION, env=NO_TOKEN)
    assert done.returncode == 3
    line, _ = error_of(done)
    assert "No Code Ocean token" in line
    assert "; DocDB answered 400" in line
    assert ".;" not in line


def test_list_without_token_notes_what_may_be_missing(box: Sandbox, here: Here) -> None:
    done = here("list", "676909", env=NO_TOKEN)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 5
    (note,) = done.stderr.splitlines()
    assert note.startswith("note: Code Ocean failed (No Code Ocean token")


# -- explain and open ------------------------------------------------------------------------------


def test_explain_lists_requests_and_answers(box: Sandbox, here: Here) -> None:
    done = here("explain", SESSION)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{SESSION}\n")
    assert f"raw data asset: {RAW_ID}" in done.stdout
    value = json.loads(here("explain", SESSION, "--json").stdout)
    steps = [step for lookup in value["lookups"] for step in lookup["steps"]]
    assert {"Code Ocean", "DocDB", "S3"} <= {step["service"] for step in steps}


def test_open_prints_and_opens_the_page(box: Sandbox, here: Here, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = f"{sys.executable} -c \"open(r'{opened}','w').write('%s')\""
    page = f"{box.urls['codeocean']}/data-assets/{RAW_ID}\n"
    done = here("open", SESSION, "--print", env={"BROWSER": browser})
    assert (done.returncode, done.stdout, done.stderr) == (0, page, "")
    assert not opened.exists()
    done = here("open", RAW_ID, env={"BROWSER": browser})
    assert (done.returncode, done.stdout) == (0, page)
    assert opened.read_text() == page.strip()
    done = here("open", SESSION, "--print", env=NO_TOKEN)
    assert done.returncode == 3
    assert "CODE_OCEAN_API_TOKEN" in error_of(done)[0]


# -- pipes, signals, the command itself ------------------------------------------------------------


@pytest.mark.parametrize("verb", [("explain", SESSION), ("--help",)])
def test_output_reader_that_leaves_raises_nothing(box: Sandbox, verb: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [*COMMAND, *verb], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


#: A shell that runs the suite in the background has its children ignore interrupts.
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from aind_session.cli import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("verb", "sent"),
    [
        (("show", SESSION), {"docdb": 2, "codeocean": 1}),
        (("doctor",), {"docdb": 2, "codeocean": 2}),
    ],
)
def test_commands_interrupted_exit_with_130(
    box: Sandbox, verb: tuple[str, ...], sent: dict[str, int]
) -> None:
    box.fail(kind="hang", times=None)
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *verb],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment({"AIND_SESSION_TIMEOUT": "30"}),
    ) as process:
        until = time.monotonic() + 30
        # All requests are under way, so that no import is interrupted.
        while any(box.count(one) < n for one, n in sent.items()) and time.monotonic() < until:
            time.sleep(0.01)
        assert time.monotonic() < until
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (out, err) == (b"", b"Interrupted.\n")
    assert process.returncode == 130
    assert time.monotonic() - began < 5


def test_installed_script_runs() -> None:
    script = shutil.which("aind-session", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("the package is not installed")
    for command in ([script], [sys.executable, "-m", "aind_session"]):
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, timeout=60, env=environment()
        )
        assert done.stdout == f"aind-session {aind_session.__version__}\n"


def test_help_is_quick_and_loads_no_service() -> None:
    code = (
        "import sys\n"
        "from aind_session.cli import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'codeocean', 'requests', 'botocore', 'msgspec', 'upath', 'npc_session'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    took = []
    for _ in range(2):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        took.append(time.perf_counter() - began)
        assert done.returncode == 0, done.stderr
    # Three times the budget: other processes share the machine.
    assert min(took) < 3 * 0.5
    for verb in ("show", "list", "explain", "open", "doctor", "Exit codes: 0"):
        assert verb in done.stdout


def test_sandbox_option_serves_a_catalogue(tmp_path: Path) -> None:
    study = tmp_path / "study"
    other = SESSION.replace("676909", "121212")
    catalogue = Catalogue()
    catalogue.add_asset({"name": other, "tags": ["raw"], "state": "ready", "type": "dataset"})
    catalogue.save(study)
    done = call("--sandbox", "show", SESSION, "--json")
    assert json.loads(done.stdout)["raw_data_asset"]["id"] == RAW_ID
    done = call("show", other, "--json", "--sandbox", str(study))
    assert json.loads(done.stdout)["raw_data_asset"]["name"] == other


def test_sandbox_option_inside_another_sandbox_wins(box: Sandbox, tmp_path: Path) -> None:
    Catalogue().save(tmp_path)
    done = call("--sandbox", str(tmp_path), "open", SESSION, "--print")
    assert done.returncode == 1
    assert error_of(done)[1].startswith(f"Try: aind-session --sandbox={tmp_path} explain ")
    assert box.count() == 0


def test_debug_logs_requests_without_secrets(box: Sandbox, here: Here) -> None:
    canary = "cop_canaryCanary0canaryCanary0canary"
    done = here("--debug", "open", SESSION, env={"CODE_OCEAN_API_TOKEN": canary})
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "DEBUG aind_session" in done.stderr
    assert "RefusedTokenError" in done.stderr
    assert canary not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("shell", "typed", "offered", "other"),
    [
        ("bash", "ex", "explain", "doctor"),
        ("zsh", "ex", "explain", "doctor"),
        ("bash", "--sandbox ex", "explain", "doctor"),
        ("fish", "--sandbox ex", "explain", "doctor"),
        ("bash", "list --platform e", "exaSPIM", "behavior"),
        ("zsh", "list --platform ec", "ecephys", "exaSPIM"),
        ("fish", "list --modality b", "behavior-videos", "ecephys"),
        ("bash", "download x --modality e", "ecephys", "behavior"),
        ("bash", "run x --platform e", "exaSPIM", "behavior"),
        ("bash", "run x --modality e", "ecephys", "behavior"),
        ("bash", "list --columns gen", "genotype", "project"),
    ],
)
def test_completion_offers_commands_and_values(
    shell: str, typed: str, offered: str, other: str, here: Here
) -> None:
    typed = f"aind-session {typed}"
    env = {
        "_AIND_SESSION_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" ")),
        "_TYPER_COMPLETE_ARGS": typed,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    # No service is reached: values come from lists in the package.
    done = here(env=env)
    assert offered in done.stdout
    assert other not in done.stdout
