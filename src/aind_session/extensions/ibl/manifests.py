"""Manifests of the IBL data converter: which annotation is which probe, of which recording."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from aind_session.errors import InvalidContentError, InvalidFilterError
from aind_session.extensions.ibl import scratch
from aind_session.identifiers import session_in_name, split_asset_name
from aind_session.lookup import rules
from aind_session.trace import note

FOLDER = f"{scratch.ROOT}/manifests"
LABEL = "data_converter_manifest"


class ManifestRecord(TypedDict, total=False):
    """One row of a manifest: which annotation is which probe, of which recording."""

    mouseid: str
    sorted_recording: str
    probe_file: str
    probe_name: str
    probe_shank: str
    probe_id: str
    surface_finding: str
    annotation_format: str


COLUMNS = tuple(ManifestRecord.__annotations__)
#: Columns that a completed record must have; the others may be empty.
REQUIRED = ("mouseid", "sorted_recording", "probe_file", "probe_name", "probe_id")

Record = dict[str, str]

# `A1`, `probe B_3`, `ProbeC-2`: the letter of the probe, the digit of the recording day.
_ANNOTATION = re.compile(
    r"\s*(?:probe[\s_-]*)?([A-F])[\s_-]*(?:day[\s_-]*)?([1-9])\s*", re.IGNORECASE
)


class Insertion(NamedTuple):
    """The letter of a probe, and the number of its recording day, which begins at 1."""

    letter: str
    day: int

    @property
    def probe(self) -> str:
        """The name of the probe: `ProbeA`."""
        return f"Probe{self.letter}"


class Day(NamedTuple):
    """A day of ecephys recordings: the first asset, and the second, which is the surface's."""

    date: str
    recording: str | None
    surface: str | None


def parse_annotation(name: str) -> Insertion | None:
    """Return probe and day from the name of an annotation; None if it has none.

    Examples
    --------
    >>> parse_annotation("A1"), parse_annotation("probe B_3"), parse_annotation("268")
    (Insertion(letter='A', day=1), Insertion(letter='B', day=3), None)
    """
    match = _ANNOTATION.fullmatch(name)
    return Insertion(match[1].upper(), int(match[2])) if match else None


def name_of(subject_id: str) -> str:
    """Return the default name of a subject's manifest."""
    return f"{subject_id}_{LABEL}"


def checked_name(name: str | None, subject_id: str) -> str:
    """Return the name of a new manifest; an `InvalidFilterError` if it cannot name a file."""
    chosen = name_of(subject_id) if name is None else name.strip()
    if not chosen or set(chosen) & set("/\\\n") or chosen.startswith("."):
        raise InvalidFilterError(f"{name!r} cannot be the name of a data asset and of its file.")
    return chosen.removesuffix(".csv")


def key_of(subject_id: str, name: str) -> str:
    """Return the key of a manifest's file; a name of its own gets a folder of its own."""
    folder = subject_id if name == name_of(subject_id) else name
    return f"{FOLDER}/{folder}/{name}.csv"


# -- partial ---------------------------------------------------------------------------------------


def partial(
    subject_id: str,
    state_name: str,
    annotations: Iterable[str],
    recordings: Sequence[str],
    days: Sequence[Day],
) -> list[Record]:
    """Return the records that a person completes, in the order of the annotations.

    Recordings are names of sorted data assets, the latest last. An annotation that contains a day
    gets one record, any other one for each recording.
    """
    surfaces = {day.date: day.surface or "" for day in days}
    records = []
    for annotation in annotations:
        insertion = parse_annotation(annotation)
        of_day = [_of_day(insertion.day, recordings, days)] if insertion is not None else ()
        for recording in of_day or recordings or ("",):
            of = session_in_name(recording)
            records.append(
                {
                    "mouseid": subject_id,
                    "sorted_recording": recording,
                    "probe_file": state_name,
                    "probe_name": insertion.probe if insertion is not None else "",
                    "probe_shank": "",
                    "probe_id": annotation,
                    "surface_finding": surfaces.get(of.date, "") if of is not None else "",
                    "annotation_format": "json",
                }
            )
    return records


def _of_day(number: int, recordings: Sequence[str], days: Sequence[Day]) -> str:
    if number > len(days):
        note("There is no ecephys day %d: there are %d", number, len(days))
        return ""
    date = days[number - 1].date
    found = [r for r in recordings if (of := session_in_name(r)) and of.date == date]
    if not found:
        note("No sorted data asset of day %d (%s) was found", number, date)
    return found[-1] if found else ""


def checked_recordings(subject_id: str, names: object) -> tuple[str, ...]:
    """Return names of the subject's sorted data assets, checked, ascending by the time in them."""
    given = [names] if isinstance(names, str) or not isinstance(names, Iterable) else names
    found = [str(getattr(name, "name", name)).strip() for name in given]
    for name in found:
        of = session_in_name(name)
        if of is None or of.subject_id != subject_id or not rules.is_sorted(name):
            raise InvalidFilterError(
                f"{name!r:.200} is not the name of a sorted data asset of subject {subject_id}: "
                f"<platform>_{subject_id}_<date>_<time>_sorted..."
            )
    # Those without a time are the oldest: `..._sorted_curated`.
    return tuple(sorted(found, key=lambda n: (str(split_asset_name(n).dt or ""), n)))


# -- completed -------------------------------------------------------------------------------------


def completed(subject_id: str, records: object) -> list[Record]:
    """Check records (dictionaries, or a table) that a person completed, and fill in defaults."""
    found = [_completed(subject_id, n, record) for n, record in enumerate(_rows(records), 1)]
    if not found:
        raise InvalidContentError("A manifest needs at least one record, and there is none.")
    return found


def _rows(records: object) -> Iterable[object]:
    if hasattr(records, "to_dicts"):
        return list(records.to_dicts())
    if hasattr(records, "iterrows"):
        return [dict(row) for _, row in records.iterrows()]
    if isinstance(records, Mapping | str) or not isinstance(records, Iterable):
        raise InvalidContentError("Records are a list of dictionaries, or a table.")
    return records


def _completed(subject_id: str, number: int, record: object) -> Record:
    if not isinstance(record, Mapping):
        raise InvalidContentError(f"Record {number} is not a dictionary: {record!r:.80}")
    unknown = sorted(str(key) for key in record if key not in COLUMNS)
    if unknown:
        raise InvalidContentError(
            f"Record {number} has {', '.join(unknown)}: a manifest has {', '.join(COLUMNS)}."
        )
    made = {column: _text(record.get(column)) for column in COLUMNS}
    made["mouseid"] = made["mouseid"] or subject_id
    made["annotation_format"] = made["annotation_format"] or "json"
    empty = [column for column in REQUIRED if not made[column]]
    if empty:
        which = f" (annotation {made['probe_id']!r})" if made["probe_id"] else ""
        raise InvalidContentError(
            f"Record {number}{which} has no {', '.join(empty)}: complete it, or leave it out."
        )
    if made["mouseid"] != subject_id:
        raise InvalidContentError(
            f"Record {number} is of subject {made['mouseid']}, the manifest of {subject_id}."
        )
    return made


def _text(value: Any) -> str:
    # Tables have NaN, which is not equal to itself, for missing values.
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        # In a column with missing values, whole numbers become floats.
        return str(int(value))
    return str(value).strip()


def encode(records: Iterable[Record]) -> bytes:
    """Return records as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode()


def decode(data: bytes) -> list[Record]:
    r"""Read records from CSV: missing columns are empty, content that is not CSV has no records.

    Examples
    --------
    >>> decode(b"mouseid,probe_id\n717381,A1\n")[0]["probe_id"]
    'A1'
    """
    # Some spreadsheets end lines with a carriage return alone.
    text = io.StringIO(data.decode("utf-8-sig", errors="replace"), newline=None)
    try:
        rows = list(csv.DictReader(text))
    except csv.Error as error:
        note("A manifest is not CSV: %s", error)
        return []
    return [{column: row.get(column) or "" for column in COLUMNS} for row in rows]
