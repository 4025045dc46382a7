"""What an impatient user and an enemy do: interrupts, odd values, odd records, odd surroundings."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aind_session import Sandbox, Session, Sessions, Subject
from aind_session.errors import MissingAttributeError
from aind_session.services import pool
from aind_session.services.cache import Cache

MANY = Sessions(Session(f"ecephys_{n}_2024-01-01_10-00-00") for n in range(700_000, 700_200))


class TestInterrupts:
    def test_who_waits_for_an_interrupted_question_asks_it(self) -> None:
        cache = Cache()
        begun, waiting = threading.Event(), threading.Event()

        class Telling(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                waiting.set()
                return super().wait(timeout)

        def interrupted() -> str:
            cache._flights[("k",)].landed = Telling()
            begun.set()
            assert waiting.wait(10)
            raise KeyboardInterrupt

        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(cache.get, ("k",), interrupted, 10)
            assert begun.wait(10)
            second = threads.submit(cache.get, ("k",), lambda: "asked again", 10)
            assert isinstance(first.exception(10), KeyboardInterrupt)
            # Somebody else's Ctrl-C is not this one's.
            assert second.result(10) == "asked again"

    def test_questions_not_yet_put_are_not_put_any_more(self) -> None:
        asked: list[int] = []
        stop = threading.Event()

        def interrupted() -> None:
            raise KeyboardInterrupt

        def ask(n: int) -> None:
            asked.append(n)
            assert stop.wait(10)

        try:
            with pytest.raises(KeyboardInterrupt):
                pool.outcomes(interrupted, *(lambda n=n: ask(n) for n in range(300)))
        finally:
            stop.set()
            pool.close()
        assert len(asked) <= pool.WORKERS

    def test_calls_not_yet_begun_are_not_made_any_more(self) -> None:
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

    def test_an_executor_that_is_closed_half_way_gets_nothing_more(self) -> None:
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
    def test_what_a_property_of_a_subclass_raises_is_told(self, sandbox: Sandbox) -> None:
        class Odd(Session):
            @property
            def broken(self) -> object:
                return [].nowhere  # type: ignore[attr-defined]

            @property
            def mistyped(self) -> object:
                return self.raw_data_dri

        nobody = Odd("ecephys_123456_2024-01-01_10-00-00")
        # What was raised, and caught, before is not what is told.
        nobody.explain()
        with pytest.raises(AttributeError, match="'list' object has no attribute 'nowhere'"):
            _ = nobody.broken
        with pytest.raises(AttributeError, match="raw_data_dri"):
            _ = nobody.mistyped
        with pytest.raises(MissingAttributeError, match="no folder of raw files"):
            _ = nobody.modalities

    @pytest.mark.parametrize("make", [Session, Subject])
    def test_a_session_of_a_session_looks_for_no_plugin(
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
    def test_a_whole_bucket_is_no_folder_of_a_session(
        self, sandbox: Sandbox, location: str
    ) -> None:
        session = Session("ecephys_676909_2023-12-13_13-43-40")
        odd = {"_id": "odd", "name": session.id, "location": location, "created": "2099"}
        sandbox.catalogue.add_record("v1", odd)
        assert session.raw_data_dir.as_posix() == f"s3://aind-ephys-data/{session.id}"
        assert "ecephys" in session.modalities
