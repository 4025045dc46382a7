"""Build a dataclass from a JSON object that does not quite fit it.

Driven by the dataclass's own type hints, so that fields which later versions of the SDK add are
served as well.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import math
import types
import typing
from typing import Any

# Required fields that old records and old servers leave out.
_FILLED: dict[str, Any] = {"owner": "", "last_used": 0, "created": 0, "run_time": 0, "name": ""}
UNKNOWN = "unknown"
_UNFIT = object()


class _Unfit(ValueError):
    """A value that nothing can be made of."""


def build(model: type[Any], record: dict[str, Any]) -> tuple[Any, list[str]]:
    """Build a model, whatever the record is like.

    Parameters
    ----------
    model
        A dataclass of the Code Ocean SDK.
    record
        What the service sent.

    Returns
    -------
    model
        A true instance. Enum values that the SDK does not know stay plain text.
    list of str
        What was odd.
    """
    oddities: list[str] = []
    return _build(model, record, "", oddities), oddities


@functools.cache
def _hints(model: Any) -> dict[str, Any]:
    return typing.get_type_hints(model)


def _build(model: Any, record: dict[str, Any], path: str, oddities: list[str]) -> Any:
    values = {}
    hints = _hints(model)
    for field in dataclasses.fields(model):
        where = f"{path}{field.name}"
        hint = hints[field.name]
        optional = field.default is not dataclasses.MISSING
        if field.name in record:
            try:
                values[field.name] = _fit(record[field.name], hint, where, oddities)
                continue
            except _Unfit as problem:
                oddities.append(f"{where}: {problem}")
        elif not optional:
            oddities.append(f"{where} is missing")
        values[field.name] = field.default if optional else _filling(field.name, hint, record)
    return model(**values)


def _filling(name: str, hint: Any, record: dict[str, Any]) -> Any:
    if name == "mount":
        return record["name"] if isinstance(record.get("name"), str) else ""
    if name == "origin":
        return next(iter(hint), UNKNOWN) if not record.get("bucket") else _known(hint, "aws")
    if name in _FILLED:
        return _FILLED[name]
    return UNKNOWN if hint is str or _is_enum(hint) else None


def _known(hint: Any, value: str) -> Any:
    try:
        return hint(value)
    except ValueError:
        return value


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def _fit(value: Any, hint: Any, where: str, oddities: list[str]) -> Any:
    """Make a value fit its hint, or raise `_Unfit`."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _fit_union(value, hint, where, oddities)
    if value is None:
        raise _Unfit("is null")
    if origin is list:
        return _fit_list(value, typing.get_args(hint)[0], where, oddities)
    if _is_enum(hint):
        return _fit_enum(value, hint, where, oddities)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise _Unfit(f"is no object: {value!r:.60}")
        return _build(typing.cast("type[Any]", hint), value, f"{where}.", oddities)
    return _fit_plain(value, hint, where, oddities)


def _fit_union(value: Any, hint: Any, where: str, oddities: list[str]) -> Any:
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if value is None or (value == {} and dataclasses.is_dataclass(members[0])):
        # An empty object means the same as its absence.
        return None
    if len(members) == 1:
        return _fit(value, members[0], where, oddities)
    return value


def _fit_list(value: Any, item: Any, where: str, oddities: list[str]) -> list[Any]:
    if not isinstance(value, list):
        oddities.append(f"{where} is no list")
        value = [value]
    fitting = [_fit_item(one, item, where, oddities) for one in value]
    return [one for one in fitting if one is not _UNFIT]


def _fit_item(value: Any, hint: Any, where: str, oddities: list[str]) -> Any:
    try:
        return _fit(value, hint, where, oddities)
    except _Unfit as problem:
        oddities.append(f"in {where}: {problem}")
        return _UNFIT


def _fit_enum(value: Any, hint: Any, where: str, oddities: list[str]) -> Any:
    if not isinstance(value, str):
        raise _Unfit(f"is no text: {value!r:.60}")
    try:
        return hint(value)
    except ValueError:
        oddities.append(f"{where} has the unknown value {value!r:.60}")
        return value


def _fit_plain(value: Any, hint: Any, where: str, oddities: list[str]) -> Any:
    if hint in (Any, object):
        return value
    if hint is dict or hint is bool:
        if isinstance(value, hint):
            return value
        raise _Unfit(f"is {value!r:.60}")
    if hint is int and not isinstance(value, bool):
        number = _integer(value)
        if type(value) is not int:
            oddities.append(f"{where} is {value!r:.60}")
        return number
    if hint is str:
        if isinstance(value, str):
            return value
        if isinstance(value, int | float):
            oddities.append(f"{where} is {value!r:.60}")
            return str(value)
    raise _Unfit(f"is {value!r:.60}")


def _integer(value: Any) -> int:
    if isinstance(value, int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    if isinstance(value, str):
        try:
            return int(float(value))
        except (ValueError, OverflowError):
            pass
        try:
            return int(_time(value).timestamp())
        except (ValueError, OverflowError):
            pass
    raise _Unfit(f"is no number: {value!r:.60}")


def _time(text: str) -> datetime.datetime:
    # Python 3.10 does not read a `Z`.
    time = datetime.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return time if time.tzinfo else time.replace(tzinfo=datetime.timezone.utc)
