"""What belongs to whom: the rules by which an asset or a record is a session's or a subject's.

From the field's working knowledge; a search finds more than was meant, and names are re-checked
here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

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
    """Give the session in an asset's or a record's name."""
    return named(name).session


def subject_field(asset: AssetSummary) -> str:
    """Give an asset's own custom field `subject id`, or an empty text."""
    return str(asset.custom_metadata.get("subject id") or "").strip()


def subject_of_asset(asset: AssetSummary) -> str:
    """Give an asset's subject: by the session in its name, else by its own custom field."""
    session = session_of(asset.name)
    return session.subject_id if session else subject_field(asset)


def subject_of_record(record: Record) -> str:
    """Give a record's subject: by the session in its name, else by the record."""
    session = session_of(record.name or "")
    return session.subject_id if session else record.subject_id or ""


def is_raw(asset: HasNameAndTags) -> bool:
    """Tell whether an asset is raw data.

    The custom field `data level` says so, or a tag does, or the name is a session ID and nothing
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


def is_sorted(name: str) -> bool:
    """Tell whether an asset's name is that of a spike sorting, on any platform.

    Examples
    --------
    >>> session = "ecephys_676909_2023-12-13_13-43-40"
    >>> is_sorted(f"{session}_sorted-ks2.5_2024-03-01_16-02-45"), is_sorted(f"{session}_nwb")
    (True, False)
    """
    steps = named(name).steps
    return bool(steps) and (steps[0].label or "").lower().startswith("sorted")


def newest(assets: Iterable[AssetSummary]) -> AssetSummary | None:
    """Give the asset that was created last."""
    return max(assets, key=lambda a: (a.created, a.id), default=None)
