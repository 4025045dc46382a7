"""The app: global options, commands, warnings as notes, errors as one line and an exit code."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from aind_session.cli import output
from aind_session.errors import (
    AindSessionError,
    InvalidFilterError,
    InvalidIdentifierError,
    NotFoundError,
    PartialAnswerWarning,
    PluginWarning,
    SandboxWarning,
    ServiceError,
    first_line,
)
from aind_session.settings import CATALOGUE_HEADER, SANDBOX, SANDBOX_ACTIVE

#: Exit codes: found or done; not found, or a check failed; wrong usage; could not be checked;
#: interrupted; the reader of the output is gone.
FOUND, NOT_FOUND, USAGE, UNKNOWN, INTERRUPTED, CLOSED_OUTPUT = 0, 1, 2, 3, 130, 141

#: The names that errors use for arguments of functions, as options.
_OPTIONS = {"start_date": "--start", "end_date": "--end"}
BUNDLED = "1"
EPILOG = (
    "Exit codes: 0 found or done; 1 not found, or a check failed; 2 wrong usage; 3 could not be "
    "checked (a service or a credential). Output is colored in a terminal and plain in a pipe; "
    "--json and --csv are for programs."
)


def commands() -> dict[str, Callable[..., int]]:
    """Return the function of each command, in the order of the help text."""
    from aind_session.cli import doctor, run, selfcheck, sessions, show, snapshot

    return {
        "show": show.show,
        "explain": show.explain,
        "list": sessions.list_sessions,
        "path": sessions.path,
        "open": sessions.open_page,
        "attached": sessions.attached,
        "download": sessions.download,
        "run": run.run,
        "status": run.status,
        "resume": run.resume,
        "snapshot": snapshot.snapshot,
        "doctor": doctor.doctor,
        "selfcheck": selfcheck.selfcheck,
    }


def build() -> typer.Typer:
    """Return the app with all its commands."""
    app = typer.Typer(
        name="aind-session",
        cls=_Group,
        help="Name a session: its assets, folders, metadata and sorting results.",
        epilog=EPILOG,
        # Errors are written by `main`, in one line.
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for name, function in commands().items():
        app.command(name, cls=_Command)(function)
    return app


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        if ctx.params.get("as_json") and ctx.params.get("as_csv"):
            raise InvalidFilterError("--json and --csv exclude each other.")
        return super().invoke(ctx)


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _without_types(parameters: Sequence[Any]) -> list[Any]:
    """Keep Python's types out of the help text: newer typer adds `<list[str]>` and `<bool>`."""
    for parameter in parameters:
        # Typer has no setting that leaves types out; the metavar names what is expected.
        vars(parameter)["display_type"] = lambda ctx: ""
        if parameter.param_type_name == "argument":
            vars(parameter)["get_usage_pieces"] = functools.partial(_usage, parameter)
    return list(parameters)


def _usage(argument: Any, ctx: Any) -> list[str]:
    """Return an argument in the line of usage; releases of typer write it in different ways."""
    name = f"{argument.metavar}{'...' if argument.nargs == -1 else ''}"
    return [name if argument.required else f"[{name}]"]


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"aind-session {version('aind-session')}")
        raise typer.Exit


def _global_options(
    sandbox: Annotated[
        str | None,
        typer.Option(
            metavar="[PATH]",
            help="Use the catalogue in PATH (default: the bundled one) instead of the live "
            "services.",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Log every request and show full tracebacks.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Show the version.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    if debug:
        _log_everything()
    if sandbox is not None:
        _use_sandbox(sandbox)


def _log_everything() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_EscapingFormatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("aind_session")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)


class _EscapingFormatter(logging.Formatter):
    """Escapes control characters: a service's text never controls the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(output.printable, super().format(record).split("\n")))


def _use_sandbox(where: str) -> None:
    """Have the sandbox start at the first request."""
    is_bundled = where in (BUNDLED, "")
    if not is_bundled and not _is_catalogue(where):
        raise InvalidFilterError(
            f"{where!r} is not a catalogue folder ({CATALOGUE_HEADER} is missing).",
            advice=("snapshot", "--help"),
        )
    output.command[1:] = ["--sandbox"] if is_bundled else [f"--sandbox={where}"]
    # A sandbox of the process that started this one is not meant.
    os.environ.pop(SANDBOX_ACTIVE, None)
    os.environ[SANDBOX] = BUNDLED if is_bundled else str(Path(where).resolve())


def _is_catalogue(folder: str) -> bool:
    return (Path(folder) / CATALOGUE_HEADER).is_file()


# -- arguments -------------------------------------------------------------------------------------


def settle(arguments: Sequence[str], commands: Collection[str]) -> list[str]:
    """Move the global options to the front, and decide whether `--sandbox` has a value.

    An option with an optional value looks like one without. If a command follows later, the word
    after `--sandbox` is its PATH unless it is a command or an option; else only if it is a
    catalogue folder.

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
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += [word, *words]
            break
        if word == "--debug" or word.startswith("--sandbox="):
            front.append(word)
        elif word == "--sandbox":
            path = BUNDLED
            if words and _is_path(words[0], words[1:], commands, after_command=bool(rest)):
                path = words.pop(0)
            front.append(f"--sandbox={path}")
        else:
            rest.append(word)
    return [*front, *rest]


def _is_path(
    word: str, rest: Sequence[str], commands: Collection[str], after_command: bool
) -> bool:
    if word.startswith("-"):
        return False
    if after_command or word in commands or not any(one in commands for one in rest):
        # Without a command after it, the word may be a misspelled command.
        return _is_catalogue(word) and word not in commands
    return True


def _settle_completion() -> None:
    """Decide whether `--sandbox` has a value in a command line that a shell completes."""
    if "_AIND_SESSION_COMPLETE" not in os.environ:
        return
    for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"):
        # The number of words stays the same: shells count them.
        os.environ[name] = re.sub(
            r"(?<=\s)--sandbox(?=\s+(\S*))",
            lambda match: match[0] if _is_catalogue(match[1]) else f"--sandbox={BUNDLED}",
            os.environ.get(name, ""),
        )


# -- running ---------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `aind_session.cli.main`."""
    _settle_streams()
    _settle_completion()
    app = build()
    words = sys.argv[1:] if arguments is None else list(arguments)
    settled = settle(words, commands()) or ["--help"]
    debug = "--debug" in settled
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always" if debug else "ignore")
        for category in (PartialAnswerWarning, PluginWarning, SandboxWarning):
            warnings.simplefilter("always", category)
        try:
            result = app(args=settled, prog_name="aind-session", standalone_mode=False)
            code = result if isinstance(result, int) else FOUND
            if code == INTERRUPTED:
                # Newer typer reports Ctrl-C by this code.
                return _interrupted()
            write_notes(caught)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            return _output_closed()
        except KeyboardInterrupt:
            return _interrupted()
        except SystemExit as exit_:
            # Typer ends completion so, and writing to a closed pipe.
            if isinstance(exit_.__context__, OSError):
                return _output_closed()
            return exit_.code if isinstance(exit_.code, int) else FOUND
        except Exception as error:
            if type(error).__name__ == "Abort":
                return _interrupted()
            if debug:
                for line in traceback.format_exception(error):
                    print("\n".join(map(output.printable, line.split("\n"))), file=sys.stderr)
            line, advice, code = _describe(error, settled)
            write_notes(caught, besides=line)
            output.complain(line, *advice)
            return code


def import_services() -> None:
    """Import what lookups use, while there is one thread.

    Ctrl-C during an import can leave Python's import lock taken: then no other thread can import
    anything, and the process does not end.
    """
    import botocore.session  # noqa: F401 (loaded, not used)

    import aind_session.attached_data
    import aind_session.extension
    import aind_session.services.docdb
    import aind_session.services.s3
    import aind_session.services.sdk  # noqa: F401 (loaded, not used)


def write_notes(caught: list[warnings.WarningMessage], besides: str = "") -> None:
    """Write each warning once as a note; those of one service and reason in one line."""
    for (service, reason), missing in partial(caught).items():
        because = f" ({reason})" if reason else ""
        output.note(f"{service} failed{because}: may be missing: {', '.join(missing)}")
    others = {str(w.message): None for w in caught}
    for text in others:
        if text not in besides:
            output.note(text)
    caught.clear()


def partial(caught: list[warnings.WarningMessage]) -> dict[tuple[str, str], list[str]]:
    """Take partial answers out of the warnings: what may be missing, by service and reason."""
    missing: dict[tuple[str, str], list[str]] = {}
    for warning in list(caught):
        if isinstance(warning.message, PartialAnswerWarning):
            caught.remove(warning)
            some = missing.setdefault((warning.message.service, warning.message.why), [])
            if warning.message.missing not in some:
                some.append(warning.message.missing)
    return missing


def _settle_streams() -> None:
    # A process that was started with its outputs closed has no streams at all in Python.
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    # Names have letters that a pipe's encoding may not have, mostly on Windows.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
    # Some environments set it so for an unknown width.
    if not os.environ.get("COLUMNS", "-").strip("0 "):
        del os.environ["COLUMNS"]


def _output_closed() -> int:
    # Python would complain once more when it flushes at its end.
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED_OUTPUT


def _interrupted() -> int:
    print("Interrupted.", file=sys.stderr)
    return INTERRUPTED


def _describe(error: Exception, arguments: list[str]) -> tuple[str, tuple[str, ...], int]:
    """Return an error's line, the words of the next command to try, and the exit code."""
    line = first_line(error)
    words = [word for word in arguments if not word.startswith("-")]
    usage = (words[0], "--help") if words and words[0] in commands() else ("--help",)
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        # By form: typer's own exceptions moved between releases, from click's into its own.
        return error.format_message().replace("\n", " "), usage, USAGE
    if isinstance(error, InvalidIdentifierError):
        return _describe_identifier(line, words, usage)
    if isinstance(error, InvalidFilterError):
        line = line.replace(" (list_projects() returns all)", "")
        for name, option in _OPTIONS.items():
            line = re.sub(rf"\b{name}\b", option, line)
        return line, getattr(error, "advice", usage), USAGE
    if isinstance(error, ServiceError) and isinstance(error, ValueError) and error.status == 404:
        # Code Ocean's "not found", by form: its class would load the client.
        return line, usage, NOT_FOUND
    if isinstance(error, NotFoundError):
        return line, getattr(error, "advice", ("explain", *words[1:2])), NOT_FOUND
    if isinstance(error, AindSessionError):
        return line, ("doctor",), UNKNOWN
    if isinstance(error, OSError):
        # A folder or an output that cannot be written: the system's message is the reason.
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or line}", usage, UNKNOWN
    line = f"this is a fault of aind-session itself: {type(error).__name__}: {line}"
    front = [word for word in arguments if word.startswith("--sandbox")]
    rest = (word for word in arguments if word not in ("--debug", *front))
    return line, ("--debug", *rest), UNKNOWN


def _describe_identifier(
    line: str, words: list[str], usage: tuple[str, ...]
) -> tuple[str, tuple[str, ...], int]:
    from aind_session.identifiers import ONLY_SUBJECT, parse_subject_id, short_id

    with contextlib.suppress(IndexError, InvalidIdentifierError):
        subject = parse_subject_id(words[1])
        return f"{words[1]!r} {ONLY_SUBJECT}", ("list", subject), USAGE
    # The error suggests a call in Python: the same as a command is in the next line.
    before, found, _ = line.partition(" Try get_sessions(")
    short = next(filter(None, map(short_id, words[1:])), None)
    if short is not None and found:
        return before, ("list", short[0], "--date", short[1]), USAGE
    return line, usage, USAGE
