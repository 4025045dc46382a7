"""Subject IDs: letters and digits with at least one digit."""

from __future__ import annotations

import operator
import re

from aind_session.errors import InvalidIdentifierError
from aind_session.identifiers.session_ids import (
    SHORT_ID,
    SUBJECT_ALONE,
    find_session_id,
    shown_briefly,
)

_LABTRACKS = r"(?<![A-Za-z0-9])[0-9]{6,7}(?![A-Za-z0-9])"
_COMPACT_STAMP = r"20[0-9]{6}[_ T-][0-9]{6}(?![0-9])"


def parse_subject_id(value: object) -> str:
    """Read a subject ID.

    Parameters
    ----------
    value
        A text of letters and digits with at least one digit, an int, an `npc_session` record, or
        an object with a `subject_id` (a session) or an `id` (a subject).

    Returns
    -------
    str
        As written: leading zeros are kept.

    Raises
    ------
    InvalidIdentifierError
        It is none. This is a `ValueError`.

    Examples
    --------
    >>> parse_subject_id(676909), parse_subject_id("018559"), parse_subject_id("M2501")
    ('676909', '018559', 'M2501')
    """
    if isinstance(value, float) and value.is_integer():
        # A table's column of subjects with a gap in it is read as floats.
        value = int(value)
    if isinstance(value, str):
        text = value.strip()
    elif hasattr(value, "__index__") and not isinstance(value, bool):
        # Any whole number: those of numpy, which a table's column holds, are no `int`.
        text = str(operator.index(value))
    else:
        nested = getattr(value, "subject_id", None) or getattr(value, "id", None)
        text = str(nested).strip() if isinstance(nested, str | int) else ""
    if not SUBJECT_ALONE.fullmatch(text) or not text.isascii():
        session = find_session_id(text)
        raise InvalidIdentifierError(
            f"{shown_briefly(value)} is no subject ID: letters and digits with at least "
            "one digit, such as 676909, '018559' or 'M2501'"
            + (f". It names a session: Session({session.id!r})" if session else "")
        )
    return text


def subject_in(text: str) -> str | None:
    """Find the subject that a text is about.

    Parameters
    ----------
    text
        A name, a path, a sentence.

    Returns
    -------
    str or None
        The subject of the leftmost session or short ID; else the first number of 6 or 7 digits.

    Examples
    --------
    >>> subject_in("ecephys_ZS061_2021-04-15_16-45-44"), subject_in("surgery of 676909, 2023")
    ('ZS061', '676909')
    """
    session = find_session_id(text)
    if session is not None:
        return session.subject_id
    short = re.search(SHORT_ID, text)
    if short is not None:
        return short[1]
    number = re.search(_LABTRACKS, re.sub(_COMPACT_STAMP, " ", text))
    return number[0] if number else None
