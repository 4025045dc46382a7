"""Identifiers under far more inputs than a quick suite has time for."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aind_session.errors import InvalidFilterError, InvalidIdentifierError
from aind_session.identifiers import (
    find_session_id,
    label_family,
    parse_dates,
    parse_session_id,
    parse_subject_id,
    split_asset_name,
)

pytestmark = pytest.mark.slow

# Pieces that names are made of, in any order: nearer to names than random text is.
PIECES = st.sampled_from(
    [
        *("ecephys", "behavior", "multiplane-ophys", "SLAP2", "raw", "sorted-ks2.5", "dlc_face"),
        *("676909", "125L", "M2501", "018559", "2023-12-13", "20231213", "13-43-40", "134340"),
        *("2023-02-30", "25-61-61", "_", "-", "/", "\\", " ", ":", ".", "s3://", "é", "\n", ""),
    ]
)
names = st.lists(PIECES | st.text(max_size=3), max_size=14).map("".join)


@settings(max_examples=5_000)
@example("ecephys_676909_2023-12-13_13-43-40" * 50)
@given(names)
def test_names(text: str) -> None:
    found = find_session_id(text)
    if found is None:
        with pytest.raises(InvalidIdentifierError):
            parse_session_id(text)
    else:
        assert parse_session_id(text) == found
        assert parse_session_id(found.id) == found
        assert parse_session_id(f"/data/{found.id}/x") == found
        assert found.dt.isoformat(" ") == f"{found.date} {found.time}"
    parts = split_asset_name(text)
    if parts.session is not None:
        assert parts.session == found
    if parts.label:
        assert label_family(parts.label) == label_family(label_family(parts.label))


@settings(max_examples=2_500)
@given(names | st.integers() | st.text(max_size=30), names)
def test_dates_and_subjects(value: object, end: str) -> None:
    try:
        both = parse_dates(None, value, end)
    except InvalidFilterError:
        pass
    else:
        assert both.start is None or both.start.year >= 1900
    try:
        subject = parse_subject_id(value)
    except InvalidIdentifierError:
        pass
    else:
        assert parse_subject_id(subject) == subject
