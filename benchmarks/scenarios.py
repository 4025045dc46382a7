"""What is measured: each scenario by this package, the official clients, and by hand.

The official clients are used as programs do without this package: one request after the other,
with the clients' own models and paging.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks import lower_bound

Run = Callable[[list[str]], object]

README_SESSION = "ecephys_676909_2023-12-13_13-43-40"


# -- by this package -------------------------------------------------------------------------------


def readme(_: list[str]) -> object:
    """Run the README's examples, top to bottom."""
    import aind_session

    session = aind_session.Session(README_SESSION)
    return (
        len(session.data_assets),
        session.is_uploaded,
        session.raw_data_asset.id,
        session.raw_data_dir.as_posix(),
        session.modalities,
        session.docdb["subject"]["genotype"],
        session.ecephys.is_sorted,
        session.ecephys.sorter.kilosort2_5.sorted_data_assets[-1].name,
        aind_session.get_sessions(676909)[0].date,
        aind_session.get_sessions(676909, platform="ecephys")[0].platform,
        aind_session.get_sessions(676909, date="20231213"),
        aind_session.get_sessions(676909, start_date="2023-12-13", end_date="2023-12-14"),
    )


def five_attributes(session_ids: list[str]) -> object:
    """Touch five attributes of each session, in a plain loop."""
    import aind_session

    looked = []
    for session_id in session_ids:
        session = aind_session.Session(session_id)
        looked.append(
            (
                session.is_uploaded,
                session.modalities,
                session.raw_data_asset.id,
                session.raw_data_dir.as_posix(),
                len(session.data_assets),
            )
        )
    return looked


def five_attributes_prefetched(session_ids: list[str]) -> object:
    """Touch the same after one prefetch."""
    import aind_session

    sessions = aind_session.Sessions(session_ids)
    sessions.prefetch("assets", "modalities", progress=False)
    return five_attributes(session_ids)


def cohort_loop(subject_ids: list[str]) -> object:
    """Touch folder, record and assets of each session of some subjects, in a plain loop."""
    import aind_session

    return [
        (s.id, s.raw_data_dir.as_posix(), s.docdb["name"], len(s.data_assets))
        for subject_id in subject_ids
        for s in aind_session.get_sessions(subject_id)
    ]


def cohort_prefetched(subject_ids: list[str]) -> object:
    """Touch the same after one search and one prefetch."""
    import aind_session

    return [
        (s.id, s.raw_data_dir.as_posix(), s.docdb["name"], len(s.data_assets))
        for s in aind_session.get_sessions(subject_ids).prefetch(progress=False)
    ]


def many_assets(subject_ids: list[str]) -> object:
    """List every asset of one subject."""
    import aind_session

    return len(aind_session.Subject(subject_ids[0]).data_assets)


def table(subject_ids: list[str]) -> object:
    """Make a table of the sessions of some subjects, its cheap columns."""
    import aind_session

    return aind_session.get_sessions(subject_ids).to_pandas().shape[0]


def table_of_all(_: list[str]) -> object:
    """Make a table of every session there is, its cheap columns."""
    import aind_session

    return aind_session.get_sessions(start_date="2000").to_pandas().shape[0]


# -- the naive way ---------------------------------------------------------------------------------


class Naive:
    """The official clients of the three services."""

    def __init__(self) -> None:
        import s3fs
        from aind_data_access_api.document_db import MetadataDbClient
        from codeocean import CodeOcean

        from aind_session.services.docdb import get_client

        self.code_ocean = CodeOcean(
            os.environ["CODE_OCEAN_DOMAIN"], os.environ["CODE_OCEAN_API_TOKEN"]
        )
        # The official client speaks https only: for the sandbox it gets this package's adapter.
        self.docdb: dict[str, MetadataDbClient] = {v: get_client(v) for v in ("v1", "v2")}
        self.s3 = s3fs.S3FileSystem()

    def assets(self, query: str) -> list[Any]:
        """Search with the SDK's own iterator and models, a hundred a page."""
        from codeocean.data_asset import DataAssetSearchParams

        params = DataAssetSearchParams(query=query, limit=100, offset=0)
        return list(self.code_ocean.data_assets.search_data_assets_iterator(params))

    def session_assets(self, session_id: str) -> list[Any]:
        """Search a session's assets by the first twenty characters of the name."""
        return [a for a in self.assets(f"name:{session_id[:20]}") if session_id in a.name]

    def record(self, name: str) -> Any:
        """Get a record by name, the older generation first."""
        for version in ("v1", "v2"):
            found = self.docdb[version].retrieve_docdb_records(filter_query={"name": name})
            if found:
                return found[-1]
        return None


def naive_readme(_: list[str]) -> object:
    """Look up what the README shows."""
    naive = Naive()
    looked = naive_five_attributes([README_SESSION])
    record = naive.record(README_SESSION)
    is_sorted = []
    for asset in naive.session_assets(README_SESSION):
        if "_sorted" in asset.name:
            folder = f"codeocean-s3datasetsbucket-1u41qdg42ur9/{asset.id}"
            is_sorted.append(naive.s3.exists(f"{folder}/nwb"))
            naive.s3.cat(f"{folder}/output")
            naive.s3.cat(f"{folder}/processing.json")
    searches = [naive.assets("676909") for _ in range(4)]
    return looked, record["subject"]["genotype"], any(is_sorted), len(searches)


def naive_five_attributes(session_ids: Iterable[str]) -> object:
    """Look five attributes up, each anew."""
    naive = Naive()
    looked = []
    for session_id in session_ids:
        assets = naive.session_assets(session_id)
        raw = next(a for a in naive.session_assets(session_id) if a.name == session_id)
        folder = f"{raw.source_bucket.bucket}/{raw.source_bucket.prefix}"
        uploaded = naive.s3.exists(folder)
        modalities = sorted(name.rsplit("/", 1)[-1] for name in naive.s3.ls(folder))
        looked.append((uploaded, modalities, raw.id, folder, len(assets)))
    return looked


def naive_cohort(subject_ids: list[str]) -> object:
    """Look up folder, record and assets of each session, one after the other."""
    naive = Naive()
    looked = []
    for subject_id in subject_ids:
        names = sorted({a.name for a in naive.assets(subject_id) if a.name.count("_") == 3})
        for name in names:
            assets = naive.session_assets(name)
            record = naive.record(name)
            raw = next(a for a in assets if a.name == name)
            looked.append((name, raw.source_bucket.bucket, record["name"], len(assets)))
    return looked


def naive_many_assets(subject_ids: list[str]) -> object:
    """List every asset of one subject with the SDK."""
    return len(Naive().assets(subject_ids[0]))


@dataclass(frozen=True)
class Scenario:
    """One thing to look up, in up to three ways."""

    ours: Run
    one_by_one: Run | None
    by_hand: Run


SCENARIOS: dict[str, Scenario] = {
    "readme": Scenario(readme, naive_readme, lower_bound.readme),
    "five attributes, loop": Scenario(
        five_attributes, naive_five_attributes, lower_bound.five_attributes
    ),
    "five attributes, prefetched": Scenario(
        five_attributes_prefetched, naive_five_attributes, lower_bound.five_attributes
    ),
    "cohort, loop": Scenario(cohort_loop, naive_cohort, lower_bound.cohort),
    "cohort, prefetched": Scenario(cohort_prefetched, naive_cohort, lower_bound.cohort),
    "many assets": Scenario(many_assets, naive_many_assets, lower_bound.many_assets),
    "table": Scenario(table, None, lower_bound.table),
    "table of all": Scenario(table_of_all, None, lower_bound.table_of_all),
}
