"""Data assets of a session or a subject, from every source, without anybody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from aind_session.identifiers import SessionID
from aind_session.lookup import belonging, offline, questions, trail
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import CODE_OCEAN, DOCDB, GENERATIONS, Assets, Row, Rows
from aind_session.services import pool
from aind_session.services.cache import Key
from aind_session.services.models import AssetSummary

Named = TypeVar("Named", AssetSummary, Row)

#: Assets or rows that are gone through in less time than it takes to look up how they are sorted.
FEW = 20


@dataclass(frozen=True)
class Known:
    """What the services know of one session or subject, before anything is opened.

    Attributes
    ----------
    of_subject : Rows
        All records of a session's subject, where several sessions are looked up together.
    """

    assets: Assets
    rows: Rows
    gaps: Gaps
    of_subject: Rows = ()

    @property
    def nothing(self) -> bool:
        """Whether no service knows the name."""
        return not self.assets and not self.rows


def ascending(assets: Iterable[AssetSummary]) -> Assets:
    """Sort assets by creation and drop duplicates."""
    unique = {asset.id: asset for asset in assets if not asset.archived}
    return tuple(sorted(unique.values(), key=lambda a: (a.created, a.id)))


def of_session(session: SessionID, missing: str) -> Known:
    """Gather the assets and the records' rows of a session, linked assets not yet opened.

    Where nothing is known under the name as written, the other spelling (with or without a
    platform) is tried.

    Parameters
    ----------
    session
        The session.
    missing
        What may be missing where a service does not answer, for the warning.
    """
    known = _of_spelling(session, missing)
    if known.nothing:
        other = _other_spelling(session, missing)
        if other is not None:
            return other
    return known


def _of_spelling(session: SessionID, missing: str) -> Known:
    gaps = Gaps(missing)
    outcomes = pool.outcomes(
        lambda: _assets_of(session),
        *(lambda g=g: _rows_of(g, session) for g in GENERATIONS),
    )
    assets = gaps.fill(CODE_OCEAN, outcomes[0], ())
    rows = [row for o in outcomes[1:] for row in gaps.fill(DOCDB, o, ())]
    return Known(without_others(session, ascending(assets)), tuple(rows), gaps)


def without_others(session: SessionID, assets: Assets) -> Assets:
    """Leave out assets without a session in their name that another session's raw data went into.

    Costs one request for each of their inputs that no search returned; there are hardly any.
    """
    have = {asset.id for asset in assets}
    unknown = {
        asset.id: [i for i in belonging.input_ids(asset) if i not in have]
        for asset in assets
        if belonging.session_of(asset.name) is None
    }
    wanted = sorted({i for ids in unknown.values() for i in ids})
    outcomes = pool.outcomes(*(lambda i=i: questions.linked_asset(i) for i in wanted))
    opened = {i: o.value for i, o in zip(wanted, outcomes, strict=True) if o.value is not None}
    others = {
        asset_id
        for asset_id, asset in opened.items()
        if belonging.is_raw(asset) and belonging.session_of(asset.name) not in (None, session)
    }
    return tuple(a for a in assets if others.isdisjoint(unknown.get(a.id, ())))


def _assets_of(session: SessionID) -> Assets:
    """Search a session's assets: among its subject's, where these are known, else by name."""
    subject = session.subject_id
    by_text, by_field = ("assets by text", subject), ("assets by field", subject)
    if all(trail.peek(CODE_OCEAN, search) is not None for search in (by_text, by_field)):
        return (
            *_of(session, CODE_OCEAN, by_text, questions.assets_by_text(subject)),
            *_of(session, CODE_OCEAN, by_field, questions.assets_by_field([subject])),
        )
    beginning = session.id[: questions.NAME_QUERY_LENGTH]
    if f"{subject}_" in beginning:
        by_name = ("assets by name", beginning)
        return _of(session, CODE_OCEAN, by_name, questions.assets_by_name(beginning))
    # The query's length cuts the subject off: the whole subject is found with as many requests.
    return _of(session, CODE_OCEAN, by_text, questions.assets_by_text(subject))


def _rows_of(generation: str, session: SessionID) -> Rows:
    subject = session.subject_id
    if questions.known_rows(generation, subject) is not None:
        rows = questions.rows_of_subjects(generation, [subject])
        return _of(session, DOCDB, ("rows of subject", generation, subject), rows)
    rows = questions.rows_of_session(generation, session.id)
    return _of(session, DOCDB, ("rows of session", generation, session.id), rows)


class _Sorted(Generic[Named]):
    """An answer, sorted by the session in each name."""

    # Without a `__dict__`: what it refers to is weighed with the answer itself.
    __slots__ = ("answer", "by_id")

    def __init__(self, answer: tuple[Named, ...]) -> None:
        self.answer: tuple[Named, ...] = answer
        by_id: dict[str, list[Named]] = {}
        every: tuple[object, ...] = answer
        owners = belonging.sessions_of_assets(a for a in every if isinstance(a, AssetSummary))
        for one in answer:
            if isinstance(one, AssetSummary):
                session = owners.get(one.id)
            else:
                session = belonging.session_of(one.name)
            if session is not None:
                by_id.setdefault(session.id, []).append(one)
        self.by_id: dict[str, tuple[Named, ...]] = {i: tuple(some) for i, some in by_id.items()}


def _of(
    session: SessionID, service: str, question: Key, answer: tuple[Named, ...]
) -> tuple[Named, ...]:
    """Give what of an answer is a session's.

    A long answer is sorted once: a loop over a subject's sessions would else go through all of
    the subject's assets for each of them.
    """
    if len(answer) <= FEW:
        return _Sorted(answer).by_id.get(session.id, ())
    key = ("by session", *question)
    kept: _Sorted[Named] | None = trail.peek(service, key)
    if kept is None or kept.answer is not answer:
        kept = _Sorted(answer)
        trail.learn(service, key, kept)
    return kept.by_id.get(session.id, ())


def _other_spelling(session: SessionID, missing: str) -> Known | None:
    known = of_subjects([session.subject_id], missing)[session.subject_id]
    names = (*(a.name for a in known.assets), *(r.name for r in known.rows))
    other = spelled_otherwise(session, filter(None, map(belonging.session_of, names)))
    if other is None:
        return None
    trail.tell("Nothing is known as %s: its other spelling %s is used", session.id, other.id)
    return by_session(known.assets, known.rows, known.gaps)[other]


def spelled_otherwise(session: SessionID, among: Iterable[SessionID]) -> SessionID | None:
    """Give the one session of the same subject and time, with a platform where this has none."""
    others = {
        other
        for other in among
        if (other.subject_id, other.date, other.time)
        == (session.subject_id, session.date, session.time)
        and (other.platform is None) != (session.platform is None)
    }
    return others.pop() if len(others) == 1 else None


#: From so many subjects on they are searched for together.
MANY = 30
#: Subjects named in one search.
NAMED_AT_ONCE = 25


def of_subjects(
    subject_ids: Sequence[str],
    missing: str,
    gaps: Gaps | None = None,
    each: Callable[[float], object] = lambda n: None,
) -> dict[str, Known]:
    """Gather assets and rows of several subjects: one search each, and three for all of them.

    Many subjects are searched for by name together, where Code Ocean is seen to do so. `each` is
    called with the number of subjects whenever some have been searched for.
    """

    def by_text(subject_id: str) -> Assets:
        found = questions.assets_by_text(subject_id)
        each(1)
        return found

    gaps = Gaps(missing) if gaps is None else gaps
    many = len(subject_ids) > MANY
    outcomes = pool.outcomes(
        lambda: questions.assets_by_field(subject_ids),
        *(lambda g=g: questions.rows_of_subjects(g, subject_ids) for g in GENERATIONS),
        *([lambda: _learn_by_names(subject_ids, each)] if many else ()),
        *(lambda s=s: by_text(s) for s in (() if many else subject_ids)),
    )
    by_field = gaps.fill(CODE_OCEAN, outcomes[0], ())
    rows = [row for o in outcomes[1:3] for row in gaps.fill(DOCDB, o, ())]
    texts = () if many else outcomes[3:]
    if many and not gaps:
        # What was not found together, or could not be checked, is searched for one by one.
        texts = pool.outcomes(*(lambda s=s: questions.assets_by_text(s) for s in subject_ids))
    found = [a for o in texts for a in gaps.fill(CODE_OCEAN, o, ())]
    assets_of: dict[str, list[AssetSummary]] = {s: [] for s in subject_ids}
    rows_of: dict[str, list[Row]] = {s: [] for s in subject_ids}
    for asset in (*by_field, *found):
        for subject_id in belonging.subjects_of_asset(asset):
            assets_of.get(subject_id, []).append(asset)
    for row in rows:
        rows_of.get(row.subject_id, []).append(row)
    return {s: Known(ascending(assets_of[s]), tuple(rows_of[s]), gaps) for s in subject_ids}


def _learn_by_names(subject_ids: Sequence[str], each: Callable[[float], object]) -> None:
    """Search for many subjects by name together, and keep what is seen to be whole for each.

    That one field named several times means "or" is documented; that a long query was seen to find
    nothing is known, too. So the answer is checked against the custom field: a part of the subjects
    counts as found only if every asset that the field tells, and the name as well, is in it, for
    two subjects at least. Free text would find no more that belongs to a subject: that is told by
    the name or the field.
    """
    unknown = [s for s in subject_ids if trail.peek(CODE_OCEAN, ("assets by text", s)) is None]
    parts = [unknown[i : i + NAMED_AT_ONCE] for i in range(0, len(unknown), NAMED_AT_ONCE)]
    each(len(subject_ids) - len(unknown))

    def by_names(part: Sequence[str]) -> Assets:
        found = questions.assets_by_names(part)
        each(len(part))
        return found

    by_field, *named = pool.gather(
        lambda: questions.assets_by_field(subject_ids),
        *(lambda p=p: by_names(p) for p in parts),
    )
    for part, found in zip(parts, named, strict=True):
        ids = {asset.id for asset in found}
        expected = {
            subject_id: {asset.id for asset in by_field if subject_id in asset.name}
            for subject_id in part
        }
        told = [some for some in expected.values() if some]
        if len(told) < 2 or not all(some <= ids for some in told):
            trail.tell("A search for %d subjects together is not trusted", len(part))
            continue
        for subject_id in part:
            mine = tuple(a for a in found if subject_id.lower() in a.name.lower())
            trail.learn(CODE_OCEAN, ("assets by text", subject_id), mine)


def by_session(some: Assets, rows: Sequence[Row], gaps: Gaps) -> dict[SessionID, Known]:
    """Sort assets and rows by the session in their name."""
    of: dict[SessionID, tuple[list[AssetSummary], list[Row]]] = {}
    owners = belonging.sessions_of_assets(some)
    for asset in some:
        if asset.id in owners:
            of.setdefault(owners[asset.id], ([], []))[0].append(asset)
    for row in rows:
        session = belonging.session_of(row.name)
        if session is not None:
            of.setdefault(session, ([], []))[1].append(row)
    return {s: Known(tuple(a), tuple(r), gaps) for s, (a, r) in of.items()}


def open_linked(known: Known) -> Assets:
    """Add the assets that only DocDB links; those that are gone or closed are left out and told."""
    have = {asset.id for asset in known.assets}
    linked = {asset_id for row in known.rows for asset_id in row.linked} - have
    # Who has just answered no search is not waited for again, once for each asset.
    is_down = CODE_OCEAN in known.gaps.errors and not known.assets
    if not linked or is_down:
        return known.assets
    found: list[AssetSummary] = []
    for outcome in pool.outcomes(*(lambda i=i: questions.linked_asset(i) for i in sorted(linked))):
        asset = known.gaps.fill(CODE_OCEAN, outcome, None)
        if asset is not None:
            found.append(asset)
    return ascending((*known.assets, *found))


def session_assets(session: SessionID) -> Assets:
    """Give the data assets of a session, ascending by creation.

    Raises
    ------
    CredentialsError, ServiceError
        Code Ocean could not be asked: it alone has data assets.
    """
    with trail.following(session.id, "data assets"):
        assets, known = with_linked(session)
        known.gaps.conclude(assets)
        return assets


def with_linked(session: SessionID) -> tuple[Assets, Known]:
    """Return the data assets of a session, linked ones opened, and what the services returned.

    Raises
    ------
    CredentialsError, ServiceError
        Code Ocean could not be asked: it alone has data assets.
    """
    known = of_session(session, "data assets that only DocDB links")
    assets = _opened(known)
    if not assets:
        trail.tell("No data asset was found for %s", session.id)
        offline.tell(session.id)
    return assets, known


def _opened(known: Known) -> Assets:
    _need_code_ocean(known.gaps)
    assets = open_linked(known)
    _need_code_ocean(known.gaps)
    return assets


def subject_assets(subject_id: str) -> Assets:
    """Give the data assets of a subject, those without a session in their name included."""
    with trail.following(subject_id, "data assets"):
        known = of_subjects([subject_id], "data assets that only DocDB links")[subject_id]
        assets = _opened(known)
        known.gaps.conclude(assets)
        offline.tell(subject_id, empty=not assets)
        return assets


def _need_code_ocean(gaps: Gaps) -> None:
    error = gaps.errors.get(CODE_OCEAN)
    if error is not None:
        raise error


def choose_raw(assets: Iterable[AssetSummary]) -> AssetSummary | None:
    """Return the raw asset of a session: the newest that is ready, else the newest."""
    raw = [asset for asset in assets if belonging.is_raw(asset)]
    chosen = belonging.preferred_raw(raw)
    if chosen is not None and len(raw) > 1:
        state = "that is ready" if belonging.is_usable(chosen) else f"({chosen.state})"
        trail.tell("%d raw data assets: the newest %s, %s, is used", len(raw), state, chosen.id)
    return chosen
