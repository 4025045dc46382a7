"""Shapes of invented sessions: IDs and times, metadata records, and files, as services have them.

The shapes are JSON files in `templates`; a string such as "$name" in them is replaced by a value,
and so is "{name}" in the path of a file.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from aind_session.sandbox.catalogue import OMIT, Json, fill, template
from aind_session.settings import RESULTS_BUCKET as RESULTS_BUCKET

_NAME = re.compile(
    r"(?:(?P<platform>[A-Za-z0-9-]+)_)?(?P<subject>[A-Za-z]*[0-9][A-Za-z0-9]*)"
    r"_(?P<start>\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)"
)
_TIME = "%Y-%m-%d_%H-%M-%S"
_SCHEMAS = {"v1": "schema_1", "v2": "schema_2"}


def tables() -> Json:
    """Return the tables of names that invented sessions draw from."""
    return template("names")


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
        return cls(match["platform"], match["subject"], datetime.strptime(match["start"], _TIME))


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
    return utc(seconds).strftime(_TIME)


def pacific(moment: datetime) -> str:
    """Write a local time of Seattle with its offset."""
    return moment.replace(tzinfo=ZoneInfo("America/Los_Angeles")).isoformat()


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


def subject(mouse: Mouse, generation: str) -> Json:
    """Make the `subject` core file."""
    return fill(_SCHEMAS[generation], "subject", {**vars(mouse), "subject": mouse.id})


def data_description(
    name: str,
    mouse: Mouse,
    modalities: Sequence[str],
    generation: str,
    session: SessionName,
    derived: tuple[str, str | None] | None = None,
) -> Json:
    """Make the `data_description` core file, of a derived asset with its source and process."""
    full = tables()["platforms"].get(session.platform, {}).get("name", session.platform)
    source, process = derived or (OMIT, OMIT)
    file = _SCHEMAS[generation]
    values = {
        **_recording(mouse, modalities, generation, session.start),
        "name": name,
        "level": "derived" if derived else "raw",
        "project": mouse.project,
        "investigators": [fill(file, "person", {"name": p}) for p in mouse.investigators],
        "platform": OMIT
        if session.platform is None
        else {"name": full, "abbreviation": session.platform},
        "source": source,
        "process": process,
        "source_data": [source] if derived else None,
    }
    return fill(file, "data_description", values)


def _recording(mouse: Mouse, modalities: Sequence[str], generation: str, start: datetime) -> Json:
    """Return what several core files contain of a recording."""
    names = tables()["modalities"]
    renamed = {"slap": "slap2"} if generation == "v2" else {}
    end = start + timedelta(minutes=75)
    return {
        "subject": mouse.id,
        "people": list(mouse.investigators),
        "rig": "INVENTED_SPIM1" if "SPIM" in modalities else "INVENTED_RIG1",
        "modalities": [
            {"name": names.get(m, m), "abbreviation": renamed.get(m, m)} for m in modalities
        ],
        "start": start.isoformat(),
        "end": end.isoformat(),
        "start_pacific": pacific(start),
        "end_pacific": pacific(end),
    }


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
    began, ended = (f"{utc(moment).isoformat()}+00:00" for moment in (end - 3600, end))
    processes: list[Any] = []
    for number, (name, parameters) in enumerate(steps):
        own: Json = {"step": name, "step_name": f"{name}_{number}" if number else name}
        own |= {"parameters": dict(parameters), "began": began, "ended": ended}
        processes.append(fill(file, "step", own))
    if era == "nested":
        processes = [*processes[:1], processes[1:]]
    return fill(file, "processing_old" if era == "old" else "processing", {"steps": processes})


def session_record(
    name: str,
    generation: str,
    mouse: Mouse,
    modalities: Sequence[str],
    *,
    location: str,
    created: float,
    source: str | None = None,
    process: str | None = None,
    asset_ids: Sequence[str] = (),
    links: Any = ...,
    record_id: str | None = None,
    **core: Any,
) -> Json:
    """Make the record of a raw asset, or of one derived from `source`, with all its core files.

    `links` replaces the usual value of `external_links` or `other_identifiers`; `core` are further
    core files, or others in place of the usual ones.
    """
    session = SessionName.read(source or name)
    file, old, moment = _SCHEMAS[generation], generation == "v1", utc(created)
    values = {
        **_recording(mouse, modalities, generation, session.start),
        "id": record_id or invented_id("record", generation, location),
        "created": moment.isoformat() + (".153541" if old else ".410Z"),
        "modified": (moment + timedelta(days=1)).isoformat() + ".724Z",
        "links": {"Code Ocean": list(asset_ids)} if links is ... else links,
        "location": location,
        "name": name,
    }
    derived = (source, process) if source else None
    made = {
        **fill(file, "record", values),
        "subject": subject(mouse, generation),
        "data_description": data_description(name, mouse, modalities, generation, session, derived),
        "procedures": fill(file, "procedures", values),
        # `session` and `rig`, or `acquisition` and `instrument`: SPIM has these in 1.x, too.
        **fill(file, "acquired_spim" if old and "SPIM" in modalities else "acquired", values),
        **core,
    }
    return dict(sorted(made.items())) if old else made


# Files

#: The record node of most recordings.
NODE = 102
#: A run that went through, with an NWB file, although every sorting job failed (pipeline 1.1).
NO_STREAMS = "no streams"
#: The end of the file `output` of a failed run.
FAILURES: dict[str, str] = template("files")["failures"]
RESULT_CORES = ("data_description", "procedures", "subject")


def _files(name: str, **values: Any) -> dict[str, str]:
    """Return a template of files, text by path."""
    files = fill("files", name, values)
    return {
        path.format(**values): text if isinstance(text, str) else _json(text)
        for path, text in files.items()
    }


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
    values = {"root": "" if old_layout else "ecephys/", "date": date, "node": NODE}
    for modality in modalities:
        folder = tables()["old_folders"].get(modality, modality) if old_layout else modality
        known = (f"old_{modality}" if old_layout else "", modality, "other")
        section = next(name for name in known if name in template("files"))
        files |= _files(section, folder=folder, modality=modality, **values)
        if modality == "ecephys":
            for name in (stream(p, suffix=suffix) for p in probes for suffix in suffixes):
                files |= _files("ecephys_stream", stream=name, **values)
    return dict(sorted(files.items()))


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
    output = _log(sorter, probes, FAILURES.get(failure or "", ending), capsule)
    files = {"output": output} if capsule else {"nextflow/trace.txt": "", "output": output}
    if failure in FAILURES:
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
    curated = "sorting_precurated" if precurated or capsule else "curated"
    for name in streams:
        files |= _files("sorted_stream", stream=name, curated=curated, sorter=sorter)
        files |= _files("analyzer" if analyzer else "waveforms", stream=name)
        if capsule:
            files[f"drift_maps/{name}_drift.png"] = ""
    if not capsule:
        files[f"nwb/{session_id}_experiment1_recording1.nwb/.zgroup"] = ""
    return dict(sorted(files.items()))


def _log(sorter: str, probes: Sequence[str], ending: str, capsule: bool) -> str:
    """Return the log of a sorting, without a line break at its end."""
    start = ["N E X T F L O W  ~  version 22.10.8", "Launching `main.nf` [invented_run]", ""]
    lines = ["Running spike sorting with Kilosort 2.5", ""] if capsule else start
    jobs = (f"[{n:02x}/5e61f0] spike sorting {sorter}: {p}" for n, p in enumerate(probes))
    return "\n".join([*lines, *jobs, ending])


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))
