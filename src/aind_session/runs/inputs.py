"""What each computation is given: parameters and mounts, of a constant or of a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aind_session.errors import InvalidFilterError
from aind_session.runs.values import Mount, Parameter
from aind_session.services.models import AssetSummary, decode_asset

if TYPE_CHECKING:
    from aind_session.session import Session


def parameters_of(given: object, session: Session) -> tuple[Parameter, ...]:
    """Read the parameters of one session's computation.

    Parameters
    ----------
    given
        A list by position, a mapping by name, None for none; or a function of the session that
        gives one of these.
    session
        The session.

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("676909_2023-12-13_13-43-40")
    >>> parameters_of({"subject": 676909, "fast": True}, session)
    (Parameter(value='676909', name='subject'), Parameter(value='true', name='fast'))
    >>> parameters_of(lambda session: ["sort", session.id], session)[1].value
    '676909_2023-12-13_13-43-40'
    """
    value = given(session) if callable(given) else given
    if value is None:
        return ()
    if isinstance(value, Mapping):
        return tuple(Parameter(_text(v), str(k)) for k, v in value.items())
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidFilterError(
            f"parameters are a list (by position) or a mapping (by name), not {value!r:.80}"
        )
    return tuple(v if isinstance(v, Parameter) else Parameter(_text(v)) for v in value)


def _text(value: object) -> str:
    if value is None:
        raise InvalidFilterError("a parameter has no value: Code Ocean takes texts only")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def mounts_of(
    given: object, session: Session, raw: Callable[[], AssetSummary]
) -> tuple[Mount, ...]:
    """Read what is attached to one session's computation.

    Parameters
    ----------
    given
        The ID of a data asset, a data asset, a mapping of mount to either, a list of any of these,
        or a function of the session that gives one; None for the raw data asset.
    session
        The session.
    raw
        Gives the raw data asset, or raises.
    """
    value = given(session) if callable(given) else given
    if value is None:
        asset = decode_asset(raw().raw)
        return (Mount(asset.id, asset.mount or asset.name),)
    found = dict.fromkeys(_mounts(value))
    named = [mount.mount for mount in found if mount.mount]
    if len(set(named)) < len(named):
        raise InvalidFilterError(f"{session.id}: two data assets would be mounted at one place")
    return tuple(found)


def _mounts(value: Any) -> list[Mount]:
    if isinstance(value, Mapping):
        return [Mount(_id_of(asset), str(mount)) for mount, asset in value.items()]
    if isinstance(value, Mount):
        return [value]
    if isinstance(value, str):
        return [Mount(_id_of(value))]
    if hasattr(value, "id"):
        mount = getattr(value, "mount", None) or getattr(value, "name", None)
        return [Mount(_id_of(value), mount)]
    if not isinstance(value, Iterable):
        raise InvalidFilterError(f"{value!r:.80} cannot be attached: it is no data asset")
    return [mount for one in value for mount in _mounts(one)]


def _id_of(asset: Any) -> str:
    text = asset if isinstance(asset, str) else getattr(asset, "id", None)
    if not isinstance(text, str) or not text.strip():
        raise InvalidFilterError(f"{asset!r:.80} cannot be attached: it is no data asset")
    return text.strip()
