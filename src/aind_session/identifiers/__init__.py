"""Parsing of session, data asset and subject names, and of dates, in all their forms.

Nothing here sends a request, reads a file or imports a slow module.
"""

from __future__ import annotations

from aind_session.identifiers.asset_names import (
    AssetName,
    Step,
    label_family,
    normalise_label,
    session_in_name,
    split_asset_name,
)
from aind_session.identifiers.dates import (
    DateRange,
    npc_record,
    parse_dates,
)
from aind_session.identifiers.ids import (
    SessionID,
    find_session_id,
    is_uuid,
    nearest_sessions,
    parse_session_id,
    parse_subject_id,
    short_id,
    subject_in,
    subject_of,
    why_not_found,
)

__all__ = [
    "AssetName",
    "DateRange",
    "SessionID",
    "Step",
    "find_session_id",
    "is_uuid",
    "label_family",
    "nearest_sessions",
    "normalise_label",
    "npc_record",
    "parse_dates",
    "parse_session_id",
    "parse_subject_id",
    "session_in_name",
    "short_id",
    "split_asset_name",
    "subject_in",
    "subject_of",
    "why_not_found",
]
