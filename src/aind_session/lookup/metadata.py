"""Full DocDB records of a session: exact name first, then what carries the name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from aind_session.errors import ServiceConnectionError, ServiceError, ServiceTimeoutError
from aind_session.identifiers import SessionID, is_uuid
from aind_session.lookup import assets, belonging, cohort, offline, questions, trail
from aind_session.lookup.assets import Known
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import DOCDB, GENERATIONS
from aind_session.records import Record
from aind_session.services import pool

D = TypeVar("D", bound=Mapping[str, Any])


def records(session: SessionID) -> dict[str, bytes]:
    """Give a session's record of each generation that has one, as JSON.

    Raises
    ------
    ServiceError
        One generation did not answer and the other has no record.
    """
    with trail.following(session.id, "metadata records"):
        gaps = Gaps("the record of the other generation")
        found = _by_name(session, session.id, gaps)
        if not found:
            gaps.raise_first()
            known = assets.of_session(session, "")
            name = _other_name(session, known)
            if name is not None:
                found = _by_name(session, name, gaps)
            if not found:
                gaps.raise_first()
                _tell_none(session, known)
        gaps.warn()
        return found


def _tell_none(session: SessionID, known: Known) -> None:
    has = questions.count_assets(known.assets)
    and_yet = f", though it has {has}: it may not be registered yet" if known.assets else ""
    trail.tell("No metadata record was found for %s%s", session.id, and_yet)
    offline.tell(session.id)


def _by_name(session: SessionID, name: str, gaps: Gaps) -> dict[str, bytes]:
    def ask(generation: str) -> bytes | None:
        if trail.peek(DOCDB, ("record", generation, name)) is None:
            # Sessions that were found together are in all likelihood asked about together.
            names = cohort.names_with(session, generation)
            if len(names) > 1:
                _learn(generation, names)
        return questions.record_by_name(generation, name)

    return _both(ask, gaps)


def _learn(generation: str, names: list[str]) -> None:
    """Get records together; where that is refused, as too much, each is asked for on its own."""
    try:
        questions.learn_records(generation, names)
    except (ServiceTimeoutError, ServiceConnectionError):
        raise
    except ServiceError as error:
        trail.tell("%d records at once did not come (%s)", len(names), type(error).__name__)


def _both(ask: Callable[[str], bytes | None], gaps: Gaps) -> dict[str, bytes]:
    """Ask both generations at the same time, and give the records that there are."""
    outcomes = pool.outcomes(*(lambda g=g: ask(g) for g in GENERATIONS))
    answers = {
        generation: gaps.fill(DOCDB, outcome, None)
        for generation, outcome in zip(GENERATIONS, outcomes, strict=True)
    }
    return {generation: record for generation, record in answers.items() if record is not None}


def record_of(what: str) -> dict[str, bytes]:
    """Give the record of each generation by a data asset's name or ID, or by a location.

    Raises
    ------
    ServiceError
        One generation did not answer and the other has no record.
    """
    by: Callable[[str, str], bytes | None]
    if what.startswith("s3://"):
        by = questions.record_at
    elif is_uuid(what):
        by = questions.record_of_asset
    else:
        by = questions.record_by_name
    return _told(what, lambda generation: by(generation, what))


def records_of_subject(subject_id: str) -> dict[str, tuple[bytes, ...]]:
    """Give every full record of a subject, by generation."""
    with trail.following(subject_id, "metadata records"):
        gaps = Gaps("records of the other generation")
        outcomes = pool.outcomes(
            *(lambda g=g: questions.records_of_subject(g, subject_id) for g in GENERATIONS)
        )
        found = [gaps.fill(DOCDB, outcome, ()) for outcome in outcomes]
        if not any(found):
            gaps.raise_first()
        offline.tell(subject_id, empty=not any(found))
        gaps.warn()
        return dict(zip(GENERATIONS, found, strict=True))


def one_per_asset(found: Mapping[str, Iterable[D]]) -> tuple[D, ...]:
    """Choose one record for each data asset, of schema 1.x if there is one; ascending by creation.

    Parameters
    ----------
    found
        Decoded records by generation.
    """
    kept: dict[str, D] = {}
    for generation in GENERATIONS:
        for record in found.get(generation, ()):
            # The records of 1.x and 2.x for one asset share the location.
            kept.setdefault(str(record.get("location") or record.get("_id")).rstrip("/"), record)
    return tuple(sorted(kept.values(), key=lambda record: str(Record(record).created or "")))


def _told(about: str, ask: Callable[[str], bytes | None]) -> dict[str, bytes]:
    with trail.following(about, "metadata records"):
        gaps = Gaps("the record of the other generation")
        found = _both(ask, gaps)
        if not found:
            gaps.raise_first()
            offline.tell(about)
        gaps.warn()
        return found


def _other_name(session: SessionID, known: Known) -> str | None:
    """Find the record under the other spelling, or under a name that says `raw` behind the ID."""
    names = [row.name for row in known.rows if belonging.named(row.name).is_raw]
    if names:
        trail.tell("No record is named %s: that of %s is used", session.id, names[-1])
        return names[-1]
    return None
