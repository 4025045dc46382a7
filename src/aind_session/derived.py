"""Derived data assets: labels, what made each, whether it failed, the way back to raw data."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from aind_session import html
from aind_session.errors import MissingAttributeError, UnresolvedInputsWarning
from aind_session.identifiers import SessionID, is_uuid, split_asset_name
from aind_session.lookup import by_id, evidence, folders, metadata, results, rules
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.failures import Failures, callers_depth
from aind_session.lookup.folders import Folder
from aind_session.query import CODE_OCEAN, count, query
from aind_session.records import Record, input_names
from aind_session.records.modalities import modality_abbreviation
from aind_session.records.shape import at, mappings, text
from aind_session.services import codeocean, s3
from aind_session.services.assets import Assets, asset_url, linked_asset
from aind_session.services.models import (
    AssetSummary,
    decode_asset,
    decode_assets,
    decode_computation,
)
from aind_session.services.sdk import DataAsset
from aind_session.threads import gather_all, outcomes
from aind_session.trace import tracing
from aind_session.value import Downloadable

if TYPE_CHECKING:
    from typing_extensions import Self
    from upath import UPath

#: Steps from a result back to raw data that are followed at most.
MAX_STEPS = 20


@dataclass(frozen=True)
class Maker:
    """What made a data asset, as far as Code Ocean or the metadata contain it.

    Attributes
    ----------
    capsule, pipeline : str or None
        IDs; a pipeline's run names the pipeline.
    commit : str or None
        Hash of the code's commit.
    version : str or None
        Version of a released capsule or pipeline, or of the code, from the metadata.
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


# The SDK has no `py.typed`, so that for mypy its model is of no type; read all the same, it exports
# none of its names, and a hundred lines elsewhere would need this.
class ExtendedDataAsset(DataAsset, Downloadable):  # type: ignore[misc]
    """A data asset with more properties; equal to the plain model of the same asset."""

    id: str
    name: str
    created: int

    @classmethod
    def of(cls, asset: DataAsset) -> Self:
        """Make one from the plain model."""
        return cls(**{f.name: getattr(asset, f.name) for f in fields(DataAsset)})

    @property
    def path(self) -> UPath | None:
        """Folder of the files, in S3; None if the asset does not name it."""
        folder = folders.of_asset(by_id.summary_of(self))
        return None if folder is None else s3.path(folder.bucket, folder.prefix)

    @property
    def url(self) -> str:
        """Address of its page in Code Ocean."""
        return asset_url(self.id)

    def _folder(self) -> Folder:
        found = folders.of_asset(by_id.summary_of(self))
        if found is None:
            message = f"Data asset {self.id} ({self.name}) does not name the folder of its files."
            raise MissingAttributeError(message, name="path")
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} ({self.id})>"

    def _repr_html_(self) -> str:
        folder = folders.of_asset(by_id.summary_of(self))
        facts = {"label": rules.label_of(self.name), "folder": folder}
        return html.of_asset(type(self).__name__, self, facts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DataAsset):
            return NotImplemented
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(DataAsset))

    def __hash__(self) -> int:
        return hash(self.id)


class DerivedDataAsset(ExtendedDataAsset):
    """A data asset that was made from others; equal to the plain model of the same asset.

    Each property sends its requests on access.

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    >>> asset = session.get_derived_data_assets("sorted")[-1]
    >>> asset.label, asset.is_error
    ('sorted', False)
    >>> asset.provenance_chain[-1] == session.raw_data_asset
    True
    """

    _summary: AssetSummary

    @classmethod
    def of_summary(cls, summary: AssetSummary) -> Self:
        """Make one from what a search returned of an asset."""
        made = cls.of(decode_asset(summary.raw))
        # The model is frozen; the summary is not one of its fields, and not compared.
        object.__setattr__(made, "_summary", summary)
        return made

    @property
    def label(self) -> str | None:
        """The last label in the name, as written: `sorted-ks2.5`; None for a name of its own."""
        return rules.label_of(self.name)

    @property
    def is_error(self) -> bool:
        """Whether the run that left it failed, by its log and by what it left."""
        return results.failure(self._summary) is not None

    @property
    def made_by(self) -> Maker:
        """Capsule or pipeline, commit, run and parameters, as far as they are recorded."""
        return maker(self._summary)

    @property
    def provenance_chain(self) -> tuple[DataAsset, ...]:
        """The assets that it was made from, nearest first, back to raw data.

        Combined and intermediate assets are part of it, and inputs that belong to other sessions
        or subjects. Inputs are those that Code Ocean attached to the run; for assets made
        elsewhere, those that the metadata record names. An input that cannot be found ends its
        branch, with an `UnresolvedInputsWarning`; so does a service that does not answer, with a
        `PartialAnswerWarning`.

        Raises
        ------
        ServiceError, CredentialsError
            No input could be looked up.
        """
        return decode_assets(asset.raw for asset in chain(self._summary))


# -- of a session ---------------------------------------------------------------------------------


def of_session(session: SessionID, label: str | None = None, modality: str | None = None) -> Assets:
    """Return the derived assets of a session, of one label and modality or of all."""
    with tracing(session.id, "derived data assets"):
        known = evidence.assets_of(session)
        known.failures.warn_or_raise(known.assets)
        of_label = rules.by_label(known.assets)
        if label is None:
            some = rules.ascending(asset for of in of_label.values() for asset in of)
        else:
            some = rules.labelled(of_label, label)
        if modality is None:
            return some
        wanted = modality_abbreviation(modality)
        return tuple(a for a in some if wanted in modalities_of(a, known))


def modalities_of(asset: AssetSummary, known: Evidence) -> frozenset[str]:
    """Return the modalities of an asset: from its own records, else its tags and custom fields."""
    rows = [row for row in known.records if row.name == asset.name or asset.id in row.linked]
    written = {name for row in rows for name in row.record.modalities}
    if not written:
        fields_of = asset.custom_metadata
        written = {*asset.tags, *(str(fields_of.get(k) or "") for k in ("modality", "modalities"))}
    return frozenset(modality_abbreviation(name) for name in written if name)


# -- what made it ----------------------------------------------------------------------------------


def maker(asset: AssetSummary) -> Maker:
    """Return what made an asset: from its own provenance, the run's parameters from the run."""
    with tracing(results.about(asset), "provenance"):
        own = msgspec.json.decode(asset.raw) if asset.raw else None
        run, info = at(own, "provenance"), at(own, "results_info")
        computation = text(at(run, "computation"))
        parameters = _parameters(at(info, "parameters")) or _parameters(at(own, "app_parameters"))
        if not parameters and computation:
            parameters = _parameters_of_run(computation)
        made = Maker(
            capsule=text(at(info, "capsule_id")) or text(at(run, "capsule")),
            pipeline=text(at(info, "pipeline_id")) or text(at(run, "pipeline")),
            commit=text(at(info, "commit")) or text(at(run, "commit")),
            version=text(at(info, "version")),
            run_script=text(at(info, "run_script")) or text(at(run, "run_script")),
            computation=computation,
            parameters=parameters,
        )
        return made if made != Maker() else _recorded_maker(asset)


def _recorded_maker(asset: AssetSummary) -> Maker:
    """Read the metadata instead: external results have no provenance in Code Ocean."""
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


# The parameters of a computation never change.
@query(CODE_OCEAN, "parameters of computation {0}", count("parameter"), seconds=math.inf)
def _parameters_of_run(computation_id: str) -> tuple[tuple[str, str], ...]:
    try:
        raw = codeocean.get_computation(computation_id)
    except codeocean.CodeOceanNotFoundError:
        return ()
    return _parameters([vars(p) for p in decode_computation(raw).parameters or ()])


def _parameters(value: object) -> tuple[tuple[str, str], ...]:
    """Read parameters, named or positional, of any shape that runs have."""
    found = []
    for position, item in enumerate(mappings(value)):
        name = item.get("param_name") or item.get("name") or str(position)
        written = item.get("value")
        found.append((str(name), "" if written is None else str(written)))
    return tuple(found)


# -- the way back ----------------------------------------------------------------------------------


def sources(asset: AssetSummary) -> tuple[Assets, tuple[str, ...]]:
    """Return the assets that one was made from or contains, and the inputs that were not found.

    The metadata record is read if Code Ocean lists no inputs, or one that no longer exists: raw
    data may have been registered anew since.
    """
    own = msgspec.json.decode(asset.raw) if asset.raw else None
    contained = (text(one.get("id")) for one in mappings(at(own, "contained_data_assets")))
    ids = [i for i in dict.fromkeys((*rules.input_ids(asset), *contained)) if i]
    found = _found(linked_asset, ids)
    missing = [i for i, source in found.items() if source is None]
    if missing or not found:
        # By name; the record of a result may have another name, but then it links the asset.
        records = metadata.record_of(asset.name) or metadata.record_of(asset.id)
        read = (Record(msgspec.json.decode(raw)) for raw in records.values())
        names = list(dict.fromkeys(name for record in read for name in input_names(record)))
        recorded = _found(_resolved, names)
        missing += [name for name, source in recorded.items() if source is None]
        found |= recorded
    unique = {source.id: source for source in found.values() if source is not None}
    unique.pop(asset.id, None)
    return tuple(unique.values()), tuple(missing)


def _found(look: Any, wanted: list[str]) -> dict[str, AssetSummary | None]:
    return dict(zip(wanted, gather_all(look, wanted), strict=True))


def _resolved(name: str) -> AssetSummary | None:
    """Return the asset of a name, a location or an ID in a record, of whatever session."""
    if is_uuid(name):
        return linked_asset(name)
    last = name.rstrip("/").rpartition("/")[2]
    found = by_id.named(name) or by_id.named(last)
    if not found:
        # Under its other spelling, or known by a record's link only.
        parts = split_asset_name(last)
        of = evidence.all_assets(parts.session) if parts.session is not None else ()
        if parts.is_session_name:
            return rules.choose_raw(of)
        found = tuple(a for a in of if a.name == last)
    return rules.newest_usable(found)


def chain(asset: AssetSummary) -> Assets:
    """Return the assets from one back to raw data: nearest first, each once."""
    failures = Failures("data assets further back")
    with tracing(results.about(asset), "provenance"):
        seen = {asset.id}
        found: list[AssetSummary] = []
        level: list[AssetSummary] = [asset]
        unresolved: dict[str, tuple[str, ...]] = {}
        for _ in range(MAX_STEPS):
            parents = [a for a in level if a is asset or not rules.is_raw(a)]
            if not parents:
                break
            level = []
            answers = outcomes(*(partial(sources, a) for a in parents))
            for parent, outcome in zip(parents, answers, strict=True):
                nothing: tuple[Assets, tuple[str, ...]] = ((), ())
                some, missing = failures.value_or(nothing, outcome)
                unresolved |= {parent.name: missing} if missing else {}
                for source in some:
                    if source.id not in seen:
                        seen.add(source.id)
                        level.append(source)
            found += level
        if not found:
            failures.raise_error()
        failures.warn()
        for name, missing in unresolved.items():
            why = f"no data asset that can be read was found for {', '.join(missing)}"
            warning = UnresolvedInputsWarning(CODE_OCEAN, f"the inputs of {name}", why)
            warnings.warn(warning, stacklevel=callers_depth())
        return tuple(found)
