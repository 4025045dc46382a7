"""`aind-session doctor`: whether everything that is needed is there, and what to do where not."""

from __future__ import annotations

import typer

from aind_session.cli import output
from aind_session.cli.exits import FOUND, NOT_FOUND
from aind_session.cli.output import AsCsv, AsJson


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(as_json: AsJson = False, as_csv: AsCsv = False) -> int:
    """Check the token, services, buckets, clock and versions.

    All at the same time; each check is ok, warn or fail, with what to do next. The exit code is 1
    where one fails. No secret is printed: the output can be sent along when you ask for help.
    """
    output.checked(as_json, as_csv)
    from aind_session.cli import checks

    with output.waiting("checking"):
        results = checks.run_all()
    rows = [vars(result) for result in results]
    if as_json:
        output.write_json(rows)
    elif as_csv:
        output.write_csv(rows, list(rows[0]))
    else:
        output.write_checks(results)
    return NOT_FOUND if any(result.state == checks.FAIL for result in results) else FOUND
