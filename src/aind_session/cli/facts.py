"""The facts of a session or subject, as `show` tells them: each a value, or why it is not known."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aind_session.errors import AindSessionError, CredentialsError, NotFoundError, ServiceError

if TYPE_CHECKING:
    from codeocean.data_asset import DataAsset

    from aind_session.session import Session
    from aind_session.subject import Subject


logger = logging.getLogger("aind_session")


@dataclass
class Facts:
    """What was found out, and what could not be.

    Attributes
    ----------
    known : dict
        Value by name; None or empty where there is none.
    absent : dict
        Why there is none, in a line, by name.
    unknown : dict
        Why it could not be found out, in a line, by name.
    """

    known: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def reasons(self) -> dict[str, list[str]]:
        """Give the names of what could not be found out, by reason."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.unknown.items():
            by_reason.setdefault(reason, []).append(name)
        return by_reason


def gather(asks: dict[str, Callable[[], Any]]) -> Facts:
    """Look up several things at the same time."""
    from aind_session.services import pool

    facts = Facts()
    for name, outcome in zip(asks, pool.outcomes(*asks.values()), strict=True):
        error = outcome.error
        if isinstance(error, ServiceError | CredentialsError):
            facts.unknown[name] = first_line(error)
        elif isinstance(error, NotFoundError):
            facts.known[name] = None
            facts.absent[name] = first_line(error)
        elif error is not None:
            # A fault in one lookup hides nothing of the others.
            logger.debug("Looking up %s failed", name, exc_info=error)
            facts.unknown[name] = f"{type(error).__name__}: {error} (--debug tells more)"
        else:
            facts.known[name] = outcome.unwrap()
    return facts


def first_line(error: AindSessionError) -> str:
    """Give what an error says in one line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def of_session(session: Session) -> Facts:
    """Look up everything that `show` tells of a session."""
    return gather(
        {
            "platform": lambda: session.platform,
            "subject_id": lambda: session.subject_id,
            "dt": lambda: session.dt.isoformat(),
            "is_uploaded": lambda: session.is_uploaded,
            "raw_data_asset": lambda: one_asset(session.raw_data_asset),
            "raw_data_dir": lambda: session.raw_data_dir.as_posix(),
            "modalities": lambda: list(session.modalities),
            "project": lambda: session.docdb.project,
            "genotype": lambda: session.docdb.genotype,
            "metadata": lambda: generations(session),
            "sorting": lambda: sorting(session),
            "data_assets": lambda: by_label(session.data_assets),
        }
    )


def generations(session: Session) -> list[str]:
    """Name the generations of DocDB that have a record of the session."""
    return [name for name in ("v1", "v2") if getattr(session.docdb, name)]


def one_asset(asset: DataAsset) -> dict[str, Any]:
    """Give what is told of a data asset."""
    import datetime

    try:
        moment = datetime.datetime.fromtimestamp(asset.created, datetime.timezone.utc)
        created = moment.isoformat()
    except (ValueError, OverflowError, OSError):
        # Milliseconds, or nonsense: told as it is.
        created = str(asset.created)[:20]
    return {"id": asset.id, "name": asset.name, "created": created}


def sorting(session: Session) -> dict[str, Any]:
    """Tell how far the session's spike sorting is; asks for outputs only where there are some."""
    sorted_assets = session.ecephys.sorted_data_assets
    told: dict[str, Any] = {"is_sorted": False, "count": len(sorted_assets), "newest": None}
    if sorted_assets:
        told["is_sorted"] = session.ecephys.is_sorted
        told["newest"] = one_asset(sorted_assets[-1])
    return told


def by_label(assets: Iterable[DataAsset]) -> dict[str, Any]:
    """Count data assets by label, with the newest of each; they come ascending by creation."""
    from aind_session.lookup.belonging import is_raw, named

    counts: Counter[str] = Counter()
    newest: dict[str, DataAsset] = {}
    for asset in assets:
        label = "raw" if is_raw(asset) else named(asset.name).label or "other"
        counts[label] += 1
        newest[label] = asset
    labels = [
        {"label": label, "count": counts[label], "newest": one_asset(asset)}
        for label, asset in sorted(newest.items(), key=lambda p: (p[0] != "raw", p[0].casefold()))
    ]
    return {"count": counts.total(), "labels": labels}


def of_subject(subject: Subject) -> Facts:
    """Look up everything that `show` tells of a subject."""
    return gather(
        {
            "genotype": lambda: subject.docdb.genotype,
            "sex": lambda: subject.docdb.sex,
            "date_of_birth": lambda: _iso(subject.docdb.date_of_birth),
            "sessions": lambda: sessions_of(subject),
            "data_assets": lambda: by_label(subject.data_assets),
        }
    )


def _iso(day: Any) -> str | None:
    return day.isoformat() if day is not None else None


def sessions_of(subject: Subject) -> dict[str, Any]:
    """Give a subject's sessions, a row each, with what the search has brought already."""
    from aind_session.table import as_rows, table

    ids = [session._id for session in subject.sessions]
    columns = table(ids, ["id", "platform", "uploaded", "n_assets"])
    return {"count": len(ids), "rows": as_rows(columns)}
