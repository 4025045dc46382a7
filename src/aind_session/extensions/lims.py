"""LIMS2 IDs of legacy sessions: `session.lims`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aind_session import search
from aind_session.errors import MissingLimsError, NotFoundError
from aind_session.extension import ExtensionBaseClass
from aind_session.identifiers import parse_session_id
from aind_session.lookup import lims_ids
from aind_session.services import pool

if TYPE_CHECKING:
    from aind_session.session import Session


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
            It has none: it is no legacy session (an `AttributeError`).
        """
        return lims_ids.required(self._base._id)

    @staticmethod
    def get_id(aind_session_id: object) -> int:
        """Get the ID in LIMS2 of a session.

        Parameters
        ----------
        aind_session_id
            The session, or any text with its ID.

        Raises
        ------
        MissingLimsError
            It has none (a `ValueError`).
        InvalidIdentifierError
            There is no session ID in it (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> aind_session.lims.get_id("ecephys_747816_2024-08-14_13-57-37")
        1386750279
        """
        return lims_ids.required(parse_session_id(aind_session_id))

    @staticmethod
    def extract_id(value: object) -> int | None:
        """Extract the ID in LIMS2 from a file's name or path.

        Parameters
        ----------
        value
            Text, or a path: of its last part, the integer of 9 digits or more between underscores
            or dots that is no date-time.

        Returns
        -------
        int or None
            None where there is none.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.lims.extract_id("1386750279_747816_20240814.sync")
        1386750279
        """
        as_posix = getattr(value, "as_posix", None)
        return lims_ids.extract(str(as_posix() if callable(as_posix) else value))

    @staticmethod
    def get_session(labtracks_mouse_id: int | str, lims_session_id: int | str) -> Session:
        """Get the session of a mouse that has an ID in LIMS2.

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
            It was not found, and a service could not be asked.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.lims.get_session(747816, 1386750279)
        Session('ecephys_747816_2024-08-14_13-57-37')
        """
        wanted = int(lims_session_id)
        sessions = search.get_sessions(labtracks_mouse_id)
        errors = []
        asked = pool.outcomes(*(lambda s=s: LimsExtension.get_id(s) for s in sessions))
        for session, outcome in zip(sessions, asked, strict=True):
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
