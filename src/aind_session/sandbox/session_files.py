"""Files of invented sessions: the raw folder, and what a sorting pipeline leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aind_session.sandbox import shapes
from aind_session.sandbox.catalogue import Json
from aind_session.sandbox.shapes import tables

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
    """Write core files as text; empty ones if there is no record to take them from."""
    return {f"{name}.json": _json(cores[name]) if cores.get(name) else "" for name in names}


def stream(probe: str, node: int = NODE, *, suffix: str = "-AP") -> str:
    """Return a probe's stream as the recording software names it, without its recording.

    A probe is `ProbeA`, or a serial number such as `50213-1`, which never has a suffix; with
    `_group0` after it for one shank of several. The suffix of a Neuropixels 2 probe is empty.

    Examples
    --------
    >>> stream("ProbeA")
    'experiment1_Record Node 102#Neuropix-PXI-100.ProbeA-AP'
    """
    base = probe.split("_group")[0]
    end = suffix if base.startswith("Probe") else ""
    return f"experiment1_Record Node {node}#Neuropix-PXI-100.{base}{end}"


def sorted_stream(probe: str, node: int = NODE, *, suffix: str = "-AP") -> str:
    """Return the folder of a probe's sorting: the stream with its recording, and its group.

    Examples
    --------
    >>> sorted_stream("ProbeA_group0")
    'experiment1_Record Node 102#Neuropix-PXI-100.ProbeA-AP_recording1_group0'
    """
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

    Parameters
    ----------
    session_id, sorter
        What was sorted by what (`kilosort2_5`, `kilosort4`).
    probes, node, suffix
        The probes that finished.
    era
        Nesting of `processing.json`, as for `processing`; `none` leaves the file out, so that only
        `si_folder.json` contains the sorter's name.
    analyzer
        `postprocessed/<stream>.zarr`, as SpikeInterface 0.101 and later write it.
    precurated
        `sorting_precurated` in place of `curated`.
    capsule
        The layout of the capsule of 2023: precurated, without `nwb` and Nextflow's files.
    failure
        A key of `FAILURES`: only `output` and `nextflow` exist. `NO_STREAMS`: nothing was sorted.
    ending
        Last line of `output` of a successful run.
    created
        When it was captured (epoch seconds).
    cores
        Core files of its record.
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
        files["processing.json"] = _json(shapes.processing(steps, era, created))
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
