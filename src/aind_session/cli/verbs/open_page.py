"""`aind-session open`: the page of a session's raw data asset in Code Ocean."""

from __future__ import annotations

from typing import Annotated

import typer

from aind_session.cli import output
from aind_session.cli.exits import FOUND


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("open")(open_page)


def open_page(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SESSION",
            help="A session's ID, or anything with one in it; or the ID of a data asset.",
        ),
    ],
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the page's address, open nothing.")
    ] = False,
) -> int:
    """Open the page of a session's raw data asset in a browser."""
    from aind_session import settings
    from aind_session.identifiers import is_uuid, parse_session_id
    from aind_session.lookup import facts

    if is_uuid(what):
        asset_id = what
    else:
        session = parse_session_id(what)
        with output.waiting(f"asking about {session.id}"):
            asset_id = facts.raw_asset(session).id
    address = f"{settings.current().domain.value}/data-assets/{asset_id}"
    # The address stands alone on standard output: scripts take it from there.
    print(address)
    if not print_only:
        import webbrowser

        if not webbrowser.open(address):
            output.note("no browser could be opened here: open the address above.")
    return FOUND
