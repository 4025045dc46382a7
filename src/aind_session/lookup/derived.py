"""Derived data assets: by label, what made each, whether it failed, the way back to raw data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import msgspec

from aind_session.identifiers import SessionID, label_family, normalise_label
from aind_session.lookup import assets, belonging, metadata, outputs, questions, trail
from aind_session.lookup.assets import ascending
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import Assets
from aind_session.records import Record
from aind_session.services import codeocean, pool
from aind_session.services.models import AssetSummary, decode_computation

#: Steps from a result back to raw data that are followed at most.
MAX_STEPS = 20

Status = Literal["good", "failed", "never"]


@dataclass(frozen=True)
class Maker:
    """What made a data asset, as far as Code Ocean or the metadata tell.

    Attributes
    ----------
    capsule, pipeline : str or None
        IDs; a pipeline's run names the pipeline.
    commit : str or None
        Hash of the code's commit.
    version : str or None
        Version of a released capsule or pipeline, or of the code as the metadata tell it.
    run_script : str or None
        Path of the script.
    computation : str or None
        ID of the run.
    parameters : tuple of (str, str)
        Names and values; positional ones have their position as name.
    """

    capsule: str | None = None
    pipeline: str | None = None
    commit: str | None = None
    version: str | None = None
    run_script: str | None = None
    computation: str | None = None
    parameters: tuple[tuple[str, str], ...] = ()


def same_label(label: str) -> str:
    """Write a label as all its spellings are: what was done, and with what where that matters.

    `sorted`, `sorted-ks2.5` and `sortedKS4` are one label, and so is what different people curated;
    `dlc-eye` and `dlc_face` are two.
    """
    family = label_family(label)
    return family if family in _WHATEVER_WITH else normalise_label(label)


_WHATEVER_WITH = frozenset({"sorted", "curated"})


def by_label(some: Assets) -> dict[str, Assets]:
    """Sort derived assets by their label, spellings joined, each ascending by creation.

    An asset without a label (a name of its own) is under an empty text.
    """
    found: dict[str, list[AssetSummary]] = {}
    for asset in some:
        if not belonging.is_raw(asset):
            label = belonging.label_of(asset.name)
            found.setdefault(same_label(label) if label else "", []).append(asset)
    return {label: tuple(of) for label, of in sorted(found.items())}


def labelled(of_label: Mapping[str, Assets], wanted: str) -> Assets:
    """Give the assets of a label in any spelling: `dlc` has those of `dlc-eye`, too."""
    same = same_label(wanted)
    return ascending(
        asset
        for label, of in of_label.items()
        if label == same or label.startswith(f"{same}-")
        for asset in of
    )


def of_session(session: SessionID, label: str | None = None) -> Assets:
    """Give the derived assets of a session, of one label in any spelling or of all."""
    with trail.following(session.id, "derived data assets"):
        of_label = by_label(assets.session_assets(session))
        if label is not None:
            return labelled(of_label, label)
        return ascending(asset for of in of_label.values() for asset in of)


def status(some: Assets) -> Status:
    """Tell whether one of a label's assets is good: the newest is asked first."""
    for asset in reversed(some):
        if not outputs.is_asset_error(asset):
            return "good"
    return "failed" if some else "never"


# -- what made it ----------------------------------------------------------------------------------


def maker(asset: AssetSummary) -> Maker:
    """Tell what made an asset: from its own provenance, the run's parameters from the run."""
    with trail.following(_about(asset), "provenance"):
        own = _json(asset)
        provenance = _mapping(own.get("provenance"))
        results = _mapping(own.get("results_info"))
        computation = _text(provenance.get("computation"))
        parameters = _parameters(results.get("parameters")) or _parameters(
            own.get("app_parameters")
        )
        if not parameters and computation:
            parameters = _parameters_of_run(computation)
        made = Maker(
            capsule=_text(results.get("capsule_id")) or _text(provenance.get("capsule")),
            pipeline=_text(results.get("pipeline_id")) or _text(provenance.get("pipeline")),
            commit=_text(results.get("commit")) or _text(provenance.get("commit")),
            version=_text(results.get("version")),
            run_script=_text(results.get("run_script")) or _text(provenance.get("run_script")),
            computation=computation,
            parameters=parameters,
        )
        return made if made != Maker() else _told_by_record(asset)


def _told_by_record(asset: AssetSummary) -> Maker:
    """Ask the metadata where Code Ocean does not tell: external results have no provenance."""
    found = metadata.record_of(asset.name)
    raw = found.get("v2") or found.get("v1")
    processing = Record(msgspec.json.decode(raw)).processing if raw else None
    if processing is None or not processing.steps:
        return Maker()
    last = processing.steps[-1]
    return Maker(
        version=last.version,
        run_script=last.code_url,
        parameters=tuple((str(k), str(v)) for k, v in last.parameters.items()),
    )


def _parameters_of_run(computation_id: str) -> tuple[tuple[str, str], ...]:
    def call() -> tuple[bytes, ...]:
        try:
            return (codeocean.get_computation(computation_id),)
        except codeocean.CodeOceanNotFoundError:
            return ()

    found = trail.ask(
        questions.CODE_OCEAN,
        f"computation {computation_id}",
        ("parameters of computation", computation_id),
        call,
        lambda answer: "1 computation" if answer else "gone",
        questions.FOREVER,
    )
    if not found:
        return ()
    parameters = decode_computation(found[0]).parameters
    return _parameters([vars(p) for p in parameters or ()])


def _parameters(value: object) -> tuple[tuple[str, str], ...]:
    """Read parameters, named or positional, of any shape that runs have."""
    found = []
    for position, item in enumerate(value if isinstance(value, list) else ()):
        fields = _mapping(item)
        name = fields.get("param_name") or fields.get("name") or str(position)
        text = fields.get("value")
        found.append((str(name), "" if text is None else str(text)))
    return tuple(found)


# -- the way back ----------------------------------------------------------------------------------


def sources(asset: AssetSummary) -> Assets:
    """Give the assets that one was made of, or contains, as far as they can be opened."""
    own = _json(asset)
    ids: list[str] = []
    for holder in (own.get("provenance"), own.get("results_info")):
        ids += [i for i in _list(_mapping(holder).get("data_assets")) if isinstance(i, str)]
    for contained in _list(own.get("contained_data_assets")):
        one = _text(_mapping(contained).get("id"))
        if one:
            ids.append(one)
    unique = [i for i in dict.fromkeys(ids) if i != asset.id]
    found = pool.gather_all(questions.linked_asset, unique)
    return tuple(source for source in found if source is not None) or _told_sources(asset)


def _told_sources(asset: AssetSummary) -> Assets:
    """Find the sources by name, in the metadata's `source_data`, among the session's assets."""
    session = belonging.session_of(asset.name)
    if session is None:
        return ()
    found = metadata.record_of(asset.name)
    names = {
        name for raw in found.values() for name in Record(msgspec.json.decode(raw)).source_data
    }
    if not names:
        return ()
    return tuple(a for a in assets.session_assets(session) if a.name in names and a.id != asset.id)


def chain(asset: AssetSummary) -> Assets:
    """Give the assets from one back to raw data: nearest first, each once.

    Combined and intermediate assets are part of it; what is gone or closed ends its branch. So
    does a service that does not answer, and that is told.

    Raises
    ------
    ServiceError, CredentialsError
        Of no asset could be found out what it was made of.
    """
    gaps = Gaps("data assets further back")
    with trail.following(_about(asset), "provenance"):
        seen = {asset.id}
        found: list[AssetSummary] = []
        level: list[AssetSummary] = [asset]
        for _ in range(MAX_STEPS):
            asked = [a for a in level if a is asset or not belonging.is_raw(a)]
            if not asked:
                break
            level = []
            outcomes = pool.outcomes(*(partial(sources, a) for a in asked))
            for outcome in outcomes:
                for source in gaps.fill(None, outcome, ()):
                    if source.id not in seen:
                        seen.add(source.id)
                        level.append(source)
            found += level
        if not found:
            gaps.raise_first()
        gaps.warn()
        return tuple(found)


def _about(asset: AssetSummary) -> str:
    session = belonging.session_of(asset.name)
    return session.id if session is not None else asset.id


def _json(asset: AssetSummary) -> dict[str, Any]:
    own = msgspec.json.decode(asset.raw)
    return own if isinstance(own, dict) else {}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None
