"""The decorator `query`: cached answers, lines of the trace, errors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from aind_session import context, trace
from aind_session.context import newer_than
from aind_session.errors import ServiceError
from aind_session.query import count, query, together
from aind_session.trace import Request, tracing


@pytest.fixture(autouse=True)
def _new_context() -> Iterator[None]:
    context.reset()
    yield
    context.reset()


sent: list[str] = []


@query("DocDB", "the length of {0}", lambda length: f"{length} letters")
def length_of(text: str) -> int:
    """Return the length of a text."""
    sent.append(text)
    if not text:
        raise ServiceError("DocDB did not answer.\nMore about it.", service="DocDB")
    return len(text)


@query("S3", lambda text: f"never cached: {text}", seconds=0)
def uncached(text: str) -> str:
    """Return the text."""
    sent.append(text)
    return text


@pytest.fixture(autouse=True)
def _nothing_sent() -> None:
    sent.clear()


def test_query_called_twice_sends_one_request() -> None:
    assert (length_of("abc"), length_of("abc"), length_of("abcd")) == (3, 3, 4)
    assert sent == ["abc", "abcd"]
    assert length_of.__doc__ == "Return the length of a text."


def test_query_without_lifetime_sends_each_request() -> None:
    assert (uncached("abc"), uncached("abc"), uncached.cached("abc")) == ("abc", "abc", None)
    assert sent == ["abc", "abc"]


def test_cached_before_and_after_the_request_sends_nothing() -> None:
    assert length_of.cached("abc") is None
    assert sent == []
    length_of("abc")
    assert length_of.cached("abc") == 3
    assert uncached.cached("abc") is None
    with newer_than(context.current().cache.clock() + 1):
        assert length_of.cached("abc") is None
        assert length_of("abc") == 3
    assert sent == ["abc", "abc"]


def test_store_answer_of_another_request_is_used() -> None:
    length_of.store(30, "abc")
    assert (length_of("abc"), length_of.cached("abc")) == (30, 30)
    assert sent == []


def test_trace_has_one_line_per_request_and_the_latest_is_kept() -> None:
    with tracing("a session", "length"), tracing("not kept", "within another"):
        length_of("abc")
        length_of("abc")
        uncached("d")
        trace.note("%s is chosen", "abc")
    (kept,) = trace.kept("a session")
    assert (kept.what, trace.kept("not kept")) == ("length", ())
    first, other, choice = kept.requests
    assert (first.service, first.title, first.answer) == ("DocDB", "the length of abc", "3 letters")
    assert (first.cached, other.cached) == (False, False)
    assert str(first).startswith("DocDB: the length of abc -> 3 letters (")
    assert (other.title, str(choice)) == ("never cached: d", "abc is chosen")
    with tracing("a session", "length"):
        length_of("abc")
    # A lookup of cached answers does not hide how they were obtained.
    assert trace.kept("a session") == (kept,)
    trace.forget("a session")
    assert trace.kept("a session") == ()
    assert trace.lines() == ()


def test_trace_leaves_out_what_only_repeats_a_cached_answer() -> None:
    one = trace.Trace("a session", "length")
    for seconds, cached in ((0.1, False), (0.0, True), (0.0, True), (0.2, False)):
        one.add(Request("S3", "list", "1 file", seconds, cached))
    assert [(request.seconds, request.cached) for request in one.requests] == [
        (0.1, False),
        (0.2, False),
    ]
    assert one.lines == ("S3: list -> 1 file (100 ms)", "S3: list -> 1 file (200 ms)")
    assert str(Request("S3", "list", "1 file", 0.0, cached=True)) == "S3: list -> 1 file (cached)"


def test_query_that_fails_is_traced_and_sent_again(caplog: pytest.LogCaptureFixture) -> None:
    with tracing("a session", "length"), caplog.at_level(logging.DEBUG, "aind_session"):
        for _ in range(2):
            with pytest.raises(ServiceError):
                length_of("")
        lines = trace.lines()
    assert sent == ["", ""]
    expected = "DocDB: the length of  -> ServiceError: DocDB did not answer. ("
    assert [line.startswith(expected) for line in lines] == [True, True]
    assert [record.getMessage() for record in caplog.records] == list(lines)


def test_together_sends_what_is_not_cached_and_takes_no_thread_for_the_rest() -> None:
    seen: list[threading.Thread] = []

    def summary(answer: str) -> str:
        seen.append(threading.current_thread())
        return answer

    @query("S3", "{0} in capitals", summary)
    def capitals(text: str) -> str:
        if not text:
            raise ServiceError("S3 did not answer.", service="S3")
        return text.upper()

    found = together((capitals, "a"), (capitals, ""), (capitals, "b"))
    assert [outcome.value for outcome in found] == ["A", None, "B"]
    assert isinstance(found[1].error, ServiceError)
    seen.clear()
    assert [outcome.value for outcome in together((capitals, "a"), (capitals, "b"))] == ["A", "B"]
    assert seen == [threading.current_thread()] * 2


@pytest.mark.parametrize(("number", "text"), [(0, "0 records"), (1, "1 record"), (2, "2 records")])
def test_count_describes_a_collection(number: int, text: str) -> None:
    assert count("record")(range(number)) == text
