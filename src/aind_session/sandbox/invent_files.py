"""Files of invented sessions: the raw folder, and what a sorting pipeline leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aind_session.sandbox.invent_assets import tables
from aind_session.sandbox.invent_cores import processing

#: What each state of a sorting run leaves at the end of its file `output`.
FAILURES = {
    "traceback": 'Traceback (most recent call last):\n  File "run.py", line 12, in <module>\n'
    "RuntimeError: invented failure",
    "memory": "Out of memory.",
    "command": "Command error:\n  invented failure",
    "killed": "WARN: Killing running tasks (3)",
    "docker": "Task failed to start - DockerTimeoutError: invented failure",
    "container": "Essential container in task exited",
}

#: The record node of most recordings.
NODE = 102


def stream(probe: str, node: int = NODE, *, suffix: str = "-AP") -> str:
    """Name a probe's stream the way the recording software does.

    Parameters
    ----------
    probe
        `ProbeA`, or a serial number such as `50213-1`, which never carries a suffix; with
        `_group0` after it for one shank of several.
    node
        The record node.
    suffix
        `-AP` or `-LFP`; empty for a Neuropixels 2 probe.

    Returns
    -------
    str
        The stream without its recording.

    Examples
    --------
    >>> stream("ProbeA")
    'experiment1_Record Node 102#Neuropix-PXI-100.ProbeA-AP'
    """
    base = probe.split("_group")[0]
    end = suffix if base.startswith("Probe") else ""
    return f"experiment1_Record Node {node}#Neuropix-PXI-100.{base}{end}"


def sorted_stream(probe: str, node: int = NODE, *, suffix: str = "-AP") -> str:
    """Name the folder of a probe's sorting.

    Parameters
    ----------
    probe, node, suffix
        As for `stream`.

    Returns
    -------
    str
        The stream with its recording, and its group where it has one.

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
) -> dict[str, str]:
    """List the raw folder of a session: text by path within it.

    Parameters
    ----------
    session_id, modalities
        Which session, and what was recorded (abbreviations).
    probes, suffixes
        Of an ecephys recording.
    old_layout
        The folders of 2023 and before: `ecephys_clipped` in the root, `behavior_videos`.
    generation
        Tells which core files lie in the root; they are empty.

    Returns
    -------
    dict of str to str
        Files in order of path.
    """
    names = ["data_description", "procedures", "processing", "subject"]
    if generation == "v2" or "SPIM" in modalities:
        names += ["acquisition", "instrument"]
    else:
        names += ["rig", "session"]
    files = {f"{name}.json": "" for name in names}
    files["metadata.nd.json"] = ""
    date = session_id.split("_")[-2].replace("-", "")
    files |= {f"original_metadata/{name}.{date}.json": "" for name in names}
    for modality in modalities:
        folder = modality
        if old_layout:
            folder = tables()["old_folders"].get(modality, modality)
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
    failure: str | None = None,
    ending: str = "FULL PIPELINE time:  40961.31s",
    node: int = NODE,
    suffix: str = "-AP",
    created: float = 0,
) -> dict[str, str]:
    """List a sorting pipeline's result: text by path within it.

    Parameters
    ----------
    session_id, sorter
        What was sorted by what (`kilosort2_5`, `kilosort4`).
    probes, node, suffix
        The probes that finished.
    era
        Nesting of `processing.json`, as for `processing`; `none` leaves the file out, so that only
        `si_folder.json` names the sorter.
    analyzer
        `postprocessed/<stream>.zarr`, as SpikeInterface 0.101 and later write it.
    precurated
        `sorting_precurated` in place of `curated`, as in 2023.
    failure
        A key of `FAILURES`: only `output` and `nextflow` were left.
    ending
        Last line of `output` of a run that went well.
    created
        When it was captured (epoch seconds).

    Returns
    -------
    dict of str to str
        Files in order of path.
    """
    output = log(sorter, probes, FAILURES[failure] if failure else ending)
    if failure:
        return {"nextflow/trace.txt": "", "output": output}
    files = {"output": output, "nextflow/trace.txt": "", "visualization_output.json": "{}"}
    streams = [sorted_stream(probe, node, suffix=suffix) for probe in probes]
    if era != "none":
        files["processing.json"] = _json(
            processing(
                [("Ephys preprocessing", {})]
                + [
                    ("Spike sorting", {"sorter_name": sorter, "recording_name": name})
                    for name in streams
                ],
                era,
                created,
            )
        )
    for name in ("data_description", "procedures", "subject"):
        files[f"{name}.json"] = ""
    sorting = {"annotations": {"__sorting_info__": {"params": {"sorter_name": sorter}}}}
    for name in streams:
        curated = "sorting_precurated" if precurated else "curated"
        files[f"{curated}/{name}/si_folder.json"] = "{}"
        files[f"spikesorted/{name}/si_folder.json"] = _json(sorting)
        files[f"visualization/{name}/traces_full_seg0.png"] = ""
        folder = f"postprocessed/{name}"
        if analyzer:
            files[f"{folder}.zarr/.zattrs"] = _json(
                {"spikeinterface_info": {"object": "SortingAnalyzer", "version": "0.101.2"}}
            )
        else:
            files[f"{folder}/params.json"] = ""
            files[f"{folder}/quality_metrics/metrics.csv"] = ""
            files[f"{folder}/template_metrics/params.json"] = ""
            files[f"{folder}_sorting/si_folder.json"] = ""
    files[f"nwb/{session_id}_experiment1_recording1.nwb/.zgroup"] = ""
    return dict(sorted(files.items()))


def log(sorter: str, probes: Sequence[str], ending: str) -> str:
    """Write the log of a sorting pipeline, without a line break at its end."""
    lines = ["N E X T F L O W  ~  version 22.10.8", "Launching `main.nf` [invented_run]", ""]
    lines += [
        f"[{number:02x}/5e61f0] spike sorting {sorter}: {p}" for number, p in enumerate(probes)
    ]
    return "\n".join([*lines, ending])


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"))


def alignment(channels: Sequence[Mapping[str, Any]], ccf: Sequence[Mapping[str, Any]]) -> str:
    """Write a curation of a probe alignment, the JSON text that a QC metric holds.

    Parameters
    ----------
    channels, ccf
        One mapping for each channel: `x y z axial lateral brain_region_id brain_region`.

    Returns
    -------
    str
        JSON with `channel_results` and `ccf_channel_results`.
    """
    return json.dumps(
        {
            "channel_results": {f"channel_{n}": dict(c) for n, c in enumerate(channels)},
            "ccf_channel_results": {f"channel_{n}": dict(c) for n, c in enumerate(ccf)},
        }
    )
