"""Tables of sessions: one row per session, columns by name, each with its cost.

==================  =================================================================  =========
column              content                                                            cost
==================  =================================================================  =========
``id``              session ID                                                         none
``subject``         subject ID                                                         none
``platform``        first part of the name, else from records                          records
``date``            date in the name, `YYYY-MM-DD`                                     none
``time``            time in the name, `HH:MM:SS`                                       none
``dt``              both, as a date-time                                               none
``genotype``        subject's genotype                                                 records
``sex``             subject's sex                                                      records
``date_of_birth``   subject's date of birth                                            records
``age_days``        subject's age on the day of the session, in days                   records
``project``         name of the project                                                records
``session_type``    the experimenters' name for this kind of session                   records
``modalities``      abbreviations of modalities, from the raw record                   records
``location``        folder of the raw files, from the raw record                       records
``uploaded``        there is a raw data asset, or a raw record with a folder           assets
``raw_asset_id``    ID of the raw data asset                                           assets
``raw_asset_name``  its name                                                           assets
``folder``          folder of the raw files, from record or raw data asset             assets
``url``             Code Ocean page of the raw data asset                              assets
``n_assets``        number of data assets                                              assets
``derived``         name of the newest derived asset, whatever its label               assets
``derived:*``       one column ``derived:LABEL`` per label that was found              assets
``derived:LABEL``   name of the newest derived asset of a label, in any spelling       assets
``sorted``          there is a sorted data asset that did not fail                     sorting
``results``         one column ``result:LABEL`` per label that was found               results
``result:LABEL``    `good`, `failed` or `never`, by the assets of a label              results
==================  =================================================================  =========

If a session's own records do not describe the subject, another session's do.

A value that could not be looked up because a service failed is None, with a `PartialAnswerWarning`:
without Code Ocean, the columns that need data assets, unless another answer suffices (a folder on
record, a good or failed result among the assets that were found); without DocDB, those that need
records, `n_assets`, and whatever would mean that there is no asset (`never`, False in `uploaded`),
as an asset may be linked by a record only.

Costs, with nothing cached. *Records*: 1 request per 100 subjects and schema. *Assets*: 1 per
subject (with more than 30 subjects: 1 per 25) and 3 per 100 subjects, further pages, and 1 per data
asset that only a record links. *Sorting*: assets, and about 4 per session with a sorted asset.
*Results*: assets, and 2 per asset of the label, the newest first, until a good one is found.
"""

from __future__ import annotations

import datetime
import difflib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any, TypeVar

from aind_session.errors import InvalidFilterError
from aind_session.identifiers import SessionID
from aind_session.lookup import batch, folders, metadata, results, rules
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.failures import Failures
from aind_session.progress import progress as showing
from aind_session.query import CODE_OCEAN, DOCDB
from aind_session.records import Record
from aind_session.services.assets import Assets, asset_url
from aind_session.services.metadata import Records
from aind_session.services.models import AssetSummary
from aind_session.threads import outcomes
from aind_session.trace import note

T = TypeVar("T")
logger = logging.getLogger("aind_session")


class FirstValues:
    """The first value that some records have for a question, each read once."""

    def __init__(self, records: Records) -> None:
        self._summaries = records
        self._values: dict[str, Any] = {}

    @cached_property
    def _records(self) -> list[Record]:
        """The records: raw ones first, 1.x before 2.x."""
        return [summary.record for summary in metadata.in_order(self._summaries)]

    def get(self, question: str) -> Any:
        """Return the first value that a record has for a question, or None."""
        if question not in self._values:
            values = (getattr(record, question) for record in self._records)
            present = (value for value in values if value is not None and value != ())
            self._values[question] = next(present, None)
        return self._values[question]


@dataclass
class Row:
    """One session in a table, with its evidence."""

    session: SessionID
    evidence: Evidence
    #: The records of the subject, its other sessions' included: one object for all their rows.
    of_subject: FirstValues

    @cached_property
    def records(self) -> FirstValues:
        """The session's records."""
        return FirstValues(self.evidence.records)

    def drop_decoded(self) -> None:
        """Drop the decoded records; they are decoded again when they are needed."""
        vars(self).pop("records", None)

    def value(self, question: str) -> Any:
        """Return the value in the session's records."""
        return self.records.get(question)

    def subject_value(self, question: str) -> Any:
        """Return the value in the session's records, else in the subject's."""
        own = self.value(question)
        return self.of_subject.get(question) if own is None else own

    @property
    def platform(self) -> str | None:
        """The platform in the name, else from assets and records."""
        return self.session.platform or rules.platform_of(self.evidence)

    @property
    def age_days(self) -> int | None:
        """The subject's age on the day of the session, in days."""
        born = self.subject_value("date_of_birth")
        return None if born is None else (self.session.dt.date() - born).days

    def complete(self, value: T, *services: str) -> T | None:
        """Return a value that needs the whole answer of services; None if one of them failed."""
        return value if self.evidence.failures.errors.keys().isdisjoint(services) else None

    @cached_property
    def _found_raw(self) -> AssetSummary | None:
        return rules.choose_raw(self.evidence.assets)

    @property
    def raw_asset(self) -> AssetSummary | None:
        """The raw data asset."""
        return self.complete(self._found_raw, CODE_OCEAN)

    @property
    def modalities(self) -> list[str] | None:
        """The modalities in a raw record."""
        found = self.value("modalities")
        return list(found) if found else self.complete([], DOCDB)

    @property
    def uploaded(self) -> bool | None:
        """Whether there is a raw data asset, or a folder in a raw record."""
        return bool(self._found_raw or self.location) or self.complete(False, CODE_OCEAN, DOCDB)

    @property
    def n_assets(self) -> int | None:
        """The number of data assets."""
        return self.complete(len(self.evidence.assets), CODE_OCEAN, DOCDB)

    @property
    def url(self) -> str | None:
        """The Code Ocean page of the raw data asset."""
        return asset_url(self.raw_asset.id) if self.raw_asset else None

    @property
    def location(self) -> str | None:
        """The folder in a raw record."""
        folder = folders.location(self.evidence.records)
        return str(folder) if folder else None

    @property
    def folder(self) -> str | None:
        """The folder in a raw record, or of the raw data asset."""
        if self.location:
            return self.location
        folder = folders.of_asset(self.raw_asset) if self.raw_asset else None
        return str(folder) if folder else None

    @cached_property
    def by_label(self) -> dict[str, Assets]:
        """The derived assets of each label, ascending by creation."""
        return rules.by_label(self.evidence.assets)

    def newest(self, label: str | None = None) -> str | None:
        """Return the name of the newest derived asset of a label, or of any."""
        if label is None:
            found = rules.ascending(a for some in self.by_label.values() for a in some)
        else:
            found = rules.labelled(self.by_label, label)
            if len(found) > 1:
                note(
                    "%s has %d derived data assets with the label %s: the newest, %s, is used",
                    self.session.id,
                    len(found),
                    label,
                    found[-1].name,
                )
        return self.complete(found[-1].name, CODE_OCEAN) if found else None


@dataclass(frozen=True)
class Column:
    """A column: how its value is read, what it costs, the type of its values."""

    read: Callable[[Row], Any]
    cost: str = "none"
    kind: Any = str


COLUMNS: dict[str, Column] = {
    "id": Column(lambda row: row.session.id),
    "subject": Column(lambda row: row.session.subject_id),
    "platform": Column(lambda row: row.platform, "records"),
    "date": Column(lambda row: row.session.date),
    "time": Column(lambda row: row.session.time),
    "dt": Column(lambda row: row.session.dt, kind=datetime.datetime),
    "genotype": Column(lambda row: row.subject_value("genotype"), "records"),
    "sex": Column(lambda row: row.subject_value("sex"), "records"),
    "date_of_birth": Column(
        lambda row: row.subject_value("date_of_birth"), "records", datetime.date
    ),
    "age_days": Column(lambda row: row.age_days, "records", int),
    "project": Column(lambda row: row.value("project"), "records"),
    "session_type": Column(lambda row: row.value("session_type"), "records"),
    "modalities": Column(lambda row: row.modalities, "records", list[str]),
    "location": Column(lambda row: row.location, "records"),
    "uploaded": Column(lambda row: row.uploaded, "assets", bool),
    "raw_asset_id": Column(lambda row: row.raw_asset.id if row.raw_asset else None, "assets"),
    "raw_asset_name": Column(lambda row: row.raw_asset.name if row.raw_asset else None, "assets"),
    "folder": Column(lambda row: row.folder, "assets"),
    "url": Column(lambda row: row.url, "assets"),
    "n_assets": Column(lambda row: row.n_assets, "assets", int),
    "derived": Column(lambda row: row.newest(), "assets"),
    # Looked up for all rows together.
    "sorted": Column(lambda row: None, "sorting", bool),
}

#: The columns of a table by default: those whose cost is small.
CHEAP = (
    *("id", "subject", "platform", "date", "time", "dt"),
    *("genotype", "project", "session_type", "modalities", "location"),
)


def table(
    sessions: Sequence[SessionID],
    columns: Iterable[str] | None,
    progress: bool = True,
    hint: Callable[[str], object] = logger.warning,
) -> dict[str, list[Any]]:
    """Read columns of some sessions, with few requests for all of them.

    `hint` is called with a suggestion for each label that looks misspelled.
    """
    names = [columns] if isinstance(columns, str) else list(CHEAP if columns is None else columns)
    rows = _rows(sessions, {_cost(name) for name in names})
    result: dict[str, list[Any]] = {name: [] for name in names if name in COLUMNS}
    for row in rows:
        for name, values in result.items():
            values.append(COLUMNS[name].read(row))
        # Decoded, the records of thousands of sessions would take several times their JSON.
        row.drop_decoded()
    plain, result = result, {}
    for name in chain.from_iterable(_with_labels(name, rows) for name in names):
        kind, _, label = name.partition(":")
        if label and (
            text := rules.label_hint(label, chain.from_iterable(r.by_label for r in rows))
        ):
            hint(text)
        if kind == "result":
            result[name] = _look_up(rows, partial(_status, label), name, progress)
        elif kind == "sorted":
            result[name] = _look_up(rows, _is_sorted, name, progress)
        elif name in plain:
            result[name] = plain[name]
        else:
            result[name] = [row.newest(label) for row in rows]
    return result


def kinds_of_empty(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Return the type of each column that has no value to infer it from."""
    return {
        name: COLUMNS[name].kind if name in COLUMNS else str
        for name, values in columns.items()
        if all(value is None for value in values)
    }


def _cost(name: str) -> str:
    if not isinstance(name, str):
        raise InvalidFilterError(f"{name!r} is not the name of a column.")
    if name == "results" or name.startswith(("derived:", "result:")):
        return "assets"
    if name not in COLUMNS:
        names = (*COLUMNS, "derived:*", "derived:LABEL", "results", "result:LABEL")
        longer = [one for one in names if name and one.startswith(name)]
        near = longer or difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}."
        raise InvalidFilterError(f"No column is called {name!r}: {hint}")
    return COLUMNS[name].cost


def _rows(sessions: Sequence[SessionID], costs: set[str]) -> list[Row]:
    if costs & {"assets", "sorting"}:
        found = batch.with_assets(sessions)
    elif "records" in costs and sessions:
        found = batch.with_records(sessions)
    else:
        found = dict.fromkeys(sessions, Evidence())
    subjects = {s.subject_id: FirstValues(found[s].of_subject) for s in sessions}
    return [Row(s, found[s], subjects[s.subject_id]) for s in sessions]


def _with_labels(name: str, rows: list[Row]) -> list[str]:
    """Return a column, or those of every label if the name stands for them."""
    if name not in ("derived:*", "results"):
        return [name]
    kind = "derived" if name == "derived:*" else "result"
    labels = {label for row in rows for label in row.by_label if label}
    return [f"{kind}:{label}" for label in sorted(labels)]


def _is_sorted(row: Row) -> bool:
    return results.why_sorted(row.session)[0]


def _status(label: str, row: Row) -> str | None:
    status = results.status(rules.labelled(row.by_label, label))
    return row.complete(status, CODE_OCEAN, DOCDB) if status == "never" else status


def _look_up(
    rows: list[Row], function: Callable[[Row], Any], column: str, progress: bool
) -> list[Any]:
    """Return the values of a column that sends requests; None if one could not be checked."""
    with showing(len(rows), column, progress) as bar:

        def look_up_one(row: Row) -> Any:
            try:
                return function(row)
            finally:
                bar.update()

        answers = outcomes(*(partial(look_up_one, row) for row in rows))
    failures = Failures(f"values of the column `{column}`")
    values = [failures.value_or(None, answer) for answer in answers]
    failures.warn()
    return values


def as_rows(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Turn columns into rows."""
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
