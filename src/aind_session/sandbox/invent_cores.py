"""Core files of invented records, as both generations of the schema write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from aind_session.sandbox.invent_assets import Json, invented_id, tables

SCHEMA = "https://raw.githubusercontent.com/AllenNeuralDynamics/aind-data-schema/main/src/aind_data_schema"
_ALLEN = {"name": "Allen Institute", "abbreviation": "AI", "registry_identifier": "03cpe7c52"}
_AIND = {
    "name": "Allen Institute for Neural Dynamics",
    "abbreviation": "AIND",
    "registry_identifier": "04szwah67",
}
_ROR = {"name": "Research Organization Registry", "abbreviation": "ROR"}


@dataclass(frozen=True)
class Mouse:
    """An invented subject, the same in every record that speaks of it.

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
        """Invent a subject from its id; what is known of it goes over what is invented."""
        number = int(invented_id("subject", subject)[:8], 16)
        table = tables()
        birth = datetime(2023, 1, 1) + timedelta(days=number % 300)
        invented: Json = {
            "genotype": table["genotypes"][number % len(table["genotypes"])],
            "sex": ("Female", "Male")[number % 2],
            "date_of_birth": f"{birth:%Y-%m-%d}",
            "project": table["projects"][number % len(table["projects"])],
            "investigators": (table["people"][number % len(table["people"])],),
        }
        return cls(subject, **(invented | {k: v for k, v in known.items() if v is not None}))


def pacific(moment: datetime) -> str:
    """Write a local time of Seattle with its offset."""

    def sunday(month: int, nth: int) -> datetime:
        first = datetime(moment.year, month, 1, 2)
        return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))

    summer = sunday(3, 2) <= moment < sunday(11, 1)
    return moment.isoformat() + ("-07:00" if summer else "-08:00")


def utc(seconds: float) -> datetime:
    """Give a moment (epoch seconds) as a naive time in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)


def _described(core: str, version: str) -> Json:
    return {"describedBy": f"{SCHEMA}/core/{core}.py", "schema_version": version}


def _modalities(modalities: Sequence[str], generation: str) -> list[Json]:
    names = tables()["modalities"]
    return [
        {
            "name": names.get(m, m),
            "abbreviation": "slap2" if m == "slap" and generation == "v2" else m,
        }
        for m in modalities
    ]


def subject(mouse: Mouse, generation: str) -> Json:
    """Make the `subject` core file of a generation."""
    if generation == "v1":
        return _described("subject", "0.5.6") | {
            "background_strain": None,
            "breeding_info": None,
            "date_of_birth": mouse.date_of_birth,
            "genotype": mouse.genotype,
            "notes": None,
            "sex": mouse.sex,
            "species": {
                "name": "Mus musculus",
                "registry": {
                    "abbreviation": "NCBI",
                    "name": "National Center for Biotechnology Information",
                },
                "registry_identifier": "10090",
            },
            "subject_id": mouse.id,
        }
    return _described("subject", "2.0.7") | {
        "object_type": "Subject",
        "subject_id": mouse.id,
        "subject_details": {
            "object_type": "Mouse subject",
            "sex": mouse.sex,
            "date_of_birth": mouse.date_of_birth,
            "strain": {"name": "C57BL/6J", "species": "Mus musculus"},
            "species": {"name": "Mus musculus", "common_name": "House mouse"},
            "genotype": mouse.genotype,
            "breeding_info": None,
        },
        "notes": None,
    }


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
    """Make the `data_description` core file of a generation.

    Parameters
    ----------
    name, mouse, modalities
        What is described.
    generation
        "v1" or "v2".
    start
        Local time of creation.
    platform
        Told by 1.x only.
    level
        `raw` or `derived`.
    source, process
        Of a derived asset: the asset it was made from, and by what.

    Returns
    -------
    dict
        The core file.
    """
    common: Json = {
        "license": "CC-BY-4.0",
        "subject_id": mouse.id,
        "creation_time": pacific(start),
        "name": name,
        "data_level": level,
        "group": None,
        "project_name": mouse.project,
        "restrictions": None,
        "data_summary": None,
    }
    if generation == "v1":
        described = (
            _described("data_description", "1.0.0")
            | common
            | {
                "institution": _AIND | {"registry": _ROR},
                "funding_source": [{"funder": _ALLEN | {"registry": _ROR}, "grant_number": None}],
                "investigators": [{"name": p, "abbreviation": None} for p in mouse.investigators],
                "modality": _modalities(modalities, "v1"),
                "related_data": [],
            }
        )
        if platform is not None:
            full = tables()["platforms"].get(platform, {}).get("name", platform)
            described["platform"] = {"name": full, "abbreviation": platform}
        if level == "derived":
            described |= {"input_data_name": source, "process_name": process}
        return described
    return (
        _described("data_description", "2.3.0")
        | common
        | {
            "object_type": "Data description",
            "institution": _AIND | {"registry": "Research Organization Registry (ROR)"},
            "funding_source": [{"object_type": "Funding", "funder": _ALLEN, "grant_number": None}],
            "investigators": [{"object_type": "Person", "name": p} for p in mouse.investigators],
            "modalities": _modalities(modalities, "v2"),
            "source_data": [source] if source else None,
            "tags": None,
        }
    )


def acquired(mouse: Mouse, start: datetime, modalities: Sequence[str], generation: str) -> Json:
    """Make the core files of the recording: `session`, `rig`; `acquisition`, `instrument` in 2.x.

    SPIM tells it in `acquisition` and `instrument` in 1.x as well.
    """
    end = start + timedelta(minutes=75)
    people = list(mouse.investigators)
    microscope = "SPIM" in modalities
    rig = "INVENTED_SPIM1" if microscope else "INVENTED_RIG1"
    if generation == "v1":
        times: Json = {
            "experimenter_full_name": people,
            "session_start_time": start.isoformat(),
            "session_end_time": end.isoformat(),
        }
        if microscope:
            return {
                "session": None,
                "rig": None,
                "acquisition": _described("acquisition", "0.6.1")
                | times
                | {"instrument_id": rig, "specimen_id": mouse.id, "subject_id": mouse.id},
                "instrument": _described("instrument", "0.10.1") | {"instrument_id": rig},
            }
        stream = {
            "stream_start_time": start.isoformat(),
            "stream_end_time": end.isoformat(),
            "stream_modalities": _modalities(modalities, "v1"),
        }
        return {
            "acquisition": None,
            "instrument": None,
            "session": _described("session", "0.2.8")
            | times
            | {
                "data_streams": [stream],
                "iacuc_protocol": "0000",
                "notes": None,
                "rig_id": rig,
                "session_type": "Invented session",
                "subject_id": mouse.id,
            },
            "rig": _described("rig", "0.3.2")
            | {"modalities": _modalities(modalities, "v1"), "rig_id": rig},
        }
    return {
        "acquisition": _described("acquisition", "2.0.31")
        | {
            "object_type": "Acquisition",
            "subject_id": mouse.id,
            "acquisition_start_time": pacific(start),
            "acquisition_end_time": pacific(end),
            "experimenters": people,
            "ethics_review_id": ["0000"],
            "instrument_id": rig,
            "acquisition_type": "Invented session",
            "data_streams": [
                {
                    "object_type": "Data stream",
                    "stream_start_time": pacific(start),
                    "stream_end_time": pacific(end),
                    "modalities": _modalities(modalities, "v2"),
                }
            ],
        },
        "instrument": _described("instrument", "2.0.30")
        | {
            "object_type": "Instrument",
            "instrument_id": rig,
            "modalities": _modalities(modalities, "v2"),
            "components": [],
        },
    }


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

    Returns
    -------
    dict
        The core file.

    Examples
    --------
    >>> content = processing([("Spike sorting", {"sorter_name": "kilosort4"})], "v2")
    >>> content["data_processes"][0]["code"]["parameters"]["sorter_name"]
    'kilosort4'
    """
    times = {
        "start_date_time": f"{utc(end - 3600).isoformat()}+00:00",
        "end_date_time": f"{utc(end).isoformat()}+00:00",
    }
    url = "https://github.com/AllenNeuralDynamics/aind-ephys-pipeline"
    if era == "v2":
        return _described("processing", "2.2.0") | {
            "object_type": "Processing",
            "data_processes": [
                {
                    "object_type": "Data process",
                    "process_type": name,
                    "name": f"{name}_{number}" if number else name,
                    "stage": "Processing",
                    "code": {
                        "object_type": "Code",
                        "url": url,
                        "version": "1.0.0",
                        "parameters": dict(parameters),
                    },
                    "output_parameters": {},
                }
                | times
                for number, (name, parameters) in enumerate(steps)
            ],
            "pipelines": None,
            "notes": None,
        }
    processes: list[Any] = [
        {
            "name": name,
            "software_version": "1.0",
            "code_url": url,
            "input_location": "../data",
            "output_location": "../results",
            "outputs": {},
            "parameters": dict(parameters),
            "notes": None,
        }
        | times
        for name, parameters in steps
    ]
    if era == "old":
        return _described("processing", "0.2.5") | {
            "data_processes": processes,
            "pipeline_url": url,
            "pipeline_version": "0.1.0",
        }
    if era == "nested":
        processes = [*processes[:1], processes[1:]]
    return _described("processing", "1.1.1") | {
        "analyses": [],
        "notes": None,
        "processing_pipeline": {
            "data_processes": processes,
            "pipeline_url": url,
            "pipeline_version": "0.3.0",
            "processor_full_name": "Invented Person A",
        },
    }


def evaluation(name: str, value: Any, created: str) -> Json:
    """Make one evaluation of a 1.x `quality_control`, with one metric."""
    return {
        "modality": {"name": tables()["modalities"]["ecephys"], "abbreviation": "ecephys"},
        "stage": "Processing",
        "name": name,
        "description": name,
        "metrics": [
            {
                "name": name,
                "value": value,
                "description": None,
                "reference": None,
                "evaluated_assets": None,
                "status_history": [
                    {"evaluator": "Invented Person A", "status": "Pass", "timestamp": created}
                ],
            }
        ],
        "tags": None,
        "notes": None,
        "allow_failed_metrics": False,
        "latest_status": "Pass",
        "created": created,
    }


def quality_control(evaluations: Sequence[Json], generation: str) -> Json:
    """Make the `quality_control` core file; in 2.x the evaluations' metrics lie flat."""
    if generation == "v1":
        return _described("quality_control", "1.2.2") | {
            "evaluations": list(evaluations),
            "notes": None,
        }
    return _described("quality_control", "2.4.0") | {
        "object_type": "Quality control",
        "metrics": [
            metric
            | {
                "object_type": "QC metric",
                "modality": e["modality"],
                "stage": e["stage"],
                "tags": {"type": e["name"]},
            }
            for e in evaluations
            for metric in e["metrics"]
        ],
        "default_grouping": ["type"],
        "allow_tag_failures": [],
        "status": {f"type:{e['name']}": e["latest_status"] for e in evaluations},
        "notes": None,
    }


def procedures(mouse: Mouse, generation: str) -> Json:
    """Make a short `procedures` core file of a generation."""
    version = "1.1.3" if generation == "v1" else "2.0.35"
    return _described("procedures", version) | {
        "notes": None,
        "specimen_procedures": [],
        "subject_id": mouse.id,
        "subject_procedures": [],
    }
