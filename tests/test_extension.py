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


def test_registering_gives_the_class_back_and_each_object_its_instance() -> None:
    @register_namespace(INVENTED)
    class Mine(ExtensionBaseClass):
        @property
        def subject(self) -> str:
            found: str = self._base.subject_id
            return found

    session, other = Session(ID), Session(ID)
    mine: Mine = getattr(session, INVENTED)
    assert type(mine) is Mine
    assert mine.subject == "676909"
    assert getattr(session, INVENTED) is mine
    assert getattr(other, INVENTED) is not mine
    assert getattr(Session, INVENTED) is Mine
    assert repr(mine) == f"Mine({session!r})"
    assert INVENTED in dir(session)
    assert not hasattr(Subject, INVENTED)


def test_registering_on_subject_as_older_code_writes_it() -> None:
    @register_namespace(INVENTED, Subject)
    class Mine(ExtensionBaseClass):
        pass

    assert getattr(Subject("676909"), INVENTED)._base.id == "676909"
    assert not hasattr(Session, INVENTED)


def test_instances_do_not_cross_pickles_nor_keep_sessions_alive(target: type[Any]) -> None:
    @register_namespace(INVENTED)
    class Mine(ExtensionBaseClass):
        pass

    session = Session(ID)
    getattr(session, INVENTED)
    assert pickle.loads(pickle.dumps(session)) == session
    assert b"Mine" not in pickle.dumps(session)
    assert copy.deepcopy(session) == session
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None


def test_a_namespace_costs_nothing_until_used(target: type[Any]) -> None:
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


def test_objects_with_a_dict_and_objects_that_can_keep_nothing() -> None:
    class Plain:
        pass

    class Bare:
        __slots__ = ()

    for cls in (Plain, Bare):

        @register_namespace("extra", cls)
        class Extra(ExtensionBaseClass):
            pass

        one: Any = cls()
        assert one.extra._base is one
        assert (one.extra is one.extra) == (cls is Plain)
        assert "Extra" not in cls.__dict__


def test_builtin_ones_are_imported_on_first_use_only(
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
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_module_registers_the_class_that_is_held_as_its_path(target: type[Any]) -> None:
    class Mine(ExtensionBaseClass):
        pass

    path = f"{Mine.__module__}:{Mine.__qualname__}"
    extension.attach_builtin(target, {"mine": path})
    register_namespace("mine", target)(Mine)
    assert type(target().mine) is Mine


def test_a_decorator_without_its_name_says_how_it_is_written() -> None:
    with pytest.raises(NamespaceError, match=r"@register_namespace\(\"a_name\"\)"):
        register_namespace(ExtensionBaseClass)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "_hidden", "__eq__", "not one", "1st", "class", None])
def test_a_name_must_be_a_public_identifier(name: Any) -> None:
    with pytest.raises(NamespaceError, match="cannot be the name"):
        register_namespace(name)


def test_only_classes_are_registered(target: type[Any]) -> None:
    function: Any = lambda base: base  # noqa: E731
    with pytest.raises(NamespaceError, match="must be a class"):
        register_namespace("thing", target)(function)


@pytest.mark.parametrize("name", ["id", "raw_data_asset", "data_assets", "subject_id"])
def test_a_clash_with_a_core_name_is_refused(name: str) -> None:
    before = Session.__dict__[name]
    with pytest.raises(NamespaceError, match=f"Session.{name} is a core attribute of Session"):

        @register_namespace(name)
        class Mine(ExtensionBaseClass):
            pass

    assert Session.__dict__[name] is before


def test_a_second_owner_is_refused_and_both_are_named(target: type[Any]) -> None:
    @register_namespace("taken", target, owner="one-package")
    class First(ExtensionBaseClass):
        pass

    with pytest.raises(NamespaceError) as caught:

        @register_namespace("taken", target)
        class Second(ExtensionBaseClass):
            pass

    for owner in ("First of one-package", "Second", "taken"):
        assert owner in str(caught.value)
    assert isinstance(caught.value, AindSessionError)
    assert type(target().taken) is First


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
        (Session, "ecephys"),
        (Session, "lims"),
        (Subject, "neuroglancer"),
        (Subject, "ibl_data_converter"),
    ],
)
def test_register_namespace_of_the_package_replaces_it_with_a_logged_warning(
    cls: type[Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    existing = cls(ID)
    own = type(getattr(existing, name))
    with caplog.at_level(logging.WARNING, "aind_session"):

        @register_namespace(name=name, cls=cls)
        class Mine(ExtensionBaseClass):
            pass

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{cls.__name__}.{name}" in record.getMessage()
    assert "Mine" in record.getMessage()
    assert own is not Mine
    assert type(getattr(existing, name)) is type(getattr(cls(ID), name)) is Mine
    with pytest.raises(NamespaceError, match=r"belongs to .*Mine"):
        register_namespace(name, cls)(type("Other", (ExtensionBaseClass,), {}))


@pytest.mark.parametrize("cls", [Session, Subject])
def test_register_namespace_docdb_is_refused(cls: type[Any]) -> None:
    with pytest.raises(NamespaceError, match=f"{cls.__name__}.docdb is a core attribute"):
        register_namespace("docdb", cls)(ExtensionBaseClass)


def test_the_same_class_again_replaces_it_for_objects_that_have_it(target: type[Any]) -> None:
    def cell() -> type[Any]:
        @register_namespace("cell", target)
        class Cell(ExtensionBaseClass):
            pass

        return Cell

    first, one = cell(), target()
    assert type(one.cell) is first
    second = cell()
    assert second is not first
    assert type(one.cell) is second


def test_an_attribute_error_in_init_is_told_as_the_bug_it_is() -> None:
    @register_namespace(INVENTED)
    class Buggy(ExtensionBaseClass):
        def __init__(self, base: Any) -> None:
            super().__init__(base)
            base.no_such_thing  # noqa: B018

    assert hasattr(Session, INVENTED)
    with pytest.raises(RuntimeError, match="no_such_thing") as caught:
        hasattr(Session(ID), INVENTED)
    assert isinstance(caught.value.__cause__, AttributeError)
    assert isinstance(caught.value, AindSessionError)
    assert "Buggy" in str(caught.value)


def test_other_errors_in_init_pass(target: type[Any]) -> None:
    @register_namespace("odd", target)
    class Odd:
        def __init__(self, base: Any) -> None:
            raise KeyError("odd")

    with pytest.raises(KeyError, match="odd"):
        _ = target().odd


def test_threads_get_one_instance(target: type[Any]) -> None:
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


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution that announces a namespace on the path, as an installer would."""
    modules: list[str] = []

    def put(
        distribution: str,
        name: str,
        code: str,
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


GOOD = """
from aind_session.extension import ExtensionBaseClass

class Mine(ExtensionBaseClass):
    answer = 42
"""


def test_a_package_brings_a_namespace(install: Install) -> None:
    install("invented-good", "good", GOOD)
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


def test_a_package_brings_a_namespace_for_subjects(install: Install) -> None:
    install("invented-subjects", "litter", GOOD, group="aind_session.subject")
    subject: Any = Subject("676909")
    assert subject.litter.answer == 42
    assert not hasattr(Session(ID), "litter")


def test_a_plugin_module_may_register_itself(install: Install) -> None:
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
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(AttributeError, match=reason) as caught:
            _ = session.broken
        assert getattr(Session(ID), "broken", None) is None
    assert [warning.category for warning in told] == [PluginWarning]
    assert reason in str(told[0].message)
    assert told[0].filename == __file__
    assert "invented-broken" in str(caught.value)
    assert session.subject_id == "676909"
    assert "broken" not in dir(session)
    (info,) = [info for info in extension.namespaces() if info.name == "broken"]
    assert info.state.startswith("broken: ")
    assert reason in info.state


def test_two_packages_of_one_name_are_both_named(install: Install) -> None:
    install("invented-one", "twice", GOOD)
    install("invented-two", "twice", GOOD)
    with pytest.raises(NamespaceError, match=r"invented-(one|two).*invented-(one|two)"):
        _ = getattr(Session(ID), "twice", None)
    (info,) = [info for info in extension.namespaces() if info.name == "twice"]
    assert info.state.startswith("broken")


def test_no_plugin_takes_what_the_class_has(install: Install) -> None:
    install("invented-thief", "subject_id", GOOD)
    assert Session(ID).subject_id == "676909"
    assert "invented_thief" not in sys.modules


def test_what_nobody_has_is_an_attribute_error_of_the_usual_kind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AttributeError, match="'Session' object has no attribute 'nothing'"):
            _ = Session(ID).nothing
        for name in ("_repr_png_", "__array__", "_ipython_canary_method_should_not_exist_"):
            assert not hasattr(Session(ID), name)


def test_private_names_are_no_plugins(install: Install) -> None:
    install("invented-private", "_private", GOOD)
    assert not hasattr(Session(ID), "_private")
    with pytest.raises(AttributeError, match="has no attribute '_private'"):
        extension.find_plugin(Session(ID), "_private")
    assert "invented_private" not in sys.modules


def test_an_error_raised_in_a_property_is_not_replaced() -> None:
    class Raising:
        @property
        def folder(self) -> str:
            raise AttributeError("no folder, and this is why")

        def __getattr__(self, name: str) -> Any:
            return extension.find_plugin(self, name)

    with pytest.raises(AttributeError, match="and this is why"):
        _ = Raising().folder


def test_listing_imports_nothing(install: Install) -> None:
    install("invented-listed", "listed", GOOD)

    @register_namespace(INVENTED, owner="somebody")
    class Mine(ExtensionBaseClass):
        pass

    found = {(info.target, info.name): info for info in extension.namespaces()}
    assert found["Session", "ecephys"].owner == "aind_session.extensions.ecephys:EcephysExtension"
    assert found["Session", INVENTED].state == "ready"
    assert "somebody" in found["Session", INVENTED].owner
    assert found["Session", "listed"].state == "not loaded"
    assert found["Session", "listed"].owner == "invented-listed (invented_listed:Mine)"
    assert ("Subject", "docdb") in found
    assert "invented_listed" not in sys.modules
    session: Any = Session(ID)
    assert session.listed.answer == 42
    found = {(info.target, info.name): info for info in extension.namespaces()}
    assert found["Session", "listed"].state == "ready"
    assert "invented-listed" in found["Session", "listed"].owner


def test_a_failed_namespace_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(BrokenNamespaceError("could not be made")))
    assert isinstance(error, RuntimeError)
    assert str(error) == "could not be made"
