"""Sessions and subjects as Python objects: user attributes, subclasses, pickles, types of input."""

from __future__ import annotations

import copy
import pickle
from pathlib import PurePosixPath
from typing import Any

import pytest

from aind_session import Session, Subject
from aind_session.errors import InvalidIdentifierError

ID = "ecephys_676909_2023-12-13_13-43-40"


class NotedSession(Session):
    """A user's subclass, with a signature of its own."""

    kind = "noted"

    def __init__(self, text: str, note: str) -> None:
        super().__init__(text)
        self.note = note


class NotedSubject(Subject):
    def __init__(self, litter: int) -> None:
        super().__init__(676909)
        self.litter = litter


@pytest.mark.parametrize("value", [Session(ID), Subject(676909)], ids=["session", "subject"])
def test_value_user_attributes_are_kept_in_copies_and_pickles(value: Any) -> None:
    assert vars(value) == {}
    value.note = [1]
    assert vars(value) == {"note": [1]}
    assert "note" in dir(value)
    for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert type(again) is type(value)
        assert again == value
        assert again.note == [1]
        again.other = 2
    assert copy.deepcopy(value).note is not value.note
    assert not hasattr(value, "other")
    del value.note
    assert not hasattr(value, "note")


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        *((Session, name) for name in ("id", "subject_id", "dt", "raw_data_asset", "data_assets")),
        *((Subject, name) for name in ("id", "sessions", "data_assets", "docdb")),
        (Session, "docdb"),
    ],
)
def test_value_core_properties_are_read_only(cls: type[Any], name: str) -> None:
    value = cls(ID)
    with pytest.raises(AttributeError):
        setattr(value, name, 1)
    with pytest.raises(AttributeError):
        delattr(value, name)
    assert vars(value) == {}


@pytest.mark.parametrize(
    ("value", "attributes"),
    [(NotedSession(ID, "good"), {"note": "good"}), (NotedSubject(3), {"litter": 3})],
)
def test_value_subclass_with_its_own_signature_and_attributes_pickles(
    value: Any, attributes: dict[str, object]
) -> None:
    again = pickle.loads(pickle.dumps(value))
    assert type(again) is type(value)
    assert vars(again) == vars(value) == attributes
    plain = Session(ID) if isinstance(value, Session) else Subject(676909)
    assert again == plain
    assert hash(again) == hash(plain)


def test_value_pickle_of_the_former_form_is_read() -> None:
    # A class and its ID: what earlier versions wrote.
    old = b"caind_session.session\nSession\n(V" + ID.encode() + b"\ntR."
    assert pickle.loads(old) == Session(ID)


def test_value_pickle_without_user_attributes_holds_the_id_only() -> None:
    session = Session(ID)
    _ = session.ecephys
    for value in (session, Subject("018559")):
        assert len(pickle.dumps(value)) < len(ID) + 120


@pytest.mark.parametrize(
    "value",
    [
        *(ID, f"/data/{ID}/ecephys", PurePosixPath(f"/data/{ID}"), Session(ID), {"name": ID}),
        *(f"{ID}_sorted_2024-03-01_16-02-45", "676909_2023-12-13", "/allen/programs/676909/images"),
    ],
)
def test_subject_of_a_text_with_a_subject_returns_it(value: Any) -> None:
    assert Subject(value) == Subject("676909")


@pytest.mark.parametrize("value", ["", "raw", "no subject 12345", None, "67-69", {}, True])
def test_subject_of_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(InvalidIdentifierError):
        Subject(value)
