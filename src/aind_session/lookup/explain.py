"""What displays need: the text of `Session.explain()`, and evidence as far as it is cached."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from aind_session import settings, trace
from aind_session.errors import AindSessionError, PartialAnswerWarning, first_line
from aind_session.identifiers import SessionID
from aind_session.lookup import evidence, folders, metadata, results
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.failures import limit_of_rest
from aind_session.lookup.rules import ascending, choose_raw
from aind_session.services import docdb, http
from aind_session.services.assets import (
    Assets,
    assets_mentioning,
    assets_of_subject,
    cached_linked_asset,
    subjects_of,
)
from aind_session.services.files import listing
from aind_session.services.metadata import Records
from aind_session.services.models import AssetSummary
from aind_session.trace import Request, Trace


def of_session(session: SessionID) -> str:
    """Look up the common attributes of a session, and describe how each answer was obtained."""
    lookups: dict[str, Callable[[], str]] = {
        "data assets": lambda: f"{len(evidence.all_assets(session))}",
        "raw data asset": lambda: folders.raw_asset(session).id,
        "raw data folder": lambda: str(folders.raw(session)),
        "uploaded": lambda: "yes" if folders.is_uploaded(session) else "no",
        "modalities": lambda: ", ".join(folders.modalities(session)) or "none",
        "metadata records": lambda: ", ".join(metadata.records(session)) or "none",
        "sorted": lambda: results.why_sorted(session)[1],
    }
    answers = _answers(lookups)
    traces = {one.what: one for one in trace.kept(session.id)}
    lines = [session.id, _services(), *unavailable()]
    shown: set[Request] = set()
    for what, answer in answers.items():
        lines.append(f"{what}: {answer}")
        if what in traces:
            lines += _requests(traces[what], shown)
    for what, one in traces.items():
        if what not in answers:
            lines += [f"requests for {what}:", *_requests(one, shown)]
    return "\n".join(lines)


def _requests(one: Trace, shown: set[Request]) -> list[str]:
    """Return the lines of a trace; requests shown before with the same answer are only counted."""
    lines, repeated = [], 0
    for request in one.requests:
        bare = replace(request, seconds=0.0, cached=True)
        if bare in shown:
            repeated += 1
        else:
            lines.append(f"  {request}")
        shown.add(bare)
    if repeated:
        listed = "the request" if repeated == 1 else f"{repeated} requests"
        lines.append(f"  (and {listed} listed above)")
    return lines


def _services() -> str:
    now = settings.current()
    token = f"token from {now.token.place}" if now.token else "no token"
    return f"services: {now.domain.shown} ({token}), {now.docdb_host.shown}"


def unavailable() -> list[str]:
    """Return a line for each part of a service that is not contacted at present."""
    retired = (
        f"DocDB schema {one} is not queried: it is retired" for one in docdb.retired_schemas()
    )
    return [*http.open_circuits(), *retired]


def _answers(lookups: dict[str, Callable[[], str]]) -> dict[str, str]:
    """Look everything up; after one has used up the limit, the others end soon."""
    answers: dict[str, str] = {}
    with ExitStack() as limits, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PartialAnswerWarning)
        for what, look_up in lookups.items():
            try:
                answer = look_up()
            except AindSessionError as error:
                answer = f"{type(error).__name__}: {first_line(error)}"
                if isinstance(error, TimeoutError):
                    limits.enter_context(limit_of_rest())
            answers[what] = "; ".join([answer, *(str(warning.message) for warning in caught)])
            caught.clear()
    return answers


# -- what is cached; no function below sends a request ---------------------------------------------


@dataclass(frozen=True)
class Cached:
    """The cached part of a session's evidence.

    Attributes
    ----------
    assets, records, modalities
        None: not requested yet.
    found : tuple of AssetSummary
        The cached assets, also if not all of them are cached.
    of_subject : tuple of RecordSummary
        Cached records of the subject, its other sessions' included.
    """

    assets: Assets | None = None
    records: Records | None = None
    of_subject: Records = ()
    modalities: tuple[str, ...] | None = None
    found: Assets = ()

    @property
    def evidence(self) -> Evidence:
        """The evidence that attributes are read from."""
        return Evidence(self.found, self.records or (), of_subject=self.of_subject)


def cached_of(session: SessionID) -> Cached:
    """Return what is cached of a session; records also if only one schema's are."""
    searched, queried = (
        [found for one, *args in requests if (found := one.cached(*args)) is not None]
        for requests in (evidence.searches(session), evidence.record_queries(session))
    )
    records = tuple(r for some in queried for r in evidence.own(session, some))
    assets: list[AssetSummary] = [a for some in searched for a in evidence.own(session, some)]
    is_complete = bool(searched)
    for asset_id in {i for record in records for i in record.linked} - {a.id for a in assets}:
        linked = cached_linked_asset(asset_id) if searched else None
        is_complete = is_complete and linked is not None
        # For an asset that is gone or closed, the reason is cached.
        assets += [] if linked is None or isinstance(linked, str) else [linked]
    found = ascending(assets)
    raw = choose_raw(found)
    folder = folders.location(records) or (folders.of_asset(raw) if raw is not None else None)
    listed = listing.cached(folder.bucket, folder.prefix) if folder else None
    return Cached(
        found if is_complete else None,
        records if queried else None,
        tuple(r for some in queried for r in some),
        folders.modality_names(listed) if listed is not None and listed.exists else None,
        found,
    )


def cached_of_subject(subject_id: str) -> Assets | None:
    """Return the data assets found by the cached searches for a subject; None without one."""
    searches = [search.cached(subject_id) for search in (assets_mentioning, assets_of_subject)]
    if all(found is None for found in searches):
        return None
    every = (asset for found in searches for asset in found or ())
    return ascending(asset for asset in every if subject_id in subjects_of(asset))
