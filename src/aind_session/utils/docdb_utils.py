"""Metadata records by name, asset or subject."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from aind_session.errors import InvalidFilterError
from aind_session.identifiers import parse_subject_id
from aind_session.lookup import by_id, metadata, refresh
from aind_session.lookup.failures import Failures
from aind_session.query import DOCDB
from aind_session.records import Record
from aind_session.records.shape import at, items
from aind_session.services import docdb
from aind_session.services.metadata import (
    SCHEMAS,
    RecordSummary,
    records_matching,
    records_of_subjects,
)
from aind_session.threads import outcomes
from aind_session.trace import tracing

if TYPE_CHECKING:
    from uuid import UUID

    from aind_data_access_api.document_db import MetadataDbClient

    from aind_session.services.sdk import DataAsset

__all__ = [
    "extract_codeocean_data_asset_ids_from_docdb_record",
    "get_codeocean_data_asset_ids_from_docdb",
    "get_docdb_api_client",
    "get_docdb_record",
    "get_subject_docdb_records",
]


@refresh.with_cache_clear
def get_docdb_api_client(retries: int | None = None, **kwargs: Any) -> MetadataDbClient:
    """Return the client of the metadata database.

    Parameters
    ----------
    retries
        Number of attempts after a failed one; by default as in the settings.
    **kwargs
        As the client takes them: `version` ("v1" by default, or "v2"), `database`, ...

    Returns
    -------
    aind_data_access_api.document_db.MetadataDbClient
        The true client; its requests are limited in time, and its errors are `DocDBError`.

    Examples
    --------
    >>> client = get_docdb_api_client()
    >>> subject = {"subject.subject_id": "676909"}
    >>> len(client.retrieve_docdb_records(filter_query=subject, limit=1))
    1
    """
    return docdb.get_client(retries=retries, **kwargs)


@refresh.with_cache_clear
def get_docdb_record(
    data_asset_name_or_id: DataAsset | str | UUID, ttl_hash: int | None = None
) -> dict[str, Any]:
    """Return the metadata record of a data asset.

    Parameters
    ----------
    data_asset_name_or_id
        Its exact name, its ID in Code Ocean, its location (`s3://...`) or its model.
    ttl_hash
        A number that was not given before requests anew; see `get_ttl_hash`.

    Returns
    -------
    dict
        The record of schema 1.x if there is one, else that of 2.x; the newest of its name. Empty
        if there is none.

    Examples
    --------
    >>> get_docdb_record("16d46411-540a-4122-b47f-8cb2a15d593a")["name"]
    'ecephys_676909_2023-12-13_13-43-40'
    >>> get_docdb_record("ecephys_676909_2099-01-01_00-00-00")
    {}
    """
    with refresh.at_hash(ttl_hash, "record", by_id.asset_key(data_asset_name_or_id)):
        found = by_id.record_of(data_asset_name_or_id)
        record: dict[str, Any] = msgspec.json.decode(found.get("v1") or found.get("v2") or b"{}")
        return record


@refresh.with_cache_clear
def get_subject_docdb_records(
    subject_id: object, ttl_hash: int | None = None
) -> tuple[dict[str, Any], ...]:
    """Return all metadata records of a subject.

    Parameters
    ----------
    subject_id
        The subject.
    ttl_hash
        A number that was not given before requests anew; see `get_ttl_hash`.

    Returns
    -------
    tuple of dict
        One for each data asset: of schema 1.x if there is such a record, else of 2.x; ascending by
        creation.

    Examples
    --------
    >>> names = [record["name"] for record in get_subject_docdb_records(676909)]
    >>> "ecephys_676909_2023-12-13_13-43-40" in names
    True
    """
    subject = parse_subject_id(subject_id)
    with refresh.at_hash(ttl_hash, "records of subject", subject):
        found = metadata.all_of_subject(subject)
    return metadata.one_per_asset({g: map(msgspec.json.decode, raw) for g, raw in found.items()})


@refresh.with_cache_clear
def get_codeocean_data_asset_ids_from_docdb(
    partial_name: str | None = None,
    subject_id: object | None = None,
    ttl_hash: int | None = None,
) -> list[str]:
    """Return the IDs of the data assets that metadata records link.

    Parameters
    ----------
    partial_name
        Part of the records' names.
    subject_id
        Subject of the records. If both are given, both must hold.
    ttl_hash
        A number that was not given before requests anew; see `get_ttl_hash`.

    Returns
    -------
    list of str
        Each once, ascending by the creation of the records.

    Raises
    ------
    InvalidFilterError
        Neither is given (a `ValueError`).

    Examples
    --------
    >>> ids = get_codeocean_data_asset_ids_from_docdb("676909_2023-12-13")
    >>> "16d46411-540a-4122-b47f-8cb2a15d593a" in ids
    True
    """
    subject = parse_subject_id(subject_id) if subject_id not in (None, "") else None
    if not partial_name and subject is None:
        raise InvalidFilterError("give a part of the records' name, or a subject, or both")
    about = subject or str(partial_name)

    def rows_of(schema: str) -> tuple[RecordSummary, ...]:
        if subject is not None:
            return records_of_subjects(schema, [subject])
        match = {"name": {"$regex": re.escape(str(partial_name))}}
        text = msgspec.json.encode(match).decode()
        return records_matching(schema, f"{partial_name!r} in their name", text)

    with refresh.at_hash(ttl_hash, "linked assets", about), tracing(about, "linked data assets"):
        failures = Failures("data assets that the other generation links")
        answers = outcomes(*(partial(rows_of, schema) for schema in SCHEMAS))
        rows = [row for outcome in answers for row in failures.value_or((), outcome, DOCDB)]
        kept = [
            row
            for row in rows
            if (partial_name or "") in row.name and subject in (None, row.subject_id)
        ]
        if not kept:
            failures.raise_error()
        failures.warn()
    kept.sort(key=lambda row: str(row.record.created or row.created))
    return list(dict.fromkeys(i for row in kept for i in row.record.codeocean_ids))


def extract_codeocean_data_asset_ids_from_docdb_record(
    record: Mapping[str, Any],
) -> tuple[str, ...]:
    """Return the IDs of the data assets that a metadata record links.

    Parameters
    ----------
    record
        A record of either schema, with links in any of their known formats.

    Returns
    -------
    tuple of str
        Each once, as written; empty if it links none.

    Examples
    --------
    >>> record = {"external_links": {"Code Ocean": ["16d46411-540a-4122-b47f-8cb2a15d593a"]}}
    >>> extract_codeocean_data_asset_ids_from_docdb_record(record)
    ('16d46411-540a-4122-b47f-8cb2a15d593a',)
    >>> extract_codeocean_data_asset_ids_from_docdb_record({})
    ()
    """
    # Links as version 0.3 knew them; else whatever shape the record has.
    found = [
        linked.strip()
        for link in items(record.get("external_links"))
        for linked in items(at(link, "Code Ocean"))
        if isinstance(linked, str) and linked.strip()
    ]
    return tuple(dict.fromkeys(found)) or tuple(Record(dict(record)).codeocean_ids)
