"""`aind-session list`: sessions that match, a row each."""

from __future__ import annotations

from typing import Annotated

import typer

from aind_session.cli import output
from aind_session.cli.exits import FOUND, NOT_FOUND
from aind_session.cli.output import AsCsv, AsJson

DEFAULT_COLUMNS = "id,platform,project,modalities"
#: Those of `aind_session.table`, which is not loaded for `--help`; a test holds them equal.
COLUMNS = (
    *("id", "subject", "platform", "date", "time", "dt", "genotype", "sex", "date_of_birth"),
    *("age_days", "project", "session_type"),
    *("modalities", "location", "uploaded", "raw_asset_id", "raw_asset_name", "folder"),
    *("n_assets", "derived", "derived:LABEL", "sorted", "results", "result:LABEL"),
)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("list")(list_sessions)


def list_sessions(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SUBJECT]...", help="IDs of subjects; may be left out where a filter is given."
        ),
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="NAME", help="A project, as DocDB has it.")
    ] = None,
    platform: Annotated[
        str | None, typer.Option(metavar="NAME", help="ecephys, multiplane-ophys, SmartSPIM, ...")
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="behavior-videos, or the folder's name behavior_videos."),
    ] = None,
    date: Annotated[
        str | None, typer.Option(metavar="DATE", help="A day; 2023-12 and 2023 are all of it.")
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="DATE", help="The first day, or date and time.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="DATE", help="The last day, itself included.")
    ] = None,
    columns: Annotated[
        str,
        typer.Option(metavar="A,B,...", help=f"What to show of each: {', '.join(COLUMNS)}."),
    ] = DEFAULT_COLUMNS,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """List sessions: of subjects, or all that match.

    Ascending by date and time. The exit code is 1 where there is none.
    """
    output.checked(as_json, as_csv)
    from aind_session import search
    from aind_session.errors import InvalidFilterError
    from aind_session.table import as_rows, table

    if not any((subjects, project, platform, modality, date, start, end)):
        raise InvalidFilterError(
            "list needs a subject, or a filter: --project, --platform, --modality, --date, "
            "--start, --end."
        )
    names = [name.strip() for name in columns.split(",") if name.strip()]
    table([], names)  # A column that is none is told before anything is asked.
    with output.waiting("asking Code Ocean and DocDB"):
        sessions = search.get_sessions(
            subjects or None,
            date=date,
            platform=platform,
            start_date=start,
            end_date=end,
            project=project,
            modality=modality,
        )
        found = table([session._id for session in sessions], names)
    rows = as_rows(found)
    if as_json:
        output.write_json(rows)
    elif as_csv:
        output.write_csv(rows, list(found))
    elif rows:
        output.write_table(list(found), [list(row.values()) for row in rows])
    if not rows:
        whose = f" of {', '.join(subjects)}" if subjects else ""
        output.complain(f"no session{whose} matches.", "list", "--help")
    return FOUND if rows else NOT_FOUND
