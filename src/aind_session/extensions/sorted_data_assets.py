"""Data assets that a spike sorting left, and the sorters of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from aind_session.derived import ExtendedDataAsset
from aind_session.errors import InvalidIdentifierError, MissingAttributeError
from aind_session.lookup import belonging, folders, sorter_names, sorting
from aind_session.lookup.sorted_probes import SortedProbe as SortedProbe
from aind_session.services import storage
from aind_session.services.models import AssetSummary, DataAsset, decode_asset
from aind_session.utils import codeocean_utils
from aind_session.utils.codeocean_utils import summary_of as summary_of

if TYPE_CHECKING:
    from upath import UPath


class SortedDataAsset(ExtendedDataAsset):
    """A data asset that a spike sorting left: Code Ocean's own model, and what its files tell.

    Equal to the plain model of the same asset. Each property reads the files when it is asked;
    when a second asset of a session is asked the same, all its sortings are, at the same time.

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    >>> asset = session.ecephys.sorted_data_assets[0]
    >>> asset.sorter_name, asset.is_sorting_error
    ('kilosort2_5', False)
    >>> asset.sorted_probes
    ('ProbeA', 'ProbeB', 'ProbeC', 'ProbeD', 'ProbeE', 'ProbeF')
    """

    @property
    def path(self) -> UPath:
        """Folder of the files, in S3.

        Raises
        ------
        MissingAttributeError
            The asset does not tell where they are (an `AttributeError`).
        """
        if codeocean_utils.replacement("get_data_asset_source_dir") is not None:
            return codeocean_utils.get_data_asset_source_dir(self.id)
        folder = folders.of_asset(summary_of(self))
        if folder is None:
            raise MissingAttributeError(
                f"Data asset {self.id} ({self.name}) does not tell where its files are: it lies "
                "outside of Code Ocean, and has no source bucket.",
                name="path",
            )
        return storage.path(folder.bucket, folder.prefix)

    @property
    def output(self) -> str:
        """Log of the sorting pipeline.

        Raises
        ------
        MissingFileError
            There is none: the run failed (a `FileNotFoundError`).
        """
        return sorting.output(summary_of(self))

    @property
    def sorted_probes(self) -> tuple[str, ...]:
        """Names of the probes whose sorting was finished, sorted; `()` where none was."""
        return sorting.probe_names(summary_of(self))

    @property
    def sorter_name(self) -> str:
        """Name of the spike sorter, as the files write it.

        Raises
        ------
        MissingFileError
            No file names it: the sorting finished for no probe (a `FileNotFoundError`).
        """
        return sorting.required_sorter_name(summary_of(self))

    @property
    def is_sorting_error(self) -> bool:
        """Whether the run failed, by its log and by what it left."""
        return sorting.is_failed(summary_of(self))

    @property
    def is_sorting_analyzer(self) -> bool:
        """Whether it holds a SortingAnalyzer: SpikeInterface 0.101 and later."""
        return sorting.is_analyzer(summary_of(self))


def sorted_summary(asset: DataAsset | str) -> AssetSummary:
    """Give what lookups need of a sorted data asset.

    Raises
    ------
    InvalidIdentifierError
        It is not the result of a sorting (a `ValueError`).
    """
    summary = summary_of(asset)
    if not belonging.is_sorted(summary.name):
        raise InvalidIdentifierError(
            f"Data asset {summary.id} is {summary.name!r}: no spike sorting, which would be named "
            "<session ID>_sorted..."
        )
    return summary


def decode_sorted(summary: AssetSummary) -> SortedDataAsset:
    """Make the model of a sorted data asset, anew each time."""
    return SortedDataAsset.of(decode_asset(summary.raw))


class Sorter:
    """A spike sorter of a session.

    Attributes
    ----------
    name : str
        Its name, as an attribute of `session.ecephys.sorter`.
    """

    def __init__(self, name: str, assets: tuple[AssetSummary, ...]) -> None:
        self.name = name
        self._assets = assets

    def __repr__(self) -> str:
        return f"<Sorter {self.name}, {len(self._assets)} sorted data assets>"

    @property
    def sorted_data_assets(self) -> tuple[SortedDataAsset, ...]:
        """The data assets that it sorted, ascending by creation, failed ones included."""
        return tuple(decode_sorted(asset) for asset in self._assets)


class Sorters:
    """The spike sorters of a session, each an attribute, in any spelling of its name.

    Examples
    --------
    >>> import aind_session
    >>> sorter = aind_session.Session("ecephys_676909_2023-12-13_13-43-40").ecephys.sorter
    >>> sorter.names
    ('kilosort2_5',)
    >>> sorter.kilosort2_5.sorted_data_assets == sorter["Kilosort2.5"].sorted_data_assets
    True
    """

    def __init__(
        self, session_id: str, look_up: Callable[[], dict[str, tuple[AssetSummary, ...]]]
    ) -> None:
        self._session_id = session_id
        self._look_up = look_up

    def __repr__(self) -> str:
        return f"<Sorters of {self._session_id}>"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sorters, sorted; a sorting that finished for no probe has none."""
        return tuple(self._look_up())

    def __dir__(self) -> list[str]:
        try:
            found = self.names
        except Exception:
            # Completion is no place for errors: the services cannot be asked just now.
            found = ()
        return sorted({"names", *found})

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __getitem__(self, name: str) -> Sorter:
        found = self._find(name)
        if found is None:
            raise self._missing(name)
        return found

    def __getattr__(self, name: str) -> Sorter:
        if name.startswith("_") and not name[1:2].isdigit():
            raise AttributeError(name)
        # Programs compare sorters by name: one that was not used has no assets.
        return self._find(name) or Sorter(name, ())

    def _find(self, name: str) -> Sorter | None:
        wanted = sorter_names.normalise(name)
        for known, assets in self._look_up().items():
            if sorter_names.normalise(known) == wanted:
                return Sorter(known, assets)
        return None

    def _missing(self, name: str) -> MissingAttributeError:
        known = ", ".join(self.names)
        there = f"its sorters are: {known}" if known else "no sorting of it names its sorter"
        return MissingAttributeError(
            f"{self._session_id} has no sorting by {name!r}: {there}.", name=name
        )
