"""Shapes of invented data: assets, computations, records and files, as the services have them.

The shapes are JSON files in `templates`; a string such as "$name" in them is replaced by a value.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from aind_session.sandbox.catalogue import Json
from aind_session.settings import RESULTS_BUCKET as RESULTS_BUCKET

_NAME = re.compile(
    r"(?:(?P<platform>[A-Za-z0-9-]+)_)?(?P<subject>[A-Za-z]*[0-9][A-Za-z0-9]*)"
    r"_(?P<date>\d{4}-\d\d-\d\d)_(?P<time>\d\d-\d\d-\d\d)"
)
_SCHEMAS = {"v1": "schema_1", "v2": "schema_2"}
#: Leaves the key of a placeholder out.
OMIT = ...


@cache
def _template(file: str) -> Json:
    path = Path(__file__).with_name("templates") / f"{file}.json"
    content: Json = json.loads(path.read_text(encoding="utf-8"))
    return content


def tables() -> Json:
    """Return the tables of names that invented sessions draw from."""
    return _template("names")


def fill(file: str, name: str, values: Mapping[str, Any]) -> Any:
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

    return walk(_template(file)[name])


class SessionName(NamedTuple):
    """The parts of a session ID, read strictly: what is invented is well-formed."""

    platform: str | None
    subject: str
    start: datetime

    @classmethod
    def read(cls, session_id: str) -> SessionName:
        """Read `<platform>_<subject>_<date>_<time>`, or the same without platform.

        Raises
        ------
        ValueError
            The text is not a session ID, or not only one.

        Examples
        --------
        >>> SessionName.read("ecephys_999999_2024-01-01_10-00-00").subject
        '999999'
        """
        match = _NAME.fullmatch(session_id)
        if match is None:
            raise ValueError(
                f"{session_id!r} is not a session ID: write <platform>_<subject>_<date>_<time>, "
                "such as 'ecephys_999999_2024-01-01_10-00-00'"
            )
        start = datetime.strptime(f"{match['date']}_{match['time']}", "%Y-%m-%d_%H-%M-%S")
        return cls(match["platform"], match["subject"], start)


def invented_id(*parts: object) -> str:
    """Return the UUID that always belongs to these names.

    Examples
    --------
    >>> invented_id("asset", "a") == invented_id("asset", "a")
    True
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "aind-session:invented/" + "/".join(map(str, parts))))


def epoch(moment: datetime) -> int:
    """Return the seconds since 1970 of a naive time, read as UTC."""
    return int(moment.replace(tzinfo=timezone.utc).timestamp())


def utc(seconds: float) -> datetime:
    """Return a moment (epoch seconds) as a naive time in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)


def stamp(seconds: float) -> str:
    """Write a time as in names (UTC)."""
    return utc(seconds).strftime("%Y-%m-%d_%H-%M-%S")


def pacific(moment: datetime) -> str:
    """Write a local time of Seattle with its offset."""

    def sunday(month: int, nth: int) -> datetime:
        first = datetime(moment.year, month, 1, 2)
        return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))

    summer = sunday(3, 2) <= moment < sunday(11, 1)
    return moment.isoformat() + ("-07:00" if summer else "-08:00")


@dataclass(frozen=True)
class Mouse:
    """An invented subject, the same in all of its records.

    Examples
    --------
    >>> Mouse.invent("999999", genotype="wt/wt").genotype
    'wt/wt'
    """

    id: str
    genotype: str
    sex: str
    date_of_birth: str
    project: str | None
    investigators: tuple[str, ...]

    @classmethod
    def invent(cls, subject: str, **known: Any) -> Mouse:
        """Invent a subject from its ID; known properties replace invented ones."""
        number = int(invented_id("subject", subject)[:8], 16)

        def pick(name: str) -> Any:
            return tables()[name][number % len(tables()[name])]

        invented: Json = {
            "genotype": pick("genotypes"),
            "sex": ("Female", "Male")[number % 2],
            "date_of_birth": f"{datetime(2023, 1, 1) + timedelta(days=number % 300):%Y-%m-%d}",
            "project": pick("projects"),
            "investigators": (pick("people"),),
        }
        return cls(subject, **(invented | {k: v for k, v in known.items() if v is not None}))


# Code Ocean


def raw_asset(
    name: str,
    *,
    asset_id: str,
    created: float,
    bucket: str,
    subject: str,
    platform: str | None,
    level: str | None = "raw",
    prefix: str | None = None,
    tags: Sequence[str] | None = None,
    **other: Any,
) -> Json:
    """Make a dataset in an AIND bucket, below a prefix that is its name by default.

    A platform of None is left out of custom metadata and tags; a level of None leaves out the
    custom metadata. Other keys replace what is made here.
    """
    usual = sorted(filter(None, ("raw", platform, subject)))
    values = {
        "id": asset_id,
        "created": created,
        "name": name,
        "tags": list(usual if tags is None else tags),
        "bucket": bucket,
        "prefix": name if prefix is None else prefix,
        "custom_metadata": _custom_metadata(level, platform, subject),
    }
    return {**fill("codeocean", "raw_asset", values), **other}


def result_asset(
    name: str,
    *,
    asset_id: str,
    created: float,
    subject: str,
    platform: str | None,
    inputs: Sequence[str] = (),
    capsule: str | None = None,
    computation: str | None = None,
    level: str | None = "derived",
    bucket: str | None = None,
    tags: Sequence[str] | None = None,
    **other: Any,
) -> Json:
    """Make a captured result of some assets: internal, or in a bucket; otherwise as `raw_asset`."""
    usual = [tag for tag in ("derived", subject, platform) if tag]
    place = {"bucket": bucket, "external": True, "origin": "aws", "prefix": name}
    values = {
        "id": asset_id,
        "created": created,
        "name": name,
        "tags": list(usual if tags is None else tags),
        "capsule": capsule or invented_id("capsule", name.rsplit("_", 3)[-3]),
        "computation": computation or invented_id("computation", name),
        "inputs": list(inputs),
        "custom_metadata": _custom_metadata(level, platform, subject),
        "source_bucket": place if bucket is not None else OMIT,
    }
    return {**fill("codeocean", "result_asset", values), **other}


def _custom_metadata(level: str | None, platform: str | None, subject: str) -> Any:
    if level is None:
        return OMIT
    fields = {"data level": level, "experiment type": platform, "subject id": subject}
    return {key: value for key, value in fields.items() if value is not None}


def sorting_computation(
    *,
    computation_id: str,
    created: int,
    inputs: Mapping[str, str],
    state: str = "completed",
    succeeded: bool = True,
    files: Mapping[str, str] | None = None,
    run_time: int = 41000,
    capsule: str | None = None,
    parameters: Sequence[Json] = (),
) -> Json:
    """Make a run of the spike-sorting pipeline; its inputs are mounts by asset ID."""
    ended = state in ("completed", "failed")
    values = {
        "id": computation_id,
        "created": created,
        "name": f"Run With Parameters {created % 10_000_000:07d}",
        "run_time": run_time,
        "state": state,
        "data_assets": [{"id": key, "mount": mount} for key, mount in inputs.items()],
        "parameters": list(parameters),
        "capsule": capsule or tables()["sorting"]["pipeline"],
        "end_status": ("succeeded" if succeeded else "failed") if ended else OMIT,
        "exit_code": (0 if succeeded else 1) if ended else OMIT,
        "has_results": bool(files) if ended else OMIT,
        "files": dict(files or {}) if ended else OMIT,
    }
    computation: Json = fill("codeocean", "computation", values)
    return computation


# DocDB. Schemas are "v1" and "v2".


def _modalities(modalities: Sequence[str], generation: str) -> list[Json]:
    names = tables()["modalities"]
    renamed = {"slap": "slap2"} if generation == "v2" else {}
    return [{"name": names.get(m, m), "abbreviation": renamed.get(m, m)} for m in modalities]


def subject(mouse: Mouse, generation: str) -> Json:
    """Make the `subject` core file."""
    filled: Json = fill(_SCHEMAS[generation], "subject", {**vars(mouse), "subject": mouse.id})
    return filled


def data_description(
    name: str,
    mouse: Mouse,
    modalities: Sequence[str],
    generation: str,
    *,
    start: datetime,
    platform: str | None = None,
    level: str = "raw",
    source: str | None = None,
    process: str | None = None,
) -> Json:
    """Make the `data_description` core file, of a derived asset with its source and process."""
    full = tables()["platforms"].get(platform, {}).get("name", platform)
    old = generation == "v1"
    values = {
        "subject": mouse.id,
        "name": name,
        "level": level,
        "project": mouse.project,
        "start_pacific": pacific(start),
        "modalities": _modalities(modalities, generation),
        "investigators": [
            {"name": p, "abbreviation": None} if old else {"object_type": "Person", "name": p}
            for p in mouse.investigators
        ],
        "platform": OMIT if platform is None else {"name": full, "abbreviation": platform},
        "source": source if level == "derived" else OMIT,
        "process": process if level == "derived" else OMIT,
        "source_data": [source] if source else None,
    }
    filled: Json = fill(_SCHEMAS[generation], "data_description", values)
    return filled


def acquired(mouse: Mouse, start: datetime, modalities: Sequence[str], generation: str) -> Json:
    """Make the core files of the recording: `session`, `rig`; `acquisition`, `instrument` in 2.x.

    SPIM has `acquisition` and `instrument` in 1.x, too.
    """
    spim = "SPIM" in modalities
    end = start + timedelta(minutes=75)
    values = {
        "subject": mouse.id,
        "people": list(mouse.investigators),
        "rig": "INVENTED_SPIM1" if spim else "INVENTED_RIG1",
        "modalities": _modalities(modalities, generation),
        "start": start.isoformat(),
        "end": end.isoformat(),
        "start_pacific": pacific(start),
        "end_pacific": pacific(end),
    }
    name = "acquired_spim" if spim and generation == "v1" else "acquired"
    filled: Json = fill(_SCHEMAS[generation], name, values)
    return filled


def processing(steps: Sequence[tuple[str, Mapping[str, Any]]], era: str, end: float = 0) -> Json:
    """Make the `processing` core file, in one of the nestings it has had.

    Parameters
    ----------
    steps
        Name and parameters of each process.
    era
        `old` (0.2.x: `data_processes`), `v1` (`processing_pipeline.data_processes`), `nested` (the
        same, an element of the list being itself a list) or `v2` (`code.parameters`).
    end
        When it ended (epoch seconds).

    Examples
    --------
    >>> content = processing([("Spike sorting", {"sorter_name": "kilosort4"})], "v2")
    >>> content["data_processes"][0]["code"]["parameters"]["sorter_name"]
    'kilosort4'
    """
    file = _SCHEMAS["v2" if era == "v2" else "v1"]
    processes: list[Any] = [
        fill(
            file,
            "step",
            {
                "step": name,
                "step_name": f"{name}_{number}" if number else name,
                "parameters": dict(parameters),
                "began": f"{utc(end - 3600).isoformat()}+00:00",
                "ended": f"{utc(end).isoformat()}+00:00",
            },
        )
        for number, (name, parameters) in enumerate(steps)
    ]
    if era == "nested":
        processes = [*processes[:1], processes[1:]]
    name = "processing_old" if era == "old" else "processing"
    filled: Json = fill(file, name, {"steps": processes})
    return filled


def record(
    name: str,
    generation: str,
    *,
    location: str,
    created: float,
    asset_ids: Sequence[str] = (),
    links: Any = ...,
    record_id: str | None = None,
    **core: Any,
) -> Json:
    """Make a record: the envelope of a schema around core files; those not given are null.

    `links` replaces the usual value of `external_links` or `other_identifiers`.

    Examples
    --------
    >>> record("a_1_2024-01-01_10-00-00", "v1", location="s3://b/a", created=0)["external_links"]
    {'Code Ocean': []}
    """
    moment, old = utc(created), generation == "v1"
    values = {
        "id": record_id or invented_id("record", generation, location),
        "created": moment.isoformat() + (".153541" if old else ".410Z"),
        "modified": (moment + timedelta(days=1)).isoformat() + ".724Z",
        "links": {"Code Ocean": list(asset_ids)} if links is ... else links,
        "location": location,
        "name": name,
    }
    made = {**fill(_SCHEMAS[generation], "record", values), **core}
    return dict(sorted(made.items())) if old else made


def session_record(
    name: str,
    generation: str,
    mouse: Mouse,
    modalities: Sequence[str],
    *,
    source: str | None = None,
    process: str | None = None,
    location: str,
    created: float,
    **other: Any,
) -> Json:
    """Make the full record of a raw asset, or of one derived from `source`; see `record`."""
    parts = SessionName.read(source or name)
    described = data_description(
        name,
        mouse,
        modalities,
        generation,
        start=parts.start,
        platform=parts.platform,
        level="derived" if source else "raw",
        source=source,
        process=process,
    )
    core: Json = {
        "subject": subject(mouse, generation),
        "data_description": described,
        "procedures": fill(_SCHEMAS[generation], "procedures", {"subject": mouse.id}),
        **acquired(mouse, parts.start, modalities, generation),
    }
    return record(name, generation, location=location, created=created, **(core | other))
