"""Shapes of invented sessions: IDs and times, metadata records, and files, as services have them.

The shapes are JSON files in `templates`; a string such as "$name" in them is replaced by a value.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
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
    """Return the UUID that always belongs to these names."""
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
    """Make the `processing` core file of some steps (name and parameters), in one of its nestings.

    The era is `old` (0.2.x: `data_processes`), `v1` (`processing_pipeline.data_processes`),
    `nested` (the same, an element of the list being itself a list) or `v2` (`code.parameters`).

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


# Files

#: The record node of most recordings.
NODE = 102
#: A run that went through, with an NWB file, although every sorting job failed (pipeline 1.1).
NO_STREAMS = "no streams"
#: The end of the file `output` of a failed run.
FAILURES = {
    "traceback": 'Traceback (most recent call last):\n  File "run.py", line 12, in <module>\n'
    "RuntimeError: invented failure",
    "memory": "Out of memory.",
    "command": "Command error:\n  invented failure",
    "killed": "WARN: Killing running tasks (3)",
    "docker": "Task failed to start - DockerTimeoutError: invented failure",
    "container": "Essential container in task exited",
}
RESULT_CORES = ("data_description", "procedures", "subject")


def core_files(names: Sequence[str], cores: Mapping[str, Any]) -> dict[str, str]:
    """Write core files as text; empty ones without a record to take them from."""
    return {f"{name}.json": _json(cores[name]) if cores.get(name) else "" for name in names}


def stream(probe: str, node: int = NODE, *, suffix: str = "-AP") -> str:
    """Return a probe's stream as the recording software names it, without its recording.

    A probe is `ProbeA`, or a serial number such as `50213-1`, which never has a suffix; with
    `_group0` after it for one shank of several. The suffix of a Neuropixels 2 probe is empty.
    """
    base = probe.split("_group")[0]
    end = suffix if base.startswith("Probe") else ""
    return f"experiment1_Record Node {node}#Neuropix-PXI-100.{base}{end}"


def sorted_stream(probe: str, node: int = NODE, *, suffix: str = "-AP") -> str:
    """Return the folder of a probe's sorting: the stream with its recording, and its group."""
    _, group, number = probe.partition("_group")
    return f"{stream(probe, node, suffix=suffix)}_recording1{group}{number}"


def raw_keys(
    session_id: str,
    modalities: Sequence[str],
    *,
    probes: Sequence[str] = ("ProbeA",),
    old_layout: bool = False,
    generation: str = "v1",
    suffixes: Sequence[str] = ("-AP", "-LFP"),
    cores: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return the raw folder of a session, text by path; the core files are those of its record."""
    names = ["data_description", "procedures", "processing", "subject"]
    spim = generation == "v2" or "SPIM" in modalities
    names += ["acquisition", "instrument"] if spim else ["rig", "session"]
    date = session_id.split("_")[-2].replace("-", "")
    files = core_files([*names, "metadata.nd"], cores or {})
    # Their content is recorded of no session: `aind-session snapshot` does not read it.
    files |= {f"original_metadata/{name}.{date}.json": "" for name in names}
    for modality in modalities:
        folder = tables()["old_folders"].get(modality, modality) if old_layout else modality
        files |= dict.fromkeys(_modality(modality, folder, date, probes, old_layout, suffixes), "")
    return dict(sorted(files.items()))


def _modality(
    modality: str,
    folder: str,
    date: str,
    probes: Sequence[str],
    old_layout: bool,
    suffixes: Sequence[str],
) -> Iterator[str]:
    if modality == "ecephys":
        root = "" if old_layout else "ecephys/"
        clipped = f"{root}ecephys_clipped/Record Node {NODE}"
        yield f"{clipped}/settings.xml"
        yield f"{clipped}/experiment1/recording1/structure.oebin"
        yield f"{clipped}/experiment1/recording1/sync_messages.txt"
        compressed = f"{root}ecephys_compressed/experiment1_Record Node {NODE}#"
        yield f"{compressed}NI-DAQmx-101.PXI-6133.zarr/.zgroup"
        for suffix in suffixes:
            for probe in dict.fromkeys(probe.split("_group")[0] for probe in probes):
                yield f"{root}ecephys_compressed/{stream(probe, suffix=suffix)}.zarr/.zgroup"
    elif modality == "behavior-videos":
        for camera in ("BodyCamera", "FaceCamera"):
            yield f"{folder}/{camera}_{date}.mp4" if old_layout else f"{folder}/{camera}/video.mp4"
    elif modality == "pophys":
        yield f"{folder}/VISp_0/movie.h5"
    elif modality == "fib":
        yield from (f"{folder}/fip_{date}/{name}" for name in ("green.csv", "red.csv", "iso.csv"))
    elif modality == "SPIM":
        yield from (f"{folder}/Ex_{name}/.zgroup" for name in ("488_Em_525", "561_Em_593"))
    else:
        yield f"{folder}/{modality}_{date}.h5"


def sorting_files(
    session_id: str,
    sorter: str,
    *,
    probes: Sequence[str] = ("ProbeA",),
    era: str = "v1",
    analyzer: bool = False,
    precurated: bool = False,
    capsule: bool = False,
    failure: str | None = None,
    ending: str = "FULL PIPELINE time:  40961.31s",
    node: int = NODE,
    suffix: str = "-AP",
    created: float = 0,
    cores: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Return the result of a spike sorting: text by path.

    An era (see `processing`) of "none" leaves `processing.json` out, so that only `si_folder.json`
    contains the sorter's name. `capsule` is the layout of 2023: `sorting_precurated`, without `nwb`
    and Nextflow's files. A failure of `FAILURES` leaves only `output` and `nextflow`.
    """
    went_through = failure in (None, NO_STREAMS)
    output = log(sorter, probes, ending if went_through else FAILURES[str(failure)], not capsule)
    files = {"output": output} if capsule else {"nextflow/trace.txt": "", "output": output}
    if not went_through:
        return files
    streams = [sorted_stream(probe, node, suffix=suffix) for probe in probes]
    if failure == NO_STREAMS:
        files |= {f"preprocessed/motion/{name}/motion.npy": "" for name in streams}
        streams = []
    files["visualization_output.json"] = "{}"
    if era != "none":
        steps: list[tuple[str, Json]] = [("Ephys preprocessing", {})]
        steps += [
            ("Spike sorting", {"sorter_name": sorter, "recording_name": name}) for name in streams
        ]
        files["processing.json"] = _json(processing(steps, era, created))
    files |= core_files(RESULT_CORES, cores or {})
    for name in streams:
        folder = "sorting_precurated" if precurated or capsule else "curated"
        files |= _sorted_stream_files(name, sorter, folder, analyzer)
        if capsule:
            files[f"drift_maps/{name}_drift.png"] = ""
    if not capsule:
        files[f"nwb/{session_id}_experiment1_recording1.nwb/.zgroup"] = ""
    return dict(sorted(files.items()))


def _sorted_stream_files(name: str, sorter: str, curated: str, analyzer: bool) -> dict[str, str]:
    sorting = {"annotations": {"__sorting_info__": {"params": {"sorter_name": sorter}}}}
    folder = f"postprocessed/{name}"
    files = {
        f"{curated}/{name}/si_folder.json": "{}",
        f"spikesorted/{name}/si_folder.json": _json(sorting),
        f"visualization/{name}/traces_full_seg0.png": "",
    }
    if analyzer:
        info = {"spikeinterface_info": {"object": "SortingAnalyzer", "version": "0.101.2"}}
        return files | {f"{folder}.zarr/.zattrs": _json(info)}
    files |= {f"{folder}/{path}params.json": "{}" for path in ("", "template_metrics/")}
    files |= {f"{folder}/quality_metrics/metrics.csv": ""}
    return files | {f"{folder}_sorting/si_folder.json": "{}"}


def log(sorter: str, probes: Sequence[str], ending: str, nextflow: bool = True) -> str:
    """Return the log of a sorting, without a line break at its end."""
    head = ["N E X T F L O W  ~  version 22.10.8", "Launching `main.nf` [invented_run]", ""]
    lines = head if nextflow else ["Running spike sorting with Kilosort 2.5", ""]
    lines += [
        f"[{number:02x}/5e61f0] spike sorting {sorter}: {p}" for number, p in enumerate(probes)
    ]
    return "\n".join([*lines, ending])


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))
