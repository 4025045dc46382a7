"""The values of a run that users hold: its plan, and the report of what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import msgspec

from aind_session import html

if TYPE_CHECKING:
    import os

    from codeocean.components import Permissions
    from codeocean.data_asset import DataAsset

#: What a run does with a session: start it, or leave it out for a reason.
Action = Literal[
    "start",
    "good",
    "running",
    "missing",
    "unknown",
    "same",
    "skip",
    "error",
    "refused",
    "waiting",
]

Status = Literal[
    "skipped",
    "waiting",  # to be started
    "starting",  # the intent is written; Code Ocean has not confirmed the start
    "running",
    "ended",  # succeeded; its results are to be captured
    "capturing",  # the intent is written; Code Ocean has not confirmed the data asset
    "captured",  # not yet ready, or not yet shared
    "done",
    "failed",
]


class Mount(msgspec.Struct, frozen=True):
    """A data asset attached to a computation; without `mount`, in the asset's own folder.

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
    """A parameter of a computation; without a name, it is passed by position.

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
    """What a run does with one session.

    Attributes
    ----------
    session : str
        ID of the session.
    action : str
        "start"; or the reason why it is left out: "good" (has a good result), "running" (a
        computation or a result in progress), "missing" (no data asset to attach), "skip" (`attach`
        returned None), "unknown" (a service did not answer), "same" (its computation would be that
        of another session), "error" (a function raised, or a data asset to attach does not exist).
    why : str
        The reason, with names and IDs.
    mounts : tuple of Mount
        The attached data assets.
    parameters : tuple of Parameter
        By position or by name.
    """

    session: str
    action: Action
    why: str = ""
    mounts: tuple[Mount, ...] = ()
    parameters: tuple[Parameter, ...] = ()


class _Table(msgspec.Struct, frozen=True):
    """What plans and reports of runs have in common: they are shown as a table."""

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row per session, for tables and JSON."""
        raise NotImplementedError

    @property
    def counts(self) -> dict[str, int]:
        """Number of sessions of each action or status."""
        return dict(Counter(row.get("action") or row["status"] for row in self.to_rows()))

    def summary(self) -> str:
        """Return the number of sessions of each action or status, in one line."""
        ordered = sorted(self.counts.items(), key=lambda item: -item[1])
        return ", ".join(f"{n} {what}" for what, n in ordered) or "no session"

    @property
    def _title(self) -> tuple[str, str]:
        raise NotImplementedError

    @property
    def _lines(self) -> list[str]:
        return [self.summary()]

    def _repr_html_(self) -> str:
        rows, (kind, title) = self.to_rows(), self._title
        used = columns_used(rows)
        # The reason comes first: a list of IDs may be long.
        names = [*used[:2], *sorted(used[2:], key=lambda name: name != "why")]
        cells = [[_cell(row[name]) for name in names] for row in html.ends(rows)]
        # A reason is a sentence, which wraps; names and IDs do not.
        classes = ["aind-text" if name == "why" else "aind-name" for name in names]
        body = html.table(names, cells, classes, len(rows)) if rows else ""
        hints = "".join(map(html.hint, self._lines))
        return html.card(kind, title, hints + body)

    def __str__(self) -> str:
        rows = self.to_rows()
        names = columns_used(rows)
        lines = [names, *([_cell(row[name]) for name in names] for row in rows)] if rows else []
        widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
        texts = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        return "\n".join([*texts, *self._lines])


class RunPlan(_Table, frozen=True):
    """What a run does with each session; equal to another plan that does the same.

    `print` shows it as a table.

    Attributes
    ----------
    capsule : str
        ID of the capsule or pipeline.
    label : str or None
        The label in the names of the results; None: results are not captured.
    sessions : tuple of Planned
        In the order in which they are started.
    note : str
        A suggestion if the label looks misspelled; else empty.
    """

    capsule: str
    label: str | None
    sessions: tuple[Planned, ...]
    note: str = ""

    @property
    def starts(self) -> tuple[Planned, ...]:
        """The sessions that are started."""
        return tuple(one for one in self.sessions if one.action == "start")

    @property
    def skipped(self) -> tuple[Planned, ...]:
        """The sessions that are not started."""
        return tuple(one for one in self.sessions if one.action != "start")

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row per session, for tables and JSON."""
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

    @property
    def _title(self) -> tuple[str, str]:
        return "Plan of a run", self.capsule

    @property
    def _lines(self) -> list[str]:
        return [self.summary(), *([self.note] if self.note else [])]

    def __repr__(self) -> str:
        return f"<RunPlan of {self.capsule}: {'. '.join(self._lines)}>"


class SessionRun(msgspec.Struct, frozen=True):
    """The state of one session of a run.

    Attributes
    ----------
    session : str
        ID of the session.
    status : str
        "skipped", "waiting", "starting", "running", "ended", "capturing", "captured", "done" or
        "failed".
    why : str
        Why it was skipped, failed or is not confirmed.
    computations : tuple of str
        IDs of the computations, one per start.
    asset_id, asset_name : str or None
        The data asset with the results.
    """

    session: str
    status: Status
    why: str = ""
    computations: tuple[str, ...] = ()
    asset_id: str | None = None
    asset_name: str | None = None


class RunReport(_Table, frozen=True):
    """The state of a run, finished or not.

    `print` shows it as a table.

    Attributes
    ----------
    state : str
        Absolute path of the state file.
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
    def is_complete(self) -> bool:
        """Whether every session is skipped, done or failed."""
        return {one.status for one in self.sessions} <= {"skipped", "done", "failed"}

    @property
    def failed(self) -> tuple[SessionRun, ...]:
        """The sessions that failed, after all their retries."""
        return tuple(one for one in self.sessions if one.status == "failed")

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one row per session, for tables and JSON."""
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

    @property
    def _title(self) -> tuple[str, str]:
        return "Run", self.happened.capsule

    def __repr__(self) -> str:
        return f"<RunReport of {self.state}: {self.summary()}>"


def columns_used(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the columns that contain anything."""
    return [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]


def _cell(value: object) -> str:
    text = ", ".join(value) if isinstance(value, list) else str(value or "")
    return text if text.isprintable() else repr(text)


# -- the arguments of `Sessions.run`, for type checkers --------------------------------------------

#: A list by position, or a mapping by name.
Parameters: TypeAlias = "Sequence[str | float | Parameter] | Mapping[str, str | float] | None"
Attached: TypeAlias = "str | DataAsset | Mount"
#: Data assets, or a mapping of mounts to them; None: the raw data asset. A function that returns
#: None skips the session.
Attach: TypeAlias = "Attached | Sequence[Attached] | Mapping[str, str | DataAsset] | None"


class RunOptions(TypedDict, total=False):
    """The options of `Sessions.run` that do not change its return type."""

    label: str | None
    state: str | os.PathLike[str] | None
    at_once: int
    per_minute: int | None
    retries: int
    poll_seconds: float | None
    tags: Sequence[str]
    custom_metadata: Mapping[str, str] | None
    share: bool | Mapping[str, Any] | Permissions
    wait: bool
    wait_ready: bool
    is_pipeline: bool | None
    version: int | None
    nextflow_profile: str | None
    progress: bool
