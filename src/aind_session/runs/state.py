"""The state of a run: one small file, replaced as a whole, that one process drives at a time.

There is no secret in it. What it says about a request was written before the request was sent.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from aind_session.errors import AindSessionError, MissingFileError
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
    """The file of a run's state is in the way, in use, or cannot be gone on with."""


class Attempt(msgspec.Struct):
    """One start of a session's computation.

    Attributes
    ----------
    intended : float
        When the intent was written, by this machine's clock.
    seen : tuple of str
        The computations that looked like this one before it was sent: what is new since is it.
        By identity and not by time: two clocks never agree.
    sent : float or None
        When the answer was there: the request was sent before.
    """

    intended: float
    seen: tuple[str, ...] = ()
    sent: float | None = None
    computation: str | None = None
    end: Literal["", "succeeded", "failed"] = ""
    why: str = ""


class Result(msgspec.Struct):
    """The data asset that the results are captured as; named before it is asked for."""

    name: str
    intended: float
    asset: str | None = None
    ready: bool = False
    shared: bool = False
    tries: int = 0


class Item(msgspec.Struct):
    """One session: what was planned for it, and how far it is."""

    session: str
    action: Action
    status: Status
    why: str = ""
    mounts: tuple[Mount, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    platform: str | None = None
    attempts: list[Attempt] = []
    result: Result | None = None
    #: How often a request was sent without an answer, and nothing was found of it afterwards. What
    #: a kill has left open does not count: it may never have been sent.
    lost: int = 0
    #: Since when it is asked for what became of a request. Kept, as who does not wait comes back.
    unsure: float | None = None

    @property
    def open_attempt(self) -> Attempt | None:
        """The attempt of which it is not known whether there is a computation."""
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


class Options(msgspec.Struct):
    """How the run is conducted."""

    at_once: int
    per_minute: int | None
    retries: int
    poll_seconds: float
    wait_ready: bool = True
    share: dict[str, Any] | None = None
    tags: tuple[str, ...] = ()
    custom_metadata: dict[str, Any] = {}
    version: int | None = None
    nextflow_profile: str | None = None


class RunState(msgspec.Struct):
    """All that is known of a run."""

    domain: str
    capsule: str
    is_pipeline: bool
    label: str | None
    options: Options
    items: list[Item]
    created: float
    format: str = FORMAT
    version: int = VERSION

    def report(self, path: Path) -> RunReport:
        """Give the state as it is told to people."""
        return RunReport(
            str(path),
            tuple(
                SessionRun(
                    item.session,
                    item.status,
                    item.why,
                    item.computations,
                    item.result.asset if item.result else None,
                    item.result.name if item.result else None,
                )
                for item in self.items
            ),
            RunPlan(self.capsule, self.label, tuple(map(_happened, self.items))),
        )


def _happened(item: Item) -> Planned:
    if item.computations or item.action != "start":
        why = "" if item.computations else item.why
        action: Action = "start" if item.computations else item.action
        return Planned(item.session, action, why, item.mounts, item.parameters)
    action = "refused" if item.status == "failed" else "waiting"
    return Planned(item.session, action, item.why, item.mounts, item.parameters)


_decode = msgspec.json.Decoder(RunState).decode


def load(path: Path) -> RunState:
    """Read a state.

    Raises
    ------
    MissingFileError
        There is none (a `FileNotFoundError`).
    RunStateError
        It is none, or one of a newer version.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise MissingFileError(
            f"There is no state of a run at {str(path)!r}.", advice=("run", "--help")
        ) from None
    try:
        head = msgspec.json.decode(content)
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise RunStateError(f"{str(path)!r} is not the state of a run.")
        if head.get("version") != VERSION:
            raise RunStateError(
                f"{str(path)!r} has the format version {head.get('version')!r}; this one reads "
                f"version {VERSION}: it was written by another release of aind-session."
            )
        return _decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RunStateError(f"{str(path)!r} is not the state of a run: {error}") from None


def save(path: Path, state: RunState) -> None:
    """Write a state: whoever reads, at any moment, finds the whole of the old or of the new one."""
    part = path.with_name(f"{path.name}.part")
    content = msgspec.json.format(msgspec.json.encode(state), indent=1)
    with open(part, "wb") as file:
        file.write(content + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
    if sys.platform != "win32":
        # The new name itself is on the disk only once its folder is.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Drive a state alone; the system lets go of the lock of a process that is killed.

    Raises
    ------
    RunStateError
        Another process drives it.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        handle = _open_lock(lock)
    except FileNotFoundError:
        raise RunStateError(f"There is no folder {str(path.parent)!r} for a state.") from None
    try:
        yield
    finally:
        # While it is still held: else a lock that is new by then would be removed.
        with contextlib.suppress(OSError):
            if sys.platform != "win32":
                os.unlink(lock)
        os.close(handle)


def _open_lock(lock: Path) -> int:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _take(handle)
        except OSError:
            os.close(handle)
            raise RunStateError(
                f"Another process drives the run of {str(lock.with_suffix(''))!r}: look at it with "
                "`aind-session status`, or end that process."
            ) from None
        try:
            if os.path.samestat(os.stat(lock), os.fstat(handle)):
                return handle
        except FileNotFoundError:
            pass
        # Its last owner removed it between our opening and taking it.
        os.close(handle)


def _take(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
