"""Every error: one tree, text that reads, pickles and copies that carry no client."""

from __future__ import annotations

import copy
import pickle

import pytest

from aind_session import AindSessionError, errors
from aind_session.errors import PartialAnswerWarning


def _all(cls: type[AindSessionError]) -> list[type[AindSessionError]]:
    return [cls, *(below for sub in cls.__subclasses__() for below in _all(sub))]


#: Errors that also are a client's take that client's error, and are tested beside it.
EVERY = sorted(
    {c for c in _all(AindSessionError) if c.__module__ == "aind_session.errors"},
    key=lambda c: c.__name__,
)


def _make(cls: type[AindSessionError]) -> AindSessionError:
    return cls("what happened", service="DocDB", status=503, trail=("a", "b"))


def test_error_tree_in_the_docstring_is_complete() -> None:
    drawn = errors.__doc__ or ""
    assert [c.__name__ for c in EVERY if c.__name__ not in drawn] == []


@pytest.mark.parametrize("cls", EVERY, ids=lambda c: c.__name__)
def test_error_reads_as_text_and_pickles(cls: type[AindSessionError]) -> None:
    error = _make(cls)
    # A KeyError would show its text quoted, an OSError its number.
    assert str(error).startswith("what happened")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is cls
        assert str(again) == str(error)
        assert vars(again)["trail"] == ("a", "b")
    for again in (copy.copy(error), copy.deepcopy(error)):
        assert type(again) is cls
        assert vars(again)["status"] == 503


def test_error_with_a_client_pickles_plain_facts_only() -> None:
    class Client:
        token = "cop_0secret0secret0secret0secret"

    error = AindSessionError("x", client=Client(), path="a")
    assert b"cop_0secret" not in pickle.dumps(error)
    assert vars(pickle.loads(pickle.dumps(error))).get("path") == "a"


def test_warning_names_the_service_and_pickles() -> None:
    warning = PartialAnswerWarning("DocDB", "the record", "503")
    assert str(warning) == "DocDB failed (503): the record may be missing"
    again = pickle.loads(pickle.dumps(warning))
    assert str(again) == str(warning)
    assert (again.service, again.missing) == ("DocDB", "the record")
