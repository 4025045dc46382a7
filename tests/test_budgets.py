"""Request budgets of design.md: requests, and requests in sequence, with nothing cached."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import aind_session
from aind_session import Sandbox, Session
from aind_session.sandbox import Catalogue
from rows import shortest_row
from worlds import invent_cohort

SESSION = "ecephys_676909_2023-12-13_13-43-40"


def _warm_up() -> None:
    """Import the clients and start the pool's threads, which delays the first requests."""
    session = Session("behavior_717121_2024-06-16_11-39-34")
    assert session.is_uploaded
    assert session.docdb
    assert getattr(session, "modalities", None) is not None


def _cost(
    box: Sandbox, look: Callable[[], object], at_most: int, session_id: str = SESSION
) -> tuple[int, int]:
    """Return the most requests that a lookup took, and how many of them were in sequence."""
    _warm_up()
    requests = []

    def forget() -> None:
        Session(session_id).refresh()
        box.reset()

    def counted() -> None:
        look()
        requests.append(box.count())

    row = shortest_row(box, counted, at_most, forget)
    return max(requests), row


def test_session_made_and_shown_costs_nothing(sandbox: Sandbox) -> None:
    Session(SESSION)
    repr(Session(SESSION))
    dir(Session(SESSION))
    assert sandbox.count() == 0


@pytest.mark.parametrize("name", ["raw_data_asset", "data_assets", "raw_data_dir"])
def test_one_attribute_costs_three_requests_in_one_round(sandbox: Sandbox, name: str) -> None:
    requests, chain = _cost(sandbox, lambda: getattr(Session(SESSION), name), 1)
    assert requests <= 3
    assert chain <= 1


def test_linked_asset_costs_one_more_request(sandbox: Sandbox) -> None:
    # A record of this session links an asset that no search finds by its name.
    sandbox.catalogue.add_asset(
        {
            "id": "00000000-0000-4000-8000-000000000001",
            "name": "a name that tells nothing",
            "created": 1_700_000_000,
            "mount": "m",
            "last_used": 0,
            "owner": "o",
            "state": "ready",
            "type": "dataset",
        }
    )
    sandbox.catalogue.add_record(
        "v1",
        {
            "_id": "r1",
            "name": "ecephys_999001_2024-01-01_10-00-00",
            "location": "s3://aind-open-data/ecephys_999001_2024-01-01_10-00-00",
            "external_links": {"Code Ocean": ["00000000-0000-4000-8000-000000000001"]},
        },
    )
    name = "ecephys_999001_2024-01-01_10-00-00"
    requests, chain = _cost(sandbox, lambda: Session(name).data_assets, 2, name)
    assert [asset.name for asset in Session(name).data_assets] == ["a name that tells nothing"]
    assert requests == 4
    assert chain <= 2


def test_five_attributes_cost_six_requests(sandbox: Sandbox) -> None:
    def look() -> None:
        session = Session(SESSION)
        assert session.is_uploaded
        assert session.modalities
        assert session.raw_data_asset
        assert session.raw_data_dir
        assert session.data_assets

    requests, chain = _cost(sandbox, look, 3)
    assert requests <= 6
    assert chain <= 3


def test_search_of_the_buckets_costs_one_request_each(sandbox: Sandbox) -> None:
    name = "ecephys_999002_2024-01-01_10-00-00"
    sandbox.catalogue.add_object("aind-open-data", f"{name}/ecephys/a.txt", "a")
    requests, chain = _cost(sandbox, lambda: Session(name).raw_data_dir, 4)
    from aind_session import settings

    s3 = sandbox.count("s3")
    assert s3 <= len(settings.current().buckets.value)
    # Before the buckets both spellings of the name were looked for: 3 and 4 requests, 2 in a row.
    assert requests - s3 <= 7
    assert chain <= 4


def test_sessions_of_a_subject_cost_five_requests(sandbox: Sandbox) -> None:
    requests, chain = _cost(sandbox, lambda: aind_session.get_sessions(676909), 2)
    assert len(aind_session.get_sessions(676909)) == 4
    assert requests <= 5
    assert chain <= 2


def test_subject_with_further_thousand_assets_costs_two_more_requests() -> None:
    cohort = invent_cohort(n_subjects=1, sessions_per_subject=600, assets_per_session=5)
    subject = str(cohort.docdb_v1[0]["subject"]["subject_id"])
    with aind_session.sandbox(cohort) as box:
        found = aind_session.get_sessions(subject)
        assert len(found) == 600
        # 3000 assets: three pages for each of two searches.
        assert box.count() <= 5 + 2 * 2


@pytest.fixture
def cohort() -> Catalogue:
    return invent_cohort(n_subjects=12, sessions_per_subject=9, assets_per_session=4)


def _subjects(cohort: Catalogue) -> list[str]:
    return sorted({str(r["subject"]["subject_id"]) for r in cohort.docdb_v1})


def _touch(session: Session) -> None:
    assert session.raw_data_dir.as_posix().startswith("s3://")
    assert session.docdb["name"] == session.id
    assert len(session.data_assets) == 4


def test_cohort_in_a_loop_stays_within_its_budget(cohort: Catalogue) -> None:
    with aind_session.sandbox(cohort) as box:
        _warm_up_clients(_subjects(cohort)[0])

        def look() -> None:
            found = [s for i in _subjects(cohort) for s in aind_session.get_sessions(i)]
            for session in found:
                _touch(session)
            assert len(found) == 108
            assert box.count() <= 75

        assert shortest_row(box, look, 30) <= 30


def test_cohort_prefetched_stays_within_its_budget(cohort: Catalogue) -> None:
    with aind_session.sandbox(cohort) as box:
        _warm_up_clients(_subjects(cohort)[0])
        found: list[Session] = []

        def look() -> None:
            found[:] = aind_session.get_sessions(_subjects(cohort)).prefetch()
            assert box.count() <= 25

        row = shortest_row(box, look, 4)
        for session in found:
            _touch(session)
        assert len(found) == 108
        assert box.count() <= 25
        assert row <= 4


def _warm_up_clients(subject_id: str) -> None:
    subject = aind_session.Subject(subject_id)
    assert subject.sessions
    subject.refresh()


def test_table_of_two_thousand_sessions_stays_within_its_budget() -> None:
    cohort = invent_cohort(n_subjects=200, sessions_per_subject=10, assets_per_session=1)
    subjects = sorted({str(r["subject"]["subject_id"]) for r in cohort.docdb_v1})
    with aind_session.sandbox(cohort) as box:
        sessions = aind_session.get_sessions(start_date="2000")
        table = sessions.to_pandas()
        assert table.shape[0] == 2000
        assert set(table["subject"]) == set(subjects)
        assert table["genotype"].notna().all()
        assert box.count() <= 8
        box.reset()
        assert aind_session.get_sessions(subjects).to_pandas().shape[0] == 2000
        assert box.count() <= 16
