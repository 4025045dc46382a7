"""Search for sessions: by subject, platform, project, modality and date."""

from __future__ import annotations

import contextlib
import datetime
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from aind_session.errors import InvalidFilterError, ServiceError
from aind_session.identifiers import DateRange, SessionID, parse_dates, parse_subject_id
from aind_session.session import Session
from aind_session.sessions import Sessions
from aind_session.subject import Subject

if TYPE_CHECKING:
    from aind_session.lookup.finding import Found
    from aind_session.lookup.partial import Gaps

DateLike = str | int | datetime.date | datetime.datetime


def get_sessions(
    subject_id: object = None,
    date: DateLike | None = None,
    platform: str | None = None,
    start_date: DateLike | None = None,
    end_date: DateLike | None = None,
    *,
    project: str | None = None,
    modality: str | None = None,
) -> Sessions:
    """Find sessions, ascending by date and time, then ID.

    Asked of Code Ocean and DocDB at the same time, and joined; sessions that only one of them
    knows are included. A folder in S3 that neither knows is found by name only: ask the `Session`.
    Without a subject, DocDB is asked, which has all filters, and Code Ocean too where a platform is
    the only filter beside dates.

    Parameters
    ----------
    subject_id
        One subject, several, or none where another filter is given.
    date
        A day, whatever time it carries; `2023-12` and `2023` are the whole month and year.
    platform
        As in the name: `ecephys`, `multiplane-ophys`, `SmartSPIM`.
    start_date, end_date
        Both ends are included; a day as an end is that whole day. Either may be left open.
    project
        Name of a project, as DocDB has it.
    modality
        An abbreviation (`behavior-videos`) or a folder's name (`behavior_videos`).

    Returns
    -------
    Sessions
        A tuple; empty where nothing matches.

    Raises
    ------
    InvalidFilterError
        A filter has a value that can match nothing (a `ValueError`), with a suggestion.
    ServiceError
        Nothing was found, and a service did not answer that may know of some.

    Warns
    -----
    PartialAnswerWarning
        A service did not answer: sessions that only it knows may be missing.

    Examples
    --------
    >>> import aind_session
    >>> aind_session.get_sessions(676909, platform="ecephys", start_date="2023-12-14")
    (Session('ecephys_676909_2023-12-14_12-43-11'),)
    >>> len(aind_session.get_sessions([676909, 668759]))
    5
    """
    dates = parse_dates(date, start_date, end_date)
    wanted = _wanted(platform, project, modality)
    subjects = _subjects(subject_id)
    if subjects is None and not any(wanted) and dates.is_open:
        raise InvalidFilterError(
            "get_sessions() needs a subject, or another filter: project, platform, modality, "
            "date, start_date, end_date."
        )
    kept, found, gaps = _search(subjects, wanted, dates)
    gaps.conclude(kept)
    if not kept:
        _check_filters(found, wanted)
    return kept


def iter_sessions(**filters: Any) -> Iterator[Session]:
    """Find sessions as `get_sessions` does, without holding all of them.

    Asks year by year (and once for all years before 2015), ascending.

    Parameters
    ----------
    **filters
        As for `get_sessions`.

    Yields
    ------
    Session
        Ascending by date and time, then ID.

    Examples
    --------
    >>> import aind_session
    >>> [s.platform for s in aind_session.iter_sessions(subject_id=676909)]
    ['behavior', 'ecephys', 'ecephys', 'ecephys']
    """
    subjects = _subjects(filters.pop("subject_id", None))
    if subjects is not None:
        # One subject's sessions are few.
        yield from get_sessions(subjects, **filters)
        return
    dates = parse_dates(*(filters.pop(key, None) for key in ("date", "start_date", "end_date")))
    wanted = _wanted(**filters)
    nothing = True
    kept, found, gaps = _search([], wanted, dates)
    for year in _years(dates):
        kept, found, gaps = _search(None, wanted, year)
        nothing = nothing and not kept
        gaps.warn()
        yield from kept
    if nothing:
        # A platform that no name of one year begins with may be that of another year.
        gaps.conclude(kept)
        _check_filters(found, wanted)


def _years(wanted: DateRange) -> Iterator[DateRange]:
    this_year = datetime.datetime.now().year
    edges = [2000, *range(2015, this_year + 2), 2100]
    for first, after in itertools.pairwise(edges):
        start = datetime.datetime(first, 1, 1)
        end = datetime.datetime(after, 1, 1) - datetime.timedelta(microseconds=1)
        year = DateRange(start, end).within(wanted)
        if not year.is_empty:
            yield year


class _Wanted(NamedTuple):
    """What is wanted of a session beside its subject and date; None: whatever it is."""

    platform: str | None
    project: str | None
    modality: str | None


def _wanted(platform: object = None, project: object = None, modality: object = None) -> _Wanted:
    return _Wanted(
        _text("platform", platform), _text("project", project), _text("modality", modality)
    )


def _text(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidFilterError(
            f"{name} is one name, a text, not a {type(value).__name__}: search for one at a time."
        )
    return value.strip() or None


def _subjects(value: object) -> list[str] | None:
    """Read one subject or several; None where no subject is named."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str | bytes | Subject) or not isinstance(value, Iterable):
        return [_subject(value)]
    return list(dict.fromkeys(_subject(one) for one in value))


def _subject(value: object) -> str:
    return value.id if isinstance(value, Subject) else parse_subject_id(value)


def _search(
    subjects: list[str] | None, wanted: _Wanted, dates: DateRange
) -> tuple[Sessions, Found, Gaps]:
    """Find sessions, and give also what was found before filters, and who did not answer."""
    from aind_session.lookup import cohort, finding
    from aind_session.lookup.partial import Gaps

    found: Found = {}
    gaps = Gaps(finding.MISSING)
    if subjects:
        found, gaps = finding.among_subjects(subjects)
    elif subjects is None and not dates.is_empty:
        found, gaps = finding.matching(**wanted._asdict(), dates=dates)
    ids = sorted(_kept(found, wanted, dates), key=lambda s: (s.dt, s.id))
    cohort.remember(s.id for s in ids)
    return Sessions(Session(s.id) for s in ids), found, gaps


def _kept(found: Found, wanted: _Wanted, dates: DateRange) -> Iterator[SessionID]:
    from aind_session.lookup.filters import has_modality, same_platform
    from aind_session.lookup.platform import of_known

    platform, project, modality = wanted
    for session, known in found.items():
        if not dates.contains(session.dt):
            continue
        if platform and not same_platform(session.platform or of_known(known), platform):
            continue
        if project and project not in {row.record.project for row in known.rows}:
            continue
        if modality and not has_modality(known, modality):
            continue
        yield session


def _check_filters(found: Found, wanted: _Wanted) -> None:
    """Raise where nothing was found because a filter's value exists nowhere."""
    from aind_session.lookup import filters, finding

    if wanted.platform:
        filters.check_platform(wanted.platform, (s.platform for s in found))
    if wanted.modality:
        filters.check_modality(wanted.modality)
    if wanted.project:
        # Without the names in both generations nobody knows that there is no such project.
        with contextlib.suppress(ServiceError):
            known = finding.known_values("data_description.project_name")
            filters.check_project(wanted.project, known)
