"""Session IDs: `<platform>_<subject>_<date>_<time>`, or today `<subject>_<date>_<time>`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from aind_session.errors import InvalidIdentifierError
from aind_session.identifiers.dates import is_calendar_day

DAY = r"(20[0-9]{2})[-_/](0[1-9]|1[0-2])[-_/](0[1-9]|[12][0-9]|3[01])"
TIME = r"([01][0-9]|2[0-3])[-_:.]([0-5][0-9])[-_:.]([0-5][0-9])"

# The literal beginning `_20` lets `re` skip through a text: the rest of an ID is read from here
# backwards, so that a search is linear in the text's length whatever it holds.
_STAMP = re.compile(rf"_{DAY}_{TIME}")

# A label with a digit (`sortedKS4`) looks like a subject where the true one is missing.
_NO_LABEL = r"(?!(?i:sorted|curated|processed))"
_SUBJECT = rf"{_NO_LABEL}[A-Za-z]{{0,31}}[0-9][A-Za-z0-9]{{0,31}}"

# What `Session(id)` is given nearly always, in one match.
_WHOLE_ID = re.compile(
    rf"((?:([A-Za-z][A-Za-z0-9-]{{0,63}})_)?({_SUBJECT})_"
    r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])_"
    r"(?:[01][0-9]|2[0-3])-[0-5][0-9]-[0-5][0-9])"
)

# Matched against the reversed text before a date: the subject, then the platform where there is
# one, then a place where an ID can begin. A platform has a letter, else it is part of a date.
_BEFORE = re.compile(
    r"([A-Za-z0-9]{0,31}[0-9][A-Za-z]{0,31})"
    r"(?:_((?=[0-9-]*[A-Za-z])[A-Za-z0-9-]{0,63}[A-Za-z0-9])-*(?![A-Za-z0-9.-])|(?![A-Za-z0-9.-]))"
)
_WINDOW = 160

# Patterns as text are for errors only: `re` compiles them when needed, not at every start.
_UUID = r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}"
SHORT_ID = (
    rf"(?<![A-Za-z0-9.-])({_SUBJECT})_(20[0-9]{{2}})[-_/]?(0[1-9]|1[0-2])[-_/]?"
    r"(0[1-9]|[12][0-9]|3[01])(?:_([0-9]{1,2}))?(?![0-9])"
)
SUBJECT_ALONE = re.compile(r"[A-Za-z]*[0-9][A-Za-z0-9]*")

_FORMS = """Accepted forms, alone or anywhere in a path, a name or a URL:
    ecephys_676909_2023-12-13_13-43-40    <platform>_<subject>_<date>_<time>
    676909_2023-12-13_13-43-40            <subject>_<date>_<time>
also a data asset or a DocDB record whose name has one."""


class SessionID(NamedTuple):
    """A session's ID and its parts.

    Attributes
    ----------
    id : str
        As written, with `-` and `_` as separators.
    platform : str or None
        None where the name has none, as is usual today.
    subject_id : str
        Leading zeros kept.

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
        """Start of acquisition, `HH:MM:SS`, as the name has it."""
        return self.id[-8:].replace("-", ":")

    @property
    def dt(self) -> datetime.datetime:
        """Start of acquisition, naive: the name tells no time zone."""
        return datetime.datetime.fromisoformat(f"{self.date} {self.time}")

    @property
    def bare(self) -> str:
        """The ID without platform, as names are written today."""
        return f"{self.subject_id}{self.id[-20:]}"

    def __str__(self) -> str:
        return self.id


def parse_session_id(value: object) -> SessionID:
    """Read the session ID in a text or an object.

    The leftmost ID counts. It begins at the text's start or after a character that is no letter,
    digit, dot or hyphen; parts of date and time are separated by `-` or `_` (or `/` in dates, `:`
    or `.` in times).

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
        There is no session ID in it. This is a `ValueError`.

    Examples
    --------
    >>> parse_session_id("/data/ecephys_676909_2023-12-13_13-43-40_sorted_2024-03-01_16-02-45").id
    'ecephys_676909_2023-12-13_13-43-40'
    >>> parse_session_id("828418_2026-02-13_18-31-13").platform is None
    True
    """
    found = find_session_id(value)
    if found is None:
        raise InvalidIdentifierError(_why_none(value))
    return found


def find_session_id(value: object) -> SessionID | None:
    """Read the session ID in a text or an object, or give None where there is none.

    Parameters
    ----------
    value
        What `parse_session_id` accepts, or anything else.

    Returns
    -------
    SessionID or None
        The ID and its parts.

    Examples
    --------
    >>> find_session_id("Example T1 and T2 MRI Images") is None
    True
    """
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
    """Find the leftmost session ID of a text, with its place."""
    stamp = _STAMP.search(text)
    while stamp is not None:
        end = stamp.start()
        before = _BEFORE.match(text[max(0, end - _WINDOW) : end][::-1])
        if before is not None:
            year, month, day, hour, minute, second = stamp.groups()
            subject = before[1][::-1]
            if is_calendar_day(year, month, day) and re.match(_NO_LABEL, subject):
                platform = before[2] and before[2][::-1]
                start = end - len(subject) - (len(platform) + 1 if platform else 0)
                name = f"{subject}_{year}-{month}-{day}_{hour}-{minute}-{second}"
                whole = f"{platform}_{name}" if platform else name
                return SessionID(whole, platform, subject), start, stamp.end()
        stamp = _STAMP.search(text, end + 1)
    return None


def _texts_in(value: object) -> Iterator[str]:
    """Give the texts of an object that can hold its session's name, the surest first."""
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
        # `id` first: a session knows no `name`, and asking it for one would look for plug-ins.
        for name in ("id", "name", "location"):
            text = getattr(value, name, None)
            if isinstance(text, str):
                yield text
        prefix = getattr(getattr(value, "source_bucket", None), "prefix", None)
        if isinstance(prefix, str):
            yield prefix


def _is_path(value: object) -> bool:
    # The class is asked: a session that lacks an attribute looks for a plug-in of that name.
    return hasattr(type(value), "as_posix") or hasattr(type(value), "__fspath__")


def _why_none(value: object) -> str:
    """Tell why no session ID was found, and what to call instead."""
    shown = shown_briefly(value)
    text = str(value).strip() if isinstance(value, str | int) else ""
    if re.fullmatch(_UUID, text) or type(value).__name__ == "UUID":
        return (
            f"{shown} is the ID of a data asset or a computation, not of a session. "
            "Get the asset first: Session(get_data_asset_model(asset_id))"
        )
    short = re.search(SHORT_ID, text)
    if short is not None and is_calendar_day(*short.group(2, 3, 4)):
        subject, year, month, day, index = short.groups()
        which = f"[{int(index)}]" if index else ""
        return (
            f"{shown} names a subject and a day, not one session: the time is missing. "
            f"Try get_sessions({subject!r}, date='{year}-{month}-{day}'){which}\n{_FORMS}"
        )
    if SUBJECT_ALONE.fullmatch(text) and len(text) <= 12:
        return (
            f"{shown} can be a subject ID, but names no session. "
            f"Try get_sessions({text!r})\n{_FORMS}"
        )
    stamp = _STAMP.search(text)
    if stamp is not None and not is_calendar_day(*stamp.group(1, 2, 3)):
        day = "-".join(stamp.group(1, 2, 3))
        return f"No session ID in {shown}: there is no {day}. {_FORMS}"
    return f"No session ID in {shown}. {_FORMS}"


def is_uuid(text: str) -> bool:
    """Tell whether a text is a bare UUID: the ID of an asset, a computation or a record.

    Examples
    --------
    >>> is_uuid("16d46411-540a-4122-b47f-8cb2a15d593a"), is_uuid("676909")
    (True, False)
    """
    return re.fullmatch(_UUID, text) is not None


def shown_briefly(value: object) -> str:
    """Show what was given: of objects the type and names only, as their `repr` may hold secrets."""
    if value is None or isinstance(value, str | bytes | int | float):
        shown = repr(value)
    elif _is_path(value) or type(value).__name__ == "UUID":
        shown = repr(str(value))
    else:
        names = ", ".join(repr(text) for text in _texts_in(value))
        shown = f"a {type(value).__name__}" + (f" named {names}" if names else "")
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
