"""Neuroglancer states: where those of a subject are kept, and what one of them holds.

Each is a JSON file in a folder of its own in the scratch bucket, and may have been made a data
asset: the bucket is cleared without notice, and the asset stays.
"""

from __future__ import annotations

import copy
import datetime
import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from aind_session import settings
from aind_session.errors import InvalidContentError, MissingFileError
from aind_session.identifiers import SessionID, find_session_id, is_uuid
from aind_session.lookup import assets, belonging, publishing, questions, trail
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import CODE_OCEAN, S3, Assets
from aind_session.services import codeocean, http, pool, storage
from aind_session.services.models import AssetSummary
from aind_session.services.pool import Outcome
from aind_session.services.redact import excerpt, without_text

BUCKET = publishing.BUCKET
FOLDER = f"{publishing.ROOT}/neuroglancer_states"
LABEL = "neuroglancer-state"
_IMAGE, _ANNOTATION = "image", "annotation"
_S3_URL = re.compile(r"s3://([^/|?#\s]+)/([^/|?#\s]+)")
_WEB_URL = re.compile(
    r"https?://(?:([a-z0-9.-]+)\.s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com"
    r"|s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com/([a-z0-9.-]+))/([^/|?#\s]+)"
)


# -- reading one -----------------------------------------------------------------------------------


class Content(NamedTuple):
    """What a state holds, and the name of the file that it was read from."""

    content: dict[str, Any]
    name: str | None = None


def read(source: object) -> Content:
    """Read a state from whatever holds one.

    Parameters
    ----------
    source
        A dictionary, JSON text, a path (local, in S3), a URL of the file, or a viewer's link.

    Raises
    ------
    MissingFileError
        There is no such file (a `FileNotFoundError`).
    InvalidContentError
        It is no JSON object (a `ValueError`).
    """
    if isinstance(source, Mapping):
        return Content(copy.deepcopy(dict(source)))
    if isinstance(source, bytes | bytearray):
        return Content(decoded(bytes(source), "the text"))
    as_posix = getattr(source, "as_posix", None)
    text = str(as_posix() if callable(as_posix) else source).lstrip("\ufeff").strip()
    if not isinstance(source, str | os.PathLike) and as_posix is None:
        raise InvalidContentError(
            f"A Neuroglancer state is a dictionary, JSON text, a path or a URL, not {source!r:.80}"
        )
    if not text:
        raise InvalidContentError("An empty text holds no Neuroglancer state")
    if text[0] in "{[":
        return Content(decoded(text.encode(), "the text"))
    if isinstance(source, str) and "#!" in text:
        # A viewer's link has the state, or the URL of it, behind the mark.
        inside = unquote(text.partition("#!")[2]).strip()
        if "#!" in inside or not inside:
            raise InvalidContentError(f"The link {text[:80]} holds no state, nor a URL of one")
        return read(inside)
    data = _read_place(source, text)
    return Content(decoded(data, text), _stem(text))


def _read_place(source: object, text: str) -> bytes:
    try:
        place = urlsplit(text) if "://" in text else None
    except ValueError as error:
        raise InvalidContentError(f"{text[:120]} is no URL: {error}") from error
    scheme = place.scheme.lower() if place is not None else ""
    if scheme in ("s3", "s3a", "http", "https") and not (place and place.netloc and place.path):
        raise InvalidContentError(f"{text[:120]} names no file")
    if scheme in ("s3", "s3a"):
        found = questions.text(*storage.split(text))
        if found is None:
            raise MissingFileError(f"There is no {text}.", trail=trail.lines())
        return found
    if scheme in ("https", "http"):
        return http.read_document(text)
    if scheme not in ("", "file") and isinstance(source, str):
        raise InvalidContentError(f"{text[:120]}: {scheme}:// is no place that can be read here")
    path: Any = source
    if isinstance(source, str):
        path = Path(url2pathname(place.path) if place else text).expanduser()
    try:
        if not scheme and Path(path).is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder")
        return bytes(Path(path).read_bytes() if not scheme else path.read_bytes())
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file {text[:300]}.") from error
    except PermissionError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidContentError(f"{text[:120]!r} is no file that can be read: {why}") from error


def _stem(text: str) -> str:
    # A URL's query is no part of the file's name; a key in S3 may hold the same signs.
    url = re.match(r"(?:https?|file)://([^?#]*)", text, re.IGNORECASE)
    text = text if url is None else unquote(url[1])
    name = text.rstrip("/").replace("\\", "/").rpartition("/")[2]
    return name[: -len(".json")] if name.lower().endswith(".json") else name


def decoded(data: bytes, place: str) -> dict[str, Any]:
    """Decode a state's JSON.

    Raises
    ------
    InvalidContentError
        It is no JSON object (a `ValueError`).
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidContentError(
            f"{place[:120]} holds no JSON ({error}): {excerpt(data)!r}"
        ) from without_text(error)
    if not isinstance(content, dict):
        raise InvalidContentError(
            f"{place[:120]} holds a {type(content).__name__}: a Neuroglancer state is an object"
        )
    return content


# -- what is in one --------------------------------------------------------------------------------


def _layers(content: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and description of each layer of a kind, whatever else is in the state."""
    layers = content.get("layers")
    if isinstance(layers, Mapping):
        # Older viewers wrote layers by name.
        layers = [
            {"name": name, **layer} for name, layer in layers.items() if isinstance(layer, Mapping)
        ]
    for layer in layers if isinstance(layers, list | tuple) else ():
        if isinstance(layer, Mapping) and layer.get("type") == kind:
            name = layer.get("name")
            is_name = isinstance(name, str | int) and not isinstance(name, bool)
            yield str(name) if is_name else "", layer


def annotation_names(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the names of the annotation layers, in their order; those without a name are left out.

    Examples
    --------
    >>> annotation_names({"layers": [{"type": "annotation", "name": "A1"}, {"type": "image"}]})
    ('A1',)
    """
    return tuple(name for name, _ in _layers(content, _ANNOTATION) if name)


def image_sources(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the sources of the image layers, in their order.

    Examples
    --------
    >>> image_sources({"layers": [{"type": "image", "source": {"url": "zarr://s3://b/a.zarr"}}]})
    ('zarr://s3://b/a.zarr',)
    """
    found = []
    for _, layer in _layers(content, _IMAGE):
        source = layer.get("source")
        # One source or several, each a text or an object that has it.
        for one in source if isinstance(source, list | tuple) else (source,):
            url = one.get("url") if isinstance(one, Mapping) else one
            if isinstance(url, str) and url:
                found.append(url)
    return tuple(found)


class _Place(NamedTuple):
    bucket: str
    root: str


def _place(source: str) -> _Place | None:
    """Give the bucket of a source and the first folder of its path: an asset's own."""
    in_s3 = _S3_URL.search(source)
    if in_s3 is not None:
        return _Place(*map(unquote, in_s3.groups()))
    on_web = _WEB_URL.search(source)
    if on_web is not None:
        return _Place(on_web[1] or on_web[2], unquote(on_web[3]))
    return None


def session(content: Mapping[str, Any], name: str | None) -> SessionID | None:
    """Give the session whose images a state shows; by the images, else by the file's name."""
    sources = image_sources(content)
    for text in sources:
        found = find_session_id(text)
        if found is not None:
            return found
    for place in sorted({p for p in map(_place, sources) if p is not None and _is_inside(p)}):
        asset = questions.linked_asset(place.root)
        found = belonging.session_of(asset.name) if asset is not None else None
        if found is not None:
            return found
    return belonging.session_of(name) if name else None


def image_assets(content: Mapping[str, Any]) -> Assets:
    """Give the data assets that hold a state's images, ascending by creation.

    Raises
    ------
    CredentialsError, ServiceError
        Code Ocean could not be asked.
    """
    places = dict.fromkeys(p for p in map(_place, image_sources(content)) if p is not None)
    with trail.following("neuroglancer", "images of a state"):
        found = pool.gather_all(_image_asset, places)
        return assets.ascending(asset for asset in found if asset is not None)


def _is_inside(place: _Place) -> bool:
    """Whether a place is within Code Ocean, whose folders are named after their assets."""
    return place.bucket == settings.RESULTS_BUCKET and is_uuid(place.root)


def _image_asset(place: _Place) -> AssetSummary | None:
    if _is_inside(place):
        return questions.linked_asset(place.root)
    of = belonging.session_of(place.root)
    some = assets.session_assets(of) if of is not None else ()
    there = [a for a in some if (a.bucket, a.prefix.strip("/")) == place]
    # An asset may have been copied since, under its name.
    asset = belonging.newest(there) or belonging.newest(a for a in some if a.name == place.root)
    if asset is None:
        trail.tell("No data asset holds the images in s3://%s/%s", *place)
    return asset


# -- those of a subject ----------------------------------------------------------------------------


class Stored(NamedTuple):
    """A state's file in the scratch bucket."""

    name: str
    key: str


def order(name: str, created: int = 0) -> tuple[datetime.datetime, str]:
    """Put states in order: by the time in their name, else by that of the asset; then by name."""
    parts = belonging.named(name)
    moment = parts.dt if parts.dt is not None else publishing.pacific(created).replace(tzinfo=None)
    return moment, name


def key_of(name: str) -> str:
    """Give the key of a state's file."""
    return f"{FOLDER}/{name}/{name}.json"


def stored(subject_id: str) -> tuple[Stored, ...]:
    """List the files of a subject's states, ascending by the time in their names."""
    with trail.following(subject_id, "Neuroglancer states"):
        listed = questions.listing(BUCKET, FOLDER)
        found = {
            # Files that lie beside the folders are from before each had its own.
            **{
                name[: -len(".json")]: f"{FOLDER}/{name}" for name in listed.files if _is_json(name)
            },
            **{name: key_of(name) for name in listed.folders},
        }
        mine = [name for name in found if _subject_of(name) == subject_id]
        if not mine:
            trail.tell("No Neuroglancer state of %s is in s3://%s/%s", subject_id, BUCKET, FOLDER)
        return tuple(Stored(name, found[name]) for name in sorted(mine, key=order))


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def _subject_of(name: str) -> str | None:
    of = belonging.session_of(name)
    return of.subject_id if of is not None else None


def is_state(asset: AssetSummary) -> bool:
    """Tell whether a data asset is a Neuroglancer state: by its name, else by its tags."""
    if LABEL in asset.name.lower().replace("_", "-"):
        return True
    return {"neuroglancer", "annotation"} <= {str(tag).lower() for tag in asset.tags}


def state_assets(subject_id: str) -> Assets:
    """Give the data assets that are states of a subject, ascending by creation."""
    with trail.following(subject_id, "Neuroglancer states"):
        return tuple(asset for asset in assets.subject_assets(subject_id) if is_state(asset))


def _known(
    files: Outcome[tuple[Stored, ...]], found: Outcome[Assets]
) -> tuple[dict[str, Stored], dict[str, AssetSummary]]:
    """Give the states by name: their files, and their assets. One of the services may be down."""
    gaps = Gaps("Neuroglancer states that only it knows")
    by_file = {one.name: one for one in gaps.fill(S3, files, ())}
    by_asset = {asset.name: asset for asset in gaps.fill(CODE_OCEAN, found, ())}
    if not by_file and not by_asset:
        gaps.raise_first()
    gaps.warn()
    return by_file, by_asset


def _in_order(files: Iterable[str], found: Mapping[str, AssetSummary]) -> list[str]:
    created = {name: asset.created for name, asset in found.items()}
    return sorted({*files, *found}, key=lambda name: order(name, created.get(name, 0)))


def _read_known(file: Stored | None, asset: AssetSummary | None) -> Content | None:
    """Read a state's file, or where it was cleared away that of its asset."""
    if file is not None:
        data = questions.text(BUCKET, file.key)
        if data is not None:
            return Content(decoded(data, f"s3://{BUCKET}/{file.key}"), file.name)
    if asset is not None:
        data = publishing.read_back(asset, ".json")
        if data is not None:
            return Content(decoded(data, asset.name), asset.name)
    return None


def all_of(subject_id: str) -> tuple[Content, ...]:
    """Read all states of a subject, ascending; one that cannot be read is left out and told."""
    with trail.following(subject_id, "Neuroglancer states"):
        files, found = _known(
            *pool.outcomes(lambda: stored(subject_id), lambda: state_assets(subject_id))
        )
        names = _in_order(files, found)
        outcomes = pool.outcomes(
            *(lambda n=n: _read_known(files.get(n), found.get(n)) for n in names)
        )
        states = []
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome.error, InvalidContentError | codeocean.ClosedAssetError):
                trail.tell("Neuroglancer state %s is left out: %s", name, outcome.error)
            elif outcome.unwrap() is None:
                trail.tell("Neuroglancer state %s is left out: its file is gone", name)
            else:
                states.append(outcome.unwrap())
        return tuple(states)


def by_name(
    subject_id: str, name: str | None, listed: Outcome[tuple[Stored, ...]], some: Assets
) -> Content:
    """Read one state of a subject, the latest where no name is given.

    Parameters
    ----------
    subject_id
        The subject.
    name
        Name of the state, with or without `.json`.
    listed
        As `stored` gives them.
    some
        Data assets that are states of the subject.

    Raises
    ------
    MissingFileError
        There is none (a `FileNotFoundError`).
    """
    with trail.following(subject_id, "Neuroglancer state"):
        files, found = _known(listed, Outcome(some))
        names = _in_order(files, found)
        wanted = _stem(name) if name else names[-1] if names else ""
        state = _read_known(files.get(wanted), found.get(wanted)) if wanted in names else None
        if state is None:
            raise MissingFileError(
                f"There is no Neuroglancer state{f' {wanted}' if wanted else ''} of subject "
                f"{subject_id}: neither in s3://{BUCKET}/{FOLDER} nor among its data assets. "
                + (f"There is {', '.join(names[-3:])}." if names else _HOW),
                trail=trail.lines(),
            )
        return state


_HOW = "Save one: subject.neuroglancer.from_json(...).write()."


# -- a new one -------------------------------------------------------------------------------------


def new_key(session_id: str) -> str:
    """Give the key of a new state's file, after its session and the time; no other one has it."""
    moment = publishing.pacific()
    while True:
        key = key_of(f"{session_id}_{LABEL}_{publishing.stamp(moment)}")
        # Asked anew: two states of one second would be one file.
        if not storage.list_folder(BUCKET, key.rpartition("/")[0]).exists:
            return key
        moment += datetime.timedelta(seconds=1)
