"""Capturing results as data assets, each once, and sharing them."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from aind_session.identifiers import SessionID, parse_session_id
from aind_session.runs import matching
from aind_session.runs.conducting import MAX_LOST, Conductor
from aind_session.runs.state import Item, Result
from aind_session.services import codeocean
from aind_session.services.clock import CLOCK
from aind_session.services.models import AssetSummary
from aind_session.services.pool import Outcome
from aind_session.services.sdk import ComputationSource, DataAsset, DataAssetParams, Source

UNSURE = "whether Code Ocean has captured its results is not known: their data asset is searched"
#: How often sharing is tried.
MAX_TRIES = 3


def name_of(session: SessionID, label: str, at: float) -> str:
    """Name the results of a session, in UTC.

    Examples
    --------
    >>> name_of(parse_session_id("ecephys_676909_2023-12-13_13-43-40"), "dlc-eye", 1.7e9)
    'ecephys_676909_2023-12-13_13-43-40_dlc-eye_2023-11-14_22-13-20'
    """
    when = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    return f"{session.id}_{label}_{when:%Y-%m-%d_%H-%M-%S}"


def capture(conductor: Conductor) -> None:
    """Capture the results of computations that have ended well, then share what is there."""
    unsure: dict[str, list[Item]] = {}
    for item in conductor.those("capturing"):
        unsure.setdefault(_subject(item), []).append(item)
    # One search a subject, however many of its sessions are unsure.
    found = conductor.ask([functools.partial(codeocean.search_assets, query=s) for s in unsure])
    for items, outcome in zip(unsure.values(), found, strict=True):
        if outcome.error is None:
            _resolve(conductor, items, outcome.unwrap())
    _create(conductor, list(conductor.those("ended")))
    _finish(conductor, list(conductor.those("captured")))


def _computation_of(asset: AssetSummary) -> str:
    own = msgspec.json.decode(asset.raw)
    provenance = own.get("provenance") if isinstance(own, dict) else None
    return str(provenance.get("computation")) if isinstance(provenance, dict) else ""


def _resolve(conductor: Conductor, items: Sequence[Item], found: Sequence[AssetSummary]) -> None:
    """Take the assets of requests without an answer: by their name, or their computation."""
    named = {asset.name: asset for asset in found}
    made = {_computation_of(asset): asset for asset in found}
    for item in items:
        name = item.result.name if item.result else ""
        asset = named.get(name) or made.get(str(item.computation))
        if asset is not None:
            _take(conductor, item, asset.id, asset.name)
        elif conductor.is_settled(item):
            if item.lost > MAX_LOST:
                why = f"captured {item.lost} times, Code Ocean has no asset"
                conductor.put(item, "failed", why)
            else:
                conductor.put(item, "ended")


def _take(conductor: Conductor, item: Item, asset_id: str, name: str) -> None:
    if item.result is not None:
        item.result.asset, item.result.name, item.lost = asset_id, name, 0
    conductor.touch(item)
    conductor.put(item, "captured")


def _subject(item: Item) -> str:
    return parse_session_id(item.session).subject_id


def _create(conductor: Conductor, items: Sequence[Item]) -> None:
    def intend(item: Item) -> None:
        if item.result is None:
            now = CLOCK.time()
            session = parse_session_id(item.session)
            item.result = Result(name_of(session, str(conductor.state.label), now), now)
        conductor.put(item, "capturing", UNSURE)

    def withdraw(item: Item) -> None:
        conductor.put(item, "ended")

    def then(item: Item, outcome: Outcome[DataAsset]) -> bool:
        if outcome.error is None:
            asset = outcome.unwrap()
            _take(conductor, item, asset.id, asset.name)
        elif matching.is_too_fast(outcome.error):
            withdraw(item)
            return False
        elif matching.is_refusal(outcome.error):
            why = f"its results are not captured: {matching.in_a_line(outcome.error)}"
            conductor.put(item, "failed", why)
        else:
            item.lost += 1
            conductor.is_settled(item)
        return True

    conductor.send(
        items, intend, lambda i: codeocean.create_asset(_params(conductor, i)), then, withdraw
    )


def _params(conductor: Conductor, item: Item) -> DataAssetParams:
    """Describe the asset in the house style: tags and custom metadata that searches go by."""
    subject = _subject(item)
    told: dict[str, Any] = {"data level": "derived", "subject id": subject}
    if item.platform:
        told["experiment type"] = item.platform
    tags = ["derived", subject, *([item.platform] if item.platform else [])]
    name = item.result.name if item.result else ""
    return DataAssetParams(
        name=name,
        mount=name,
        tags=list(dict.fromkeys([*tags, *conductor.options.tags])),
        custom_metadata={**told, **conductor.options.custom_metadata},
        source=Source(computation=ComputationSource(id=str(item.computation))),
    )


def _finish(conductor: Conductor, items: Sequence[Item]) -> None:
    share = conductor.options.share
    for item in items:
        result = item.result
        if result is None or (conductor.options.wait_ready and not result.ready):
            continue
        problem = ""
        if share and not result.shared:
            result.tries += 1
            conductor.changed()
            sharing = functools.partial(codeocean.share_asset, str(result.asset), share)
            (outcome,) = conductor.ask([sharing])
            result.shared = outcome.error is None
            if outcome.error is not None:
                if not matching.is_refusal(outcome.error) and result.tries < MAX_TRIES:
                    continue
                problem = f"not shared: {matching.in_a_line(outcome.error)}"
        conductor.put(item, "done", problem)
