"""`aind-session show`: the facts of a session or a subject."""

from __future__ import annotations

from typing import Annotated

import typer

from aind_session.cli import output
from aind_session.cli.output import AsCsv, AsJson


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("show")(show)


def show(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SESSION",
            help="A session's ID or anything with one in it (a path, an asset's name); or the ID "
            "of a subject.",
        ),
    ],
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """Show what is known of a session or a subject.

    Of a session: platform, subject, time, whether it is uploaded, raw asset, folder, modalities,
    project, genotype, sorting, assets. Of a subject: its sessions and assets.

    Where a service does not answer, or there is no Code Ocean token, what the others know is
    shown, with a line on what is not known and why.
    """
    output.checked(as_json, as_csv)
    from aind_session.cli import facts, showing
    from aind_session.identifiers import find_session_id

    if find_session_id(what) is None:
        from aind_session.errors import InvalidIdentifierError
        from aind_session.identifiers import parse_session_id, parse_subject_id
        from aind_session.subject import Subject

        try:
            subject = Subject(parse_subject_id(what))
        except InvalidIdentifierError as no_subject:
            # What names a subject and a day, or an asset's ID, is told so; all else is no subject.
            try:
                parse_session_id(what)
            except InvalidIdentifierError as no_session:
                is_vague = str(no_session).startswith("No session ID")
                raise (no_subject if is_vague else no_session) from None
            raise
        with output.waiting(f"asking about subject {subject.id}"):
            found = facts.of_subject(subject)
        return showing.subject(subject, found, as_json, as_csv)
    from aind_session.session import Session

    session = Session(what)
    with output.waiting(f"asking about {session.id}"):
        found = facts.of_session(session)
    return showing.session(session, found, as_json, as_csv)
