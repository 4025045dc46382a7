"""`aind-session list`, `path`, `open`, `attached`, `download`: sessions, folders and files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from aind_session.cli import app as cli
from aind_session.cli import output
from aind_session.cli.output import AsCsv, AsJson

DEFAULT_COLUMNS = "id,platform,project,modalities"
#: Those of `aind_session.table`, which is not loaded for `--help`; a test compares them.
COLUMNS = (
    *("id", "subject", "platform", "date", "time", "dt", "genotype", "sex", "date_of_birth"),
    *("age_days", "project", "session_type"),
    *("modalities", "location", "uploaded", "raw_asset_id", "raw_asset_name", "folder", "url"),
    *("n_assets", "derived", "derived:*", "derived:LABEL", "sorted", "results", "result:LABEL"),
)

SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="A session ID, or anything with one in it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("list")(list_sessions)
    app.command("path")(path)
    app.command("open")(open_page)
    app.command("attached")(attached)
    app.command("download")(download)


def _completing(values: Callable[[], tuple[str, ...]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [one for one in values() if one.lower().startswith(incomplete.lower())]

    return complete


def _platforms() -> tuple[str, ...]:
    from aind_session.lookup.search import PLATFORMS

    return PLATFORMS


def _modalities() -> tuple[str, ...]:
    from aind_session.records.modalities import NAMES

    return tuple(NAMES)


def _columns() -> tuple[str, ...]:
    return COLUMNS


def list_sessions(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SUBJECT]...", help="Subject IDs; not needed if a filter is given."
        ),
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A project, as in DocDB; may be repeated."),
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="ecephys, multiplane-ophys, SmartSPIM, ...; may be repeated.",
            autocompletion=_completing(_platforms),
        ),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="behavior-videos, or the folder's name behavior_videos; may be repeated.",
            autocompletion=_completing(_modalities),
        ),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="A day; 2023-12 and 2023 are a whole month or year."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="DATE", help="The first day, or date and time.")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="DATE", help="The last day, included.")] = None,
    columns: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help=f"The columns to show: {', '.join(COLUMNS)}.",
            autocompletion=_completing(_columns),
        ),
    ] = DEFAULT_COLUMNS,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """List the sessions of subjects, or all that match the filters.

    Ascending by date and time. The exit code is 1 if there is none.
    """
    output.check_format(as_json, as_csv)
    from aind_session import search
    from aind_session.errors import InvalidFilterError
    from aind_session.table import as_rows, table

    if not any((subjects, project, platform, modality, date, start, end)):
        raise InvalidFilterError(
            "list needs a subject, or a filter: --project, --platform, --modality, --date, "
            "--start, --end."
        )
    names = [name.strip() for name in columns.split(",") if name.strip()]
    table([], names)  # An unknown column is reported before any request.
    with output.waiting("searching Code Ocean and DocDB"):
        found = search.get_sessions(
            subjects or None,
            date=date,
            platform=platform,
            start_date=start,
            end_date=end,
            project=project,
            modality=modality,
        )
        values = table([session._id for session in found], names)
    rows = as_rows(values)
    if as_json:
        output.write_json(rows)
    elif as_csv:
        output.write_csv(rows, list(values))
    elif rows:
        output.write_table(list(values), [list(row.values()) for row in rows])
    if not rows:
        of = f" of {', '.join(subjects)}" if subjects else ""
        output.complain(f"no session{of} matches.", "list", "--help")
    return cli.FOUND if rows else cli.NOT_FOUND


def path(session_id: SessionArgument) -> int:
    """Print the folder of a session's raw files in S3."""
    from aind_session.session import Session

    session = Session(session_id)
    with output.waiting(f"looking up {session.id}"):
        folder = session.raw_data_dir.as_posix()
    print(folder)
    return cli.FOUND


def open_page(
    what: Annotated[
        str,
        typer.Argument(
            metavar="SESSION",
            help="A session ID, or anything with one in it; or the ID of a data asset.",
        ),
    ],
    print_only: Annotated[
        bool, typer.Option("--print", help="Print the page's address and open nothing.")
    ] = False,
) -> int:
    """Open the page of a session's raw data asset in a browser."""
    from aind_session.identifiers import is_uuid
    from aind_session.services.assets import asset_url
    from aind_session.session import Session

    if is_uuid(what):
        address = asset_url(what)
    else:
        session = Session(what)
        with output.waiting(f"looking up {session.id}"):
            address = session.url
    # The address is alone on standard output, for scripts.
    print(address)
    if not print_only:
        import webbrowser

        if not webbrowser.open(address):
            output.note("no browser could be opened here: open the address above.")
    return cli.FOUND


def attached(as_json: AsJson = False, as_csv: AsCsv = False) -> int:
    """List the data attached to this capsule."""
    output.check_format(as_json, as_csv)
    import aind_session

    with output.waiting("reading the attached folders"):
        found = aind_session.attached()
    names = ("session", "name", "path", "asset_id")
    rows = [
        {
            "session": one.session.id if one.session else None,
            "name": one.name,
            "path": str(one.path),
            "asset_id": one.asset_id,
        }
        for one in found
    ]
    if as_json:
        output.write_json(rows)
    elif as_csv:
        output.write_csv(rows, names)
    elif rows:
        output.write_table(names, [list(row.values()) for row in rows])
    else:
        output.complain("nothing is attached here.", "attached", "--help")
    return cli.FOUND if rows else cli.NOT_FOUND


def download(
    session_id: SessionArgument,
    dest: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="The local folder.")
    ] = ".",
    pattern: Annotated[
        str | None,
        typer.Option(metavar="GLOB", help='Only files whose path matches, as "**/*.json".'),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only the folder of this modality.",
            autocompletion=_completing(_modalities),
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Download files again that exist already.")
    ] = False,
) -> int:
    """Download the raw files of a session.

    Files that exist with the right size are kept, so an interrupted download resumes if it is
    called again. Prints the path of each file.
    """
    from aind_session.errors import InvalidFilterError
    from aind_session.session import Session

    if pattern is None and modality is None:
        raise InvalidFilterError(
            'download needs --pattern or --modality: --pattern "**" downloads everything.'
        )
    paths = Session(session_id).download(
        dest, pattern=pattern, modality=modality, overwrite=overwrite
    )
    for one in paths:
        print(output.printable(str(one)))
    if not paths:
        output.complain("no file matches.", "path", session_id)
    return cli.FOUND if paths else cli.NOT_FOUND
