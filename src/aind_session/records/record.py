"""One metadata record, and its properties for both schemas: a table of paths and readers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal, TypeVar

from aind_session.identifiers import SessionID, find_session_id, split_asset_name
from aind_session.records.modalities import current_modalities, written_modalities
from aind_session.records.processing import Procedures, Processing
from aind_session.records.quality_control import QualityControl
from aind_session.records.shape import (
    Answer,
    View,
    all_named,
    at,
    either,
    items,
    known,
    like,
    named,
    text,
    texts,
    unique,
)
from aind_session.records.times import (
    in_utc,
    in_zone,
    parse_date,
    parse_time,
    parse_zone,
    start_doubt,
)

T = TypeVar("T")

DataLevel = Literal["raw", "derived", "simulated"]

_LEVELS: dict[str, DataLevel] = {
    **{"raw": "raw", "raw data": "raw", "derived": "derived", "derived data": "derived"},
    **{"simulated": "simulated", "simulated data": "simulated"},
}
_BREEDING = (
    *("breeding_group", "maternal_genotype", "maternal_id"),
    *("paternal_genotype", "paternal_id"),
)
_YEARS = range(1900, 2200)
_UUID = re.compile(
    r"(?<![0-9a-f])([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})(?![0-9a-f])",
    re.IGNORECASE,
)
_LOCATION = re.compile(r"\s*s3://([^/\s]+)/*(.*?)[/\s]*", re.IGNORECASE | re.DOTALL)
#: The buckets in which Code Ocean keeps its own assets; a prefix there is an asset's ID.
_CODE_OCEAN_BUCKET = "codeocean-s3datasetsbucket-"


# -- kinds of properties ---------------------------------------------------------------------------


def _question(read: Callable[[Any], T], doc: str, *paths: str, of_asset: bool = False) -> Answer[T]:
    """Make a property that returns the first value at one of some paths of the records.

    Without a path, the whole record is read. `of_asset` is True for a property of the data asset
    itself, False for one of its subject, session or project.
    """
    keys = [path.split(".") for path in paths] or [[]]

    def get(holder: Answers) -> T:
        for record in holder._records(of_asset):
            for key in keys:
                answer = read(at(record, *key))
                if answer is not None and answer != ():
                    return answer
        return read(None)

    return Answer(like(read, get), doc)


def _of_asset(read: Callable[[Any], T], doc: str, *paths: str) -> Answer[T]:
    return _question(read, doc, *paths, of_asset=True)


def _in(
    core: str, v1: str, v2: str, read: Callable[[Any], T], doc: str, of_asset: bool = False
) -> Answer[T]:
    """Make a property that is read at one path of a core file of 1.x, and at another of 2.x."""
    get = like(read, lambda found: either(found, v1, v2, read))
    return _question(get, doc, core, of_asset=of_asset)


def _of_recording(read: Callable[[Any], T], doc: str) -> Answer[T]:
    """Make a property that is read from the first file of the recording that contains it."""
    return _question(like(read, lambda raw: _first(raw, read)), doc)


def _in_recording(v1: str, v2: str, read: Callable[[Any], T], doc: str) -> Answer[T]:
    return _of_recording(like(read, lambda core: either(core, v1, v2, read)), doc)


# -- readers of values that have several paths -----------------------------------------------------


def _recording(raw: Any) -> list[Any]:
    """Return the core files about the recording: with a start time first, then `acquisition` first.

    1.x has `session` for physiology and behavior and `acquisition` for light-sheet microscopes;
    2.x has `acquisition`. Only a record that was partly upgraded has both.
    """
    files = [at(raw, "acquisition"), at(raw, "session")]
    existing = [core for core in files if isinstance(core, Mapping)]
    return sorted(existing, key=lambda core: _written_start(core) is None)


def _first(raw: Any, read: Callable[[Any], T]) -> T:
    for core in _recording(raw):
        answer = read(core)
        if answer:
            return answer
    return read(None)


def _session(raw: Any) -> SessionID | None:
    return find_session_id(_name(raw))


def _session_id(raw: Any) -> str | None:
    session = _session(raw)
    return session.id if session else None


def _name(raw: Any) -> str | None:
    return text(at(raw, "name")) or text(at(raw, "data_description", "name"))


def _subject_id(raw: Any) -> str | None:
    cores = [at(raw, "subject"), at(raw, "data_description"), *_recording(raw)]
    written = next(filter(None, (text(at(core, "subject_id")) for core in cores)), None)
    session = None if written else _session(raw)
    return session.subject_id if session else written


def _platform(raw: Any) -> str | None:
    platform = at(raw, "data_description", "platform")
    written = text(at(platform, "abbreviation")) or named(platform)
    written = written or text(at(raw, "data_description", "experiment_type"))
    session = None if written else _session(raw)
    return session.platform if session else written


def _data_level(raw: Any) -> DataLevel | None:
    level = text(at(raw, "data_description", "data_level")) or ""
    written = _LEVELS.get(level.strip().casefold().replace("_", " "))
    if written == "simulated":
        return written
    parts = split_asset_name(_name(raw) or "")
    if parts.is_raw:
        return "raw"
    return "derived" if parts.steps else written


def _year_of_birth(subject: Any) -> int | None:
    year = either(subject, "year_of_birth", "subject_details.year_of_birth", _year)
    born = either(subject, "date_of_birth", "subject_details.date_of_birth", parse_date)
    return year or (born.year if born else None)


def _year(value: Any) -> int | None:
    digits = text(value) or ""
    is_year = digits.isdecimal() and len(digits) == 4 and int(digits) in _YEARS
    return int(digits) if is_year else None


def _breeding(subject: Any) -> dict[str, str] | None:
    within = either(subject, "breeding_info", "subject_details.breeding_info", _parents)
    return within or _parents(subject)


def _parents(value: Any) -> dict[str, str] | None:
    written = {key: text(at(value, key)) for key in _BREEDING}
    return {key: answer for key, answer in written.items() if answer is not None} or None


def _sorter_names(core: Any) -> tuple[str, ...]:
    return Processing(core).sorter_names


def _written_start(core: Any) -> datetime | None:
    return either(core, "session_start_time", "acquisition_start_time", parse_time)


def _start_in(core: Any) -> datetime | None:
    return in_zone(_written_start(core), parse_zone(at(core, "acquisition_start_tz")))


def _end_in(core: Any) -> datetime | None:
    written = either(core, "session_end_time", "acquisition_end_time", parse_time)
    return in_zone(written, parse_zone(at(core, "acquisition_start_tz")))


def _acquisition_end(raw: Any) -> datetime | None:
    return next(map(_end_in, _recording(raw)), None)


def _start_doubt(raw: Any) -> str | None:
    session = _session(raw)
    named_time = session.dt if session else None
    for core in _recording(raw):
        return start_doubt(_written_start(core), _start_in(core), _end_in(core), named_time)
    return None


def _instrument_id(raw: Any) -> str | None:
    keys = [(core, key) for core in ("rig", "instrument") for key in ("rig_id", "instrument_id")]
    own = next(filter(None, (text(at(raw, *path)) for path in keys)), None)
    return own or _first(raw, lambda core: either(core, "rig_id", "instrument_id", text))


def _bucket(location: Any) -> str | None:
    found = _LOCATION.fullmatch(text(location) or "")
    return found.group(1) if found else None


def _prefix(location: Any) -> str | None:
    found = _LOCATION.fullmatch(text(location) or "")
    return found.group(2) or None if found else None


def _codeocean_ids(raw: Any) -> tuple[str, ...]:
    """Return the IDs of the linked data assets, of 1.x and 2.x.

    If no ID is linked, the ID in a location in Code Ocean's own bucket is returned.

    2.x records lack links more often than 1.x ones, since only these are updated.
    """
    found = [*_linked(at(raw, "external_links")), *_linked(at(raw, "other_identifiers"))]
    location = at(raw, "location")
    if not found and (_bucket(location) or "").startswith(_CODE_OCEAN_BUCKET):
        found.extend(_asset_ids((_prefix(location) or "").rsplit("/", 1)[-1]))
    return unique(tuple(found))


def _linked(links: Any) -> Iterator[str]:
    """Yield the IDs of one mapping of links, or of a list of such mappings."""
    for link in items(links):
        if isinstance(link, Mapping):
            for service, ids in link.items():
                if re.sub(r"[\s_-]", "", str(service)).casefold() == "codeocean":
                    yield from _asset_ids(ids)


def _asset_ids(value: Any) -> Iterator[str]:
    """Yield the IDs in a text or a list of texts, as Code Ocean writes them."""
    for item in items(value):
        found = _UUID.search(item) if isinstance(item, str) else None
        if found is not None:
            yield "-".join(found.groups()).lower()


# -- the table -------------------------------------------------------------------------------------


class Answers:
    """The properties that records of both schemas have.

    Reading one never raises: the value is None, or `()` if there can be several, if no record
    contains it or if the record has an unknown structure.
    """

    __slots__ = ()

    def _records(self, of_asset: bool) -> Iterable[Any]:
        """Return the records to read, in order.

        `of_asset` is True for a property of the data asset that a record describes, False for one
        of its subject, session or project.
        """
        raise NotImplementedError

    name = _of_asset(_name, "Name of the data asset; the name in the description can differ.")
    id = _of_asset(text, "The record's ID in its database.", "_id.$oid", "_id")
    session_id = _question(_session_id, "The session ID in the name.")
    subject_id = _question(_subject_id, "ID of the subject, in a core file or else in the name.")
    platform = _question(_platform, "Platform, in a description of 1.x or else in the name.")
    project = _in("data_description", "project_name", "project_name", known, "The project's name.")
    data_level = _of_asset(
        _data_level,
        "`raw`, `derived` or `simulated`. A name with a session decides between raw and derived, "
        "since descriptions are copied from raw assets to derived ones.",
    )
    modalities = _in(
        *("data_description", "modality", "modalities", current_modalities),
        "Current abbreviations of the modalities, sorted.",
    )
    modalities_as_written = _in(
        *("data_description", "modality", "modalities", written_modalities),
        "Modalities as the record spells them, in its order.",
    )
    genotype = _in("subject", "genotype", "subject_details.genotype", text, "Subject's genotype.")
    sex = _in("subject", "sex", "subject_details.sex", text, "Subject's sex, `Male` or `Female`.")
    date_of_birth = _in(
        *("subject", "date_of_birth", "subject_details.date_of_birth", parse_date),
        "The subject's date of birth.",
    )
    year_of_birth = _question(
        _year_of_birth, "Subject's year of birth; some have no date.", "subject"
    )
    strain = _in(
        *("subject", "background_strain", "subject_details.strain", named),
        "The subject's background strain; the upgrade to 2.x writes C57BL/6J if there was none.",
    )
    species = _in("subject", "species", "subject_details.species", named, "Subject's species.")
    breeding = _question(
        _breeding, "The breeding group, and each parent's ID and genotype.", "subject"
    )
    acquisition_start = _of_recording(
        _start_in,
        "Start of the recording, time zone aware, as the record contains it; Pacific time if no "
        "offset is written. Records are often wrong here, see `acquisition_start_doubt`.",
    )
    acquisition_start_doubt = _question(_start_doubt, "Why the start is uncertain, or None.")
    acquisition_end = _question(_acquisition_end, "End of the recording, time zone aware.")
    session_type = _in_recording("session_type", "acquisition_type", text, "Session type.")
    experimenters = _in_recording(
        "experimenter_full_name", "experimenters", all_named, "The experimenters' names."
    )
    investigators = _question(
        all_named, "The investigators' names.", "data_description.investigators"
    )
    instrument_id = _question(
        _instrument_id,
        "The rig or instrument, as its own file spells it, else as the recording's does. In 1.x "
        "the two often differ (`MESO.1`, `429_MESO1_20260122`).",
    )
    ethics = _in_recording(
        "iacuc_protocol", "ethics_review_id", texts, "IDs of the ethics approvals."
    )
    source_data = _in(
        *("data_description", "input_data_name", "source_data", all_named),
        "Names of the assets from which this one was made.",
        of_asset=True,
    )
    tags = _of_asset(all_named, "The tags, which only 2.x has.", "data_description.tags")
    sorter_names = _of_asset(_sorter_names, "The spike sorters in the processing.", "processing")
    processing = _of_asset(Processing.of, "The steps that made the data.", "processing")
    quality_control = _of_asset(QualityControl.of, "The quality control.", "quality_control")
    procedures = _question(Procedures.of, "Procedures on subject and specimens.", "procedures")
    codeocean_ids = _of_asset(_codeocean_ids, "IDs of the data assets in Code Ocean.")
    location = _of_asset(text, "Location of the files (`s3://bucket/prefix`).", "location")
    bucket = _of_asset(_bucket, "The bucket of the location.", "location")
    prefix = _of_asset(_prefix, "The prefix of the location, without slashes.", "location")
    schema_version = _of_asset(
        text, "Version of the record around the core files, which have their own.", "schema_version"
    )
    created = _of_asset(
        in_utc, "When the record (not the asset) was first written, in UTC.", "created", "_created"
    )
    modified = _of_asset(
        in_utc, "When the record was last written, in UTC.", "last_modified", "_last_modified"
    )


#: Names of the properties, each with the same value for both schemas.
QUESTIONS: Final = tuple(name for name, row in vars(Answers).items() if isinstance(row, Answer))


class Record(View, Answers):
    """A read-only view of one metadata record of schema 1.x or 2.x.

    Each property reads the record when it is used. Reading one never raises: the value is None, or
    `()` if there can be several, if the record does not contain it or contains it in an unknown
    structure.

    Parameters
    ----------
    raw
        The record, or any other JSON value.

    Examples
    --------
    >>> old = Record({"subject": {"sex": "Male"}, "data_description": {"modality": ["ophys"]}})
    >>> new = Record(
    ...     {
    ...         "subject": {"subject_details": {"sex": "Male"}},
    ...         "data_description": {"modalities": [{"abbreviation": "pophys"}]},
    ...     }
    ... )
    >>> old.sex == new.sex, old.modalities == new.modalities, new.genotype
    (True, True, None)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the values of all properties, by their names."""
        return {question: getattr(self, question) for question in QUESTIONS}

    def _records(self, of_asset: bool) -> Iterable[Any]:
        return (self._raw,)


def session_of_description(description: object) -> SessionID | None:
    """Return the session in the content of a `data_description.json`: in its name, else its inputs.

    None if none of them contains one, or the inputs belong to several sessions.
    """
    for key in ("name", "input_data_name", "source_data"):
        named = map(find_session_id, all_named(at(description, key)))
        sessions = {session for session in named if session is not None}
        if sessions:
            return sessions.pop() if len(sessions) == 1 else None
    return None
