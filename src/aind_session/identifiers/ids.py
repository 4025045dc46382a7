"""IDs of sessions, with or without platform, and of subjects; names of data assets."""

from __future__ import annotations

import datetime
import functools
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from aind_session.errors import InvalidIdentifierError
from aind_session.identifiers.dates import is_calendar_day

# Separators are all written or all omitted. The groups: year, separator, month, day; hour,
# separator, minute, second. They come first in a pattern: the conditions refer to group numbers.
_MONTH, _DAY = "(0[1-9]|1[0-2])", "(0[1-9]|[12][0-9]|3[01])"
_HOUR, _MINUTE = "([01][0-9]|2[0-3])", "([0-5][0-9])"
DATE = rf"(20[0-9]{{2}})([-_/])?{_MONTH}(?(2)[-_/]){_DAY}"
TIME = rf"{_HOUR}([-_:.])?{_MINUTE}(?(6)[-_:.]){_MINUTE}(?(6)|(?![0-9]))"

# The literal beginning `_20` lets `re` skip through a text. The rest of an ID is read backwards
# from here, so that a search is linear in the text's length whatever it contains.
_STAMP = re.compile(rf"_{DATE}[_T]{TIME}")

# A label with a digit (`sortedKS4`) looks like a subject if the subject is missing.
_NO_LABEL = r"(?!(?i:sorted|curated|processed))"
_PART = r"[A-Za-z]{0,31}[0-9][A-Za-z0-9]{0,31}"
_SUBJECT = rf"{_NO_LABEL}{_PART}(?:\.{_PART}){{0,3}}"

# The most frequent argument of `Session`, in one match.
_WHOLE_ID = re.compile(
    rf"((?:([A-Za-z][A-Za-z0-9-]{{0,63}})_)?({_NO_LABEL}{_PART})_"
    r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])_"
    r"(?:[01][0-9]|2[0-3])-[0-5][0-9]-[0-5][0-9])"
)

# Matched against the reversed text before a date: the subject, then the platform if there is one,
# then a place where an ID can begin. A platform has a letter, else it is part of a date. A dot
# belongs to the subject if the part before it has a digit (`H24.26.001`), else an ID begins after
# it (`params.ecephys_713655_...`).
_REVERSED_PART = r"[A-Za-z0-9]{0,31}[0-9][A-Za-z]{0,31}"
_BEFORE = re.compile(
    rf"({_REVERSED_PART}(?:\.{_REVERSED_PART}){{0,3}})(?!\.{_REVERSED_PART})"
    r"(?:_((?=[0-9-]*[A-Za-z])[A-Za-z0-9-]{0,63}[A-Za-z0-9])-*(?![A-Za-z0-9-])|(?![A-Za-z0-9-]))"
)
_WINDOW = 200

# Patterns as text are for errors only: `re` compiles them when needed, not at every start.
_UUID = r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
_SHORT_ID = (
    rf"(?<![A-Za-z0-9-])(?<![0-9]\.)({_SUBJECT})_([0-9]{{4}})([-_/])?([0-9]{{2}})(?(3)[-_/])"
    r"([0-9]{2})(?![0-9])(?:[_T]([0-9][0-9:._-]{0,15}))?"
)
_SUBJECT_ALONE = rf"[A-Za-z]*[0-9][A-Za-z0-9]*|{_PART}(?:\.{_PART}){{1,3}}"
_LABTRACKS = r"(?<![A-Za-z0-9])[0-9]{6,7}(?![A-Za-z0-9])"
_COMPACT_STAMP = r"20[0-9]{6}[_ T-][0-9]{6}(?![0-9])"

_FORMS = """Accepted forms, alone or anywhere in a path, a name or a URL:
    ecephys_676909_2023-12-13_13-43-40    <platform>_<subject>_<date>_<time>
    676909_2023-12-13_13-43-40            <subject>_<date>_<time>
also a data asset or a DocDB record whose name contains one."""

#: Follows a value that is a subject ID.
ONLY_SUBJECT = "looks like a subject ID, not a session ID."


class SessionID(NamedTuple):
    """A session's ID and its parts.

    Attributes
    ----------
    id : str
        As written, with `-` and `_` as separators.
    platform : str or None
        None if the name has none, as in current names.
    subject_id : str
        Leading zeros are kept.

    Examples
    --------
    >>> session_id = parse_session_id("s3://a-bucket/ecephys_676909_2023_12_13_13_43_40/ecephys")
    >>> session_id.id, session_id.platform, session_id.subject_id
    ('ecephys_676909_2023-12-13_13-43-40', 'ecephys', '676909')
    >>> session_id.date, session_id.time, session_id.dt
    ('2023-12-13', '13:43:40', datetime.datetime(2023, 12, 13, 13, 43, 40))
    """

    id: str
    platform: str | None
    subject_id: str

    @property
    def date(self) -> str:
        """Day of acquisition, `YYYY-MM-DD`."""
        return self.id[-19:-9]

    @property
    def time(self) -> str:
        """Start of acquisition in the name, `HH:MM:SS`."""
        return self.id[-8:].replace("-", ":")

    @property
    def dt(self) -> datetime.datetime:
        """Start of acquisition, naive: the name has no time zone."""
        return datetime.datetime.fromisoformat(f"{self.date} {self.time}")

    @property
    def bare(self) -> str:
        """The ID without platform, as in current names."""
        return f"{self.subject_id}{self.id[-20:]}"

    def __str__(self) -> str:
        return self.id


def parse_session_id(value: object) -> SessionID:
    """Read the session ID in a text or an object.

    The leftmost ID counts. It begins at the start of the text or after a character that is not a
    letter, a digit or a hyphen. Parts of dates are separated by `-`, `_` or `/`, of times by `-`,
    `_`, `:` or `.`; both may be compact (`20231213_134340`), and `T` may separate them.

    Parameters
    ----------
    value
        A session ID, a path, a data asset's name, a URL; an object with an `id` or a `name` (a
        session, a data asset); a DocDB record.

    Returns
    -------
    SessionID
        The ID and its parts.

    Raises
    ------
    InvalidIdentifierError
        It contains no session ID; the message says what is wrong. This is a `ValueError`.

    Examples
    --------
    >>> parse_session_id("/data/ecephys_676909_2023-12-13_13-43-40_sorted_2024-03-01_16-02-45").id
    'ecephys_676909_2023-12-13_13-43-40'
    >>> parse_session_id("828418_20260213T183113")
    SessionID(id='828418_2026-02-13_18-31-13', platform=None, subject_id='828418')
    """
    found = find_session_id(value)
    if found is None:
        raise InvalidIdentifierError(why_not_found(value))
    return found


def find_session_id(value: object) -> SessionID | None:
    """Read the session ID in a text or an object; None if it contains none."""
    if isinstance(value, str):
        whole = _WHOLE_ID.match(value)
        if whole is not None:
            return SessionID(*whole.groups())
        located = locate(value)
        return None if located is None else located[0]
    if isinstance(value, SessionID):
        return value
    for text in _texts_in(value):
        located = locate(text)
        if located is not None:
            return located[0]
    return None


def locate(text: str) -> tuple[SessionID, int, int] | None:
    """Return the leftmost session ID of a text, its start and its end."""
    stamp = _STAMP.search(text)
    while stamp is not None:
        end = stamp.start()
        before = _BEFORE.match(text[max(0, end - _WINDOW) : end][::-1])
        if before is not None:
            year, _, month, day, hour, _, minute, second = stamp.groups()
            subject = before[1][::-1]
            if is_calendar_day(year, month, day) and re.match(_NO_LABEL, subject):
                platform = before[2] and before[2][::-1]
                start = end - len(subject) - (len(platform) + 1 if platform else 0)
                name = f"{subject}_{year}-{month}-{day}_{hour}-{minute}-{second}"
                whole = f"{platform}_{name}" if platform else name
                return SessionID(whole, platform, subject), start, stamp.end()
        stamp = _STAMP.search(text, end + 1)
    return None


def nearest_sessions(
    wanted: SessionID, existing: Iterable[SessionID], limit: int = 3
) -> tuple[SessionID, ...]:
    """Return the existing sessions of the same subject that are closest in time, closest first."""
    others = {s for s in existing if s.subject_id == wanted.subject_id and s.id != wanted.id}
    return tuple(sorted(others, key=lambda s: (abs(s.dt - wanted.dt), s.id))[:limit])


def _texts_in(value: object) -> Iterator[str]:
    """Yield the texts of an object that can contain its session's ID, the most reliable first."""
    if value is None or isinstance(value, int | float):
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        description = value.get("data_description")
        nested = description.get("name") if isinstance(description, Mapping) else None
        bucket = value.get("source_bucket")
        prefix = bucket.get("prefix") if isinstance(bucket, Mapping) else None
        found = (value.get("name"), value.get("location"), prefix, nested)
        yield from (text for text in found if isinstance(text, str))
    elif _is_path(value):
        # A path's `name` is its last part only: the ID may be in a parent.
        yield str(value)
    else:
        # `id` first: a session has no `name`, and `getattr` would search for a plug-in.
        for name in ("id", "name", "location"):
            text = getattr(value, name, None)
            if isinstance(text, str):
                yield text
        prefix = getattr(getattr(value, "source_bucket", None), "prefix", None)
        if isinstance(prefix, str):
            yield prefix


def _is_path(value: object) -> bool:
    # On the class: a session that lacks an attribute searches for a plug-in of that name.
    return hasattr(type(value), "as_posix") or hasattr(type(value), "__fspath__")


def why_not_found(value: object, where: str = "") -> str:
    """Return why a value, at a place in a list or file, has no session ID, and what to call."""
    shown = f"{where} ({shown_briefly(value)})" if where else shown_briefly(value)
    text = str(value).strip() if isinstance(value, str | int) or _is_path(value) else ""
    if re.fullmatch(_UUID, text) or type(value).__name__ == "UUID":
        return (
            f"{shown} is the ID of a data asset or a computation, not of a session. "
            "Get the data asset first: Session(get_data_asset_model(asset_id))"
        )
    short = re.search(_SHORT_ID, text)
    if short is not None:
        return f"{shown} {_what_is_missing(short)}\n{_FORMS}"
    if re.fullmatch(_SUBJECT_ALONE, text) and len(text) <= 12:
        advice = f"Try get_sessions({text!r})\n{_FORMS}"
        return f"{shown} {ONLY_SUBJECT} {advice}"
    return f"{f'{shown} has no session ID' if where else f'No session ID in {shown}'}. {_FORMS}"


def _what_is_missing(short: re.Match[str]) -> str:
    """Return what a subject with a date lacks, or has wrong, and which search is possible."""
    subject, year, _, month, day, rest = short.groups()
    date = f"{year}-{month}-{day}"
    if not _is_session_date(year, month, day):
        return f"has no session ID: {date} is not a valid date (of the years 2000 to 2099)."
    time = (rest or "").rstrip("-_:.")
    which = ""
    if time.isdigit() and len(time) in (1, 3):
        # The convention for the second session of a day. A slice: a missing one is not an error.
        which = f"[{int(time)}:{int(time) + 1}]"
    if not time or which:
        problem = "names a subject and a day, not one session: the time is missing"
    elif sum(map(str.isdigit, time)) < 6:
        problem = f"has no session ID: the time {time} is cut short"
    else:
        problem = f"has no session ID: {time} is not a valid time"
    return f"{problem}. Try get_sessions({subject!r}, date={date!r}){which}"


def _is_session_date(year: str, month: str, day: str) -> bool:
    return (
        year.startswith("20")
        and 1 <= int(month) <= 12
        and day != "00"
        and is_calendar_day(year, month, day)
    )


def short_id(text: str) -> tuple[str, str] | None:
    """Return the subject and the date of a text that has both, but may lack the time."""
    short = re.search(_SHORT_ID, text)
    if short is None:
        return None
    subject, year, _, month, day, _ = short.groups()
    return (subject, f"{year}-{month}-{day}") if _is_session_date(year, month, day) else None


def is_uuid(text: str) -> bool:
    """Return whether a text is a bare UUID: the ID of an asset, a computation or a record."""
    return re.fullmatch(_UUID, text) is not None


def shown_briefly(value: object) -> str:
    """Describe a value for a message: objects by type and names, as a `repr` may hold secrets."""
    if value is None or isinstance(value, str | bytes | int | float | datetime.date):
        shown = repr(value)
    elif _is_path(value) or type(value).__name__ == "UUID":
        shown = repr(str(value))
    else:
        names = ", ".join(repr(text) for text in _texts_in(value))
        shown = f"a {type(value).__name__}" + (f" named {names}" if names else "")
    return shown if len(shown) <= 200 else f"{shown[:197]}..."


# -- subjects --------------------------------------------------------------------------------------


def parse_subject_id(value: object) -> str:
    """Read a subject ID."""
    if isinstance(value, float) and value.is_integer():
        # A table's column of subjects with a missing value is read as floats.
        value = int(value)
    if isinstance(value, str):
        text = value.strip()
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        # Any whole number: those of numpy, as in a table's column, are not `int`.
        text = str(operator.index(value))
    else:
        nested = getattr(value, "subject_id", None) or getattr(value, "id", None)
        text = str(nested).strip() if isinstance(nested, str | int) else ""
    if not re.fullmatch(_SUBJECT_ALONE, text):
        session = find_session_id(text)
        raise InvalidIdentifierError(
            f"{shown_briefly(value)} is not a valid subject ID: letters, digits and dots with at "
            "least one digit, such as 676909, '018559' or 'M2501'"
            + (f". It names a session: Session({session.id!r})" if session else "")
        )
    return text


def subject_of(value: object) -> str:
    """Read a subject ID, or the one in a session ID, a path, an asset's name or a record."""
    try:
        return parse_subject_id(value)
    except InvalidIdentifierError:
        subject = next(filter(None, map(subject_in, _texts_in(value))), None)
        if subject is None:
            raise
        return subject


def subject_in(text: str) -> str | None:
    """Find the subject in a text."""
    session = find_session_id(text)
    if session is not None:
        return session.subject_id
    short = short_id(text)
    if short is not None:
        return short[0]
    number = re.search(_LABTRACKS, re.sub(_COMPACT_STAMP, " ", text))
    return number[0] if number else None


# -- names of data assets --------------------------------------------------------------------------

# The date of one step of processing, with or without time, after its label.
_STEP_STAMP = re.compile(rf"_{DATE}(?:[_T]{TIME})?(?![0-9])")
_RAW_LABELS = {"raw", "raw-data"}
_LABEL_FAMILIES = re.compile(r"(sorted|curated|dlc|processed|stitched)(?=[a-z0-9])")


class Step(NamedTuple):
    """One step of processing in a derived asset's name."""

    label: str | None
    dt: datetime.datetime | None


class AssetName(NamedTuple):
    """The parts of a data asset's name.

    Attributes
    ----------
    session : SessionID or None
        The session in the name.
    steps : tuple of Step
        The parts after the session ID, in order: each step's label and date-time.
    is_session_name : bool
        The name is a session ID without any other part: the name of a raw asset.
    """

    session: SessionID | None
    steps: tuple[Step, ...]
    is_session_name: bool

    @property
    def label(self) -> str | None:
        """Label of the last step, as written: `sorted-ks2.5`, `dlc_face`, `raw_data`."""
        return self.steps[-1].label if self.steps else None

    @property
    def dt(self) -> datetime.datetime | None:
        """Date-time of the last step; names do not contain its time zone."""
        return self.steps[-1].dt if self.steps else None

    @property
    def is_raw(self) -> bool:
        """Whether it names raw data: a session ID, alone or with the label `raw` or `raw_data`."""
        labels = {normalise_label(step.label or "") for step in self.steps}
        return self.is_session_name or (bool(labels) and labels <= _RAW_LABELS)


@functools.lru_cache(maxsize=65_536)
def split_asset_name(name: str) -> AssetName:
    """Split a data asset's name into its session and its processing steps.

    Parameters
    ----------
    name
        A data asset's name, or a path or URL with it.

    Returns
    -------
    AssetName
        Without session and steps if the name has no session.

    Examples
    --------
    >>> raw = "ecephys_676909_2023-12-13_13-43-40"
    >>> name = split_asset_name(f"{raw}_sorted-ks2.5_2024-03-01_16-02-45")
    >>> name.session.id == raw, name.label, name.dt.isoformat()
    (True, 'sorted-ks2.5', '2024-03-01T16:02:45')
    >>> split_asset_name("828418_2026-02-13_18-31-13").is_session_name
    True
    """
    located = locate(name)
    if located is None:
        return AssetName(None, (), False)
    session, start, end = located
    after = re.split(r"[/\\]", name[end:], maxsplit=1)[0].rstrip()
    clear_before = not name[:start].strip() or name[start - 1] in "/\\"
    return AssetName(session, tuple(_steps(after)), clear_before and not after)


def session_in_name(name: str) -> SessionID | None:
    """Return the session in the name of an asset or a record."""
    return split_asset_name(name).session


def _steps(text: str) -> Iterator[Step]:
    """Yield the steps in the text after a session ID."""
    position = 0
    for stamp in _STEP_STAMP.finditer(text):
        year, _, month, day, hour, _, minute, second = stamp.groups()
        if is_calendar_day(year, month, day):
            label = text[position : stamp.start()].strip("_ ") or None
            clock = int(hour or 0), int(minute or 0), int(second or 0)
            yield Step(label, datetime.datetime(int(year), int(month), int(day), *clock))
            position = stamp.end()
    rest = text[position:]
    # A file extension is not a label: `..._15-47-10.json`.
    if rest.startswith("_") and rest.strip("_ "):
        yield Step(rest.strip("_ "), None)


def normalise_label(label: str) -> str:
    """Normalize a label, so that its spellings compare equal."""
    plain = re.sub(r"[-_\s]+", "-", label.strip("-_ ").lower().replace(".", ""))
    return _LABEL_FAMILIES.sub(r"\1-", plain, count=1) if _LABEL_FAMILIES.match(plain) else plain


def label_family(label: str) -> str:
    """Return the first word of a label: the kind of processing, without the tool."""
    return normalise_label(label).partition("-")[0]
