"""The catalogue folder: assets, records and listings of some sessions, as files that diff well.

=====================  ========================================================================
file                   one JSON object per line
=====================  ========================================================================
``catalogue.json``     (one object) format, version, description, buckets, capsules; of a
                       recording also what was ``recorded`` (`aind_session.sandbox.recorder`)
``data_assets.jsonl``  Code Ocean data assets as the API returns them; ``_access`` is "closed"
                       (401), "forbidden" (403) or "gone" (404) for an asset that searches list
                       and that cannot be read
``computations.jsonl`` computations as the API returns them; ``_capsule`` is the capsule or
                       pipeline they belong to, ``_files`` the text of each result file by path
                       (null: known, not recorded; a path ends in a slash: a folder)
``docdb_v1.jsonl``     records of schema 1.x
``docdb_v2.jsonl``     records of schema 2.x
``s3.jsonl``           ``{"bucket", "key"}`` with the content as ``text`` or ``base64``, or only
                       its ``size``; with none of them the object is empty. A key that ends in a
                       slash is a folder whose content is not recorded
=====================  ========================================================================
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from aind_session.errors import SandboxError
from aind_session.settings import CATALOGUE_HEADER

Json = dict[str, Any]

FORMAT = "aind-session catalogue"
VERSION = 1
#: In a template: leaves the key of a placeholder out.
OMIT = ...
#: Public buckets; others are private unless a catalogue lists them as public.
PUBLIC_BUCKETS = ("aind-open-data", "aind-ephys-data")


class CatalogueFormatError(SandboxError, ValueError):
    """A catalogue's folder cannot be read; the message contains the file."""


class CatalogueWarning(UserWarning):
    """Malformed lines of a catalogue were skipped; the message contains files and lines."""


@dataclass
class Catalogue:
    """The assets, records and listings of some sessions.

    Attributes
    ----------
    description : str
        What the catalogue contains, for people.
    buckets : dict
        S3 buckets by name, ``{"public": bool}`` each.
    capsules : dict
        Code Ocean capsules and pipelines by ID, as the API returns them, or ``{}``.
    data_assets, computations, docdb_v1, docdb_v2, objects : list of dict
        One entry per line of the files. A running sandbox serves additions at once.
    source : str
        Where the catalogue was loaded from.
    skipped : tuple of str
        The malformed lines that `load` skipped: file, line and reason.
    extra : dict
        Further keys of ``catalogue.json``, kept as they are.

    Examples
    --------
    >>> from aind_session.sandbox import Catalogue
    >>> catalogue = Catalogue(description="one invented session")
    >>> asset = catalogue.add_asset({"name": "ecephys_000001_2024-01-01_12-00-00"})
    >>> asset["state"], asset["type"]
    ('ready', 'dataset')
    """

    description: str = ""
    buckets: dict[str, Json] = field(default_factory=dict)
    capsules: dict[str, Json] = field(default_factory=dict)
    data_assets: list[Json] = field(default_factory=list, repr=False)
    computations: list[Json] = field(default_factory=list, repr=False)
    docdb_v1: list[Json] = field(default_factory=list, repr=False)
    docdb_v2: list[Json] = field(default_factory=list, repr=False)
    objects: list[Json] = field(default_factory=list, repr=False)
    source: str = field(default="", compare=False)
    extra: Json = field(default_factory=dict)
    skipped: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def title(self) -> str:
        """The name in messages: the first sentence of the description, or the source."""
        return self.description.partition(". ")[0] or self.source or "without a description"

    @classmethod
    def load(cls, path: str | Path) -> Catalogue:
        """Read a catalogue's folder.

        Parameters
        ----------
        path
            The folder that holds ``catalogue.json``.

        Raises
        ------
        CatalogueFormatError
            The catalogue is missing, or its header cannot be read or has an unknown version (a
            `ValueError`).

        Warns
        -----
        CatalogueWarning
            Malformed lines are skipped: undecodable, nested too deeply, or without an ID.
        """
        folder = Path(path)
        header = _read_header(folder)
        skipped: list[str] = []
        lists = {
            file.attribute: _read_lines(folder / name, file.needed, skipped)
            for name, file in _FILES.items()
        }
        if skipped:
            message = f"{len(skipped)} malformed lines of a catalogue are skipped: "
            warnings.warn(message + "; ".join(skipped[:5]), CatalogueWarning, stacklevel=2)
        known = ("format", "version", "description", "buckets", "capsules")
        return cls(
            description=str(header.get("description") or ""),
            buckets=dict(header.get("buckets") or {}),
            capsules=dict(header.get("capsules") or {}),
            source=str(folder),
            skipped=tuple(skipped),
            extra={k: v for k, v in header.items() if k not in known},
            **lists,
        )

    @classmethod
    def bundled(cls) -> Catalogue:
        """Read the catalogue that comes with the package: the sessions of its documentation.

        Examples
        --------
        >>> from aind_session.sandbox import Catalogue
        >>> Catalogue.bundled().extra is not None
        True
        """
        return cls.load(Path(__file__).parent / "bundled")

    def save(self, path: str | Path) -> Path:
        """Write the catalogue as a folder, sorted, so that two of them can be compared.

        Parameters
        ----------
        path
            The folder; created if it does not exist. Files of an older catalogue are replaced.

        Returns
        -------
        Path
            The folder.
        """
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        header: Json = {
            "format": FORMAT,
            "version": VERSION,
            "description": self.description,
            "buckets": dict(sorted(self.buckets.items())),
        }
        if self.capsules:
            header["capsules"] = dict(sorted(self.capsules.items()))
        header.update(sorted(self.extra.items()))
        for name, file in _FILES.items():
            entries = sorted(getattr(self, file.attribute), key=file.order)
            if entries:
                write_text(folder / name, "".join(f"{dumps(entry)}\n" for entry in entries))
            else:
                (folder / name).unlink(missing_ok=True)
        # Last, so that a folder is not a catalogue if writing was interrupted.
        write_text(
            folder / CATALOGUE_HEADER, json.dumps(header, indent=1, ensure_ascii=False) + "\n"
        )
        return folder

    def add_asset(self, asset: Json) -> Json:
        """Add a Code Ocean data asset; what the API always returns is filled in if absent.

        Returns
        -------
        dict
            The asset as added; it may be changed.
        """
        name, number = asset.get("name") or "asset", len(self.data_assets)
        own_id = asset.get("id") or made_up_id(f"asset {name} {number}")
        filled = _filled("plain_asset", own_id, number, {**asset, "name": name})
        self.data_assets.append(filled)
        return filled

    def add_computation(self, computation: Json) -> Json:
        """Add a computation, filled in as `add_asset` does."""
        end = {"end_status": "succeeded", "exit_code": 0, "has_results": True}
        ended = computation.get("state", "completed") == "completed"
        number = len(self.computations)
        known = {**(end if ended else {}), **computation}
        filled = _filled("plain_computation", made_up_id(f"computation {number}"), number, known)
        self.computations.append(filled)
        return filled

    def add_record(self, generation: int | str, record: Json) -> Json:
        """Add a DocDB record.

        Parameters
        ----------
        generation
            1 or 2 ("v1", "v2").
        record
            The record; an ``_id`` is made if it has none.
        """
        number = str(generation).lstrip("v")
        records = {"1": self.docdb_v1, "2": self.docdb_v2}[number]
        filled = {"_id": made_up_id(f"record {number} {len(records)}"), **record}
        records.append(filled)
        return filled

    def add_object(self, bucket: str, key: str, text: str = "", size: int | None = None) -> Json:
        """Add an S3 object; its bucket is declared if it is new.

        Parameters
        ----------
        bucket, key
            Its location. A new bucket is public if AIND's bucket of that name is.
        text
            Its content.
        size
            Its size, for an object whose content is not recorded.
        """
        self.buckets.setdefault(bucket, {"public": bucket in PUBLIC_BUCKETS})
        entry: Json = {"bucket": bucket, "key": key}
        if size is not None:
            entry["size"] = size
        elif text:
            entry["text"] = text
        self.objects.append(entry)
        return entry


@cache
def template(file: str) -> Json:
    """Return the content of a file of templates."""
    path = Path(__file__).with_name("templates") / f"{file}.json"
    content: Json = json.loads(path.read_text(encoding="utf-8"))
    return content


def fill(file: str, name: str, values: Mapping[str, Any]) -> Json:
    """Return a template with each string "$key" replaced by a value."""

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            filled = ((key, walk(value)) for key, value in node.items())
            return {key: value for key, value in filled if value is not OMIT}
        if isinstance(node, list):
            return [walk(value) for value in node]
        if isinstance(node, str) and node.startswith("$"):
            return values[node[1:]]
        return node

    return dict(walk(template(file)[name]))


def _filled(kind: str, own_id: str, number: int, known: Json) -> Json:
    owner, created = made_up_id("owner"), 1_700_000_000 + number
    values = {"id": own_id, "created": created, "owner": owner, "name": known.get("name")}
    return {**fill("codeocean", kind, values), **known}


def made_up_id(text: str) -> str:
    """Return a UUID that is always the same for a text."""
    import uuid

    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def number_of(entry: Json, key: str = "created") -> float:
    """Return a number of an entry to sort by; 0 if it is not a number, as services may return."""
    number = entry.get(key)
    return number if isinstance(number, int | float) and number == number else 0


def _by_name(entry: Json) -> tuple[str, ...]:
    return tuple(str(entry.get(key) or "") for key in ("name", "location", "id", "_id"))


def _by_created(entry: Json) -> tuple[str, float, str]:
    return str(entry.get("_capsule") or ""), number_of(entry), str(entry.get("id"))


class _File(NamedTuple):
    """A file of the folder: an attribute of a catalogue, the order of lines, and needed keys."""

    attribute: str
    order: Callable[[Json], Any]
    needed: tuple[str, ...]


_FILES = {
    "data_assets.jsonl": _File("data_assets", _by_name, ("id",)),
    "computations.jsonl": _File("computations", _by_created, ("id",)),
    "docdb_v1.jsonl": _File("docdb_v1", _by_name, ("_id",)),
    "docdb_v2.jsonl": _File("docdb_v2", _by_name, ("_id",)),
    "s3.jsonl": _File("objects", operator.itemgetter("bucket", "key"), ("bucket", "key")),
}


def _read_header(folder: Path) -> Json:
    path = folder / CATALOGUE_HEADER
    if not path.is_file():
        raise CatalogueFormatError(
            f"no catalogue in {folder}: {CATALOGUE_HEADER} does not exist (make one with "
            "`aind-session snapshot`)"
        )
    try:
        header = json.loads(path.read_text("utf-8-sig"))
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        reason = "nested too deeply" if deep else f"not JSON: {error}"
        raise CatalogueFormatError(f"{path}: {reason}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CatalogueFormatError(f'{path}: not a catalogue: "format" is not "{FORMAT}"')
    version = header.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        advice = "made by a newer aind-session: update it" if newer else "unknown"
        raise CatalogueFormatError(
            f"{path}: format version {version!r} is {advice} (this one reads version {VERSION})"
        )
    for key in ("buckets", "capsules"):
        if not isinstance(header.get(key) or {}, dict):
            raise CatalogueFormatError(f'{path}: "{key}" is not an object')
    return header


def _read_lines(path: Path, needed: tuple[str, ...], skipped: list[str]) -> list[Json]:
    """Return the entries of a file; add the place of each malformed line, and the reason."""
    if not path.is_file():
        return []
    import msgspec

    content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    decoder = msgspec.json.Decoder(Json)
    # All lines at once take half the time.
    with contextlib.suppress(ValueError, RecursionError):
        every = decoder.decode_lines(content)
        if all(isinstance(entry.get(key), str) for entry in every for key in needed):
            return every
    found = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            # NaN and Infinity are not JSON; services return them, and `save` writes them.
            has_nan = b"NaN" in line or b"Infinity" in line
            entry = _decode_nan(line) if has_nan else decoder.decode(line)
            for key in needed:
                if not isinstance(entry.get(key), str):
                    raise ValueError(f'"{key}" is missing or not text')
        except RecursionError:
            skipped.append(f"{path}, line {number}: nested too deeply")
        except ValueError as error:
            skipped.append(f"{path}, line {number}: {error}")
        else:
            found.append(entry)
    return found


def _decode_nan(line: bytes) -> Json:
    entry = json.loads(line, parse_float=_finite)
    if not isinstance(entry, dict):
        raise ValueError("not an object")
    # A lone surrogate could not be served.
    json.dumps(entry, ensure_ascii=False).encode()
    return entry


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"number out of range: {text}")
    return number


def dumps(entry: Json) -> str:
    """Write an entry as a line."""
    # Keys keep their order: a record is served as the service returned it.
    return json.dumps(entry, ensure_ascii=False, default=str)


def write_text(path: Path, text: str) -> None:
    """Replace a file at once."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8", newline="\n")
    part.replace(path)
