"""Sessions that were found together: what a plain loop asks of one is fetched for all of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from aind_session.errors import ServiceError
from aind_session.forking import when_forked
from aind_session.identifiers import SessionID
from aind_session.lookup import assets, belonging, folders, questions, trail
from aind_session.lookup.assets import Known
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import DOCDB, GENERATIONS, Row, Rows
from aind_session.services import pool

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


when_forked(_after_fork)


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


def _by_subject(sessions: Iterable[SessionID]) -> dict[str, list[SessionID]]:
    wanted: dict[str, list[SessionID]] = {}
    for session in sessions:
        wanted.setdefault(session.subject_id, []).append(session)
    return wanted


def recorded(sessions: Sequence[SessionID]) -> dict[SessionID, Known]:
    """Give each session's rows, without assets: one request a generation and 100 subjects."""
    gaps = Gaps("columns from its records")
    wanted = _by_subject(sessions)
    subjects = list(wanted)
    with trail.following(next(iter(wanted), ""), "records of a cohort"):
        outcomes = pool.outcomes(
            *(
                lambda g=g, c=c: questions.rows_of_subjects(g, c)
                for c in _chunks(subjects, SUBJECTS_AT_ONCE)
                for g in GENERATIONS
            )
        )
        rows: dict[str, list[Row]] = {subject_id: [] for subject_id in subjects}
        for outcome in outcomes:
            for row in gaps.fill(DOCDB, outcome, ()):
                rows.get(row.subject_id, []).append(row)
        gaps.warn()
        result: dict[SessionID, Known] = {}
        for subject_id, some in rows.items():
            result.update(_shared_out(Known((), tuple(some), gaps), wanted[subject_id]))
        return result


def known(sessions: Sequence[SessionID], told: Gaps | None = None) -> dict[SessionID, Known]:
    """Give each session's assets and rows, linked assets opened.

    One request a subject, and three for each 100 of them. Who did not answer is noted in `told`;
    without one, a warning tells.
    """
    gaps = Gaps("sessions' assets and records") if told is None else told
    wanted = _by_subject(sessions)
    result: dict[SessionID, Known] = {}
    with trail.following(next(iter(wanted), ""), "assets of a cohort"):
        by_subject: dict[str, Known] = {}
        for chunk in _chunks(list(wanted), SUBJECTS_AT_ONCE):
            by_subject.update(assets.of_subjects(chunk, gaps.missing, gaps))
        opened = pool.gather_all(lambda s: assets.open_linked(by_subject[s]), list(by_subject))
        for subject_id, some in zip(by_subject, opened, strict=True):
            of_subject = replace(by_subject[subject_id], assets=some)
            result.update(_shared_out(of_subject, wanted[subject_id]))
        if told is None:
            gaps.warn()
    return result


def _shared_out(known: Known, sessions: Iterable[SessionID]) -> Iterator[tuple[SessionID, Known]]:
    """Give each session of a subject what is its own of that which is known of the subject."""
    found = assets.by_session(known.assets, known.rows, known.gaps)
    by_id = {asset.id: asset for asset in known.assets}
    nothing = Known((), (), known.gaps)
    for session in sessions:
        other = session if session in found else assets.spelled_otherwise(session, found)
        own = found.get(other or session, nothing)
        # What its records link is its own, too, whatever the name.
        linked = (by_id[i] for row in own.rows for i in row.linked if i in by_id)
        all_assets = assets.ascending((*assets.without_others(session, own.assets), *linked))
        yield session, replace(own, assets=all_assets, of_subject=known.rows)


def fetch(
    sessions: Sequence[SessionID], what: Iterable[str], each: Callable[[float], object]
) -> None:
    """Fetch and keep "assets", "records", "modalities" of sessions; one warning tells of gaps.

    Parameters
    ----------
    sessions, what
        Of whom, and what of them.
    each
        Called with the number of sessions whenever some are done.
    """
    gaps = Gaps("what only it knows of these sessions")
    if not {"assets", "modalities"}.isdisjoint(what):
        known(sessions, gaps)
        each(len(sessions))
    # Who is down is not asked the same for each session: it is asked again when they are looked up.
    if "records" in what and DOCDB not in gaps.errors:
        _records(sessions, each, gaps)
    is_down = any(isinstance(error, ServiceError) for error in gaps.errors.values())
    if "modalities" in what and not is_down:
        _listings(sessions, each)
    gaps.warn()


def _records(sessions: Sequence[SessionID], each: Callable[[float], object], gaps: Gaps) -> None:
    """Fetch and keep the full records of sessions, a request for each 50 and generation."""
    ids = [session.id for session in sessions]

    def learn(chunk: Sequence[str], generation: str) -> None:
        questions.learn_records(generation, _that_exist(chunk, generation))
        if generation == GENERATIONS[-1]:
            each(len(chunk))

    for outcome in pool.outcomes(
        *(lambda c=c, g=g: learn(c, g) for c in _chunks(ids, AT_ONCE) for g in GENERATIONS)
    ):
        gaps.fill(DOCDB, outcome, None)


def _listings(sessions: Sequence[SessionID], each: Callable[[float], object]) -> None:
    """List the raw folder of each session, one request each; what fails is asked again later."""

    def look(session: SessionID) -> None:
        folder, _ = folders.find_raw(session, "")
        if folder is not None:
            questions.listing(folder.bucket, folder.prefix)
        each(1)

    pool.outcomes(*(lambda s=s: look(s) for s in sessions))
