"""Searches for sessions: by subject in every service, by other filters in those that have them."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aind_session.errors import InvalidFilterError, ServiceError
from aind_session.identifiers import DateRange, SessionID
from aind_session.lookup import evidence
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.failures import Failures, note_not_recorded, note_snapshot_searched
from aind_session.lookup.rules import OLDER_PLATFORMS, current_platform, platform_of
from aind_session.progress import progress
from aind_session.query import CODE_OCEAN, DOCDB
from aind_session.records.modalities import NAMES, OBSOLETE, modality_abbreviation
from aind_session.services.assets import assets_of_platform
from aind_session.services.metadata import SCHEMAS, distinct_values, records_matching
from aind_session.threads import gather, outcomes
from aind_session.trace import note, tracing

MISSING = "sessions that only it has"
PROJECT = "data_description.project_name"

#: Platforms that names were seen to begin with, and those of the data schema.
PLATFORMS = (
    *("barseq", "behavior", "confocal", "diSPIM", "ecephys", "exaSPIM", "FIP", "HCR", "HSFP"),
    *("ISI", "MAPseq", "MRI", "merfish", "mesoSPIM", "motor-observatory", "multiplane-ophys"),
    *("single-plane-ophys", "slap2", "SLAP2", "SmartSPIM"),
)

#: Each session that was found, with its evidence.
Found = dict[SessionID, Evidence]


@dataclass(frozen=True)
class Filters:
    """Filters of a search beside the subject; an empty one does not filter."""

    platforms: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    dates: DateRange = field(default_factory=DateRange)

    def __str__(self) -> str:
        parts = (
            f"{name} {' or '.join(values)}"
            for name, values in (
                ("project", self.projects),
                ("platform", self.platforms),
                ("modality", self.modalities),
            )
            if values
        )
        return ", ".join(parts) or "dates"

    def accept(self, session: SessionID, found: Evidence) -> bool:
        """Return True if a session passes every filter."""
        if not self.dates.contains(session.dt):
            return False
        if self.platforms:
            own = session.platform or platform_of(found)
            if not any(same_platform(own, platform) for platform in self.platforms):
                return False
        if self.projects and not any(r.record.project in self.projects for r in found.records):
            return False
        return not self.modalities or any(has_modality(found, m) for m in self.modalities)

    def check(self, found: Found) -> None:
        """Raise if a value exists nowhere: called after a search that found nothing."""
        existing = {*PLATFORMS, *(s.platform for s in found if s.platform)}
        for platform in self.platforms:
            if not any(same_platform(name, platform) for name in existing):
                raise _unknown("platform", platform, existing)
        for modality in self.modalities:
            plain = modality_abbreviation(modality)
            if not any(same_platform(name, plain) for name in (*NAMES, *OBSOLETE)):
                raise _unknown("modality", modality, (*NAMES, *OBSOLETE))
        if self.projects:
            try:
                projects = existing_values(PROJECT)
            except ServiceError:
                # Without the names of both schemas no project can be called unknown.
                return
            for project in self.projects:
                if projects and project not in projects:
                    raise _unknown("project", project, projects)


def of_subjects(subject_ids: Sequence[str]) -> tuple[Found, Failures]:
    """Find all sessions of some subjects, in Code Ocean and both schemas of DocDB."""
    failures = Failures(MISSING)
    with tracing(subject_ids[0], "sessions"):
        with progress(len(subject_ids), "subjects") as bar:
            by_subject = evidence.of_subjects(subject_ids, MISSING, failures, bar.update)
        found: Found = {}
        for subject_id, of_subject in by_subject.items():
            sessions = evidence.by_session(of_subject)
            found.update({s: e for s, e in sessions.items() if s.subject_id == subject_id})
            if not sessions:
                note("No session was found of subject %s", subject_id)
            note_not_recorded(subject_id, empty=not sessions)
        return found, failures


def matching(filters: Filters) -> tuple[Found, Failures]:
    """Find sessions without naming a subject.

    DocDB has all filters; Code Ocean has platforms only, and is searched if that is the filter.
    """
    failures = Failures(MISSING)
    words, match = str(filters), msgspec.json.encode(_as_mongo(filters)).decode()
    with tracing(words, "sessions"):
        calls: list[Callable[[], Any]] = [
            lambda s=s: records_matching(s, words, match)  # type: ignore[misc]
            for s in SCHEMAS
        ]
        by_platform = bool(filters.platforms) and not (filters.projects or filters.modalities)
        if by_platform:
            spelled = tuple(sorted({s for p in filters.platforms for s in spellings(p)}))
            calls.append(lambda: assets_of_platform(spelled))
        answers = outcomes(*calls)
        records = [r for a in answers[:2] for r in failures.value_or((), a, DOCDB)]
        assets = failures.value_or((), answers[2], CODE_OCEAN) if by_platform else ()
        if DOCDB in failures.errors and not assets and not records:
            failures.raise_error()
        note_snapshot_searched(filters.projects[0] if len(filters.projects) == 1 else None)
        return evidence.by_session(Evidence(assets, tuple(records), failures)), failures


def _as_mongo(filters: Filters) -> dict[str, Any]:
    """Write filters as a Mongo query that matches the shapes of both schemas."""
    each: list[dict[str, Any]] = []
    if filters.projects:
        each.append({PROJECT: {"$in": list(filters.projects)}})
    if filters.platforms:
        spelled = sorted({s for p in filters.platforms for s in spellings(p)})
        each.append(
            {
                "$or": [
                    {"name": {"$regex": f"^(?:{'|'.join(map(re.escape, spelled))})_"}},
                    {"data_description.platform.abbreviation": {"$in": spelled}},
                    {"data_description.experiment_type": {"$in": spelled}},
                ]
            }
        )
    if filters.modalities:
        each.append({"$or": [one for m in filters.modalities for one in _with_modality(m)]})
    months = _months(filters.dates)
    if months:
        each.append({"name": {"$regex": f"_(?:{'|'.join(months)})"}})
    return each[0] if len(each) == 1 else {"$and": each}


def _with_modality(modality: str) -> list[dict[str, Any]]:
    """Match a modality in each spelling, in each shape that records have."""
    current = modality_abbreviation(modality)
    spelled = {current, modality, *(old for old, new in OBSOLETE.items() if new == current)}
    alternatives = "|".join(re.escape(s) for s in sorted(spelled))
    whole = {"$regex": f"^(?:{alternatives})$", "$options": "i"}
    printed = {"$regex": f"abbreviation='(?:{alternatives})'", "$options": "i"}
    return [
        {"data_description.modality.abbreviation": whole},
        {"data_description.modalities.abbreviation": whole},
        {"data_description.modality": whole},
        {"data_description.modality": printed},
    ]


def _months(dates: DateRange) -> list[str]:
    """Write a range of dates as beginnings of dates in names: months, or years if many."""
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


def existing_values(*paths: str, match: dict[str, Any] | None = None) -> set[str]:
    """Return every text in some fields in DocDB, over all records that match a filter."""
    where = msgspec.json.encode(match or {}).decode()
    each = gather(*(lambda s=s: distinct_values(s, paths, where) for s in SCHEMAS))
    return {value for values in each for value in values}


def same_platform(one: str | None, other: str) -> bool:
    """Return True if two spellings name one platform: `exaspim` is `exaSPIM`."""
    return one is not None and _plain(one) == _plain(other)


def spellings(platform: str) -> list[str]:
    """Return the spellings under which a platform may be stored, the given one included."""
    others = [name for name in (*PLATFORMS, *OLDER_PLATFORMS) if same_platform(name, platform)]
    return sorted({platform, *others, *(name.lower() for name in others)})


def _plain(name: str) -> str:
    return current_platform(name.strip().replace("_", "-").casefold())


def has_modality(found: Evidence, modality: str) -> bool:
    """Return True if records, custom metadata or the platform of a session have a modality."""
    wanted = modality_abbreviation(modality)
    if any(wanted in record.record.modalities for record in found.records):
        return True
    return wanted in {
        modality_abbreviation(str(asset.custom_metadata.get(key) or ""))
        for asset in found.assets
        for key in ("modality", "experiment type")
    }


def _unknown(what: str, value: str, existing: Iterable[str]) -> InvalidFilterError:
    by_plain = {_plain(name): name for name in sorted(existing)}
    near = difflib.get_close_matches(_plain(value), by_plain, n=3, cutoff=0.5)
    names = [by_plain[n] for n in near] or sorted(by_plain.values())[:12]
    listed = ", ".join(names)
    hint = f"did you mean {listed}?" if near else f"existing ones are {listed}."
    # The only values that have no fixed list.
    every = " (list_projects() returns all)" if what == "project" else ""
    return InvalidFilterError(f"Unknown {what} {value!r}{every}: {hint}")
