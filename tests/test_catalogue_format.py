"""The catalogue folder: what is written is read again, and errors contain file and line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aind_session.errors import SandboxError
from aind_session.sandbox import Catalogue
from aind_session.sandbox.catalogue import CatalogueFormatError, CatalogueWarning

NAME = "ecephys_000001_2024-01-01_12-00-00"


def invented() -> Catalogue:
    catalogue = Catalogue(description="one invented session", extra={"asked": ["000001"]})
    catalogue.add_asset({"name": NAME, "tags": ["raw"]})
    catalogue.add_record(1, {"name": NAME, "location": f"s3://aind-open-data/{NAME}"})
    catalogue.add_record("v2", {"name": NAME, "location": f"s3://aind-open-data/{NAME}"})
    catalogue.add_object("aind-open-data", f"{NAME}/a b#1.json", "{}")
    catalogue.add_object("aind-private", f"{NAME}/big.dat", size=10**9)
    catalogue.add_computation({"_capsule": "c1", "_files": {"output": "fine", "nwb/x": None}})
    catalogue.capsules["c1"] = {"name": "A capsule"}
    return catalogue


def test_save_then_load_returns_the_same(tmp_path: Path) -> None:
    catalogue = invented()
    assert Catalogue.load(catalogue.save(tmp_path / "folder")) == catalogue


def test_add_object_declares_public_buckets_of_aind() -> None:
    assert invented().buckets == {
        "aind-open-data": {"public": True},
        "aind-private": {"public": False},
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=6,
)


@given(record=st.dictionaries(st.text(), json_values, max_size=4), key=st.text(min_size=1))
def test_save_keeps_any_record_and_key(
    tmp_path_factory: pytest.TempPathFactory, record: dict[str, Any], key: str
) -> None:
    catalogue = Catalogue()
    catalogue.add_record(1, {**record, "_id": "1"})
    catalogue.add_object("b", key, text=key)
    loaded = Catalogue.load(catalogue.save(tmp_path_factory.mktemp("any")))
    # As text: the keys of a record keep their order.
    assert json.dumps(loaded.docdb_v1) == json.dumps(catalogue.docdb_v1)
    assert loaded.objects == catalogue.objects


def test_save_sorts_its_lines(tmp_path: Path) -> None:
    forwards, backwards = Catalogue(), Catalogue()
    names = [f"ecephys_{n:06d}_2024-01-01_12-00-00" for n in (3, 1, 2)]
    for catalogue, order in ((forwards, names), (backwards, names[::-1])):
        for name in order:
            catalogue.add_record(1, {"_id": name, "name": name})
            catalogue.add_object("aind-open-data", name)
    forwards.save(tmp_path / "a")
    backwards.save(tmp_path / "b")
    for name in ("docdb_v1.jsonl", "s3.jsonl", "catalogue.json"):
        text = (tmp_path / "a" / name).read_text()
        assert text == (tmp_path / "b" / name).read_text()
    lines = (tmp_path / "a" / "docdb_v1.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == sorted(names)


def test_save_again_removes_old_files(tmp_path: Path) -> None:
    catalogue = invented()
    catalogue.save(tmp_path)
    catalogue.docdb_v2.clear()
    catalogue.save(tmp_path)
    assert Catalogue.load(tmp_path).docdb_v2 == []
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", *[".jsonl"] * 4]


HEADER = {"format": "aind-session catalogue", "version": 1}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (HEADER | {"version": 2}, "newer aind-session"),
        (HEADER | {"version": "x"}, "version 'x' is unknown"),
        ({"format": "aind-session catalogue"}, "version None is unknown"),
        ({"version": 1}, "not a catalogue"),
        ([], "not a catalogue"),
        (HEADER | {"buckets": [1]}, '"buckets" is not'),
        (b"\xff{", "not JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_load_malformed_header_raises(tmp_path: Path, header: object, message: str) -> None:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    (tmp_path / "catalogue.json").write_bytes(content)
    with pytest.raises(CatalogueFormatError, match=message) as caught:
        Catalogue.load(tmp_path)
    assert str(tmp_path / "catalogue.json") in str(caught.value)


def test_load_folder_without_a_catalogue_raises(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="no catalogue in") as caught:
        Catalogue.load(tmp_path)
    assert isinstance(caught.value, ValueError)
    assert "aind-session snapshot" in str(caught.value)


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("docdb_v1.jsonl", b'{"_id": "1"', "truncated"),
        ("docdb_v2.jsonl", b"[1]", "Expected `object`"),
        ("data_assets.jsonl", b'{"name": "no id"}', '"id" is missing'),
        ("s3.jsonl", b'{"bucket": "b", "key": 1}', '"key" is missing or not text'),
        ("computations.jsonl", b"<html>", "malformed"),
        ("docdb_v1.jsonl", b'{"_id": "\xff"}', "decode"),
        (
            "docdb_v1.jsonl",
            b'{"_id": "1", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "too deeply",
        ),
        ("docdb_v1.jsonl", b'{"_id": "1", "a": 1e999}', "out of range"),
        ("docdb_v1.jsonl", b'{"_id": "1", "a": 1e999, "b": NaN}', "out of range"),
        ("docdb_v2.jsonl", b'{"_id": "\\ud800"}', "truncated"),
        ("docdb_v2.jsonl", b'{"_id": "1", "a": "\\ud800", "b": NaN}', "surrogates"),
        ("docdb_v2.jsonl", b"[NaN]", "not an object"),
    ],
)
def test_load_malformed_line_is_skipped_and_reported(
    tmp_path: Path, file: str, line: bytes, message: str
) -> None:
    catalogue = invented()
    catalogue.save(tmp_path)
    before = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(before.rstrip(b"\n") + b"\n" + line + b"\n\n" + before)
    number = len(before.splitlines()) + 1
    place = f"{tmp_path / file}, line {number}: "
    with pytest.warns(CatalogueWarning, match=re.escape(place)) as caught:
        loaded = Catalogue.load(tmp_path)
    assert message in str(caught[0].message)
    (skipped,) = loaded.skipped
    assert skipped.startswith(place)
    lists = ("data_assets", "computations", "docdb_v1", "docdb_v2", "objects")
    twice = {name: len(getattr(loaded, name)) - len(getattr(catalogue, name)) for name in lists}
    assert sorted(twice.values()) == [0, 0, 0, 0, len(before.splitlines())]


def test_load_file_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    invented().save(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Catalogue.load(tmp_path) == invented()


def test_add_fills_in_and_returns_the_entry() -> None:
    catalogue = Catalogue()
    asset = catalogue.add_asset({"name": NAME, "tags": ["raw"]})
    asset["tags"].append("ecephys")
    assert catalogue.data_assets == [asset]
    assert {"id", "created", "mount", "last_used", "owner", "state", "type"} <= set(asset)
    running = catalogue.add_computation({"state": "running"})
    assert "end_status" not in running
    assert catalogue.add_computation({})["end_status"] == "succeeded"


def test_repr_is_short() -> None:
    catalogue = invented()
    for number in range(1000):
        catalogue.add_asset({"name": f"{NAME}_{number}"})
    assert len(repr(catalogue)) < 500


@pytest.mark.parametrize(
    ("description", "title"),
    [
        ("My study. It has many facts.", "My study"),
        ("Schema 1.4, all of it", "Schema 1.4, all of it"),
        ("", "without a description"),
    ],
)
def test_title_is_the_first_sentence(description: str, title: str) -> None:
    assert Catalogue(description=description).title == title
