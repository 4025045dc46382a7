"""Parsing of session, data asset and subject names, and of dates, in all their forms.

Nothing here sends a request or imports a slow module, and only `csv_files` reads a file.
"""

from __future__ import annotations

from aind_session.identifiers.dates import DateRange as DateRange
from aind_session.identifiers.dates import npc_record as npc_record
from aind_session.identifiers.dates import parse_dates as parse_dates
from aind_session.identifiers.ids import ONLY_SUBJECT as ONLY_SUBJECT
from aind_session.identifiers.ids import AssetName as AssetName
from aind_session.identifiers.ids import SessionID as SessionID
from aind_session.identifiers.ids import Step as Step
from aind_session.identifiers.ids import find_session_id as find_session_id
from aind_session.identifiers.ids import is_uuid as is_uuid
from aind_session.identifiers.ids import label_family as label_family
from aind_session.identifiers.ids import nearest_sessions as nearest_sessions
from aind_session.identifiers.ids import normalise_label as normalise_label
from aind_session.identifiers.ids import parse_session_id as parse_session_id
from aind_session.identifiers.ids import parse_subject_id as parse_subject_id
from aind_session.identifiers.ids import session_in_name as session_in_name
from aind_session.identifiers.ids import short_id as short_id
from aind_session.identifiers.ids import split_asset_name as split_asset_name
from aind_session.identifiers.ids import subject_in as subject_in
from aind_session.identifiers.ids import subject_of as subject_of
from aind_session.identifiers.ids import why_not_found as why_not_found
