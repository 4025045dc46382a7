"""Folders: where a session's raw files are, what they contain, where a result's files are."""

from __future__ import annotations

from typing import NamedTuple

from aind_session import settings
from aind_session.errors import (
    AccessDeniedError,
    AindSessionError,
    MissingAttributeError,
    ServiceError,
    first_line,
    in_words,
)
from aind_session.identifiers import SessionID, split_asset_name
from aind_session.lookup import evidence
from aind_session.lookup.evidence import Evidence
from aind_session.lookup.failures import Failures, not_recorded, note_not_recorded
from aind_session.lookup.rules import choose_raw
from aind_session.query import S3, count
from aind_session.records.modalities import modality_abbreviation
from aind_session.services import s3
from aind_session.services.files import listing
from aind_session.services.metadata import Records
from aind_session.services.models import AssetSummary
from aind_session.threads import outcomes
from aind_session.trace import lines, note, tracing

#: What a failed service may leave out of a raw folder, for the warning.
MISSING = "a newer raw data folder"
#: Folders that hold a modality under another name.
MODALITY_OF_FOLDER = {"ecephys_compressed": "ecephys", "ecephys_clipped": "ecephys"}
#: Folders beside those of modalities (data organization of the field, 2024).
NOT_MODALITIES = frozenset({"derivatives", "logs"})


class Folder(NamedTuple):
    """A folder in S3, and the service that returned it."""

    bucket: str
    prefix: str
    source: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def of_asset(asset: AssetSummary) -> Folder | None:
    """Return the folder of an asset's files; None if its record has none.

    External assets name their bucket; the files of internal results are in Code Ocean's own, in a
    folder named after the asset.
    """
    if asset.bucket:
        return Folder(asset.bucket, asset.prefix.strip("/"), "Code Ocean")
    if asset.type == "result" or not asset.external:
        return Folder(settings.RESULTS_BUCKET, asset.id, "Code Ocean")
    return None


def location(records: Records) -> Folder | None:
    """Return the raw folder in a session's records; the newest record counts."""
    for record in sorted(records, key=lambda r: r.created, reverse=True):
        if record.location.startswith("s3://") and split_asset_name(record.name).is_raw:
            # The 1.x and the 2.x record of an asset have the same location.
            bucket, prefix = s3.split(record.location)
            if prefix.strip("/"):
                return Folder(bucket, prefix.strip("/"), "DocDB")
    return None


def in_evidence(found: Evidence) -> Folder | None:
    """Return the raw folder that DocDB or Code Ocean has; DocDB wins if they differ."""
    from_docdb = location(found.records)
    raw = choose_raw((found if from_docdb else evidence.with_linked(found)).assets)
    from_code_ocean = of_asset(raw) if raw is not None else None
    if from_docdb and from_code_ocean and from_docdb[:2] != from_code_ocean[:2]:
        note("DocDB's location %s is used, not %s", from_docdb, from_code_ocean)
    return from_docdb or from_code_ocean


def search(name: str, failures: Failures) -> Folder | None:
    """Search the known buckets for a folder by its name, concurrently."""
    buckets = settings.current().buckets.value
    with failures.limit():
        answers = outcomes(*(lambda b=b: listing(b, name) for b in buckets))
    closed: dict[str, AindSessionError] = {}
    for bucket, answer in zip(buckets, answers, strict=True):
        if isinstance(answer.error, AccessDeniedError):
            closed[bucket] = answer.error
        elif answer.error is not None:
            failures.value_or(None, answer, S3)
        elif answer.unwrap().exists:
            note("No service has a folder on record: s3://%s/%s was found by name", bucket, name)
            return Folder(bucket, name, "S3")
    if closed:
        if len(closed) == len(buckets):
            # No bucket could be searched: the answer is unknown.
            failures.add(closed[buckets[0]], S3)
        note("No access, so not searched: %s", ", ".join(closed))
    return None


def find_raw(session: SessionID, missing: str) -> tuple[Folder | None, Evidence]:
    """Find the raw folder: on record in DocDB or Code Ocean, else searched by name."""
    found = evidence.of(session, missing)
    return in_evidence(found) or search(session.id, found.failures), found


def raw(session: SessionID) -> Folder:
    """Return the folder of a session's raw files."""
    with tracing(session.id, "raw data folder"):
        return _required(session, *find_raw(session, MISSING))


def _required(session: SessionID, folder: Folder | None, found: Evidence) -> Folder:
    if folder is None:
        found.failures.raise_error()
        raise missing(
            "raw_data_dir",
            f"{session.id} has no folder of raw files: none is on record in Code Ocean or "
            "DocDB, and none of the known buckets with access has a folder of that name."
            f"{_nearby(session, found)}",
        )
    found.failures.warn()
    return folder


def raw_asset(session: SessionID) -> AssetSummary:
    """Return the raw data asset of a session."""
    with tracing(session.id, "raw data asset"):
        found = evidence.assets_of(session)
        asset = choose_raw(found.assets)
        found.failures.warn_or_raise(asset)
        if asset is None:
            raise missing("raw_data_asset", _why_no_raw_asset(session))
        return asset


def _why_no_raw_asset(session: SessionID) -> str:
    text = f"{session.id} has no raw data asset in Code Ocean"
    try:
        folder, found = find_raw(session, "")
    except AindSessionError:
        return f"{text}."
    if folder is not None:
        return f"{text}{_what_is_in(folder)}"
    if found.assets:
        return (
            f"{text}, only {count('derived data asset')(found.assets)}, the newest "
            f"{found.assets[-1].name}; a folder of its raw files was not found."
        )
    if found.failures:
        failed = in_words(list(found.failures.errors))
        return f"{text}; a folder could not be looked up: {failed} failed."
    return f"{text}, and no folder of raw files.{_nearby(session, found)}"


def _what_is_in(folder: Folder) -> str:
    try:
        exists = folder.source == S3 or listing(folder.bucket, folder.prefix).exists
    except AindSessionError as error:
        return f"; {folder.source} has the location {folder}. Its files: {first_line(error)}"
    if exists:
        return f", but its files are in {folder}: a raw data asset needs to be created."
    return f"; {folder.source} has the location {folder}, but there are no files."


def _nearby(session: SessionID, found: Evidence) -> str:
    """Return a sentence for a message: what the session has, else the nearest of its subject."""
    from aind_session.identifiers import nearest_sessions

    if found:
        return " Other data of this session was found: explain() lists it."
    try:
        of_subject = evidence.of_subjects([session.subject_id], "")[session.subject_id]
    except AindSessionError:
        return ""
    existing = [one for one in of_subject.sessions if one.subject_id == session.subject_id]
    if not existing:
        advice = not_recorded(session.id) or "Check the ID."
        return f" Nothing was found for subject {session.subject_id}. {advice}"
    near = nearest_sessions(session, existing)
    if near:
        return f" Did you mean {' or '.join(one.id for one in near)}?"
    return f" See aind_session.get_sessions({session.subject_id!r}) for its sessions."


def missing(name: str, message: str) -> MissingAttributeError:
    """Return the error of an attribute that was looked up and not found, with its requests."""
    requests = lines()
    details = "\nRequests:\n" + "\n".join(f"  {line}" for line in requests) if requests else ""
    return MissingAttributeError(message + details, name=name, trail=requests)


def is_uploaded(session: SessionID) -> bool:
    """Return True if there is a raw asset, or a raw folder in S3."""
    with tracing(session.id, "uploaded"):
        found = evidence.of(session, "uploads that only this service has on record")
        if choose_raw(found.assets) or choose_raw(evidence.with_linked(found).assets):
            return True
        folder = location(found.records)
        if folder is not None and _exists(folder, found.failures):
            found.failures.warn()
            return True
        by_name = search(session.id, found.failures)
        if by_name is None:
            found.failures.raise_error()
            note_not_recorded(session.id)
        found.failures.warn()
        return by_name is not None


def _exists(folder: Folder, failures: Failures) -> bool:
    try:
        with failures.limit():
            return listing(folder.bucket, folder.prefix).exists
    except AccessDeniedError:
        note("%s is not accessible: it is taken to exist, as DocDB has it on record", folder)
        return True
    except ServiceError as error:
        failures.add(error, S3)
        return False


def modalities(session: SessionID) -> tuple[str, ...]:
    """Return the names of the modality folders in the raw folder, sorted."""
    with tracing(session.id, "modalities"):
        known, evidence_ = find_raw(session, MISSING)
        folder = _required(session, known, evidence_)
        with evidence_.failures.limit():
            found = listing(folder.bucket, folder.prefix)
        if not found.exists:
            raise missing(
                "modalities",
                f"{session.id} has the folder {folder} (according to {folder.source}), but it is "
                "empty in S3: it was moved or deleted, or its upload has not begun.",
            )
        return modality_names(found)


def modality_names(found: s3.Listing) -> tuple[str, ...]:
    """Return the modalities among the sub-folders of a raw folder, sorted."""
    names = {
        MODALITY_OF_FOLDER.get(name, name)
        for name in found.folders
        if "metadata" not in name and name not in NOT_MODALITIES
    }
    return tuple(sorted(names))


def abbreviation(folder: str) -> str:
    """Return the current abbreviation of the modality in a folder."""
    return modality_abbreviation(MODALITY_OF_FOLDER.get(folder, folder))
