"""Content of a Neuroglancer state: reading it from any source, its layers, images and session."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from aind_session import settings
from aind_session.errors import InvalidContentError, MissingFileError
from aind_session.identifiers import SessionID, find_session_id, is_uuid, session_in_name
from aind_session.lookup import evidence, rules
from aind_session.services import s3
from aind_session.services.assets import Assets, linked_asset
from aind_session.services.files import read_text
from aind_session.services.http import read_document
from aind_session.services.models import AssetSummary
from aind_session.services.redact import excerpt, without_text
from aind_session.threads import gather_all
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

# `s3://BUCKET/KEY`, `https://BUCKET.s3.REGION.amazonaws.com/KEY`, `https://s3.../BUCKET/KEY`.
_IN_S3 = re.compile(
    r"(?:s3://([^/|?#\s]+)"
    r"|https?://([a-z0-9.-]+)\.s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com"
    r"|https?://s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com/([a-z0-9.-]+))/([^|?#\s]+)"
)


# -- reading ---------------------------------------------------------------------------------------


class Content(NamedTuple):
    """The content of a state, and the name of the file that it was read from."""

    content: dict[str, Any]
    name: str | None = None


def read(source: object) -> Content:
    """Read a state from a dictionary, JSON text, a path, a URL, or a link to the viewer."""
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
        # A link to the viewer has the state, or the state's URL, after this mark.
        inside = unquote(text.partition("#!")[2]).strip()
        if "#!" in inside or not inside:
            raise InvalidContentError(f"The link {text[:80]} holds no state, nor a URL of one")
        return read(inside)
    return Content(decoded(_read_place(source, text), text), stem(text))


def _read_place(source: object, text: str) -> bytes:
    try:
        place = urlsplit(text) if "://" in text else None
    except ValueError as error:
        raise InvalidContentError(f"{text[:120]} is not a URL: {error}") from error
    scheme = place.scheme.lower() if place is not None else ""
    if scheme in ("s3", "s3a", "http", "https"):
        if not (place and place.netloc and place.path):
            raise InvalidContentError(f"{text[:120]} names no file")
        found = read_text(*s3.split(text)) if scheme in ("s3", "s3a") else read_document(text)
        if found is None:
            raise MissingFileError(f"There is no {text}.", trail=trace_lines())
        return found
    path: Any = source
    if isinstance(source, str):
        if scheme not in ("", "file"):
            raise InvalidContentError(f"{text[:120]}: files on {scheme}:// cannot be read here")
        path = Path(url2pathname(place.path) if place else text).expanduser()
    try:
        if not scheme and Path(path).is_dir():
            # Reading it is a PermissionError on Windows.
            raise IsADirectoryError("it is a folder")
        return bytes(path.read_bytes() if hasattr(path, "read_bytes") else Path(path).read_bytes())
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file {text[:300]}.") from error
    except PermissionError:
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidContentError(f"{text[:120]!r} cannot be read as a file: {why}") from error


def stem(text: str) -> str:
    """Return the name of a file without its folder and without `.json`."""
    # The query of a URL does not belong to the file name; a key in S3 may hold the same signs.
    url = re.match(r"(?:https?|file)://([^?#]*)", text, re.IGNORECASE)
    text = text if url is None else unquote(url[1])
    name = text.rstrip("/").replace("\\", "/").rpartition("/")[2]
    return name[: -len(".json")] if name.lower().endswith(".json") else name


def decoded(data: bytes, place: str) -> dict[str, Any]:
    """Decode the JSON of a state."""
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


# -- layers ----------------------------------------------------------------------------------------


def _layers(content: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    layers = content.get("layers")
    if isinstance(layers, Mapping):
        # Older viewers wrote a mapping from names to layers.
        layers = [
            {"name": name, **layer} for name, layer in layers.items() if isinstance(layer, Mapping)
        ]
    for layer in layers if isinstance(layers, list | tuple) else ():
        if isinstance(layer, Mapping) and layer.get("type") == kind:
            yield layer


def annotation_names(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the annotation layers, in order; layers without a name are left out."""
    names = (layer.get("name") for layer in _layers(content, "annotation"))
    return tuple(
        str(name)
        for name in names
        if isinstance(name, str | int) and not isinstance(name, bool) and name != ""
    )


def image_sources(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sources of the image layers, in order."""
    found: list[Any] = []
    for layer in _layers(content, "image"):
        # One source or several, each a text or an object with a `url`.
        source = layer.get("source")
        some = source if isinstance(source, list | tuple) else (source,)
        found += (one.get("url") if isinstance(one, Mapping) else one for one in some)
    return tuple(url for url in found if isinstance(url, str) and url)


class _Place(NamedTuple):
    bucket: str
    parts: tuple[str, ...]

    @property
    def asset_id(self) -> str | None:
        """ID of the asset, if the place is in Code Ocean's bucket, whose folders are IDs."""
        root = self.parts[0]
        return root if self.bucket == settings.RESULTS_BUCKET and is_uuid(root) else None


def _places(content: Mapping[str, Any]) -> list[_Place]:
    found = filter(None, map(_IN_S3.search, image_sources(content)))
    places = [(unquote(m[1] or m[2] or m[3]), unquote(m[4]).strip("/")) for m in found]
    return [_Place(bucket, tuple(path.split("/"))) for bucket, path in dict.fromkeys(places)]


def session(content: Mapping[str, Any], name: str | None) -> SessionID | None:
    """Return the session whose images a state shows: by the images, else by the file's name."""
    ids = sorted({place.asset_id for place in _places(content)} - {None}, key=str)
    named = chain(
        map(find_session_id, image_sources(content)),
        (session_in_name(asset.name) for i in ids if (asset := linked_asset(str(i))) is not None),
        map(session_in_name, [name] if name else []),
    )
    return next(filter(None, named), None)


def image_assets(content: Mapping[str, Any]) -> Assets:
    """Return the data assets that hold the images of a state, ascending by creation."""
    with tracing("neuroglancer", "images of a state"):
        found = gather_all(_image_asset, _places(content))
        return rules.ascending(asset for asset in found if asset is not None)


def _image_asset(place: _Place) -> AssetSummary | None:
    if place.asset_id is not None:
        return linked_asset(place.asset_id)
    # The folder that is named after the asset may be inside of other folders.
    for depth, name in enumerate(place.parts, start=1):
        of = session_in_name(name)
        some = evidence.all_assets(of) if of is not None else ()
        where = place.bucket, "/".join(place.parts[:depth])
        there = [a for a in some if (a.bucket, a.prefix.strip("/")) == where]
        # An asset may have been copied to another bucket, under its name.
        found = rules.newest(there) or rules.newest(a for a in some if a.name == name)
        if found is not None:
            return found
    note("No data asset holds the images in s3://%s/%s", place.bucket, "/".join(place.parts))
    return None
