"""Recording a catalogue from the services: a study's metadata as files that diff well.

What is recorded of each subject or session: its Code Ocean assets, its records of both generations,
the runs of the known pipelines that its assets had a part in, the names in its folders to a given
depth, and the content of the small files that lookups read. No secret is in it; people's names are
not, unless they are asked for.

The header, `catalogue.json`, has what was recorded as ``recorded``:

============  ====================================================================================
key           value
============  ====================================================================================
``subjects``  IDs of the subjects of which everything was recorded
``sessions``  IDs of sessions recorded of other subjects
``projects``  names of the projects whose sessions these are
``depth``     levels of names in folders: a number, or "default" (2 of raw data, 3 of results)
``names``     whether people's names are in it
``on``        the day (UTC)
``from``      Code Ocean's address; "a sandbox" where a catalogue was recorded from another one
``gaps``      what could not be recorded, and why; absent where there is nothing
============  ====================================================================================

What is found is first written to a journal in the folder, a part a line: a recording that was
broken off goes on where it was, and asks nothing twice. To a folder that holds a recording already
what is new is added.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aind_session import settings
from aind_session.errors import InvalidFilterError
from aind_session.identifiers import find_session_id, parse_subject_id
from aind_session.sandbox.catalogue import Catalogue, Json
from aind_session.sandbox.recorder_journal import Journal
from aind_session.sandbox.recorder_parts import Recording
from aind_session.sandbox.scrub import Scrubber
from aind_session.services.redact import is_loopback
from aind_session.settings import CATALOGUE_HEADER

if TYPE_CHECKING:
    from aind_session.session import Session
    from aind_session.subject import Subject

    Subjects = str | int | Session | Subject


def record(
    subjects_or_sessions: Subjects | Iterable[Subjects] = (),
    *,
    to: str | os.PathLike[str],
    project: str | Iterable[str] | None = None,
    depth: int | None = None,
    names: bool = False,
    refresh: bool = False,
    progress: bool = True,
) -> Catalogue:
    """Record a catalogue from the services that the settings point at.

    Parameters
    ----------
    subjects_or_sessions
        IDs of subjects (everything of them) and sessions, one or several.
    to
        The folder. One that holds a recording is added to: what it has is not asked again.
    project
        Name of a project, or several: its sessions.
    depth
        Levels of names to record of each folder; by default as lookups read them: two of raw data,
        three of results.
    names
        Whether to keep people's names; placeholders stand in for them otherwise.
    refresh
        Whether to record anew what the folder has already.
    progress
        Whether to show a bar, where somebody looks.

    Returns
    -------
    Catalogue
        What the folder holds now.

    Raises
    ------
    InvalidFilterError
        Nothing is named, `to` is no folder, or its recording was made with other options (a
        `ValueError`).
    MissingTokenError
        There is no Code Ocean token (a `KeyError`).
    IncompleteAnswerError
        Some parts could not be had. The others are kept: the same call asks only for what is
        missing.

    Examples
    --------
    >>> import aind_session, tempfile
    >>> from aind_session.sandbox import record
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = record(676909, to=folder)
    ...     with aind_session.sandbox(folder):
    ...         len(aind_session.get_sessions(676909))
    4
    >>> study.extra["recorded"]["subjects"]
    ['676909']
    """
    settings.current().require_token()
    projects = [project] if isinstance(project, str) else sorted(project or ())
    subjects, sessions = _read(subjects_or_sessions)
    if not (subjects or sessions or projects):
        raise InvalidFilterError("Nothing to record: name subjects, sessions or a project.")
    folder = _checked_folder(to)
    options = {"names": names, "depth": "default" if depth is None else depth}
    before = _load(folder, options, refresh)
    told: Json = before.extra["recorded"] if before is not None else {}
    if refresh:
        subjects |= set(told.get("subjects") or ())
        sessions |= set(told.get("sessions") or ())
        projects = sorted({*projects, *(told.get("projects") or ())})
        before, told = None, {}
    subjects -= set(told.get("subjects") or ())
    sessions -= set(told.get("sessions") or ())
    projects = [one for one in projects if one not in (told.get("projects") or ())]
    if before is not None and not (subjects or sessions or projects):
        return before
    with Journal(folder, {**options, "from": _where()}) as journal:
        recording = Recording(journal, depth, Scrubber(names), progress)
        sessions |= recording.sessions_of(projects)
        recording.run(subjects, sessions)
        catalogue = recording.join(before)
    everything = subjects | set(told.get("subjects") or ())
    some = {
        one
        for one in sessions | set(told.get("sessions") or ())
        if (found := find_session_id(one)) is None or found.subject_id not in everything
    }
    gaps = sorted({*recording.gaps, *(told.get("gaps") or ())})
    catalogue.extra["recorded"] = {
        "subjects": sorted(everything),
        "sessions": sorted(some),
        "projects": sorted({*projects, *(told.get("projects") or ())}),
        **options,
        "on": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "from": _where(),
        **({"gaps": gaps} if gaps else {}),
    }
    catalogue.description = catalogue.description or "A recording made by aind-session snapshot."
    catalogue.save(folder)
    journal.remove()
    return Catalogue.load(folder)


def _checked_folder(to: str | os.PathLike[str]) -> Path:
    folder = Path(to)
    if not os.fspath(to).strip() or (folder.exists() and not folder.is_dir()):
        raise InvalidFilterError(f"{os.fspath(to)!r} is no folder: name one to record to.")
    return folder


def _read(given: Any) -> tuple[set[str], set[str]]:
    """Sort what was named into subjects and sessions."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    subjects: set[str] = set()
    sessions: set[str] = set()
    for one in given if several else [given]:
        text = str(getattr(one, "id", one)).strip()
        session = find_session_id(text)
        if session is not None:
            sessions.add(session.id)
        else:
            subjects.add(parse_subject_id(text))
    return subjects, sessions


def _load(folder: Path, options: Json, refresh: bool) -> Catalogue | None:
    if not (folder / CATALOGUE_HEADER).is_file():
        return None
    catalogue = Catalogue.load(folder)
    told = catalogue.extra.get("recorded")
    if not isinstance(told, dict):
        raise InvalidFilterError(
            f"{folder} holds a catalogue that was not recorded: choose another folder."
        )
    for name, value in options.items():
        if told.get(name) != value and not refresh:
            raise InvalidFilterError(
                f"{folder} was recorded with {name} {told.get(name)!r}, not {value!r}: choose the "
                "same, another folder, or `refresh` to record all of it anew."
            )
    return catalogue


def _where() -> str:
    domain = settings.current().domain.value
    return "a sandbox" if is_loopback(domain) else domain
