"""The rules that decide what an asset is and whose: pure functions, no requests.

The rules are working knowledge of the field: a search finds more than was meant, so that names are
checked again here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from aind_session.identifiers import (
    SessionID,
    label_family,
    normalise_label,
    session_in_name,
    split_asset_name,
)
from aind_session.trace import note

if TYPE_CHECKING:
    from aind_session.lookup.evidence import Evidence
    from aind_session.services.models import AssetSummary


class HasNameAndTags(Protocol):
    """The part of a data asset that rules read: of a summary, or the SDK's own model."""

    @property
    def name(self) -> str:
        """Name, mostly that of the session followed by a label and a date."""

    @property
    def tags(self) -> Iterable[str] | None:
        """Tags, as users gave them."""

    @property
    def custom_metadata(self) -> Mapping[str, object] | None:
        """Custom fields."""


def is_raw(asset: HasNameAndTags) -> bool:
    """Return True if an asset is raw data.

    The custom field `data level` or a tag is `raw`, or the name is a session ID and nothing more. A
    `raw` tag on a name with a derived label is a copy error.
    """
    parts = split_asset_name(asset.name)
    if parts.is_session_name:
        # Copied metadata can call a raw asset derived, never the name.
        return True
    if parts.session is not None and parts.label is not None and not parts.is_raw:
        return False
    level = str((asset.custom_metadata or {}).get("data level") or "").strip().lower()
    if level:
        return level in ("raw", "raw data")
    return "raw" in {str(tag).strip().lower() for tag in asset.tags or ()}


_DATE = r"\d{4}-\d{2}-\d{2}"
_DATE_TIME = rf"{_DATE}_\d{{2}}-\d{{2}}-\d{{2}}"
#: `ecephys_791094_2025-10-09_sorted_2026-04-23_14-11-00`: captured without the session's time.
_INCOMPLETE = re.compile(
    r"(?:[A-Za-z][A-Za-z-]*_)?[A-Za-z.]*\d[A-Za-z0-9.]*"
    rf"(?:_{_DATE})?_(?P<label>[A-Za-z].*?)(?:_{_DATE_TIME})?"
)


def label_of(name: str) -> str | None:
    """Return the last label in an asset's name, also if the name has no complete session ID.

    Examples
    --------
    >>> label_of("ecephys_791094_2025-10-09_sorted_2026-04-23_14-11-00")
    'sorted'
    """
    parts = split_asset_name(name)
    if parts.session is not None:
        return parts.label
    incomplete = _INCOMPLETE.fullmatch(name)
    return incomplete["label"] if incomplete else None


def is_sorted(name: str) -> bool:
    """Return True if an asset's name is that of a spike sorting, on any platform.

    Examples
    --------
    >>> session = "ecephys_676909_2023-12-13_13-43-40"
    >>> is_sorted(f"{session}_sorted-ks2.5_2024-03-01_16-02-45"), is_sorted(f"{session}_nwb")
    (True, False)
    """
    parts = split_asset_name(name)
    label = label_of(name) if parts.session is None else None
    if parts.steps:
        label = parts.steps[0].label
    return (label or "").lower().startswith("sorted")


class _Inputs(msgspec.Struct):
    data_assets: list[str] | None = None


class _Provenance(msgspec.Struct):
    provenance: _Inputs | None = None
    results_info: _Inputs | None = None


_provenance = msgspec.json.Decoder(_Provenance)


def input_ids(asset: AssetSummary) -> tuple[str, ...]:
    """Return the IDs of the data assets attached to the run that made an asset."""
    try:
        own = _provenance.decode(asset.raw)
    except msgspec.MsgspecError:
        return ()
    holders = (own.provenance, own.results_info)
    return tuple(dict.fromkeys(i for h in holders if h for i in h.data_assets or ()))


def sessions_of_assets(assets: Iterable[AssetSummary]) -> dict[str, SessionID]:
    """Return the session of each asset that has one, by the asset's ID.

    By its name; a derived asset without a session in its name belongs to the one session whose raw
    asset it was made of.
    """
    found: dict[str, SessionID] = {}
    raw: dict[str, SessionID] = {}
    nameless: list[AssetSummary] = []
    for asset in assets:
        session = session_in_name(asset.name)
        if session is None:
            nameless.append(asset)
            continue
        found[asset.id] = session
        if is_raw(asset):
            raw[asset.id] = session
    for asset in nameless:
        made_of = {raw[i] for i in input_ids(asset) if i in raw} if raw else set()
        if len(made_of) == 1 and not is_raw(asset):
            found[asset.id] = made_of.pop()
    return found


def is_usable(asset: AssetSummary) -> bool:
    """Return True unless an asset is a draft or failed: an unknown state may be fine."""
    return asset.state.lower() not in ("draft", "failed")


def newest(assets: Iterable[AssetSummary]) -> AssetSummary | None:
    """Return the asset that was created last."""
    return max(assets, key=lambda a: (a.created, a.id), default=None)


def choose_raw(assets: Iterable[AssetSummary]) -> AssetSummary | None:
    """Return the raw asset of a session: the newest that can be used, else the newest."""
    raw = [asset for asset in assets if is_raw(asset)]
    chosen = newest_usable(raw)
    if chosen is not None and len(raw) > 1:
        state = "that can be used" if is_usable(chosen) else f"({chosen.state})"
        note("%d raw data assets: the newest %s, %s, is used", len(raw), state, chosen.id)
    return chosen


def newest_usable(assets: Iterable[AssetSummary]) -> AssetSummary | None:
    """Return the newest asset that can be used; if none can, the newest."""
    every = list(assets)
    return newest(filter(is_usable, every)) or newest(every)


def ascending(assets: Iterable[AssetSummary]) -> tuple[AssetSummary, ...]:
    """Sort assets by creation; drop duplicates and archived ones."""
    unique = {asset.id: asset for asset in assets if not asset.archived}
    return tuple(sorted(unique.values(), key=lambda a: (a.created, a.id)))


def other_spelling(session: SessionID, among: Iterable[SessionID]) -> SessionID | None:
    """Return the one session with the same subject and time that has a platform if this has none.

    And the other way round. None if there is none, or more than one.
    """
    others = {
        other
        for other in among
        if (other.subject_id, other.date, other.time)
        == (session.subject_id, session.date, session.time)
        and (other.platform is None) != (session.platform is None)
    }
    return others.pop() if len(others) == 1 else None


# Earlier values of the custom field `experiment type`.
OLDER_PLATFORMS = {"ephys": "ecephys"}


def current_platform(name: str) -> str:
    """Return the current name of a platform: `ephys` is `ecephys`."""
    return OLDER_PLATFORMS.get(name, name)


def platform_of(evidence: Evidence) -> str | None:
    """Return the platform in a session's assets and records, those of raw data first."""
    for asset in sorted(evidence.assets, key=lambda a: not is_raw(a)):
        kind = asset.custom_metadata.get("experiment type")
        if kind:
            return current_platform(str(kind))
    records = sorted(evidence.records, key=lambda r: not split_asset_name(r.name).is_raw)
    for summary in records:
        platform = summary.record.platform
        if platform:
            return current_platform(platform)
    names = (*(a.name for a in evidence.assets), *(r.name for r in records))
    platforms = (found.platform for found in map(session_in_name, names) if found is not None)
    return next(filter(None, platforms), None)


# -- labels ----------------------------------------------------------------------------------------


#: Labels under which the results of every tool count as the same.
_LABELS_OF_ANY_TOOL = frozenset({"sorted", "curated"})


def same_label(label: str) -> str:
    """Write a label in the one way that all its spellings share.

    `sorted`, `sorted-ks2.5` and `sortedKS4` are one label, and so is what different people curated;
    `dlc-eye` and `dlc_face` are two.
    """
    family = label_family(label)
    return family if family in _LABELS_OF_ANY_TOOL else normalise_label(label)


def by_label(some: Iterable[AssetSummary]) -> dict[str, tuple[AssetSummary, ...]]:
    """Group derived assets by label, spellings joined, each group ascending by creation.

    An asset without a label (a name of its own) is under an empty text.
    """
    found: dict[str, list[AssetSummary]] = {}
    for asset in some:
        if not is_raw(asset):
            label = label_of(asset.name)
            found.setdefault(same_label(label) if label else "", []).append(asset)
    return {label: tuple(of) for label, of in sorted(found.items())}


def labelled(
    of_label: Mapping[str, tuple[AssetSummary, ...]], wanted: str
) -> tuple[AssetSummary, ...]:
    """Return the assets of a label in any spelling: `dlc` also has those of `dlc-eye`."""
    same = same_label(wanted)
    return ascending(
        asset
        for label, of in of_label.items()
        if label == same or label.startswith(f"{same}-")
        for asset in of
    )


def label_hint(wanted: str, labels: Iterable[str]) -> str:
    """Return a suggestion if no existing label is `wanted`, but one is similar; else "".

    Examples
    --------
    >>> label_hint("srted", ["nwb", "sorted"])
    "No result labelled 'srted' was found. Did you mean 'sorted'?"
    """
    same = same_label(wanted)
    others = sorted({label for label in labels if label})
    if any(label == same or label.startswith(f"{same}-") for label in others):
        return ""
    # `dlc-face` is not a misspelled `dlc-eye`.
    near = difflib.get_close_matches(same, others, n=1, cutoff=0.8)
    return f"No result labelled {wanted!r} was found. Did you mean {near[0]!r}?" if near else ""
