"""Running the command: from its arguments to its exit code, every error told in a line."""

from __future__ import annotations

import contextlib
import os
import sys
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
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `aind_session.cli.main`."""
    from aind_session.cli.app import build, verb_names

    app = build()
    given = sys.argv[1:] if arguments is None else list(arguments)
    settled = options.settle(given, verb_names(app)) or ["--help"]
    debug = "--debug" in settled
    with warnings.catch_warnings():
        notes.collect(show_all=debug)
        try:
            result = app(args=settled, prog_name="aind-session", standalone_mode=False)
            code = result if isinstance(result, int) else FOUND
            notes.tell()
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            return _unread()
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        except SystemExit as leaving:
            # How typer ends completion, and what is written to a pipe that is closed.
            if isinstance(leaving.__context__, OSError):
                return _unread()
            return leaving.code if isinstance(leaving.code, int) else FOUND
        except Exception as error:
            return _tell(error, settled, debug)


def _unread() -> int:
    # Python would complain once more when it flushes at its end.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD


def _tell(error: Exception, arguments: list[str], debug: bool) -> int:
    if type(error).__name__ == "Abort":
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    if debug:
        traceback.print_exception(error)
    line, advice, code = _in_words(error, arguments)
    notes.tell()
    output.complain(line, advice)
    return code


def _in_words(error: Exception, arguments: list[str]) -> tuple[str, str, int]:
    """Give an error's line, the next command to try, and the exit code."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    words = [a for a in arguments if not a.startswith("-")]
    verb = words[0] if words else ""
    if _is_usage_error(error):
        helped = f"aind-session {verb} --help" if _knows(verb) else "aind-session --help"
        return error.format_message().replace("\n", " "), helped, USAGE  # type: ignore[attr-defined]
    if isinstance(error, InvalidIdentifierError) and len(words) > 1 and _is_subject(words[1]):
        line = f"{words[1]!r} can be a subject's ID, but names no session."
        return line, f"aind-session list {words[1]}", USAGE
    if isinstance(error, InvalidIdentifierError | InvalidFilterError):
        return line, f"aind-session {verb} --help".replace("  ", " "), USAGE
    if isinstance(error, NotFoundError):
        advice = getattr(error, "advice", f"aind-session explain {' '.join(words[1:])}")
        return line, advice, NOT_FOUND
    if isinstance(error, AindSessionError):
        return line, "aind-session doctor", UNKNOWN
    again = " ".join(a for a in arguments if a != "--debug")
    line = f"this is a fault of aind-session itself: {type(error).__name__}: {line}"
    return line, f"aind-session --debug {again}", UNKNOWN


def _is_usage_error(error: Any) -> bool:
    # By its form: typer's own exceptions moved between releases, from click's into its own.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _is_subject(text: str) -> bool:
    from aind_session.identifiers import parse_subject_id

    try:
        return bool(parse_subject_id(text))
    except InvalidIdentifierError:
        return False


def _knows(verb: str) -> bool:
    from aind_session.cli.app import build, verb_names

    return verb in verb_names(build())
