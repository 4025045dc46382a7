"""Searches for sessions, and lists of what can be searched for."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aind_session.errors import InvalidFilterError
from aind_session.identifiers import DateRange, parse_dates, parse_subject_id
from aind_session.session import Session
from aind_session.sessions import Sessions
from aind_session.subject import Subject

if TYPE_CHECKING:
    from aind_session.lookup.failures import Failures
    from aind_session.lookup.search import Filters, Found

DateLike = str | int | datetime.date | datetime.datetime


def get_sessions(
    subject_id: object = None,
    date: DateLike | None = None,
    platform: str | Iterable[str] | None = None,
    start_date: DateLike | None = None,
    end_date: DateLike | None = None,
    *,
    project: str | Iterable[str] | None = None,
    modality: str | Iterable[str] | None = None,
) -> Sessions:
    """Find sessions, ascending by date and time, then ID.

    Code Ocean and DocDB are searched concurrently, and the results joined: sessions that only one
    of them has are included. A folder in S3 that neither has on record is found by name only: use
    `Session`. Without a subject, DocDB is searched, which has all filters, and Code Ocean too if
    platform is the only filter beside dates.

    Parameters
    ----------
    subject_id
        One subject, several, or none with another filter.
    date
        A day, whatever its time; `2023-12` and `2023` are the whole month and year.
    platform
        As in the name: `ecephys`, `multiplane-ophys`, `SmartSPIM`; one or several.
    start_date, end_date
        Both ends are included; a day as an end is that whole day. Either may be left open.
    project
        Name of a project, as DocDB has it; one or several.
    modality
        An abbreviation (`behavior-videos`) or a folder's name (`behavior_videos`); one or several.

    Returns
    -------
    Sessions
        A tuple; empty if nothing matches.

    Raises
    ------
    InvalidFilterError
        A filter has a value that can match nothing (a `ValueError`), with a suggestion.
    ServiceError
        Nothing was found, and a service failed that may have some.

    Warns
    -----
    PartialAnswerWarning
        A service failed: sessions that only it has may be missing.

    Examples
    --------
    >>> import aind_session
    >>> aind_session.get_sessions(676909, platform="ecephys", start_date="2023-12-14")
    (Session('ecephys_676909_2023-12-14_12-43-11'),)
    >>> len(aind_session.get_sessions([676909, 668759], platform=["ecephys", "behavior"]))
    5
    """
    dates = parse_dates(date, start_date, end_date)
    filters = _filters(platform, project, modality, dates)
    subjects = _subjects(subject_id)
    if subjects is None and str(filters) == "dates" and dates.is_open:
        raise InvalidFilterError(
            "get_sessions() needs a subject, or another filter: project, platform, modality, "
            "date, start_date, end_date."
        )
    sessions, found, failures = _search(subjects, filters)
    failures.warn_or_raise(sessions)
    if not sessions:
        filters.check(found)
    return sessions


def iter_sessions(**filters: Any) -> Iterator[Session]:
    """Find sessions as `get_sessions` does, without holding all of them in memory.

    Searches year by year (and once for all years before 2015), ascending.

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
    platform, project, modality = (
        filters.pop(key, None) for key in ("platform", "project", "modality")
    )
    if filters:
        raise TypeError(f"iter_sessions() has no filter {next(iter(filters))!r}")
    any_found = False
    wanted = _filters(platform, project, modality, dates)
    sessions, found, failures = _search([], wanted)
    for year in _years(dates):
        sessions, found, failures = _search(None, replace(wanted, dates=year))
        any_found = any_found or bool(sessions)
        failures.warn()
        yield from sessions
    if not any_found:
        # A platform that no name of one year begins with may be that of another year.
        failures.warn_or_raise(sessions)
        wanted.check(found)


def _years(dates: DateRange) -> Iterator[DateRange]:
    this_year = datetime.datetime.now().year
    edges = [2000, *range(2015, this_year + 2), 2100]
    for first, after in itertools.pairwise(edges):
        start = datetime.datetime(first, 1, 1)
        end = datetime.datetime(after, 1, 1) - datetime.timedelta(microseconds=1)
        year = DateRange(start, end).within(dates)
        if not year.is_empty:
            yield year


def _filters(platform: object, project: object, modality: object, dates: DateRange) -> Filters:
    from aind_session.lookup.search import Filters

    names = _names("platform", platform), _names("project", project), _names("modality", modality)
    return Filters(*names, dates)


def _names(name: str, value: object) -> tuple[str, ...]:
    """Read one value of a filter or several; an empty string filters nothing."""
    if value is None:
        return ()
    names = []
    for one in [value] if isinstance(value, str) or not isinstance(value, Iterable) else value:
        if not isinstance(one, str):
            raise InvalidFilterError(f"{name} is a text or several, not {one!r:.80}.")
        names.append(one.strip())
    return tuple(dict.fromkeys(filter(None, names)))


def _subjects(value: object) -> list[str] | None:
    """Read one subject or several; None without a subject."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str | bytes | Subject) or not isinstance(value, Iterable):
        return [_subject(value)]
    return list(dict.fromkeys(_subject(one) for one in value))


def _subject(value: object) -> str:
    return value.id if isinstance(value, Subject) else parse_subject_id(value)


def _search(subjects: list[str] | None, filters: Filters) -> tuple[Sessions, Found, Failures]:
    """Find sessions; also return those found before filtering, and the services that failed."""
    from aind_session.lookup import search
    from aind_session.lookup.failures import Failures

    found: Found = {}
    failures = Failures(search.MISSING)
    if subjects:
        found, failures = search.of_subjects(subjects)
    elif subjects is None and not filters.dates.is_empty:
        found, failures = search.matching(filters)
    ids = sorted(
        (session for session, evidence in found.items() if filters.accept(session, evidence)),
        key=lambda session: (session.dt, session.id),
    )
    return Sessions._found_together(ids), found, failures


def list_projects() -> tuple[str, ...]:
    """List the names of all projects in DocDB, sorted.

    Raises
    ------
    ServiceError
        DocDB failed.

    Examples
    --------
    >>> import aind_session
    >>> "Invented project A" in aind_session.list_projects()
    True
    """
    from aind_session.lookup import search

    return tuple(sorted(search.existing_values(search.PROJECT)))


def list_platforms() -> tuple[str, ...]:
    """List the abbreviations of all platforms in DocDB, sorted.

    Records of schema 2.x have no platform.

    Examples
    --------
    >>> import aind_session
    >>> "ecephys" in aind_session.list_platforms()
    True
    """
    from aind_session.lookup import rules, search

    found = search.existing_values("data_description.platform.abbreviation")
    return tuple(sorted({rules.current_platform(name) for name in found}))


def list_modalities() -> tuple[str, ...]:
    """List the abbreviations of all modalities in DocDB, in their current spelling, sorted.

    Examples
    --------
    >>> import aind_session
    >>> "ecephys" in aind_session.list_modalities()
    True
    """
    from aind_session.lookup import search
    from aind_session.records.modalities import modality_abbreviation

    found = search.existing_values(
        "data_description.modality.abbreviation", "data_description.modalities.abbreviation"
    )
    return tuple(sorted({modality_abbreviation(name) for name in found}))


def list_subjects(project: str | None = None) -> tuple[str, ...]:
    """List the IDs of all subjects in DocDB, or of those of a project, sorted.

    Parameters
    ----------
    project
        Name of a project, as `list_projects` returns it.

    Examples
    --------
    >>> import aind_session
    >>> "676909" in aind_session.list_subjects()
    True
    """
    from aind_session.lookup import search

    match = {search.PROJECT: project} if project else None
    return tuple(sorted(search.existing_values("subject.subject_id", match=match)))
