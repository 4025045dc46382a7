"""Options that stand for all verbs: `--sandbox [PATH]` and `--debug`."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from aind_session.settings import CATALOGUE_HEADER, SANDBOX, SANDBOX_ACTIVE

BUNDLED = "1"


def settle(arguments: Sequence[str], verbs: Collection[str]) -> list[str]:
    """Bring the global options to the front, and settle what `--sandbox` has for a value.

    An option whose value may be left out is not to be told apart from one without a value by its
    form. Where a verb comes later, what follows `--sandbox` is its PATH unless it is a verb or an
    option; else only where it is the folder of a catalogue.

    Examples
    --------
    >>> settle(["--sandbox", "show", "676909"], {"show"})
    ['--sandbox=1', 'show', '676909']
    >>> settle(["--sandbox", "study/", "show", "676909"], {"show"})
    ['--sandbox=study/', 'show', '676909']
    >>> settle(["show", "676909", "--sandbox", "--debug"], {"show"})
    ['--sandbox=1', '--debug', 'show', '676909']
    """
    front: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            rest += [argument, *waiting]
            break
        if argument == "--debug" or argument.startswith("--sandbox="):
            front.append(argument)
        elif argument == "--sandbox":
            path = BUNDLED
            if waiting and _is_path(waiting[0], waiting[1:], verbs, verb_seen=bool(rest)):
                path = waiting.pop(0)
            front.append(f"--sandbox={path}")
        else:
            rest.append(argument)
    return [*front, *rest]


def _is_path(text: str, then: Sequence[str], verbs: Collection[str], verb_seen: bool) -> bool:
    if text.startswith("-"):
        return False
    if verb_seen or text in verbs or not any(word in verbs for word in then):
        # Where no verb follows, it may be a verb that is mistyped.
        return _is_catalogue(text) and text not in verbs
    return True


def settle_completion() -> None:
    """Settle a bare `--sandbox` in what a shell asks to be completed, too."""
    if "_AIND_SESSION_COMPLETE" not in os.environ:
        return
    for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"):
        typed = os.environ.get(name, "")
        # The number of words stays the same: shells tell by it which one is being typed.
        os.environ[name] = re.sub(
            r"(?<=\s)--sandbox(?=\s+(\S*))",
            lambda found: found[0] if _is_catalogue(found[1]) else f"--sandbox={BUNDLED}",
            typed,
        )


def _is_catalogue(folder: str) -> bool:
    return (Path(folder) / CATALOGUE_HEADER).is_file()


def start_sandbox(where: str) -> None:
    """Have the sandbox start at the first question to a service.

    Raises
    ------
    InvalidFilterError
        There is no catalogue at that place (a `ValueError`).
    """
    from aind_session.cli import output
    from aind_session.errors import InvalidFilterError

    if where not in (BUNDLED, "") and not _is_catalogue(where):
        raise InvalidFilterError(
            f"{where!r} is no folder of a catalogue (there is no {CATALOGUE_HEADER} in it).",
            advice=("snapshot", "--help"),
        )
    output.command[1:] = ["--sandbox"] if where in (BUNDLED, "") else [f"--sandbox={where}"]
    # A sandbox that serves already, in the process that started this one, is not the one meant.
    os.environ.pop(SANDBOX_ACTIVE, None)
    os.environ[SANDBOX] = BUNDLED if where in (BUNDLED, "") else str(Path(where).resolve())


def log_everything() -> None:
    """Send the package's log, each request of it, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("aind_session")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
