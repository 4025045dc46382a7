"""Tables while a service is down: what could not be looked up is None, never reported as absent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import aind_session
from aind_session import PartialAnswerWarning, Sandbox, Sessions
from aind_session.clock import use_clock
from aind_session.sandbox.server import Request, Response
from aind_session.table import COLUMNS
from loopback import FakeClock
from rows import columns_of

SORTED = "ecephys_676909_2023-12-13_13-43-40"
UNSORTED = "ecephys_676909_2023-12-11_14-24-35"
ABSENT = "ecephys_123456_2024-01-01_10-00-00"
OTHER = "ecephys_668759_2023-07-11_13-07-32"
COHORT = Sessions([SORTED, UNSORTED, ABSENT])
LABELS = ("derived:sorted", "result:sorted")
FROM_NAME = {"id", "subject", "platform", "date", "time", "dt"}
FROM_RECORDS = {
    *("genotype", "sex", "date_of_birth", "age_days", "project", "session_type"),
    *("modalities", "location"),
}
ASSET = {"raw_asset_id", "raw_asset_name", "url", "derived", "derived:sorted"}


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    with use_clock(FakeClock()):
        yield


def _table(cohort: Sessions = COHORT) -> dict[str, list[Any]]:
    return columns_of(cohort, [*COLUMNS, *LABELS])


def _partial_table(cohort: Sessions = COHORT) -> dict[str, list[Any]]:
    with pytest.warns(PartialAnswerWarning):
        return _table(cohort)


def _check(found: Mapping[str, list[Any]], expected: Mapping[str, list[Any]]) -> None:
    """Check every column, so that none is forgotten."""
    assert set(expected) == {*COLUMNS, *LABELS}
    assert dict(found) == dict(expected)


def test_table_with_all_services_reports_absence(sandbox: Sandbox) -> None:
    found = _table()
    assert found["n_assets"][1:] == [1, 0]
    assert found["uploaded"] == [True, True, False]
    assert found["sorted"] == [True, False, False]
    assert found["result:sorted"] == ["good", "never", "never"]
    assert found["modalities"][2] == []


@pytest.mark.parametrize("reason", ["down", "no token"])
def test_table_without_code_ocean_has_none_for_assets(sandbox: Sandbox, reason: str) -> None:
    complete = _table()
    sandbox.reset()
    with sandbox.down("codeocean") if reason == "down" else sandbox.without_token():
        found = _partial_table()
    expected = {
        **{name: complete[name] for name in FROM_NAME | FROM_RECORDS},
        **{name: [None] * 3 for name in ASSET | {"n_assets", "result:sorted"}},
        # From records.
        "uploaded": [True, True, None],
        "folder": complete["location"],
        "sorted": [True, None, None],
    }
    _check(found, expected)


def test_table_without_docdb_has_none_for_records_and_for_absent_assets(sandbox: Sandbox) -> None:
    complete = _table()
    sandbox.reset()
    with sandbox.down("docdb"):
        found = _partial_table()
        with pytest.warns(PartialAnswerWarning):
            records = columns_of(COHORT, FROM_RECORDS)
    expected = {
        **{name: complete[name] for name in FROM_NAME | ASSET | {"folder"}},
        **{name: [None] * 3 for name in FROM_RECORDS | {"n_assets"}},
        # An asset that only a record links is not seen.
        "uploaded": [True, True, None],
        "sorted": [True, None, None],
        "result:sorted": ["good", None, None],
    }
    _check(found, expected)
    assert records == {name: expected[name] for name in FROM_RECORDS}


@contextlib.contextmanager
def _text_search_fails(box: Sandbox, subject_id: str) -> Iterator[None]:
    """Refuse to search for a subject in names; by its custom field it is found."""
    services = box.middleware.services

    def refuse(request: Request) -> Response:
        body = json.loads(request.body or b"{}")
        if subject_id in body.get("query", ""):
            return Response(400, b"{}", {})
        return services["codeocean"](request)

    box.middleware.services = {**services, "codeocean": refuse}
    yield
    box.middleware.services = services


def test_table_of_a_subject_not_completely_searched_has_what_is_known(sandbox: Sandbox) -> None:
    cohort = Sessions([SORTED, UNSORTED, ABSENT, OTHER])
    complete = _table(cohort)
    sandbox.reset()
    with _text_search_fails(sandbox, "676909"):
        found = _partial_table(cohort)
    # The other subjects were searched completely.
    assert {name: values[2:] for name, values in found.items()} == {
        name: values[2:] for name, values in complete.items()
    }
    for name in ASSET | {"n_assets"}:
        assert found[name][:2] == [None, None], name
    assert found["uploaded"] == complete["uploaded"]
    assert found["folder"] == complete["folder"]
    assert found["result:sorted"] == ["good", None, "never", "good"]


def test_table_of_a_failed_result_not_completely_searched_is_failed(sandbox: Sandbox) -> None:
    sandbox.catalogue.objects[:] = [
        one for one in sandbox.catalogue.objects if not one["key"].endswith("/output")
    ]
    with _text_search_fails(sandbox, "676909"):
        assert _partial_table(Sessions([SORTED]))["result:sorted"] == ["failed"]


def test_table_of_many_subjects_without_docdb_still_searches_their_assets(
    sandbox: Sandbox,
) -> None:
    others = [f"ecephys_{700000 + n}_2024-01-01_10-00-00" for n in range(40)]
    cohort = Sessions([SORTED, *others])
    expected = columns_of(cohort, ["derived"])
    sandbox.reset()
    # Only its name has the subject.
    for asset in sandbox.catalogue.data_assets:
        asset.get("custom_metadata", {}).pop("subject id", None)
    sandbox.reset()
    with sandbox.down("docdb"), pytest.warns(PartialAnswerWarning):
        assert columns_of(cohort, ["derived"]) == expected


@pytest.mark.parametrize("service", ["codeocean", "docdb"])
def test_mask_of_never_selects_no_session_that_was_not_looked_up(
    sandbox: Sandbox, service: str
) -> None:
    with sandbox.down(service), pytest.warns(PartialAnswerWarning):
        table = COHORT.to_pandas(["id", "result:sorted"])
    assert COHORT[table["result:sorted"] == "never"] == ()
    sandbox.reset()
    table = COHORT.to_pandas(["id", "result:sorted"])
    assert COHORT[table["result:sorted"] == "never"] == Sessions([UNSORTED, ABSENT])


def test_timeline_without_code_ocean_is_unknown(sandbox: Sandbox) -> None:
    plots = pytest.importorskip("aind_session.plots")
    pytest.importorskip("matplotlib").use("agg")
    for label in (None, "sorted"):
        with sandbox.down("codeocean"), pytest.warns(PartialAnswerWarning):
            ax = plots.subject_timeline(COHORT, label=label)
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["unknown (3)"]


def test_search_without_code_ocean_warns_once(sandbox: Sandbox) -> None:
    with sandbox.down("codeocean"), pytest.warns(PartialAnswerWarning) as caught:
        assert aind_session.get_sessions(["676909", "668759"])
    assert len(caught) == 1
