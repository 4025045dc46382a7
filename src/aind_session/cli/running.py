"""Running the command: from its arguments to its exit code, every error told in a line."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from aind_session.cli import notes, options, output
from aind_session.cli.exits import FOUND, INTERRUPTED, NOT_FOUND, UNKNOWN, UNREAD, USAGE
from aind_session.errors import (
    AindSessionError,
    InvalidFilterError,
    InvalidIdentifierError,
    NotFoundError,
    ServiceError,
)

#: Names of the threads that put questions.
_WORKERS = ("aind_session", "doctor")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `aind_session.cli.main`."""
    from aind_session.cli.app import build, verb_names

    _settle_streams()
    options.settle_completion()
    app = build()
    given = sys.argv[1:] if arguments is None else list(arguments)
    settled = options.settle(given, verb_names(app)) or ["--help"]
    debug = "--debug" in settled
    with warnings.catch_warnings():
        notes.collect(show_all=debug)
        try:
            result = app(args=settled, prog_name="aind-session", standalone_mode=False)
            code = result if isinstance(result, int) else FOUND
            if code == INTERRUPTED:
                # How newer typer tells of Ctrl-C.
                return _interrupted()
            notes.tell()
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            return _unread()
        except KeyboardInterrupt:
            return _interrupted()
        except SystemExit as leaving:
            # How typer ends completion, and what is written to a pipe that is closed.
            if isinstance(leaving.__context__, OSError):
                return _unread()
            return leaving.code if isinstance(leaving.code, int) else FOUND
        except Exception as error:
            return _tell(error, settled, debug)


def _settle_streams() -> None:
    # Of a process that was started with its outputs closed Python has no streams at all.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    # Names have letters that a pipe's encoding may not have: most, on Windows.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    # Some environments say so of an unknown width: nothing at all would be shown.
    if not os.environ.get("COLUMNS", "-").strip("0 "):
        del os.environ["COLUMNS"]


def _unread() -> int:
    # Python would complain once more when it flushes at its end.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD


def _interrupted() -> int:
    print("Interrupted.", file=sys.stderr)
    if any(t.name.startswith(_WORKERS) for t in threading.enumerate()):
        # Python would wait for the questions that are under way: for seconds, with nothing shown.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)
    return INTERRUPTED


def _tell(error: Exception, arguments: list[str], debug: bool) -> int:
    if type(error).__name__ == "Abort":
        return _interrupted()
    if debug:
        traceback.print_exception(error)
    line, advice, code = _in_words(error, arguments)
    notes.tell(line)
    output.complain(line, *advice)
    return code


def _in_words(error: Exception, arguments: list[str]) -> tuple[str, tuple[str, ...], int]:
    """Give an error's line, the words of the next command to try, and the exit code."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    words = [a for a in arguments if not a.startswith("-")]
    helped = (words[0], "--help") if words and _knows(words[0]) else ("--help",)
    if _is_usage_error(error):
        line = error.format_message().replace("\n", " ")  # type: ignore[attr-defined]
        return line, helped, USAGE
    if isinstance(error, InvalidIdentifierError) and len(words) > 1 and _is_subject(words[1]):
        line = f"{words[1]!r} can be a subject's ID, but names no session."
        return line, ("list", words[1]), USAGE
    if isinstance(error, InvalidIdentifierError):
        # The error advises a call in Python; the same as a command is in the next line.
        advice = next(filter(None, map(_of_a_day, words[1:])), None)
        told, found, _ = line.partition(" Try get_sessions(")
        return (told, advice, USAGE) if advice and found else (line, helped, USAGE)
    if isinstance(error, InvalidFilterError):
        return line, getattr(error, "advice", helped), USAGE
    if isinstance(error, ServiceError) and isinstance(error, ValueError) and error.status == 404:
        # Code Ocean's "not found", by its form: its class would load the client.
        return line, helped, NOT_FOUND
    if isinstance(error, NotFoundError):
        return line, getattr(error, "advice", ("explain", *words[1:2])), NOT_FOUND
    if isinstance(error, AindSessionError):
        return line, ("doctor",), UNKNOWN
    if isinstance(error, OSError):
        # A folder or an output that cannot be written: the system says why.
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or line}", helped, UNKNOWN
    line = f"this is a fault of aind-session itself: {type(error).__name__}: {line}"
    front = [a for a in arguments if a.startswith("--sandbox")]
    return line, ("--debug", *(a for a in arguments if a not in ("--debug", *front))), UNKNOWN


def _is_usage_error(error: Any) -> bool:
    # By its form: typer's own exceptions moved between releases, from click's into its own.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _is_subject(text: str) -> bool:
    from aind_session.identifiers import parse_subject_id

    try:
        return bool(parse_subject_id(text))
    except InvalidIdentifierError:
        return False


def _of_a_day(text: str) -> tuple[str, ...] | None:
    """Give the words that list the sessions of what names a subject and a day."""
    from aind_session.identifiers import short_id

    found = short_id(text)
    return ("list", found[0], "--date", found[1]) if found else None


def _knows(verb: str) -> bool:
    from aind_session.cli.app import build, verb_names

    return verb in verb_names(build())
