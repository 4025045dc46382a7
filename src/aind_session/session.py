"""A session: an ID, and everything that is known of it when asked."""

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
from aind_session.value import Value, raises_attribute_error

if TYPE_CHECKING:
    from pathlib import Path

    from codeocean.data_asset import DataAsset
    from npc_session import DateRecord, DatetimeRecord, TimeRecord
    from upath import UPath

    from aind_session.derived import DerivedDataAsset
    from aind_session.extensions.docdb import SessionDocDB
    from aind_session.extensions.ecephys import EcephysExtension
    from aind_session.extensions.lims import LimsExtension
    from aind_session.subject import Subject


class Session(Value):
    """A session by its ID; whatever else is known of it is looked up when asked for.

    Two objects are equal when they refer to the same session ID, however they were made. They sort
    by ID, pickle as their ID, and cannot be changed.

    Parameters
    ----------
    session_id
        Any text with a session ID in it (an ID, a path, the name of a derived asset, an S3 URL), a
        data asset, or a metadata record.

    Raises
    ------
    InvalidIdentifierError
        There is no session ID in it (a `ValueError`).

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
        self, session_id: str | os.PathLike[str] | DataAsset | Mapping[str, Any] | Session
    ) -> None:
        super().__init__(parse_session_id(session_id))

    # -- the name ----------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Session ID, as written, separators normalised."""
        return self._id.id

    @property
    def subject_id(self) -> str:
        """Subject's ID, leading zeros kept: for a mouse mostly its LabTracks number."""
        return self._id.subject_id

    @property
    def subject(self) -> Subject:
        """The subject."""
        from aind_session.subject import Subject

        return Subject(self._id.subject_id)

    @property
    def platform(self) -> str | None:
        """Platform: the first part of the name.

        A name of today's kind has none: then what Code Ocean's custom metadata (`experiment type`)
        or DocDB say, and None while neither says anything. Only for such a name is it looked up.
        """
        if self._id.platform is not None:
            return self._id.platform
        from aind_session.lookup import platform

        return platform.of(self._id)

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

    # -- what the services know --------------------------------------------------------------------

    @property
    def data_assets(self) -> tuple[DataAsset, ...]:
        """All data assets of the session, raw and derived, ascending by creation.

        Asked of Code Ocean and DocDB at the same time, kept for the cache's time. Archived assets
        are left out; linked assets that are gone or closed are skipped, and told in the trail.

        Raises
        ------
        CredentialsError
            There is no Code Ocean token, or it was refused (`KeyError`, `ValueError`).
        ServiceError
            Code Ocean did not answer; or nothing was found, and DocDB, which links some, did not.
        """
        from aind_session.lookup import assets
        from aind_session.services.models import decode_assets

        return decode_assets(asset.raw for asset in assets.session_assets(self._id))

    @property
    @raises_attribute_error
    def raw_data_asset(self) -> DataAsset:
        """The raw data asset; the newest, where there are several.

        Raises
        ------
        MissingAttributeError
            There is none (an `AttributeError`); the message tells what there is instead.
        CredentialsError, ServiceError
            As for `data_assets`.
        """
        from aind_session.lookup import facts
        from aind_session.services.models import decode_asset

        return decode_asset(facts.raw_asset(self._id).raw)

    @property
    @raises_attribute_error
    def raw_data_dir(self) -> UPath:
        """Folder of the raw files, in S3.

        As DocDB and the raw data asset tell, without asking S3; the known buckets are searched by
        name only where neither does.

        Raises
        ------
        MissingAttributeError
            Every service was asked and none knows a folder (an `AttributeError`).
        ServiceError, CredentialsError
            None knows a folder, and one could not be asked.
        """
        from aind_session.lookup import facts
        from aind_session.services import storage

        folder = facts.raw_folder(self._id)
        return storage.path(folder.bucket, folder.prefix)

    @property
    def is_uploaded(self) -> bool:
        """Whether there is a raw data asset, or a folder of raw files that S3 has."""
        from aind_session.lookup import folders

        return folders.is_uploaded(self._id)

    @property
    @raises_attribute_error
    def modalities(self) -> tuple[str, ...]:
        """Names of the modality folders among the raw files, sorted.

        `ecephys_compressed` and `ecephys_clipped`, in the root of older sessions, are `ecephys`.
        Asked of S3 with one listing. For the abbreviations in the metadata see
        `session.docdb.modalities`.

        Raises
        ------
        MissingAttributeError
            There is no folder of raw files (an `AttributeError`).
        """
        from aind_session.lookup import facts

        return facts.modalities(self._id)

    # -- what is attached here ---------------------------------------------------------------------

    @property
    def attached_dirs(self) -> tuple[Path, ...]:
        """Local folders of this session's data, raw and derived, attached to this capsule.

        Looked for anew each time, one level deep; empty where nothing is attached. For what each
        is see `aind_session.attached`.
        """
        # An upward import: attached data are found as sessions.
        from aind_session import capsule

        return capsule.dirs_of(self)

    def get_derived_data_assets(
        self, label: str | None = None, modality: str | None = None
    ) -> tuple[DerivedDataAsset, ...]:
        """Find the derived data assets of the session, ascending by creation.

        Parameters
        ----------
        label
            `"dlc-eye"`, `"sorted"`: in any of its spellings (`sorted-ks2.5`, `sortedKS4`). None
            for all of them.
        modality
            `"behavior-videos"`, `"pophys"`: only those of one modality, where several have the same
            label. By their own metadata records, else by their tags and custom metadata.

        Returns
        -------
        tuple of DerivedDataAsset
            `()` where there is none.

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

    # -- verbs -------------------------------------------------------------------------------------

    def explain(self) -> None:
        """Look up the common attributes, and print what was asked of whom, with what answer.

        Examples
        --------
        >>> import aind_session
        >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
        >>> session.explain()  # doctest: +ELLIPSIS
        ecephys_676909_2023-12-13_13-43-40
        ...
        """
        from aind_session.lookup import explanation

        print(explanation.of_session(self._id))

    def refresh(self) -> None:
        """Forget what is known of this session, and the searches for its subject."""
        from aind_session.lookup import freshness

        self._namespaces.clear()
        freshness.forget(self._id)


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
