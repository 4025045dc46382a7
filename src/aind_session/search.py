"""Search for sessions: by subject, platform, project, modality and date."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from aind_session.errors import InvalidFilterError
from aind_session.identifiers import DateRange, SessionID, parse_dates, parse_subject_id
from aind_session.session import Session
from aind_session.sessions import Sessions
from aind_session.subject import Subject

if TYPE_CHECKING:
    from aind_session.lookup.finding import Found

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
    ServiceError, CredentialsError
        No service answered.

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
    from aind_session.lookup import cohort, finding

    dates = parse_dates(date, start_date, end_date)
    platform, project, modality = platform or None, project or None, modality or None
    subjects = _subjects(subject_id)
    if subjects is not None:
        found = finding.of_subjects(subjects) if subjects else {}
    elif project or platform or modality or not dates.is_open:
        found = finding.matching(project=project, platform=platform, modality=modality, dates=dates)
    else:
        raise InvalidFilterError(
            "get_sessions() needs a subject, or another filter: project, platform, modality, "
            "date, start_date, end_date."
        )
    kept = _kept(found, platform, project, modality, dates)
    if not kept:
        _check_filters(found, platform, project, modality)
    ids = sorted(kept, key=lambda s: (s.dt, s.id))
    cohort.remember(s.id for s in ids)
    return Sessions(Session(s.id) for s in ids)


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
    if _subjects(filters.get("subject_id")) is not None:
        # One subject's sessions are few.
        yield from get_sessions(**filters)
        return
    wanted = parse_dates(*(filters.pop(key, None) for key in ("date", "start_date", "end_date")))
    for first, last in _years(wanted):
        yield from get_sessions(**filters, start_date=first, end_date=last)


def _years(wanted: DateRange) -> Iterator[tuple[datetime.datetime, datetime.datetime]]:
    this_year = datetime.datetime.now().year
    edges = [2000, *range(2015, this_year + 2), 2100]
    for first, after in itertools.pairwise(edges):
        start = datetime.datetime(first, 1, 1)
        end = datetime.datetime(after, 1, 1) - datetime.timedelta(microseconds=1)
        both = DateRange(start, end).within(wanted)
        if both.start is not None and both.end is not None and both.start <= both.end:
            yield both.start, both.end


def _subjects(value: object) -> list[str] | None:
    """Read one subject or several; None where no subject is named."""
    if value is None or value == "":
        return None
    if isinstance(value, str | int | Subject) or not isinstance(value, Iterable):
        return [_subject(value)]
    return list(dict.fromkeys(_subject(one) for one in value))


def _subject(value: object) -> str:
    return value.id if isinstance(value, Subject) else parse_subject_id(value)


def _kept(
    found: Found,
    platform: str | None,
    project: str | None,
    modality: str | None,
    dates: DateRange,
) -> list[SessionID]:
    from aind_session.lookup.filters import has_modality, same_platform
    from aind_session.lookup.platform import of_known

    kept = []
    for session, known in found.items():
        if not dates.contains(session.dt):
            continue
        if platform and not same_platform(session.platform or of_known(known), platform):
            continue
        if project and project not in {row.record.project for row in known.rows}:
            continue
        if modality and not has_modality(known, modality):
            continue
        kept.append(session)
    return kept


def _check_filters(
    found: Found, platform: str | None, project: str | None, modality: str | None
) -> None:
    """Raise where nothing was found because a filter's value exists nowhere."""
    from aind_session.lookup import filters, finding

    if platform:
        filters.check_platform(platform, (s.platform for s in found))
    if modality:
        filters.check_modality(modality)
    if project:
        filters.check_project(project, finding.known_values("data_description.project_name"))
