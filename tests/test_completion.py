"""Tab completion: attributes and namespaces, and no requests."""

from __future__ import annotations

import rlcompleter
import warnings

import pytest

import aind_session
from aind_session import Session, Subject
from aind_session.sandbox import Sandbox

SESSION = "ecephys_676909_2023-12-13_13-43-40"
OF_SESSION = {"attached_dirs", "data_assets", "docdb", "ecephys", "lims", "raw_data_dir", "subject"}
OF_SUBJECT = {"data_assets", "docdb", "ibl_data_converter", "neuroglancer", "sessions"}
OF_SESSIONS = {"count", "filter", "from_csv", "index", "map", "prefetch", "run"}
OF_SESSIONS |= {"to_pandas", "to_polars"}


def offered(text: str, **names: object) -> set[str]:
    """Return what plain Python offers at a Tab after a text."""
    completer = rlcompleter.Completer(names)
    with warnings.catch_warnings():
        # Constants under an older name, which it reads on the class.
        warnings.simplefilter("ignore", DeprecationWarning)
        found = [completer.complete(text, 0)]
        while found[-1] is not None:
            found.append(completer.complete(text, len(found)))
    return {one.removeprefix(text).rstrip("()") for one in found if one is not None}


def test_rlcompleter_offers_public_names_and_sends_no_request(sandbox: Sandbox) -> None:
    session = Session(SESSION)
    names = {
        "session": session,
        "subject": Subject(676909),
        "some": aind_session.Sessions([session]),
    }
    for text, expected in (
        ("session.", OF_SESSION),
        ("subject.", OF_SUBJECT),
        ("some.", OF_SESSIONS),
        ("session.ecephys.", {"is_sorted", "sorter", "sorted_data_assets"}),
        ("session.lims.", {"id"}),
    ):
        found = offered(text, **names)
        assert expected <= found, text
        assert not any(name.startswith("_") for name in found), text
    assert offered("some.", **names) == OF_SESSIONS
    assert sandbox.count() == 0
    # The docdb namespace itself is created by evaluating `session.docdb`.
    assert {"genotype", "v1", "keys"} <= offered("session.docdb.", **names)
    assert session.docdb.genotype
    assert sandbox.count("docdb") == 2


def test_jedi_separates_a_session_from_sessions() -> None:
    jedi = pytest.importorskip("jedi")
    some = aind_session.Sessions([Session(SESSION)])
    for text, expected in (("some[0].", OF_SESSION), ("some[:1].", {"map", "to_pandas"})):
        found = {one.name for one in jedi.Interpreter(text, [{"some": some}]).complete()}
        assert expected <= found
        assert ("map" in found) is (text == "some[:1].")
