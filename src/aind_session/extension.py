"""Namespaces: attach what is yours to `Session` or `Subject`, without subclassing.

Three ways in, one door: the decorator `register_namespace`; an entry point in the group
`aind_session.session` or `aind_session.subject` of any installed package; and, for the package's
own, dotted paths that are imported on first use.
"""

from __future__ import annotations

import functools
import importlib
import keyword
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from aind_session import plugins
from aind_session.errors import BrokenNamespaceError, NamespaceError
from aind_session.forking import when_forked

ExtensionClass = TypeVar("ExtensionClass", bound=type[Any])

# Held for moments only, and never during an import: an import waits for locks of its own.
_lock = threading.RLock()
_targets: dict[type, None] = {}


def _new_lock() -> None:
    global _lock
    _lock = threading.RLock()


# Another thread may have held it at the moment of the fork.
when_forked(_new_lock)


class ExtensionBaseClass:
    """Base of a namespace: it knows the session or subject that it was reached from.

    Parameters
    ----------
    base
        The session or subject.

    Examples
    --------
    >>> class Lick(ExtensionBaseClass):
    ...     @property
    ...     def title(self) -> str:
    ...         return f"Licks of {self._base}"
    >>> Lick("a session").title
    'Licks of a session'
    """

    _base: Any

    def __init__(self, base: Any) -> None:
        self._base = base

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base!r})"


class NamespaceInfo(NamedTuple):
    """One namespace, as `namespaces` tells of it.

    Attributes
    ----------
    name : str
        The attribute.
    target : str
        Class that has it: `Session`, `Subject`.
    owner : str
        Who brought it: a class by its dotted path, or a distribution.
    state : str
        `ready`, `not loaded`, or `broken`, a colon and the reason.
    """

    name: str
    target: str
    owner: str
    state: str


class Namespace:
    """A namespace on a class: a descriptor that makes its instance on first access.

    On the class it gives the extension class. Held as a dotted path, that is imported on first use.
    """

    __slots__ = ("_cls", "_path", "_said", "name")

    def __init__(self, name: str, extension: type[Any] | str, said: str | None = None) -> None:
        self.name = name
        self._cls = None if isinstance(extension, str) else extension
        self._path = extension if isinstance(extension, str) else _path_of(extension)
        self._said = said

    @property
    def path(self) -> str:
        """Dotted path of the extension class, `module:name`: who owns the name."""
        return self._path

    @property
    def owner(self) -> str:
        """Who brought it, for people to read."""
        return f"{self._path} of {self._said}" if self._said else self._path

    @property
    def is_loaded(self) -> bool:
        """Whether the extension class has been imported."""
        return self._cls is not None

    def load(self) -> type[Any]:
        """Import the extension class, where that has not been done."""
        if self._cls is None:
            module, _, name = self._path.partition(":")
            try:
                self._cls = getattr(importlib.import_module(module), name)
            except AttributeError as error:
                raise BrokenNamespaceError(
                    f"The namespace {self.name!r} cannot be loaded from {self._path}: {error}"
                ) from error
        return self._cls

    def __get__(self, obj: object | None, owner: type[Any] | None = None) -> Any:
        if is_completing():
            return None
        extension = self.load()
        if obj is None:
            return extension
        made = getattr(obj, "_namespaces", None)
        # Kept by class, not by name: a class that was registered anew gets a new instance.
        if made is None or extension not in made:
            instance = self._make(extension, obj)
            # Of two threads the first to be done wins, and both get its instance.
            return _kept_by(obj).setdefault(extension, instance)
        return made[extension]

    def _make(self, extension: type[Any], obj: object) -> Any:
        try:
            return extension(obj)
        except AttributeError as error:
            # Python would tell that the session has no such attribute, and hide the bug.
            raise BrokenNamespaceError(
                f"The namespace {self.name!r} ({self.owner}) could not be made for {obj!r}: "
                f"AttributeError: {error}"
            ) from error


def is_completing() -> bool:
    """Tell whether it is plain Python's Tab that asks the caller for an attribute.

    It reads each that is no property: making a namespace would import it, or ask a service.
    """
    return sys._getframe(2).f_globals.get("__name__") == "rlcompleter"


def _kept_by(obj: object) -> dict[Any, Any]:
    """Give the namespaces that an object has made; anew each time where it can keep none."""
    with _lock:
        made: dict[Any, Any] | None = getattr(obj, "_namespaces", None)
        if made is None:
            made = {}
            try:
                # Past the `__setattr__` of a class whose objects cannot be changed.
                object.__setattr__(obj, "_namespaces", made)
            except AttributeError:
                return made
        return made


def register_namespace(
    name: str, cls: type[Any] | None = None, *, owner: str | None = None
) -> Callable[[ExtensionClass], ExtensionClass]:
    """Attach a class to every session (or subject) as the attribute `name`: a decorator.

    The class is called with the session on first access, and the instance is kept with that
    session. Registering a class again under its name (a notebook cell run twice, a module loaded
    anew) replaces it.

    Parameters
    ----------
    name
        The attribute: an identifier that does not begin with an underscore.
    cls
        Class to attach to, `Session` where it is left out.
    owner
        Who brings it, for messages; the class's dotted path where it is left out.

    Returns
    -------
    callable
        Gives back the class that it decorates.

    Raises
    ------
    NamespaceError
        The name is none, is one of the class's own attributes, or another owner has it.

    Examples
    --------
    >>> import aind_session
    >>> @aind_session.register_namespace("rig")
    ... class Rig(aind_session.ExtensionBaseClass):
    ...     @property
    ...     def label(self) -> str:
    ...         return f"{self._base.platform} rig"
    >>> aind_session.Session("ecephys_676909_2023-12-13_13-43-40").rig.label
    'ecephys rig'
    >>> del aind_session.Session.rig
    """

    def attach(extension: ExtensionClass) -> ExtensionClass:
        if not isinstance(extension, type):
            raise NamespaceError(f"The namespace {name!r} is to be a class, not {extension!r}")
        _attach(_default_target() if cls is None else cls, Namespace(name, extension, owner))
        return extension

    _check_name(name)
    return attach


def attach_builtin(cls: type[Any], paths: Mapping[str, str]) -> None:
    """Attach the package's own namespaces, to be imported on first use.

    Parameters
    ----------
    cls
        `Session` or `Subject`.
    paths
        Dotted path of each extension class, `module:name`, by attribute.

    Raises
    ------
    NamespaceError
        As for `register_namespace`.
    """
    for name, path in paths.items():
        _check_name(name)
        _attach(cls, Namespace(name, path))


def names(cls: type[Any]) -> tuple[str, ...]:
    """Give the names of the namespaces attached to a class, sorted; nothing is imported.

    Parameters
    ----------
    cls
        `Session`, `Subject`, or a class that something was registered on.

    Returns
    -------
    tuple of str
        Those that packages announce are among them, but for broken ones.
    """
    groups = {base.__module__ for base in cls.__mro__}
    announced = {
        name
        for group, name, _, state in plugins.announced()
        if group in groups and not state.startswith("broken")
    }
    return tuple(sorted({*_attached(cls), *announced}))


def find_plugin(obj: object, name: str) -> Any:
    """Give the namespace that an installed package announces: what `__getattr__` falls back to.

    Parameters
    ----------
    obj
        A session or subject.
    name
        An attribute that its class does not have.

    Returns
    -------
    object
        The namespace, for this object.

    Raises
    ------
    AttributeError
        No package announces it, or its import failed, which a `PluginWarning` told once.
    NamespaceError
        Two packages announce it.
    """
    cls = type(obj)
    if not name.startswith("_"):
        if any(name in base.__dict__ for base in cls.__mro__):
            # A property raised AttributeError and Python came here: that error is the answer.
            return object.__getattribute__(obj, name)
        for base in cls.__mro__:
            if base.__module__ in plugins.GROUPS and plugins.load(
                base.__module__, name, functools.partial(_attach_loaded, base, name)
            ):
                return object.__getattribute__(obj, name)
    raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}", name=name, obj=obj)


def namespaces() -> tuple[NamespaceInfo, ...]:
    """List all namespaces: built in, registered, and announced by packages; none is imported.

    Returns
    -------
    tuple of NamespaceInfo
        Sorted by target and name.

    Examples
    --------
    >>> import aind_session
    >>> [info.target for info in aind_session.extension.namespaces() if info.name == "ecephys"]
    ['Session']
    """
    targets = {group: group.rpartition(".")[2].title() for group in plugins.GROUPS}
    for group in targets:
        # A dotted path: the classes stand on a higher floor.
        importlib.import_module(group)
    found = [
        NamespaceInfo(name, cls.__name__, one.owner, "ready" if one.is_loaded else "not loaded")
        for cls in list(_targets)
        for name, one in _attached(cls).items()
    ]
    known = {(info.target, info.name) for info in found}
    found += [
        NamespaceInfo(name, targets[group], owner, state)
        for group, name, owner, state in plugins.announced()
        if (targets[group], name) not in known
    ]
    return tuple(sorted(found, key=lambda info: (info.target, info.name)))


def _attached(cls: type[Any]) -> dict[str, Namespace]:
    mro = reversed(cls.__mro__)
    return {k: v for base in mro for k, v in base.__dict__.items() if isinstance(v, Namespace)}


def _attach(cls: type[Any], namespace: Namespace) -> None:
    name = namespace.name
    with _lock:
        for base in cls.__mro__:
            if name not in base.__dict__:
                continue
            there = base.__dict__[name]
            if not isinstance(there, Namespace):
                raise NamespaceError(
                    f"{cls.__name__}.{name} is an attribute of {base.__name__}: {namespace.owner} "
                    "cannot take its name. Choose another"
                )
            if there.path != namespace.path:
                raise NamespaceError(
                    f"{cls.__name__}.{name} belongs to {there.owner}: {namespace.owner} cannot "
                    f"take its name. Choose another, or `del {cls.__name__}.{name}` first"
                )
        setattr(cls, name, namespace)
        _targets[cls] = None


def _attach_loaded(cls: type[Any], name: str, loaded: object, owner: str) -> None:
    # A module that registers its class itself, when imported, is as good.
    if name not in cls.__dict__:
        register_namespace(name, cls, owner=owner)(loaded)  # type: ignore[type-var]


def _check_name(name: str) -> None:
    if isinstance(name, type):
        raise NamespaceError(
            f"The namespace of {name.__name__} has no name: write "
            '@register_namespace("a_name") above the class.'
        )
    good = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    if not good or name.startswith("_"):
        raise NamespaceError(
            f"{name!r} cannot be the name of a namespace: choose an identifier that does not "
            "begin with an underscore"
        )


def _path_of(extension: type[Any]) -> str:
    return f"{extension.__module__}:{extension.__qualname__}"


def _default_target() -> type[Any]:
    # A dotted path: `Session` stands on a higher floor.
    target: type[Any] = importlib.import_module("aind_session.session").Session
    return target
