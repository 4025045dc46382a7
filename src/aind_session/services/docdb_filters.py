"""Filters and pipelines of DocDB: parted where they are long, said otherwise where they fail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

Filter = Mapping[str, Any]
#: Characters of a URL that are known to pass the gateway.
URL_LIMIT = 6000


def as_find(
    pipeline: Sequence[Filter],
) -> tuple[Filter, Filter | None, Mapping[str, int] | None] | None:
    """Say a pipeline as filter, projection and sort; None where that cannot be."""
    stages = [(name, stage[name]) for stage in pipeline for name in stage]
    names = [name for name, _ in stages]
    if names != [name for name in ("$match", "$sort", "$project") if name in names]:
        return None
    parts = dict(stages)
    projection = parts.get("$project")
    if projection is not None and not _is_plain(projection):
        return None
    return parts.get("$match", {}), projection, parts.get("$sort")


def _is_plain(projection: Filter) -> bool:
    """Tell whether a projection names keys only, and computes none."""
    return all(isinstance(value, int) and value in (0, 1) for value in projection.values())


def chunks_for_in(values: Sequence[str], limit: int = URL_LIMIT - 1500) -> Iterator[list[str]]:
    """Part values so that each part, in an `$in` of a URL, stays below the gateway's limit.

    Parameters
    ----------
    values
        What a key may be.
    limit
        Characters that each part may take in a URL.

    Examples
    --------
    >>> [len(part) for part in chunks_for_in(["676909"] * 1000)]
    [281, 281, 281, 157]
    """
    part: list[str] = []
    size = 0
    for value in values:
        length = len(quote(json.dumps(value), safe="")) + len("%2C+")
        if part and size + length > limit:
            yield part
            part, size = [], 0
        part.append(value)
        size += length
    if part:
        yield part


def parts_of(filter: Filter, sort: Mapping[str, int] | None) -> Iterator[Filter]:
    """Part a filter whose `$in` is too long for a URL."""
    for key, condition in filter.items():
        values = condition.get("$in") if isinstance(condition, dict) else None
        if isinstance(values, list) and len(condition) == 1 and sort is None:
            chunks = list(chunks_for_in(values)) or [[]]
            if len(chunks) > 1:
                yield from ({**filter, key: {"$in": chunk}} for chunk in chunks)
                return
    yield filter
