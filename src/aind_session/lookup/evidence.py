"""Evidence: what the services returned for a session or a subject; every attribute is read from it.

`of` gathers it for one session, `of_subjects` for several subjects, `lookup.batch` for a cohort.
What an attribute is follows from it by the pure functions of `lookup.rules` and `lookup.folders`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from aind_session import context
from aind_session.identifiers import SessionID, session_in_name
from aind_session.lookup.failures import Failures, note_not_recorded
from aind_session.lookup.rules import (
    ascending,
    input_ids,
    is_raw,
    other_spelling,
    platform_of,
    sessions_of_assets,
)
from aind_session.query import CODE_OCEAN, DOCDB, together
from aind_session.services.assets import (
    NAME_QUERY_LENGTH,
    Assets,
    assets_mentioning,
    assets_named,
    assets_named_after,
    assets_of_subject,
    assets_of_subjects,
    linked_asset,
    subjects_of,
)
from aind_session.services.metadata import (
    SCHEMAS,
    Records,
    RecordSummary,
    records_named,
    records_of_subject,
    records_of_subjects,
)
from aind_session.services.models import AssetSummary
from aind_session.threads import gather, outcomes
from aind_session.trace import note, tracing

Named = TypeVar("Named", AssetSummary, RecordSummary)

#: An answer with more assets or records than this is grouped by session once.
MAX_UNGROUPED = 20
#: With more subjects than this, one search by name names several of them.
MAX_SEPARATE_SUBJECTS = 30
#: Subjects named in one search.
SUBJECTS_PER_SEARCH = 25


@dataclass(frozen=True)
class Evidence:
    """What the services returned for one session or subject.

    Attributes
    ----------
    assets : tuple of AssetSummary
        Data assets, ascending by creation.
    records : tuple of RecordSummary
        A few fields of each metadata record.
    failures : Failures
        The services that failed.
    of_subject : tuple of RecordSummary
        All records of the session's subject, if several sessions were looked up together.
    """

    assets: Assets = ()
    records: Records = ()
    failures: Failures = field(default_factory=lambda: Failures(""))
    of_subject: Records = ()

    def __bool__(self) -> bool:
        """Whether any service has the name."""
        return bool(self.assets or self.records)

    @property
    def sessions(self) -> set[SessionID]:
        """The sessions in the names of assets and records."""
        names = (*(a.name for a in self.assets), *(r.name for r in self.records))
        return {found for name in names if (found := session_in_name(name)) is not None}


def of(session: SessionID, missing: str) -> Evidence:
    """Gather a session's evidence, assets that only records link not yet requested.

    If nothing is found under the name as written, the other spelling (with or without a platform)
    is tried. `missing` is what a failed service may leave out, for the warning.
    """
    failures = Failures(missing)
    searched = searches(session)
    answers = together(*searched, *record_queries(session))
    assets = [own(session, failures.value_or((), a, CODE_OCEAN)) for a in answers[: len(searched)]]
    records = [own(session, failures.value_or((), a, DOCDB)) for a in answers[len(searched) :]]
    found = Evidence(
        without_others(session, ascending(asset for some in assets for asset in some)),
        tuple(record for some in records for record in some),
        failures,
    )
    return found or _under_other_spelling(session, missing) or found


def without_others(session: SessionID, assets: Assets) -> Assets:
    """Leave out assets without a session in their name that another session's raw data went into.

    Costs one request for each of their inputs that no search returned; there are hardly any.
    """
    # A name with this session's ID is not read: a subject has thousands of assets.
    nameless = [a for a in assets if session.id not in a.name and session_in_name(a.name) is None]
    if not nameless:
        return assets
    have = {asset.id for asset in assets}
    missing = {asset.id: [i for i in input_ids(asset) if i not in have] for asset in nameless}
    wanted = sorted({i for ids in missing.values() for i in ids})
    inputs = zip(wanted, outcomes(*(lambda i=i: linked_asset(i) for i in wanted)), strict=True)
    others = {
        asset_id
        for asset_id, found in inputs
        if found.value is not None
        and is_raw(found.value)
        and session_in_name(found.value.name) not in (None, session)
    }
    return tuple(a for a in assets if others.isdisjoint(missing.get(a.id, ())))


def searches(session: SessionID) -> list[tuple[Any, ...]]:
    """Return the searches for a session's assets: its subject's if cached, else by name."""
    of_subject: list[tuple[Any, ...]] = [
        (search, session.subject_id) for search in (assets_mentioning, assets_of_subject)
    ]
    if all(search.cached(subject) is not None for search, subject in of_subject):
        return of_subject
    beginning = session.id[:NAME_QUERY_LENGTH]
    # If the query's length cuts the subject off, the whole subject takes as many requests.
    return [(assets_named, beginning)] if f"{session.subject_id}_" in beginning else of_subject[:1]


def record_queries(session: SessionID) -> list[tuple[Any, ...]]:
    """Return the queries for a session's records: its subject's if cached, else by name."""
    return [
        (records_named, schema, session.id)
        if records_of_subject.cached(schema, session.subject_id) is None
        else (records_of_subject, schema, session.subject_id)
        for schema in SCHEMAS
    ]


class _BySession(Generic[Named]):
    """An answer, grouped by the session of each asset or record."""

    # Without a `__dict__`: the cache weighs what it refers to with the answer itself.
    __slots__ = ("answer", "groups")

    def __init__(self, answer: tuple[Named, ...]) -> None:
        self.answer: tuple[Named, ...] = answer
        groups: dict[str, list[Named]] = {}
        every: tuple[object, ...] = answer
        owners = sessions_of_assets(a for a in every if isinstance(a, AssetSummary))
        for one in answer:
            if isinstance(one, AssetSummary):
                session = owners.get(one.id)
            else:
                session = session_in_name(one.name)
            if session is not None:
                groups.setdefault(session.id, []).append(one)
        self.groups: dict[str, tuple[Named, ...]] = {i: tuple(some) for i, some in groups.items()}


def own(session: SessionID, answer: tuple[Named, ...]) -> tuple[Named, ...]:
    """Return the part of an answer that is a session's.

    A long answer is grouped once: otherwise a loop over a subject's sessions would go through all
    of the subject's assets for each of them.
    """
    if len(answer) <= MAX_UNGROUPED:
        return _BySession(answer).groups.get(session.id, ())
    cache, key = context.current().cache, ("by session", id(answer))
    grouped: _BySession[Named] | None = cache.cached(key)
    if grouped is None or grouped.answer is not answer:
        grouped = _BySession(answer)
        cache.put(key, grouped)
    return grouped.groups.get(session.id, ())


def _under_other_spelling(session: SessionID, missing: str) -> Evidence | None:
    found = of_subjects([session.subject_id], missing)[session.subject_id]
    other = other_spelling(session, found.sessions)
    if other is None:
        return None
    note("Nothing is found as %s: its other spelling %s is used", session.id, other.id)
    return by_session(found)[other]


def of_subjects(
    subject_ids: Sequence[str],
    missing: str,
    failures: Failures | None = None,
    progress: Callable[[float], object] = lambda n: None,
) -> dict[str, Evidence]:
    """Gather the evidence of several subjects: one search each, and three for all of them.

    Many subjects are searched by name together, if Code Ocean is seen to do so. Services that
    failed are noted for the subjects that lack their answer, and in `failures`. `progress` is
    called with the number of subjects whenever some have been searched.
    """

    def mentioning(subject_id: str) -> Assets:
        found = assets_mentioning(subject_id)
        progress(1)
        return found

    for_all = Failures(missing)
    many = len(subject_ids) > MAX_SEPARATE_SUBJECTS
    of_field, *rest = outcomes(
        lambda: assets_of_subjects(subject_ids),
        *(lambda s=s: records_of_subjects(s, subject_ids) for s in SCHEMAS),
        *([lambda: _prefetch_by_names(subject_ids, progress)] if many else ()),
        *(lambda s=s: mentioning(s) for s in (() if many else subject_ids)),
    )
    records, texts = rest[: len(SCHEMAS)], rest[len(SCHEMAS) :]
    assets = list(for_all.value_or((), of_field, CODE_OCEAN))
    found = [record for some in records for record in for_all.value_or((), some, DOCDB)]
    if many:
        # Subjects not found together, or not checked, are searched one by one.
        one_by_one = () if CODE_OCEAN in for_all.errors else subject_ids
        with for_all.limit():
            texts = outcomes(*(lambda s=s: assets_mentioning(s) for s in one_by_one))
    failures_of = {s: Failures(missing) for s in subject_ids}
    for own in failures_of.values():
        own.update(for_all)
    # None are searched one by one if Code Ocean has failed for all.
    for subject_id, some in zip(subject_ids, texts, strict=False):
        assets += failures_of[subject_id].value_or((), some, CODE_OCEAN)
    if failures is not None:
        for own in failures_of.values():
            failures.update(own)
    assets_of: dict[str, list[AssetSummary]] = {s: [] for s in subject_ids}
    records_by: dict[str, list[RecordSummary]] = {s: [] for s in subject_ids}
    for asset in assets:
        for subject_id in subjects_of(asset):
            assets_of.get(subject_id, []).append(asset)
    for record in found:
        records_by.get(record.subject_id, []).append(record)
    return {
        s: Evidence(ascending(assets_of[s]), tuple(records_by[s]), failures_of[s])
        for s in subject_ids
    }


def _prefetch_by_names(subject_ids: Sequence[str], progress: Callable[[float], object]) -> None:
    """Search many subjects by name together, and cache what is seen to be complete for each.

    That one field named several times means "or" is documented; that a long query found nothing
    was seen, too. So the answer is checked against the custom field: some subjects count as found
    only if every asset that the field finds, and whose name has the subject, is in it, for two
    subjects at least. Free text would find no more that belongs to a subject: the name or the
    field decides that.
    """
    missing = [s for s in subject_ids if assets_mentioning.cached(s) is None]
    size = SUBJECTS_PER_SEARCH
    parts = [tuple(missing[i : i + size]) for i in range(0, len(missing), size)]
    progress(len(subject_ids) - len(missing))

    def named_after(part: tuple[str, ...]) -> Assets:
        found = assets_named_after(part)
        progress(len(part))
        return found

    moment = context.current().cache.moment()
    of_field, *named = gather(
        lambda: assets_of_subjects(subject_ids), *(lambda p=p: named_after(p) for p in parts)
    )
    for part, found in zip(parts, named, strict=True):
        ids = {asset.id for asset in found}
        expected = [{a.id for a in of_field if s in a.name} for s in part]
        checked = [some for some in expected if some]
        if len(checked) < 2 or not all(some <= ids for some in checked):
            note("A search for %d subjects together is not trusted", len(part))
            continue
        for subject_id in part:
            own = tuple(a for a in found if subject_id.lower() in a.name.lower())
            assets_mentioning.store(own, subject_id, moment=moment)


def by_session(found: Evidence) -> dict[SessionID, Evidence]:
    """Split the evidence of a subject by the session in each name."""
    groups: dict[SessionID, tuple[list[AssetSummary], list[RecordSummary]]] = {}
    owners = sessions_of_assets(found.assets)
    for asset in found.assets:
        if asset.id in owners:
            groups.setdefault(owners[asset.id], ([], []))[0].append(asset)
    for record in found.records:
        session = session_in_name(record.name)
        if session is not None:
            groups.setdefault(session, ([], []))[1].append(record)
    return {s: replace(found, assets=tuple(a), records=tuple(r)) for s, (a, r) in groups.items()}


def with_linked(found: Evidence) -> Evidence:
    """Add the assets that only records link; those that are gone or closed are noted."""
    have = {asset.id for asset in found.assets}
    linked = {asset_id for record in found.records for asset_id in record.linked} - have
    # A service that has just failed is not waited for again, once per asset.
    is_down = CODE_OCEAN in found.failures.errors and not found.assets
    if not linked or is_down:
        return found
    answers = outcomes(*(lambda i=i: linked_asset(i) for i in sorted(linked)))
    assets = (found.failures.value_or(None, answer, CODE_OCEAN) for answer in answers)
    return replace(found, assets=ascending((*found.assets, *filter(None, assets))))


def assets_of(session: SessionID) -> Evidence:
    """Gather a session's evidence with every asset; Code Ocean alone has data assets."""
    with tracing(session.id, "data assets"):
        found = _complete(of(session, "data assets that only DocDB links"))
        if not found.assets:
            note("No data asset was found for %s", session.id)
            note_not_recorded(session.id)
        return found


def all_assets(session: SessionID) -> Assets:
    """Return a session's data assets; warn of services that failed."""
    found = assets_of(session)
    found.failures.warn_or_raise(found.assets)
    return found.assets


def platform(session: SessionID) -> str | None:
    """Return the platform in a session's name, else that of its assets and records."""
    with tracing(session.id, "platform"):
        found = of(session, "the platform")
        name = platform_of(found) or platform_of(with_linked(found))
        if name is None:
            found.failures.warn()
        return name


def all_assets_of_subject(subject_id: str) -> Assets:
    """Return the data assets of a subject, those without a session in their name included."""
    with tracing(subject_id, "data assets"):
        missing = "data assets that only DocDB links"
        found = _complete(of_subjects([subject_id], missing)[subject_id])
        found.failures.warn_or_raise(found.assets)
        note_not_recorded(subject_id, empty=not found.assets)
        return found.assets


def _complete(found: Evidence) -> Evidence:
    _raise_if_down(found)
    found = with_linked(found)
    _raise_if_down(found)
    return found


def _raise_if_down(found: Evidence) -> None:
    error = found.failures.errors.get(CODE_OCEAN)
    if error is not None:
        raise error
