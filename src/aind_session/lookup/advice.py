"""What to say when something is not found: where it was looked for, what is there, what to do."""

from __future__ import annotations

from aind_session.errors import AindSessionError
from aind_session.identifiers import SessionID
from aind_session.lookup import assets, belonging, folders, offline, trail


def _looked() -> str:
    steps = trail.lines()
    return "\nAsked:\n" + "\n".join(f"  {step}" for step in steps) if steps else ""


def _nearby(session: SessionID) -> str:
    """Name the sessions of the same subject on that day, as far as they are known."""
    try:
        known = assets.of_subjects([session.subject_id], "")[session.subject_id]
    except AindSessionError:
        return ""
    names = (*(a.name for a in known.assets), *(r.name for r in known.rows))
    same_day = sorted(
        {
            found.id
            for name in names
            if (found := belonging.session_of(name)) is not None
            and found.subject_id == session.subject_id
            and found.date == session.date
            and found.id != session.id
        }
    )
    if same_day:
        return f" Subject {session.subject_id} has on that day: {', '.join(same_day)}."
    if not any(belonging.session_of(name) for name in names):
        why = offline.missing(session.id) or "Check the ID."
        return f" Nothing at all is known of subject {session.subject_id}. {why}"
    return (
        f" See aind_session.get_sessions({session.subject_id!r}) for the sessions that are known."
    )


def no_raw_asset(session: SessionID) -> str:
    """Say that a session has no raw data asset."""
    try:
        folder, known = folders.find_raw(session, "")
    except AindSessionError:
        return f"{session.id} has no raw data asset in Code Ocean.{_looked()}"
    if folder is not None:
        return (
            f"{session.id} has no raw data asset in Code Ocean, but its files are in {folder} "
            f"(told by {folder.source}): a raw data asset needs to be created.{_looked()}"
        )
    derived = [asset.name for asset in known.assets]
    if derived:
        return (
            f"{session.id} has no raw data asset in Code Ocean, only {len(derived)} derived, the "
            f"newest {derived[-1]}; no folder of its raw files is known.{_looked()}"
        )
    if known.gaps:
        return (
            f"{session.id} has no raw data asset in Code Ocean; whether it has a folder is not "
            f"known: {' and '.join(known.gaps.errors)} did not answer.{_looked()}"
        )
    near = _nearby(session)
    return f"{session.id} has no raw data asset in Code Ocean, and no folder.{near}{_looked()}"


def no_raw_folder(session: SessionID) -> str:
    """Say that a session has no folder of raw files."""
    near = _nearby(session)
    return (
        f"{session.id} has no folder of raw files: neither Code Ocean nor DocDB knows one, and "
        f"none of the known buckets that may be read has a folder of that name.{near}{_looked()}"
    )
