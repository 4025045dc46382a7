"""Tables of sessions: a row a session, columns by name, each with its cost.

==================  =================================================================  =========
column              what is in it                                                      cost
==================  =================================================================  =========
``id``              session ID                                                         none
``subject``         subject's ID                                                       none
``platform``        first part of the name, else what records tell                     records
``date``            date in the name, `YYYY-MM-DD`                                     none
``time``            time in the name, `HH:MM:SS`                                       none
``dt``              both, as a date-time                                               none
``genotype``        subject's genotype                                                 records
``sex``             subject's sex                                                      records
``date_of_birth``   subject's date of birth                                            records
``age_days``        subject's age on the day of the session, in days                   records
``project``         project's name                                                     records
``session_type``    what the session was called by who acquired it                     records
``modalities``      abbreviations of modalities, as the raw record tells them          records
``location``        folder of the raw files, as the raw record tells it                records
``uploaded``        a raw data asset, or a raw record with a folder                    assets
``raw_asset_id``    ID of the raw data asset                                           assets
``raw_asset_name``  its name                                                           assets
``folder``          folder of the raw files, by record or raw data asset               assets
``n_assets``        number of data assets                                              assets
``derived``         a column ``derived:LABEL`` for each label that was found           assets
``derived:LABEL``   name of the newest derived asset of a label, its spellings joined  assets
``sorted``          a sorted data asset that did not fail                              sorting
``results``         a column ``result:LABEL`` for each label that was found            results
``result:LABEL``    `good`, `failed` or `never`, by the assets of a label              results
==================  =================================================================  =========

Where a session's own records do not tell of the subject, another session's do. What could not be
found out because a service did not answer is None in the columns `sorted` and `result:LABEL`, with
a `PartialAnswerWarning`.

Costs, where nothing is known yet. *Records*: 1 request for each 100 subjects and generation.
*Assets*: 1 for each subject (of more than 30, for each 25) and 3 for each 100 of them, further
pages, and 1 for each data asset that only a record links. *Sorting*: assets, and about 4 for each
session with a sorted asset. *Results*: assets, and 2 for each asset of the label, the newest
first, until a good one is found.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aind_session import derived
from aind_session.errors import InvalidFilterError
from aind_session.identifiers import SessionID
from aind_session.lookup import assets, belonging, cohort, folders, platform, results, trail
from aind_session.lookup.assets import Known
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import Assets, Rows
from aind_session.progress import progress as showing
from aind_session.records import Record
from aind_session.services import pool
from aind_session.services.models import AssetSummary


class Told:
    """The answers of some sparse records, each question put once."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._answers: dict[str, Any] = {}

    @cached_property
    def _records(self) -> list[Record]:
        """The records: raw ones first, 1.x before 2.x."""
        ordered = sorted(
            self._rows, key=lambda r: (not belonging.named(r.name).is_raw, r.generation)
        )
        return [row.record for row in ordered]

    def told(self, question: str) -> Any:
        """Give the first answer that a record has to a question."""
        if question not in self._answers:
            answers = (getattr(record, question) for record in self._records)
            told = (answer for answer in answers if answer is not None and answer != ())
            self._answers[question] = next(told, None)
        return self._answers[question]


@dataclass
class Line:
    """What a table knows of one session."""

    session: SessionID
    known: Known
    #: The records of the subject, its other sessions' included: one object for all their lines.
    of_subject: Told
    is_sorted: bool | None = None

    @cached_property
    def records(self) -> Told:
        """The session's records."""
        return Told(self.known.rows)

    def told(self, question: str) -> Any:
        """Give what the session's records answer to a question."""
        return self.records.told(question)

    def told_of_subject(self, question: str) -> Any:
        """Give what the session's records, else the subject's, answer to a question."""
        own = self.told(question)
        return self.of_subject.told(question) if own is None else own

    @property
    def age_days(self) -> int | None:
        """The subject's age on the day of the session, in days."""
        born = self.told_of_subject("date_of_birth")
        return None if born is None else (self.session.dt.date() - born).days

    @cached_property
    def raw_asset(self) -> AssetSummary | None:
        """The raw data asset."""
        return assets.choose_raw(self.known.assets)

    @property
    def location(self) -> str | None:
        """The folder that a raw record tells."""
        folder = folders.location(self.known.rows)
        return str(folder) if folder else None

    @property
    def folder(self) -> str | None:
        """The folder that a raw record or the raw data asset tells."""
        if self.location:
            return self.location
        folder = folders.of_asset(self.raw_asset) if self.raw_asset else None
        return str(folder) if folder else None

    @cached_property
    def of_label(self) -> dict[str, Assets]:
        """The derived assets of each label, ascending by creation."""
        return derived.by_label(self.known.assets)

    def newest(self, label: str) -> str | None:
        """Return the name of the newest derived asset of a label."""
        found = derived.labelled(self.of_label, label)
        if len(found) > 1:
            trail.tell(
                "%s has %d derived data assets with the label %s: the newest, %s, is in the table",
                *(self.session.id, len(found), label, found[-1].name),
            )
        return found[-1].name if found else None


@dataclass(frozen=True)
class Column:
    """A column: how it is read from a line, what must be known for it, the type of its values."""

    read: Callable[[Line], Any]
    cost: str = "none"
    kind: Any = str


def _list(values: tuple[str, ...] | None) -> list[str]:
    return list(values or ())


COLUMNS: dict[str, Column] = {
    "id": Column(lambda line: line.session.id),
    "subject": Column(lambda line: line.session.subject_id),
    "platform": Column(
        lambda line: line.session.platform or platform.of_known(line.known),
        "records",
    ),
    "date": Column(lambda line: line.session.date),
    "time": Column(lambda line: line.session.time),
    "dt": Column(lambda line: line.session.dt, kind=datetime.datetime),
    "genotype": Column(lambda line: line.told_of_subject("genotype"), "records"),
    "sex": Column(lambda line: line.told_of_subject("sex"), "records"),
    "date_of_birth": Column(
        lambda line: line.told_of_subject("date_of_birth"), "records", datetime.date
    ),
    "age_days": Column(lambda line: line.age_days, "records", int),
    "project": Column(lambda line: line.told("project"), "records"),
    "session_type": Column(lambda line: line.told("session_type"), "records"),
    "modalities": Column(lambda line: _list(line.told("modalities")), "records", list[str]),
    "location": Column(lambda line: line.location, "records"),
    "uploaded": Column(lambda line: bool(line.raw_asset or line.location), "assets", bool),
    "raw_asset_id": Column(lambda line: line.raw_asset.id if line.raw_asset else None, "assets"),
    "raw_asset_name": Column(
        lambda line: line.raw_asset.name if line.raw_asset else None, "assets"
    ),
    "folder": Column(lambda line: line.folder, "assets"),
    "n_assets": Column(lambda line: len(line.known.assets), "assets", int),
    "sorted": Column(lambda line: line.is_sorted, "sorting", bool),
}

#: What a table shows if nothing else is asked for: columns whose cost is small.
CHEAP = (
    *("id", "subject", "platform", "date", "time"),
    *("genotype", "project", "session_type", "modalities", "location"),
)


def table(
    sessions: Sequence[SessionID], columns: Iterable[str] | None, progress: bool = True
) -> dict[str, list[Any]]:
    """Read columns of some sessions, each asked for once for all of them.

    Parameters
    ----------
    sessions
        A row for each, in this order.
    columns
        Names of columns; None for the cheap ones.
    progress
        Show a bar for what is asked of each session.

    Returns
    -------
    dict of str to list
        Values by column, in the order asked for.

    Raises
    ------
    InvalidFilterError
        There is no such column (a `ValueError`).
    """
    names = [columns] if isinstance(columns, str) else list(CHEAP if columns is None else columns)
    costs = {_cost(name) for name in names}
    lines = _lines(sessions, costs, progress)
    result: dict[str, list[Any]] = {}
    for name in names:
        if name == "derived":
            for label in _labels(lines):
                result[f"derived:{label}"] = [line.newest(label) for line in lines]
        elif name == "results":
            for label in _labels(lines):
                result[f"result:{label}"] = _statuses(lines, label, progress)
        elif name.startswith("result:"):
            result[name] = _statuses(lines, name.removeprefix("result:"), progress)
        elif name.startswith("derived:"):
            wanted = name.removeprefix("derived:")
            result[name] = [line.newest(wanted) for line in lines]
        else:
            result[name] = [COLUMNS[name].read(line) for line in lines]
    return result


def kinds_of_empty(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Give the type of each column that has no value to tell it by."""
    return {
        name: COLUMNS[name].kind if name in COLUMNS else str
        for name, values in columns.items()
        if all(value is None for value in values)
    }


def _cost(name: str) -> str:
    if not isinstance(name, str):
        raise InvalidFilterError(f"{name!r} is no name of a column.")
    if name in ("derived", "results") or name.startswith(("derived:", "result:")):
        return "assets"
    if name not in COLUMNS:
        known = (*COLUMNS, "derived", "derived:LABEL", "results", "result:LABEL")
        longer = [one for one in known if name and one.startswith(name)]
        near = longer or difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
        raise InvalidFilterError(f"No column is called {name!r}: {hint}")
    return COLUMNS[name].cost


def _lines(sessions: Sequence[SessionID], costs: set[str], progress: bool) -> list[Line]:
    if costs & {"assets", "sorting"}:
        known = cohort.known(sessions)
    elif "records" in costs and sessions:
        known = cohort.recorded(sessions)
    else:
        known = dict.fromkeys(sessions, Known((), (), Gaps("")))
    subjects = {s.subject_id: Told(known[s].of_subject) for s in sessions}
    lines = [Line(s, known[s], subjects[s.subject_id]) for s in sessions]
    if "sorting" in costs:
        _fill_sorted(lines, progress)
    return lines


def _of_each(
    lines: list[Line], ask: Callable[[Line], Any], what: str, progress: bool
) -> list[pool.Outcome[Any]]:
    with showing(len(lines), what, progress) as bar:

        def told(line: Line) -> Any:
            try:
                return ask(line)
            finally:
                bar.update()

        return pool.outcomes(*(lambda n=line: told(n) for line in lines))


def _fill_sorted(lines: list[Line], progress: bool) -> None:
    found = _of_each(lines, lambda line: results.why_sorted(line.session)[0], "sorted", progress)
    gaps = Gaps("values of the column `sorted`")
    for line, outcome in zip(lines, found, strict=True):
        line.is_sorted = gaps.fill(None, outcome, None)
    gaps.warn()


def _labels(lines: list[Line]) -> list[str]:
    return sorted({label for line in lines for label in line.of_label if label})


def _statuses(lines: list[Line], label: str, progress: bool) -> list[str | None]:
    """Tell of each line whether a label's run is good; None where that could not be found out."""
    found = _of_each(
        lines,
        lambda line: derived.status(derived.labelled(line.of_label, label)),
        f"result:{label}",
        progress,
    )
    gaps = Gaps(f"values of the column `result:{label}`")
    statuses = [gaps.fill(None, outcome, None) for outcome in found]
    gaps.warn()
    return statuses


def as_rows(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Turn columns into rows, for what is written line by line."""
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
