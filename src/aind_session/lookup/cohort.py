"""Sessions that were found together: what a plain loop asks of one is fetched for all of them."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from aind_session.identifiers import SessionID
from aind_session.lookup import assets, belonging, folders, questions, trail
from aind_session.lookup.assets import Known
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import DOCDB, GENERATIONS, Row, Rows
from aind_session.services import pool
from aind_session.services.models import AssetSummary

#: Sessions remembered with those that were found with them.
KEPT = 20_000
#: Sessions whose full records are fetched at once: a record has 100 kB on average, the gateway's
#: limit is 10 MB.
AT_ONCE = 50
#: Subjects named in one question: their IDs in a filter stay far below the limit of a URL, should
#: the question have to be put as one.
SUBJECTS_AT_ONCE = 100

_groups: OrderedDict[str, tuple[str, ...]] = OrderedDict()
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def remember(session_ids: Iterable[str]) -> None:
    """Note that some sessions were found together."""
    ids = tuple(session_ids)
    chunks = [ids[i : i + AT_ONCE] for i in range(0, len(ids), AT_ONCE)]
    with _lock:
        for chunk in chunks:
            for session_id in chunk:
                _groups[session_id] = chunk
                _groups.move_to_end(session_id)
        while len(_groups) > KEPT:
            _groups.popitem(last=False)


def forget(session_id: str) -> None:
    """Look this session up on its own from now on."""
    with _lock:
        _groups.pop(session_id, None)


def clear() -> None:
    """Forget all."""
    with _lock:
        _groups.clear()


def names_with(session: SessionID, generation: str) -> list[str]:
    """Name the records worth fetching together with a session's, itself included."""
    with _lock:
        group = _groups.get(session.id, ())
    return _that_exist(group, generation) if len(group) > 1 else [session.id]


def _that_exist(session_ids: Iterable[str], generation: str) -> list[str]:
    """Leave out sessions that have no record, as far as that is known."""
    names = []
    for session_id in session_ids:
        found = belonging.session_of(session_id)
        if found is not None and _has_record(found, generation):
            names.append(session_id)
    return names


def _has_record(session: SessionID, generation: str) -> bool:
    rows: Rows | None = trail.peek(DOCDB, ("rows of subject", generation, session.subject_id))
    if rows is None:
        return True
    if any(row.name == session.id for row in rows):
        return True
    # Known to have none: kept as such, so that nobody asks for it.
    trail.learn(DOCDB, ("record", generation, session.id), ())
    return False


def _chunks(things: Sequence[str], size: int) -> list[Sequence[str]]:
    return [things[i : i + size] for i in range(0, len(things), size)]


def _subjects(sessions: Iterable[SessionID]) -> list[str]:
    return list(dict.fromkeys(session.subject_id for session in sessions))


def rows(sessions: Sequence[SessionID]) -> dict[SessionID, Rows]:
    """Give a few fields of each session's records: one request a generation and 100 subjects."""
    gaps = Gaps("columns from its records")
    subjects = _subjects(sessions)
    with trail.following(subjects[0] if subjects else "", "records of a cohort"):
        outcomes = pool.outcomes(
            *(
                lambda g=g, c=c: questions.rows_of_subjects(g, c)
                for c in _chunks(subjects, SUBJECTS_AT_ONCE)
                for g in GENERATIONS
            )
        )
        by_session: dict[str, list[Row]] = {}
        for outcome in outcomes:
            for row in gaps.fill(DOCDB, outcome, ()):
                found = belonging.session_of(row.name)
                if found is not None:
                    by_session.setdefault(found.id, []).append(row)
        gaps.warn()
        return {s: tuple(by_session.get(s.id, ())) for s in sessions}


def known(sessions: Sequence[SessionID]) -> dict[SessionID, Known]:
    """Give each session's assets and rows, linked assets opened.

    One request a subject, and three for each 100 of them.
    """
    gaps = Gaps("sessions' assets and records")
    wanted: dict[str, list[SessionID]] = {}
    for session in sessions:
        wanted.setdefault(session.subject_id, []).append(session)
    result: dict[SessionID, Known] = {}
    with trail.following(next(iter(wanted), ""), "assets of a cohort"):
        by_subject: dict[str, Known] = {}
        for chunk in _chunks(list(wanted), SUBJECTS_AT_ONCE):
            by_subject.update(assets.of_subjects(chunk, gaps.missing, gaps))
        opened = pool.gather_all(lambda s: assets.open_linked(by_subject[s]), list(by_subject))
        for subject_id, some in zip(by_subject, opened, strict=True):
            rows = by_subject[subject_id].rows
            found = assets.by_session(some, rows, gaps)
            by_id = {asset.id: asset for asset in some}
            for session in wanted[subject_id]:
                other = session if session in found else assets.spelled_otherwise(session, found)
                result[session] = _with_linked(found.get(other or session), by_id, gaps)
        gaps.warn()
    return result


def _with_linked(known: Known | None, by_id: dict[str, AssetSummary], gaps: Gaps) -> Known:
    """Add the assets that a session's records link, whatever their name."""
    if known is None:
        return Known((), (), gaps)
    have = {asset.id for asset in known.assets}
    linked = {i for row in known.rows for i in row.linked if i in by_id} - have
    if not linked:
        return known
    return Known(assets.ascending((*known.assets, *(by_id[i] for i in linked))), known.rows, gaps)


def records(sessions: Sequence[SessionID], each: Callable[[float], object]) -> None:
    """Fetch and keep the full records of sessions, a request for each 50 and generation.

    Parameters
    ----------
    sessions
        Whose records.
    each
        Called with the number of sessions whenever some are done.
    """
    ids = [session.id for session in sessions]

    def learn(chunk: Sequence[str], generation: str) -> None:
        questions.learn_records(generation, _that_exist(chunk, generation))
        if generation == GENERATIONS[-1]:
            each(len(chunk))

    gaps = Gaps("metadata records")
    for outcome in pool.outcomes(
        *(lambda c=c, g=g: learn(c, g) for c in _chunks(ids, AT_ONCE) for g in GENERATIONS)
    ):
        gaps.fill(DOCDB, outcome, None)
    gaps.warn()


def listings(sessions: Sequence[SessionID], each: Callable[[float], object]) -> None:
    """List the raw folder of each session, one request each; what fails is asked again later."""

    def look(session: SessionID) -> None:
        folder, _ = folders.find_raw(session, "")
        if folder is not None:
            questions.listing(folder.bucket, folder.prefix)
        each(1)

    pool.outcomes(*(lambda s=s: look(s) for s in sessions))
