"""Neuroglancer states of a subject's brain images: `subject.neuroglancer`.

Each saved state is a JSON file in a folder of its own in the scratch bucket, and may have been made
a data asset: the bucket is cleared without notice, and the asset stays.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aind_session.errors import InvalidContentError, MissingAttributeError, MissingFileError
from aind_session.extension import ExtensionBaseClass
from aind_session.extensions.ibl import scratch, states
from aind_session.extensions.ibl.states import Content
from aind_session.identifiers import session_in_name, split_asset_name
from aind_session.lookup import evidence
from aind_session.lookup.failures import Failures
from aind_session.query import CODE_OCEAN, S3
from aind_session.services import codeocean, s3
from aind_session.services.assets import Assets
from aind_session.services.files import listing, read_text
from aind_session.services.models import AssetSummary, decode_assets
from aind_session.session import Session
from aind_session.threads import Outcome, outcomes
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

__all__ = ["NeuroglancerExtension", "NeuroglancerState"]

if TYPE_CHECKING:
    from codeocean.data_asset import DataAsset
    from upath import UPath

    from aind_session.subject import Subject

    Source = Mapping[str, Any] | str | bytes | os.PathLike[str] | UPath

FOLDER = f"{scratch.ROOT}/neuroglancer_states"
LABEL = "neuroglancer-state"

# -- one state -------------------------------------------------------------------------------------


class NeuroglancerState:
    """A state of the Neuroglancer viewer: the images it shows, and the annotations made on them.

    Parameters
    ----------
    path_or_dict
        The state as a dictionary or JSON text; or a path, the URL of its file, or a link to the
        viewer (with the state, or its URL, after `#!`).

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
        """Sources of the image layers, as written, in the order of the layers."""
        return states.image_sources(self.content)

    @property
    def image_data_assets(self) -> tuple[DataAsset, ...]:
        """Data assets that hold the images, ascending by creation.

        Found by the folder of the images, or by an asset's name anywhere in their path. Assets
        that were deleted, or that this token may not see, are left out.

        Examples
        --------
        >>> import aind_session
        >>> state = aind_session.Subject(717381).neuroglancer.states[-1]
        >>> [asset.name for asset in state.image_data_assets]
        ['SmartSPIM_717381_2024-07-03_10-49-01_stitched_2024-08-10_12-00-00']
        """
        return decode_assets(asset.raw for asset in states.image_assets(self.content))

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
        """Names of the annotation layers, in order."""
        return states.annotation_names(self.content)

    @staticmethod
    def get_new_file_name(session_id: str) -> str:
        """Return the name of a new state's file: the session, and the Pacific time now.

        Examples
        --------
        >>> name = NeuroglancerState.get_new_file_name("SmartSPIM_717381_2024-07-03_10-49-01")
        >>> name.partition("_neuroglancer-state_")[0]
        'SmartSPIM_717381_2024-07-03_10-49-01'
        """
        return _file_name(session_id, scratch.pacific())

    def write(
        self, path: str | os.PathLike[str] | UPath | None = None, timeout_sec: float = 10
    ) -> UPath:
        """Write the state to a JSON file, and wait until it can be read.

        Parameters
        ----------
        path
            The file, in S3 or local; by default in a folder of its own in the scratch bucket:
            `<session ID>_neuroglancer-state_<Pacific time>`.
        timeout_sec
            How long S3 may take to list the file, in seconds.

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

        Raises
        ------
        MissingAttributeError
            The state shows the images of no session (an `AttributeError`).
        InvalidContentError
            The path is not in S3, or its folder has other files (a `ValueError`).
        NotReadyError
            The asset was created, and is not ready after ten minutes (a `TimeoutError`).

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
            return scratch.BUCKET, _new_key(self.session.id)
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
        """Read a state from any source that `NeuroglancerState` accepts.

        Examples
        --------
        >>> import aind_session
        >>> neuroglancer = aind_session.Subject(717381).neuroglancer
        >>> neuroglancer.from_json(neuroglancer.state_json_paths[0]) == neuroglancer.states[0]
        True
        """
        return NeuroglancerState(content)

    @property
    def states(self) -> tuple[NeuroglancerState, ...]:
        """All states that were saved, ascending by time, read at the same time.

        From S3, and from data assets if the file was deleted. A state that cannot be read is left
        out and logged.

        Warns
        -----
        PartialAnswerWarning
            One of them could not be reached.
        """
        subject_id = self._base.id
        with tracing(subject_id, "Neuroglancer states"):
            saved = _saved(
                *outcomes(partial(stored, subject_id), partial(state_assets, subject_id))
            )
            found = []
            answers = outcomes(*(partial(saved.read, name) for name in saved.names))
            for name, outcome in zip(saved.names, answers, strict=True):
                if isinstance(outcome.error, InvalidContentError | codeocean.ClosedAssetError):
                    note("Neuroglancer state %s is left out: %s", name, outcome.error)
                elif (content := outcome.unwrap()) is None:
                    note("Neuroglancer state %s is left out: its file is gone", name)
                else:
                    state = NeuroglancerState.__new__(NeuroglancerState)
                    state.content, state.name = content
                    found.append(state)
            return tuple(found)

    @property
    def state_json_dir(self) -> UPath:
        """Folder in S3 that has one folder for each state, of all subjects."""
        return s3.path(scratch.BUCKET, FOLDER)

    @property
    def state_json_paths(self) -> tuple[UPath, ...]:
        """Files of the subject's states in S3, ascending by the time in their names.

        The bucket is cleared without notice: `state_json_data_assets` are permanent.
        """
        return tuple(s3.path(scratch.BUCKET, key) for key in stored(self._base.id).values())

    @property
    def state_json_data_assets(self) -> tuple[DataAsset, ...]:
        """Data assets that were made of the subject's states, ascending by creation."""
        return decode_assets(asset.raw for asset in state_assets(self._base.id))


# -- saved states ----------------------------------------------------------------------------------


def _file_name(session_id: str, moment: datetime.datetime) -> str:
    return f"{session_id}_{LABEL}_{scratch.stamp(moment)}.json"


def _key_of(name: str) -> str:
    return f"{FOLDER}/{name}/{name}.json"


def _new_key(session_id: str) -> str:
    """Return the key of a new state's file, in a folder that does not exist yet."""
    moment = scratch.pacific()
    while True:
        key = _key_of(states.stem(_file_name(session_id, moment)))
        # Not cached: two states of one second must not become one file.
        if not s3.list_folder(scratch.BUCKET, key.rpartition("/")[0]).exists:
            return key
        moment += datetime.timedelta(seconds=1)


def stored(subject_id: str) -> dict[str, str]:
    """List the keys of a subject's states by name, ascending by the time in the names."""
    with tracing(subject_id, "Neuroglancer states"):
        listed = listing(scratch.BUCKET, FOLDER)
        # Files directly in the folder are older than the rule of one folder for each.
        flat = [name for name in listed.files if name.lower().endswith(".json")]
        found = {states.stem(name): f"{FOLDER}/{name}" for name in flat}
        found |= {name: _key_of(name) for name in listed.folders}
        mine = [
            name
            for name in found
            if (of := session_in_name(name)) is not None and of.subject_id == subject_id
        ]
        if not mine:
            note("No Neuroglancer state of %s is in s3://%s/%s", subject_id, scratch.BUCKET, FOLDER)
        return {name: found[name] for name in sorted(mine, key=_order)}


def _order(name: str, created: int = 0) -> tuple[datetime.datetime, str]:
    """Sort key: the time in the name, else that of the asset; then the name."""
    moment = split_asset_name(name).dt or scratch.pacific(created).replace(tzinfo=None)
    return moment, name


def is_state(asset: AssetSummary) -> bool:
    """Whether a data asset is a Neuroglancer state: by its name, else by its tags."""
    if LABEL in asset.name.lower().replace("_", "-"):
        return True
    return {"neuroglancer", "annotation"} <= {str(tag).lower() for tag in asset.tags}


def state_assets(subject_id: str) -> Assets:
    """Return the data assets that are states of a subject, ascending by creation."""
    with tracing(subject_id, "Neuroglancer states"):
        return tuple(filter(is_state, evidence.all_assets_of_subject(subject_id)))


class _Saved(NamedTuple):
    """The states of a subject by name: keys of files, assets, and all names in order."""

    keys: dict[str, str]
    assets: dict[str, AssetSummary]
    names: list[str]

    def read(self, name: str) -> Content | None:
        """Read a state's file, or the file of its asset if the bucket was cleared."""
        key, asset = self.keys.get(name), self.assets.get(name)
        data = read_text(scratch.BUCKET, key) if key is not None else None
        if data is None and asset is not None:
            data = scratch.read_back(asset, ".json")
        return None if data is None else Content(states.decoded(data, name), name)


def _saved(files: Outcome[dict[str, str]], found: Outcome[Assets]) -> _Saved:
    """Combine files and assets; one of the two services may have failed."""
    failures = Failures("Neuroglancer states that only it knows")
    keys = failures.value_or({}, files, S3)
    assets = {asset.name: asset for asset in failures.value_or((), found, CODE_OCEAN)}
    if not keys and not assets:
        failures.raise_error()
    failures.warn()
    created = {name: asset.created for name, asset in assets.items()}
    names = sorted({*keys, *assets}, key=lambda name: _order(name, created.get(name, 0)))
    return _Saved(keys, assets, names)


def state_by_name(
    subject_id: str, name: str | None, files: Outcome[dict[str, str]], some: Assets
) -> Content:
    """Read one state of a subject by its name, with or without `.json`; by default the latest."""
    with tracing(subject_id, "Neuroglancer state"):
        saved = _saved(files, Outcome(some))
        wanted = states.stem(name) if name else saved.names[-1] if saved.names else ""
        state = saved.read(wanted)
        if state is None:
            hint = "Save one: subject.neuroglancer.from_json(...).write()."
            if saved.names:
                hint = f"There is {', '.join(saved.names[-3:])}."
            raise MissingFileError(
                f"There is no Neuroglancer state{f' {wanted}' if wanted else ''} of subject "
                f"{subject_id}: neither in s3://{scratch.BUCKET}/{FOLDER} nor among its data "
                f"assets. {hint}",
                trail=trace_lines(),
            )
        return state
