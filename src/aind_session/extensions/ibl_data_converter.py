"""Inputs and runs of the IBL data converter: `subject.ibl_data_converter`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aind_session.errors import MissingAttributeError
from aind_session.extension import ExtensionBaseClass
from aind_session.extensions.ecephys.sorting import SortedDataAsset
from aind_session.identifiers import is_uuid, parse_session_id
from aind_session.lookup import (
    by_id,
    ibl_inputs,
    manifests,
    neuroglancer_states,
    publishing,
)
from aind_session.lookup.ibl_inputs import ECEPHYS, SMARTSPIM
from aind_session.lookup.questions import Assets
from aind_session.services import codeocean, pipeline_monitor, storage
from aind_session.services.models import Computation, DataAsset, decode_asset, decode_assets
from aind_session.services.sdk import DataAssetsRunParam, NamedRunParam, RunParams
from aind_session.session import Session
from aind_session.sessions import Sessions

__all__ = ["IBLDataConverterExtension"]

if TYPE_CHECKING:
    from upath import UPath

    from aind_session.subject import Subject

DATA_CONVERTER_CAPSULE_ID = "9fe42995-ffff-40ff-9c4c-c8206b8aacb5"
DATA_CONVERTER_MONITOR_CAPSULE_ID = "567b5b98-8d41-413b-9375-9ca610ca2fd3"


class IBLDataConverterExtension(ExtensionBaseClass):
    """What the IBL alignment app needs of a subject: recordings, sortings, images, annotations.

    In order: save a Neuroglancer state with annotations (`subject.neuroglancer`), make a data asset
    of it, complete the records of `get_partial_manifest_records`, give them to
    `create_manifest_asset`, and `run_data_converter_capsule`.

    Attributes
    ----------
    use_data_assets_with_errors : bool
        Whether sorted data assets that failed are used; False. May be set.
    use_data_assets_with_sorting_analyzer : bool
        Whether sorted data assets with a SortingAnalyzer are used (SpikeInterface 0.101 and later:
        all of today's); True. May be set.

    Examples
    --------
    >>> import aind_session
    >>> converter = aind_session.Subject(717381).ibl_data_converter
    >>> [asset.name for asset in converter.sorted_data_assets]
    ['ecephys_717381_2024-04-09_11-14-13_sorted_2024-04-10_22-15-25']
    >>> converter.surface_recording_names
    ('ecephys_717381_2024-04-09_11-44-16', 'ecephys_717381_2024-04-10_16-51-20')
    """

    _base: Subject

    use_data_assets_with_errors: bool = False
    use_data_assets_with_sorting_analyzer: bool = True

    DATA_CONVERTER_CAPSULE_ID: str = DATA_CONVERTER_CAPSULE_ID
    DATA_CONVERTER_MONITOR_CAPSULE_ID: str = DATA_CONVERTER_MONITOR_CAPSULE_ID

    # -- what the subject has ----------------------------------------------------------------------

    @property
    def ecephys_sessions(self) -> Sessions:
        """All ecephys sessions, those of surface recordings included, ascending by date and time.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.Subject(717381).ibl_data_converter.ecephys_sessions[0]
        Session('ecephys_717381_2024-04-09_11-14-13')
        """
        return Sessions(Session(s.id) for s in ibl_inputs.sessions(self._base.id, ECEPHYS))

    @property
    def ecephys_data_assets(self) -> tuple[DataAsset, ...]:
        """Raw data assets of the ecephys sessions, one each, ascending by creation.

        Raises
        ------
        CredentialsError, ServiceError
            Code Ocean could not be asked.
        """
        with ibl_inputs.looking(self._base.id, f"raw {ECEPHYS} data assets") as stock:
            return _decoded(stock.raw(ECEPHYS))

    @property
    def surface_recording_names(self) -> tuple[str, ...]:
        """Names of the surface recordings, ascending: a day's second raw ecephys data asset."""
        with ibl_inputs.looking(self._base.id, "surface recordings") as stock:
            return tuple(day.surface for day in stock.days() if day.surface)

    @property
    def sorted_data_assets(self) -> tuple[SortedDataAsset, ...]:
        """Sorted data assets of all sessions, ascending by creation.

        Which of them is for `use_data_assets_with_errors` and
        `use_data_assets_with_sorting_analyzer` to say.
        """
        with ibl_inputs.looking(self._base.id, "sorted data assets") as stock:
            return SortedDataAsset.of_summaries(stock.sorted(**self._options()))

    @property
    def smartspim_sessions(self) -> Sessions:
        """All SmartSPIM sessions, ascending by date and time.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.Subject(717381).ibl_data_converter.smartspim_sessions[-1]
        Session('SmartSPIM_717381_2024-07-03_10-49-01')
        """
        return Sessions(Session(s.id) for s in ibl_inputs.sessions(self._base.id, SMARTSPIM))

    @property
    def smartspim_data_assets(self) -> tuple[DataAsset, ...]:
        """Raw data assets of the SmartSPIM sessions, one each, ascending by creation.

        Raises
        ------
        CredentialsError, ServiceError
            Code Ocean could not be asked.
        """
        with ibl_inputs.looking(self._base.id, f"raw {SMARTSPIM} data assets") as stock:
            return _decoded(stock.raw(SMARTSPIM))

    @staticmethod
    def get_stitched_data_assets(id: object) -> tuple[DataAsset, ...]:
        """Get the stitched data assets of a SmartSPIM session, ascending by creation.

        Parameters
        ----------
        id
            The session, its ID, or one of its data assets: the model, its name or its ID.

        Raises
        ------
        InvalidIdentifierError
            There is no session ID in it, or in the data asset's name (a `ValueError`).
        CodeOceanNotFoundError
            There is no data asset of this ID (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> converter = aind_session.Subject(717381).ibl_data_converter
        >>> asset = converter.smartspim_data_assets[0]
        >>> converter.get_stitched_data_assets(asset.id)[-1].name
        'SmartSPIM_717381_2024-05-20_15-19-15_stitched_2024-06-23_02-34-02'
        """
        if isinstance(id, str) and is_uuid(id.strip()):
            session = parse_session_id(by_id.summary_of(id).name)
        else:
            session = parse_session_id(id)
        return _decoded(ibl_inputs.stitched_of(session))

    # -- the manifest ------------------------------------------------------------------------------

    def get_partial_manifest_records(
        self,
        neuroglancer_state_json_name: str | None = None,
        sorted_data_asset_names: str | Iterable[str] = (),
    ) -> list[dict[str, str]]:
        """Get the records of a manifest, for a person to complete.

        An annotation named with a probe's letter and the number of the ecephys day (`A1`,
        `probe B_3`) has one record, with probe and recording. Any other has one record for each
        recording, without `probe_name`: complete those that are meant, and drop the others.

        Parameters
        ----------
        neuroglancer_state_json_name
            Name of a saved state, with or without `.json`; by default the latest.
        sorted_data_asset_names
            The recordings; by default the latest sorted data asset of each session.

        Returns
        -------
        list of dict
            The caller's own, in the order of the annotations; empty where the state has none.

        Raises
        ------
        MissingFileError
            There is no such state (a `FileNotFoundError`).
        InvalidFilterError
            A name is not that of one of the subject's sorted data assets (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> converter = aind_session.Subject(717381).ibl_data_converter
        >>> records = converter.get_partial_manifest_records()
        >>> for column, value in records[0].items():
        ...     print(f"{column}: {value}")  # doctest: +NORMALIZE_WHITESPACE
        mouseid: 717381
        sorted_recording: ecephys_717381_2024-04-09_11-14-13_sorted_2024-04-10_22-15-25
        probe_file: SmartSPIM_717381_2024-07-03_10-49-01_neuroglancer-state_2024-08-20_09-30-00
        probe_name:
        probe_shank:
        probe_id: 268
        surface_finding: ecephys_717381_2024-04-09_11-44-16
        annotation_format: json
        """
        return ibl_inputs.partial_records(
            self._base.id,
            neuroglancer_state_json_name,
            manifests.checked_recordings(self._base.id, sorted_data_asset_names),
            **self._options(),
        )

    @property
    def csv_manifest_path(self) -> UPath:
        """Path in S3 that a manifest is written to, before it becomes a data asset.

        Examples
        --------
        >>> import aind_session
        >>> aind_session.Subject(717381).ibl_data_converter.csv_manifest_path.name
        '717381_data_converter_manifest.csv'
        """
        name = manifests.name_of(self._base.id)
        return storage.path(manifests.BUCKET, manifests.key_of(name))

    def create_manifest_asset(
        self,
        completed_records: Iterable[Mapping[str, Any]],
        asset_name: str | None = None,
        skip_existing: bool = True,
    ) -> DataAsset:
        """Write completed records as a CSV file, and make a data asset of it.

        Parameters
        ----------
        completed_records
            Records of `get_partial_manifest_records` with `probe_name` filled in; dictionaries, or
            a pandas or polars table.
        asset_name
            Name of the data asset and of its file; `<subject>_data_converter_manifest` by default.
        skip_existing
            Whether to make nothing where the subject has a manifest of this name.

        Returns
        -------
        DataAsset
            The newest of this name that there was, or a new one, which is not ready yet.

        Raises
        ------
        InvalidContentError
            A record is not complete, or there is none (a `ValueError`).
        CredentialsError, ServiceError
            The file or the data asset could not be made.

        Examples
        --------
        >>> import aind_session
        >>> with aind_session.sandbox():
        ...     converter = aind_session.Subject(717381).ibl_data_converter
        ...     record = {**converter.get_partial_manifest_records()[0], "probe_name": "ProbeA"}
        ...     converter.create_manifest_asset([record]).name
        '717381_data_converter_manifest'
        """
        subject_id = self._base.id
        name = manifests.checked_name(asset_name, subject_id)
        if skip_existing:
            with ibl_inputs.looking(subject_id, "manifests") as stock:
                existing = ibl_inputs.newest_good(
                    tuple(asset for asset in stock.manifests() if asset.name == name)
                )
            if existing is not None:
                return decode_asset(existing.raw)
        data = manifests.encode(manifests.completed(subject_id, completed_records))
        publishing.check_may_create()
        key = manifests.key_of(name)
        listed = publishing.write(manifests.BUCKET, key, data, timeout_sec=10)
        return publishing.create_asset(
            manifests.BUCKET,
            key,
            listed,
            subject_id=subject_id,
            tags=["ibl", "annotation", "manifest", subject_id],
            custom_metadata={"subject id": subject_id},
        )

    @property
    def manifest_data_asset(self) -> DataAsset:
        """The subject's newest manifest.

        Raises
        ------
        MissingAttributeError
            There is none (an `AttributeError`).
        """
        with ibl_inputs.looking(self._base.id, "manifests") as stock:
            found = ibl_inputs.newest_good(stock.manifests())
        if found is None:
            raise MissingAttributeError(
                f"Subject {self._base.id} has no manifest. Make one: "
                "create_manifest_asset(completed_records).",
                name="manifest_data_asset",
            )
        return decode_asset(found.raw)

    @property
    def neuroglancer_state_json_asset(self) -> DataAsset:
        """The newest data asset that is a Neuroglancer state of the subject.

        Raises
        ------
        MissingAttributeError
            There is none (an `AttributeError`).

        Examples
        --------
        >>> import aind_session
        >>> asset = aind_session.Subject(717381).ibl_data_converter.neuroglancer_state_json_asset
        >>> asset.tags
        ['neuroglancer', 'ecephys', 'annotation', '717381']
        """
        found = ibl_inputs.newest_good(neuroglancer_states.state_assets(self._base.id))
        if found is None:
            raise MissingAttributeError(
                f"No Neuroglancer state of subject {self._base.id} is a data asset. Make one: "
                "subject.neuroglancer.states[-1].create_data_asset().",
                name="neuroglancer_state_json_asset",
            )
        return decode_asset(found.raw)

    # -- the run -----------------------------------------------------------------------------------

    def get_data_converter_run_params(
        self,
        capsule_id: str = DATA_CONVERTER_CAPSULE_ID,
        *,
        additional_assets: Iterable[DataAsset | str] = (),
        override_parameters: Sequence[str] | None = None,
    ) -> RunParams:
        """Gather the inputs of the converter, all at the same time, and start nothing.

        Parameters
        ----------
        capsule_id, additional_assets, override_parameters
            As for `run_data_converter_capsule`.

        Returns
        -------
        codeocean.computation.RunParams
            What `run_data_converter_capsule` would run.

        Raises
        ------
        MissingFileError
            Inputs are missing; all of them are named (a `FileNotFoundError`).
        """
        inputs = ibl_inputs.gather(self._base.id, **self._options())
        # Attached under their names, which the manifest's columns have.
        attached = {asset.id: asset.name for asset in inputs.attached}
        for extra in additional_assets:
            if isinstance(extra, str):
                found = by_id.summary_of(extra)
                attached.setdefault(found.id, found.name)
            else:
                attached.setdefault(extra.id, extra.name)
        manifest, state = inputs.manifest.name, inputs.state.name
        named = {"manifest": f"{manifest}/{manifest}.csv", "neuroglancer": f"{state}/{state}.json"}
        by_position = None if override_parameters is None else [str(p) for p in override_parameters]
        return RunParams(
            capsule_id=capsule_id,
            data_assets=[DataAssetsRunParam(id=i, mount=name) for i, name in attached.items()],
            parameters=by_position,
            named_parameters=None
            if by_position is not None
            else [NamedRunParam(param_name=name, value=value) for name, value in named.items()],
        )

    def run_data_converter_capsule(
        self,
        capsule_id: str = DATA_CONVERTER_CAPSULE_ID,
        *,
        monitor_capsule_id: str | None = DATA_CONVERTER_MONITOR_CAPSULE_ID,
        additional_assets: Iterable[DataAsset | str] = (),
        override_parameters: Sequence[str] | None = None,
    ) -> Computation:
        """Run the converter with the subject's recordings, sortings, images and annotations.

        Attached are the raw ecephys, sorted, SmartSPIM and latest stitched data assets, the newest
        manifest, and the Neuroglancer state that it names. A monitor starts the converter, waits
        for it, and captures its results as a data asset. Sent once, however it fails.

        Parameters
        ----------
        capsule_id
            The converter.
        monitor_capsule_id
            The monitor; None: the converter is run without, and its results are not captured.
        additional_assets
            Data assets to attach besides, or their IDs.
        override_parameters
            Parameters by position, in place of `manifest` and `neuroglancer` by name.

        Returns
        -------
        codeocean.computation.Computation
            The run of the monitor; without one, of the converter.

        Raises
        ------
        MissingExtraError
            The monitor needs the extra `monitor` (an `ImportError`); nothing was asked or run.
        MissingFileError
            Inputs are missing; all of them are named (a `FileNotFoundError`).
        CredentialsError, ServiceError
            Inputs could not be asked for, or the run did not start.

        Examples
        --------
        >>> import aind_session
        >>> with aind_session.sandbox() as box:
        ...     converter = aind_session.Subject(717381).ibl_data_converter
        ...     record = {**converter.get_partial_manifest_records()[0], "probe_name": "ProbeA"}
        ...     manifest = converter.create_manifest_asset([record])
        ...     run = converter.run_data_converter_capsule(monitor_capsule_id=None)
        >>> [parameter.value for parameter in run.parameters][0]
        '717381_data_converter_manifest/717381_data_converter_manifest.csv'
        """
        # Looked for first: gathering the inputs takes a while.
        monitor = (
            pipeline_monitor.load("run_data_converter_capsule()") if monitor_capsule_id else None
        )
        params = self.get_data_converter_run_params(
            capsule_id,
            additional_assets=additional_assets,
            override_parameters=override_parameters,
        )
        if monitor is not None:
            subject_id = self._base.id
            settings = pipeline_monitor.settings_of(
                monitor,
                params,
                name=f"{subject_id}_ibl-data-converter_{publishing.stamp(publishing.pacific())}",
                tags=["derived", "ibl", "annotation", subject_id],
                custom_metadata={
                    "data level": "derived",
                    "experiment type": ECEPHYS,
                    "subject id": subject_id,
                },
            )
            params = RunParams(capsule_id=monitor_capsule_id, parameters=[settings])
        return codeocean.run_capsule(params)

    def _options(self) -> dict[str, bool]:
        return {
            "with_errors": self.use_data_assets_with_errors,
            "with_analyzer": self.use_data_assets_with_sorting_analyzer,
        }


def _decoded(some: Assets) -> tuple[DataAsset, ...]:
    return tuple(decode_assets(asset.raw for asset in some))
