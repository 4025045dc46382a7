"""Progress bars: shown in a terminal or notebook after a second, silent elsewhere."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

import pytest

import aind_session
from aind_session import Sandbox
from aind_session import progress as module
from aind_session.lookup import evidence
from aind_session.progress import progress
from worlds import invent_cohort


class Terminal(io.StringIO):
    """A stream that passes for a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (38_412, "38.4 kB"),
        (999_960, "1.0 MB"),
        (12_345_678, "12.3 MB"),
        (2_500_000_000, "2.5 GB"),
        (1_234_000_000_000, "1.2 TB"),
        (1_234_000_000_000_000, "1,234.0 TB"),
    ],
)
def test_size_text_has_the_unit_that_fits(size: int, expected: str) -> None:
    assert module.size_text(size) == expected


def _terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # Not a fixture: between a test's setup and its call pytest puts its own streams back.
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("AIND_SESSION_PROGRESS", raising=False)
    return stream


def _show(shown: bool = True) -> None:
    with progress(3, "letters", shown) as bar:
        bar.update(3)


def test_progress_in_a_terminal_shows_a_bar_after_a_second_unless_turned_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = _terminal(monkeypatch)
    _show()
    monkeypatch.setattr(module, "DELAY", 0.0)
    _show(shown=False)
    monkeypatch.setenv("AIND_SESSION_PROGRESS", "0")
    _show()
    assert terminal.getvalue() == ""
    monkeypatch.delenv("AIND_SESSION_PROGRESS")
    _show()
    assert "letters" in terminal.getvalue()


def test_progress_in_a_pipe_shows_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "DELAY", 0.0)
    _show()
    monkeypatch.setattr(sys, "stderr", None)
    _show()
    monkeypatch.undo()
    assert capsys.readouterr().err == ""


def test_progress_in_a_notebook_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert module.is_watched()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not module.is_watched()


IN_A_NOTEBOOK = """
import sys, types

ipython = sys.modules["IPython"] = types.ModuleType("IPython")
shell = type("ZMQInteractiveShell", (), {"config": {"IPKernelApp": {}}})()
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")
ipython.get_ipython = lambda: shell
for name in ("ipywidgets", "IPython.html.widgets", "IPython.display", "IPython.html"):
    sys.modules[name] = None

from aind_session.progress import progress

with progress(3, "letters") as bar:
    bar.update(3)
"""


def test_progress_without_widgets_warns_of_nothing() -> None:
    command = [sys.executable, "-W", "always", "-c", IN_A_NOTEBOOK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "IProgress" not in done.stderr


@pytest.mark.parametrize("many", [3, 60])
def test_progress_of_a_search_of_many_subjects_advances(
    monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    terminal = _terminal(monkeypatch)
    monkeypatch.setattr(module, "DELAY", 0.0)
    subjects = [str(800_000 + n) for n in range(many)]
    with aind_session.sandbox(invent_cohort(many, 1, 1)) as box:
        assert len(aind_session.get_sessions(subjects)) == many
        assert f"subjects:   0%|          | 0/{many}" in terminal.getvalue()
        box.reset()
        moved: list[float] = []
        evidence.of_subjects(subjects, "", progress=moved.append)
        assert sum(moved) == many


def test_progress_of_bulk_methods_is_shown(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = _terminal(monkeypatch)
    monkeypatch.setattr(module, "DELAY", 0.0)
    sessions = aind_session.get_sessions(676909)
    sessions.prefetch()
    assert "prefetch" in terminal.getvalue()
    sessions.map(lambda session: session.id)
    assert "sessions" in terminal.getvalue()
    sessions.to_pandas(["sorted", "result:dlc-eye"])
    assert "sorted" in terminal.getvalue()
    assert "result:dlc-eye" in terminal.getvalue()
    length = len(terminal.getvalue())
    sessions.prefetch(progress=False)
    sessions.map(lambda session: session.id, progress=False)
    sessions.to_pandas(["sorted", "result:dlc-eye"], progress=False)
    sessions.to_polars(["sorted", "result:dlc-eye"], progress=False)
    assert len(terminal.getvalue()) == length
