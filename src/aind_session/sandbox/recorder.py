"""Recording a catalogue from the services: a study's metadata as files that diff well.

Recorded of each subject or session: its Code Ocean assets, its records of both schemas, the runs of
the known pipelines that have its assets as inputs, the names in its folders to a given depth, and
the content of the small files that lookups read. Secrets are never recorded, people's names only on
request.

The header, `catalogue.json`, contains the choice as ``recorded``:

============  ====================================================================================
key           value
============  ====================================================================================
``subjects``  IDs of the subjects of which everything was recorded
``sessions``  IDs of sessions recorded of other subjects
``projects``  names of the projects whose sessions these are
``depth``     levels of names in folders: a number, or "default" (2 of raw data, 3 of results)
``names``     whether it contains people's names
``on``        the day (UTC)
``from``      Code Ocean's address; "a sandbox" if a catalogue was recorded from another one
``failures``      what could not be recorded, and why; absent if there is nothing
============  ====================================================================================

Each part is first written to a journal in the folder, one per line: an interrupted recording
resumes where it stopped. What is new is added to a folder that holds a recording.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aind_session import settings
from aind_session.errors import (
    AccessDeniedError,
    IncompleteAnswerError,
    InvalidFilterError,
    ServiceError,
)
from aind_session.identifiers import (
    find_session_id,
    parse_session_id,
    parse_subject_id,
    session_in_name,
)
from aind_session.progress import progress
from aind_session.sandbox import recorder_parts as parts
from aind_session.sandbox.catalogue import Catalogue, Json, dumps, write_text
from aind_session.sandbox.launches import KNOWN_CAPSULES
from aind_session.sandbox.recorder_parts import Choice
from aind_session.sandbox.scrub import Scrubber
from aind_session.services import s3
from aind_session.services.redact import is_loopback
from aind_session.settings import CATALOGUE_HEADER
from aind_session.threads import gather_all, outcomes

if TYPE_CHECKING:
    from aind_session.session import Session
    from aind_session.subject import Subject

    Subjects = str | int | Session | Subject

_LISTS = ("data_assets", "computations", "docdb_v1", "docdb_v2", "objects")
#: Where this package writes files of its own: Neuroglancer states, manifests.
_OWN_FILES = "aind-session"
JOURNAL = ".recording.jsonl"
#: Increased when the meaning of the journal's lines changes: older journals are then discarded.
JOURNAL_VERSION = 1

Requests = Mapping[str, Callable[[], Json]]


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
    """Record a catalogue from the services that the settings point to.

    Parameters
    ----------
    subjects_or_sessions
        IDs of subjects (everything of them) and sessions, one or several.
    to
        The folder. What it already contains of a recording is not requested again.
    project
        Name of a project, or several: its sessions.
    depth
        Levels of names to record of each folder; by default as lookups read them: two of raw data,
        three of results.
    names
        Whether to keep people's names; otherwise they are replaced by placeholders.
    refresh
        Whether to record again what the folder already contains.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    Catalogue
        The content of the folder.

    Raises
    ------
    InvalidFilterError
        Nothing is named, `to` is not a folder, or its recording was made with other options (a
        `ValueError`).
    MissingTokenError
        No Code Ocean token is set (a `KeyError`).
    IncompleteAnswerError
        Some parts could not be recorded. The others are kept: the same call requests only what is
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
    wanted = _read(subjects_or_sessions)
    wanted["projects"] = {project} if isinstance(project, str) else set(project or ())
    if not any(wanted.values()):
        raise InvalidFilterError("Nothing to record: name subjects, sessions or a project.")
    folder = Path(to)
    if not os.fspath(to).strip() or (folder.exists() and not folder.is_dir()):
        raise InvalidFilterError(f"{os.fspath(to)!r} is not a folder: name one to record to.")
    options = {"names": names, "depth": "default" if depth is None else depth}
    before = _load(folder, options, refresh)
    header: Json = before.extra["recorded"] if before is not None else {}
    already = {kind: set(header.get(kind) or ()) for kind in wanted}
    if refresh:
        wanted = {kind: wanted[kind] | already[kind] for kind in wanted}
        before, header, already = None, {}, {kind: set() for kind in wanted}
    wanted = {kind: wanted[kind] - already[kind] for kind in wanted}
    if before is not None and not any(wanted.values()):
        return before
    journal = Journal(folder, {**options, "from": _origin()})
    recording = Recording(journal, depth, Scrubber(names), progress)
    wanted["sessions"] |= recording.sessions_of(sorted(wanted["projects"]))
    recording.run(wanted["subjects"], wanted["sessions"])
    catalogue = recording.join(before)
    everything = {kind: wanted[kind] | already[kind] for kind in wanted}
    failures = sorted({*recording.failures, *(header.get("failures") or ())})
    catalogue.extra["recorded"] = {
        "subjects": sorted(everything["subjects"]),
        "sessions": sorted(_of_others(everything["subjects"], everything["sessions"])),
        "projects": sorted(everything["projects"]),
        **options,
        "on": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "from": _origin(),
        **({"failures": failures} if failures else {}),
    }
    catalogue.description = catalogue.description or "A recording made by aind-session snapshot."
    catalogue.save(folder)
    # Its parts are in the catalogue now.
    journal.path.unlink(missing_ok=True)
    return Catalogue.load(folder)


def _read(given: Any) -> dict[str, set[str]]:
    """Sort the arguments into subjects and sessions."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    texts = [str(getattr(one, "id", one)).strip() for one in (given if several else [given])]
    sessions = {text: find_session_id(text) for text in texts}
    return {
        "subjects": {parse_subject_id(text) for text in texts if sessions[text] is None},
        "sessions": {session.id for session in sessions.values() if session is not None},
    }


def _load(folder: Path, options: Json, refresh: bool) -> Catalogue | None:
    if not (folder / CATALOGUE_HEADER).is_file():
        return None
    catalogue = Catalogue.load(folder)
    header = catalogue.extra.get("recorded")
    if not isinstance(header, dict):
        raise InvalidFilterError(
            f"{folder} holds a catalogue that was not recorded: choose another folder."
        )
    for name, value in options.items():
        if header.get(name) != value and not refresh:
            raise InvalidFilterError(
                f"{folder} was recorded with {name} {header.get(name)!r}, not {value!r}: choose "
                "the same, another folder, or `refresh` to record all of it again."
            )
    return catalogue


def _origin() -> str:
    domain = settings.current().domain.value
    return "a sandbox" if is_loopback(domain) else domain


class Journal:
    """Parts of a recording by name, each a line of a file, written once it is complete.

    Parameters
    ----------
    folder
        The folder of the catalogue.
    options
        What must be the same for parts to fit together.
    """

    def __init__(self, folder: Path, options: Json) -> None:
        self.path = folder / JOURNAL
        self._lock = threading.Lock()
        lines = self._read()
        if lines and lines[0].get("journal") == JOURNAL_VERSION:
            self._check(lines[0]["options"], options)
        else:
            lines = [{}]
        folder.mkdir(parents=True, exist_ok=True)
        # Written anew: the line that an interruption cut short is dropped.
        lines[0] = {"journal": JOURNAL_VERSION, "options": options}
        write_text(self.path, "".join(f"{dumps(line)}\n" for line in lines))
        self.parts: dict[str, Json] = {line["part"]: line["found"] for line in lines[1:]}

    def _read(self) -> list[Json]:
        lines: list[Json] = []
        if self.path.is_file():
            text = self.path.read_text("utf-8", errors="replace")
            with contextlib.suppress(ValueError, RecursionError):
                for line in text.split("\n")[:-1]:
                    lines.append(json.loads(line))  # noqa: PERF401 (those before an error count)
        return lines

    def _check(self, before: Json, options: Json) -> None:
        changed = sorted(k for k in {*before, *options} if before.get(k) != options.get(k))
        if changed:
            raise InvalidFilterError(
                f"The recording in {self.path.parent} was started with another "
                f"{' and another '.join(changed)}: use the same, or remove {self.path}."
            )

    def get(self, part: str, fetch: Callable[[], Json]) -> Json:
        """Return a part; fetch and write it if it is not complete."""
        known = self.parts.get(part)
        if known is None:
            known = fetch()
            line = dumps({"part": part, "found": known})
            with self._lock, self.path.open("a", encoding="utf-8", newline="\n") as file:
                self.parts[part] = known
                file.write(line + "\n")
        return known


class Recording:
    """The parts of a recording, each fetched once.

    Parameters
    ----------
    journal
        The parts that are complete.
    depth
        Levels of names in folders; None: as lookups read them.
    scrubber
        What everything passes through before it is written.
    shown
        Whether to show progress bars.
    """

    def __init__(
        self, journal: Journal, depth: int | None, scrubber: Scrubber, shown: bool
    ) -> None:
        self.journal, self.depth, self.scrubber, self.shown = journal, depth, scrubber, shown
        self.found: list[Json] = []

    @property
    def failures(self) -> list[str]:
        """What could not be recorded, and why."""
        return [gap for part in self.found for gap in part.get("failures") or ()]

    def sessions_of(self, projects: Iterable[str]) -> set[str]:
        """Return the IDs of the sessions of projects."""
        requests = {f"project {p}": partial(parts.sessions_of_project, p) for p in projects}
        return {s for part in self._fetch("projects", requests) for s in part["sessions"]}

    def run(self, subjects: set[str], sessions: set[str]) -> None:
        """Record subjects, and sessions of others.

        Raises
        ------
        IncompleteAnswerError
            Some parts could not be fetched; the others are in the journal.
        """
        others = _of_others(subjects, sessions)
        some = {s: frozenset(i for i in others if others[i] == s) for s in others.values()}
        choices = [Choice(subject, some.get(subject)) for subject in sorted({*subjects, *some})]
        requests = {c.name: partial(parts.subject, c, self.scrubber) for c in choices}
        found = self._fetch("assets and records", requests)
        further = self._others(found, {choice.subject_id for choice in choices})
        self._fetch("files and runs", {**self._folders(found, sessions), **further})
        runs = [run for part in self.found for run in part.get("computations") or ()]
        ended = [str(run["id"]) for run in runs if run.get("has_results")]
        self._fetch("results", {f"results {run}": partial(self._results, run) for run in ended})

    def _fetch(self, what: str, requests: Requests) -> list[Json]:
        """Fetch parts at the same time, and keep each that came."""
        with progress(len(requests), f"recording {what}", self.shown) as bar:

            def fetch(name: str, call: Callable[[], Json]) -> Json:
                try:
                    return self.journal.get(name, call)
                finally:
                    bar.update()

            answers = outcomes(*(partial(fetch, n, call) for n, call in requests.items()))
        errors = [outcome.error for outcome in answers if outcome.error is not None]
        if errors:
            # Later parts follow from these: they would be incomplete and kept as complete.
            raise self._summary(errors)
        found = [outcome.unwrap() for outcome in answers]
        self.found += found
        return found

    def _summary(self, errors: list[Exception]) -> Exception:
        for error in errors:
            if not isinstance(error, ServiceError):
                return error
        count = f"{len(errors)} part{'' if len(errors) == 1 else 's'}"
        summary = IncompleteAnswerError(
            f"{count} could not be recorded. The others are kept in {self.journal.path}: the same "
            f"command requests only what is missing. The first: {errors[0]}",
            service=getattr(errors[0], "service", ""),
            status=getattr(errors[0], "status", None),
        )
        summary.__cause__ = errors[0]
        return summary

    def _folders(self, found: list[Json], named: set[str]) -> Requests:
        """Return the requests of the folders of assets and records, and of those found by name."""
        known: dict[tuple[str, str], bool] = {}
        # A session named by the caller may exist in S3 only.
        sessions: dict[str, bool] = dict.fromkeys(named, False)
        for part in found:
            known.update(parts.places(part))
            for session, has_folder in parts.sessions_of(part).items():
                sessions[session] = sessions.get(session, False) or has_folder
        guessed = [session for session, has_folder in sessions.items() if not has_folder]
        places = itertools.product(settings.current().buckets.value, guessed)
        options = dict.fromkeys(places, (True, False))
        options |= {place: (is_raw, True) for place, is_raw in sorted(known.items())}
        return {
            f"folder s3://{'/'.join(place)}": partial(self._folder, *place, *both)
            for place, both in options.items()
        }

    def _others(self, found: list[Json], subjects: set[str]) -> Requests:
        """Return the requests that follow from assets and records: runs, buckets, own files."""
        asset_ids = {asset["id"] for part in found for asset in part["data_assets"]}
        # Part of the name: a recording that resumes with more assets requests the runs again.
        whose = hashlib.sha256(" ".join(sorted(asset_ids)).encode()).hexdigest()[:16]
        used = {bucket for part in found for bucket, _ in parts.places(part)}
        used |= {settings.RESULTS_BUCKET, settings.SCRATCH_BUCKET}
        used |= set(settings.current().buckets.value)
        runs = partial(parts.computations, asset_ids=asset_ids, scrubber=self.scrubber)
        return {
            **{f"computations {c} of {whose}": partial(runs, c) for c in KNOWN_CAPSULES},
            **{f"bucket {name}": partial(parts.bucket, name) for name in sorted(used)},
            **{f"own files {s}": partial(self._own_files, s) for s in sorted(subjects)},
        }

    def _folder(self, bucket: str, prefix: str, is_raw: bool, is_known: bool) -> Json:
        depth = self.depth or (parts.RAW_DEPTH if is_raw else parts.RESULT_DEPTH)
        try:
            return {"objects": parts.folder(bucket, prefix, depth, self.scrubber)}
        except AccessDeniedError:
            gap = f"folder s3://{bucket}/{prefix}: access denied"
            return {"failures": [gap] if is_known else []}

    def _own_files(self, subject: str) -> Json:
        """Record what this package has written for a subject: states, manifests."""
        bucket = settings.SCRATCH_BUCKET
        try:
            kinds = s3.list_folder(bucket, _OWN_FILES).folders
            found = gather_all(
                lambda kind: self._own_files_in(bucket, f"{_OWN_FILES}/{kind}", subject), kinds
            )
        except AccessDeniedError:
            return {"failures": [f"s3://{bucket}/{_OWN_FILES}: access denied"]}
        return {"objects": [one for some in found for one in some]}

    def _own_files_in(self, bucket: str, folder: str, subject: str) -> list[Json]:
        # One folder per file, as this package writes them, or the file alone, as people do.
        whole = re.compile(rf"(?<![A-Za-z0-9]){re.escape(subject)}(?![A-Za-z0-9])")
        depth = self.depth or parts.RAW_DEPTH

        def record_item(item: parts.Item) -> list[Json]:
            name, is_folder, size = item
            if is_folder:
                return parts.folder(bucket, f"{folder}/{name}", depth, self.scrubber)
            return [parts.single(bucket, folder, name, size, self.scrubber)]

        listed = parts.list_folder(bucket, folder)
        mine = [item for item in listed if _is_of(item[0], subject, whole)]
        return list(itertools.chain.from_iterable(gather_all(record_item, mine)))

    def _results(self, computation_id: str) -> Json:
        return {"results": {computation_id: parts.results(computation_id, self.scrubber)}}

    def join(self, before: Catalogue | None) -> Catalogue:
        """Make a catalogue of the parts, and of what was recorded before."""
        result = before or Catalogue()
        for name in _LISTS:
            entries = getattr(result, name)
            new = [entry for part in self.found for entry in part.get(name) or ()]
            entries[:] = {_key(entry): entry for entry in (*entries, *new)}.values()
        results: dict[str, Any] = {}
        for part in self.found:
            result.buckets.update(part.get("buckets") or {})
            result.capsules.update(part.get("capsules") or {})
            results.update(part.get("results") or {})
        for run in result.computations:
            if results.get(run["id"]):
                run["_files"] = results[run["id"]]
        return result


def _of_others(subjects: set[str], sessions: set[str]) -> dict[str, str]:
    """Return the subjects of the sessions that do not belong to the subjects."""
    found = {session: parse_session_id(session).subject_id for session in sessions}
    return {session: subject for session, subject in found.items() if subject not in subjects}


def _key(entry: Json) -> tuple[str, ...]:
    if "bucket" in entry and "key" in entry:
        return entry["bucket"], entry["key"]
    return (str(entry.get("id") or entry.get("_id")),)


def _is_of(name: str, subject: str, whole: re.Pattern[str]) -> bool:
    session = session_in_name(name)
    return session.subject_id == subject if session is not None else bool(whole.search(name))
