"""README and SECURITY: examples run, commands are those of CI, links and named tests exist."""

from __future__ import annotations

import doctest
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aind_session
from aind_session.sandbox import Sandbox
from rows import shortest_row

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
COMMANDS = [
    'pip install ".[sandbox]" && aind-session --sandbox show ecephys_676909_2023-12-13_13-43-40',
    'pip install -e ".[test]" && pytest',
]
REQUESTS, IN_A_ROW = 18, 10


def python_of(text: str) -> str:
    """Blank everything but the Python blocks, so that lines keep their numbers."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```python"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines) + "\n"


def examples() -> doctest.DocTest:
    text = python_of(README.read_text(encoding="utf-8"))
    return doctest.DocTestParser().get_doctest(text, {}, "README", str(README), 0)


@pytest.fixture
def _remove_new_namespaces() -> Iterator[None]:
    before = set(vars(aind_session.Session))
    yield
    for name in set(vars(aind_session.Session)) - before:
        delattr(aind_session.Session, name)


@pytest.mark.usefixtures("_remove_new_namespaces")
@pytest.mark.parametrize(
    ("server_version", "docdb_client"), [("", True), ("4.0.0", True), ("", False)]
)
def test_examples_print_what_they_show(
    server_version: str, docdb_client: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest supported server refuses requests that demand a newer one, as each SDK does.

    On Python 3.14, the client of DocDB cannot be installed.
    """
    if not docdb_client:
        for name in ("aind_data_access_api", "aind_data_access_api.document_db"):
            monkeypatch.setitem(sys.modules, name, None)
    output: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    with aind_session.sandbox(server_version=server_version):
        results = runner.run(examples(), out=output.append)
    assert not results.failed, "".join(output)
    assert results.attempted > 40


def test_readme_skips_only_the_lines_that_change_daily() -> None:
    skipped = [e.source.strip() for e in examples().examples if e.options.get(doctest.SKIP)]
    assert [line.partition("#")[0].strip() for line in skipped] == [
        "len(session.data_assets)",
        "latest_asset.name",
    ]
    assert README.read_text(encoding="utf-8").count("+SKIP") == 2


def test_skipped_lines_hold_for_the_bundled_catalogue(sandbox: Sandbox) -> None:
    output: list[str] = []
    session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    skipped = [e for e in examples().examples if e.options.get(doctest.SKIP)]
    globs = {
        "session": session,
        "latest_asset": session.ecephys.sorter.kilosort2_5.sorted_data_assets[-1],
    }
    for example in skipped:
        example.options = {}
    test = doctest.DocTest(skipped, globs, "README", str(README), 0, None)
    results = doctest.DocTestRunner(verbose=False).run(test, out=output.append)
    assert not results.failed, "".join(output)
    assert results.attempted == 2


def test_usage_sections_send_few_requests(sandbox: Sandbox) -> None:
    text = README.read_text(encoding="utf-8")
    usage = text[text.index("\n## Python\n") : text.index("\n## Metadata of")]
    test = doctest.DocTestParser().get_doctest(python_of(usage), {}, "usage", str(README), 0)

    def run() -> None:
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        assert not runner.run(test, out=lambda _: None, clear_globs=False).failed

    row = shortest_row(sandbox, run, IN_A_ROW)
    assert sandbox.count() <= REQUESTS
    assert row <= IN_A_ROW


def test_readme_has_each_command_on_its_own_line() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"pip install .+ && .+$", line)] == COMMANDS


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "grep -E '^pip install .+ && .+$' README.md" in script
    assert not any(command in script for command in COMMANDS), "a copy could differ from the README"


def test_relative_links_lead_to_existing_files() -> None:
    text = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_each_promise_about_secrets_names_existing_tests() -> None:
    rows = [
        line
        for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| promise")
    ]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(tests/\w+\.py)::(test_\w+)`", row)
        assert named, row
        for path, test in named:
            text = (ROOT / path).read_text(encoding="utf-8")
            assert f"def {test}(" in text, f"{path}::{test} does not exist"
