"""Finding sessions: by subject in every service, by other filters in those that have them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aind_session.identifiers import DateRange, SessionID
from aind_session.lookup import assets, offline, questions, trail
from aind_session.lookup.assets import Known
from aind_session.lookup.filters import modality_filter, spellings
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import CODE_OCEAN, DOCDB, GENERATIONS, Assets
from aind_session.progress import progress
from aind_session.services import codeocean, docdb, pool

MISSING = "sessions that only it knows"

#: Each session that was found, with what is known of it by now.
Found = dict[SessionID, Known]


def of_subjects(subject_ids: Sequence[str]) -> Found:
    """Find all sessions of some subjects, as `among_subjects`; told where a service is down."""
    found, gaps = among_subjects(subject_ids)
    gaps.conclude(found)
    return found


def among_subjects(subject_ids: Sequence[str]) -> tuple[Found, Gaps]:
    """Find all sessions of some subjects, in Code Ocean and both generations of DocDB."""
    with trail.following(subject_ids[0], "sessions"):
        with progress(len(subject_ids), "subjects") as bar:
            by_subject = assets.of_subjects(subject_ids, MISSING, each=bar.update)
        gaps = next(iter(by_subject.values())).gaps
        found: Found = {}
        for subject_id, known in by_subject.items():
            of_subject = assets.by_session(known.assets, known.rows, gaps)
            found.update({s: k for s, k in of_subject.items() if s.subject_id == subject_id})
            if not of_subject:
                trail.tell("No session was found of subject %s", subject_id)
            offline.tell(subject_id, empty=not of_subject)
        return found, gaps


def matching(
    *,
    project: str | None,
    platform: str | None,
    modality: str | None,
    dates: DateRange,
) -> tuple[Found, Gaps]:
    """Find sessions without naming a subject.

    DocDB has all filters; Code Ocean knows platforms only, and is asked where that is the filter.
    """
    gaps = Gaps(MISSING)
    match = _filter(project, platform, modality, dates)
    words = ", ".join(
        f"{name} {value}"
        for name, value in (("project", project), ("platform", platform), ("modality", modality))
        if value
    )
    with trail.following(words or "dates", "sessions"):
        asks: list[Callable[[], Any]] = [
            partial(questions.rows_matching, g, words or "dates", match) for g in GENERATIONS
        ]
        by_platform = platform is not None and project is None and modality is None
        if by_platform and platform is not None:
            asks.append(lambda: assets_of_platform(platform))
        outcomes = pool.outcomes(*asks)
        rows = [row for o in outcomes[:2] for row in gaps.fill(DOCDB, o, ())]
        some: Assets = gaps.fill(CODE_OCEAN, outcomes[2], ()) if by_platform else ()
        if DOCDB in gaps.errors and not some and not rows:
            gaps.raise_first()
        found = assets.by_session(some, rows, gaps)
        if project is None or not offline.is_recorded(project):
            offline.tell_search()
        return found, gaps


def assets_of_platform(platform: str) -> Assets:
    """Search data assets by the custom field `experiment type`."""
    field = {"key": "experiment type", "values": spellings(platform)}
    return trail.ask(
        CODE_OCEAN,
        f"data assets whose `experiment type` is {platform!r}",
        ("assets by platform", platform),
        lambda: codeocean.search_assets(filters=[field], archived=False),
        questions.count_assets,
    )


def _filter(
    project: str | None, platform: str | None, modality: str | None, dates: DateRange
) -> dict[str, Any]:
    """Put filters in Mongo's terms, for the shapes of both generations."""
    each: list[dict[str, Any]] = []
    if project is not None:
        each.append({"data_description.project_name": project})
    if platform is not None:
        written = spellings(platform)
        each.append(
            {
                "$or": [
                    {"name": {"$regex": f"^(?:{'|'.join(map(re.escape, written))})_"}},
                    {"data_description.platform.abbreviation": {"$in": written}},
                    {"data_description.experiment_type": {"$in": written}},
                ]
            }
        )
    if modality is not None:
        each.append(modality_filter(modality))
    months = _months(dates)
    if months:
        each.append({"name": {"$regex": f"_(?:{'|'.join(months)})"}})
    return each[0] if len(each) == 1 else {"$and": each}


def _months(dates: DateRange) -> list[str]:
    """Write a range of dates as beginnings of dates in names: months, or years where many."""
    if dates.is_open:
        return []
    first = dates.start or datetime.datetime(2000, 1, 1)
    last = dates.end or datetime.datetime(2099, 12, 31)
    if last < first:
        return ["none"]
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    if count > 24:
        return [f"{year}-" for year in range(first.year, last.year + 1)]
    months = (first.year * 12 + first.month - 1 + i for i in range(count))
    return [f"{m // 12}-{m % 12 + 1:02d}-" for m in months]


def known_values(field: str) -> set[str]:
    """Ask DocDB for every value of a field; used to suggest one where nothing was found.

    Raises
    ------
    ServiceError
        One generation did not answer: a value that only that has is not told to be none.
    """
    pipeline = [{"$group": {"_id": f"${field}"}}]

    def ask(generation: str) -> tuple[str, ...]:
        return trail.ask(
            DOCDB,
            f"all values of {field} ({generation})",
            ("values", generation, field),
            lambda: tuple(
                str(v["_id"]) for v in docdb.aggregate(generation, pipeline) if v.get("_id")
            ),
            lambda found: f"{len(found)} values",
        )

    each = pool.gather(*(lambda g=g: ask(g) for g in GENERATIONS))
    return {value for values in each for value in values}
