"""What is known already of a session or subject: read from the cache, never asked."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aind_session.identifiers import SessionID
    from aind_session.lookup.questions import Assets, Rows
    from aind_session.table import Line


@dataclass(frozen=True)
class Known:
    """What the cache has of a session.

    Attributes
    ----------
    assets : tuple of AssetSummary or None
        Its data assets, ascending; None where nobody has asked for them.
    line : Line or None
        What records and assets tell; None where nothing has been asked.
    has_rows : bool
        Whether its records were asked for.
    modalities : tuple of str or None
        Names of the modality folders; None where the raw folder was not listed.
    """

    assets: Assets | None = None
    line: Line | None = None
    has_rows: bool = False
    modalities: tuple[str, ...] | None = None


def _has_asked() -> bool:
    # Without the module that puts questions none was put: looking at a session that was only
    # named loads no client.
    return "aind_session.lookup.questions" in sys.modules


def of_session(session: SessionID) -> Known:
    """Read what is known of a session."""
    if not _has_asked():
        return Known()
    from aind_session.lookup import assets, folders
    from aind_session.lookup.partial import Gaps
    from aind_session.table import Line, Told

    every_row = _rows(session)
    searched = _assets(session)
    if searched is None and every_row is None:
        return Known()
    rows = _own(session, every_row or ())
    found = _with_linked(searched, rows)
    some = found or searched or ()
    line = Line(session, assets.Known(some, rows, Gaps("")), Told(every_row or ()))
    place = folders.location(rows) or (line.raw_asset and folders.of_asset(line.raw_asset))
    listed = _peek("S3", ("listing", place.bucket, f"{place.prefix}/")) if place else None
    names = folders.modality_names(listed) if listed is not None and listed.exists else None
    return Known(found, line, every_row is not None, names)


def _with_linked(found: Assets | None, rows: Rows) -> Assets | None:
    """Add the assets that only records link; None where not all of them have been opened."""
    if found is None:
        return None
    have = {asset.id for asset in found}
    linked = {i for row in rows for i in row.record.codeocean_ids} - have
    opened = [_peek("Code Ocean", ("asset", asset_id)) for asset_id in linked]
    if None in opened:
        return None
    from aind_session.lookup.assets import ascending

    # In the place of an asset that is gone or closed stands why.
    return ascending((*found, *(one[0] for one in opened if not isinstance(one[0], str))))


def _peek(service: str, key: tuple[str, ...]) -> Any:
    from aind_session.lookup import trail

    return trail.peek(service, key)


def _assets(session: SessionID) -> Assets | None:
    from aind_session.lookup import belonging

    found = of_subject(session.subject_id)
    if found is None:
        from aind_session.lookup.questions import CODE_OCEAN, NAME_QUERY_LENGTH

        query = f"name:{session.id[:NAME_QUERY_LENGTH]}"
        found = _peek(CODE_OCEAN, ("assets by name", query))
    if found is None:
        return None
    from aind_session.lookup.assets import ascending

    owners = belonging.sessions_of_assets(found)
    return ascending(asset for asset in found if owners.get(asset.id) == session)


def _rows(session: SessionID) -> Rows | None:
    """Read the records of a session, and those of its subject where they were asked for."""
    from aind_session.lookup.questions import DOCDB, GENERATIONS

    kept: list[Any] = []
    for generation in GENERATIONS:
        kept.append(_peek(DOCDB, ("rows of session", generation, session.id)))
        kept.append(_peek(DOCDB, ("rows of subject", generation, session.subject_id)))
    if all(rows is None for rows in kept):
        return None
    rows = {(row.generation, row.name, row.location): row for some in kept for row in some or ()}
    return tuple(rows.values())


def _own(session: SessionID, rows: Rows) -> Rows:
    from aind_session.lookup import belonging

    named = ((row, belonging.session_of(row.name)) for row in rows)
    return tuple(row for row, whose in named if whose and whose.id == session.id)


def of_subject(subject_id: str) -> Assets | None:
    """Read the data assets that a search for a subject has found; None where there was none."""
    if not _has_asked():
        return None
    from aind_session.lookup import belonging
    from aind_session.lookup.assets import ascending
    from aind_session.lookup.questions import CODE_OCEAN

    kept = [_peek(CODE_OCEAN, (f"assets by {how}", subject_id)) for how in ("text", "field")]
    if all(some is None for some in kept):
        return None
    every = (asset for some in kept for asset in some or ())
    return ascending(a for a in every if subject_id in belonging.subjects_of_asset(a))
