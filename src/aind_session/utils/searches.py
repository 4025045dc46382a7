"""Searches for data assets (by query, subject, beginning of the name) and for computations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import msgspec

from aind_session import context
from aind_session.errors import InvalidFilterError
from aind_session.identifiers import find_session_id, parse_subject_id, subject_in
from aind_session.lookup import by_id, computations, evidence, refresh
from aind_session.query import CODE_OCEAN, query
from aind_session.services import codeocean
from aind_session.services.assets import (
    NAME_QUERY_LENGTH,
    Assets,
    assets_mentioning,
    assets_named,
    count_assets,
    subjects_of,
)
from aind_session.services.models import AssetSummary, decode_assets
from aind_session.services.sdk import Computation, DataAsset
from aind_session.threads import gather
from aind_session.trace import tracing

if TYPE_CHECKING:
    import datetime
    from uuid import UUID

    from codeocean.computation import ComputationState
    from codeocean.data_asset import DataAssetSearchParams

    DateLike: TypeAlias = str | int | datetime.date | datetime.datetime

#: The API returns no more per request.
MAX_PAGE_SIZE = 1000


def get_data_asset_search_query(
    name: str | None = None,
    subject_id: object | None = None,
    tag: str | None = None,
    description: str | None = None,
) -> str:
    """Return a query for `search_data_assets`; all conditions must hold.

    Parameters
    ----------
    name
        Part of the name: its first 20 characters, since longer queries find nothing.
    subject_id
        As free text, since the query language has no field for it: compare the names found.
    tag
        A tag.
    description
        Words of the description, as free text.

    Examples
    --------
    >>> get_data_asset_search_query(name="ecephys_676909_2023-12-13_13-43-40", tag="raw")
    'name:ecephys_676909_2023- tag:raw'
    >>> get_data_asset_search_query(subject_id=676909, description="opto tagging")
    '676909 "opto tagging"'
    """
    terms = []
    if name:
        terms.append(f"name:{_quoted(name.strip()[:NAME_QUERY_LENGTH])}")
    if tag:
        terms.append(f"tag:{_quoted(tag.strip())}")
    if subject_id not in (None, ""):
        terms.append(parse_subject_id(subject_id))
    if description:
        terms.append(_quoted(description.strip()))
    return " ".join(terms)


SearchParams: TypeAlias = "Mapping[str, Any] | DataAssetSearchParams"


@overload
def search_data_assets(
    search_params: SearchParams,
    as_dict: Literal[False] = False,
    page_size: int = 100,
    max_pages: int = 1000,
    raise_on_page_limit: bool = True,
) -> tuple[DataAsset, ...]: ...


@overload
def search_data_assets(
    search_params: SearchParams,
    as_dict: Literal[True],
    page_size: int = 100,
    max_pages: int = 1000,
    raise_on_page_limit: bool = True,
) -> tuple[dict[str, Any], ...]: ...


def search_data_assets(
    search_params: SearchParams,
    as_dict: bool = False,
    page_size: int = 100,
    max_pages: int = 1000,
    raise_on_page_limit: bool = True,
) -> tuple[DataAsset, ...] | tuple[dict[str, Any], ...]:
    """Search data assets, all pages of the result; not cached.

    Parameters
    ----------
    search_params
        As the API takes them: `query`, `filters`, `type`, ... Archived assets are left out unless
        `archived` is given. `limit` is the size of a page, as for the SDK's own iterator.
    as_dict
        Return the JSON of each instead of the model.
    page_size
        Assets per request, 1000 at most (faster for large results); a smaller `limit` wins.
    max_pages
        Requests at most.
    raise_on_page_limit
        Whether more pages than that are an error; else the first pages are returned.

    Returns
    -------
    tuple
        Each asset once; ascending by creation, unless `sort_field` is given.

    Raises
    ------
    IncompleteAnswerError
        There are more pages than `max_pages`, or one could not be fetched.
    CodeOceanError
        The search was refused.

    Examples
    --------
    >>> found = search_data_assets({"query": "name:ecephys_676909", "type": "dataset"})
    >>> [asset.name for asset in found]  # doctest: +NORMALIZE_WHITESPACE
    ['ecephys_676909_2023-12-11_14-24-35', 'ecephys_676909_2023-12-13_13-43-40',
     'ecephys_676909_2023-12-14_12-43-11']
    """
    body = _body_of(search_params)
    size = min(int(page_size), body.pop("limit", page_size), MAX_PAGE_SIZE)
    if size < 1 or max_pages < 1:
        raise InvalidFilterError("page_size and max_pages begin at 1")
    found = codeocean.search_assets(
        page_size=size, max_pages=max_pages, raise_on_page_limit=raise_on_page_limit, **body
    )
    if "sort_field" not in body:
        found = tuple(sorted(found, key=lambda a: (a.created, a.id)))
    if as_dict:
        return tuple(msgspec.json.decode(asset.raw) for asset in found)
    return decode_assets(asset.raw for asset in found)


def _ascending(found: Iterable[AssetSummary]) -> tuple[DataAsset, ...]:
    # Not `rules.ascending`, which drops archived ones: here the caller selected them.
    unique = {asset.id: asset for asset in found}
    return decode_assets(
        asset.raw for asset in sorted(unique.values(), key=lambda a: (a.created, a.id))
    )


@refresh.with_cache_clear
def get_subject_data_assets(
    subject_id: object, ttl_hash: int | None = None, **search_params: Any
) -> tuple[DataAsset, ...]:
    """Return all data assets of a subject, ascending by creation.

    Found by free text, by the custom field `subject id`, and by the links of metadata records;
    assets of others that only mention the subject are left out.

    Parameters
    ----------
    subject_id
        The subject.
    ttl_hash
        A number that was not given before requests anew; see `get_ttl_hash`.
    **search_params
        Further conditions, as for `search_data_assets`: only Code Ocean is searched then, each
        time, or once for each `ttl_hash`.

    Examples
    --------
    >>> found = get_subject_data_assets(668759)
    >>> found[0].name, found[0].tags
    ('Example T1 and T2 MRI Images', ['T1', 'T2', 'MRI', 'demo'])
    """
    subject = parse_subject_id(subject_id)
    with (
        refresh.at_hash(ttl_hash, "assets of subject", subject),
        tracing(subject, "data assets"),
    ):
        if not search_params:
            return decode_assets(asset.raw for asset in evidence.all_assets_of_subject(subject))
        body = _body_of(search_params)
        return _ascending(_of_subject(subject, body, ttl_hash))


@refresh.with_cache_clear
def get_data_assets(
    name_startswith: str, ttl_hash: int | None = None, **search_params: Any
) -> tuple[DataAsset, ...]:
    """Return all data assets whose name begins with a text, ascending by creation.

    Parameters
    ----------
    name_startswith
        Beginning of the name. If it contains a whole session ID, assets that only metadata records
        link are found, too.
    ttl_hash
        A number that was not given before requests anew; see `get_ttl_hash`.
    **search_params
        Further conditions, as for `search_data_assets`: only Code Ocean is searched then, each
        time, or once for each `ttl_hash`.

    Examples
    --------
    >>> found = get_data_assets("ecephys_668759_2023-07-11_13-07-32_sorted")
    >>> [asset.id for asset in found]
    ['173e2fdc-0ca3-4a4e-9886-b74207a91a9a']
    """
    beginning = name_startswith.strip()
    if not beginning:
        raise InvalidFilterError("give the beginning of the name; see `search_data_assets`")
    with (
        refresh.at_hash(ttl_hash, "assets by name", beginning),
        tracing(beginning, "data assets by name"),
    ):
        found = _named(beginning, _body_of(search_params), ttl_hash)
        return _ascending(asset for asset in found if asset.name.startswith(beginning))


@refresh.with_cache_clear
def search_computations(
    capsule_or_pipeline_id: str | UUID,
    name: str | None = None,
    attached_data_asset_id: DataAsset | str | UUID | None = None,
    has_results: bool | None = None,
    in_progress: bool | None = None,
    computation_state: ComputationState | str | None = None,
    ttl_hash: int | None = None,
    date: DateLike | None = None,
    start_date: DateLike | None = None,
    end_date: DateLike | None = None,
) -> tuple[Computation, ...]:
    """Return the runs of a capsule or pipeline that meet all conditions, ascending by creation.

    Code Ocean returns all runs with one request, which is not cached, as states change; in a loop
    over many sessions, pass a `ttl_hash`.

    Parameters
    ----------
    capsule_or_pipeline_id
        The capsule or pipeline.
    name
        The run's whole name.
    attached_data_asset_id
        A data asset that was attached to it, or its ID.
    has_results
        True: with results; False: without any.
    in_progress
        True: not ended yet; False: ended, successfully or not.
    computation_state
        `initializing`, `running`, `finalizing`, `completed` or `failed`.
    ttl_hash
        Use the result of an earlier call with the same number; see `get_ttl_hash`.
    date
        The day on which it was created, by this machine's clock.
    start_date, end_date
        Both included; a day as an end is that whole day.

    Raises
    ------
    CodeOceanNotFoundError
        The capsule or pipeline does not exist (a `ValueError`).
    InvalidFilterError
        A date or state is not valid (a `ValueError`).

    Examples
    --------
    >>> pipeline = "1f8f159a-7670-47a9-baf1-078905fc9c2e"
    >>> raw_asset = "16d46411-540a-4122-b47f-8cb2a15d593a"
    >>> [run.name for run in search_computations(pipeline, attached_data_asset_id=raw_asset)]
    ['Run With Parameters 2613011', 'Run With Parameters 9138965']
    >>> len(search_computations(pipeline, in_progress=True))
    1
    """
    attached = attached_data_asset_id
    return computations.find(
        by_id.as_written(capsule_or_pipeline_id),
        name=name or None,
        attached_data_asset_id=by_id.asset_id(attached) if attached else None,
        has_results=has_results,
        in_progress=in_progress,
        computation_state=computation_state or None,
        ttl_hash=ttl_hash,
        dates=computations.local_dates(date, start_date, end_date),
    )


def _quoted(text: str) -> str:
    """Return a term of a query, in quotes if it has several words."""
    text = text.replace('"', " ").strip()
    return f'"{text}"' if " " in text or ":" in text else text


def _body_of(search_params: object) -> dict[str, Any]:
    """Return search parameters (a dict, or `DataAssetSearchParams`) as JSON, without empty ones."""
    given = _plain(search_params)
    if not isinstance(given, dict):
        raise InvalidFilterError(
            f"a search is a dict or DataAssetSearchParams, not a {type(search_params).__name__}"
        )
    body = {key: value for key, value in given.items() if value is not None}
    limit = int(body.pop("limit", 0))
    # All pages are fetched: it is the size of one.
    return {**body, "limit": min(limit, MAX_PAGE_SIZE)} if limit > 0 else body


def _plain(value: Any) -> Any:
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        value = to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple | set):
        return [_plain(one) for one in value]
    # Members of the SDK's enums are text in some of its versions only.
    return getattr(value, "value", value)


def _matching(body: dict[str, Any], ttl_hash: int | None) -> Assets:
    """Search with the caller's conditions: a new request each time, or one for each hash."""
    words = msgspec.json.encode(body, order="sorted").decode()
    if ttl_hash is None:
        return _search(words)
    key = ("data assets with", words, str(ttl_hash))
    return context.current().cache.get(key, partial(_search, words))


@query(CODE_OCEAN, "data assets with {0}", count_assets, seconds=0.0)
def _search(words: str) -> Assets:
    return codeocean.search_assets(**msgspec.json.decode(words))


def _of_subject(subject: str, body: dict[str, Any], ttl_hash: int | None) -> Iterable[AssetSummary]:
    """Return a subject's assets that meet the caller's conditions."""
    query = str(body.pop("query", ""))
    field = {"key": "subject id", "value": subject}
    by_field = {**body, "filters": [*body.get("filters", ()), field]}
    found = gather(
        lambda: _matching({**body, "query": f"{subject} {query}".strip()}, ttl_hash),
        lambda: _matching({**by_field, "query": query} if query else by_field, ttl_hash),
    )
    return [a for some in found for a in some if subject in subjects_of(a)]


def _named(beginning: str, body: dict[str, Any], ttl_hash: int | None) -> Iterable[AssetSummary]:
    """Return the assets whose name begins with a text, and others: callers compare the names."""
    session = find_session_id(beginning)
    if session is not None and not body and beginning.startswith(session.id):
        return evidence.all_assets(session)
    subject = subject_in(beginning)
    cut = beginning[:NAME_QUERY_LENGTH]
    # If the query's length cuts the subject off, the query would find all subjects.
    by_subject = subject is not None and subject in beginning and f"{subject}_" not in f"{cut}_"
    if body:
        query = subject if by_subject else f"name:{_quoted(cut)}"
        query = f"{query} {body.pop('query', '')}".strip()
        return _matching({**body, "query": query}, ttl_hash)
    if by_subject and subject is not None:
        return assets_mentioning(subject)
    return assets_named(cut)
