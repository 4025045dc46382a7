"""Spike sorting and recordings of an ecephys session: `session.ecephys`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from aind_session.errors import MissingAttributeError
from aind_session.extension import ExtensionBaseClass
from aind_session.extensions.deprecated import Alias
from aind_session.extensions.sorted_data_assets import (
    SortedDataAsset,
    SortedProbe,
    Sorters,
    decode_sorted,
    sorted_summary,
    summary_of,
)
from aind_session.lookup import belonging, recordings, sorting
from aind_session.services import storage
from aind_session.services.models import DataAsset

__all__ = ["EcephysExtension", "SortedDataAsset", "SortedProbe"]

if TYPE_CHECKING:
    from upath import UPath

    from aind_session.session import Session

Asset: TypeAlias = "DataAsset | str"


class _Classes:
    # In a class of its own: beside methods that are annotated with it, its name would be ambiguous.
    SortedDataAsset = SortedDataAsset


class EcephysExtension(_Classes, ExtensionBaseClass):
    """What is known of a session's electrophysiology: its recording, and its spike sortings.

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

    # -- the recording -----------------------------------------------------------------------------

    @property
    def clipped_dir(self) -> UPath:
        """Folder of the recording's small files: settings, synchronisation, the first samples.

        Raises
        ------
        MissingAttributeError
            It is not there (an `AttributeError`).
        """
        folder = recordings.of_session(self._base._id, recordings.CLIPPED, "clipped_dir")
        return storage.path(folder.bucket, folder.prefix)

    @property
    def compressed_dir(self) -> UPath:
        """Folder of the recorded streams, a `.zarr` each.

        Raises
        ------
        MissingAttributeError
            It is not there (an `AttributeError`).
        """
        folder = recordings.of_session(self._base._id, recordings.COMPRESSED, "compressed_dir")
        return storage.path(folder.bucket, folder.prefix)

    @staticmethod
    def get_clipped_and_compressed_dirs(
        raw_data_asset_id_or_model: Asset,
    ) -> tuple[UPath, UPath]:
        """Get the two folders of a raw data asset's recording.

        Parameters
        ----------
        raw_data_asset_id_or_model
            A raw data asset, or its ID.

        Returns
        -------
        tuple of UPath
            `ecephys_clipped` and `ecephys_compressed`: in `ecephys/` or, of older assets, in the
            root; where both exist, the former.

        Raises
        ------
        MissingFileError
            One of them is not there (a `FileNotFoundError`).

        Examples
        --------
        >>> import aind_session
        >>> asset_id = "16d46411-540a-4122-b47f-8cb2a15d593a"
        >>> for path in aind_session.ecephys.get_clipped_and_compressed_dirs(asset_id):
        ...     print(path.name)
        ecephys_clipped
        ecephys_compressed
        """
        clipped, compressed = recordings.of_asset(summary_of(raw_data_asset_id_or_model))
        return (
            storage.path(clipped.bucket, clipped.prefix),
            storage.path(compressed.bucket, compressed.prefix),
        )

    # -- sortings ----------------------------------------------------------------------------------

    @property
    def is_sorted(self) -> bool:
        """Whether there is at least one sorted data asset that did not fail.

        The newest is asked first.
        """
        return sorting.is_sorted(self._base._id)

    @property
    def sorted_data_assets(self) -> tuple[SortedDataAsset, ...]:
        """All sorted data assets, ascending by creation, failed ones included.

        Raises
        ------
        CredentialsError, ServiceError
            Code Ocean could not be asked.
        """
        return tuple(decode_sorted(asset) for asset in sorting.of_session(self._base._id))

    @property
    def sorter(self) -> Sorters:
        """The spike sorters that were used, each an attribute: `sorter.kilosort2_5`."""
        return Sorters(self._base.id, lambda: sorting.by_sorter(self._base._id))

    @staticmethod
    def get_sorted_data_asset_model(sorted_data_asset_id: Asset) -> SortedDataAsset:
        """Get a sorted data asset.

        Parameters
        ----------
        sorted_data_asset_id
            Its ID, or its plain model.

        Raises
        ------
        InvalidIdentifierError
            It is not the result of a spike sorting (a `ValueError`).
        CodeOceanNotFoundError
            There is no asset of this ID (a `ValueError`).

        Examples
        --------
        >>> import aind_session
        >>> asset_id = "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
        >>> aind_session.ecephys.get_sorted_data_asset_model(asset_id).output[-39:]
        'FULL PIPELINE time:  161658.77s'
        """
        summary = sorted_summary(sorted_data_asset_id)
        if isinstance(sorted_data_asset_id, DataAsset):
            return SortedDataAsset.of(sorted_data_asset_id)
        return decode_sorted(summary)

    @staticmethod
    def is_sorted_data_asset(asset_id: Asset) -> bool:
        """Tell whether a data asset (or that of an ID) is the result of a spike sorting.

        By its name, `<session ID>_sorted...`, on any platform.
        """
        return belonging.is_sorted(summary_of(asset_id).name)

    @staticmethod
    def is_sorting_analyzer_asset(asset_id: Asset) -> bool:
        """Tell whether a sorted data asset (or that of an ID) holds a SortingAnalyzer."""
        return sorting.is_analyzer(summary_of(asset_id))

    @staticmethod
    def get_sorter_name(sorted_data_asset_id: Asset) -> str:
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
        return sorting.required_sorter_name(sorted_summary(sorted_data_asset_id))

    @staticmethod
    def get_sorted_probe_names(sorted_data_asset_id: Asset) -> tuple[str, ...]:
        """Get the names of the probes whose sorting was finished, each once, sorted."""
        return sorting.probe_names(sorted_summary(sorted_data_asset_id))

    @staticmethod
    def get_sorted_probes(sorted_data_asset_id: Asset) -> tuple[SortedProbe, ...]:
        """Get the streams whose sorting was finished: probe, serial number, group of shanks.

        Examples
        --------
        >>> import aind_session
        >>> asset_id = "1e11bdf5-b452-4fd9-bbb1-48383a9b0842"
        >>> aind_session.ecephys.get_sorted_probes(asset_id)[0].stream
        'experiment1_Record Node 102#Neuropix-PXI-100.ProbeA-AP_recording1'
        """
        return sorting.probes(sorted_summary(sorted_data_asset_id))

    # -- older spellings ---------------------------------------------------------------------------

    sorted_data_asset: Alias[SortedDataAsset] = Alias(
        "sorted_data_asset",
        "sorted_data_assets[-1]",
        lambda self: self._latest("sorted_data_asset"),
    )
    sorted_data_dir: Alias[UPath] = Alias(
        "sorted_data_dir",
        "sorted_data_assets[-1].path",
        lambda self: self._latest("sorted_data_dir").path,
    )
    is_sorting_fail: Alias[bool] = Alias(
        "is_sorting_fail",
        "sorted_data_assets[-1].is_sorting_error",
        lambda self: self._latest("is_sorting_fail").is_sorting_error,
    )
    sorted_probes: Alias[tuple[str, ...]] = Alias(
        "sorted_probes",
        "sorted_data_assets[-1].sorted_probes",
        lambda self: self._latest("sorted_probes").sorted_probes,
    )

    def _latest(self, attribute: str) -> SortedDataAsset:
        found = self.sorted_data_assets
        if not found:
            raise MissingAttributeError(
                f"{self._base.id} has no sorted data asset.", name=attribute
            )
        return found[-1]
