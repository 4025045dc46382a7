"""The core files `processing` and `procedures`, and the inputs of a data asset."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aind_session.identifiers import split_asset_name
from aind_session.records.shape import (
    Part,
    View,
    all_named,
    at,
    copied_dict,
    either,
    field,
    items,
    known,
    mappings,
    named,
    shared,
    text,
    unique,
)
from aind_session.records.times import in_zone, parse_date, parse_time

# The lists of procedures on the subject; the oldest files have the last four.
_ON_SUBJECT = ("subject_procedures", "headframes", "craniotomies", "injections", "fiber_implants")


def _locations(value: Any) -> tuple[str, ...]:
    """Read the paths or URLs of inputs, written as text or in mappings."""
    found = [text(at(item, "url")) or named(item) for item in items(value)]
    return tuple(location for location in found if location is not None)


def _in_utc(value: Any) -> datetime.datetime | None:
    return in_zone(parse_time(value), datetime.timezone.utc)


class ProcessingStep(Part):
    """One processing step, with the same attributes for both schemas."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    name = field(text, "name", doc="Name of the step; in 2.x it is unique.")
    code_url = field(text, "code_url", "code.url", doc="URL of the code.")
    parameters = field(copied_dict, "parameters", "code.parameters", doc="The parameters, a copy.")
    sorter_name = field(
        text, "parameters.sorter_name", "code.parameters.sorter_name", doc="The spike sorter."
    )
    inputs = field(_locations, "input_location", "code.input_data", doc="Locations of the inputs.")
    output_location = field(text, "output_location", "output_path", doc="Location of the output.")
    outputs = field(copied_dict, "outputs", "output_parameters", doc="Results, a copy.")
    start = field(_in_utc, "start_date_time", doc="Start, time zone aware; UTC without an offset.")
    end = field(_in_utc, "end_date_time", doc="End, time zone aware; UTC without an offset.")
    experimenters = field(
        all_named, "analyst_full_name", "experimenters", doc="Names of those who ran it."
    )
    notes = field(text, "notes", doc="Remarks.")

    @property
    def process_type(self) -> str | None:
        """The kind of process (`Spike sorting`), which in 1.x is the name."""
        return text(at(self.raw, "process_type")) or self.name

    @property
    def recording(self) -> str | None:
        """The recording or stream that was processed, if it was one of several."""
        kind, name = text(at(self.raw, "process_type")), self.name
        if kind and name and name.startswith(f"{kind} - "):
            return text(name[len(kind) + 3 :])
        paths = "parameters.recording_name", "code.parameters.recording_name"
        return either(self.raw, *paths, text)

    @property
    def version(self) -> str | None:
        """The version of the software or code."""
        old = ("software_version", "version", "code_version")
        found = [at(self.raw, "code", "version"), *(at(self.raw, key) for key in old)]
        return next(filter(None, map(known, found)), None)

    @property
    def stage(self) -> str:
        """`Processing` or `Analysis`."""
        return text(at(self.raw, "stage")) or self._outer or "Processing"


@dataclass(frozen=True)
class Pipeline:
    """The pipeline that ran the steps."""

    url: str | None = None
    version: str | None = None
    name: str | None = None


class Processing(View):
    """The processing steps that produced a data asset.

    Examples
    --------
    >>> processing = Processing(
    ...     {
    ...         "processing_pipeline": {"data_processes": [{"name": "Compression"}]},
    ...         "data_processes": [{"name": "Spike sorting", "parameters": {"sorter_name": "abc"}}],
    ...     }
    ... )
    >>> [step.name for step in processing.steps], processing.sorter_names
    (['Compression', 'Spike sorting'], ('abc',))
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.steps)} steps)"

    notes = field(text, "notes", "processing_pipeline.note", doc="Remarks.")

    @property
    def steps(self) -> tuple[ProcessingStep, ...]:
        """Every step of every list, in the order of the record; analyses come last."""
        # Both lists can exist, and one real file contains a list as an element of the list.
        ran = [
            at(self.raw, "processing_pipeline", "data_processes"),
            at(self.raw, "data_processes"),
        ]
        analyses = mappings(at(self.raw, "analyses"))
        return (
            *map(ProcessingStep, mappings(ran)),
            *(ProcessingStep(step, "Analysis") for step in analyses),
        )

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """The pipelines that ran the steps."""
        old = [at(self.raw, "processing_pipeline"), self.raw]
        found = [
            *(Pipeline(text(at(p, "pipeline_url")), text(at(p, "pipeline_version"))) for p in old),
            *map(_pipeline, items(at(self.raw, "pipelines"))),
        ]
        return tuple(pipeline for pipeline in found if pipeline != Pipeline())

    @property
    def sorter_names(self) -> tuple[str, ...]:
        """Names of the spike sorters, without duplicates.

        An empty tuple does not prove that nothing was sorted: the file may be a copy of the raw
        asset's.
        """
        return unique(tuple(name for step in self.steps if (name := step.sorter_name) is not None))

    @property
    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """Names of the steps that each step depends on, if the record contains them."""
        graph = copied_dict(at(self.raw, "dependency_graph"))
        return {str(name): all_named(needed) for name, needed in graph.items()}


def _pipeline(code: Any) -> Pipeline:
    if isinstance(code, Mapping):
        url = text(code.get("url")) or text(code.get("pipeline_url"))
        version = text(code.get("version")) or text(code.get("pipeline_version"))
        return Pipeline(url, version, text(code.get("name")))
    written = text(code)
    return Pipeline(url=written) if written and "/" in written else Pipeline(name=written)


class Procedure(Part):
    """One surgery, procedure within a surgery, or treatment of a specimen."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.type!r}, {self.date})"

    date = shared(parse_date, "start_date", doc="First day; by default that of the surgery.")
    end_date = shared(parse_date, "end_date", doc="Last day; by default that of the surgery.")
    experimenters = shared(
        all_named, "experimenter_full_name", "experimenters", doc="Names of the experimenters."
    )

    @property
    def type(self) -> str | None:
        """The type of procedure."""
        keys = ("procedure_type", "object_type", "type")
        return next(filter(None, (text(at(self.raw, key)) for key in keys)), None)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that were followed."""
        written = [*items(at(self.raw, "protocol_id")), *items(at(self._outer, "protocol_id"))]
        return tuple(filter(None, map(text, written)))

    @property
    def details(self) -> dict[str, Any]:
        """All fields of the record about it, except the procedures within a surgery."""
        details = copied_dict(self.raw)
        details.pop("procedures", None)
        return details


class Procedures(View):
    """Procedures on a subject, and on the specimens made from it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.subject_id!r})"

    subject_id = field(text, "subject_id", doc="The subject's ID.")

    @property
    def on_subject(self) -> tuple[Procedure, ...]:
        """Procedures on the subject; each surgery is followed by the procedures within it."""
        found = []
        for surgery in mappings([at(self.raw, key) for key in _ON_SUBJECT]):
            found.append(Procedure(surgery))
            within = mappings(surgery.get("procedures"))
            found.extend(Procedure(procedure, surgery) for procedure in within)
        return tuple(found)

    @property
    def on_specimens(self) -> tuple[Procedure, ...]:
        """Procedures on specimens."""
        return tuple(map(Procedure, mappings(at(self.raw, "specimen_procedures"))))

    @property
    def all(self) -> tuple[Procedure, ...]:
        """Everything, in the order of the record."""
        return self.on_subject + self.on_specimens

    @property
    def injections(self) -> tuple[Procedure, ...]:
        """The injections among the procedures on the subject; some real ones have no type."""
        return tuple(
            procedure
            for procedure in self.on_subject
            if "injection" in (procedure.type or "").casefold()
            or at(procedure.raw, "injection_materials") is not None
        )


# -- inputs ----------------------------------------------------------------------------------------

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: A data asset mounted in a capsule or in a task of a pipeline: `../data/NAME`, `/data/NAME`.
_MOUNT = re.compile(r"(?:\.\.|/root/capsule|/tmp/nxf[^/]*/capsule)?/data/+([^/]+)")


def input_names(record: View | Mapping[str, Any]) -> tuple[str, ...]:
    """Return the inputs of a data asset, from all fields of its record that can contain them.

    They are names of data assets, locations (`s3://bucket/prefix`) or Code Ocean IDs. Paths on a
    file share and of temporary files are left out, because they are not data assets.
    """
    raw = record.raw if isinstance(record, View) else record
    description = at(raw, "data_description")
    described = [at(description, key) for key in ("input_data_name", "source_data")]
    found = [_asset_in(name, name) for value in described for name in all_named(value)]
    for step in Processing(at(raw, "processing")).steps:
        found += [_asset_in(place, "") for place in items(at(step.raw, "input_location"))]
        found += _inputs_of_code(at(step.raw, "code", "input_data"))
    own = text(at(raw, "name")) or text(at(description, "name"))
    return unique(tuple(name for name in found if name and name != own))


def _inputs_of_code(value: Any) -> Iterator[str]:
    """Yield the inputs of one step of 2.x: assets, strings, or nested lists of them."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (list, tuple)):
            waiting.extend(reversed(item))
        elif isinstance(item, Mapping):
            # A combined asset lists its parts; its own name may be any text.
            if items(item.get("assets")):
                waiting.append(item["assets"])
            else:
                yield _asset_in(item.get("url"), text(item.get("name")) or "")
        else:
            yield _asset_in(item, "")


def _asset_in(place: Any, name: str) -> str:
    """Return the asset's name or ID in a location, else the name or location as written."""
    written = (text(place) or "").strip()
    scheme, separator, rest = written.partition("://")
    if separator:
        parts = rest.split("/")[1:]
    elif "/" in written or "\\" in written:
        mount = _MOUNT.match(written)
        parts = [mount.group(1)] if mount else []
    else:
        parts = [written]
    for part in parts:
        if split_asset_name(part).session is not None or _UUID.fullmatch(part):
            return part
    if name and (split_asset_name(name).session is not None or not separator):
        return name if "/" not in name and "\\" not in name else ""
    return written.rstrip("/") if scheme == "s3" else name
