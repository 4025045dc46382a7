"""Neuroglancer states of a subject's brain images: `subject.neuroglancer`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aind_session.errors import InvalidContentError, MissingAttributeError
from aind_session.extension import ExtensionBaseClass
from aind_session.lookup import neuroglancer_states, publishing
from aind_session.services import storage
from aind_session.services.models import decode_assets
from aind_session.session import Session

__all__ = ["NeuroglancerExtension", "NeuroglancerState"]

if TYPE_CHECKING:
    from codeocean.data_asset import DataAsset
    from upath import UPath

    from aind_session.subject import Subject

    Source = Mapping[str, Any] | str | bytes | os.PathLike[str] | UPath


class NeuroglancerState:
    """A state of the Neuroglancer viewer: the images it shows, and the annotations made on them.

    Parameters
    ----------
    path_or_dict
        The state as a dictionary or JSON text; or where it is: a local path, a path in S3, the URL
        of its file, or a link to the viewer (with the state, or its URL, behind `#!`).

    Attributes
    ----------
    content : dict
        The state as the viewer wrote it; the caller's own.
    name : str or None
        Name of the file that it was read from, without `.json`.

    Raises
    ------
    MissingFileError
        There is no such file (a `FileNotFoundError`).
    InvalidContentError
        It is no JSON object (a `ValueError`).

    Notes
    -----
    Viewers write many shapes: each question reads what it needs, and whatever else is missing or
    odd in the state changes no answer.

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
        self.content, self.name = neuroglancer_states.read(path_or_dict)

    def __repr__(self) -> str:
        about = self.name or f"{len(self.annotation_names)} annotations"
        return f"<{type(self).__name__} {about}>"

    def __eq__(self, other: object) -> bool:
        return self.content == other.content if isinstance(other, type(self)) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def image_sources(self) -> tuple[str, ...]:
        """Sources of the image layers, as written, in the layers' order.

        Examples
        --------
        >>> import aind_session
        >>> state = aind_session.Subject(717381).neuroglancer.states[-1]
        >>> state.image_sources[0].rpartition("/")[2]
        'Ex_488_Em_525.zarr'
        """
        return neuroglancer_states.image_sources(self.content)

    @property
    def image_data_assets(self) -> tuple[DataAsset, ...]:
        """Data assets that hold the images, ascending by creation.

        Those that are gone, or closed to this token, are left out.

        Raises
        ------
        CredentialsError, ServiceError
            Code Ocean could not be asked.

        Examples
        --------
        >>> import aind_session
        >>> state = aind_session.Subject(717381).neuroglancer.states[-1]
        >>> [asset.name for asset in state.image_data_assets]
        ['SmartSPIM_717381_2024-07-03_10-49-01_stitched_2024-08-10_12-00-00']
        """
        found = neuroglancer_states.image_assets(self.content)
        return tuple(decode_assets(asset.raw for asset in found))

    @property
    def session(self) -> Session:
        """Session whose images are shown: by their sources, else by the name of the state's file.

        Raises
        ------
        MissingAttributeError
            Neither names a session (an `AttributeError`).
        """
        found = neuroglancer_states.session(self.content, self.name)
        if found is None:
            raise MissingAttributeError(
                f"{self!r} shows the images of no session: its image layers come from "
                f"{', '.join(self.image_sources[:5]) or 'nowhere'}.",
                name="session",
            )
        return Session(found.id)

    @property
    def annotation_names(self) -> tuple[str, ...]:
        """Names of the annotation layers, in their order.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.Subject(717381).neuroglancer.states[-1].annotation_names
        ('268', '269', '270', '265', '263', '262', 'targets')
        """
        return neuroglancer_states.annotation_names(self.content)

    def write(
        self, path: str | os.PathLike[str] | UPath | None = None, timeout_sec: float = 10
    ) -> UPath:
        """Write the state to a JSON file, and wait until it is there.

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
            What is in `content` is no JSON (a `ValueError`).
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
        if path is None:
            path = f"s3://{neuroglancer_states.BUCKET}/{self._new_key()}"
        where = _in_s3(path)
        if where is None:
            return _write_local(path, data)
        publishing.write(*where, data, timeout_sec)
        return storage.path(*where)

    def create_data_asset(self, path: str | os.PathLike[str] | UPath | None = None) -> DataAsset:
        """Write the state to S3, and make a data asset of it, copied into Code Ocean.

        Parameters
        ----------
        path
            As for `write`; in S3, with nothing else in its folder.

        Returns
        -------
        DataAsset
            Named after the file. It is not ready yet: see
            `aind_session.utils.codeocean_utils.wait_until_ready`.

        Raises
        ------
        MissingAttributeError
            The state shows the images of no session (an `AttributeError`).
        InvalidContentError
            The path is not in S3, or has no folder of its own (a `ValueError`).
        CredentialsError, ServiceError
            The file or the data asset could not be made.

        Examples
        --------
        >>> import aind_session
        >>> with aind_session.sandbox():
        ...     state = aind_session.Subject(717381).neuroglancer.states[-1]
        ...     state.create_data_asset().tags
        ['neuroglancer', 'ecephys', 'annotation', '717381']
        """
        data, subject_id = self._encoded(), self.session.subject_id
        if path is None:
            path = f"s3://{neuroglancer_states.BUCKET}/{self._new_key()}"
        where = _in_s3(path)
        if where is None:
            raise InvalidContentError(
                f"{path} is not in S3: a data asset is made of a folder there. Without a path "
                f"the state goes to s3://{neuroglancer_states.BUCKET}."
            )
        publishing.check_may_create()
        listed = publishing.write(*where, data, timeout_sec=10)
        return publishing.create_asset(
            *where,
            listed,
            subject_id=subject_id,
            tags=["neuroglancer", "ecephys", "annotation", subject_id],
            custom_metadata={"experiment type": "SmartSPIM", "subject id": subject_id},
        )

    def _encoded(self) -> bytes:
        try:
            return json.dumps(self.content, ensure_ascii=False, indent=1).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidContentError(f"{self!r} cannot be written as JSON: {error}") from error

    def _new_key(self) -> str:
        return neuroglancer_states.new_key(self.session.id)


def _in_s3(path: object) -> tuple[str, str] | None:
    as_posix = getattr(path, "as_posix", None)
    text = str(as_posix() if callable(as_posix) else path)
    return storage.split(text) if text.lower().startswith(("s3://", "s3a://")) else None


def _write_local(path: Any, data: bytes) -> UPath:
    from upath import UPath

    local = UPath(Path(path).expanduser() if isinstance(path, str) and "://" not in path else path)
    local.parent.mkdir(parents=True, exist_ok=True)
    local.write_bytes(data)
    return local


class _Classes:
    # In a class of its own: beside methods that are annotated with it, its name would be ambiguous.
    NeuroglancerState = NeuroglancerState


class NeuroglancerExtension(_Classes, ExtensionBaseClass):
    """Neuroglancer states of a subject: saved in S3, and made data assets.

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
    def from_json(path_or_dict: Source) -> NeuroglancerState:
        """Read a state from a dictionary, JSON text, a path or a URL.

        Parameters
        ----------
        path_or_dict
            As for `NeuroglancerState`.

        Raises
        ------
        MissingFileError
            There is no such file (a `FileNotFoundError`).
        InvalidContentError
            It is no JSON object (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> neuroglancer = aind_session.Subject(717381).neuroglancer
        >>> neuroglancer.from_json('{"layers": []}').annotation_names
        ()
        >>> neuroglancer.from_json(neuroglancer.state_json_paths[0]) == neuroglancer.states[0]
        True
        """
        return NeuroglancerState(path_or_dict)

    @property
    def states(self) -> tuple[NeuroglancerState, ...]:
        """All states that were saved, ascending by time, read at the same time.

        From S3, and from data assets where the file was cleared away since. One that cannot be
        read is left out, and told in the log.

        Raises
        ------
        ServiceError, CredentialsError
            S3 and Code Ocean did not answer.

        Warns
        -----
        PartialAnswerWarning
            One of them did not answer.
        """
        return tuple(_made(found) for found in neuroglancer_states.all_of(self._base.id))

    @property
    def state_json_dir(self) -> UPath:
        """Folder in S3 that has a folder for each state that was written, of every subject."""
        return storage.path(neuroglancer_states.BUCKET, neuroglancer_states.FOLDER)

    @property
    def state_json_paths(self) -> tuple[UPath, ...]:
        """Files of the subject's states in S3, ascending by the time in their names.

        The bucket is cleared without notice: see `state_json_data_assets` for those that last.
        """
        found = neuroglancer_states.stored(self._base.id)
        return tuple(storage.path(neuroglancer_states.BUCKET, one.key) for one in found)

    @property
    def state_json_data_assets(self) -> tuple[DataAsset, ...]:
        """Data assets that were made of the subject's states, ascending by creation.

        Raises
        ------
        CredentialsError, ServiceError
            Code Ocean could not be asked.

        Examples
        --------
        >>> import aind_session
        >>> [a.state for a in aind_session.Subject(717381).neuroglancer.state_json_data_assets]
        [<DataAssetState.Ready: 'ready'>]
        """
        found = neuroglancer_states.state_assets(self._base.id)
        return tuple(decode_assets(asset.raw for asset in found))


def _made(found: neuroglancer_states.Content) -> NeuroglancerState:
    state = NeuroglancerState.__new__(NeuroglancerState)
    state.content, state.name = found
    return state
