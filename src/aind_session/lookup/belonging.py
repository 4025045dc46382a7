"""Ownership rules: which session or subject an asset or a record belongs to.

From the field's working knowledge. A search returns more than was meant, so every name is checked
again here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from aind_session.identifiers import AssetName, SessionID, split_asset_name

if TYPE_CHECKING:
    from aind_session.records import Record
    from aind_session.services.models import AssetSummary


class HasNameAndTags(Protocol):
    """What the rules read of a data asset: a summary, or the client's own model."""

    @property
    def name(self) -> str:
        """Name, in most cases that of the session with a label and a date behind."""

    @property
    def tags(self) -> Iterable[str] | None:
        """Tags, as users gave them."""

    @property
    def custom_metadata(self) -> Mapping[str, object] | None:
        """Custom fields."""


@functools.lru_cache(maxsize=65_536)
def named(name: str) -> AssetName:
    """Split an asset's name, once."""
    return split_asset_name(name)


def session_of(name: str) -> SessionID | None:
    """Return the session in an asset's or a record's name."""
    return named(name).session


def subject_field(asset: AssetSummary) -> str:
    """Return an asset's own custom field `subject id`, or an empty text."""
    return str(asset.custom_metadata.get("subject id") or "").strip()


_DATE = r"\d{4}-\d{2}-\d{2}"
_DATE_TIME = rf"{_DATE}_\d{{2}}-\d{{2}}-\d{{2}}"
_DATES = re.compile(rf"{_DATE}(?:_\d{{2}}-\d{{2}}-\d{{2}})?")
_SEPARATORS = re.compile(r"[_\-]+")
#: `ecephys_791094_2025-10-09_sorted_2026-04-23_14-11-00`: captured without the session's time.
_INCOMPLETE = re.compile(
    r"(?:[A-Za-z][A-Za-z-]*_)?[A-Za-z.]*\d[A-Za-z0-9.]*"
    rf"(?:_{_DATE})?_(?P<label>[A-Za-z].*?)(?:_{_DATE_TIME})?"
)


def subjects_of_asset(asset: AssetSummary) -> tuple[str, ...]:
    """Return the subjects of an asset: by the session in its name, else its field, else its tags.

    A tag counts if it is also a part of the name of its own, between separators.
    """
    session = session_of(asset.name)
    owner = session.subject_id if session else subject_field(asset)
    if owner:
        return (owner,)
    parts = _SEPARATORS.split(_DATES.sub("_", asset.name)) if asset.tags else ()
    tagged = (tag.strip() for tag in asset.tags if any(c.isdigit() for c in tag))
    return tuple(dict.fromkeys(tag for tag in tagged if tag in parts))


def subject_of_asset(asset: AssetSummary) -> str:
    """Return the first subject of an asset, or an empty text."""
    return next(iter(subjects_of_asset(asset)), "")


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
        session = session_of(asset.name)
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


def subject_of_record(record: Record) -> str:
    """Return a record's subject: by the session in its name, else by the record."""
    session = session_of(record.name or "")
    return session.subject_id if session else record.subject_id or ""


def is_raw(asset: HasNameAndTags) -> bool:
    """Return True if an asset is raw data.

    The custom field `data level` or a tag is `raw`, or the name is a session ID and nothing
    more. A `raw` tag on a name with a derived label is a copy error.
    """
    parts = named(asset.name)
    level = str((asset.custom_metadata or {}).get("data level") or "").strip().lower()
    if parts.is_session_name:
        # Copied metadata can call a raw asset derived, never the name.
        return True
    if parts.session is not None and parts.label is not None and not parts.is_raw:
        return False
    if level:
        return level in ("raw", "raw data")
    return "raw" in {str(tag).strip().lower() for tag in asset.tags or ()}


def label_of(name: str) -> str | None:
    """Return the last label in an asset's name, also if the name has no complete session ID.

    Examples
    --------
    >>> label_of("ecephys_791094_2025-10-09_sorted_2026-04-23_14-11-00")
    'sorted'
    """
    parts = named(name)
    if parts.session is not None:
        return parts.label
    incomplete = _INCOMPLETE.fullmatch(name)
    return incomplete["label"] if incomplete else None


def is_sorted(name: str) -> bool:
    """Whether an asset's name is that of a spike sorting, on any platform.

    Examples
    --------
    >>> session = "ecephys_676909_2023-12-13_13-43-40"
    >>> is_sorted(f"{session}_sorted-ks2.5_2024-03-01_16-02-45"), is_sorted(f"{session}_nwb")
    (True, False)
    """
    parts = named(name)
    label = parts.steps[0].label if parts.steps else None
    if parts.session is None:
        label = label_of(name)
    return (label or "").lower().startswith("sorted")


def newest(assets: Iterable[AssetSummary]) -> AssetSummary | None:
    """Return the asset that was created last."""
    return max(assets, key=lambda a: (a.created, a.id), default=None)


def is_usable(asset: AssetSummary) -> bool:
    """Whether a data asset can be attached and read: a state that is not known yet may be fine."""
    return asset.state.lower() not in ("draft", "failed")


def preferred_raw(assets: Iterable[AssetSummary]) -> AssetSummary | None:
    """Return the newest raw asset that can be used; if none can, the newest raw asset."""
    raw = [asset for asset in assets if is_raw(asset)]
    return newest(filter(is_usable, raw)) or newest(raw)
