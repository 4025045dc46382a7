"""Evidence of a session or subject as far as it is cached; never sends a request."""

from __future__ import annotations

from dataclasses import dataclass

from aind_session.identifiers import SessionID, session_in_name
from aind_session.lookup import folders
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.rules import ascending, choose_raw, sessions_of_assets
from aind_session.services.assets import (
    NAME_QUERY_LENGTH,
    Assets,
    assets_mentioning,
    assets_named,
    assets_of_subject,
    cached_linked_asset,
    subjects_of,
)
from aind_session.services.files import cached_listing
from aind_session.services.metadata import SCHEMAS, Records, records_named, records_of_subject


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


def of_session(session: SessionID) -> Cached:
    """Return what is cached of a session."""
    every = _records(session)
    records = None if every is None else tuple(r for r in every if _is_of(session, r.name))
    assets, is_complete = _assets(session, records or ())
    folder = folders.location(records or ())
    raw = choose_raw(assets)
    if folder is None and raw is not None:
        folder = folders.of_asset(raw)
    listed = cached_listing(folder.bucket, folder.prefix) if folder else None
    names = folders.modality_names(listed) if listed is not None and listed.exists else None
    return Cached(assets if is_complete else None, records, every or (), names, assets)


def _is_of(session: SessionID, name: str) -> bool:
    found = session_in_name(name)
    return found is not None and found.id == session.id


def _assets(session: SessionID, records: Records) -> tuple[Assets, bool]:
    """Return a session's cached assets; and whether these are all, linked ones included."""
    searched = of_subject(session.subject_id)
    if searched is None:
        searched = assets_named.cached(session.id[:NAME_QUERY_LENGTH])
    if searched is None:
        return (), False
    owners = sessions_of_assets(searched)
    own = [asset for asset in searched if owners.get(asset.id) == session]
    is_complete = True
    for asset_id in {i for record in records for i in record.linked} - {a.id for a in own}:
        linked = cached_linked_asset(asset_id)
        is_complete = is_complete and linked is not None
        # For an asset that is gone or closed, the reason is cached.
        own += [] if linked is None or isinstance(linked, str) else [linked]
    return ascending(own), is_complete


def _records(session: SessionID) -> Records | None:
    """Return the cached records of a session, or of its subject."""
    cached = [
        found
        for schema in SCHEMAS
        for found in (
            records_named.cached(schema, session.id),
            records_of_subject.cached(schema, session.subject_id),
        )
        if found is not None
    ]
    unique = {(r.schema, r.name, r.location): r for some in cached for r in some}
    return tuple(unique.values()) if cached else None


def of_subject(subject_id: str) -> Assets | None:
    """Return the data assets found by the cached searches for a subject; None without one."""
    searches = [search.cached(subject_id) for search in (assets_mentioning, assets_of_subject)]
    if all(found is None for found in searches):
        return None
    every = (asset for found in searches for asset in found or ())
    return ascending(asset for asset in every if subject_id in subjects_of(asset))
