"""Warnings, as notes on standard error: one line for each reason."""

from __future__ import annotations

import warnings
from typing import Any

from aind_session.cli.output import note
from aind_session.errors import PartialAnswerWarning, PluginWarning, SandboxWarning

_partial: dict[tuple[str, str], list[str]] = {}
_others: list[str] = []


def collect(show_all: bool = False) -> None:
    """Collect the package's warnings instead of printing each; others only where asked for."""
    _partial.clear()
    _others.clear()
    warnings.simplefilter("default" if show_all else "ignore")
    for category in (PartialAnswerWarning, PluginWarning, SandboxWarning):
        warnings.simplefilter("always", category)
    warnings.showwarning = _take


def _take(message: Warning | str, category: type[Warning], *where: Any, **_: Any) -> None:
    if isinstance(message, PartialAnswerWarning):
        missing = _partial.setdefault((message.service, message.why), [])
        if message.missing not in missing:
            missing.append(message.missing)
    elif f"{message}" not in _others:
        _others.append(f"{message}")


def partial() -> dict[tuple[str, str], list[str]]:
    """Give what may be missing so far, by service and reason, and take it off the notes."""
    taken = dict(_partial)
    _partial.clear()
    return taken


def tell(error: str = "") -> None:
    """Print what was collected, but for what an error says itself."""
    for (service, why), missing in partial().items():
        because = f" ({why})" if why else ""
        note(f"{service} did not answer{because}: may be missing: {', '.join(missing)}")
    for line in _others:
        if line not in error:
            note(line)
    _others.clear()
