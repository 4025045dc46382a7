"""A user's program for type checkers; it also runs against the sandbox.

mypy and pyright check the type of each line with `assert_type`, and each line with
`type: ignore` is a mistake that they find: mypy reports unused ones.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from typing_extensions import assert_type
from upath import UPath

import aind_session
from aind_session import Sandbox, Session, Sessions, Subject, get_sessions
from aind_session.extensions.docdb import SessionDocDB
from aind_session.extensions.ecephys import EcephysExtension, SortedDataAsset
from aind_session.extensions.ibl.converter import IBLDataConverterExtension
from aind_session.extensions.ibl.neuroglancer import NeuroglancerExtension, NeuroglancerState
from aind_session.runs import RunPlan


def ask_a_session() -> None:
    session = Session("ecephys_676909_2023-12-13_13-43-40")
    assert_type(session.id, str)
    assert_type(session.subject_id, str)
    assert_type(session.subject, Subject)
    assert_type(session.platform, str | None)
    assert_type(session.dt, datetime.datetime)
    assert_type(session.is_uploaded, bool)
    assert_type(session.modalities, tuple[str, ...])
    assert_type(session.raw_data_dir, UPath)
    assert_type(session.attached_dirs, tuple[Path, ...])
    # Models of Code Ocean's library have types for pyright; mypy finds none in it.
    name: str = session.raw_data_asset.name
    created: list[int] = [asset.created for asset in session.data_assets]
    assert (name, len(created)) == (session.id, 42)
    result = session.get_derived_data_assets("sorted")[0]
    assert_type(result.is_error, bool)
    assert_type(result.label, str | None)
    assert_type(result.path, UPath | None)


def create_sessions() -> None:
    name = "ecephys_676909_2023-12-13_13-43-40"
    session = Session(name)
    record = aind_session.get_record(name)
    for same in (
        Session(Path("/data", name)),
        Session(session.raw_data_dir),
        Session(session.raw_data_asset),
        Session(record),
        Session({"name": name}),
        Session(session),
    ):
        assert same == session


def ask_its_metadata() -> None:
    session = Session("ecephys_676909_2023-12-13_13-43-40")
    assert_type(session.docdb, SessionDocDB)
    assert_type(session.docdb["subject"], Any)
    assert_type(session.docdb.genotype, str | None)
    assert_type(session.docdb.modalities, tuple[str, ...])
    assert_type(session.docdb.acquisition_start, datetime.datetime | None)
    assert_type(session.docdb.v2.schema_version, str | None)
    assert_type(aind_session.get_record(session.id).sex, str | None)
    assert_type(aind_session.get_docdb_record(session.id), dict[str, Any])


def ask_its_sortings() -> None:
    session = Session("ecephys_676909_2023-12-13_13-43-40")
    assert_type(session.ecephys, EcephysExtension)
    assert_type(session.ecephys.is_sorted, bool)
    assert_type(session.ecephys.sorted_data_assets, tuple[SortedDataAsset, ...])
    assert_type(session.ecephys.sorted_data_assets[0].sorter_name, str)
    assert_type(session.ecephys.sorted_data_assets[0].sorted_probes, tuple[str, ...])
    assert_type(session.ecephys.sorter.names, tuple[str, ...])
    by_sorter = session.ecephys.sorter.kilosort2_5.sorted_data_assets
    assert_type(by_sorter[-1], SortedDataAsset)
    assert_type(aind_session.ecephys.get_sorter_name(by_sorter[-1].id), str)
    aligned = "ecephys_795555_2025-08-26_11-29-20"
    annotations = aind_session.ecephys.get_latest_ibl_annotations
    assert_type(annotations(aligned), dict[str, dict[str, Any]])
    assert_type(annotations(aligned, as_ccf_records=True), list[dict[str, Any]])
    assert_type(Session("ecephys_747816_2024-08-14_13-57-37").lims.id, int)


def ask_a_subject() -> None:
    subject = Subject(717381)
    assert_type(subject.sessions, Sessions)
    assert_type(subject.docdb.genotype, str | None)
    assert_type(subject.neuroglancer, NeuroglancerExtension)
    assert_type(subject.neuroglancer.states, tuple[NeuroglancerState, ...])
    assert_type(subject.ibl_data_converter, IBLDataConverterExtension)


def ask_many() -> None:
    found = get_sessions(676909, platform="ecephys", start_date="2023-12-13")
    assert_type(found, Sessions)
    assert_type(found[0], Session)
    assert_type(found[:1], Sessions)
    assert_type(list(found), list[Session])
    assert_type(found.prefetch(), Sessions)
    assert_type(found.map(lambda session: session.subject_id), list[str])
    assert_type(
        found.map(lambda session: session.subject_id, errors="return"), list[str | Exception]
    )
    pipeline = aind_session.ecephys.DEFAULT_SORTING_PIPELINE_ID
    assert_type(found.run(pipeline, dry_run=True), RunPlan)
    for one in aind_session.iter_sessions(subject_id=668759):
        assert_type(one, Session)
    for attached in aind_session.attached():
        assert_type(attached.session, Session | None)


def use_the_rest() -> None:
    with aind_session.sandbox() as box:
        assert_type(box, Sandbox)
        assert_type(box.count(), int)

    @aind_session.register_namespace("typed_example")
    class Example(aind_session.ExtensionBaseClass):
        def number(self) -> int:
            return 1

    # A decorated class keeps its type. Its attribute is not part of `Session` for a checker:
    # call the class, or annotate a subclass.
    session = Session("ecephys_676909_2023-12-13_13-43-40")
    assert_type(Example(session).number(), int)

    class TypedSession(Session):
        typed_example: Example

    assert_type(TypedSession(session).typed_example.number(), int)
    delattr(Session, "typed_example")


def make_mistakes(session: Session) -> None:
    """Not run: what checkers find."""
    session.docdb.genotype.upper()  # type: ignore[union-attr]
    session.id = "other"  # type: ignore[misc]
    print(session.raw_data_dirr)  # type: ignore[attr-defined]
    print(Subject("676909").ecephys)  # type: ignore[attr-defined]
    get_sessions(676909)[0].dt + 1  # type: ignore[operator]
    get_sessions(676909, plattform="ecephys")  # type: ignore[call-arg]
    get_sessions(676909).map(repr, errors="ignore")  # type: ignore[call-overload]
