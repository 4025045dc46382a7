"""`aind-session list`, `path`, `open`, `attached`, `download`: sessions, folders and files."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from aind_session.cli import app as cli
from aind_session.cli import output
from aind_session.cli.output import AsCsv, AsJson
from aind_session.errors import InvalidFilterError

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


def _platforms(incomplete: str) -> list[str]:
    from aind_session.lookup.search import PLATFORMS

    return [one for one in PLATFORMS if one.startswith(incomplete)]


def _modalities(incomplete: str) -> list[str]:
    from aind_session.records.modalities import NAMES

    return [one for one in NAMES if one.startswith(incomplete)]


def _columns(incomplete: str) -> list[str]:
    return [one for one in COLUMNS if one.startswith(incomplete)]


Project = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="A project, as in DocDB; may be repeated.")
]
Platform = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="ecephys, multiplane-ophys, SmartSPIM, ...; may be repeated.",
        autocompletion=_platforms,
    ),
]
Modality = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="behavior-videos, or the folder's name behavior_videos; may be repeated.",
        autocompletion=_modalities,
    ),
]
Date = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="A day; 2023-12 and 2023 are a whole month or year."),
]
Start = Annotated[str | None, typer.Option(metavar="DATE", help="The first day, or date and time.")]
End = Annotated[str | None, typer.Option(metavar="DATE", help="The last day, included.")]


def words_of(words: Iterable[str]) -> list[str]:
    """Return words of the command line, `-` replaced by those of standard input."""
    return [one for word in words for one in (_piped() if word == "-" else [word])]


def _piped() -> list[str]:
    """Read words from standard input, or the IDs in a table, CSV or JSON that `list` wrote."""
    text = sys.stdin.read().lstrip("\ufeff")
    if text.lstrip().startswith(("[", "{")):
        return _ids_in_json(text)
    lines = {n: line.rstrip() for n, line in enumerate(text.splitlines(), 1) if line.strip()}
    first = next(iter(lines.values()), "")
    names = next(csv.reader([first]), [])
    if "id" in names and set(names) != {"id"}:
        rows, numbers = csv.DictReader(lines.values()), list(lines)
        return [_cell(row["id"], numbers[rows.line_num - 1]) for row in rows]
    column = re.search(r"(^|  )id(?=  |$)", first)
    if column:
        return [_cell(line[column.end(1) :], n).split()[0] for n, line in list(lines.items())[1:]]
    return [word for line in lines.values() for word in _words_in(line.strip())]


def _cell(text: str | None, number: int) -> str:
    """Return a value of the column `id`; raise an error if the line is too short to have one."""
    if text is None or not text.strip():
        raise InvalidFilterError(
            f"line {number} of standard input has no value in the column `id`."
        )
    return text.strip()


def _ids_in_json(text: str) -> list[str]:
    try:
        found = json.loads(text)
        rows = found if isinstance(found, list) else [found]
        return [row if isinstance(row, str) else str(row["id"]) for row in rows]
    except (ValueError, TypeError, KeyError):
        raise InvalidFilterError(
            "standard input is neither a list of IDs nor the output of `list` with a column `id`."
        ) from None


def _words_in(line: str) -> list[str]:
    """Return the IDs in a line, or the line as a whole: a path can contain spaces."""
    from aind_session.identifiers import find_session_id

    words = line.split()
    are_ids = all(word.isdigit() or find_session_id(word) is not None for word in words)
    return words if are_ids else [line]


def list_sessions(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUBJECT", help="Subject IDs; not needed if a filter is given."),
    ] = None,
    project: Project = None,
    platform: Platform = None,
    modality: Modality = None,
    date: Date = None,
    start: Start = None,
    end: End = None,
    columns: Annotated[
        str,
        typer.Option(
            metavar="A,B,...",
            help=f"The columns to show: {', '.join(COLUMNS)}.",
            autocompletion=_columns,
        ),
    ] = DEFAULT_COLUMNS,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """List the sessions of subjects, or all that match the filters.

    Ascending by date and time. The exit code is 1 if there is none.
    """
    from aind_session import search
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
        hints: list[str] = []
        values = table([session._id for session in found], names, hint=hints.append)
    for hint in hints:
        output.note(hint)
    rows = as_rows(values)
    output.write_rows(rows, as_json, as_csv, list(values))
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
    output.write_rows(rows, as_json, as_csv, names)
    if not (rows or as_json or as_csv):
        output.complain("nothing is attached here.", "attached", "--help")
    return cli.FOUND if rows else cli.NOT_FOUND


def download(
    session_id: Annotated[
        str,
        typer.Argument(
            metavar="SESSION",
            help="A session ID, or anything with one in it; - reads one or several from standard "
            "input, as `list` writes them.",
        ),
    ],
    dest: Annotated[
        str, typer.Option("--output", "-o", metavar="FOLDER", help="The local folder.")
    ] = ".",
    pattern: Annotated[
        str | None,
        typer.Option(metavar="GLOB", help='Only files whose path matches, such as "**/*.json".'),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only the folder of this modality.", autocompletion=_modalities
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Download files again that exist already.")
    ] = False,
) -> int:
    """Download the raw files of a session.

    Files that exist with the right size are kept, so an interrupted download resumes if it is
    called again. Prints the path of each file. If standard input has several sessions, each has a
    folder of its own in the local folder.
    """
    from pathlib import Path

    from aind_session.session import Session

    if pattern is None and modality is None:
        raise InvalidFilterError(
            'download needs --pattern or --modality: --pattern "**" downloads everything.'
        )
    sessions = dict.fromkeys(map(Session, words_of([session_id])))
    if not sessions:
        raise InvalidFilterError("standard input has no session.")
    code = cli.FOUND
    for session in sessions:
        folder = Path(dest, session.id) if len(sessions) > 1 else dest
        paths = session.download(folder, pattern=pattern, modality=modality, overwrite=overwrite)
        for one in paths:
            print(output.printable(str(one)))
        if not paths:
            output.complain("no file matches.", "path", session.id)
            code = cli.NOT_FOUND
    return code
