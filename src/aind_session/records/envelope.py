"""Answers that stand in a record itself, around its core files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from aind_session.records.shape import at, items, text, unique
from aind_session.records.times import in_utc

_UUID = re.compile(
    r"(?<![0-9a-f])([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})(?![0-9a-f])",
    re.IGNORECASE,
)
_LOCATION = re.compile(r"\s*s3://([^/\s]+)/*(.*?)[/\s]*", re.IGNORECASE | re.DOTALL)
#: The buckets in which Code Ocean keeps its own assets; a prefix there is an asset's ID.
_CODE_OCEAN_BUCKET = "codeocean-s3datasetsbucket-"


def record_id(raw: Any) -> str | None:
    """Read the record's own ID, which differs between the two databases."""
    written = at(raw, "_id")
    return text(at(written, "$oid")) or text(written)


def created(raw: Any) -> datetime | None:
    """Read when the record (not the asset) was first written."""
    return in_utc(at(raw, "created")) or in_utc(at(raw, "_created"))


def modified(raw: Any) -> datetime | None:
    """Read when the record was last written."""
    return in_utc(at(raw, "last_modified")) or in_utc(at(raw, "_last_modified"))


def bucket_and_prefix(raw: Any) -> tuple[str | None, str | None]:
    """Split the location; the prefix has no slash at its ends."""
    found = _LOCATION.fullmatch(text(at(raw, "location")) or "")
    return (found.group(1), found.group(2) or None) if found else (None, None)


def codeocean_ids(raw: Any) -> tuple[str, ...]:
    """Read the IDs of the data assets that a record links.

    Parameters
    ----------
    raw
        The record.

    Returns
    -------
    tuple[str, ...]
        The IDs of `external_links` (1.x), then those of `other_identifiers` (2.x); where neither
        has any, the one in the location, if that is in Code Ocean's bucket. 2.x records lack links
        more often than 1.x ones, since only these are kept up to date.

    Examples
    --------
    >>> asset_id = "01234567-89ab-cdef-0123-456789abcdef"
    >>> codeocean_ids({"external_links": [{"Code Ocean": asset_id}, {"Code Ocean": None}]})
    ('01234567-89ab-cdef-0123-456789abcdef',)
    """
    found = [*_linked(at(raw, "external_links")), *_linked(at(raw, "other_identifiers"))]
    if not found:
        bucket, prefix = bucket_and_prefix(raw)
        if bucket and prefix and bucket.startswith(_CODE_OCEAN_BUCKET):
            found.extend(_asset_ids(prefix.rsplit("/", 1)[-1]))
    return unique(tuple(found))


def _linked(links: Any) -> Iterator[str]:
    """Go through the IDs of one mapping of links, or of a list of such mappings."""
    for link in items(links):
        if isinstance(link, Mapping):
            for service, ids in link.items():
                if re.sub(r"[\s_-]", "", str(service)).casefold() == "codeocean":
                    yield from _asset_ids(ids)


def _asset_ids(value: Any) -> Iterator[str]:
    """Go through the IDs in a text or a list of texts, in the spelling of the service."""
    for item in items(value):
        found = _UUID.search(item) if isinstance(item, str) else None
        if found is not None:
            yield "-".join(found.groups()).lower()
