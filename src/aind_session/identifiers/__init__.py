"""Every form of session, data asset and subject name, and of dates, read and made the same.

Nothing here asks a service, reads a file or imports what is slow.
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
from aind_session.identifiers.session_ids import (
    SessionID,
    find_session_id,
    is_uuid,
    parse_session_id,
)
from aind_session.identifiers.subject_ids import parse_subject_id, subject_in

__all__ = [
    "AssetName",
    "DateRange",
    "SessionID",
    "Step",
    "find_session_id",
    "is_uuid",
    "label_family",
    "normalise_label",
    "npc_record",
    "parse_dates",
    "parse_session_id",
    "parse_subject_id",
    "session_in_name",
    "split_asset_name",
    "subject_in",
]
