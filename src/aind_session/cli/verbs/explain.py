"""`aind-session explain`: what each service said of a session."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aind_session.cli import output
from aind_session.cli.exits import FOUND
from aind_session.cli.output import AsJson


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("explain")(explain)


def explain(
    session_id: Annotated[
        str,
        typer.Argument(metavar="SESSION", help="A session's ID, or anything with one in it."),
    ],
    as_json: AsJson = False,
) -> int:
    """Explain how each fact about a session was found, or not found.

    Every question that was put to a service is told, in order, with the answer and the time that
    it took. Send this along when you ask for help: there is no secret in it.
    """
    from aind_session.identifiers import parse_session_id
    from aind_session.lookup import explanation

    session = parse_session_id(session_id)
    with output.waiting(f"asking about {session.id}"):
        text = explanation.of_session(session)
    if as_json:
        output.write_json({"id": session.id, "lookups": _trails(session.id)})
        return FOUND
    for line in text.splitlines():
        output.write_line(line, style="" if line.startswith(" ") else "bold")
    return FOUND


def _trails(about: str) -> list[dict[str, Any]]:
    from aind_session.lookup import trail

    return [
        {
            "what": followed.what,
            "steps": [
                {
                    "service": step.service or None,
                    "question": step.question,
                    "answer": step.answer,
                    "seconds": round(step.seconds, 4),
                    "known_already": step.known,
                }
                for step in followed.steps
            ],
        }
        for followed in trail.kept(about)
    ]
