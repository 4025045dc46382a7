"""Sorted data assets of a session: who sorted them, what is in them, which of them failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aind_session import context
from aind_session.derived import ExtendedDataAsset
from aind_session.errors import InvalidIdentifierError, MissingAttributeError
from aind_session.extensions.ecephys import probes
from aind_session.extensions.ecephys.sorter_names import (
    as_attribute,
    normalised_sorter,
    read_sorter_name,
    require_sorter_name,
)
from aind_session.identifiers import SessionID
from aind_session.lookup import by_id, evidence, results, rules
from aind_session.lookup.failures import Failures
from aind_session.services.assets import Assets, get_asset
from aind_session.services.models import AssetSummary, decode_asset
from aind_session.threads import gather_all, outcomes
from aind_session.trace import note, tracing
from aind_session.utils import codeocean_utils

if TYPE_CHECKING:
    from typing_extensions import Self
    from upath import UPath

T = TypeVar("T")

#: Folder in which the results of SpikeInterface 0.101 and later keep their `*.zarr`.
_POSTPROCESSED = "postprocessed"
_NO_ANALYZER = frozenset({"nwb", "nextflow", "visualization", "curated", "spikesorted"})


def of_session(session: SessionID) -> Assets:
    """Return the sorted assets of a session, ascending by creation."""
    with tracing(session.id, "sorted data assets"):
        moment = context.current().cache.moment()
        found = results.sorted_assets(session, evidence.all_assets(session))
        if not found:
            note("No sorted data asset was found for %s", session.id)
        for asset in found:
            get_asset.store(asset, asset.id, moment=moment)
        return found


# -- models ----------------------------------------------------------------------------------------


class _Siblings:
    """Sorted assets that were returned together: a loop over them reads all files at once.

    The first asset is read on its own, unless the sorters of many were compared before; when a
    second one is read for the same, so are the rest.
    """

    MANY = 8

    def __init__(self, members: Assets, is_loop: bool = False) -> None:
        self.members, self.is_loop = members, is_loop and len(members) > self.MANY
        self.read: dict[str, set[str]] = {}

    def read_ahead(self, asset_id: str, what: str, ask: Callable[[AssetSummary], object]) -> None:
        seen = self.read.setdefault(what, set())
        seen.add(asset_id)
        if len(seen) > 1 or self.is_loop:
            seen.clear()
            # An error of another asset is raised when that one is read.
            outcomes(*(lambda a=a: ask(a) for a in self.members))


class SortedDataAsset(ExtendedDataAsset):
    """A data asset that a spike sorting left: Code Ocean's own model, and what its files contain.

    Equal to the plain model of the same asset. Each property reads the files on access; in a loop
    over the sortings of a session, those of all are read at the same time.

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

    _siblings: _Siblings | None = None

    @classmethod
    def of_summaries(cls, some: Assets, is_loop: bool = False) -> tuple[Self, ...]:
        """Make the models of a session's sorted assets."""
        siblings = _Siblings(some, is_loop)
        made = tuple(cls.of(decode_asset(summary.raw)) for summary in some)
        for asset in made:
            # The model is frozen; this is not one of its fields, and not compared.
            object.__setattr__(asset, "_siblings", siblings)
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_siblings"}

    def _each(self, what: str, ask: Callable[[AssetSummary], T]) -> T:
        summary = codeocean_utils.summary_of(self)
        with tracing(results.about(summary), f"{what} of {self.id}"):
            # The siblings are read in their own folders, not in those that a program chose.
            if self._siblings is not None and not _is_replaced():
                self._siblings.read_ahead(self.id, what, ask)
            return ask(summary)

    @property
    def path(self) -> UPath:
        """Folder of the files, in S3.

        Raises
        ------
        MissingAttributeError
            The asset does not name it (an `AttributeError`).
        """
        chosen = codeocean_utils.get_data_asset_source_dir(self.id) if _is_replaced() else None
        found = chosen or super().path
        if found is None:
            raise MissingAttributeError(
                f"Data asset {self.id} ({self.name}) does not name the folder of its files: it is "
                "outside of Code Ocean, and has no source bucket.",
                name="path",
            )
        return found

    @property
    def output(self) -> str:
        """Log of the sorting pipeline.

        Raises
        ------
        MissingFileError
            It has none: the run failed (a `FileNotFoundError`).
        """
        return self._each("output", results.output_of_asset)

    @property
    def sorted_probes(self) -> tuple[str, ...]:
        """Names of the probes whose sorting was finished, sorted; `()` if none was."""
        return probes.names(self._each("probes", probes.of_asset))

    @property
    def sorter_name(self) -> str:
        """The name of the spike sorter, as the files write it.

        Raises
        ------
        MissingFileError
            No file names it: the sorting finished for no probe (a `FileNotFoundError`).
        """
        return self._each("sorter name", require_sorter_name)

    @property
    def is_sorting_error(self) -> bool:
        """Whether the sorting failed: by its log, or because no sorted stream is in its folder."""
        return self._each("failed", results.failure) is not None

    @property
    def is_sorting_analyzer(self) -> bool:
        """Whether it holds a SortingAnalyzer: SpikeInterface 0.101 and later."""
        return self._each("analyzer", is_analyzer)


def _is_replaced() -> bool:
    """Whether a program chooses the folders of data assets."""
    return codeocean_utils.replacement("get_data_asset_source_dir") is not None


def sorted_summary(asset: by_id.AssetLike) -> AssetSummary:
    """Return what lookups need of a sorted data asset."""
    summary = codeocean_utils.summary_of(asset)
    if not rules.is_sorted(summary.name):
        raise InvalidIdentifierError(
            f"Data asset {summary.id} is {summary.name!r}: not a spike sorting, which would be "
            "named <session ID>_sorted..."
        )
    return summary


def is_analyzer(asset: AssetSummary) -> bool:
    """Whether a result holds a SortingAnalyzer (SpikeInterface 0.101 and later)."""
    if rules.is_raw(asset):
        # The streams of raw data are `*.zarr`, in the same place.
        return False
    if results.cached_listing(asset) is None:
        found = results.listing(asset, _POSTPROCESSED)
        if found.exists:
            return _has_zarr(found.folders)
    inside = [n for n in results.listing(asset).folders if n not in _NO_ANALYZER]
    if _POSTPROCESSED in inside:
        inside = [_POSTPROCESSED]
    listed = gather_all(lambda name: results.listing(asset, name), inside)
    return any(_has_zarr(found.folders) for found in listed)


def _has_zarr(names: Iterable[str]) -> bool:
    return any(name.endswith(".zarr") for name in names)


# -- by sorter -------------------------------------------------------------------------------------


def by_sorter(session: SessionID) -> dict[str, Assets]:
    """Return the sorted assets by the name of their sorter, written as an attribute."""
    with tracing(session.id, "sorters"):
        failures = Failures("sorters of some sorted data assets")
        found = of_session(session)
        answers = outcomes(*(partial(read_sorter_name, a) for a in found))
        names: dict[str, list[AssetSummary]] = {}
        spelling: dict[str, str] = {}
        for asset, outcome in zip(found, answers, strict=True):
            name = failures.value_or(None, outcome)
            if name is not None:
                spelled = spelling.setdefault(normalised_sorter(name), as_attribute(name))
                names.setdefault(spelled, []).append(asset)
        if not names:
            failures.raise_error()
        failures.warn()
        return {name: tuple(names[name]) for name in sorted(names)}


class Sorter:
    """A spike sorter of a session.

    Attributes
    ----------
    name : str
        Its name, as an attribute of `session.ecephys.sorter`.
    """

    def __init__(self, name: str, assets: Assets) -> None:
        self.name = name
        self._assets = assets

    def __repr__(self) -> str:
        return f"<Sorter {self.name}, {len(self._assets)} sorted data assets>"

    @property
    def sorted_data_assets(self) -> tuple[SortedDataAsset, ...]:
        """The data assets that it sorted, ascending by creation, failed ones included."""
        return SortedDataAsset.of_summaries(self._assets)


class Sorters:
    """The spike sorters of a session, each an attribute, in any spelling of its name.

    The attribute of a sorter that sorted nothing has no assets; `sorter[name]` raises an error.

    Examples
    --------
    >>> import aind_session
    >>> sorter = aind_session.Session("ecephys_676909_2023-12-13_13-43-40").ecephys.sorter
    >>> sorter.names
    ('kilosort2_5',)
    >>> sorter.kilosort2_5.sorted_data_assets == sorter["Kilosort2.5"].sorted_data_assets
    True
    """

    def __init__(self, session_id: str, look_up: Callable[[], dict[str, Assets]]) -> None:
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
            # Completion shows no errors: the services do not answer just now.
            found = ()
        return sorted({"names", *found})

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __getitem__(self, name: str) -> Sorter:
        found = self._find(name)
        if found is None:
            names = ", ".join(self.names)
            there = f"its sorters are: {names}" if names else "none of its sortings names a sorter"
            raise MissingAttributeError(
                f"{self._session_id} has no sorting by {name!r}: {there}.", name=name
            )
        return found

    def __getattr__(self, name: str) -> Sorter:
        if name.startswith("_") and not name[1:2].isdigit():
            raise AttributeError(name)
        return self._find(name) or Sorter(name, ())

    def _find(self, name: str) -> Sorter | None:
        wanted = normalised_sorter(name)
        for spelled, some in self._look_up().items():
            if normalised_sorter(spelled) == wanted:
                return Sorter(spelled, some)
        return None
