"""One invented session: its assets, records, files and computations, written to a catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aind_session.sandbox.invent_assets import (
    RESULTS_BUCKET,
    CatalogueLike,
    SessionName,
    epoch,
    invented_id,
    raw_asset,
    result_asset,
    sorting_computation,
    stamp,
    tables,
    trigger_computation,
)
from aind_session.sandbox.invent_cores import Mouse, processing
from aind_session.sandbox.invent_files import raw_keys, sorting_files
from aind_session.sandbox.invent_records import session_record

_DAY = 86_400


@dataclass(frozen=True)
class InventedSession:
    """What was written of an invented session.

    Attributes
    ----------
    id
        The session's ID.
    raw_asset_id
        Its raw asset, None where Code Ocean has none.
    location
        `s3://` address of its raw folder, None where nothing was uploaded.
    asset_ids
        All its assets, in order of creation.
    sorted_asset_ids
        Those that a spike sorter left.
    derived_asset_ids
        Those of the labels, by label.
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
    catalogue: CatalogueLike,
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
    """Add a session to a catalogue: data assets, records, S3 keys and sortings.

    The same arguments always give the same ids, times and names.

    Parameters
    ----------
    catalogue
        Anything with `add_asset`, `add_record`, `add_object` and `add_computation`.
    session_id
        The session; its name gives platform, subject and start.
    modalities
        Abbreviations of what was recorded; each is a folder.
    sorted_by
        Sorters, one sorted asset each, oldest first: `kilosort2_5`, `kilosort4`.
    generation
        Which DocDB has its records: "v1", "v2", "both", or None for neither.
    uploaded
        Whether S3 has its raw folder.
    in_codeocean
        Whether Code Ocean has its assets.
    linked_in_codeocean
        Whether its records tell the ids of these assets.
    bucket
        Where the raw folder is.
    labels
        Further derived assets, one a label: `processed`, `dlc-eye`.
    probes
        Probes of an ecephys session, all of which a sorting finishes.
    analyzer
        Whether the sorted assets hold a SortingAnalyzer; None: all but those of kilosort2_5.
    failed
        Whether the newest sorting failed; text names the way (`traceback`, `memory`, `command`,
        `killed`, `docker`, `container`).
    sorting_now
        Whether the sorting pipeline is running on it.
    old_layout
        Folders as in 2023: `ecephys_compressed` in the root, `behavior_videos`.
    project, genotype
        Of the records; invented from the subject where None.
    created
        When the raw asset was registered (epoch seconds); a day after the start where None.
    raw_asset_id
        The raw asset's UUID; invented from the name where None.
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
        The text is not a session ID and nothing more, or the generation is none of the four.

    Examples
    --------
    >>> class Printer:
    ...     def add_asset(self, asset):
    ...         print(asset["name"])
    ...
    ...     def add_record(self, generation, record):
    ...         print(generation, record["location"])
    ...
    ...     def add_object(self, bucket, key, text=""):
    ...         pass
    ...
    ...     def add_computation(self, computation):
    ...         pass
    >>> made = invent_session(Printer(), "ecephys_999999_2024-01-01_10-00-00")
    ecephys_999999_2024-01-01_10-00-00
    v1 s3://aind-open-data/ecephys_999999_2024-01-01_10-00-00
    """
    if generation not in ("v1", "v2", "both", None):
        raise ValueError(f"generation is 'v1', 'v2', 'both' or None, not {generation!r}")
    name = SessionName.read(session_id)
    builder = _Builder(
        catalogue,
        session_id,
        name,
        Mouse.invent(name.subject, project=project, genotype=genotype),
        tuple(modalities),
        ("v1", "v2") if generation == "both" else (generation,) if generation else (),
        in_codeocean,
        linked_in_codeocean,
        metadata,
    )
    registered = created if created is not None else epoch(name.start) + _DAY
    location = f"s3://{bucket}/{session_id}" if uploaded else None
    raw_id = raw_asset_id or invented_id("asset", session_id)
    if in_codeocean and uploaded:
        builder.asset(
            raw_asset(
                session_id,
                asset_id=raw_id,
                created=registered,
                bucket=bucket,
                subject=name.subject,
                platform=name.platform,
                level="raw" if metadata else None,
            )
        )
    builder.record(session_id, location or f"s3://{bucket}/{session_id}", registered, raw_id)
    if uploaded:
        keys = raw_keys(
            session_id,
            modalities,
            probes=probes,
            old_layout=old_layout,
            generation="v2" if builder.generations == ("v2",) else "v1",
        )
        own = files if isinstance(files, Mapping) else dict.fromkeys(files, "")
        for key, text in {**keys, **own}.items():
            catalogue.add_object(bucket, f"{session_id}/{key}", text)
    sorters = (sorted_by,) if isinstance(sorted_by, str) else tuple(sorted_by or ())
    for number, sorter in enumerate(sorters):
        last = number == len(sorters) - 1
        failure = (failed if isinstance(failed, str) else "traceback") if failed and last else None
        builder.sorting(
            sorter,
            registered + _DAY * (number + 1),
            raw_id,
            probes,
            (sorter != "kilosort2_5") if analyzer is None else analyzer,
            failure,
        )
    for number, label in enumerate(labels):
        asset_id = builder.derived(label, registered + _DAY * (number + 1) + 3600, raw_id)
        # Every run leaves its log: a result without one counts as failed.
        catalogue.add_object(RESULTS_BUCKET, f"{asset_id}/output", "Done.\n")
    if sorting_now:
        builder.running(registered + _DAY * (len(sorters) + 1), raw_id, sorters)
    return builder.finish(raw_id if in_codeocean and uploaded else None, location)


@dataclass
class _Builder:
    catalogue: CatalogueLike
    session_id: str
    name: SessionName
    mouse: Mouse
    modalities: tuple[str, ...]
    generations: tuple[str, ...]
    in_codeocean: bool
    linked: bool
    metadata: bool

    def __post_init__(self) -> None:
        self.assets: list[tuple[int, str]] = []
        self.sorted: list[str] = []
        self.labels: dict[str, str] = {}
        self.computations: list[str] = []

    def asset(self, asset: dict[str, Any]) -> None:
        self.catalogue.add_asset(asset)
        self.assets.append((asset["created"], asset["id"]))

    def record(
        self, name: str, location: str, created: int, asset_id: str, label: str = "", **cores: Any
    ) -> None:
        for generation in self.generations:
            derived: dict[str, Any] = {"source": self.session_id, "process": label}
            if not label:
                derived = {"processing": processing([("Compression", {})], generation, created)}
            self.catalogue.add_record(
                generation,
                session_record(
                    name,
                    generation,
                    self.mouse,
                    self.modalities,
                    location=location,
                    created=created,
                    asset_ids=[asset_id] if self.linked and self.in_codeocean else [],
                    **derived,
                    **{key: make(generation) for key, make in cores.items()},
                ),
            )

    def derived(
        self,
        label: str,
        created: int,
        raw_id: str,
        *,
        capsule: str | None = None,
        computation: str | None = None,
        **cores: Any,
    ) -> str:
        """Add a result with this label: the asset and its records."""
        name = f"{self.session_id}_{label}_{stamp(created)}"
        asset_id = invented_id("asset", name)
        if self.in_codeocean:
            self.asset(
                result_asset(
                    name,
                    asset_id=asset_id,
                    created=created,
                    subject=self.name.subject,
                    platform=self.name.platform,
                    inputs=[raw_id],
                    level="derived" if self.metadata else None,
                    capsule=capsule,
                    computation=computation,
                )
            )
            self.labels.setdefault(label, asset_id)
        location = f"s3://{RESULTS_BUCKET}/{asset_id}"
        self.record(name, location, created + 600, asset_id, label, **cores)
        return asset_id

    def sorting(
        self,
        sorter: str,
        created: int,
        raw_id: str,
        probes: Sequence[str],
        analyzer: bool,
        failure: str | None,
    ) -> None:
        """Add a sorted asset, its files, and the runs of pipeline and trigger capsule."""

        def steps(generation: str) -> dict[str, Any] | None:
            if failure:
                return None
            return processing(
                [("Spike sorting", {"sorter_name": sorter})] * len(probes), generation, created
            )

        run = invented_id("computation", self.session_id, sorter, created)
        asset_id = self.derived(
            "sorted",
            created,
            raw_id,
            capsule=tables()["sorting"]["pipeline"],
            computation=run,
            processing=steps,
        )
        files = sorting_files(
            self.session_id,
            sorter,
            probes=probes,
            era="v2" if self.generations == ("v2",) else "v1",
            analyzer=analyzer,
            failure=failure,
            created=created,
        )
        if not self.in_codeocean:
            return
        self.sorted.append(asset_id)
        self.labels.pop("sorted", None)
        for key, text in files.items():
            self.catalogue.add_object(RESULTS_BUCKET, f"{asset_id}/{key}", text)
        self.pipeline_run(
            run,
            created - 43_000,
            raw_id,
            succeeded=failure is None,
            files={key: text for key, text in files.items() if "/" not in key},
        )
        self.trigger_run(sorter, created - 43_060, raw_id, "completed")

    def running(self, created: int, raw_id: str, sorters: Sequence[str]) -> None:
        """Add a run of pipeline and trigger capsule that has not ended."""
        run = invented_id("computation", self.session_id, "running", created)
        self.pipeline_run(run, created, raw_id, state="running", run_time=600)
        sorter = sorters[-1] if sorters else "kilosort2_5"
        self.trigger_run(sorter, created - 60, raw_id, "completed")

    def pipeline_run(self, run: str, created: int, raw_id: str, **known: Any) -> None:
        self.computations.append(run)
        self.catalogue.add_computation(
            sorting_computation(
                computation_id=run, created=created, inputs={raw_id: self.session_id}, **known
            )
        )

    def trigger_run(self, sorter: str, created: int, raw_id: str, state: str) -> None:
        self.catalogue.add_computation(
            trigger_computation(
                computation_id=invented_id("trigger", self.session_id, sorter, created),
                created=created,
                raw_asset_id=raw_id,
                pipeline_type=tables()["sorting"]["types"].get(sorter, f"ecephys_{sorter}"),
                state=state,
            )
        )

    def finish(self, raw_id: str | None, location: str | None) -> InventedSession:
        return InventedSession(
            id=self.session_id,
            raw_asset_id=raw_id,
            location=location,
            asset_ids=tuple(asset_id for _, asset_id in sorted(self.assets)),
            sorted_asset_ids=tuple(self.sorted),
            derived_asset_ids=self.labels,
            computation_ids=tuple(self.computations),
        )
