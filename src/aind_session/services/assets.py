"""Requests for data assets in Code Ocean; each is cached and traced."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from aind_session import settings
from aind_session.identifiers import session_in_name
from aind_session.query import CODE_OCEAN, by_key, count, query
from aind_session.services import codeocean
from aind_session.services.models import AssetSummary, NoRecordError
from aind_session.trace import note

Assets = tuple[AssetSummary, ...]

_DATES = re.compile(r"\d{4}-\d{2}-\d{2}(?:_\d{2}-\d{2}-\d{2})?")
_SEPARATORS = re.compile(r"[_\-]+")

#: Longer `name:` queries were seen to find nothing (Code Ocean, October 2024).
NAME_QUERY_LENGTH = 20

count_assets = count("data asset")


@query(CODE_OCEAN, "data assets for the query 'name:{0}'", count_assets)
def assets_named(beginning: str) -> Assets:
    """Search data assets by the first characters of their name."""
    return codeocean.search_assets(query=f"name:{beginning}", archived=False)


@query(CODE_OCEAN, "data assets for the free text {0!r}", count_assets)
def assets_mentioning(subject_id: str) -> Assets:
    """Search data assets by a subject's ID as free text: names, tags, custom metadata."""
    return codeocean.search_assets(query=subject_id, archived=False)


@query(
    CODE_OCEAN,
    lambda subject_ids: f"data assets named after one of {len(subject_ids)} subjects",
    count_assets,
    seconds=0.0,
)
def assets_named_after(subject_ids: tuple[str, ...]) -> Assets:
    """Search data assets named after one of some subjects: the same field twice means "or"."""
    text = " ".join(f"name:{subject_id}" for subject_id in subject_ids)
    return codeocean.search_assets(query=text, archived=False)


@query(CODE_OCEAN, "data assets whose `subject id` is {0!r}", count_assets)
def assets_of_subject(subject_id: str) -> Assets:
    """Search data assets by the custom field `subject id`."""
    return _with_field(key="subject id", value=subject_id)


@query(
    CODE_OCEAN,
    lambda subject_ids: f"data assets whose `subject id` is one of {len(subject_ids)}",
    count_assets,
    seconds=0.0,
)
def _assets_of_subjects(subject_ids: tuple[str, ...]) -> Assets:
    return _with_field(key="subject id", values=list(subject_ids))


@query(CODE_OCEAN, "data assets whose `experiment type` is one of {0}", count_assets)
def assets_of_platform(spellings: tuple[str, ...]) -> Assets:
    """Search data assets by the custom field `experiment type`."""
    return _with_field(key="experiment type", values=list(spellings))


def _with_field(**field: Any) -> Assets:
    return codeocean.search_assets(filters=[field], archived=False)


def assets_of_subjects(subject_ids: Sequence[str]) -> Assets:
    """Search data assets by the custom field `subject id`: one request for several subjects."""
    return by_key(assets_of_subject, _assets_of_subjects, subject_ids, _owner)


def _owner(asset: AssetSummary, wanted: dict[str, Any]) -> str:
    owners = (subject_field(asset), *subjects_of(asset))
    # The search found it for one of them, in a spelling of its own.
    return next((s for s in owners if s in wanted), next(iter(wanted)))


def subject_field(asset: AssetSummary) -> str:
    """Return an asset's own custom field `subject id`, or an empty text."""
    return str(asset.custom_metadata.get("subject id") or "").strip()


def subjects_of(asset: AssetSummary) -> tuple[str, ...]:
    """Return the subjects of an asset: by the session in its name, else its field, else its tags.

    A tag counts if it is also a part of the name of its own, between separators.
    """
    session = session_in_name(asset.name)
    owner = session.subject_id if session else subject_field(asset)
    if owner:
        return (owner,)
    parts = _SEPARATORS.split(_DATES.sub("_", asset.name)) if asset.tags else ()
    tagged = (tag.strip() for tag in asset.tags if any(c.isdigit() for c in tag))
    return tuple(dict.fromkeys(tag for tag in tagged if tag in parts))


@query(
    CODE_OCEAN,
    "data asset {0} (linked by DocDB)",
    lambda found: found if isinstance(found, str) else found.name,
)
def _linked_asset(asset_id: str) -> AssetSummary | str:
    try:
        return codeocean.get_asset(asset_id)
    except codeocean.CodeOceanNotFoundError:
        return "gone (404)"
    except codeocean.ClosedAssetError as error:
        return f"closed ({error.status})"


def linked_asset(asset_id: str) -> AssetSummary | None:
    """Request an asset that a DocDB record links; None if it is gone, closed or malformed."""
    found = get_asset.cached(asset_id)
    try:
        answer = found or _linked_asset(asset_id)
    except NoRecordError:
        # An exception, so that it is not cached.
        answer = "malformed (without an ID)"
    if isinstance(answer, str):
        note("Linked data asset %s is left out: it is %s", asset_id, answer)
        return None
    return answer


def cached_linked_asset(asset_id: str) -> AssetSummary | str | None:
    """Return the cached answer for an asset that a record links: the asset, or why it is not."""
    return get_asset.cached(asset_id) or _linked_asset.cached(asset_id)


def _lifetime(found: AssetSummary) -> float | None:
    return None if found.is_ready else 0.0


@query(CODE_OCEAN, "data asset {0}", lambda asset: str(asset.name), _lifetime)
def get_asset(asset_id: str) -> AssetSummary:
    """Request an asset by its ID; one that is not ready is requested again each time."""
    return codeocean.get_asset(asset_id)


def asset_url(asset_id: str) -> str:
    """Return the address of a data asset's page in Code Ocean."""
    return f"{settings.current().domain.value}/data-assets/{asset_id}"
