"""A session: its ID, and attributes that are looked up when they are first used."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aind_session import extension
from aind_session.identifiers import (
    SessionID,
    npc_record,
    parse_session_id,
)
from aind_session.value import Downloadable, Value, raises_attribute_error

if TYPE_CHECKING:
    from pathlib import Path

    from codeocean.data_asset import DataAsset
    from npc_session import DateRecord, DatetimeRecord, TimeRecord
    from upath import UPath

    from aind_session.derived import DerivedDataAsset
    from aind_session.extensions.docdb import SessionDocDB
    from aind_session.extensions.ecephys import EcephysExtension
    from aind_session.extensions.lims import LimsExtension
    from aind_session.lookup.folders import Folder
    from aind_session.subject import Subject


class Session(Value, Downloadable):
    """A session, identified by its ID. Creating one sends no request.

    Two objects are equal if they have the same session ID. They sort by ID, and are pickled as the
    ID and the attributes that you added; the properties below are read-only.

    Parameters
    ----------
    session_id
        Any text with a session ID in it (an ID, a path, the name of a derived asset, an S3 URL), a
        data asset, or a metadata record.

    Raises
    ------
    InvalidIdentifierError
        It contains no session ID (a `ValueError`).

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("/data/ecephys_676909_2023-12-13_13-43-40_sorted/x.nwb")
    >>> session
    Session('ecephys_676909_2023-12-13_13-43-40')
    >>> session.subject_id
    '676909'
    """

    _id: SessionID

    if TYPE_CHECKING:
        # The built-in namespaces, for editors and type checkers.
        docdb: SessionDocDB
        ecephys: EcephysExtension
        lims: LimsExtension

    def __init__(
        self,
        session_id: str | os.PathLike[str] | UPath | DataAsset | Mapping[str, Any] | Session,
    ) -> None:
        super().__init__(parse_session_id(session_id))

    @classmethod
    def in_group(cls, session_id: str, group: tuple[str, ...]) -> Session:
        """Make a session that was found together with others, named by their IDs."""
        session = cls(session_id)
        session._group = group
        return session

    # -- the name ----------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Session ID, as written, with normalized separators."""
        return self._id.id

    @property
    def subject_id(self) -> str:
        """Subject's ID with its leading zeros: for most mice their LabTracks number."""
        return self._id.subject_id

    @property
    def subject(self) -> Subject:
        """The subject."""
        from aind_session.subject import Subject

        return Subject(self._id.subject_id)

    @property
    def platform(self) -> str | None:
        """Platform: the first part of the name.

        Current names have none: then it is looked up in Code Ocean's custom metadata (`experiment
        type`) and in DocDB, and is None if neither has it.
        """
        if self._id.platform is not None:
            return self._id.platform
        from aind_session.lookup import evidence

        return evidence.platform(self._id)

    @property
    def dt(self) -> datetime.datetime:
        """Date and time in the name: in most cases the local time at which acquisition started."""
        return self._id.dt

    @property
    def date(self) -> DateRecord | str:
        """Date in the name, `YYYY-MM-DD`."""
        record: DateRecord | str = npc_record("DateRecord", self._id.date)
        return record

    @property
    def time(self) -> TimeRecord | str:
        """Time in the name, ``HH:MM:SS``."""
        record: TimeRecord | str = npc_record("TimeRecord", self._id.time)
        return record

    @property
    def datetime(self) -> DatetimeRecord | str:
        """Date and time in the name, ``YYYY-MM-DD HH:MM:SS``."""
        both = f"{self._id.date} {self._id.time}"
        record: DatetimeRecord | str = npc_record("DatetimeRecord", both)
        return record

    # -- from the services -------------------------------------------------------------------------

    @property
    def data_assets(self) -> tuple[DataAsset, ...]:
        """All data assets of the session, raw and derived, ascending by creation.

        Requested from Code Ocean and DocDB at the same time, and cached. Archived assets are left
        out; linked assets that were deleted or are not accessible are skipped and logged.

        Raises
        ------
        CredentialsError
            The Code Ocean token is missing or was rejected (`KeyError`, `ValueError`).
        ServiceError
            Code Ocean did not answer; or nothing was found, and DocDB, which links some, did not.
        """
        from aind_session.lookup import evidence
        from aind_session.services.models import decode_assets

        return decode_assets(asset.raw for asset in evidence.all_assets(self._id))

    @property
    @raises_attribute_error
    def raw_data_asset(self) -> DataAsset:
        """The raw data asset; the newest if there are several.

        Raises
        ------
        MissingAttributeError
            There is none (an `AttributeError`); the message lists what there is instead.
        CredentialsError, ServiceError
            As for `data_assets`.
        """
        from aind_session.lookup import folders
        from aind_session.services.models import decode_asset

        return decode_asset(folders.raw_asset(self._id).raw)

    @property
    @raises_attribute_error
    def raw_data_dir(self) -> UPath:
        """Folder of the raw files, in S3.

        From DocDB and the raw data asset, without a request to S3; the known buckets are searched
        by name only if neither has it.

        Raises
        ------
        MissingAttributeError
            All services answered, and none has a folder (an `AttributeError`).
        ServiceError, CredentialsError
            No folder was found, and a service did not answer.
        """
        from aind_session.lookup import folders
        from aind_session.services import s3

        folder = folders.raw(self._id)
        return s3.path(folder.bucket, folder.prefix)

    @property
    def is_uploaded(self) -> bool:
        """Whether there is a raw data asset, or a folder of raw files in S3."""
        from aind_session.lookup import folders

        return folders.is_uploaded(self._id)

    @property
    @raises_attribute_error
    def modalities(self) -> tuple[str, ...]:
        """Names of the modality folders among the raw files, sorted.

        `ecephys_compressed` and `ecephys_clipped`, in the root of older sessions, are `ecephys`.
        One request to S3. For the abbreviations in the metadata see
        `session.docdb.modalities`.

        Raises
        ------
        MissingAttributeError
            The session has no folder of raw files (an `AttributeError`).
        """
        from aind_session.lookup import folders

        return folders.modalities(self._id)

    # -- attached data -----------------------------------------------------------------------------

    @property
    def attached_dirs(self) -> tuple[Path, ...]:
        """Local folders of this session's data, raw and derived, attached to this capsule.

        Searched each time, one level deep; empty if nothing is attached. See also
        `aind_session.attached`.
        """
        # An upward import: attached data are found as sessions.
        from aind_session import attached_data

        return attached_data.dirs_of(self)

    def get_derived_data_assets(
        self, label: str | None = None, modality: str | None = None
    ) -> tuple[DerivedDataAsset, ...]:
        """Find the derived data assets of the session, ascending by creation.

        Parameters
        ----------
        label
            `"dlc-eye"`, `"sorted"`: in any spelling (`sorted-ks2.5`, `sortedKS4`). None for all.
        modality
            `"behavior-videos"`, `"pophys"`: only those of one modality, if several have the same
            label. By their own metadata records, else by their tags and custom metadata.

        Returns
        -------
        tuple of DerivedDataAsset
            `()` if there is none.

        Raises
        ------
        CredentialsError, ServiceError
            As for `data_assets`.

        Examples
        --------
        >>> import aind_session
        >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
        >>> [asset.label for asset in session.get_derived_data_assets("sorted-ks2.5")]
        ['sorted', 'sorted']
        """
        from aind_session import derived

        found = derived.of_session(self._id, label, modality)
        return tuple(derived.DerivedDataAsset.of_summary(asset) for asset in found)

    # -- files -------------------------------------------------------------------------------------

    @property
    @raises_attribute_error
    def url(self) -> str:
        """Address of the raw data asset's page in Code Ocean.

        Raises
        ------
        MissingAttributeError, CredentialsError, ServiceError
            As for `raw_data_asset`.
        """
        from aind_session.lookup import folders
        from aind_session.services.assets import asset_url

        return asset_url(folders.raw_asset(self._id).id)

    def local_dir(self) -> Path | UPath:
        """Return the folder of the raw files: attached to this capsule if it is, else in S3.

        Raises
        ------
        MissingAttributeError, CredentialsError, ServiceError
            Nothing is attached; as for `raw_data_dir`.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.Session("ecephys_676909_2023-12-13_13-43-40").local_dir().as_posix()
        's3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40'
        """
        # An upward import: attached data are found as sessions.
        from aind_session import attached_data

        return attached_data.raw_dir_of(self) or self.raw_data_dir

    def _folder(self) -> Folder:
        from aind_session.lookup import folders

        return folders.raw(self._id)

    # -- methods -----------------------------------------------------------------------------------

    def explain(self) -> None:
        """Look up the common attributes; print which requests were made, and what was returned.

        Examples
        --------
        >>> import aind_session
        >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
        >>> session.explain()  # doctest: +ELLIPSIS
        ecephys_676909_2023-12-13_13-43-40
        ...
        """
        from aind_session.lookup import explain

        print(explain.of_session(self._id))

    def refresh(self) -> None:
        """Remove this session, and the searches for its subject, from the cache."""
        from aind_session.lookup import refresh

        self._namespaces.clear()
        refresh.session(self._id)


Session._kind = Session

extension.attach_builtin(
    Session,
    {
        "docdb": "aind_session.extensions.docdb:SessionDocDB",
        "ecephys": "aind_session.extensions.ecephys:EcephysExtension",
        "lims": "aind_session.extensions.lims:LimsExtension",
    },
    core=("docdb",),
)


def __getattr__(name: str) -> Any:
    # `aind_session.session.get_sessions` is its import path in 0.3 (an upward import).
    if name == "get_sessions":
        from aind_session.search import get_sessions

        return get_sessions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
