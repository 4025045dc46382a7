"""Dropping cached answers of a session, subject or asset, so that the next lookup is fresh."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from aind_session import context, trace
from aind_session.cache import newer_than
from aind_session.identifiers import SessionID
from aind_session.services import http, s3
from aind_session.services.assets import (
    NAME_QUERY_LENGTH,
    assets_mentioning,
    assets_named,
    assets_of_subject,
)
from aind_session.services.metadata import SCHEMAS, records_named, records_of_subject

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def session(session_id: SessionID) -> None:
    """Drop a session's answers, its assets', and its subject's searches."""
    http.close_circuits()
    trace.forget(session_id.id)
    found = assets_named.cached(session_id.id[:NAME_QUERY_LENGTH]) or ()
    records = (records_named.cached(s, session_id.id) or () for s in SCHEMAS)
    linked = {asset_id for some in records for record in some for asset_id in record.linked}
    subject(session_id.subject_id, {asset.id for asset in found} | linked)


def subject(subject_id: str, asset_ids: Iterable[str] = ()) -> None:
    """Drop a subject's searches, and the answers about its sessions and assets."""
    http.close_circuits()
    trace.forget(subject_id)
    ids = set(asset_ids)
    for search in (assets_mentioning, assets_of_subject):
        ids |= {asset.id for asset in search.cached(subject_id) or ()}
    for schema in SCHEMAS:
        for record in records_of_subject.cached(schema, subject_id) or ():
            ids |= set(record.linked)

    def concerns(key: tuple[Any, ...]) -> bool:
        # The key of a file in a result's folder begins with the asset's ID.
        return any(subject_id in part or part.partition("/")[0] in ids for part in _texts(key))

    context.current().cache.forget(concerns)
    s3.forget_listings()


def asset(asset_id: str) -> None:
    """Drop the answers about a data asset and its files."""
    http.close_circuits()
    context.current().cache.forget(
        lambda key: any(part.partition("/")[0] == asset_id for part in _texts(key))
    )


def everything() -> None:
    """Drop every cached answer."""
    http.close_circuits()
    context.current().cache.clear()
    s3.forget_listings()


class CachedFunction(Protocol[P, T_co]):
    """A function whose cached answers can be forgotten."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Call the function."""

    def cache_clear(self) -> None:
        """Forget every cached answer: the functions share one cache."""


def with_cache_clear(function: Callable[P, T]) -> CachedFunction[P, T]:
    """Add the method `cache_clear` of the functions that version 0.3 cached."""
    function.cache_clear = everything  # type: ignore[attr-defined]
    return cast(CachedFunction[P, T], function)


def _texts(key: tuple[Any, ...]) -> Iterator[str]:
    """Yield the texts among the arguments in a key of the cache."""
    for part in key[2:]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, tuple):
            yield from (text for text in part if isinstance(text, str))


@contextlib.contextmanager
def at_hash(ttl_hash: int | None, *call: str) -> Iterator[None]:
    """Request again what was cached before a `ttl_hash` was first used with a call.

    None: any cached answer counts.
    """
    if ttl_hash is None:
        yield
        return
    cache = context.current().cache
    with newer_than(cache.get(("ttl hash", *call, str(ttl_hash)), cache.clock)):
        yield
