"""A record of any shape: no question raises, and damage affects only its own place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import READ_BY, answers, first_generation, second_generation

from aind_session.records import QUESTIONS, Record

SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
RECORDS = {1: first_generation(), 2: second_generation()}
ANY_CORES = st.dictionaries(st.sampled_from([*RECORDS[1], *RECORDS[2]]), JSON, max_size=5)
REPLACEMENTS: tuple[Any, ...] = (
    None, "", "text", "2031-13-45T99:99:99Z", 7, -1.5, float("nan"), True, [], {}, [[]], [None],
    ["a", {"b": 1}], {"a": ["b"]}, [{"name": None}], {"name": ["x"]}, 10**30, "s3://", "ecephys",
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go through the paths of all keys and elements of a record."""
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    for key, child in children:
        yield (*path, key)
        yield from _places(child, (*path, key))


PLACES = {generation: tuple(_places(record)) for generation, record in RECORDS.items()}
WHOLE = {generation: answers(record) for generation, record in RECORDS.items()}


def _damaged(generation: int, place: tuple[Any, ...], replacement: Any, delete: bool) -> Any:
    record = copy.deepcopy(RECORDS[generation])
    holder: Any = record
    for key in place[:-1]:
        holder = holder[key]
    if delete:
        del holder[place[-1]]
    else:
        holder[place[-1]] = replacement
    return record


def _check_damage(generation: int, place: tuple[Any, ...], replacement: Any, delete: bool) -> None:
    found = answers(_damaged(generation, place, replacement, delete))
    for question in QUESTIONS:
        if place[0] not in READ_BY[question]:
            assert found[question] == WHOLE[generation][question], question


def test_table_of_what_questions_read_is_complete() -> None:
    assert set(READ_BY) == set(QUESTIONS)


@pytest.mark.parametrize("generation", [1, 2])
def test_answers_with_any_place_deleted_or_null_change_only_there(generation: int) -> None:
    for place in PLACES[generation]:
        _check_damage(generation, place, None, delete=True)
        _check_damage(generation, place, None, delete=False)


def _damage_anywhere(data: st.DataObject, generation: int, replacement: Any) -> None:
    place = data.draw(st.sampled_from(PLACES[generation]))
    _check_damage(generation, place, replacement, delete=False)


def _read_cores(record: dict[str, Any]) -> None:
    answers(record)


ANYWHERE = (st.data(), st.sampled_from([1, 2]), st.sampled_from(REPLACEMENTS) | JSON)
any_damage = pytest.mark.parametrize(
    ("check", "drawn"), [(_damage_anywhere, ANYWHERE), (_read_cores, (ANY_CORES,))]
)


@any_damage
def test_answers_with_any_place_or_core_file_of_another_type_never_raise(
    check: Callable[..., None], drawn: tuple[Any, ...]
) -> None:
    decorate: Any = given(*drawn)
    decorate(check)()


@pytest.mark.slow
@any_damage
def test_answers_with_any_place_or_core_file_of_another_type_at_length(
    check: Callable[..., None], drawn: tuple[Any, ...]
) -> None:
    decorate: Any = given(*drawn)
    settings(max_examples=3_000)(decorate(check))()


@given(st.data(), st.sampled_from([1, 2]))
def test_answers_with_many_damaged_places_never_raise(data: st.DataObject, generation: int) -> None:
    record = copy.deepcopy(RECORDS[generation])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.sampled_from(tuple(_places(record)) or (("name",),)))
        holder: Any = record
        for key in place[:-1]:
            holder = holder[key]
        # A copy: the next damage may be within it, and must not reach the table.
        holder[place[-1]] = copy.deepcopy(data.draw(st.sampled_from(REPLACEMENTS)))
    answers(record)


@given(JSON)
def test_answers_of_any_json_never_raise(value: Any) -> None:
    found = answers(value)
    if not isinstance(value, dict):
        assert all(answer is None or answer == [] for answer in found.values())


@pytest.mark.parametrize("key", ["processing", "quality_control", "procedures", "data_description"])
def test_answers_of_deeply_nested_files_never_raise(key: str) -> None:
    nested: Any = {"name": "x", "sorter_name": "y"}
    for _ in range(20_000):
        nested = [nested]
    lists = ("data_processes", "metrics", "evaluations", "subject_procedures", "modality", "tags")
    record = {key: dict.fromkeys(lists, nested)}
    record[key]["parameters"] = record[key]["code"] = nested
    record[key]["metrics"] = [{"name": "deep", "value": nested}]
    answers(record)


def test_answers_leave_the_record_unchanged() -> None:
    for made in (first_generation, second_generation):
        raw = made()
        first = answers(raw)
        assert answers(raw) == first
        assert raw == made()
        assert Record(raw).raw is raw


def test_answers_of_damaged_real_records_never_raise(shared_data: Any) -> None:
    for path in sorted(shared_data.glob("records/v*/*.json"))[::40]:
        raw = json.loads(path.read_text())
        for key in raw:
            for replacement in (None, "text", [1], {"a": [None]}):
                answers({**raw, key: replacement})


@pytest.mark.slow
def test_answers_of_every_damaged_real_record_change_only_there(shared_data: Any) -> None:
    for path in sorted(shared_data.glob("records/v*/*.json")):
        raw = json.loads(path.read_text())
        whole = answers(raw)
        for key in list(raw):
            for replacement in REPLACEMENTS:
                found = answers({**raw, key: replacement})
                for question in QUESTIONS:
                    if key not in READ_BY[question]:
                        assert found[question] == whole[question], (path.name, key, question)
