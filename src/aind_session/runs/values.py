"""What a run is asked for with, and told as: its plan, and the report of what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import msgspec

if TYPE_CHECKING:
    import os

    from codeocean.components import Permissions
    from codeocean.data_asset import DataAsset

#: What is done with a session: started, or left out for a reason.
Action = Literal["start", "good", "running", "missing", "unknown", "same", "refused", "waiting"]

Status = Literal[
    "skipped",
    "waiting",  # to be started
    "starting",  # the intent is written, the answer is not known
    "running",
    "ended",  # well; its results are to be captured
    "capturing",  # the intent is written, the answer is not known
    "captured",  # not yet ready, or not yet shared
    "done",
    "failed",
]


class Mount(msgspec.Struct, frozen=True):
    """A data asset that is attached to a computation; without `mount`, in the asset's own folder.

    Examples
    --------
    >>> print(Mount("8ad5f1a4", "raw"))
    raw=8ad5f1a4
    """

    id: str
    mount: str | None = None

    def __str__(self) -> str:
        return f"{self.mount}={self.id}" if self.mount else self.id


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of a computation; without a name, it is given by position.

    Examples
    --------
    >>> print(Parameter("ecephys_ks4"), Parameter("12", "n_jobs"))
    ecephys_ks4 n_jobs=12
    """

    value: str
    name: str | None = None

    def __str__(self) -> str:
        return self.value if self.name is None else f"{self.name}={self.value}"


class Planned(msgspec.Struct, frozen=True):
    """What is to be done with one session.

    Attributes
    ----------
    session : str
        Its ID.
    action : str
        "start"; or why it is left out: "good" (has a good result), "running", "missing" (nothing
        to attach), "unknown" (that could not be found out), "same" (its computation would be that
        of another session).
    why : str
        The same in words, with names and IDs.
    mounts : tuple of Mount
        What is attached.
    parameters : tuple of Parameter
        By position or by name.
    """

    session: str
    action: Action
    why: str = ""
    mounts: tuple[Mount, ...] = ()
    parameters: tuple[Parameter, ...] = ()


class RunPlan(msgspec.Struct, frozen=True):
    """What a run does with each session: a value, equal to another that does the same.

    `print` shows it as a table.

    Attributes
    ----------
    capsule : str
        ID of the capsule or pipeline.
    label : str or None
        What was done, in the names of the results; None: they are not captured.
    sessions : tuple of Planned
        In the order in which they are started.
    """

    capsule: str
    label: str | None
    sessions: tuple[Planned, ...]

    @property
    def starts(self) -> tuple[Planned, ...]:
        """The sessions that are started."""
        return tuple(one for one in self.sessions if one.action == "start")

    @property
    def skipped(self) -> tuple[Planned, ...]:
        """The sessions that are not started."""
        return tuple(one for one in self.sessions if one.action != "start")

    def to_rows(self) -> list[dict[str, Any]]:
        """Give a row a session, for tables and JSON."""
        return [
            {
                "session": one.session,
                "action": one.action,
                "mounts": [str(mount) for mount in one.mounts],
                "parameters": [str(parameter) for parameter in one.parameters],
                "why": one.why,
            }
            for one in self.sessions
        ]

    def summary(self) -> str:
        """Count in a line what is done."""
        return _counted(
            Counter("start" if o.action == "start" else o.action for o in self.sessions)
        )

    def __repr__(self) -> str:
        return f"<RunPlan of {self.capsule}: {self.summary()}>"

    def __str__(self) -> str:
        return _table(self.to_rows(), self.summary())


class SessionRun(msgspec.Struct, frozen=True):
    """How it went with one session.

    Attributes
    ----------
    session : str
        Its ID.
    status : str
        "skipped", "waiting", "starting", "running", "ended", "capturing", "captured", "done" or
        "failed".
    why : str
        Why it was skipped, or failed.
    computations : tuple of str
        IDs of the computations, one for each time that it was started.
    asset_id, asset_name : str or None
        The data asset that its results were captured as.
    """

    session: str
    status: Status
    why: str = ""
    computations: tuple[str, ...] = ()
    asset_id: str | None = None
    asset_name: str | None = None


class RunReport(msgspec.Struct, frozen=True):
    """How a run went, or how far it is.

    `print` shows it as a table.

    Attributes
    ----------
    state : str
        Path of the state's file.
    sessions : tuple of SessionRun
        In the order of the plan.
    happened : RunPlan
        What was started and what was not, as a plan: equal to that of a dry run if nothing changed
        in between.
    """

    state: str
    sessions: tuple[SessionRun, ...]
    happened: RunPlan

    @property
    def counts(self) -> dict[str, int]:
        """Number of sessions of each status."""
        return dict(Counter(one.status for one in self.sessions))

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return {one.status for one in self.sessions} <= {"skipped", "done", "failed"}

    @property
    def failed(self) -> tuple[SessionRun, ...]:
        """The sessions that failed, after as many tries as were allowed."""
        return tuple(one for one in self.sessions if one.status == "failed")

    def to_rows(self) -> list[dict[str, Any]]:
        """Give a row a session, for tables and JSON."""
        return [
            {
                "session": one.session,
                "status": one.status,
                "computations": list(one.computations),
                "asset_id": one.asset_id,
                "asset_name": one.asset_name,
                "why": one.why,
            }
            for one in self.sessions
        ]

    def summary(self) -> str:
        """Count in a line how many are where."""
        return _counted(Counter(one.status for one in self.sessions))

    def __repr__(self) -> str:
        return f"<RunReport of {self.state}: {self.summary()}>"

    def __str__(self) -> str:
        return _table(self.to_rows(), self.summary())


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.most_common()) or "no session"


def _table(rows: Sequence[dict[str, Any]], summary: str) -> str:
    names = list(rows[0]) if rows else []
    # A column without anything in it only takes room.
    names = [name for name in names if any(row[name] for row in rows)]
    lines = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    table = [
        "  ".join(c.ljust(w) for c, w in zip(ln, widths, strict=True)).rstrip() for ln in lines
    ]
    return "\n".join([*(table if rows else ()), summary])


def _cell(value: object) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value or "")
    return text if text.isprintable() else repr(text)


# -- what `Sessions.run` takes, for type checkers --------------------------------------------------

#: A list by position, or a mapping by name.
Parameters: TypeAlias = "Sequence[str | float | Parameter] | Mapping[str, str | float] | None"
Attached: TypeAlias = "str | DataAsset | Mount"
#: Data assets, or a mapping of mounts to them; None: the raw data asset.
Attach: TypeAlias = "Attached | Sequence[Attached] | Mapping[str, str | DataAsset] | None"


class RunOptions(TypedDict, total=False):
    """The options of `Sessions.run` whose type does not tell what it returns."""

    label: str | None
    state: str | os.PathLike[str]
    at_once: int
    per_minute: int | None
    retries: int
    poll_seconds: float
    tags: Sequence[str]
    custom_metadata: Mapping[str, str] | None
    share: bool | Mapping[str, Any] | Permissions
    wait: bool
    wait_ready: bool
    is_pipeline: bool | None
    version: int | None
    nextflow_profile: str | None
    progress: bool
