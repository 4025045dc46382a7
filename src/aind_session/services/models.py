"""Code Ocean's JSON as models: quickly where it is whole, leniently where it is odd.

Whole records become what the SDK's own `from_dict` makes of them, some hundred times faster.
Records that it would refuse (no `mount` or `owner`, a state that the SDK does not know yet, an
empty `source_bucket`) are filled or kept as they are, and logged. Only a record without
an ID is refused.
"""

from __future__ import annotations

import functools
import gc
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from aind_session.errors import BadAnswerError
from aind_session.services.lenient import build
from aind_session.services.redact import excerpt, without_text

if TYPE_CHECKING:
    from aind_session.services.sdk import Computation, DataAsset

__all__ = [
    "AssetSummary",
    "NoRecordError",
    "decode_asset",
    "decode_assets",
    "decode_computation",
    "decode_computations",
    "split_list",
    "split_results",
    "summarise",
]

log = logging.getLogger("aind_session.services")


class NoRecordError(BadAnswerError):
    """JSON, but no data asset and no computation: it has no ID."""


class AssetSummary(msgspec.Struct, frozen=True, weakref=True):
    """What searches and joins look at of a data asset; `raw` is all of it.

    Attributes
    ----------
    bucket, prefix : str
        Where its files are, if the record says so; empty for a result inside Code Ocean.
    external : bool
        Whether its files lie outside Code Ocean.
    """

    id: str
    name: str
    created: int
    tags: tuple[str, ...]
    custom_metadata: dict[str, Any]
    bucket: str
    prefix: str
    external: bool
    state: str
    type: str
    archived: bool
    raw: bytes

    @property
    def is_ready(self) -> bool:
        """Whether its files can be read."""
        return self.state.lower() == "ready"


class _Bucket(msgspec.Struct):
    bucket: str | None = None
    prefix: str | None = None
    external: bool | None = None


class _Wire(msgspec.Struct):
    id: str
    name: str
    created: int
    state: str
    type: str
    tags: tuple[str, ...] | None = None
    custom_metadata: dict[str, Any] | None = None
    source_bucket: _Bucket | None = None
    archived: bool = False


class _Page(msgspec.Struct):
    results: list[msgspec.Raw]
    has_more: bool | None = None
    next_token: str | int | None = None


_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError)

_wire = msgspec.json.Decoder(_Wire)
_page = msgspec.json.Decoder(_Page)
_list = msgspec.json.Decoder(list[msgspec.Raw])


@functools.cache
def _decoders() -> tuple[msgspec.json.Decoder[DataAsset], msgspec.json.Decoder[Computation]]:
    # The SDK is loaded only where one of its models is returned.
    from aind_session.services.sdk import Computation, DataAsset

    return msgspec.json.Decoder(DataAsset), msgspec.json.Decoder(Computation)


def summarise(raw: bytes) -> AssetSummary:
    """Read what joins look at from a data asset's JSON.

    Parameters
    ----------
    raw
        The JSON of one data asset.

    Raises
    ------
    BadAnswerError
        It is no JSON object, or has no ID.

    Examples
    --------
    >>> raw = b'{"id": "1d5c", "name": "ecephys_676909_2023-12-13_13-43-40", "created": 1.7e9}'
    >>> summarise(raw).created
    1700000000
    """
    try:
        wire = _wire.decode(raw)
    except _BROKEN:
        # The lenient model knows every oddity: one place that does is enough.
        asset = decode_asset(raw)
        wire = _Wire(
            id=asset.id,
            name=asset.name,
            created=asset.created,
            state=str(asset.state),
            type=str(asset.type),
            tags=tuple(asset.tags or ()),
            custom_metadata=asset.custom_metadata,
        )
        if asset.source_bucket is not None:
            source = asset.source_bucket
            wire.source_bucket = _Bucket(source.bucket, source.prefix, source.external)
    if not wire.id:
        raise NoRecordError(f"A data asset without an ID: {excerpt(raw)}", service="Code Ocean")
    source_bucket = wire.source_bucket or _Bucket()
    return AssetSummary(
        id=wire.id,
        name=wire.name,
        created=wire.created,
        tags=wire.tags or (),
        custom_metadata=wire.custom_metadata or {},
        bucket=source_bucket.bucket or "",
        prefix=(source_bucket.prefix or "").strip("/"),
        external=bool(source_bucket.external),
        state=wire.state,
        type=wire.type,
        archived=wire.archived,
        raw=raw,
    )


def decode_asset(raw: bytes) -> DataAsset:
    """Make the SDK's model of a data asset's JSON.

    Parameters
    ----------
    raw
        The JSON of one data asset.

    Returns
    -------
    codeocean.data_asset.DataAsset
        Equal to what `DataAsset.from_dict` makes, where that makes one.

    Raises
    ------
    BadAnswerError
        It is no JSON object, or has no ID.
    """
    decoder = _decoders()[0]
    try:
        asset = decoder.decode(raw)
    except _BROKEN:
        return _leniently(decoder.type, raw)
    if not asset.id:
        return _leniently(decoder.type, raw)
    return asset


def decode_assets(raws: Iterable[bytes]) -> tuple[DataAsset, ...]:
    """Make the SDK's models of many data assets; as `decode_asset`."""
    with _no_collecting():
        return tuple(decode_asset(raw) for raw in raws)


@contextmanager
def _no_collecting() -> Iterator[None]:
    # Thousands of new objects set the garbage collector off again and again, though none of them
    # is garbage: half of the time would be its own.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def decode_computation(raw: bytes) -> Computation:
    """Make the SDK's model of a computation's JSON; as `decode_asset`."""
    decoder = _decoders()[1]
    try:
        computation = decoder.decode(raw)
    except _BROKEN:
        return _leniently(decoder.type, raw)
    if not computation.id:
        return _leniently(decoder.type, raw)
    return computation


def decode_computations(raws: Iterable[bytes]) -> tuple[Computation, ...]:
    """Make the SDK's models of many computations; as `decode_asset`."""
    with _no_collecting():
        return tuple(decode_computation(raw) for raw in raws)


def _leniently(model: type[Any], raw: bytes) -> Any:
    what = "data asset" if model.__name__ == "DataAsset" else "computation"
    try:
        # The standard library also reads what JSON has no word for: numbers without end.
        record = json.loads(raw)
    except ValueError as error:
        raise BadAnswerError(
            f"Code Ocean sent no JSON for a {what}: {excerpt(raw)}", service="Code Ocean"
        ) from without_text(error)
    name = record.get("id") if isinstance(record, dict) else None
    if not isinstance(name, str) or not name:
        raise NoRecordError(f"A {what} without an ID: {excerpt(raw)}", service="Code Ocean")
    built, oddities = build(model, record)
    log.info("Odd %s %s: %s", what, name, "; ".join(oddities))
    return built


def split_results(
    payload: bytes, *, further: bool = False
) -> tuple[list[AssetSummary], bool, str | None]:
    """Take one page of a search apart.

    Parameters
    ----------
    payload
        The body of the answer.
    further
        Whether pages came before: one that holds nothing that can be read does not sink them.

    Returns
    -------
    list of AssetSummary
        Records without an ID are left out and logged.
    bool
        Whether there is more.
    str or None
        What to ask for the next page with.

    Raises
    ------
    BadAnswerError
        It is no page of results, or none of its results is a data asset.
    """
    try:
        page = _page.decode(payload)
    except _BROKEN as error:
        raise BadAnswerError(
            f"Code Ocean's answer to a search is no page of results: {excerpt(payload)}",
            service="Code Ocean",
        ) from error
    with _no_collecting():
        found = [summary for raw in page.results if (summary := _summarise_or_log(bytes(raw)))]
    if page.results and not found and not further:
        raise BadAnswerError(
            f"Code Ocean's answer to a search holds no data asset: {excerpt(payload)}",
            service="Code Ocean",
        )
    token = None if page.next_token in (None, "") else str(page.next_token)
    more = token is not None if page.has_more is None else page.has_more
    return found, more, token


def _summarise_or_log(raw: bytes) -> AssetSummary | None:
    try:
        return summarise(raw)
    except BadAnswerError as error:
        log.warning("Left out of the search's results: %s", error)
        return None


def split_list(payload: bytes, what: str) -> tuple[bytes, ...]:
    """Take a JSON list apart, each item as its own JSON.

    Raises
    ------
    BadAnswerError
        It is no list.
    """
    try:
        return tuple(bytes(raw) for raw in _list.decode(payload))
    except _BROKEN as error:
        raise BadAnswerError(
            f"Code Ocean's answer is no list of {what}: {excerpt(payload)}", service="Code Ocean"
        ) from error
