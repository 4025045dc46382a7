"""Spike sorting and recordings of an ecephys session: `session.ecephys`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, overload

from aind_session.errors import MissingAttributeError
from aind_session.extension import ExtensionBaseClass
from aind_session.extensions.ecephys import (
    alignments,
    pipeline,
    probes,
    recordings,
    sorter_names,
    sorting,
)
from aind_session.extensions.ecephys.probes import SortedProbe
from aind_session.extensions.ecephys.sorting import SortedDataAsset, Sorter, Sorters
from aind_session.identifiers import parse_session_id
from aind_session.lookup import by_id, folders, refresh, results, rules
from aind_session.services import codeocean
from aind_session.services.sdk import Computation
from aind_session.utils import codeocean_utils

__all__ = ["EcephysExtension", "SortedDataAsset", "SortedProbe"]

if TYPE_CHECKING:
    from upath import UPath

    from aind_session.lookup.by_id import AssetLike
    from aind_session.services.assets import Assets
    from aind_session.session import Session

T = TypeVar("T")


class Alias(property, Generic[T]):
    """An older name of an attribute, with a warning; a constant's also on the class.

    A property, so that completion offers it without reading it.
    """

    def __init__(self, instead: str, read: Callable[[Any], T]) -> None:
        self.instead, self.read = instead, read
        self.__doc__ = f"Older spelling of `{instead}`."

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name

    def __get__(  # type: ignore[override]
        self, obj: object | None, owner: type[Any] | None = None
    ) -> T:
        if obj is None and not self.name.isupper():
            # Documentation tools read every attribute of a class: they get the alias itself.
            return self  # type: ignore[return-value]
        warnings.warn(
            f"{self.name} is deprecated since 0.4 and goes in 1.0: use {self.instead} instead",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.read(owner if obj is None else obj)


class _Classes:
    # In a class of its own: beside methods that are annotated with it, its name would be ambiguous.
    SortedDataAsset = SortedDataAsset
    SorterExtension = Sorter


class EcephysExtension(_Classes, ExtensionBaseClass):
    """A session's electrophysiology: its recording, its spike sortings, its probes.

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    >>> session.ecephys.is_sorted
    True
    >>> session.ecephys.sorter.names
    ('kilosort2_5',)
    >>> session.ecephys.compressed_dir.as_posix()
    's3://aind-ephys-data/ecephys_676909_2023-12-13_13-43-40/ecephys_compressed'
    """

    _base: Session

    #: Capsule that launches the sorting pipeline, and the pipeline.
    DEFAULT_TRIGGER_CAPSULE_ID: Final = pipeline.TRIGGER_CAPSULE_ID
    DEFAULT_SORTING_PIPELINE_ID: Final = pipeline.PIPELINE_ID
    #: Beginning of the name of an evaluation with a probe's alignment, in quality control.
    IBL_ALIGNMENT_EVALUATION_PREFIX: Final = alignments.EVALUATION_PREFIX

    _has_compared_sorters = False

    # -- the recording -----------------------------------------------------------------------------

    @property
    def clipped_dir(self) -> UPath:
        """Folder of the recording's small files: settings, synchronisation, the first samples.

        Raises
        ------
        MissingAttributeError
            It does not exist (an `AttributeError`).
        """
        return recordings.dir_of_session(self._base._id, recordings.CLIPPED, "clipped_dir")

    @property
    def compressed_dir(self) -> UPath:
        """Folder of the recorded streams, a `.zarr` each.

        Raises
        ------
        MissingAttributeError
            It does not exist (an `AttributeError`).
        """
        return recordings.dir_of_session(self._base._id, recordings.COMPRESSED, "compressed_dir")

    @staticmethod
    def get_clipped_and_compressed_dirs(
        raw_data_asset_id_or_model: AssetLike,
    ) -> tuple[UPath, UPath]:
        """Get the two folders of a raw data asset's recording.

        Parameters
        ----------
        raw_data_asset_id_or_model
            A raw data asset: its ID, name, folder (`s3://...`) or model.

        Returns
        -------
        tuple of UPath
            `ecephys_clipped` and `ecephys_compressed`: in `ecephys/` or, of older assets, in the
            root; where both exist, the former.

        Raises
        ------
        MissingFileError
            One of them does not exist (a `FileNotFoundError`).

        Examples
        --------
        >>> import aind_session
        >>> asset_id = "16d46411-540a-4122-b47f-8cb2a15d593a"
        >>> for path in aind_session.ecephys.get_clipped_and_compressed_dirs(asset_id):
        ...     print(path.name)
        ecephys_clipped
        ecephys_compressed
        """
        model = codeocean_utils.get_data_asset_model(raw_data_asset_id_or_model)
        if codeocean_utils.replacement("get_data_asset_source_dir") is not None:
            return recordings.dirs_in(codeocean_utils.get_data_asset_source_dir(model.id))
        return recordings.dirs_of_asset(codeocean_utils.summary_of(model))

    # -- sortings ----------------------------------------------------------------------------------

    @property
    def is_sorted(self) -> bool:
        """Whether there is at least one sorted data asset that did not fail.

        The newest is checked first. A sorting failed if its log contains an error, or if its
        folder has no sorted stream.
        """
        return results.why_sorted(self._base._id)[0]

    @property
    def sorted_data_assets(self) -> tuple[SortedDataAsset, ...]:
        """All sorted data assets, ascending by creation, failed ones included."""
        replaced = codeocean_utils.replacement("get_subject_data_assets")
        if replaced is not None:
            return tuple(
                SortedDataAsset.of(asset)
                for asset in replaced(self._base.subject_id)
                if asset.name.startswith(self._base.id) and rules.is_sorted(asset.name)
            )
        return SortedDataAsset.of_summaries(
            sorting.of_session(self._base._id), self._has_compared_sorters
        )

    @property
    def sorter(self) -> Sorters:
        """The spike sorters that were used, each an attribute: `sorter.kilosort2_5`."""

        def look_up() -> dict[str, Assets]:
            self._has_compared_sorters = True
            return sorting.by_sorter(self._base._id)

        return Sorters(self._base.id, look_up)

    @staticmethod
    @refresh.with_cache_clear
    def get_sorted_data_asset_model(asset_id: AssetLike) -> SortedDataAsset:
        """Get a sorted data asset.

        Parameters
        ----------
        asset_id
            Its ID, name, folder (`s3://...`) or plain model.

        Raises
        ------
        InvalidIdentifierError
            It is not the result of a spike sorting (a `ValueError`).
        CodeOceanNotFoundError
            No asset has this ID or name (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> asset_id = "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
        >>> aind_session.ecephys.get_sorted_data_asset_model(asset_id).output[-31:]
        'FULL PIPELINE time:  161658.77s'
        """
        model = codeocean_utils.get_data_asset_model(asset_id)
        sorting.sorted_summary(model)
        return SortedDataAsset.of(model)

    @staticmethod
    @refresh.with_cache_clear
    def is_sorted_data_asset(asset_id: AssetLike) -> bool:
        """Return True if a data asset (or that of an ID) is the result of a spike sorting.

        By its name, `<session ID>_sorted...`, on any platform.
        """
        return rules.is_sorted(codeocean_utils.summary_of(asset_id).name)

    @staticmethod
    @refresh.with_cache_clear
    def is_sorting_analyzer_asset(asset_id: AssetLike) -> bool:
        """Return True if a sorted data asset (or that of an ID) holds a SortingAnalyzer."""
        return sorting.is_analyzer(codeocean_utils.summary_of(asset_id))

    @staticmethod
    @refresh.with_cache_clear
    def get_sorter_name(sorted_data_asset_id: AssetLike) -> str:
        """Get the name of the spike sorter, as the files of a sorted data asset write it.

        Raises
        ------
        MissingFileError
            No file names it: the sorting finished for no probe (a `FileNotFoundError`).

        Examples
        --------
        >>> import aind_session
        >>> aind_session.ecephys.get_sorter_name("1e11bdf5-b452-4fd9-bbb1-48383a9b0842")
        'kilosort2_5'
        """
        return sorter_names.require_sorter_name(sorting.sorted_summary(sorted_data_asset_id))

    @staticmethod
    @refresh.with_cache_clear
    def get_sorted_probe_names(sorted_data_asset_id_or_model: AssetLike) -> tuple[str, ...]:
        """Get the names of the probes whose sorting was finished, each once, sorted."""
        return probes.names(probes.of_asset(sorting.sorted_summary(sorted_data_asset_id_or_model)))

    @staticmethod
    def get_sorted_probes(id: AssetLike) -> tuple[SortedProbe, ...]:
        """Get the streams whose sorting was finished: probe, serial number, group of shanks.

        Examples
        --------
        >>> import aind_session
        >>> asset_id = "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
        >>> aind_session.ecephys.get_sorted_probes(asset_id)[0].stream
        'experiment1_Record Node 102#Neuropix-PXI-100.ProbeA-AP_recording1'
        """
        return probes.of_asset(sorting.sorted_summary(id))

    # -- sorting it --------------------------------------------------------------------------------

    def run_sorting(
        self,
        pipeline_type: str = pipeline.PIPELINE_TYPE,
        trigger_capsule_id: str | None = pipeline.TRIGGER_CAPSULE_ID,
        override_parameters: Sequence[str] | None = None,
        skip_already_sorting: bool = True,
    ) -> Computation:
        """Start the spike sorting of the session's raw data asset, by way of the trigger capsule.

        Sent once, however it fails: nothing is started twice.

        Parameters
        ----------
        pipeline_type
            `ecephys_ks25`, `ecephys_ks25_v0.1.0`, `ecephys_opto_ks25`, `ecephys_ks4`,
            `ecephys_sc2`, or any other that the capsule has.
        trigger_capsule_id
            The capsule, by default `DEFAULT_TRIGGER_CAPSULE_ID`; it takes the pipeline
            type and the raw asset's ID by position.
        override_parameters
            Parameters of the capsule, in place of these two.
        skip_already_sorting
            Whether to start nothing if the session is being sorted.

        Returns
        -------
        codeocean.computation.Computation
            The capsule's run; if the session is being sorted already, the run in progress.

        Raises
        ------
        MissingAttributeError
            The session has no raw data asset.

        Examples
        --------
        >>> import aind_session
        >>> session = aind_session.Session("ecephys_668759_2023-07-11_13-07-32")
        >>> started = session.ecephys.run_sorting("ecephys_ks4")
        >>> len(session.ecephys.current_sorting_pipeline_computations)
        1
        """
        replaced = codeocean_utils.replacement("get_codeocean_client")
        run = codeocean.run_capsule if replaced is None else replaced().computations.run_capsule
        return pipeline.sort(
            folders.raw_asset(self._base._id),
            pipeline_type,
            self._patched(trigger_capsule_id, "DEFAULT_TRIGGER_CAPSULE_ID"),
            override_parameters,
            pipeline_id=self.DEFAULT_SORTING_PIPELINE_ID if skip_already_sorting else None,
            run=run,
        )

    @property
    def current_sorting_pipeline_computations(self) -> tuple[Computation, ...]:
        """Runs of the sorting pipeline on this session that have not ended, ascending.

        Requested each time.
        """
        return self.get_current_sorting_pipeline_computations(
            raw_data_asset_id_or_model=folders.raw_asset(self._base._id).id
        )

    @staticmethod
    def get_current_sorting_pipeline_computations(
        pipeline_id: str | None = pipeline.PIPELINE_ID,
        raw_data_asset_id_or_model: AssetLike | None = None,
    ) -> tuple[Computation, ...]:
        """Get the runs of a sorting pipeline that have not ended, ascending by creation.

        Parameters
        ----------
        pipeline_id
            The pipeline, by default `DEFAULT_SORTING_PIPELINE_ID`.
        raw_data_asset_id_or_model
            Only the runs with this data asset attached.
        """
        asset = raw_data_asset_id_or_model
        asset_id = None if asset is None else by_id.asset_id(asset)
        return pipeline.current(
            EcephysExtension._patched(pipeline_id, "DEFAULT_SORTING_PIPELINE_ID"), asset_id
        )

    @classmethod
    def _patched(cls, given: str | None, name: str) -> str:
        """Return the ID that was given, or the class's own, which programs patch, by default."""
        default: str = getattr(cls, name)
        defaults = (None, pipeline.TRIGGER_CAPSULE_ID, pipeline.PIPELINE_ID)
        return default if given is None or given in defaults else given

    # -- probe alignment ---------------------------------------------------------------------------

    @overload
    @staticmethod
    def get_latest_ibl_annotations(
        session_id: object, as_ccf_records: Literal[False] = False
    ) -> dict[str, dict[str, Any]]: ...

    @overload
    @staticmethod
    def get_latest_ibl_annotations(
        session_id: object, as_ccf_records: Literal[True]
    ) -> list[dict[str, Any]]: ...

    @overload
    @staticmethod
    def get_latest_ibl_annotations(
        session_id: object, as_ccf_records: bool
    ) -> dict[str, dict[str, Any]] | list[dict[str, Any]]: ...

    @staticmethod
    def get_latest_ibl_annotations(
        session_id: object, as_ccf_records: bool = False
    ) -> dict[str, dict[str, Any]] | list[dict[str, Any]]:
        """Get where a session's probes are in the brain, as aligned in the IBL alignment app.

        The newest alignment of each probe counts, across all of the session's data assets and both
        generations of DocDB.

        Parameters
        ----------
        session_id
            The session, or any text with its ID.
        as_ccf_records
            Whether to return a row for each channel, for a table: `probe`, `channel`,
            `channel_index`, `axial`, `lateral`, `brain_region_id`, `brain_region`, and its place
            in the common coordinate framework, `ccf_ap`, `ccf_ml`, `ccf_dv`, in micrometres.

        Returns
        -------
        dict or list of dict
            By probe, the curation as it was saved (`channel_results`, `ccf_channel_results`); or
            the rows.

        Raises
        ------
        MissingAlignmentError
            No probe has been aligned (a `KeyError`).
        BadAnswerError
            Coordinates are larger than any brain (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> session_id = "ecephys_795555_2025-08-26_11-29-20"
        >>> probes = aind_session.ecephys.get_latest_ibl_annotations(session_id)
        >>> probes["ProbeA_0"]["channel_results"]["channel_0"]["brain_region"]
        'ACB'
        >>> rows = aind_session.ecephys.get_latest_ibl_annotations(session_id, as_ccf_records=True)
        >>> rows[0]["probe"], rows[0]["channel"], rows[0]["ccf_ap"]
        ('ProbeA_0', 'channel_0', 3959.097146987915)
        """
        found = alignments.latest(parse_session_id(session_id))
        return alignments.ccf_records(found) if as_ccf_records else found

    # -- older spellings ---------------------------------------------------------------------------

    sorted_data_asset: Alias[SortedDataAsset] = Alias(
        "sorted_data_assets[-1]", lambda self: self._latest()
    )
    sorted_data_dir: Alias[UPath] = Alias(
        "sorted_data_assets[-1].path", lambda self: self._latest().path
    )
    is_sorting_fail: Alias[bool] = Alias(
        "sorted_data_assets[-1].is_sorting_error", lambda self: self._latest().is_sorting_error
    )
    sorted_probes: Alias[tuple[str, ...]] = Alias(
        "sorted_data_assets[-1].sorted_probes", lambda self: self._latest().sorted_probes
    )
    SORTING_PIPELINE_ID: Alias[str] = Alias(
        "DEFAULT_SORTING_PIPELINE_ID", lambda place: place.DEFAULT_SORTING_PIPELINE_ID
    )
    TRIGGER_CAPSULE_ID: Alias[str] = Alias(
        "DEFAULT_TRIGGER_CAPSULE_ID", lambda place: place.DEFAULT_TRIGGER_CAPSULE_ID
    )

    def _latest(self) -> SortedDataAsset:
        found = self.sorted_data_assets
        if not found:
            raise MissingAttributeError(
                f"{self._base.id} has no sorted data asset.", name="sorted_data_assets"
            )
        return found[-1]
