"""Neuroglancer states of a subject's brain images: `subject.neuroglancer`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aind_session.errors import InvalidContentError, MissingAttributeError
from aind_session.extension import ExtensionBaseClass
from aind_session.extensions.ibl import saved_states, scratch, states
from aind_session.extensions.ibl.states import Content
from aind_session.services import s3
from aind_session.services.models import decode_assets
from aind_session.session import Session

__all__ = ["NeuroglancerExtension", "NeuroglancerState"]

if TYPE_CHECKING:
    from codeocean.data_asset import DataAsset
    from upath import UPath

    from aind_session.subject import Subject

    Source = Mapping[str, Any] | str | bytes | os.PathLike[str] | UPath

# -- one state -------------------------------------------------------------------------------------


class NeuroglancerState:
    """A state of the Neuroglancer viewer: the images it shows, and the annotations made on them.

    Parameters
    ----------
    path_or_dict
        The state as a dictionary or JSON text; or a local path, a path in S3, the URL of its file,
        or a link to the viewer (with the state, or its URL, after `#!`).

    Attributes
    ----------
    content : dict
        The state as the viewer wrote it; a copy that may be changed.
    name : str or None
        Name of the file that it was read from, without `.json`.

    Raises
    ------
    MissingFileError
        The file does not exist (a `FileNotFoundError`).
    InvalidContentError
        It is not a JSON object (a `ValueError`).

    Notes
    -----
    Viewers write many shapes: each attribute reads what it needs, and ignores anything else that
    is missing or odd in the state.

    Examples
    --------
    >>> source = "zarr://s3://aind-open-data/SmartSPIM_717381_2024-07-03_10-49-01/x.zarr"
    >>> state = NeuroglancerState(
    ...     {
    ...         "layers": [
    ...             {"type": "image", "source": source},
    ...             {"type": "annotation", "name": "probe A_1"},
    ...         ]
    ...     }
    ... )
    >>> state.session
    Session('SmartSPIM_717381_2024-07-03_10-49-01')
    >>> state.annotation_names
    ('probe A_1',)
    """

    def __init__(self, path_or_dict: Source) -> None:
        self.content, self.name = states.read(path_or_dict)

    def __repr__(self) -> str:
        about = self.name or f"{len(self.annotation_names)} annotations"
        return f"<{type(self).__name__} {about}>"

    def __eq__(self, other: object) -> bool:
        return self.content == other.content if isinstance(other, type(self)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def image_sources(self) -> tuple[str, ...]:
        """Sources of the image layers, as written, in the order of the layers.

        Examples
        --------
        >>> import aind_session
        >>> state = aind_session.Subject(717381).neuroglancer.states[-1]
        >>> state.image_sources[0].rpartition("/")[2]
        'Ex_488_Em_525.zarr'
        """
        return states.image_sources(self.content)

    @property
    def image_data_assets(self) -> tuple[DataAsset, ...]:
        """Data assets that hold the images, ascending by creation.

        Found by the folder of the images, or by an asset's name anywhere in their path. Assets
        that were deleted, or that this token may not see, are left out.

        Raises
        ------
        CredentialsError, ServiceError
            Code Ocean could not be reached.

        Examples
        --------
        >>> import aind_session
        >>> state = aind_session.Subject(717381).neuroglancer.states[-1]
        >>> [asset.name for asset in state.image_data_assets]
        ['SmartSPIM_717381_2024-07-03_10-49-01_stitched_2024-08-10_12-00-00']
        """
        return tuple(decode_assets(asset.raw for asset in states.image_assets(self.content)))

    @property
    def session(self) -> Session:
        """Session whose images are shown: by their sources, else by the name of the state's file.

        Raises
        ------
        MissingAttributeError
            Neither contains a session ID (an `AttributeError`).
        """
        found = states.session(self.content, self.name)
        if found is None:
            raise MissingAttributeError(
                f"{self!r} shows the images of no session: its image layers come from "
                f"{', '.join(self.image_sources[:5]) or 'nowhere'}.",
                name="session",
            )
        return Session(found.id)

    @property
    def annotation_names(self) -> tuple[str, ...]:
        """Names of the annotation layers, in order.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.Subject(717381).neuroglancer.states[-1].annotation_names
        ('268', '269', '270', '265', '263', '262', 'targets')
        """
        return states.annotation_names(self.content)

    @staticmethod
    def get_new_file_name(session_id: str) -> str:
        """Return the name of a new state's file: the session, and the Pacific time now.

        Parameters
        ----------
        session_id
            ID of the session whose images the state shows.

        Examples
        --------
        >>> name = NeuroglancerState.get_new_file_name("SmartSPIM_717381_2024-07-03_10-49-01")
        >>> name.partition("_neuroglancer-state_")[0]
        'SmartSPIM_717381_2024-07-03_10-49-01'
        """
        return saved_states.file_name(session_id, scratch.pacific())

    def write(
        self, path: str | os.PathLike[str] | UPath | None = None, timeout_sec: float = 10
    ) -> UPath:
        """Write the state to a JSON file, and wait until it can be read.

        Parameters
        ----------
        path
            Path of the file, in S3 or local. By default in the scratch bucket, in a folder of its
            own: `<session ID>_neuroglancer-state_<Pacific time>`.
        timeout_sec
            How long S3 may take to list the file, in seconds.

        Returns
        -------
        UPath
            Path of the file.

        Raises
        ------
        MissingAttributeError
            Without a path: the state shows the images of no session (an `AttributeError`).
        InvalidContentError
            `content` cannot be written as JSON (a `ValueError`).
        ServiceTimeoutError
            The file was written, and S3 does not list it in time (a `TimeoutError`).

        Examples
        --------
        >>> import aind_session
        >>> with aind_session.sandbox():
        ...     neuroglancer = aind_session.Subject(717381).neuroglancer
        ...     path = neuroglancer.states[-1].write()
        ...     neuroglancer.state_json_paths[-1] == path
        True
        """
        data = self._encoded()
        where = self._place(path)
        if where is None:
            return _write_local(path, data)
        scratch.write(*where, data, timeout_sec)
        return s3.path(*where)

    def create_data_asset(self, path: str | os.PathLike[str] | UPath | None = None) -> DataAsset:
        """Write the state to S3, make a data asset of the file's folder, and wait for it.

        Parameters
        ----------
        path
            As for `write`; in S3, in a folder without other files.

        Returns
        -------
        DataAsset
            Named after the file, copied into Code Ocean, ready to be attached.

        Raises
        ------
        MissingAttributeError
            The state shows the images of no session (an `AttributeError`).
        InvalidContentError
            The path is not in S3, or its folder has other files (a `ValueError`).
        NotReadyError
            The asset was created, and is not ready after ten minutes (a `TimeoutError`).
        CredentialsError, ServiceError
            The file or the data asset could not be created.

        Examples
        --------
        >>> import aind_session
        >>> with aind_session.sandbox():
        ...     state = aind_session.Subject(717381).neuroglancer.states[-1]
        ...     state.create_data_asset().tags
        ['neuroglancer', 'ecephys', 'annotation', '717381']
        """
        data, subject_id = self._encoded(), self.session.subject_id
        where = self._place(path)
        if where is None:
            raise InvalidContentError(
                f"{path} is not in S3: a data asset is made of a folder there. Without a path "
                f"the state is written to s3://{scratch.BUCKET}."
            )
        return scratch.publish(
            *where,
            data,
            subject_id=subject_id,
            tags=["neuroglancer", "ecephys", "annotation", subject_id],
            custom_metadata={"experiment type": "SmartSPIM", "subject id": subject_id},
        )

    def _encoded(self) -> bytes:
        try:
            return json.dumps(self.content, ensure_ascii=False, indent=1).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidContentError(f"{self!r} cannot be written as JSON: {error}") from error

    def _place(self, path: object) -> tuple[str, str] | None:
        """Return bucket and key of a path, None if it is not in S3; by default a new key."""
        if path is None:
            return scratch.BUCKET, saved_states.new_key(self.session.id)
        as_posix = getattr(path, "as_posix", None)
        text = str(as_posix() if callable(as_posix) else path)
        return s3.split(text) if text.lower().startswith(("s3://", "s3a://")) else None


def _write_local(path: Any, data: bytes) -> UPath:
    from upath import UPath

    local = UPath(Path(path).expanduser() if isinstance(path, str) and "://" not in path else path)
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(data)
    return local


class _Classes:
    # In a class of its own: beside methods that are annotated with it, its name is ambiguous.
    NeuroglancerState = NeuroglancerState


class NeuroglancerExtension(_Classes, ExtensionBaseClass):
    """Neuroglancer states of a subject: files in S3, and data assets made of them.

    Examples
    --------
    >>> import aind_session
    >>> subject = aind_session.Subject(717381)
    >>> subject.neuroglancer.states[0].session
    Session('SmartSPIM_717381_2024-07-03_10-49-01')
    >>> subject.neuroglancer.state_json_paths[0].name
    'SmartSPIM_717381_2024-07-03_10-49-01_neuroglancer-state_2024-08-16_11-06-59.json'
    """

    _base: Subject

    @staticmethod
    def from_json(content: Source) -> NeuroglancerState:
        """Read a state from a dictionary, JSON text, a path or a URL.

        Parameters
        ----------
        content
            Any source that `NeuroglancerState` accepts.

        Raises
        ------
        MissingFileError
            The file does not exist (a `FileNotFoundError`).
        InvalidContentError
            It is not a JSON object (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> neuroglancer = aind_session.Subject(717381).neuroglancer
        >>> neuroglancer.from_json('{"layers": []}').annotation_names
        ()
        >>> neuroglancer.from_json(neuroglancer.state_json_paths[0]) == neuroglancer.states[0]
        True
        """
        return NeuroglancerState(content)

    @property
    def states(self) -> tuple[NeuroglancerState, ...]:
        """All states that were saved, ascending by time, read at the same time.

        From S3, and from data assets if the file was deleted. A state that cannot be read is left
        out and logged.

        Raises
        ------
        ServiceError, CredentialsError
            Neither S3 nor Code Ocean could be reached.

        Warns
        -----
        PartialAnswerWarning
            One of them could not be reached.
        """
        return tuple(_made(content) for content in saved_states.all_states(self._base.id))

    @property
    def state_json_dir(self) -> UPath:
        """Folder in S3 that has one folder for each state, of all subjects."""
        return s3.path(scratch.BUCKET, saved_states.FOLDER)

    @property
    def state_json_paths(self) -> tuple[UPath, ...]:
        """Files of the subject's states in S3, ascending by the time in their names.

        The bucket is cleared without notice: `state_json_data_assets` are permanent.
        """
        return tuple(s3.path(scratch.BUCKET, one.key) for one in saved_states.stored(self._base.id))

    @property
    def state_json_data_assets(self) -> tuple[DataAsset, ...]:
        """Data assets that were made of the subject's states, ascending by creation.

        Raises
        ------
        CredentialsError, ServiceError
            Code Ocean could not be reached.

        Examples
        --------
        >>> import aind_session
        >>> [a.state for a in aind_session.Subject(717381).neuroglancer.state_json_data_assets]
        [<DataAssetState.Ready: 'ready'>]
        """
        found = saved_states.state_assets(self._base.id)
        return tuple(decode_assets(asset.raw for asset in found))


def _made(found: Content) -> NeuroglancerState:
    state = NeuroglancerState.__new__(NeuroglancerState)
    state.content, state.name = found
    return state
