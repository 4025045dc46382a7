"""Namespaces: attach your own attributes to `Session` or `Subject` without subclassing.

There are three ways: the decorator `register_namespace`; an entry point in the group
`aind_session.session` or `aind_session.subject` of any installed package; and, for the package's
own namespaces, a table of dotted paths that are imported on first use.
"""

from __future__ import annotations

import importlib
import keyword
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aind_session.errors import BrokenNamespaceError, NamespaceError, PluginWarning

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ExtensionClass = TypeVar("ExtensionClass", bound=type[Any])

#: Entry-point groups, each named after the module whose class it extends.
GROUPS = {"aind_session.session": "Session", "aind_session.subject": "Subject"}

_PACKAGE = "aind_session."


class ExtensionBaseClass:
    """Base class of a namespace: `_base` is the session or subject it was reached from.

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
    """One namespace, as listed by `namespaces`.

    Attributes
    ----------
    name : str
        The attribute.
    target : str
        Class that has it: `Session`, `Subject`.
    owner : str
        Where it comes from: a class's dotted path, or a distribution.
    state : str
        `ready`, `not loaded`, or `broken:` and the reason.
    """

    name: str
    target: str
    owner: str
    state: str


@dataclass
class _Registry:
    """The module's only state: what was registered, and what installed packages announce."""

    #: Classes that have namespaces.
    targets: list[type] = field(default_factory=list)
    #: Entry points by group and name; None until they are first needed.
    points: dict[tuple[str, str], list[EntryPoint]] | None = None
    #: Why an entry point could not be loaded.
    broken: dict[tuple[str, str], str] = field(default_factory=dict)


_registry = _Registry()


class Namespace:
    """A descriptor that creates the namespace of an object on first access.

    Accessed on the class, it returns the extension class. A dotted path is imported on first use.
    """

    def __init__(self, name: str, extension: type[Any] | str, owner: str | None = None) -> None:
        self.name = name
        self._cls = None if isinstance(extension, str) else extension
        #: Dotted path of the extension class, `module:name`: identifies who owns the name.
        self.path = (
            extension
            if isinstance(extension, str)
            else f"{extension.__module__}:{extension.__qualname__}"
        )
        #: Where it comes from, for messages.
        self.owner = f"{self.path} of {owner}" if owner else self.path

    def load(self) -> type[Any]:
        """Return the extension class, imported if necessary."""
        if self._cls is None:
            module, _, name = self.path.partition(":")
            try:
                self._cls = getattr(importlib.import_module(module), name)
            except AttributeError as error:
                raise BrokenNamespaceError(
                    f"The namespace {self.name!r} cannot be loaded from {self.path}: {error}"
                ) from error
        return self._cls

    def __get__(self, obj: object | None, owner: type[Any] | None = None) -> Any:
        extension = self.load()
        if obj is None:
            return extension
        created = _namespaces_of(obj)
        # The key is the class, not the name: a class registered again gets a new instance.
        if extension not in created:
            # If two threads create one, both get the instance that was stored first.
            return created.setdefault(extension, self._create(extension, obj))
        return created[extension]

    def _create(self, extension: type[Any], obj: object) -> Any:
        try:
            return extension(obj)
        except AttributeError as error:
            # Python would report that the session has no such attribute, and hide the bug.
            raise BrokenNamespaceError(
                f"The namespace {self.name!r} ({self.owner}) could not be created for {obj!r}: "
                f"AttributeError: {error}"
            ) from error


class CoreNamespace(Namespace, property):
    """A namespace that is a core attribute: read-only, and never replaced.

    It is a property, because creating it sends requests: completion does not evaluate properties.
    """

    def __get__(self, obj: object | None, owner: type[Any] | None = None) -> Any:
        return self if obj is None else super().__get__(obj, owner)


def _namespaces_of(obj: object) -> dict[Any, Any]:
    """Return the namespaces created for an object; a new dict if it cannot store any."""
    created: dict[Any, Any] | None = getattr(obj, "_namespaces", None)
    if created is None:
        created = getattr(obj, "__dict__", {}).setdefault("_namespaces", {})
    return created


def register_namespace(
    name: str, cls: type[Any] | None = None, *, owner: str | None = None
) -> Callable[[ExtensionClass], ExtensionClass]:
    """Attach a class to every session (or subject) as the attribute `name`: a decorator.

    The class is called with the session on first access, and the instance is kept with that
    session. Registering a class again under its name (a notebook cell run twice, a module that is
    reloaded) replaces it, for existing sessions too. A program may also replace a namespace that
    comes with this package (`ecephys`, `lims`, `neuroglancer`, `ibl_data_converter`); a warning is
    logged.

    Parameters
    ----------
    name
        The attribute: an identifier that does not begin with an underscore.
    cls
        Class to attach to; by default `Session`.
    owner
        Name of the package that provides it, for messages; by default the class's dotted path.

    Returns
    -------
    callable
        Returns the decorated class unchanged.

    Raises
    ------
    NamespaceError
        The name is not valid, is a core attribute, or belongs to another owner.

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
            raise NamespaceError(f"The namespace {name!r} must be a class, not {extension!r}")
        if cls is None:
            # An upward import: `Session` is defined with this module.
            from aind_session.session import Session
        _attach(Session if cls is None else cls, Namespace(name, extension, owner))
        return extension

    _check_name(name)
    return attach


def attach_builtin(cls: type[Any], paths: Mapping[str, str], *, core: Collection[str] = ()) -> None:
    """Attach the package's own namespaces: paths `module:class` by attribute; some are core."""
    for name, path in paths.items():
        _check_name(name)
        _attach(cls, (CoreNamespace if name in core else Namespace)(name, path))


def names(cls: type[Any]) -> tuple[str, ...]:
    """Return the sorted names of the namespaces of a class, announced ones included."""
    targets = {GROUPS.get(base.__module__) for base in cls.__mro__}
    found = (info for info in _announced() if info.target in targets)
    announced = (info.name for info in found if not info.state.startswith("broken"))
    return tuple(sorted({*_attached(cls), *announced}))


def find_plugin(obj: object, name: str) -> Any:
    """Return the namespace that an installed package announces for an object, else raise.

    Raises
    ------
    AttributeError
        No package announces it, or its import failed (reported once as a `PluginWarning`).
    NamespaceError
        Two packages announce it.
    """
    cls = type(obj)
    if not name.startswith("_"):
        if any(name in base.__dict__ for base in cls.__mro__):
            # A property raised AttributeError, so Python called `__getattr__`: raise that error.
            return object.__getattribute__(obj, name)
        for base in cls.__mro__:
            if base.__module__ in GROUPS and _load_plugin(base, name):
                return object.__getattribute__(obj, name)
    raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}", name=name, obj=obj)


def namespaces() -> tuple[NamespaceInfo, ...]:
    """List all namespaces: built-in, registered, and announced by packages; imports none.

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
    # Upward imports: the classes register their own namespaces when they are imported.
    import aind_session.session
    import aind_session.subject  # noqa: F401

    found = [
        NamespaceInfo(name, cls.__name__, one.owner, "ready" if one._cls else "not loaded")
        for cls in list(_registry.targets)
        for name, one in _attached(cls).items()
    ]
    attached = {(info.target, info.name) for info in found}
    found += [info for info in _announced() if (info.target, info.name) not in attached]
    return tuple(sorted(found, key=lambda info: (info.target, info.name)))


def forget_plugins() -> None:
    """Search for entry points again, and retry those whose import failed."""
    _registry.points = None
    _registry.broken.clear()


def _attached(cls: type[Any]) -> dict[str, Namespace]:
    mro = reversed(cls.__mro__)
    return {k: v for base in mro for k, v in base.__dict__.items() if isinstance(v, Namespace)}


def _attach(cls: type[Any], namespace: Namespace) -> None:
    name = namespace.name
    for base in cls.__mro__:
        if name in base.__dict__:
            _check_replaceable(cls, base, base.__dict__[name], namespace)
    setattr(cls, name, namespace)
    if cls not in _registry.targets:
        _registry.targets.append(cls)


def _check_replaceable(cls: type, base: type, existing: object, namespace: Namespace) -> None:
    """Raise if a namespace may not take the place of a class's existing attribute."""
    attribute = f"{cls.__name__}.{namespace.name}"
    same_owner = isinstance(existing, Namespace) and existing.path == namespace.path
    if same_owner:
        return
    if not isinstance(existing, Namespace) or isinstance(existing, CoreNamespace):
        raise NamespaceError(
            f"{attribute} is a core attribute of {base.__name__}: {namespace.owner} cannot take "
            "its name. Choose another name"
        )
    if not existing.path.startswith(_PACKAGE):
        raise NamespaceError(
            f"{attribute} belongs to {existing.owner}: {namespace.owner} cannot take its name. "
            f"Choose another name, or `del {attribute}` first"
        )
    import logging

    logging.getLogger(__name__).warning(
        "%s of this package is replaced by %s", attribute, namespace.owner
    )


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


# -- entry points of installed packages ------------------------------------------------------------


def _entry_points() -> dict[tuple[str, str], list[EntryPoint]]:
    if _registry.points is None:
        # Imported here because it takes 30 ms, and only attributes that no class has need it.
        from importlib.metadata import entry_points

        found: dict[tuple[str, str], list[EntryPoint]] = {}
        for group in GROUPS:
            for point in entry_points(group=group):
                same = found.setdefault((group, point.name), [])
                # A distribution that is twice on the path announces the same value twice.
                if point.value not in [other.value for other in same]:
                    same.append(point)
        _registry.points = found
        return found
    return _registry.points


def _load_plugin(cls: type[Any], name: str) -> bool:
    """Import and attach the namespace that a package announces; False if there is none."""
    key = (cls.__module__, name)
    points = _entry_points().get(key, [])
    if len(points) > 1:
        raise NamespaceError(
            f"The namespace {name!r} is announced by more than one package, {_owners(points)}: "
            "uninstall all but one"
        )
    for point in points:
        if key not in _registry.broken:
            try:
                loaded = point.load()
                # A module may also register its class itself when it is imported.
                if name not in cls.__dict__:
                    register_namespace(name, cls, owner=_distribution(point))(loaded)
                return True
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                if _registry.broken.setdefault(key, reason) is reason:
                    message = _load_failure(name, point, reason)
                    warnings.warn(message, PluginWarning, stacklevel=4)
        raise AttributeError(_load_failure(name, point, _registry.broken[key]), name=name)
    return False


def _announced() -> Iterator[NamespaceInfo]:
    """Describe each entry point, without importing it."""
    for (group, name), points in _entry_points().items():
        state = "not loaded"
        if len(points) > 1:
            state = "broken: announced by more than one package"
        elif (group, name) in _registry.broken:
            state = f"broken: {_registry.broken[group, name]}"
        yield NamespaceInfo(name, GROUPS[group], _owners(points), state)


def _load_failure(name: str, point: EntryPoint, reason: str) -> str:
    return f"The namespace {name!r} of {_owners([point])} could not be loaded: {reason}"


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _owners(points: list[EntryPoint]) -> str:
    return " and ".join(f"{_distribution(point)} ({point.value})" for point in points)
