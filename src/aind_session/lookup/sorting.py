"""Spike sortings of a session: its sorted assets, which of them failed, and what they hold."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from aind_session import settings
from aind_session.errors import MissingSorterNameError
from aind_session.forking import when_forked
from aind_session.identifiers import SessionID
from aind_session.lookup import (
    asset_files,
    assets,
    belonging,
    outputs,
    sorted_probes,
    sorter_names,
    trail,
)
from aind_session.lookup.assets import Known
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import CODE_OCEAN, Assets
from aind_session.lookup.sorted_probes import SortedProbe
from aind_session.records import Record
from aind_session.services import keeping, pool, storage
from aind_session.services.models import AssetSummary

T = TypeVar("T")

#: How many sorted assets are asked at once, the newest first, until one has not failed.
_AT_ONCE = (1, 4)
#: Root folders in which the results of SpikeInterface 0.101 and later keep their `*.zarr`.
_POSTPROCESSED = "postprocessed"
_NO_ANALYZER = frozenset({"nwb", "nextflow", "visualization", "curated", "spikesorted"})


def sorted_assets(some: Iterable[AssetSummary]) -> Assets:
    """Choose the sorted assets, ascending by creation."""
    return assets.ascending(asset for asset in some if belonging.is_sorted(asset.name))


def of_session(session: SessionID) -> Assets:
    """Give the sorted assets of a session, ascending by creation.

    Raises
    ------
    CredentialsError, ServiceError
        Code Ocean could not be asked: it alone has data assets.
    """
    with trail.following(session.id, "sorted data assets"):
        found = _of(session, assets.session_assets(session))
        if not found:
            trail.tell("No sorted data asset was found for %s", session.id)
        for asset in found:
            trail.learn(CODE_OCEAN, ("asset", asset.id), (asset,))
        remember(found)
        return found


def _of(session: SessionID, some: Assets) -> Assets:
    # A record can link another session's sorting.
    return tuple(a for a in sorted_assets(some) if _is_same(session, a.name))


def _is_same(session: SessionID, name: str) -> bool:
    found = belonging.session_of(name)
    return found is not None and (found.subject_id, found.date, found.time) == (
        session.subject_id,
        session.date,
        session.time,
    )


# -- sorted, failed --------------------------------------------------------------------------------


def is_sorted(session: SessionID) -> bool:
    """Tell whether a session has a sorted asset that did not fail; the newest is asked first.

    Without Code Ocean, what DocDB and S3 know is the answer, where it is yes.

    Raises
    ------
    CredentialsError, ServiceError
        None that did not fail was found, and a service could not be asked.
    """
    with trail.following(session.id, "sorted"):
        known = assets.of_session(session, "sortings that only this service knows")
        if CODE_OCEAN in known.gaps.errors:
            candidates = _of_rows(known)
        else:
            candidates = _of(session, assets.open_linked(known))
        found = _any_good(candidates, known.gaps)
        if not found:
            known.gaps.raise_first()
            trail.tell(
                "%s is not sorted: %s",
                session.id,
                f"{len(candidates)} sortings failed" if candidates else "no sorted data asset",
            )
        known.gaps.warn()
        return found


def _any_good(candidates: Sequence[AssetSummary], gaps: Gaps) -> bool:
    # What is still being captured has not failed, and cannot be used either.
    newest_first = [a for a in reversed(candidates) if a.state.lower() != "draft"]
    for size in (*_AT_ONCE, len(newest_first)):
        group, newest_first = newest_first[:size], newest_first[size:]
        asked = pool.outcomes(*(lambda a=a: outputs.is_asset_error(a) for a in group))
        failed = [gaps.fill(None, outcome, True) for outcome in asked]
        if not all(failed):
            return True
    return False


def _of_rows(known: Known) -> Assets:
    """Make of DocDB's records what is needed of the assets that they tell of."""
    found = {}
    for row in known.rows:
        if belonging.is_sorted(row.name) and row.location.startswith("s3://"):
            found[row.location] = _from_record(row.name, row.record)
    return tuple(sorted(found.values(), key=lambda a: (a.created, a.id)))


def _from_record(name: str, record: Record) -> AssetSummary:
    bucket, prefix = storage.split(record.location or "")
    ids = record.codeocean_ids
    created = record.created
    return AssetSummary(
        id=ids[0] if ids else prefix,
        name=name,
        created=int(created.timestamp()) if created is not None else 0,
        tags=(),
        custom_metadata={},
        bucket=bucket,
        prefix=prefix,
        external=bucket != settings.RESULTS_BUCKET,
        state="ready",
        type="result",
        archived=False,
        raw=b"",
    )


# -- of one asset ----------------------------------------------------------------------------------


def is_failed(asset: AssetSummary) -> bool:
    """Tell whether a sorting failed; as `outputs.is_asset_error`."""
    return _each(asset, "failed", outputs.is_asset_error)


def output(asset: AssetSummary) -> str:
    """Give the log of a sorting; as `outputs.output_of_asset`."""
    return _each(asset, "output", outputs.output_of_asset)


def sorter_name(asset: AssetSummary) -> str | None:
    """Give the name of the sorter, None where the sorting finished for no probe."""
    return _each(asset, "sorter name", sorter_names.of_asset)


def required_sorter_name(asset: AssetSummary) -> str:
    """Give the name of the sorter.

    Raises
    ------
    MissingSorterNameError
        No file names it (a `FileNotFoundError`, a `ValueError`): the sorting finished for no probe.
    """
    with trail.following(asset.id, "sorter name"):
        name = sorter_name(asset)
        if name is None:
            raise MissingSorterNameError(
                f"No file of data asset {asset.id} ({asset.name}) names the sorter: the sorting "
                "did not finish for any probe.",
                trail=trail.lines(),
            )
        return name


def probes(asset: AssetSummary) -> tuple[SortedProbe, ...]:
    """Give the streams whose sorting was finished, sorted by probe."""
    return _each(asset, "probes", sorted_probes.of_asset)


def probe_names(asset: AssetSummary) -> tuple[str, ...]:
    """Give the probes whose sorting was finished, each once, sorted."""
    return tuple(dict.fromkeys(probe.name for probe in probes(asset)))


def is_analyzer(asset: AssetSummary) -> bool:
    """Tell whether a result holds a SortingAnalyzer (SpikeInterface 0.101 and later)."""
    # The streams of raw data are `*.zarr`, in the same place.
    return not belonging.is_raw(asset) and _each(asset, "analyzer", _is_analyzer)


def _is_analyzer(asset: AssetSummary) -> bool:
    root = asset_files.known_listing(asset)
    if root is None:
        found = asset_files.listing(asset, _POSTPROCESSED)
        if found.exists:
            return _has_zarr(found.folders)
    root = asset_files.listing(asset)
    inside = [name for name in root.folders if name not in _NO_ANALYZER]
    if _POSTPROCESSED in inside:
        inside = [_POSTPROCESSED]
    return any(
        _has_zarr(found.folders)
        for found in pool.gather_all(lambda name: asset_files.listing(asset, name), inside)
    )


def _has_zarr(names: Iterable[str]) -> bool:
    return any(name.endswith(".zarr") for name in names)


# -- by sorter -------------------------------------------------------------------------------------


def by_sorter(session: SessionID) -> dict[str, Assets]:
    """Give the sorted assets by the name of their sorter, as an attribute would be named."""
    with trail.following(session.id, "sorters"):
        gaps = Gaps("sorters of some sorted data assets")
        found = of_session(session)
        asked = pool.outcomes(*(lambda a=a: sorter_names.of_asset(a) for a in found))
        _note_comparison(found)
        names: dict[str, list[AssetSummary]] = {}
        spelling: dict[str, str] = {}
        for asset, outcome in zip(found, asked, strict=True):
            name = gaps.fill(None, outcome, None)
            if name is not None:
                plain = sorter_names.normalise(name)
                spelled = spelling.setdefault(plain, sorter_names.as_attribute(name))
                names.setdefault(spelled, []).append(asset)
        if not names:
            gaps.raise_first()
        gaps.warn()
        return {name: tuple(names[name]) for name in sorted(names)}


# -- together --------------------------------------------------------------------------------------


class _Group:
    """Sorted assets that were found together, and which of them were asked for what.

    Attributes
    ----------
    compared
        Whether all of them have been asked something.
    """

    def __init__(self, members: Assets) -> None:
        self.members = members
        self.asked: dict[str, set[str]] = {}
        self.compared = False

    def begins_loop(self, asset_id: str, what: str) -> bool:
        """Note that an asset is asked for something; tell whether all will be, as it seems."""
        asked = self.asked.setdefault(what, set())
        asked.add(asset_id)
        # With many of them, who has compared them goes on doing so: no round trip is spent on
        # making sure.
        begins = len(asked) > 1 or (self.compared and len(self.members) > _MANY)
        if begins:
            asked.clear()
        return begins


_MANY = 8


#: Assets remembered with those that they were found with.
KEPT = 5_000
_groups: OrderedDict[str, _Group] = OrderedDict()
_lock = threading.Lock()


def _new_lock() -> None:
    global _lock
    _lock = threading.Lock()


def _forget_groups() -> None:
    with _lock:
        _groups.clear()


when_forked(_new_lock)
keeping.when_reset(_forget_groups)


def remember(found: Assets) -> None:
    """Note that some sorted assets were found together."""
    if len(found) < 2:
        return
    with _lock:
        ids = [asset.id for asset in found]
        known = _groups.get(ids[0])
        group = _Group(found)
        if known is not None and [a.id for a in known.members] == ids:
            group.asked, group.compared = known.asked, known.compared
        for asset_id in ids:
            _groups[asset_id] = group
            _groups.move_to_end(asset_id)
        while len(_groups) > KEPT:
            _groups.popitem(last=False)


def _note_comparison(found: Assets) -> None:
    with _lock:
        group = _groups.get(found[0].id) if found else None
        if group is not None:
            group.compared = True


def _each(asset: AssetSummary, what: str, ask: Callable[[AssetSummary], T]) -> T:
    """Ask one asset; all that it was found with at once, when a second one is asked the same.

    Who asks two of them in a row is in all likelihood in a loop over all.
    """
    with _lock:
        group = _groups.get(asset.id)
        together = group.members if group and group.begins_loop(asset.id, what) else ()
    session = belonging.session_of(asset.name)
    with trail.following(asset.id if session is None else session.id, f"{what} of {asset.id}"):
        # What goes wrong with the others is told when they are asked for themselves.
        pool.outcomes(*(lambda a=a: ask(a) for a in together))
        return ask(asset)
