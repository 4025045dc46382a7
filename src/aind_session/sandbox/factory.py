"""Invent a session: its assets, computations, records and files, written to a catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aind_session.sandbox import shapes
from aind_session.sandbox.catalogue import OMIT, Catalogue, Json, fill
from aind_session.sandbox.shapes import (
    RESULTS_BUCKET,
    Mouse,
    SessionName,
    invented_id,
    tables,
)

_DAY = 86_400
#: Name and parameters of each process.
Steps = list[tuple[str, Json]]


@dataclass(frozen=True)
class InventedSession:
    """What was written of an invented session.

    Attributes
    ----------
    id
        The session's ID.
    raw_asset_id
        Its raw asset, None if Code Ocean has none.
    location
        `s3://` address of its raw folder, None if nothing was uploaded.
    asset_ids
        All its assets, in order of creation.
    sorted_asset_ids
        Its sorted assets.
    derived_asset_ids
        Its other derived assets, by label.
    computation_ids
        Runs of the sorting pipeline.
    """

    id: str
    raw_asset_id: str | None
    location: str | None
    asset_ids: tuple[str, ...]
    sorted_asset_ids: tuple[str, ...]
    derived_asset_ids: dict[str, str]
    computation_ids: tuple[str, ...]


def invent_session(
    catalogue: Catalogue,
    session_id: str,
    *,
    modalities: Sequence[str] = ("ecephys", "behavior", "behavior-videos"),
    sorted_by: str | Sequence[str] | None = None,
    generation: str | None = "v1",
    uploaded: bool = True,
    in_codeocean: bool = True,
    linked_in_codeocean: bool = True,
    bucket: str = "aind-open-data",
    labels: Sequence[str] = (),
    probes: Sequence[str] = ("ProbeA", "ProbeB"),
    analyzer: bool | None = None,
    failed: bool | str = False,
    sorting_now: bool = False,
    old_layout: bool = False,
    project: str | None = None,
    genotype: str | None = None,
    created: int | None = None,
    raw_asset_id: str | None = None,
    files: Sequence[str] | Mapping[str, str] = (),
    metadata: bool = True,
) -> InventedSession:
    """Add a session to a catalogue: data assets, records, S3 objects and sortings.

    The same arguments always result in the same IDs, times and names.

    Parameters
    ----------
    catalogue
        The catalogue.
    session_id
        The session; its name contains platform, subject and start.
    modalities, sorted_by, generation
        See `Sandbox.add_session`.
    uploaded
        Whether S3 has its raw folder.
    in_codeocean
        Whether Code Ocean has its assets.
    linked_in_codeocean
        Whether its records contain the IDs of these assets.
    bucket
        The bucket of the raw folder.
    labels
        Further derived assets, one per label: `processed`, `dlc-eye`.
    probes
        Probes of an ecephys session, all of which a sorting finishes.
    analyzer
        Whether the sorted assets contain a SortingAnalyzer; None: all but those of kilosort2_5.
    failed
        Whether the newest sorting failed, or how: `traceback`, `memory`, `command`, `killed`,
        `docker`, `container`, or `no streams` (it has an NWB file, but no sorted stream).
    sorting_now
        Whether the sorting pipeline is running on it.
    old_layout
        Folders as in 2023: `ecephys_compressed` in the root, `behavior_videos`; sorted assets
        with `sorting_precurated` and without `nwb`.
    project, genotype
        Of the records; invented from the subject if None.
    created
        When the raw asset was registered (epoch seconds); a day after the start if None.
    raw_asset_id
        The raw asset's UUID; invented from the name if None.
    files
        Further keys of the raw folder, or a mapping of keys to their text.
    metadata
        Whether the assets carry custom metadata.

    Returns
    -------
    InventedSession
        What was written.

    Raises
    ------
    ValueError
        The text is not a session ID, or not only one, or the generation is not one of the four.

    Examples
    --------
    >>> catalogue = Catalogue()
    >>> made = invent_session(catalogue, "ecephys_999999_2024-01-01_10-00-00")
    >>> catalogue.docdb_v1[0]["location"]
    's3://aind-open-data/ecephys_999999_2024-01-01_10-00-00'
    """
    if generation not in ("v1", "v2", "both", None):
        raise ValueError(f"generation is 'v1', 'v2', 'both' or None, not {generation!r}")
    ways = (*shapes.FAILURES, shapes.NO_STREAMS)
    if isinstance(failed, str) and failed not in ways:
        raise ValueError(f"failed is one of {', '.join(ways)}, not {failed!r}")
    name = SessionName.read(session_id)
    generations = tuple(g for g in ("v1", "v2") if generation in (g, "both"))
    mouse = Mouse.invent(name.subject, project=project, genotype=genotype)
    options = (in_codeocean, linked_in_codeocean, metadata, old_layout)
    lists = (tuple(modalities), tuple(probes), generations)
    raw_id = raw_asset_id or invented_id("asset", session_id)
    builder = _Builder(catalogue, session_id, name, mouse, *lists, *options, raw_id)
    registered = created if created is not None else shapes.epoch(name.start) + _DAY
    own = files if isinstance(files, Mapping) else dict.fromkeys(files, "")
    builder.raw(bucket, registered, own, uploaded)
    sorters = (sorted_by,) if isinstance(sorted_by, str) else tuple(sorted_by or ())
    for number, sorter in enumerate(sorters, 1):
        has_analyzer = (sorter != "kilosort2_5") if analyzer is None else analyzer
        failure = "traceback" if failed is True else failed or None
        newest = failure if number == len(sorters) else None
        builder.sorting(sorter, registered + _DAY * number, has_analyzer, newest)
    for number, label in enumerate(labels, 1):
        builder.derived(label, registered + _DAY * number + 3600)
    if sorting_now:
        sorter = sorters[-1] if sorters else "kilosort2_5"
        builder.running(sorter, registered + _DAY * (len(sorters) + 1))
    return InventedSession(
        id=session_id,
        raw_asset_id=builder.raw_id if in_codeocean and uploaded else None,
        location=f"s3://{bucket}/{session_id}" if uploaded else None,
        asset_ids=tuple(asset_id for _, asset_id in sorted(builder.assets)),
        sorted_asset_ids=tuple(builder.sorted),
        derived_asset_ids=builder.labels,
        computation_ids=tuple(builder.computations),
    )


@dataclass
class _Builder:
    catalogue: Catalogue
    session_id: str
    name: SessionName
    mouse: Mouse
    modalities: tuple[str, ...]
    probes: tuple[str, ...]
    generations: tuple[str, ...]
    in_codeocean: bool
    linked: bool
    metadata: bool
    old_layout: bool
    raw_id: str
    assets: list[tuple[int, str]] = field(default_factory=list)
    sorted: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    computations: list[str] = field(default_factory=list)

    def add(self, make: Callable[..., Json], name: str, level: str, **known: Any) -> None:
        """Add an asset of this session to Code Ocean, if the session is there."""
        if self.in_codeocean:
            known |= {"subject": self.name.subject, "platform": self.name.platform}
            made = make(name, level=level if self.metadata else None, **known)
            self.catalogue.add_asset(made)
            self.assets.append((made["created"], made["id"]))

    @property
    def era(self) -> str:
        """The schema of the files."""
        return "v2" if self.generations == ("v2",) else "v1"

    def record(self, name: str, asset_id: str, steps: Steps, ended: int, **details: Any) -> Json:
        """Write the records of an asset, and return its core files in the schema of the files."""
        cores: Json = {}
        ids = [asset_id] if self.linked and self.in_codeocean else []
        for generation in dict.fromkeys((*self.generations, self.era)):
            if steps:
                details["processing"] = shapes.processing(steps, generation, ended)
            made = shapes.session_record(
                name, generation, self.mouse, self.modalities, asset_ids=ids, **details
            )
            if generation in self.generations:
                self.catalogue.add_record(generation, made)
            if generation == self.era:
                cores = {**made, "metadata.nd": made}
        return cores

    def raw(self, bucket: str, created: int, files: Mapping[str, str], uploaded: bool) -> None:
        """Add the raw asset, its records and its folder."""
        name, raw_id = self.session_id, self.raw_id
        if uploaded:
            self.add(raw_asset, name, "raw", asset_id=raw_id, created=created, bucket=bucket)
        steps: Steps = [("Compression", {})]
        location = f"s3://{bucket}/{name}"
        cores = self.record(name, raw_id, steps, created, location=location, created=created)
        if uploaded:
            layout: Json = {"probes": self.probes, "old_layout": self.old_layout, "cores": cores}
            keys = shapes.raw_keys(name, self.modalities, generation=self.era, **layout)
            self.add_files(bucket, name, {**keys, **files})

    def add_files(self, bucket: str, folder: str, files: Mapping[str, str]) -> None:
        for key, text in files.items():
            self.catalogue.add_object(bucket, f"{folder}/{key}", text)

    def result(self, label: str, created: int, steps: Steps, **made_by: str) -> tuple[str, Json]:
        """Add a result with this label: the asset and its records."""
        name = f"{self.session_id}_{label}_{shapes.stamp(created)}"
        asset_id = invented_id("asset", name)
        known = {"asset_id": asset_id, "created": created, "inputs": [self.raw_id]}
        self.add(result_asset, name, "derived", **known, **made_by)
        place = {"location": f"s3://{RESULTS_BUCKET}/{asset_id}", "created": created + 600}
        derived = {"source": self.session_id, "process": label}
        return asset_id, self.record(name, asset_id, steps, created, **place, **derived)

    def derived(self, label: str, created: int) -> None:
        """Add a result with the log of a successful run: without one it counts as failed."""
        asset_id, _ = self.result(label, created, [])
        if self.in_codeocean:
            self.labels.setdefault(label, asset_id)
        self.add_files(RESULTS_BUCKET, asset_id, {"output": "Done.\n"})

    def sorting(self, sorter: str, created: int, analyzer: bool, failure: str | None) -> None:
        """Add a sorted asset, its files, and the runs of pipeline and trigger capsule."""
        run = invented_id("computation", self.session_id, sorter, created)
        steps: Steps = [("Spike sorting", {"sorter_name": sorter})] * len(self.probes)
        made_by = {"capsule": tables()["sorting"]["pipeline"], "computation": run}
        asset_id, cores = self.result("sorted", created, [] if failure else steps, **made_by)
        if not self.in_codeocean:
            return
        self.sorted.append(asset_id)
        layout: Json = {"probes": self.probes, "era": self.era, "capsule": self.old_layout}
        outcome: Json = {
            "analyzer": analyzer,
            "failure": failure,
            "created": created,
            "cores": cores,
        }
        files = shapes.sorting_files(self.session_id, sorter, **layout, **outcome)
        self.add_files(RESULTS_BUCKET, asset_id, files)
        succeeded = failure in (None, shapes.NO_STREAMS)
        in_root = {key: text for key, text in files.items() if "/" not in key}
        self.pipeline_run(run, created - 43_000, succeeded=succeeded, files=in_root)
        self.trigger_run(sorter, created - 43_060)

    def running(self, sorter: str, created: int) -> None:
        """Add a run of the pipeline that has not ended, and that of the trigger capsule."""
        run = invented_id("computation", self.session_id, "running", created)
        self.pipeline_run(run, created, state="running", run_time=600)
        self.trigger_run(sorter, created - 60)

    def pipeline_run(self, run: str, created: int, **known: Any) -> None:
        self.computations.append(run)
        inputs = {self.raw_id: self.session_id}
        made = sorting_computation(computation_id=run, created=created, inputs=inputs, **known)
        self.catalogue.add_computation(made)

    def trigger_run(self, sorter: str, created: int) -> None:
        kind = tables()["sorting"]["types"].get(sorter, f"ecephys_{sorter}")
        made = sorting_computation(
            computation_id=invented_id("trigger", self.session_id, sorter, created),
            created=created,
            inputs={},
            files={"output": f"Running {kind} on {self.raw_id}\nStarted\n"},
            run_time=30,
            capsule=tables()["sorting"]["trigger_capsule"],
            parameters=[{"value": kind}, {"value": self.raw_id}],
        )
        self.catalogue.add_computation(made)


# Code Ocean


def raw_asset(name: str, *, bucket: str, prefix: str | None = None, **known: Any) -> Json:
    """Make a dataset in an AIND bucket; see `_asset`."""
    values = {
        "bucket": bucket,
        "prefix": name if prefix is None else prefix,
        "tags": sorted(filter(None, ("raw", known["platform"], known["subject"]))),
    }
    return _asset("raw_asset", name, values, **{"level": "raw", **known})


def result_asset(
    name: str,
    *,
    inputs: Sequence[str] = (),
    capsule: str | None = None,
    computation: str | None = None,
    bucket: str | None = None,
    **known: Any,
) -> Json:
    """Make a captured result of some assets: internal, or in a bucket; see `_asset`."""
    place = {"bucket": bucket, "external": True, "origin": "aws", "prefix": name}
    values = {
        "capsule": capsule or invented_id("capsule", name.rsplit("_", 3)[-3]),
        "computation": computation or invented_id("computation", name),
        "inputs": list(inputs),
        "source_bucket": place if bucket is not None else OMIT,
        "tags": [tag for tag in ("derived", known["subject"], known["platform"]) if tag],
    }
    return _asset("result_asset", name, values, **{"level": "derived", **known})


def _asset(
    template: str,
    name: str,
    values: Json,
    *,
    asset_id: str,
    created: float,
    subject: str,
    platform: str | None,
    level: str | None,
    tags: Sequence[str] | None = None,
    **other: Any,
) -> Json:
    """Make a data asset; a level of None leaves out the custom metadata."""
    metadata = {"data level": level, "experiment type": platform, "subject id": subject}
    known = {key: value for key, value in metadata.items() if value is not None}
    values |= {"id": asset_id, "created": created, "name": name}
    values["tags"] = list(values["tags"] if tags is None else tags)
    values["custom_metadata"] = OMIT if level is None else known
    return {**fill("codeocean", template, values), **other}


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
    outcome = {
        "end_status": "succeeded" if succeeded else "failed",
        "exit_code": 0 if succeeded else 1,
        "has_results": bool(files),
        "files": dict(files or {}),
    }
    values = {
        "id": computation_id,
        "created": created,
        "name": f"Run With Parameters {created % 10_000_000:07d}",
        "run_time": run_time,
        "state": state,
        "data_assets": [{"id": key, "mount": mount} for key, mount in inputs.items()],
        "parameters": list(parameters),
        "capsule": capsule or tables()["sorting"]["pipeline"],
        **(outcome if state in ("completed", "failed") else dict.fromkeys(outcome, OMIT)),
    }
    return fill("codeocean", "computation", values)
