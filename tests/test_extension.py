"""Namespaces: the decorator, the built-in ones, and those that packages announce."""

from __future__ import annotations

import copy
import gc
import logging
import pickle
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aind_session import extension
from aind_session.errors import (
    AindSessionError,
    BrokenNamespaceError,
    NamespaceError,
    PluginWarning,
)
from aind_session.extension import ExtensionBaseClass, register_namespace
from aind_session.session import Session
from aind_session.subject import Subject

ID = "ecephys_676909_2023-12-13_13-43-40"
INVENTED = "an_invented_namespace"


@pytest.fixture(autouse=True)
def _clean_classes() -> Iterator[None]:
    before = {cls: set(vars(cls)) for cls in (Session, Subject)}
    yield
    for cls, names in before.items():
        for name in set(vars(cls)) - names:
            delattr(cls, name)
    extension.forget_plugins()


@pytest.fixture
def target() -> type[Any]:
    return type("Target", (), {})


def attach(name: str = INVENTED, cls: type[Any] | None = None, **options: Any) -> type[Any]:
    """Register a new namespace class `Mine`."""
    return register_namespace(name, cls, **options)(type("Mine", (ExtensionBaseClass,), {}))


def test_register_namespace_returns_the_class_and_each_object_has_its_instance() -> None:
    made = attach()
    session, other = Session(ID), Session(ID)
    mine = getattr(session, INVENTED)
    assert type(mine) is made
    assert mine._base is session
    assert getattr(session, INVENTED) is mine
    assert getattr(other, INVENTED) is not mine
    assert getattr(Session, INVENTED) is made
    assert repr(mine) == f"Mine({session!r})"
    assert INVENTED in dir(session)
    assert not hasattr(Subject, INVENTED)


def test_register_namespace_on_subject_is_not_on_session() -> None:
    attach(INVENTED, Subject)
    assert getattr(Subject("676909"), INVENTED)._base.id == "676909"
    assert not hasattr(Session, INVENTED)


def test_namespace_instances_do_not_cross_pickles_nor_keep_sessions_alive() -> None:
    attach()
    session = Session(ID)
    getattr(session, INVENTED)
    assert pickle.loads(pickle.dumps(session)) == session
    assert b"Mine" not in pickle.dumps(session)
    assert copy.deepcopy(session) == session
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


def test_namespace_until_used_is_not_created(target: type[Any]) -> None:
    made: list[Any] = []

    @register_namespace("lazy", target)
    class Lazy:
        def __init__(self, base: Any) -> None:
            made.append(base)

    one = target()
    assert "lazy" in dir(one)
    assert hasattr(target, "lazy")
    assert repr(one)
    assert not made
    assert one.lazy is one.lazy
    assert made == [one]


def test_namespace_of_an_object_without_a_dict_is_created_each_time() -> None:
    class Plain:
        pass

    class Bare:
        __slots__ = ()

    for cls in (Plain, Bare):
        attach("extra", cls)
        one: Any = cls()
        assert one.extra._base is one
        assert (one.extra is one.extra) == (cls is Plain)
        assert "Mine" not in cls.__dict__


def test_attach_builtin_imports_on_first_use_only(
    target: type[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "invented_late.py").write_text("class Late:\n    def __init__(self, base): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    extension.attach_builtin(target, {"late": "invented_late:Late", "absent": "invented_late:No"})
    one = target()
    assert extension.names(target) == ("absent", "late")
    assert {"late", "absent"} <= set(dir(one))
    assert "invented_late" not in sys.modules
    assert type(one.late).__name__ == "Late"
    assert target.late is type(one.late)
    with pytest.raises(BrokenNamespaceError, match="invented_late:No"):
        _ = one.absent
    monkeypatch.delitem(sys.modules, "invented_late")


def test_importing_the_classes_imports_no_namespace_and_looks_up_no_entry_point() -> None:
    code = (
        "import sys, aind_session.session, aind_session.subject; "
        "aind_session.session.Session('ecephys_676909_2023-12-13_13-43-40'); "
        "print([m for m in sys.modules if m.startswith('aind_session.extensions.') "
        "or m.startswith('importlib.metadata')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_register_namespace_of_a_class_attached_by_its_path_is_accepted(target: type[Any]) -> None:
    path = f"{ExtensionBaseClass.__module__}:{ExtensionBaseClass.__qualname__}"
    extension.attach_builtin(target, {"mine": path})
    register_namespace("mine", target)(ExtensionBaseClass)
    assert type(target().mine) is ExtensionBaseClass


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (ExtensionBaseClass, r"@register_namespace\(\"a_name\"\)"),
        *((name, "cannot be the name") for name in ("", "_hidden", "__eq__", "not one", "1st")),
        *((name, "cannot be the name") for name in ("class", None)),
    ],
)
def test_register_namespace_without_a_public_identifier_raises(name: Any, message: str) -> None:
    with pytest.raises(NamespaceError, match=message):
        register_namespace(name)


def test_register_namespace_of_a_function_raises(target: type[Any]) -> None:
    function: Any = lambda base: base  # noqa: E731
    with pytest.raises(NamespaceError, match="must be a class"):
        register_namespace("thing", target)(function)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        *((Session, name) for name in ("id", "raw_data_asset", "data_assets", "subject_id")),
        *((Session, "docdb"), (Subject, "docdb")),
    ],
)
def test_register_namespace_of_a_core_name_is_refused(cls: type[Any], name: str) -> None:
    before = cls.__dict__[name]
    message = f"{cls.__name__}.{name} is a core attribute of {cls.__name__}"
    with pytest.raises(NamespaceError, match=message):
        attach(name, cls)
    assert cls.__dict__[name] is before


def test_register_namespace_of_a_second_owner_is_refused_and_both_are_named(
    target: type[Any],
) -> None:
    first = attach("taken", target, owner="one-package")
    with pytest.raises(NamespaceError) as caught:
        register_namespace("taken", target)(ExtensionBaseClass)
    for owner in ("Mine of one-package", "ExtensionBaseClass", "taken"):
        assert owner in str(caught.value)
    assert isinstance(caught.value, AindSessionError)
    assert type(target().taken) is first


@pytest.fixture
def package_namespaces() -> Iterator[None]:
    """Restore the package's own namespaces after a test that replaces them."""
    before = [(cls, k, v) for cls in (Session, Subject) for k, v in vars(cls).items()]
    yield
    for cls, name, value in before:
        if isinstance(value, extension.Namespace):
            setattr(cls, name, value)


@pytest.mark.usefixtures("package_namespaces")
@pytest.mark.parametrize(
    ("cls", "name"),
    [
        *((Session, "ecephys"), (Session, "lims")),
        *((Subject, "neuroglancer"), (Subject, "ibl_data_converter")),
    ],
)
def test_register_namespace_of_the_package_replaces_it_with_a_logged_warning(
    cls: type[Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    existing = cls(ID)
    own = type(getattr(existing, name))
    with caplog.at_level(logging.WARNING, "aind_session"):
        mine = attach(name=name, cls=cls)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{cls.__name__}.{name}" in record.getMessage()
    assert "Mine" in record.getMessage()
    assert own is not mine
    assert type(getattr(existing, name)) is type(getattr(cls(ID), name)) is mine
    with pytest.raises(NamespaceError, match=r"belongs to .*Mine"):
        register_namespace(name, cls)(type("Other", (ExtensionBaseClass,), {}))


def test_register_namespace_again_replaces_it_for_existing_objects(target: type[Any]) -> None:
    first, one = attach("cell", target), target()
    assert type(one.cell) is first
    second = attach("cell", target)
    assert second is not first
    assert type(one.cell) is second


def test_namespace_attribute_error_in_init_is_a_runtime_error() -> None:
    @register_namespace(INVENTED)
    class Buggy(ExtensionBaseClass):
        def __init__(self, base: Any) -> None:
            super().__init__(base)
            _ = base.no_such_thing

    assert hasattr(Session, INVENTED)
    with pytest.raises(RuntimeError, match="no_such_thing") as caught:
        hasattr(Session(ID), INVENTED)
    assert isinstance(caught.value.__cause__, AttributeError)
    assert isinstance(caught.value, AindSessionError)
    assert "Buggy" in str(caught.value)


def test_namespace_other_error_in_init_is_raised_as_it_is(target: type[Any]) -> None:
    @register_namespace("odd", target)
    class Odd:
        def __init__(self, base: Any) -> None:
            raise KeyError("odd")

    with pytest.raises(KeyError, match="odd"):
        _ = target().odd


def test_namespace_in_two_threads_is_one_instance(target: type[Any]) -> None:
    both_inside = threading.Barrier(2, timeout=10)

    @register_namespace("shared", target)
    class Shared:
        def __init__(self, base: Any) -> None:
            both_inside.wait()

    one = target()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(one.shared)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1] is one.shared


Install = Callable[..., None]
GOOD = """
from aind_session.extension import ExtensionBaseClass

class Mine(ExtensionBaseClass):
    answer = 42
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution that announces a namespace on the path, as an installer would."""
    modules: list[str] = []

    def put(
        distribution: str,
        name: str,
        code: str = GOOD,
        *,
        group: str = "aind_session.session",
        attribute: str = "Mine",
    ) -> None:
        module = distribution.replace("-", "_")
        root = tmp_path / distribution
        info = root / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (root / f"{module}.py").write_text(code)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{attribute}\n")
        monkeypatch.syspath_prepend(root)
        modules.append(module)
        extension.forget_plugins()

    yield put
    for module in modules:
        sys.modules.pop(module, None)


def test_plugin_of_a_package_is_an_attribute_of_sessions(install: Install) -> None:
    install("invented-good", "good")
    session: Any = Session(ID)
    assert "good" in dir(session)
    assert "good" not in dir(Subject("676909"))
    assert "invented_good" not in sys.modules
    assert session.good.answer == 42
    assert session.good._base is session
    assert session.good is session.good
    assert type(session.good) is vars(sys.modules["invented_good"])["Mine"]
    assert "good" in dir(session)
    assert not hasattr(Subject("676909"), "good")


def test_plugin_for_subjects_and_one_that_registers_itself_are_found(install: Install) -> None:
    install("invented-subjects", "litter", group="aind_session.subject")
    subject: Any = Subject("676909")
    assert subject.litter.answer == 42
    assert not hasattr(Session(ID), "litter")
    code = GOOD.replace(
        "class Mine",
        "from aind_session.extension import register_namespace\n"
        "@register_namespace('itself')\nclass Mine",
    )
    install("invented-itself", "itself", code)
    session: Any = Session(ID)
    assert session.itself.answer == 42


@pytest.mark.parametrize(
    ("code", "attribute", "reason"),
    [
        ("import a_package_that_is_absent", "Mine", "ModuleNotFoundError"),
        ("1 / 0", "Mine", "ZeroDivisionError"),
        ("", "Mine", "AttributeError"),
        ("Mine = 5", "Mine", "must be a class"),
    ],
)
def test_a_broken_plugin_is_one_warning_and_breaks_nothing_else(
    install: Install, code: str, attribute: str, reason: str
) -> None:
    install("invented-broken", "broken", code, attribute=attribute)
    session: Any = Session(ID)
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        with pytest.raises(AttributeError, match=reason) as caught:
            _ = session.broken
        assert getattr(Session(ID), "broken", None) is None
    assert [warning.category for warning in caught_warnings] == [PluginWarning]
    assert reason in str(caught_warnings[0].message)
    assert caught_warnings[0].filename == __file__
    assert "invented-broken" in str(caught.value)
    assert session.subject_id == "676909"
    assert "broken" not in dir(session)
    (info,) = [info for info in extension.namespaces() if info.name == "broken"]
    assert info.state.startswith("broken: ")
    assert reason in info.state


def test_plugin_announced_by_two_packages_raises_and_names_both(install: Install) -> None:
    install("invented-one", "twice")
    install("invented-two", "twice")
    with pytest.raises(NamespaceError, match=r"invented-(one|two).*invented-(one|two)"):
        _ = getattr(Session(ID), "twice", None)
    (info,) = [info for info in extension.namespaces() if info.name == "twice"]
    assert info.state.startswith("broken")


def test_session_unknown_attribute_is_the_usual_attribute_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AttributeError, match="'Session' object has no attribute 'nothing'"):
            getattr(Session(ID), "nothing")  # noqa: B009
        for name in ("_repr_png_", "__array__", "_ipython_canary_method_should_not_exist_"):
            assert not hasattr(Session(ID), name)


def test_plugin_with_a_private_or_core_name_is_not_loaded(install: Install) -> None:
    install("invented-thief", "subject_id")
    assert Session(ID).subject_id == "676909"
    assert "invented_thief" not in sys.modules
    install("invented-private", "_private")
    assert not hasattr(Session(ID), "_private")
    with pytest.raises(AttributeError, match="has no attribute '_private'"):
        extension.find_plugin(Session(ID), "_private")
    assert "invented_private" not in sys.modules


def test_find_plugin_after_an_error_in_a_property_raises_that_error() -> None:
    class Raising:
        @property
        def folder(self) -> str:
            raise AttributeError("no folder, and this is why")

        def __getattr__(self, name: str) -> Any:
            return extension.find_plugin(self, name)

    with pytest.raises(AttributeError, match="and this is why"):
        _ = Raising().folder


def test_namespaces_lists_all_and_imports_none(install: Install) -> None:
    install("invented-listed", "listed")
    attach(owner="a-package")
    found = {(info.target, info.name): info for info in extension.namespaces()}
    assert found["Session", "ecephys"].owner == "aind_session.extensions.ecephys:EcephysExtension"
    assert found["Session", INVENTED].state == "ready"
    assert "a-package" in found["Session", INVENTED].owner
    assert found["Session", "listed"].state == "not loaded"
    assert found["Session", "listed"].owner == "invented-listed (invented_listed:Mine)"
    assert ("Subject", "docdb") in found
    assert "invented_listed" not in sys.modules
    session: Any = Session(ID)
    assert session.listed.answer == 42
    found = {(info.target, info.name): info for info in extension.namespaces()}
    assert found["Session", "listed"].state == "ready"
    assert "invented-listed" in found["Session", "listed"].owner
