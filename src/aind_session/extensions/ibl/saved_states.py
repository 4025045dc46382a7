"""The Neuroglancer states of a subject: files in the scratch bucket, and data assets.

Each state is a JSON file in a folder of its own, and may have been made a data asset: the bucket
is cleared without notice, and the asset stays.
"""

from __future__ import annotations

import datetime
from typing import NamedTuple

from aind_session.errors import InvalidContentError, MissingFileError
from aind_session.extensions.ibl import scratch, states
from aind_session.extensions.ibl.states import Content
from aind_session.identifiers import session_in_name, split_asset_name
from aind_session.lookup import evidence
from aind_session.lookup.failures import Failures
from aind_session.query import CODE_OCEAN, S3
from aind_session.services import codeocean, s3
from aind_session.services.assets import Assets
from aind_session.services.files import listing, read_text
from aind_session.services.models import AssetSummary
from aind_session.threads import Outcome, outcomes
from aind_session.trace import lines as trace_lines
from aind_session.trace import note, tracing

FOLDER = f"{scratch.ROOT}/neuroglancer_states"
LABEL = "neuroglancer-state"


def file_name(session_id: str, moment: datetime.datetime) -> str:
    """Return the name of a state's file: its session, and a moment in Pacific time."""
    return f"{session_id}_{LABEL}_{scratch.stamp(moment)}.json"


def _key_of(name: str) -> str:
    return f"{FOLDER}/{name}/{name}.json"


def new_key(session_id: str) -> str:
    """Return the key of a new state's file, in a folder that does not exist yet."""
    moment = scratch.pacific()
    while True:
        key = _key_of(states.stem(file_name(session_id, moment)))
        # Not cached: two states of one second must not become one file.
        if not s3.list_folder(scratch.BUCKET, key.rpartition("/")[0]).exists:
            return key
        moment += datetime.timedelta(seconds=1)


class StoredState(NamedTuple):
    """A state's file in the scratch bucket."""

    name: str
    key: str


def stored(subject_id: str) -> tuple[StoredState, ...]:
    """List the files of a subject's states, ascending by the time in their names."""
    with tracing(subject_id, "Neuroglancer states"):
        listed = listing(scratch.BUCKET, FOLDER)
        # Files directly in the folder are older than the rule of one folder for each.
        flat = [name for name in listed.files if name.lower().endswith(".json")]
        found = {states.stem(name): f"{FOLDER}/{name}" for name in flat}
        found |= {name: _key_of(name) for name in listed.folders}
        mine = [
            name
            for name in found
            if (of := session_in_name(name)) is not None and of.subject_id == subject_id
        ]
        if not mine:
            note("No Neuroglancer state of %s is in s3://%s/%s", subject_id, scratch.BUCKET, FOLDER)
        return tuple(StoredState(name, found[name]) for name in sorted(mine, key=_order))


def _order(name: str, created: int = 0) -> tuple[datetime.datetime, str]:
    """Sort key: the time in the name, else that of the asset; then the name."""
    moment = split_asset_name(name).dt or scratch.pacific(created).replace(tzinfo=None)
    return moment, name


def is_state(asset: AssetSummary) -> bool:
    """Whether a data asset is a Neuroglancer state: by its name, else by its tags."""
    if LABEL in asset.name.lower().replace("_", "-"):
        return True
    return {"neuroglancer", "annotation"} <= {str(tag).lower() for tag in asset.tags}


def state_assets(subject_id: str) -> Assets:
    """Return the data assets that are states of a subject, ascending by creation."""
    with tracing(subject_id, "Neuroglancer states"):
        return tuple(
            asset for asset in evidence.all_assets_of_subject(subject_id) if is_state(asset)
        )


class _Known(NamedTuple):
    """The states of a subject by name: files, assets, and all names in order."""

    files: dict[str, StoredState]
    assets: dict[str, AssetSummary]
    names: list[str]

    def read(self, name: str) -> Content | None:
        """Read a state's file, or the file of its asset if the bucket was cleared."""
        file, asset = self.files.get(name), self.assets.get(name)
        if file is not None:
            data = read_text(scratch.BUCKET, file.key)
            if data is not None:
                place = f"s3://{scratch.BUCKET}/{file.key}"
                return Content(states.decoded(data, place), file.name)
        data = scratch.read_back(asset, ".json") if asset is not None else None
        return None if data is None else Content(states.decoded(data, name), name)


def _known(files: Outcome[tuple[StoredState, ...]], found: Outcome[Assets]) -> _Known:
    """Combine files and assets; one of the two services may have failed."""
    failures = Failures("Neuroglancer states that only it knows")
    by_file = {one.name: one for one in failures.value_or((), files, S3)}
    by_asset = {asset.name: asset for asset in failures.value_or((), found, CODE_OCEAN)}
    if not by_file and not by_asset:
        failures.raise_error()
    failures.warn()
    created = {name: asset.created for name, asset in by_asset.items()}
    names = sorted({*by_file, *by_asset}, key=lambda name: _order(name, created.get(name, 0)))
    return _Known(by_file, by_asset, names)


def all_states(subject_id: str) -> list[Content]:
    """Read all states of a subject, ascending; those that cannot be read are logged."""
    with tracing(subject_id, "Neuroglancer states"):
        known = _known(*outcomes(lambda: stored(subject_id), lambda: state_assets(subject_id)))
        answers = outcomes(*(lambda n=n: known.read(n) for n in known.names))
        found = []
        for name, outcome in zip(known.names, answers, strict=True):
            if isinstance(outcome.error, InvalidContentError | codeocean.ClosedAssetError):
                note("Neuroglancer state %s is left out: %s", name, outcome.error)
            elif (content := outcome.unwrap()) is None:
                note("Neuroglancer state %s is left out: its file is gone", name)
            else:
                found.append(content)
        return found


def state_by_name(
    subject_id: str, name: str | None, files: Outcome[tuple[StoredState, ...]], some: Assets
) -> Content:
    """Read one state of a subject by its name, with or without `.json`; by default the latest.

    Raises
    ------
    MissingFileError
        There is none (a `FileNotFoundError`).
    """
    with tracing(subject_id, "Neuroglancer state"):
        known = _known(files, Outcome(some))
        wanted = states.stem(name) if name else known.names[-1] if known.names else ""
        state = known.read(wanted) if wanted in known.names else None
        if state is None:
            hint = "Save one: subject.neuroglancer.from_json(...).write()."
            if known.names:
                hint = f"There is {', '.join(known.names[-3:])}."
            raise MissingFileError(
                f"There is no Neuroglancer state{f' {wanted}' if wanted else ''} of subject "
                f"{subject_id}: neither in s3://{scratch.BUCKET}/{FOLDER} nor among its data "
                f"assets. {hint}",
                trail=trace_lines(),
            )
        return state
