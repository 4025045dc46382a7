"""LIMS2 IDs of legacy sessions: `session.lims`."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from aind_session import search
from aind_session.errors import InvalidIdentifierError, MissingLimsError, NotFoundError
from aind_session.extension import ExtensionBaseClass
from aind_session.identifiers import SessionID, parse_session_id
from aind_session.lookup import folders, results
from aind_session.lookup.failures import Failures
from aind_session.query import S3
from aind_session.services.files import listing
from aind_session.threads import outcomes
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

if TYPE_CHECKING:
    from aind_session.session import Session

# LIMS2 counts up: IDs of sessions have 9 digits, later 10, without a leading zero.
_ID = re.compile(r"[1-9][0-9]{8,30}")
# A date and time without separators, to the minute, second, millisecond or microsecond.
_TIME = re.compile(
    r"20\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d([0-5]\d(\d{3}|\d{6})?)?",
    re.ASCII,
)


class LimsExtension(ExtensionBaseClass):
    """The session in LIMS2, the Allen Institute's older laboratory system.

    Examples
    --------
    >>> import aind_session
    >>> aind_session.Session("ecephys_747816_2024-08-14_13-57-37").lims.id
    1386750279
    """

    _base: Session

    @property
    def id(self) -> int:
        """The session's ID in LIMS2.

        Raises
        ------
        MissingLimsError
            It has none, as it is not a legacy session (an `AttributeError`).
        """
        return _required(self._base._id)

    @staticmethod
    def get_id(aind_session_id: object) -> int:
        """Return the ID of a session in LIMS2.

        Parameters
        ----------
        aind_session_id
            The session, or any text with its ID.

        Raises
        ------
        MissingLimsError
            It has none (a `ValueError`).
        InvalidIdentifierError
            The text contains no session ID (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> aind_session.lims.get_id("ecephys_747816_2024-08-14_13-57-37")
        1386750279
        """
        return _required(parse_session_id(aind_session_id))

    @staticmethod
    def extract_id(value: object) -> int:
        """Extract the ID in LIMS2 from a file's name or path.

        Parameters
        ----------
        value
            Text, or a path. In its last part, the first integer of 9 digits or more between
            underscores or dots that is not a date and time is the ID.

        Raises
        ------
        InvalidIdentifierError
            There is none (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> aind_session.lims.extract_id("1386750279_747816_20240814.sync")
        1386750279
        """
        as_posix = getattr(value, "as_posix", None)
        text = str(as_posix() if callable(as_posix) else value)
        found = _extract(text)
        if found is None:
            raise InvalidIdentifierError(
                f"{text!r:.200} contains no LIMS2 ID: an integer of 9 digits or more between "
                "underscores or dots, as in 1386750279_747816_20240814.sync"
            )
        return found

    @staticmethod
    def get_session(labtracks_mouse_id: int | str, lims_session_id: int | str) -> Session:
        """Return the session of a mouse that has an ID in LIMS2.

        Parameters
        ----------
        labtracks_mouse_id
            The subject.
        lims_session_id
            The session's ID in LIMS2.

        Raises
        ------
        MissingLimsError
            None of the subject's sessions has it (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> aind_session.lims.get_session(747816, 1386750279)
        Session('ecephys_747816_2024-08-14_13-57-37')
        """
        wanted = int(lims_session_id)
        sessions = search.get_sessions(labtracks_mouse_id)
        answers = outcomes(*(partial(LimsExtension.get_id, session) for session in sessions))
        for session, outcome in zip(sessions, answers, strict=True):
            if outcome.value == wanted:
                return session
        for outcome in answers:
            if not isinstance(outcome.error, NotFoundError):
                outcome.unwrap()
        raise MissingLimsError(
            f"None of the {len(sessions)} sessions of subject {labtracks_mouse_id} has the LIMS2 "
            f"ID {wanted} in the names of its files."
        )


def _extract(text: str) -> int | None:
    name = re.split(r"[/\\]+", text.strip(" /"))[-1]
    parts = re.split(r"[_.\s]", name)
    return next((int(p) for p in parts if _ID.fullmatch(p) and not _TIME.fullmatch(p)), None)


def _of_session(session: SessionID) -> int | None:
    """Search the file names of each modality, with one request each; the most common ID counts."""
    raw = folders.raw(session)
    inside = [
        name
        for name in listing(raw.bucket, raw.prefix).folders
        if "metadata" not in name and name not in folders.NOT_MODALITIES
    ]
    failures = Failures("a LIMS ID")
    answers = outcomes(
        *(partial(results.keys_below, raw.bucket, f"{raw.prefix}/{name}/") for name in inside)
    )
    keys = [key for outcome in answers for key in failures.value_or((), outcome, S3)]
    counted = Counter(filter(None, map(_extract, keys)))
    if not counted:
        failures.raise_error()
        note("No file of %s has a LIMS ID in its name", raw)
        return None
    if len(counted) > 1:
        note("Several LIMS IDs in file names: %s", ", ".join(map(str, counted)))
    return counted.most_common(1)[0][0]


def _required(session: SessionID) -> int:
    with tracing(session.id, "LIMS ID"):
        try:
            found = _of_session(session)
        except NotFoundError as error:
            raise MissingLimsError(str(error), name="id", trail=error.trail) from error
        if found is None:
            raise MissingLimsError(
                f"{session.id} has no LIMS2 ID: no file in its modality folders has one in its "
                "name, as those of legacy sessions do (1386750279_747816_20240814.sync).",
                name="id",
                trail=trace_lines(),
            )
        return found
