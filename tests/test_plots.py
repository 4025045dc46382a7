"""Figures: what they draw equals the tables, for any number of sessions."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import aind_session
from aind_session import plots
from aind_session.errors import MissingExtraError, PartialAnswerWarning
from aind_session.sandbox import Sandbox

matplotlib: Any = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    matplotlib.use("Agg")
    yield
    # A test that nothing was drawn in before may not have loaded it.
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


def draw(ax: Any) -> int:
    """Draw the figure for real; a warning of matplotlib is an error here."""
    file = io.BytesIO()
    ax.figure.savefig(file, format="png")
    return len(file.getvalue())


def texts_of(legend: Any) -> set[str]:
    return {text.get_text() for text in legend.get_texts()} if legend else set()


@pytest.mark.usefixtures("bundled")
def test_timeline_has_a_mark_for_each_session() -> None:
    sessions = aind_session.get_sessions(999999)
    subject = aind_session.Subject(999999)
    for given in (999999, "999999", subject, sessions, list(sessions)):
        ax: Any = plots.subject_timeline(given)
        assert sum(len(marks.get_offsets()) for marks in ax.collections) == len(sessions)
        names = [label.get_text() for label in ax.get_yticklabels()]
        assert names == ["behavior", "ecephys", "multiplane-ophys", "unknown"]
    assert draw(ax)


@pytest.mark.usefixtures("bundled")
def test_timeline_marks_show_states() -> None:
    ax: Any = plots.subject_timeline(676909)
    assert texts_of(ax.get_legend()) == {"with results (1)", "raw only (3)"}
    ax = plots.subject_timeline(999999, label="sorted")
    sessions = aind_session.get_sessions(999999)
    table = sessions.to_pandas(["uploaded", "result:sorted"])
    up = table[table["uploaded"]]["result:sorted"]
    wanted = {f"{state} ({n})" for state, n in up.value_counts().items()}
    if missing := int((~table["uploaded"]).sum()):
        wanted.add(f"not uploaded ({missing})")
    assert texts_of(ax.get_legend()) == wanted
    assert {"good (2)", "failed (1)"} <= wanted


def test_timeline_without_label_sends_no_request_per_session(cold: Sandbox) -> None:
    sessions = aind_session.get_sessions(999999)
    sessions.to_pandas(["n_assets"])
    before = cold.count()
    plots.subject_timeline(sessions)
    assert cold.count() == before


def test_timeline_sessions_of_one_day_are_apart(sandbox: Sandbox) -> None:
    for hour in (9, 12, 15):
        sandbox.add_session(f"ecephys_888888_2024-03-01_{hour:02}-00-00", generation=None)
    sandbox.add_session("ecephys_888888_2024-06-01_09-00-00", generation=None)
    ax: Any = plots.subject_timeline(888888)
    heights = [y for marks in ax.collections for _, y in marks.get_offsets()]
    assert sorted(round(float(y), 2) for y in heights) == [-0.21, 0.0, 0.0, 0.21]


@pytest.mark.usefixtures("bundled")
def test_coverage_equals_the_table() -> None:
    sessions = aind_session.get_sessions([676909, 999999])
    labels = ["sorted", "nwb"]
    ax: Any = plots.coverage(sessions, labels)
    table = sessions.to_pandas([f"result:{label}" for label in labels])
    colours = {"good": plots.BLUE, "failed": plots.ORANGE, "never": plots.PALE}
    wanted = {
        (x, y): colours[table.iloc[y, x]] for x in range(len(labels)) for y in range(len(sessions))
    }
    drawn = {
        (round(cell.get_x() + 0.46), round(cell.get_y() + 0.42)): matplotlib.colors.to_hex(
            cell.get_facecolor()
        ).lower()
        for cell in ax.patches
    }
    assert drawn == {place: colour.lower() for place, colour in wanted.items()}
    assert len(ax.texts) == int((table == "failed").to_numpy().sum()), "failed has a sign, too"
    assert [t.get_text() for t in ax.get_yticklabels()] == [s.id for s in sessions]
    good = int((table["result:sorted"] == "good").sum())
    assert ax.get_xticklabels()[0].get_text() == f"sorted  {good}/{len(sessions)}"
    assert draw(ax)


@pytest.mark.usefixtures("bundled")
def test_coverage_without_labels_has_all() -> None:
    sessions = aind_session.get_sessions(999999)
    ax: Any = plots.coverage(sessions)
    names = [label.get_text().split("  ")[0] for label in ax.get_xticklabels()]
    assert names == [n.partition(":")[2] for n in sessions.to_pandas(["results"]).columns]
    assert [t.get_text() for t in plots.coverage(sessions, "sorted").get_xticklabels()] == [
        "sorted  2/9"
    ]


def test_plots_unknown_results_are_not_shown_as_never(cold: Sandbox) -> None:
    sessions = aind_session.get_sessions(999999, platform="ecephys")
    sessions.prefetch()
    cold.fail("s3", times=None, status=403, body="<Error><Code>AccessDenied</Code></Error>")
    cold.fail("codeocean", path="files", times=None, status=400)
    cold.fail("codeocean", path="computations", times=None, status=400)
    with pytest.warns(PartialAnswerWarning, match="`result:sorted`"):
        ax: Any = plots.coverage(sessions, ["sorted"])
    assert "unknown (3)" in texts_of(ax.get_legend())
    with pytest.warns(PartialAnswerWarning, match="`result:sorted`"):
        ax = plots.subject_timeline(sessions, label="sorted")
    assert "unknown (3)" in texts_of(ax.get_legend())


@pytest.mark.usefixtures("bundled")
def test_plots_draw_into_given_axes() -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    assert plots.subject_timeline(676909, left) is left
    assert plots.coverage(aind_session.get_sessions(676909), ["sorted"], right) is right
    assert plt.get_fignums() == [figure.number]


@pytest.mark.usefixtures("bundled")
def test_plots_of_no_or_one_session_are_drawn() -> None:
    one = aind_session.get_sessions(668759)
    assert draw(plots.subject_timeline([]))
    assert draw(plots.coverage([], ["sorted"]))
    assert draw(plots.coverage(one, []))
    plots.coverage([])
    plots.subject_timeline(one)


@pytest.mark.usefixtures("bundled")
def test_plots_of_many_sessions_label_days() -> None:
    one = aind_session.Session("ecephys_668759_2023-07-11_13-07-32")
    ax: Any = plots.coverage([one] * 90, ["sorted"])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert len(names) == 45
    assert set(names) == {"2023-07-11"}


def test_plots_without_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(MissingExtraError, match=r"aind-session\[plots\]"):
        plots.subject_timeline(676909)
    with pytest.raises(ImportError, match="coverage"):
        plots.coverage([])
