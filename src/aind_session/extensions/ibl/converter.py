"""Inputs and runs of the IBL data converter: `subject.ibl_data_converter`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from aind_session import derived
from aind_session.errors import MissingAttributeError
from aind_session.extension import ExtensionBaseClass
from aind_session.extensions.ecephys.sorting import SortedDataAsset
from aind_session.extensions.ibl import inputs, manifests, neuroglancer, scratch
from aind_session.extensions.ibl.inputs import ECEPHYS, SMARTSPIM, STITCHED, NamedParameters
from aind_session.identifiers import is_uuid, parse_session_id
from aind_session.lookup import by_id
from aind_session.services import codeocean, pipeline_monitor, s3
from aind_session.services.assets import Assets
from aind_session.services.models import decode_asset, decode_assets
from aind_session.services.sdk import Computation, DataAsset, RunParams
from aind_session.session import Session
from aind_session.sessions import Sessions

__all__ = ["IBLDataConverterExtension"]

if TYPE_CHECKING:
    from upath import UPath

    from aind_session.subject import Subject


DATA_CONVERTER_CAPSULE_ID = "9fe42995-ffff-40ff-9c4c-c8206b8aacb5"
PIPELINE_MONITOR_CAPSULE_ID = "567b5b98-8d41-413b-9375-9ca610ca2fd3"


class IBLDataConverterExtension(ExtensionBaseClass):
    """Inputs of the IBL alignment app: a subject's recordings, sortings, images and annotations.

    In order: save a Neuroglancer state with annotations (`subject.neuroglancer`), make a data asset
    of it, complete the records of `get_partial_manifest_records`, pass them to
    `create_manifest_asset`, and `run_data_converter_capsule`.

    Attributes
    ----------
    use_data_assets_with_errors : bool
        Whether sorted data assets that failed are used; False. May be set.
    use_data_assets_with_sorting_analyzer : bool
        Whether sorted data assets with a SortingAnalyzer (SpikeInterface 0.101 and later) are used;
        True. May be set.

    Examples
    --------
    >>> import aind_session
    >>> converter = aind_session.Subject(717381).ibl_data_converter
    >>> [asset.name for asset in converter.sorted_data_assets]
    ['ecephys_717381_2024-04-09_11-14-13_sorted_2024-04-10_22-15-25']
    >>> converter.surface_recording_names["ecephys_717381_2024-04-09_11-14-13"]
    'ecephys_717381_2024-04-09_11-44-16'
    """

    _base: Subject

    use_data_assets_with_errors: bool = False
    use_data_assets_with_sorting_analyzer: bool = True

    DATA_CONVERTER_CAPSULE_ID: str = DATA_CONVERTER_CAPSULE_ID
    #: So spelled by version 0.3.
    PIPELINE_MONITOR_CAPUSLE_ID: str = PIPELINE_MONITOR_CAPSULE_ID
    ManifestRecord = manifests.ManifestRecord

    # -- data of the subject -----------------------------------------------------------------------

    @property
    def ecephys_sessions(self) -> Sessions:
        """All ecephys sessions, including surface recordings, ascending by date and time."""
        return Sessions(Session(s.id) for s in inputs.sessions(self._base.id, ECEPHYS))

    @property
    def ecephys_data_assets(self) -> tuple[DataAsset, ...]:
        """Raw data assets of the ecephys sessions, one each, ascending by creation."""
        with inputs.looking(self._base.id, f"raw {ECEPHYS} data assets") as stock:
            return _decoded(stock.raw(ECEPHYS))

    @property
    def surface_recording_names(self) -> dict[str, str]:
        """Surface recordings: from a day's first raw ecephys data asset to its second, by name.

        Ascending; days with one recording are left out.
        """
        with inputs.looking(self._base.id, "surface recordings") as stock:
            days = stock.days()
        return {day.recording: day.surface for day in days if day.recording and day.surface}

    @property
    def sorted_data_assets(self) -> tuple[SortedDataAsset, ...]:
        """Sorted data assets of all sessions, ascending by creation.

        `use_data_assets_with_errors` and `use_data_assets_with_sorting_analyzer` select them.
        """
        with inputs.looking(self._base.id, "sorted data assets") as stock:
            return SortedDataAsset.of_summaries(stock.sorted(self._options))

    @property
    def smartspim_sessions(self) -> Sessions:
        """All SmartSPIM sessions, ascending by date and time."""
        return Sessions(Session(s.id) for s in inputs.sessions(self._base.id, SMARTSPIM))

    @property
    def smartspim_data_assets(self) -> tuple[DataAsset, ...]:
        """Raw data assets of the SmartSPIM sessions, one each, ascending by creation."""
        with inputs.looking(self._base.id, f"raw {SMARTSPIM} data assets") as stock:
            return _decoded(stock.raw(SMARTSPIM))

    @staticmethod
    def get_stitched_data_assets(smartspim_session_id: object) -> tuple[DataAsset, ...]:
        """Return the stitched data assets of a SmartSPIM session, ascending by creation.

        Parameters
        ----------
        smartspim_session_id
            The session, its ID, or one of its data assets: the model, its name or its ID.

        Raises
        ------
        InvalidIdentifierError
            It contains no session ID, nor does the data asset's name (a `ValueError`).
        CodeOceanNotFoundError
            No data asset has this ID (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> converter = aind_session.Subject(717381).ibl_data_converter
        >>> asset = converter.smartspim_data_assets[0]
        >>> converter.get_stitched_data_assets(asset.id)[-1].name
        'SmartSPIM_717381_2024-05-20_15-19-15_stitched_2024-06-23_02-34-02'
        """
        given = smartspim_session_id
        if isinstance(given, str) and is_uuid(given.strip()):
            given = by_id.summary_of(given.strip()).name
        return _decoded(derived.of_session(parse_session_id(given), STITCHED))

    # -- the manifest ------------------------------------------------------------------------------

    def get_partial_manifest_records(
        self,
        neuroglancer_state_json_name: str | None = None,
        sorted_data_asset_names: str | Iterable[str] = (),
    ) -> list[dict[str, str]]:
        """Return the records of a manifest, for a person to complete.

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
            In the order of the annotations; empty if the state has none.

        Raises
        ------
        MissingFileError
            The state does not exist (a `FileNotFoundError`).
        InvalidFilterError
            A name is not one of the subject's sorted data assets (a `ValueError`).

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
        return inputs.partial_records(
            self._base.id,
            neuroglancer_state_json_name,
            manifests.checked_recordings(self._base.id, sorted_data_asset_names),
            self._options,
        )

    @staticmethod
    def get_mindscope_probe_day_from_ng_state(
        neuroglancer_state: neuroglancer.NeuroglancerState,
    ) -> dict[str, dict[Literal["probe", "day"], str]]:
        """Return the probe and the recording day in each annotation name that contains them.

        Examples
        --------
        >>> import aind_session
        >>> layers = [{"type": "annotation", "name": name} for name in ("A1", "probe B_3", "268")]
        >>> state = aind_session.Subject(717381).neuroglancer.from_json({"layers": layers})
        >>> IBLDataConverterExtension.get_mindscope_probe_day_from_ng_state(state)
        {'A1': {'probe': 'A', 'day': '1'}, 'probe B_3': {'probe': 'B', 'day': '3'}}
        """
        found = {n: manifests.parse_annotation(n) for n in neuroglancer_state.annotation_names}
        return {
            name: {"probe": insertion.letter, "day": str(insertion.day)}
            for name, insertion in found.items()
            if insertion is not None
        }

    @property
    def csv_manifest_path(self) -> UPath:
        """Path in S3 of the CSV file that `create_manifest_asset` writes."""
        name = manifests.name_of(self._base.id)
        return s3.path(scratch.BUCKET, manifests.key_of(self._base.id, name))

    def create_manifest_asset(
        self,
        completed_records: Iterable[Mapping[str, Any]],
        asset_name: str | None = None,
        skip_existing: bool = True,
        timeout_sec: float = 10,
    ) -> DataAsset:
        """Write completed records to a CSV file, make a data asset of its folder, and wait for it.

        Parameters
        ----------
        completed_records
            Records of `get_partial_manifest_records` with `probe_name` filled in; dictionaries, or
            a pandas or polars table.
        asset_name
            Name of the data asset and of its file; `<subject>_data_converter_manifest` by default.
        skip_existing
            Whether to return the newest manifest of this name, if there is one.
        timeout_sec
            How long S3 may take to list the file, in seconds.

        Returns
        -------
        DataAsset
            Ready to be attached.

        Raises
        ------
        InvalidContentError
            A record is not complete, or there is none (a `ValueError`).
        NotReadyError
            The asset was created, and is not ready after ten minutes (a `TimeoutError`).

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
            with inputs.looking(subject_id, "manifests") as stock:
                named = tuple(asset for asset in stock.manifests() if asset.name == name)
                existing = inputs.newest_good(named)
                if existing is not None:
                    return decode_asset(inputs.ready(existing).raw)
        return scratch.publish(
            scratch.BUCKET,
            manifests.key_of(subject_id, name),
            manifests.encode(manifests.completed(subject_id, completed_records)),
            subject_id=subject_id,
            tags=["ibl", "annotation", "manifest", subject_id],
            custom_metadata={"subject id": subject_id},
            timeout_sec=timeout_sec,
        )

    @property
    def manifest_data_asset(self) -> DataAsset:
        """The subject's newest manifest.

        Raises
        ------
        MissingAttributeError
            There is none (an `AttributeError`).
        """
        with inputs.looking(self._base.id, "manifests") as stock:
            found = stock.manifests()
        hint = f"Subject {self._base.id} has no manifest. Make one: create_manifest_asset(records)."
        return _newest(found, "manifest_data_asset", hint)

    @property
    def neuroglancer_state_json_asset(self) -> DataAsset:
        """The newest data asset that is a Neuroglancer state of the subject.

        Raises
        ------
        MissingAttributeError
            There is none (an `AttributeError`).
        """
        hint = (
            f"No Neuroglancer state of subject {self._base.id} is a data asset. Make one: "
            "subject.neuroglancer.states[-1].create_data_asset()."
        )
        found = neuroglancer.state_assets(self._base.id)
        return _newest(found, "neuroglancer_state_json_asset", hint)

    # -- the run -----------------------------------------------------------------------------------

    def get_data_converter_run_params(
        self,
        capsule_id: str = DATA_CONVERTER_CAPSULE_ID,
        manifest_asset: DataAsset | str | None = None,
        neuroglancer_state_json_asset: DataAsset | str | None = None,
        additional_assets: Iterable[DataAsset | str] = (),
        named_parameters: NamedParameters | None = None,
        *,
        override_parameters: Sequence[str] | None = None,
    ) -> RunParams:
        """Gather the inputs of the converter, without starting a run.

        The parameters are those of `run_data_converter_capsule`.

        Returns
        -------
        codeocean.computation.RunParams
            The run that `run_data_converter_capsule` would start.

        Raises
        ------
        MissingFileError
            Inputs are missing; the message names all of them (a `FileNotFoundError`).
        """
        return inputs.run_params(
            self._base.id,
            capsule_id,
            manifest_asset,
            neuroglancer_state_json_asset,
            additional_assets,
            named_parameters or (),
            override_parameters,
            self._options,
        )

    def run_data_converter_capsule(
        self,
        capsule_id: str = DATA_CONVERTER_CAPSULE_ID,
        manifest_asset: DataAsset | str | None = None,
        neuroglancer_state_json_asset: DataAsset | str | None = None,
        additional_assets: Iterable[DataAsset | str] = (),
        named_parameters: NamedParameters | None = None,
        pipeline_monitor_capsule_id: str | None = PIPELINE_MONITOR_CAPSULE_ID,
        *,
        override_parameters: Sequence[str] | None = None,
    ) -> Computation:
        """Run the converter with the subject's recordings, sortings, images and annotations.

        It gets the raw ecephys, sorted, SmartSPIM and latest stitched data assets, a manifest and
        a Neuroglancer state. A monitor capsule starts the converter, waits for it, and captures its
        results as a data asset. The request is sent once, even if it fails.

        Parameters
        ----------
        capsule_id
            The converter.
        manifest_asset
            The manifest, or its ID; by default the newest.
        neuroglancer_state_json_asset
            The state's data asset, or its ID; by default the state that the manifest names, else
            the newest.
        additional_assets
            Further data assets to attach, or their IDs.
        named_parameters
            Further parameters by name (a dict, or the SDK's `NamedRunParam`s); `manifest` and
            `neuroglancer` replace the defaults.
        pipeline_monitor_capsule_id
            The monitor; None: the converter is run directly, and its results are not captured.
        override_parameters
            Parameters by position, instead of all parameters by name.

        Returns
        -------
        codeocean.computation.Computation
            The run of the monitor; without one, the run of the converter.

        Raises
        ------
        MissingExtraError
            The monitor needs the extra `monitor` (an `ImportError`); no request was sent.
        MissingFileError
            Inputs are missing; the message names all of them (a `FileNotFoundError`).

        Examples
        --------
        >>> import aind_session
        >>> with aind_session.sandbox() as box:
        ...     converter = aind_session.Subject(717381).ibl_data_converter
        ...     record = {**converter.get_partial_manifest_records()[0], "probe_name": "ProbeA"}
        ...     manifest = converter.create_manifest_asset([record])
        ...     run = converter.run_data_converter_capsule(pipeline_monitor_capsule_id=None)
        >>> [parameter.value for parameter in run.parameters][0]
        '717381_data_converter_manifest/717381_data_converter_manifest.csv'
        """
        monitor_id = pipeline_monitor_capsule_id
        # Imported first: gathering the inputs takes a while.
        monitor = pipeline_monitor.load("run_data_converter_capsule()") if monitor_id else None
        params = self.get_data_converter_run_params(
            capsule_id,
            manifest_asset,
            neuroglancer_state_json_asset,
            additional_assets,
            named_parameters,
            override_parameters=override_parameters,
        )
        if monitor is not None:
            subject_id = self._base.id
            settings = pipeline_monitor.settings_of(
                monitor,
                params,
                name=f"{subject_id}_ibl-data-converter_{scratch.stamp(scratch.pacific())}",
                tags=["derived", "ibl", "annotation", subject_id],
                custom_metadata={
                    "data level": "derived",
                    "experiment type": ECEPHYS,
                    "subject id": subject_id,
                },
            )
            params = RunParams(capsule_id=monitor_id, parameters=[settings])
        return codeocean.run_capsule(params)

    @property
    def _options(self) -> inputs.Options:
        return inputs.Options(
            self.use_data_assets_with_errors, self.use_data_assets_with_sorting_analyzer
        )


def _decoded(some: Assets) -> tuple[DataAsset, ...]:
    return decode_assets(asset.raw for asset in some)


def _newest(some: Assets, attribute: str, missing: str) -> DataAsset:
    found = inputs.newest_good(some)
    if found is None:
        raise MissingAttributeError(missing, name=attribute)
    return decode_asset(found.raw)
