"""The app: global options and verbs, as typer reads them."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from aind_session.cli import run
from aind_session.cli.verbs import MODULES

EPILOG = (
    "Exit codes: 0 found or done; 1 not found, or a check failed; 2 wrong usage; 3 could not find "
    "out (a service or a credential). Text for people goes to a terminal in colour and to a pipe "
    "in plain columns; --json and --csv are for programs."
)


def build() -> typer.Typer:
    """Make the app with all its verbs."""
    app = typer.Typer(
        name="aind-session",
        help="Name a session: its assets, folders, metadata and sorting results.",
        epilog=EPILOG,
        # Errors are told by `running`, in one line.
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if sys.stdout.isatty() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for module in MODULES:
        importlib.import_module(f"aind_session.cli.verbs.{module}").register(app)
        if module == "open_page":
            run.register(app)
    return app


def verb_names(app: typer.Typer) -> tuple[str, ...]:
    """Name the verbs of an app, those of its groups' own names included."""
    commands = [c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands]
    return (*commands, *(str(group.name) for group in app.registered_groups if group.name))


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
            help="Ask no live service, but the catalogue in the folder PATH; without PATH the one "
            "that comes with the package (the documented sessions).",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Tell each request, and of an error everything.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Tell the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    from aind_session.cli import options

    if debug:
        options.log_everything()
    if sandbox is not None:
        options.start_sandbox(sandbox)
