"""Inputs of the IBL data converter: a subject's recordings, sortings, images and annotations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from aind_session import threads
from aind_session.errors import AccessDeniedError, MissingFileError
from aind_session.extensions.ecephys import sorting
from aind_session.extensions.ibl import manifests, neuroglancer, scratch, states
from aind_session.extensions.ibl.manifests import Day
from aind_session.identifiers import SessionID, session_in_name
from aind_session.lookup import by_id, evidence, refresh, results, rules, search
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.search import Found
from aind_session.query import CODE_OCEAN
from aind_session.services.assets import Assets, assets_mentioning
from aind_session.services.models import AssetSummary
from aind_session.services.sdk import DataAsset, DataAssetsRunParam, NamedRunParam, RunParams
from aind_session.threads import gather_all, outcomes
from aind_session.trace import lines as trace_lines
from aind_session.trace import logger, note, tracing

ECEPHYS, SMARTSPIM = "ecephys", "SmartSPIM"
#: The modality of each, for session names without a platform.
_MODALITY = {ECEPHYS: "ecephys", SMARTSPIM: "SPIM"}
STITCHED = "stitched"
#: Date and time of a session.
Time = tuple[str, str]
NamedParameters: TypeAlias = Mapping[str, str] | Sequence[NamedRunParam]


class Options(NamedTuple):
    """Which sorted data assets are used."""

    with_errors: bool
    with_analyzer: bool


def sessions(subject_id: str, kind: str) -> tuple[SessionID, ...]:
    """Return a subject's sessions of one platform, ascending by date and time."""
    with tracing(subject_id, f"{kind} sessions"):
        found, failures = search.of_subjects([subject_id])
        failures.warn_or_raise(found)
        return _sessions(found, kind)


def _sessions(found: Found, kind: str) -> tuple[SessionID, ...]:
    # A name with and a name without the platform can be the same session.
    of_time: dict[Time, tuple[SessionID, Evidence]] = {}
    for session, known in found.items():
        if _is(kind, session, known):
            other = of_time.get(_time(session))
            if other is None or len(known.assets) > len(other[1].assets):
                of_time[_time(session)] = session, known
    return tuple(of_time[when][0] for when in sorted(of_time))


def _time(session: SessionID) -> Time:
    return session.date, session.time


def _is(kind: str, session: SessionID, known: Evidence) -> bool:
    known_platform = session.platform or rules.platform_of(known)
    if known_platform and search.same_platform(known_platform, kind):
        return True
    is_unknown = session.platform is None and known_platform not in search.PLATFORMS
    return is_unknown and search.has_modality(known, _MODALITY[kind])


@dataclass(frozen=True)
class Stock:
    """All data assets of a subject, and its sessions, from which the inputs are chosen."""

    subject_id: str
    assets: Assets
    found: Found

    def _by_time(self, kind: str, some: Assets) -> dict[Time, list[AssetSummary]]:
        """Group assets by the sessions of one platform, ascending by date and time."""
        of_time: dict[Time, list[AssetSummary]] = {
            _time(session): [] for session in _sessions(self.found, kind)
        }
        for asset in some:
            session = session_in_name(asset.name)
            if session is not None and _time(session) in of_time:
                of_time[_time(session)].append(asset)
        return of_time

    def raw(self, kind: str) -> Assets:
        """Return the raw data asset of each session of one platform, ascending."""
        chosen = map(rules.choose_raw, self._by_time(kind, self.assets).values())
        return rules.ascending(asset for asset in chosen if asset is not None)

    def days(self) -> tuple[Day, ...]:
        """Return the ecephys days, ascending; the second raw data asset of a day is the surface."""
        names: dict[str, list[str]] = {}
        for (date, _), some in self._by_time(ECEPHYS, self.assets).items():
            raw = rules.choose_raw(some)
            names.setdefault(date, []).extend([raw.name] if raw is not None else [])
        for date, of_day in names.items():
            if len(of_day) > 2:
                note("%d raw data assets on %s: the second is the surface", len(of_day), date)
        return tuple(Day(date, *[*of_day, None, None][:2]) for date, of_day in names.items())

    def latest_stitched(self) -> Assets:
        """Return the latest stitched data asset of each SmartSPIM session, ascending."""
        stitched = rules.labelled(rules.by_label(self.assets), STITCHED)
        of_time = self._by_time(SMARTSPIM, stitched)
        return rules.ascending(some[-1] for some in of_time.values() if some)

    def states(self) -> Assets:
        """Return the Neuroglancer states, ascending by creation."""
        return tuple(asset for asset in self.assets if neuroglancer.is_state(asset))

    def manifests(self) -> Assets:
        """Return the manifests, ascending by creation."""
        # Older ones have no custom field with the subject; it is in their name.
        named = [
            asset
            for asset in assets_mentioning(self.subject_id)
            if asset.name.startswith(manifests.name_of(self.subject_id))
        ]
        return rules.ascending(a for a in (*self.assets, *named) if _is_manifest(a))

    def sorted(self, options: Options) -> Assets:
        """Return the sorted data assets, ascending, checked at the same time."""
        found = rules.ascending(a for a in self.assets if rules.is_sorted(a.name))

        def is_wanted(asset: AssetSummary) -> bool:
            if not options.with_errors and results.failure(asset) is not None:
                return False
            return options.with_analyzer or not sorting.is_analyzer(asset)

        wanted = gather_all(is_wanted, found)
        chosen = tuple(asset for asset, is_one in zip(found, wanted, strict=True) if is_one)
        if len(chosen) < len(found):
            note("%d of %d sorted data assets are used", len(chosen), len(found))
        return chosen


def _is_manifest(asset: AssetSummary) -> bool:
    if manifests.LABEL in asset.name.lower():
        return True
    return {"ibl", "manifest"} <= {str(tag).lower() for tag in asset.tags}


@contextmanager
def looking(subject_id: str, what: str) -> Iterator[Stock]:
    """Look up all data assets of a subject; what the caller does is traced with it."""
    with tracing(subject_id, what):
        yield _look(subject_id)


def _look(subject_id: str) -> Stock:
    known = evidence.of_subjects([subject_id], "data assets and sessions that only it knows")[
        subject_id
    ]
    if CODE_OCEAN not in known.failures.errors:
        known = evidence.with_linked(known)
    if CODE_OCEAN in known.failures.errors:
        raise known.failures.errors[CODE_OCEAN]
    known.failures.warn()
    found = evidence.by_session(known)
    mine = {session: of for session, of in found.items() if session.subject_id == subject_id}
    return Stock(subject_id, known.assets, mine)


def newest_good(some: Assets) -> AssetSummary | None:
    """Return the newest of some data assets that did not fail."""
    return rules.newest(asset for asset in some if asset.state.lower() != "failed")


def ready(asset: AssetSummary) -> AssetSummary:
    """Wait for a data asset that was just created: others cannot be attached or read."""
    if asset.state.lower() == "ready":
        return asset
    return refresh.until_ready(
        asset.id, check_files=False, timeout=scratch.READY_SECONDS, shown=False
    )


# -- for a manifest --------------------------------------------------------------------------------


def partial_records(
    subject_id: str, state_name: str | None, recordings: Sequence[str], options: Options
) -> list[manifests.Record]:
    """Return the records of a manifest, for a person to complete.

    By default of the latest state, and of the latest sorting of each session that is not a surface
    recording.
    """
    with tracing(subject_id, "partial manifest"):
        # The list of states does not wait for that of data assets.
        files, looked = outcomes(lambda: neuroglancer.stored(subject_id), lambda: _look(subject_id))
        stock: Stock = looked.unwrap()
        days = stock.days()
        state, sortings = threads.gather(
            lambda: neuroglancer.state_by_name(subject_id, state_name, files, stock.states()),
            lambda: () if recordings else stock.sorted(options),
        )
        names = recordings or _latest_of_sessions(sortings, days)
        annotations = states.annotation_names(state.content)
        if not annotations:
            note("Neuroglancer state %s has no annotation with a name", state.name)
        return manifests.partial(subject_id, state.name, annotations, names, days)


def _latest_of_sessions(sortings: Assets, of_days: Sequence[Day]) -> tuple[str, ...]:
    surfaces = {session_in_name(day.surface) for day in of_days if day.surface}
    latest: dict[SessionID, str] = {}
    for asset in sortings:
        session = session_in_name(asset.name)
        if session is not None and session not in surfaces:
            latest[session] = asset.name
    return tuple(latest[session] for session in sorted(latest, key=lambda s: (s.dt, s.id)))


# -- for a run -------------------------------------------------------------------------------------


def run_params(
    subject_id: str,
    capsule_id: str,
    manifest_asset: DataAsset | str | None,
    state_asset: DataAsset | str | None,
    additional: Iterable[DataAsset | str],
    named_parameters: NamedParameters,
    by_position: Sequence[str] | None,
    options: Options,
) -> RunParams:
    """Return a run with a subject's inputs; parameters by position replace those by name."""
    with looking(subject_id, "inputs of the IBL data converter") as stock:
        manifest, state, inputs = _gather(stock, manifest_asset, state_asset, options)
        # Mounted under their names, which the columns of the manifest contain.
        attached = {asset.id: asset.name for asset in (*inputs, manifest, state)}
        for extra in map(by_id.summary_of, additional):
            attached.setdefault(extra.id, extra.name)
    given = named_parameters
    named = {
        "manifest": f"{manifest.name}/{manifest.name}.csv",
        "neuroglancer": f"{state.name}/{state.name}.json",
        **(given if isinstance(given, Mapping) else {p.param_name: p.value for p in given}),
    }
    return RunParams(
        capsule_id=capsule_id,
        data_assets=[DataAssetsRunParam(id=i, mount=name) for i, name in attached.items()],
        parameters=None if by_position is None else [str(p) for p in by_position],
        named_parameters=None
        if by_position is not None
        else [NamedRunParam(param_name=name, value=value) for name, value in named.items()],
    )


def _gather(
    stock: Stock,
    manifest_asset: DataAsset | str | None,
    state_asset: DataAsset | str | None,
    options: Options,
) -> tuple[AssetSummary, AssetSummary, Assets]:
    """Return the manifest, the state and the other inputs; wait for those that are not ready."""
    given_manifest, given_state = (
        None if given is None else by_id.summary_of(given)
        for given in (manifest_asset, state_asset)
    )
    of_manifests = (given_manifest,) if given_manifest else stock.manifests()
    of_states = (given_state,) if given_state else stock.states()
    manifest, state = newest_good(of_manifests), newest_good(of_states)
    sortings, named = threads.gather(
        lambda: stock.sorted(options),
        lambda: None if given_state or not manifest else _state_of(manifest, of_states),
    )
    found = {
        "raw ecephys data asset": stock.raw(ECEPHYS),
        "sorted data asset": sortings,
        "SmartSPIM data asset": stock.raw(SMARTSPIM),
        "stitched data asset": stock.latest_stitched(),
    }
    checked = {
        **found,
        "manifest data asset": of_manifests,
        "Neuroglancer state's data asset": of_states,
    }
    missing = [f"no {what}" for what, some in checked.items() if not some]
    if missing or manifest is None or state is None:
        raise MissingFileError(
            f"The IBL data converter cannot be run for subject {stock.subject_id}, which has "
            f"{', '.join(missing) or 'a manifest or Neuroglancer state that failed'}. "
            "Manifests are made by create_manifest_asset(), states' data assets by "
            "subject.neuroglancer.states[-1].create_data_asset().",
            trail=trace_lines(),
        )
    return ready(manifest), ready(named or state), tuple(a for some in found.values() for a in some)


def _state_of(manifest: AssetSummary, of_states: Assets) -> AssetSummary | None:
    """Return the state that a manifest was made from: a newer one may have other annotations."""
    try:
        data = scratch.read_back(ready(manifest), ".csv")
    except AccessDeniedError as error:
        # Permanent. A service that fails just now raises: the choice of the state must not depend
        # on it.
        note("The manifest %s cannot be read: %s", manifest.name, error)
        data = None
    named = {record["probe_file"] for record in manifests.decode(data or b"")}
    found = newest_good(tuple(asset for asset in of_states if asset.name in named))
    if found is None:
        logger.warning(
            "The manifest %s names no Neuroglancer state that is a data asset (%s): the newest is "
            "attached. Make a data asset of the state that it names, or another manifest.",
            manifest.name,
            ", ".join(sorted(named)) or "it cannot be read",
        )
    return found
