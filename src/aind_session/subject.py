"""A subject: an ID, with its sessions, assets and records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aind_session import extension
from aind_session.identifiers import subject_of
from aind_session.value import Value

if TYPE_CHECKING:
    from codeocean.data_asset import DataAsset

    from aind_session.extensions.docdb import SubjectDocDB
    from aind_session.extensions.ibl.converter import IBLDataConverterExtension
    from aind_session.extensions.ibl.neuroglancer import NeuroglancerExtension
    from aind_session.sessions import Sessions


class Subject(Value):
    """A subject, identified by its ID. Creating one sends no request.

    Parameters
    ----------
    subject_id
        For most mice their LabTracks number, as text or number; also `M2501`, `H24.26.001`. Of a
        session ID, a path, a data asset or its name, or a record: the subject in it.

    Raises
    ------
    InvalidIdentifierError
        It contains no subject ID (a `ValueError`).

    Examples
    --------
    >>> import aind_session
    >>> subject = aind_session.Subject(676909)
    >>> subject
    Subject('676909')
    >>> len(subject.sessions)
    4
    """

    _id: str

    if TYPE_CHECKING:
        docdb: SubjectDocDB
        neuroglancer: NeuroglancerExtension
        ibl_data_converter: IBLDataConverterExtension

    def __init__(self, subject_id: object) -> None:
        super().__init__(subject_of(subject_id))

    @property
    def id(self) -> str:
        """Subject's ID with its leading zeros."""
        return self._id

    @property
    def sessions(self) -> Sessions:
        """All sessions of the subject, ascending by date and time, then ID."""
        # An upward import: searches return sessions, and a session has a subject.
        from aind_session.search import get_sessions

        return get_sessions(self._id)

    @property
    def data_assets(self) -> tuple[DataAsset, ...]:
        """All data assets of the subject, ascending by creation.

        Assets without a session in their name are included; assets of other subjects that mention
        this one are not.

        Raises
        ------
        CredentialsError
            The Code Ocean token is missing or was rejected (`KeyError`, `ValueError`).
        ServiceError
            Code Ocean did not answer; or nothing was found, and DocDB, which links some, did not.
        """
        from aind_session.lookup import evidence
        from aind_session.services.models import decode_assets

        return decode_assets(asset.raw for asset in evidence.all_assets_of_subject(self._id))

    def refresh(self) -> None:
        """Remove this subject and its sessions from the cache."""
        from aind_session.lookup import refresh

        self._namespaces.clear()
        refresh.subject(self._id)


Subject._kind = Subject

_EXTENSIONS = "aind_session.extensions"

extension.attach_builtin(
    Subject,
    {
        "docdb": f"{_EXTENSIONS}.docdb:SubjectDocDB",
        "neuroglancer": f"{_EXTENSIONS}.ibl.neuroglancer:NeuroglancerExtension",
        "ibl_data_converter": f"{_EXTENSIONS}.ibl.converter:IBLDataConverterExtension",
    },
    core=("docdb",),
)
