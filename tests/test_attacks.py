"""Interrupts, invalid values, odd records, and what the cache keeps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import aind_session
from aind_session import Sandbox, Session, Sessions, Subject, context, settings, trace
from aind_session.clock import use_clock
from aind_session.context import Cache
from aind_session.errors import InvalidFilterError, MissingAttributeError, ServiceError
from aind_session.extensions.docdb import get_record
from aind_session.identifiers import session_in_name
from aind_session.lookup import evidence, rules
from aind_session.services.assets import assets_mentioning
from aind_session.services.metadata import RecordSummary
from aind_session.services.models import AssetSummary
from aind_session.services.s3 import Listing
from aind_session.table import as_rows
from aind_session.table import table as columns_of
from aind_session.threads import WORKERS, outcomes
from aind_session.trace import tracing
from loopback import FakeClock
from worlds import invent_cohort, invent_world

MANY = Sessions(Session(f"ecephys_{n}_2024-01-01_10-00-00") for n in range(700_000, 700_200))


class TestInterrupts:
    def test_cache_waiting_for_an_interrupted_request_sends_it(self) -> None:
        cache = Cache()
        begun, waiting = threading.Event(), threading.Event()

        class Noticing(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                waiting.set()
                return super().wait(timeout)

        def interrupted() -> str:
            cache._flights[("k",)].landed = Noticing()
            begun.set()
            assert waiting.wait(10)
            raise KeyboardInterrupt

        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(cache.get, ("k",), interrupted, 10)
            assert begun.wait(10)
            second = threads.submit(cache.get, ("k",), lambda: "sent again", 10)
            assert isinstance(first.exception(10), KeyboardInterrupt)
            # The Ctrl-C of another caller does not interrupt this one.
            assert second.result(10) == "sent again"

    def test_outcomes_interrupted_makes_no_further_call(self) -> None:
        called: list[int] = []
        stop = threading.Event()

        def interrupted() -> None:
            raise KeyboardInterrupt

        def call(n: int) -> None:
            called.append(n)
            assert stop.wait(10)

        try:
            with pytest.raises(KeyboardInterrupt):
                outcomes(interrupted, *(lambda n=n: call(n) for n in range(300)))
        finally:
            stop.set()
            context.current().threads.close()
        assert len(called) <= WORKERS

    def test_map_interrupted_makes_no_further_call(self) -> None:
        called: list[str] = []
        go = threading.Event()

        def call(session: Session) -> None:
            called.append(session.id)
            if session == MANY[0]:
                raise KeyboardInterrupt
            assert go.wait(10)

        with ThreadPoolExecutor(2) as executor:
            try:
                with pytest.raises(KeyboardInterrupt):
                    MANY.map(call, executor=executor, progress=False)
            finally:
                go.set()
        assert len(called) <= 4

    def test_map_with_an_executor_that_closes_makes_no_further_call(self) -> None:
        called: list[str] = []
        go = threading.Event()

        class Closing(ThreadPoolExecutor):
            submitted = 0

            def submit(self, *args: Any, **kwargs: Any) -> Any:
                self.submitted += 1
                if self.submitted > 100:
                    raise RuntimeError("cannot schedule new futures after shutdown")
                return super().submit(*args, **kwargs)

        def call(session: Session) -> None:
            called.append(session.id)
            assert go.wait(10)

        with Closing(2) as executor:
            try:
                with pytest.raises(RuntimeError, match="after shutdown"):
                    MANY.map(call, executor=executor)
            finally:
                go.set()
        assert len(called) <= 4


class TestTheClass:
    def test_subclass_property_that_fails_raises_its_own_error(self, sandbox: Sandbox) -> None:
        class Odd(Session):
            @property
            def broken(self) -> object:
                return [].nowhere  # type: ignore[attr-defined]

            @property
            def mistyped(self) -> object:
                return self.raw_data_dri  # type: ignore[attr-defined]

        unknown = Odd("ecephys_123456_2024-01-01_10-00-00")
        # An error raised, and caught, before is not raised again.
        unknown.explain()
        with pytest.raises(AttributeError, match="'list' object has no attribute 'nowhere'"):
            _ = unknown.broken
        with pytest.raises(AttributeError, match="raw_data_dri"):
            _ = unknown.mistyped
        with pytest.raises(MissingAttributeError, match="no folder of raw files"):
            _ = unknown.modalities

    @pytest.mark.parametrize("make", [Session, Subject])
    def test_session_of_a_session_looks_for_no_plugin(
        self, make: type[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked_for: list[str] = []
        monkeypatch.setattr(
            "aind_session.extension.find_plugin", lambda obj, name: looked_for.append(name)
        )
        assert make(MANY[0]) == make(MANY[0].id if make is Session else MANY[0].subject_id)
        assert looked_for == []


class TestOddRecords:
    @pytest.mark.parametrize("location", ["s3://", "s3://aind-ephys-data", "s3://aind-ephys-data/"])
    def test_record_whose_location_is_a_bucket_is_ignored(
        self, sandbox: Sandbox, location: str
    ) -> None:
        session = Session("ecephys_676909_2023-12-13_13-43-40")
        odd = {"_id": "odd", "name": session.id, "location": location, "created": "2099"}
        sandbox.catalogue.add_record("v1", odd)
        assert session.raw_data_dir.as_posix() == f"s3://aind-ephys-data/{session.id}"
        assert "ecephys" in session.modalities

    def test_modalities_of_other_folders_are_left_out(self, sandbox: Sandbox) -> None:
        session = Session("990007_2024-01-01_10-00-00")
        inside = ("behavior-videos", "pophys", "derivatives", "logs", "original_metadata")
        for name in (*inside, "ecephys_clipped"):
            sandbox.catalogue.add_object("aind-open-data", f"{session.id}/{name}/a", "a")
        assert session.modalities == ("behavior-videos", "ecephys", "pophys")

    @pytest.mark.parametrize("newest", ["s3://aind-open-data/{}", "s3://aind-ophys-data/{}"])
    def test_raw_data_dir_of_two_records_is_the_newest(self, sandbox: Sandbox, newest: str) -> None:
        session = Session("ecephys_999009_2024-01-01_10-00-00")
        for number, place in enumerate(("s3://aind-open-data/{}", "s3://aind-ophys-data/{}")):
            record = {"_id": f"r{number}", "name": session.id, "location": place.format(session.id)}
            year = 2025 if place == newest else 2024
            sandbox.catalogue.add_record("v1", {**record, "created": f"{year}-01-01T00:00:00Z"})
        assert session.raw_data_dir.as_posix() == newest.format(session.id)

    def test_linked_asset_that_is_archived_is_left_out(self, sandbox: Sandbox) -> None:
        linked = "00000000-0000-4000-8000-00000000aaaa"
        session = Session("ecephys_676909_2023-12-13_13-43-40")
        whole = {**sandbox.catalogue.data_assets[0], "id": linked, "name": f"{session.id}_x"}
        sandbox.catalogue.add_asset({**whole, "archived": True})
        record = {"_id": "r", "name": session.id, "external_links": {"Code Ocean": [linked]}}
        sandbox.catalogue.add_record("v1", record)
        assert len(session.data_assets) == 42
        for asset in sandbox.catalogue.data_assets:
            asset["archived"] = False
        session.refresh()
        assert len(session.data_assets) == 43

    def test_folder_named_raw_behind_the_id_is_the_raw_folder(self, sandbox: Sandbox) -> None:
        session = Session("behavior_ZS059_2021-03-26_13-52-11")
        folder = f"{session.id}_raw_data"
        record = {"_id": "r", "name": folder, "location": f"s3://aind-open-data/{folder}"}
        sandbox.catalogue.add_record("v1", record)
        sandbox.catalogue.add_object("aind-open-data", f"{folder}/behavior/a.csv", "a")
        assert session.raw_data_dir.name == folder
        assert session.is_uploaded
        assert session.modalities == ("behavior",)
        assert session.docdb["_id"] == "r"

    @pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"id": 5, "name": "x"}'])
    def test_linked_asset_without_an_id_is_left_out(
        self, sandbox: Sandbox, body: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        linked = "00000000-0000-4000-8000-00000000dead"
        session = Session("ecephys_676909_2023-12-13_13-43-40")
        record = {"_id": "r", "name": session.id, "external_links": {"Code Ocean": [linked]}}
        sandbox.catalogue.add_record("v1", record)
        sandbox.fail(service="codeocean", path=linked, status=200, body=body, times=None)
        with caplog.at_level("INFO", logger="aind_session"):
            assert len(session.data_assets) == 42
        assert f"Linked data asset {linked} is left out" in caplog.text


def test_docdb_value_missing_in_one_schema_comes_from_the_other(sandbox: Sandbox) -> None:
    session = Session("ecephys_999013_2024-01-01_10-00-00")
    older = {"subject": {"sex": "Male"}, "data_description": {"project_name": "Older"}}
    newer = {"subject": {"subject_details": {"sex": "Female", "genotype": "wt"}}}
    for generation, record in (("v1", older), ("v2", newer)):
        sandbox.catalogue.add_record(generation, {"_id": generation, "name": session.id, **record})
    found = session.docdb
    assert (found.project, found.sex, found.genotype) == ("Older", "Male", "wt")
    assert (found["_id"], found.v1.genotype, found.v2.sex) == ("v1", None, "Female")


def test_get_record_of_a_result_without_link_finds_it(sandbox: Sandbox) -> None:
    result, own = (f"00000000-0000-4000-8000-00000000{end}" for end in ("cccc", "dddd"))
    location = f"s3://{settings.RESULTS_BUCKET}/{result}"
    sandbox.catalogue.add_record("v2", {"_id": own, "name": "x", "location": location})
    for known_by in (result, own, location, f"{location}/", "x"):
        assert get_record(known_by).id == own, known_by


def test_asset_with_a_copied_field_belongs_to_the_subject_in_its_name(sandbox: Sandbox) -> None:
    named = "ecephys_999011_2024-01-01_10-00-00"
    asset = {**sandbox.catalogue.data_assets[0], "id": "a", "name": named}
    sandbox.catalogue.add_asset({**asset, "custom_metadata": {"subject id": "999012"}})
    assert [a.id for a in Subject(999011).data_assets] == ["a"]
    assert Subject(999012).data_assets == ()


def test_subject_records_are_all_and_only_its_own(sandbox: Sandbox) -> None:
    mine, others = "ecephys_999014_2024-01-01_10-00-00", "ecephys_999015_2024-01-01_10-00-00"
    subject = {"subject": {"subject_id": "999014"}}
    records: list[dict[str, Any]] = [
        {"name": mine, "subject": None},
        {"name": f"{mine}_processed_2024-01-02_10-00-00", **subject},
        {"name": "a name without session", **subject},
        # A copied core file.
        {"name": others, **subject},
    ]
    for number, record in enumerate(records):
        sandbox.catalogue.add_record("v1", {"_id": str(number), **record})
    assert sorted(str(r["_id"]) for r in Subject(999014).docdb.records) == ["0", "1", "2"]
    assert [r["_id"] for r in Subject(999015).docdb.records] == ["3"]


def test_linked_asset_that_was_closed_is_found_after_a_refresh(sandbox: Sandbox) -> None:
    linked = "00000000-0000-4000-8000-00000000abcd"
    session = Session("ecephys_999006_2024-01-01_10-00-00")
    record = {"_id": "r", "name": session.id, "external_links": {"Code Ocean": [linked]}}
    sandbox.catalogue.add_record("v1", record)
    assert linked not in [asset.id for asset in session.data_assets]
    whole = sandbox.catalogue.data_assets[0]
    sandbox.catalogue.add_asset({**whole, "id": linked, "name": "no name of a session"})
    assert linked not in [asset.id for asset in session.data_assets]
    session.refresh()
    assert linked in [asset.id for asset in session.data_assets]


@pytest.mark.parametrize("seed", [3, 8])
def test_table_of_any_world_agrees_with_the_sessions(seed: int) -> None:
    catalogue, truth = invent_world(seed, 30)
    with aind_session.sandbox(catalogue):
        # As written, and in the spelling with a platform, or without one.
        written = [Session(name) for name in truth.sessions]
        other = [Session(s._id.bare if s._id.platform else f"behavior_{s.id}") for s in written]
        columns = ("n_assets", "raw_asset_id", "platform")
        for sessions in (written, other):
            table = as_rows(columns_of([s._id for s in sessions], columns))
            for session, row in zip(sessions, table, strict=True):
                raw = getattr(session, "raw_data_asset", None)
                expected = (len(session.data_assets), raw.id if raw else None, session.platform)
                assert tuple(row.values()) == expected, session


class TestCached:
    def test_search_that_found_half_is_not_taken_for_the_whole(self, sandbox: Sandbox) -> None:
        """The search by the custom field failed; that for the text has found less."""
        assets_mentioning.store((), "676909")
        assert len(Session("ecephys_676909_2023-12-13_13-43-40").data_assets) == 42

    def test_error_of_cached_answers_names_each_service(self, sandbox: Sandbox) -> None:
        assert aind_session.get_sessions(123456) == ()
        unknown = Session("ecephys_123456_2024-01-01_10-00-00")
        for _ in range(2):
            with pytest.raises(MissingAttributeError) as caught:
                _ = unknown.raw_data_dir
            trail = "\n".join(caught.value.trail)
            assert "Code Ocean: data assets for the free text '123456' -> 0" in trail
            assert "DocDB: records of subject 123456 (v1) -> 0 records (cached)" in trail
            assert "DocDB: records of subject 123456 (v2) -> 0 records (cached)" in trail
            assert f"S3: list s3://aind-open-data/{unknown.id}/ -> not found" in trail

    def test_error_trail_contains_each_answer_once(self, sandbox: Sandbox) -> None:
        with pytest.raises(MissingAttributeError) as caught:
            _ = Session("ecephys_676909_2033-01-01_10-00-00").raw_data_dir
        lines = [line.rsplit(" (", 1)[0] for line in caught.value.trail if " -> " in line]
        assert len(lines) > 8
        assert sorted(lines) == sorted(set(lines))

    def test_trace_of_a_cached_lookup_keeps_the_first_requests(self, sandbox: Sandbox) -> None:
        session = Session("ecephys_676909_2023-12-13_13-43-40")
        for _ in range(2):
            assert session.data_assets
        (kept,) = trace.kept(session.id)
        assert any(step.seconds > 0 and not step.cached for step in kept.requests)

    def test_traces_of_many_sessions_the_latest_are_kept(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trace, "MAX_TRACES", 5)
        context.reset()
        for session in MANY:
            with tracing(session.id, "anything"):
                pass
        assert len(context.current().traces) == 5
        assert trace.kept(MANY[-1].id)

    def test_explain_shows_each_answer_once(
        self, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = Session("ecephys_676909_2033-01-01_10-00-00")
        # Answers of another sandbox are not shown.
        with aind_session.sandbox(), pytest.raises(MissingAttributeError):
            _ = session.raw_data_dir
        session.explain()
        lines = capsys.readouterr().out.splitlines()
        steps = [line.rsplit(" (", 1)[0] for line in lines if line.startswith("  ")]
        answers = [step for step in steps if " -> " in step]
        assert len(answers) > 12
        assert sorted(answers) == sorted(set(answers))
        assert "  (and 12 requests listed above)" in lines

    def test_rows_of_many_subjects_are_kept_once(self) -> None:
        with aind_session.sandbox(invent_cohort(6, 10, 1)):
            aind_session.get_sessions(range(800_000, 800_006)).to_pandas()
            rows = [r for e in context.current().cache._entries.values() for r in _rows_in(e.value)]
            assert len(rows) == len({id(r) for r in rows}) == 60

    def test_assets_that_two_searches_find_are_kept_once(self) -> None:
        with aind_session.sandbox(invent_cohort(6, 10, 3)) as box:
            aind_session.get_sessions(range(800_000, 800_006))
            assets = [
                a for e in context.current().cache._entries.values() for a in _assets_in(e.value)
            ]
            assert len(assets) == 2 * 180
            assert len({id(a) for a in assets}) == 180
            # What has changed meanwhile is another one.
            box.catalogue.data_assets[0]["description"] = "changed"
            changed = Session(str(box.catalogue.data_assets[0]["name"]))
            changed.refresh()
            assert "changed" in {a.description for a in changed.data_assets}

    def test_listing_that_is_long_weighs_its_names(self) -> None:
        cache = Cache(max_bytes=100_000)
        for i in range(10):
            names = tuple(f"a file of some length, number {n}" for n in range(1000))
            cache.put((str(i),), Listing((), names, True, tuple(range(1000))), 10)
        assert len(cache) <= 2


def _assets_in(value: object) -> list[AssetSummary]:
    return [v for v in value if isinstance(v, AssetSummary)] if isinstance(value, tuple) else []


def _rows_in(value: object) -> list[RecordSummary]:
    return [v for v in value if isinstance(v, RecordSummary)] if isinstance(value, tuple) else []


def test_loop_over_a_large_subject_reads_its_asset_names_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with aind_session.sandbox(invent_cohort(1, 60, 3)):
        sessions = aind_session.get_sessions(800_000)
        compared: list[str] = []
        real = session_in_name

        def counting(name: str) -> object:
            compared.append(name)
            return real(name)

        for module in (rules, evidence):
            monkeypatch.setattr(module, "session_in_name", counting)
        for session in sessions:
            assert len(session.data_assets) == 3
        # A few for each asset and record: not each asset for each of the 60 sessions.
        assert len(compared) <= 2 * 180 + 60


class TestTogether:
    """Records of sessions that were found together are fetched together."""

    @pytest.fixture
    def box(self) -> Iterator[Sandbox]:
        with aind_session.sandbox(invent_cohort(1, 60, 1)) as box, use_clock(FakeClock()):
            yield box

    @pytest.mark.parametrize(
        ("kind", "status", "requests"), [("status", 503, 12), ("status", 400, 3), ("reset", 0, 4)]
    )
    def test_docdb_that_is_down_costs_few_requests(
        self, box: Sandbox, kind: str, status: int, requests: int
    ) -> None:
        session = aind_session.get_sessions(800_000)[0]
        before = box.count()
        with box.down("docdb", kind=kind, status=status), pytest.raises(ServiceError):
            _ = session.docdb
        assert box.count() - before <= requests

    def test_docdb_record_is_found_if_many_are_too_large(self, box: Sandbox) -> None:
        session = aind_session.get_sessions(800_000)[0]
        box.fail(service="docdb", path="aggregate", status=413, times=None)
        box.fail(service="docdb", path="find", status=413, times=1)
        assert session.docdb.subject_id == "800000"


def test_logger_without_handlers_is_silent() -> None:
    # Else Python itself would write warnings to the terminal.
    handlers = logging.getLogger("aind_session").handlers
    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)


@pytest.mark.parametrize("columns", ["id", ["id", 3], [None], {"id": 1, "nothing": 2}])
def test_table_with_invalid_columns_raises(sandbox: Sandbox, columns: Any) -> None:
    if columns == "id":
        # One name alone is a column, not its letters.
        assert list(MANY[:2].to_pandas(columns).columns) == ["id"]
        return
    with pytest.raises(InvalidFilterError, match="column"):
        MANY[:2].to_pandas(columns)
