"""Real records, where they are at hand: each answer against a plain reading of the JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from made_records import answers

from aind_session.records import Record

PACIFIC = ZoneInfo("America/Los_Angeles")
ABBREVIATIONS = {
    "ophys": "pophys", "FIP": "fib", "SmartSPIM": "SPIM", "exaSPIM": "SPIM",
    "trained-behavior": "behavior", "slap": "slap2",
}  # fmt: skip
Found = list[tuple[str, dict[str, Any]]]


@pytest.fixture(scope="session")
def real(shared_data: Path) -> Found:
    """Return the file name and content of every real record."""
    paths = sorted((shared_data / "records").glob("v*/*.json"))
    assert len(paths) > 100
    return [(path.name, json.loads(path.read_text())) for path in paths]


def _core(raw: dict[str, Any], key: str) -> dict[str, Any]:
    return raw.get(key) or {}


def _of_subject(raw: dict[str, Any], key: str) -> Any:
    core = _core(raw, "subject")
    return core.get("subject_details", core).get(key)


def _date_of_birth(raw: dict[str, Any]) -> Any:
    written = _of_subject(raw, "date_of_birth")
    return date.fromisoformat(written) if written else None


def _species(raw: dict[str, Any]) -> Any:
    written = _of_subject(raw, "species")
    return written["name"] if isinstance(written, dict) else written


def _project(raw: dict[str, Any]) -> Any:
    written = _core(raw, "data_description").get("project_name")
    return written if written != "unknown" else None


def _codeocean_ids(raw: dict[str, Any]) -> Any:
    expected: list[str] = []
    for links in (raw.get("external_links"), raw.get("other_identifiers")):
        for link in links if isinstance(links, list) else [links or {}]:
            ids = link.get("Code Ocean") or []
            expected += [ids] if isinstance(ids, str) else ids
    if not expected and "codeocean-s3datasetsbucket" in raw["location"]:
        expected = [raw["location"].split("/")[-1]]
    return tuple(dict.fromkeys(expected))


def _as_written(raw: dict[str, Any]) -> Any:
    core = _core(raw, "data_description")
    written = core.get("modality", core.get("modalities"))
    listed = [written] if isinstance(written, str) else written or ()
    return tuple(item if isinstance(item, str) else item["abbreviation"] for item in listed)


def _modalities(raw: dict[str, Any]) -> Any:
    return tuple(sorted({ABBREVIATIONS.get(item, item) for item in _as_written(raw)}))


def _time(raw: dict[str, Any], which: str) -> Any:
    for core in (_core(raw, "session"), _core(raw, "acquisition")):
        for key in (f"session_{which}_time", f"acquisition_{which}_time"):
            if core.get(key):
                time = datetime.fromisoformat(core[key].replace("Z", "+00:00").replace(" ", "T"))
                return time if time.tzinfo else time.replace(tzinfo=PACIFIC)
    return None


def test_answers_of_every_record_leave_it_unchanged(real: Found) -> None:
    for name, raw in real:
        before = json.dumps(raw)
        found = answers(raw)
        assert found["name"] == raw["name"], name
        assert found["schema_version"] == raw["schema_version"], name
        assert f"s3://{found['bucket']}/{found['prefix']}" == found["location"], name
        assert json.dumps(raw) == before, name


@pytest.mark.parametrize(
    ("question", "read", "at_least"),
    [
        ("genotype", lambda raw: _of_subject(raw, "genotype"), 110),
        ("sex", lambda raw: _of_subject(raw, "sex"), 110),
        ("date_of_birth", _date_of_birth, 110),
        ("species", _species, 110),
        ("project", _project, 100),
        ("location", lambda raw: raw["location"], 100),
        ("codeocean_ids", _codeocean_ids, 100),
        ("modalities_as_written", _as_written, 100),
        ("modalities", _modalities, 100),
        ("acquisition_start", lambda raw: _time(raw, "start"), 90),
        ("acquisition_end", lambda raw: _time(raw, "end"), 90),
    ],
)
def test_answer_is_what_the_json_contains(
    real: Found, question: str, read: Callable[[dict[str, Any]], Any], at_least: int
) -> None:
    count = 0
    for name, raw in real:
        expected = read(raw)
        if expected is not None or question == "project":
            assert getattr(Record(raw), question) == expected, name
            count += 1
    assert count >= at_least


def test_data_level(real: Found) -> None:
    kept = 0
    for name, raw in real:
        whole = re.fullmatch(r".*_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(?!_)", raw["name"])
        dates = re.findall(r"_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", raw["name"])
        if re.match(r"([A-Za-z0-9-]+_)?[A-Za-z]*\d+_", raw["name"]):
            assert whole is not None
            expected = "raw" if len(dates) == 1 else "derived"
            assert Record(raw).data_level == expected, name
            written = _core(raw, "data_description").get("data_level") or expected
            kept += written.split()[0] == expected
    assert kept > 100


def test_doubts_are_those_that_the_names_show(real: Found) -> None:
    doubtful = 0
    for name, raw in real:
        record = Record(raw)
        start, stamp = record.acquisition_start, re.search(r"_(\d{4}-.{14})", raw["name"])
        if start is None or stamp is None:
            continue
        named = datetime.strptime(stamp.group(1), "%Y-%m-%d_%H-%M-%S")
        in_pacific = start.astimezone(PACIFIC).replace(tzinfo=None)
        in_utc = start.astimezone(timezone.utc).replace(tzinfo=None)
        agrees = abs((in_pacific - named).total_seconds()) <= 300
        if not agrees:
            assert record.acquisition_start_doubt, name
            doubtful += 1
            digits_in_utc = abs((in_utc - named).total_seconds()) <= 300
            assert ("in UTC with" in record.acquisition_start_doubt) == digits_in_utc, name
        elif record.acquisition_start_doubt:
            assert "end is before" in record.acquisition_start_doubt, name
    assert doubtful > 10


def _sorters(value: Any) -> Iterator[str]:
    """Find every sorter's name in a file, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("sorter_name"), str):
            yield value["sorter_name"]
        for child in value.values():
            yield from _sorters(child)
    elif isinstance(value, list):
        for child in value:
            yield from _sorters(child)


def test_sorter_names(real: Found) -> None:
    sorted_assets = 0
    for name, raw in real:
        expected = set(_sorters(raw.get("processing")))
        assert set(Record(raw).sorter_names) == expected, name
        sorted_assets += bool(expected)
    assert sorted_assets >= 4


def _count(value: Any, key: str) -> int:
    """Count the mappings, at any depth, that have a key."""
    children: Any = ()
    if isinstance(value, dict):
        children = value.values()
    elif isinstance(value, list):
        children = value
    own = isinstance(value, dict) and key in value
    return own + sum(_count(child, key) for child in children)


def test_every_step_and_metric_is_found(real: Found) -> None:
    steps = metrics = 0
    for name, raw in real:
        record = Record(raw)
        if record.processing is not None:
            expected = _count(raw["processing"], "start_date_time")
            assert len(record.processing.steps) == expected, name
            assert all(step.name and step.start for step in record.processing.steps), name
            steps += expected
        if record.quality_control is not None:
            expected = _count(raw["quality_control"], "status_history")
            assert len(record.quality_control.metrics) == expected, name
            assert all(metric.status for metric in record.quality_control.metrics), name
            within = [m for group in record.quality_control.evaluations for m in group.metrics]
            assert len(within) == expected, name
            metrics += expected
    assert steps > 300
    assert metrics > 500


def test_status_in_a_record_follows_from_the_metrics(real: Found) -> None:
    compared = 0
    for name, raw in real:
        core = _core(raw, "quality_control")
        if str(core.get("schema_version")).startswith("2.4"):
            derived = Record({"quality_control": {**core, "status": None}}).quality_control
            assert derived is not None
            assert derived.status == core["status"], name
            compared += 1
    assert compared > 5


def test_procedures_have_type_and_date(real: Found) -> None:
    count = dated = 0
    for name, raw in real:
        procedures = Record(raw).procedures
        if procedures is None:
            continue
        untyped = [found for found in procedures.on_subject if found.type is None]
        assert all(found in procedures.injections for found in untyped), name
        count += len(procedures.on_subject)
        dated += sum(found.date is not None for found in procedures.on_subject)
    assert count > 300
    assert dated > 0.9 * count


SAME = (
    "name", "subject_id", "session_id", "genotype", "sex", "date_of_birth", "year_of_birth",
    "species", "project", "data_level", "modalities", "experimenters", "ethics", "codeocean_ids",
    "location", "sorter_names",
)  # fmt: skip


def test_upgraded_twins_agree(real: Found) -> None:
    by_file = dict(real)
    twins = [(raw, by_file[name.removeprefix("upgraded__")]) for name, raw in real if "upg" in name]
    assert len(twins) > 25
    for new_raw, old_raw in twins:
        new, old = Record(new_raw), Record(old_raw)
        for question in SAME:
            said, before = getattr(new, question), getattr(old, question)
            if said and before:
                assert said == before, (old.name, question)
        old_start, old_end = old.acquisition_start, old.acquisition_end
        if old_start is None or new.acquisition_start is None:
            continue
        if old_end is not None and old_end < old_start:
            # The upgrade swaps a start and an end that are in the wrong order.
            assert new.acquisition_start == old_end, old.name
        else:
            # The upgrade moves a start before its streams, never after.
            assert new.acquisition_start <= old_start, old.name
            assert (old_start - new.acquisition_start).total_seconds() < 7200, old.name


def test_upgraded_twins_have_the_same_starts_mostly(real: Found) -> None:
    starts: dict[str, list[Any]] = {}
    for name, raw in real:
        start = Record(raw).acquisition_start
        starts.setdefault(name.removeprefix("upgraded__"), []).append(start)
    pairs = [found for found in starts.values() if len(found) == 2]
    assert len(pairs) > 25
    assert sum(first == second for first, second in pairs) >= len(pairs) * 0.8
