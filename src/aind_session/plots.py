"""Figures of sessions: a subject's timeline, and a cohort's coverage by results.

Drawn with matplotlib, the extra `plots`. Each function draws into axes that are given, or into new
axes, and returns them. The states differ in shape as well as in color, and the colors are distinct
for color-blind readers.
"""

from __future__ import annotations

import datetime
import importlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from aind_session.errors import MissingExtraError
from aind_session.session import Session
from aind_session.sessions import Sessions
from aind_session.subject import Subject
from aind_session.table import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["coverage", "subject_timeline"]

#: The largest number of sessions that a coverage matrix labels with their IDs, not only days.
NAMED = 60

#: The label of the row of sessions whose platform is not known.
UNKNOWN = "unknown"


class State(NamedTuple):
    """How a state is drawn: a marker in a timeline, a filled cell with a sign in a matrix."""

    marker: str
    face: str
    edge: str
    sign: str


# Okabe and Ito's colors for all kinds of color vision.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6b6b6b"
PALE = "#ececec"

STATES: Mapping[str, State] = {
    "good": State("o", BLUE, BLUE, ""),
    "failed": State("X", ORANGE, ORANGE, "\N{MULTIPLICATION SIGN}"),
    "never": State("s", "white", GREY, ""),
    "with results": State("o", BLUE, BLUE, ""),
    "raw only": State("s", "white", BLUE, ""),
    "not uploaded": State("v", "white", GREY, ""),
    "unknown": State("$?$", GREY, GREY, "?"),
}
_CELLS = {"good": BLUE, "failed": ORANGE, "never": PALE, "unknown": "white"}


def subject_timeline(
    subject_or_sessions: Subject | Iterable[Session] | str | int,
    ax: Axes | None = None,
    *,
    label: str | None = None,
) -> Axes:
    """Draw sessions along time, one row per platform, each marked with its processing state.

    Parameters
    ----------
    subject_or_sessions
        A subject, its ID, or sessions.
    ax
        Where to draw; new axes by default.
    label
        Mark whether there is a good result of this label ("sorted", "dlc-eye"): `good`, `failed` or
        `never`. By default each session is marked `with results`, `raw only` or `not uploaded`,
        which sends no request per session. What could not be looked up is `unknown`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed (an `ImportError`).
    InvalidIdentifierError
        It is not a valid subject ID (a `ValueError`).

    Examples
    --------
    >>> import aind_session
    >>> from aind_session import plots
    >>> ax = plots.subject_timeline(aind_session.Subject(676909))  # doctest: +SKIP
    """
    plt = _pyplot("subject_timeline()")
    given = subject_or_sessions
    of = Subject(given) if isinstance(given, str | int) else given
    sessions = of.sessions if isinstance(of, Subject) else Sessions(of)
    wanted = f"result:{label}" if label else "n_assets"
    columns = _columns(sessions, ["platform", "dt", "uploaded", "raw_asset_id", wanted])
    lanes = sorted({name or UNKNOWN for name in columns["platform"]})
    places: dict[str, list[tuple[Any, float]]] = {}
    rows = zip(*columns.values(), _offsets(columns["platform"], columns["dt"]), strict=True)
    for platform, dt, uploaded, raw, result, offset in rows:
        if uploaded is False:
            state = "not uploaded"
        elif label or result is None:
            state = result or "unknown"
        else:
            state = "with results" if result > (raw is not None) else "raw only"
        places.setdefault(state, []).append((dt, lanes.index(platform or UNKNOWN) + offset))
    if ax is None:
        ax = _new_axes(plt, (8.0, 1.0 + 0.55 * max(len(lanes), 1)))
    for state in (name for name in STATES if name in places):
        look = STATES[state]
        x, y = zip(*places[state], strict=True)
        style: dict[str, Any] = {
            "marker": look.marker,
            "facecolor": look.face,
            "edgecolor": look.edge,
        }
        ax.scatter(x, y, s=70, linewidth=1.3, label=f"{state} ({len(x)})", zorder=3, **style)
    ax.set_yticks(range(len(lanes)), lanes)
    ax.set_ylim(len(lanes) - 0.4, -0.6)
    ax.grid(axis="y", color=PALE, zorder=0)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    _date_ticks(ax)
    subjects = sorted({session.subject_id for session in sessions})
    of_many = f"{len(sessions)} sessions of {len(subjects)} subjects"
    title = f"Subject {subjects[0]}" if len(subjects) == 1 else of_many
    ax.set_title(f"{title}: {label}" if label else title, loc="left", fontsize="medium")
    _legend(ax, *ax.get_legend_handles_labels())
    return ax


def coverage(
    sessions: Iterable[Session],
    labels: Iterable[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw which sessions have which results: one row per session, one column per label.

    Parameters
    ----------
    sessions
        A row for each, in this order.
    labels
        Labels of derived data assets ("sorted", "dlc-eye"), in any spelling; by default all that
        are found. The requests are those of the column `result:LABEL` of a table.
    ax
        Where to draw; new axes by default.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. The number above each label is that of the sessions with a good result.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed (an `ImportError`).

    Examples
    --------
    >>> import aind_session
    >>> from aind_session import plots
    >>> cohort = aind_session.get_sessions(999999, platform="ecephys")
    >>> ax = plots.coverage(cohort, ["sorted", "nwb"])  # doctest: +SKIP
    """
    if isinstance(labels, str):
        labels = [labels]
    plt = _pyplot("coverage()")
    rows = Sessions(sessions)
    columns = _columns(rows, ["results"] if labels is None else [f"result:{n}" for n in labels])
    if ax is None:
        height = 1.1 + 0.26 * min(max(len(rows), 4), NAMED)
        ax = _new_axes(plt, (4.6 + 0.62 * max(len(columns), 2), height))
    states = [[status or "unknown" for status in column] for column in columns.values()]
    for x, column in enumerate(states):
        for y, state in enumerate(column):
            _cell(ax, x, y, state)
    ax.set_xlim(-0.5, max(len(columns), 1) - 0.5)
    ax.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    ax.xaxis.tick_top()
    names = [
        f"{name.removeprefix('result:')}  {column.count('good')}/{len(rows)}"
        for name, column in zip(columns, states, strict=True)
    ]
    ax.set_xticks(range(len(names)), names, rotation=40, ha="left", rotation_mode="anchor")
    step = -(-len(rows) // NAMED) or 1
    shown = range(0, len(rows), step)
    ids = [rows[i].id if step == 1 else rows[i].date for i in shown]
    ax.set_yticks(shown, ids, fontsize="small" if step == 1 else "x-small")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    found = Counter(state for column in states for state in column)
    drawn = [state for state in _CELLS if state in found]
    handles = [_patch(state) for state in drawn]
    _legend(ax, handles, [f"{state} ({found[state]})" for state in drawn])
    return ax


# -- what is drawn ---------------------------------------------------------------------------------


def _offsets(platforms: list[str | None], times: list[datetime.datetime]) -> list[float]:
    """Set sessions that would cover each other one below the other."""
    found = [0.0] * len(times)
    near = (max(times) - min(times)) * 0.03 if times else datetime.timedelta()
    last: dict[str | None, tuple[datetime.datetime, int]] = {}
    for i in sorted(range(len(times)), key=times.__getitem__):
        at, level = last.get(platforms[i], (None, -1))
        level = level + 1 if at is not None and times[i] - at < near else 0
        last[platforms[i]] = times[i], level
        found[i] = (0.0, -0.21, 0.21, -0.42, 0.42)[level % 5]
    return found


def _columns(sessions: Sessions, names: list[str]) -> dict[str, list[Any]]:
    return table([session._id for session in sessions], names)


# -- how it is drawn -------------------------------------------------------------------------------


def _pyplot(what: str) -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError.of("plots", what) from error
    return plt


def _new_axes(plt: Any, size: tuple[float, float]) -> Axes:
    axes: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return axes


def _date_ticks(ax: Axes) -> None:
    # By its path: matplotlib's own types leave these two out.
    dates: Any = importlib.import_module("matplotlib.dates")
    locator = dates.AutoDateLocator(minticks=3, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    ax.margins(x=0.06)


def _patch(state: str) -> Any:
    from matplotlib.patches import Patch

    edge = GREY if state == "unknown" else "none"
    return Patch(facecolor=_CELLS[state], edgecolor=edge)


def _cell(ax: Axes, x: int, y: int, state: str) -> None:
    from matplotlib.patches import Rectangle

    edge = GREY if state == "unknown" else "white"
    place = x - 0.46, y - 0.42
    ax.add_patch(Rectangle(place, 0.92, 0.84, facecolor=_CELLS[state], edgecolor=edge, lw=0.5))
    if sign := STATES[state].sign:
        color = "white" if state == "failed" else GREY
        ax.text(x, y, sign, ha="center", va="center_baseline", color=color, fontweight="bold")


def _legend(ax: Axes, handles: list[Any], labels: list[str]) -> None:
    if handles:
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
        ax.legend(handles, labels, frameon=False, fontsize="small", borderaxespad=0, **place)
