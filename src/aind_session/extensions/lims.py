"""LIMS2 IDs of legacy sessions: `session.lims`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from aind_session import search
from aind_session.errors import InvalidIdentifierError, MissingLimsError, NotFoundError
from aind_session.extension import ExtensionBaseClass
from aind_session.identifiers import SessionID, parse_session_id
from aind_session.lookup import folders
from aind_session.lookup.failures import Failures
from aind_session.query import S3, count, query
from aind_session.services import s3
from aind_session.services.files import listing
from aind_session.threads import outcomes
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

if TYPE_CHECKING:
    from aind_session.session import Session

#: Keys listed in the folder of each modality.
MAX_KEYS = 1000

# LIMS2 counts up: IDs of sessions have 9 digits, later 10, without a leading zero.
_ID = re.compile(r"[1-9][0-9]{8,30}")
_TIMES = {12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f", 20: "%Y%m%d%H%M%S%f"}


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
        ServiceError, CredentialsError
            It was not found, and a service could not be reached.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.lims.get_session(747816, 1386750279)
        Session('ecephys_747816_2024-08-14_13-57-37')
        """
        wanted = int(lims_session_id)
        sessions = search.get_sessions(labtracks_mouse_id)
        errors = []
        answers = outcomes(*(lambda s=s: LimsExtension.get_id(s) for s in sessions))
        for session, outcome in zip(sessions, answers, strict=True):
            if outcome.error is None:
                if outcome.value == wanted:
                    return session
            elif not isinstance(outcome.error, NotFoundError):
                errors.append(outcome.error)
        if errors:
            raise errors[0]
        raise MissingLimsError(
            f"None of the {len(sessions)} sessions of subject {labtracks_mouse_id} has the LIMS2 "
            f"ID {wanted} in the names of its files."
        )


def _extract(text: str) -> int | None:
    name = re.split(r"[/\\]+", text.strip(" /"))[-1]
    for part in re.split(r"[_.\s]", name):
        if _ID.fullmatch(part) and not _is_time(part):
            return int(part)
    return None


def _is_time(digits: str) -> bool:
    """Whether digits are a date and time, written without separators."""
    layout = _TIMES.get(len(digits))
    if layout is None or not digits.startswith("20"):
        return False
    try:
        datetime.strptime(digits, layout)
    except ValueError:
        return False
    return True


def _most_common(names: Iterable[str]) -> int | None:
    counted = Counter(found for name in names if (found := _extract(name)) is not None)
    if len(counted) > 1:
        note("Several LIMS IDs in file names: %s", ", ".join(map(str, counted)))
    return counted.most_common(1)[0][0] if counted else None


def _of_session(session: SessionID) -> int | None:
    """Search the file names of each modality, with one request each."""
    raw = folders.raw(session)
    inside = [
        name
        for name in listing(raw.bucket, raw.prefix).folders
        if "metadata" not in name and name not in folders.NOT_MODALITIES
    ]
    failures = Failures("a LIMS ID")
    answers = outcomes(*(lambda n=n: _keys(raw.bucket, f"{raw.prefix}/{n}/") for n in inside))
    found = _most_common(key for outcome in answers for key in failures.value_or((), outcome, S3))
    if found is None:
        failures.raise_error()
        note("No file of %s has a LIMS ID in its name", raw)
    return found


@query(S3, "list all keys below s3://{0}/{1}", count("key"))
def _keys(bucket: str, prefix: str) -> tuple[str, ...]:
    return s3.list_keys(bucket, prefix, MAX_KEYS)


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
