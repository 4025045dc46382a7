"""What installed packages announce as namespaces, by their entry points."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from aind_session.errors import NamespaceError, PluginWarning

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: Entry-point groups, each named as the module whose class it extends.
GROUPS = ("aind_session.session", "aind_session.subject")

#: What is announced, by group and name; None until it has been looked for.
_found: dict[tuple[str, str], list[EntryPoint]] | None = None
_broken: dict[tuple[str, str], str] = {}


def load(group: str, name: str, attach: Callable[[object, str], object]) -> bool:
    """Load the namespace that a package announces.

    Parameters
    ----------
    group
        Entry-point group.
    name
        The attribute.
    attach
        Called with what was loaded, and its owner.

    Returns
    -------
    bool
        Whether there is one; it has been attached.

    Raises
    ------
    AttributeError
        Its import failed: each time; a `PluginWarning` tells of it the first time only.
    NamespaceError
        Two packages announce it.
    """
    key = (group, name)
    points = _scan().get(key, [])
    if len(points) > 1:
        raise NamespaceError(
            f"The namespace {name!r} is announced by more than one package, {_owners(points)}: "
            "uninstall all but one"
        )
    for point in points:
        if key not in _broken:
            try:
                # Without a lock: the module may register its namespace itself, in any thread.
                attach(point.load(), _owner(point))
                return True
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                if _broken.setdefault(key, reason) is reason:
                    warnings.warn(_told(name, point, reason), PluginWarning, stacklevel=4)
        raise AttributeError(_told(name, point, _broken[key]), name=name)
    return False


def announced() -> Iterator[tuple[str, str, str, str]]:
    """Tell of all that is announced; nothing is imported.

    Yields
    ------
    tuple of str
        Group, name, owner and state.
    """
    for (group, name), points in _scan().items():
        state = "not loaded"
        if len(points) > 1:
            state = "broken: announced by more than one package"
        elif (group, name) in _broken:
            state = f"broken: {_broken[group, name]}"
        yield group, name, _owners(points), state


def forget() -> None:
    """Look for entry points again when next asked, and try those again whose import failed."""
    global _found
    _found = None
    _broken.clear()


def _scan() -> dict[tuple[str, str], list[EntryPoint]]:
    global _found
    if _found is None:
        # Here, as it takes 30 ms: only who asks for what no class has pays for it.
        from importlib.metadata import entry_points

        found: dict[tuple[str, str], list[EntryPoint]] = {}
        for group in GROUPS:
            for point in entry_points(group=group):
                same = found.setdefault((group, point.name), [])
                # A distribution that stands twice on the path announces twice.
                if point.value not in [other.value for other in same]:
                    same.append(point)
        _found = found
        return found
    return _found


def _told(name: str, point: EntryPoint, reason: str) -> str:
    return f"The namespace {name!r} of {_owners([point])} could not be loaded: {reason}"


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _owners(points: list[EntryPoint]) -> str:
    return " and ".join(f"{_owner(point)} ({point.value})" for point in points)
