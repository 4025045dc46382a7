"""The state of a run: one small file without secrets, replaced as a whole, with a lock beside it.

Everything in it about a request was written before the request was sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from aind_session.download import lock_file
from aind_session.errors import AindSessionError, InvalidIdentifierError, MissingFileError
from aind_session.identifiers import parse_session_id
from aind_session.runs.values import (
    Action,
    Mount,
    Parameter,
    Planned,
    RunPlan,
    RunReport,
    SessionRun,
    Status,
)

FORMAT, VERSION = "aind-session run", 1
ENDED: frozenset[Status] = frozenset({"skipped", "done", "failed"})


class RunStateError(AindSessionError, ValueError):
    """The state file of a run exists already, is in use, or cannot be read or written."""


class Attempt(msgspec.Struct):
    """One start of a session's computation.

    Attributes
    ----------
    intended : float
        When the intent was written, by this machine's clock.
    seen : tuple of str
        Computations that looked like this one before it was sent: only newer ones can be it. By
        identity and not by time, because two clocks never agree.
    sent : float or None
        When the answer arrived: the request was sent before.
    """

    intended: float
    seen: tuple[str, ...] = ()
    sent: float | None = None
    computation: str | None = None
    end: Literal["", "succeeded", "failed"] = ""
    why: str = ""


class Result(msgspec.Struct):
    """The data asset with the results; its name is chosen before it is requested."""

    name: str
    intended: float
    asset: str | None = None
    ready: bool = False
    shared: bool = False
    tries: int = 0


class Item(msgspec.Struct):
    """One session: its plan and its progress."""

    session: str
    action: Action
    status: Status
    why: str = ""
    mounts: tuple[Mount, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    platform: str | None = None
    attempts: list[Attempt] = []
    result: Result | None = None
    #: Requests without an answer of which no trace was found. An intent that a kill left open does
    #: not count: it may never have been sent.
    lost: int = 0

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt that is not confirmed: its computation, if there is one, is not known."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.computation is None and not last.end else None

    @property
    def computation(self) -> str | None:
        """The latest computation."""
        return self.attempts[-1].computation if self.attempts else None

    @property
    def computations(self) -> tuple[str, ...]:
        """All its computations."""
        return tuple(a.computation for a in self.attempts if a.computation is not None)

    @property
    def n_failed(self) -> int:
        """The number of computations that failed."""
        return sum(attempt.end == "failed" for attempt in self.attempts)

    def is_consistent(self) -> bool:
        """Whether it has what its status needs."""
        return {
            "starting": bool(self.attempts),
            "running": self.computation is not None,
            "ended": self.computation is not None,
            "capturing": self.computation is not None and self.result is not None,
            "captured": self.result is not None and self.result.asset is not None,
        }.get(self.status, True)


class Options(msgspec.Struct):
    """How the run is conducted."""

    at_once: int = 20
    per_minute: int | None = 30
    retries: int = 0
    poll_seconds: float = 60.0
    wait_ready: bool = True
    share: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    custom_metadata: dict[str, Any] = {}
    version: int | None = None
    nextflow_profile: str | None = None


class RunState(msgspec.Struct):
    """The content of a state file."""

    domain: str
    capsule: str
    is_pipeline: bool
    label: str | None
    options: Options
    items: list[Item]
    created: float
    note: str = ""
    format: str = FORMAT
    version: int = VERSION

    def report(self, path: Path) -> RunReport:
        """Return the report of the run."""
        sessions = tuple(
            SessionRun(
                item.session,
                item.status,
                item.why,
                item.computations,
                item.result.asset if item.result else None,
                item.result.name if item.result else None,
            )
            for item in self.items
        )
        happened = RunPlan(self.capsule, self.label, tuple(map(_happened, self.items)), self.note)
        return RunReport(str(path), sessions, happened)


# Made while one thread imports this: msgspec prepares a class when it is first decoded.
_decoder = msgspec.json.Decoder(RunState)


def _happened(item: Item) -> Planned:
    action: Action = item.action
    if item.computations:
        action = "start"
    elif action == "start":
        action = "refused" if item.status == "failed" else "waiting"
    why = "" if item.computations else item.why
    return Planned(item.session, action, why, item.mounts, item.parameters)


# -- the file --------------------------------------------------------------------------------------


def default_path(label: str | None, capsule: str) -> Path:
    """Return the state file of a run in the working directory, named after label and capsule.

    Examples
    --------
    >>> default_path("dlc-eye", "1f8f159a").name
    'runs-dlc-eye-1f8f159a.json'
    """
    return Path(
        re.sub(r"[^\w.-]+", "-", "-".join(["runs", *filter(None, [label, capsule])])) + ".json"
    )


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a state file, links resolved: once, for file, part and lock."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise RunStateError(f"{os.fspath(path)!r} cannot be a state file: {error}") from None


def find() -> Path:
    """Return the only state file in the working directory."""
    found = []
    for path in sorted({Path("runs.json"), *Path().glob("runs-*.json")}):
        with contextlib.suppress(MissingFileError, RunStateError):
            load(resolve(path))
            found.append(path)
    if not found:
        raise MissingFileError(
            f"There is no state file of a run in {os.getcwd()!r}.", advice=("run", "--help")
        )
    if len(found) > 1:
        names = ", ".join(repr(str(path)) for path in found)
        raise RunStateError(f"There are several state files of runs; choose one: {names}.")
    return resolve(found[0])


def load(path: Path) -> RunState:
    """Read a state."""
    name = repr(str(path))
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise MissingFileError(
            f"There is no state of a run at {name}.", advice=("run", "--help")
        ) from None
    except OSError as error:
        raise RunStateError(f"{name} cannot be read: {error.strerror or error}.") from None
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        head = msgspec.json.decode(content)
        is_state = isinstance(head, dict) and head.get("format") == FORMAT
        version = head.get("version") if is_state else VERSION
        state = _decoder.decode(content) if version == VERSION else None
    except (ValueError, RecursionError) as error:
        # msgspec's errors, bad UTF-8, nesting without end.
        raise RunStateError(f"{name} is not the state of a run: {error}") from None
    if not is_state:
        raise RunStateError(f"{name} is not the state of a run.")
    if state is None:
        raise RunStateError(
            f"{name} has the format version {version!r}; this one reads version {VERSION}: it was "
            "written by another release of aind-session."
        )
    for item in state.items:
        try:
            parse_session_id(item.session)
        except InvalidIdentifierError as error:
            raise RunStateError(f"{name} is not the state of a run: {error}") from None
        if not item.is_consistent():
            raise RunStateError(
                f"{name} is not the state of a run: {item.session} is {item.status!r} without its "
                "computation or data asset."
            )
    return state


def save(path: Path, state: RunState) -> None:
    """Write a state atomically: a reader finds the whole of the old or of the new one."""
    part = path.with_name(f"{path.name}.part")
    try:
        content = msgspec.json.format(msgspec.json.encode(state), indent=1)
        _write_new(part, content + b"\n")
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise RunStateError(
            f"The state of the run cannot be written to {str(path)!r}: {error.strerror or error}. "
            "Nothing more is started. Once this is solved, `aind_session.resume_run` continues the "
            "run: what Code Ocean has started meanwhile is found there and not started again."
        ) from error


def _write_new(part: Path, content: bytes) -> None:
    """Write a file that did not exist: never through a link that somebody put in its place."""
    # A kill may have left one.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(part, flags | getattr(os, "O_BINARY", 0), 0o666)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # The new name is on the disk only once its folder is.
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# -- the lock --------------------------------------------------------------------------------------

#: How a file system reports that it has no locks.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP})
_IN_USE = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK})


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a state; the system releases the lock of a process that is killed."""
    lock = path.with_name(f"{path.name}.lock")
    handle = _open_lock(path, lock)
    try:
        yield
    finally:
        # While it is still held: otherwise a new lock of another process could be removed.
        with contextlib.suppress(OSError):
            # A kill may have left the part of a state that was never completed.
            path.with_name(f"{path.name}.part").unlink(missing_ok=True)
            if sys.platform != "win32":
                os.unlink(lock)
        os.close(handle)


def _open_lock(path: Path, lock: Path) -> int:
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except FileNotFoundError:
            raise RunStateError(f"There is no folder {str(path.parent)!r} for a state.") from None
        except OSError as error:
            raise RunStateError(
                f"The lock {str(lock)!r} cannot be opened: {error.strerror or error}."
            ) from None
        try:
            lock_file(handle)
        except OSError as error:
            os.close(handle)
            if error.errno in _NO_LOCKS:
                os.unlink(lock)
            raise RunStateError(_why_not_locked(path, error)) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(lock), os.fstat(handle)):
                return handle
        # Its last owner removed it between our opening and taking it.
        os.close(handle)


def _why_not_locked(path: Path, error: OSError) -> str:
    if error.errno in _NO_LOCKS:
        return (
            f"The file system of {str(path)!r} does not support file locks ({error.strerror}): "
            "keep the state of the run on another one, such as a local disk."
        )
    if error.errno in _IN_USE:
        return (
            f"Another process drives the run of {str(path)!r}: look at it with "
            "`aind-session status`, or end that process."
        )
    return f"The state {str(path)!r} cannot be locked: {error.strerror or error}."
