"""The core file `processing`: the steps that made an asset's data, in one flat list.

The steps stand at one of several places, sometimes at two at once, and one real file has a list as
an element of the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from aind_session.records.shape import (
    View,
    all_named,
    at,
    copied_dict,
    either,
    items,
    known,
    mappings,
    named,
    text,
    unique,
)
from aind_session.records.times import in_zone, parse_time

_IN_CODE = ("code", "parameters")


class ProcessingStep(View):
    """One process that ran, in the terms of either generation."""

    __slots__ = ("_default_stage",)

    def __init__(self, raw: Any, default_stage: str = "Processing") -> None:
        super().__init__(raw)
        self._default_stage = default_stage

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def name(self) -> str | None:
        """The step's name; 2.x makes it unique, by a number or the recording it worked on."""
        return text(at(self.raw, "name"))

    @property
    def process_type(self) -> str | None:
        """The kind of process (`Spike sorting`), which in 1.x is the name."""
        return text(at(self.raw, "process_type")) or self.name

    @property
    def recording(self) -> str | None:
        """The recording or stream it worked on, where it worked on one of several."""
        kind, name = text(at(self.raw, "process_type")), self.name
        if kind and name and name.startswith(f"{kind} - "):
            return text(name[len(kind) + 3 :])
        return either(
            self.raw, ("parameters", "recording_name"), (*_IN_CODE, "recording_name"), text
        )

    @property
    def code_url(self) -> str | None:
        """Where the code is."""
        return either(self.raw, ("code_url",), ("code", "url"), text)

    @property
    def version(self) -> str | None:
        """The version of the software or code."""
        return (
            known(at(self.raw, "code", "version"))
            or known(at(self.raw, "software_version"))
            or known(at(self.raw, "version"))
            or known(at(self.raw, "code_version"))
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters, a copy."""
        return either(self.raw, ("parameters",), _IN_CODE, copied_dict)

    @property
    def sorter_name(self) -> str | None:
        """The spike sorter, where the step tells one."""
        return either(self.raw, ("parameters", "sorter_name"), (*_IN_CODE, "sorter_name"), text)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Where the input came from."""
        return either(self.raw, ("input_location",), ("code", "input_data"), _locations)

    @property
    def output_location(self) -> str | None:
        """Where the output was written."""
        return either(self.raw, ("output_location",), ("output_path",), text)

    @property
    def outputs(self) -> dict[str, Any]:
        """What the step itself told of its result, a copy."""
        return either(self.raw, ("outputs",), ("output_parameters",), copied_dict)

    @property
    def start(self) -> datetime | None:
        """When it began, aware; times without an offset are those of a machine in UTC."""
        return in_zone(parse_time(at(self.raw, "start_date_time")), timezone.utc)

    @property
    def end(self) -> datetime | None:
        """When it ended, aware; times without an offset are those of a machine in UTC."""
        return in_zone(parse_time(at(self.raw, "end_date_time")), timezone.utc)

    @property
    def stage(self) -> str:
        """`Processing` or `Analysis`."""
        return text(at(self.raw, "stage")) or self._default_stage

    @property
    def experimenters(self) -> tuple[str, ...]:
        """Who ran it, where the step tells."""
        return either(self.raw, ("analyst_full_name",), ("experimenters",), all_named)

    @property
    def notes(self) -> str | None:
        """Remarks."""
        return text(at(self.raw, "notes"))


@dataclass(frozen=True)
class Pipeline:
    """The pipeline that ran the steps."""

    url: str | None = None
    version: str | None = None
    name: str | None = None


class Processing(View):
    """How an asset's data were made.

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

    @property
    def steps(self) -> tuple[ProcessingStep, ...]:
        """Every step of every list, in the order of the record; analyses come last."""
        ran = [
            at(self.raw, "processing_pipeline", "data_processes"),
            at(self.raw, "data_processes"),
        ]
        processes = [ProcessingStep(step) for step in mappings(ran)]
        analyses = mappings(at(self.raw, "analyses"))
        return tuple(processes + [ProcessingStep(step, "Analysis") for step in analyses])

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """The pipelines that ran the steps."""
        found = []
        for place in (at(self.raw, "processing_pipeline"), self.raw):
            url, version = text(at(place, "pipeline_url")), text(at(place, "pipeline_version"))
            if url or version:
                found.append(Pipeline(url, version))
        for code in items(at(self.raw, "pipelines")):
            made = _pipeline(code)
            if made != Pipeline():
                found.append(made)
        return tuple(found)

    @property
    def sorter_names(self) -> tuple[str, ...]:
        """The spike sorters, each once; none is no proof that nothing was sorted.

        The file may be a copy of the raw asset's.
        """
        return unique(tuple(name for step in self.steps if (name := step.sorter_name) is not None))

    @property
    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """The names of the steps that each step needed, where the record tells."""
        graph = at(self.raw, "dependency_graph")
        if not isinstance(graph, Mapping):
            return {}
        return {str(name): all_named(needed) for name, needed in graph.items()}

    @property
    def notes(self) -> str | None:
        """Remarks."""
        return text(at(self.raw, "notes")) or text(at(self.raw, "processing_pipeline", "note"))


def _locations(value: Any) -> tuple[str, ...]:
    """Read paths, URLs, or descriptions of data with either."""
    found = [text(at(item, "url")) or named(item) for item in items(value)]
    return tuple(location for location in found if location is not None)


def _pipeline(code: Any) -> Pipeline:
    if isinstance(code, Mapping):
        url = text(code.get("url")) or text(code.get("pipeline_url"))
        version = text(code.get("version")) or text(code.get("pipeline_version"))
        return Pipeline(url, version, text(code.get("name")))
    written = text(code)
    return Pipeline(url=written) if written and "/" in written else Pipeline(name=written)
