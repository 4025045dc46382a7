"""Decode Code Ocean's JSON to models of its SDK.

Complete JSON gives the same models as the SDK's `from_dict`, about 100 times faster. JSON that
the SDK rejects (no `mount` or `owner`, an unknown state, an empty `source_bucket`) is decoded field
by field, and what was unexpected is logged. Only JSON without an ID is rejected.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import enum
import gc
import logging
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from aind_session.errors import BadAnswerError
from aind_session.services import decode
from aind_session.services.decode import UNDECODABLE, decoding
from aind_session.services.redact import excerpt, without_text

if typing.TYPE_CHECKING:
    from aind_session.services.sdk import Computation, DataAsset

T = TypeVar("T")

log = logging.getLogger("aind_session.services")

SERVICE = "Code Ocean"
_ASSET = "data asset"


class NoRecordError(BadAnswerError):
    """JSON, but not of a data asset or a computation: it has no ID."""


class AssetSummary(msgspec.Struct, frozen=True, weakref=True):
    """The fields of a data asset that searches and joins use; `raw` is its complete JSON.

    Attributes
    ----------
    bucket, prefix : str
        Location of its files, if the asset has one; empty for a result inside Code Ocean.
    external : bool
        Whether its files are outside Code Ocean.
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


_page = msgspec.json.Decoder(_Page)


def summarise(raw: bytes) -> AssetSummary:
    """Return the summary of a data asset's JSON; raises `BadAnswerError` if it has no ID.

    Examples
    --------
    >>> raw = b'{"id": "1d5c", "name": "ecephys_676909_2023-12-13_13-43-40", "created": 1.7e9}'
    >>> summarise(raw).created
    1700000000
    """
    # Decoded as a whole: other fields are decoded from `raw` later.
    try:
        record, raw = decode.decode_strict(raw, null_if_infinite=True)
    except UNDECODABLE as error:
        raise _invalid(raw, _ASSET) from without_text(error)
    try:
        wire = msgspec.convert(record, _Wire)
    except msgspec.ValidationError:
        asset = decode_asset(raw)
        source = asset.source_bucket
        wire = _Wire(
            id=asset.id,
            name=asset.name,
            created=asset.created,
            state=str(asset.state),
            type=str(asset.type),
            tags=tuple(asset.tags or ()),
            custom_metadata=asset.custom_metadata,
            source_bucket=source and _Bucket(source.bucket, source.prefix, source.external),
        )
    if not wire.id:
        raise _no_id(raw, _ASSET)
    bucket = wire.source_bucket or _Bucket()
    return AssetSummary(
        id=wire.id,
        name=wire.name,
        created=wire.created,
        tags=wire.tags or (),
        custom_metadata=wire.custom_metadata or {},
        bucket=bucket.bucket or "",
        prefix=(bucket.prefix or "").strip("/"),
        external=bool(bucket.external),
        state=wire.state,
        type=wire.type,
        archived=wire.archived,
        raw=raw,
    )


def decode_asset(raw: bytes) -> DataAsset:
    """Return the SDK's model of a data asset's JSON, equal to what `DataAsset.from_dict` makes.

    Raises `BadAnswerError` if it is not a JSON object, or has no ID.
    """
    # The SDK is loaded only where one of its models is returned.
    from aind_session.services import sdk

    return _decode(sdk.asset_decoder, raw, _ASSET)


def decode_computation(raw: bytes) -> Computation:
    """Return the SDK's model of a computation's JSON; raises the same errors as `decode_asset`."""
    from aind_session.services import sdk

    return _decode(sdk.computation_decoder, raw, "computation")


def decode_assets(raws: Iterable[bytes]) -> tuple[DataAsset, ...]:
    """Return the SDK's models of many data assets; each invalid one is left out and logged."""
    return tuple(_each(decode_asset, raws))


def decode_computations(raws: Iterable[bytes]) -> tuple[Computation, ...]:
    """Return the SDK's models of many computations; each invalid one is left out and logged.

    Raises `BadAnswerError` if none of them is valid.
    """
    listed = tuple(raws)
    found = tuple(_each(decode_computation, listed))
    if listed and not found:
        raise _bad(f"list holds no computation: {excerpt(listed[0])}")
    return found


def split_results(
    payload: bytes, *, further: bool = False
) -> tuple[list[AssetSummary], bool, str | None]:
    """Return the assets of a page of a search, whether there are more, and the next page's token.

    Each invalid asset is left out and logged; only a first page (not `further`) without any valid
    one is an error, as is a response that is not a page.
    """
    with decoding(SERVICE):
        try:
            page = _page.decode(payload)
        except UNDECODABLE:
            page = _split_page(payload)
        found = _each(summarise, map(bytes, page.results))
    if page.results and not found and not further:
        raise _bad(f"answer to a search holds no data asset: {excerpt(payload)}")
    token = None if page.next_token in (None, "") else str(page.next_token)
    more = token is not None if page.has_more is None else page.has_more
    return found, more, token


def _split_page(payload: bytes) -> _Page:
    """Decode a page whose results cannot be decoded as a whole: each will be on its own."""
    try:
        members = decode.split_object(payload)
        results = decode.split_list(members.pop("results", b""))
        rest = b"".join(b',"%s":%s' % (k.encode(), v) for k, v in members.items())
        page = _page.decode(b'{"results":[]%s}' % rest)
    except UNDECODABLE as error:
        raise _bad(
            f"answer to a search is not a page of results: {excerpt(payload)}"
        ) from without_text(error)
    page.results = [msgspec.Raw(raw) for raw in results]
    return page


def split_list(payload: bytes, what: str) -> tuple[bytes, ...]:
    """Return the JSON of each item of a list; raises `BadAnswerError` if it is not a list."""
    try:
        return tuple(decode.split_list(payload))
    except UNDECODABLE as error:
        raise _bad(f"answer is not a list of {what}: {excerpt(payload)}") from without_text(error)


def _bad(problem: str) -> BadAnswerError:
    return BadAnswerError(f"{SERVICE}'s {problem}", service=SERVICE)


def _each(read: Callable[[bytes], T], raws: Iterable[bytes]) -> list[T]:
    """Decode each item; an invalid one is left out and logged."""
    found: list[T] = []
    # Thousands of new objects trigger the garbage collector repeatedly, though none of them is
    # garbage: it would take half of the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        for raw in raws:
            try:
                found.append(read(raw))
            except BadAnswerError as error:  # noqa: PERF203 (each on its own)
                log.warning("Left out of %s's answer: %s", SERVICE, error)
    finally:
        if enabled:
            gc.enable()
    return found


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes, what: str) -> T:
    try:
        found = decoder.decode(raw)
        if typing.cast("Any", found).id:
            return found
    except UNDECODABLE as error:
        why = excerpt(str(error))
    with decoding(SERVICE):
        try:
            record, _ = decode.decode_strict(raw, null_if_infinite=True)
        except UNDECODABLE as error:
            raise _invalid(raw, what) from without_text(error)
        name = record.get("id") if isinstance(record, dict) else None
        if not isinstance(name, str) or not name:
            raise _no_id(raw, what)
        found = _build(decoder.type, record)
    log.info("Odd %s %s: %s", what, name, why)
    return found


def _no_id(raw: bytes, what: str) -> NoRecordError:
    return NoRecordError(f"A {what} without an ID: {excerpt(raw)}", service=SERVICE)


def _invalid(raw: bytes, what: str) -> BadAnswerError:
    text = f"{SERVICE} sent invalid JSON for a {what}: {excerpt(raw)}"
    return BadAnswerError(text, service=SERVICE)


# -- JSON that does not fit its model --------------------------------------------------------------

# Required fields that old assets and old servers leave out.
_FILLED: dict[str, Any] = {"owner": "", "last_used": 0, "created": 0, "run_time": 0, "name": ""}
_UNKNOWN = "unknown"


class _UnfitError(ValueError):
    """A value cannot be converted to the type of its field."""


def _build(model: type[T], record: dict[str, Any]) -> T:
    """Build a dataclass from a JSON object by its type hints, also those of a later SDK."""
    values = {}
    hints = typing.get_type_hints(model)
    for field in dataclasses.fields(typing.cast("Any", model)):
        hint, optional = hints[field.name], field.default is not dataclasses.MISSING
        values[field.name] = field.default if optional else _default(field.name, hint, record)
        if field.name in record:
            with contextlib.suppress(_UnfitError):
                values[field.name] = _fit(record[field.name], hint)
    return model(**values)


def _fit(value: Any, hint: Any) -> Any:
    """Convert a value to the type of its field, or raise `_UnfitError`."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        # An empty object means the same as none.
        if value is None or (value == {} and dataclasses.is_dataclass(members[0])):
            return None
        return _fit(value, members[0]) if len(members) == 1 else value
    if value is None:
        raise _UnfitError
    if origin is list:
        fitting = []
        for one in value if isinstance(value, list) else [value]:
            with contextlib.suppress(_UnfitError):
                fitting.append(_fit(one, typing.get_args(hint)[0]))
        return [one for one in fitting if one is not None]
    if _is_enum(hint) and isinstance(value, str):
        return _member(hint, value)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _build(typing.cast("type[Any]", hint), value)
    if hint in (Any, object) or (hint in (dict, bool, str) and isinstance(value, hint)):
        return value
    if hint is int and not isinstance(value, bool):
        return _integer(value)
    if hint is str and isinstance(value, int | float):
        return str(value)
    raise _UnfitError


def _default(name: str, hint: Any, record: dict[str, Any]) -> Any:
    """Return what a required field contains if the JSON lacks it."""
    if name == "mount":
        return record["name"] if isinstance(record.get("name"), str) else ""
    if name == "origin":
        return _member(hint, "aws") if record.get("bucket") else next(iter(hint), _UNKNOWN)
    if name in _FILLED:
        return _FILLED[name]
    return _UNKNOWN if hint is str or _is_enum(hint) else None


def _member(hint: Any, value: str) -> Any:
    """Return the member of an enum; a value that the SDK does not know stays a text."""
    try:
        return hint(value)
    except ValueError:
        return value


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def _integer(value: Any) -> int:
    """Convert a number, its text or an ISO 8601 time (to seconds since 1970)."""
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    if isinstance(value, str):
        for read in (float, _seconds):
            with contextlib.suppress(ValueError, OverflowError):
                return int(read(value))
    raise _UnfitError


def _seconds(text: str) -> float:
    # Python 3.10 does not read a `Z`.
    time = datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return (time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)).timestamp()
