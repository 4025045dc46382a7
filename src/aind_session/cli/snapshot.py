"""`aind-session snapshot`: record a catalogue from the live services."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aind_session.cli import output

if TYPE_CHECKING:
    from aind_session.sandbox import Catalogue


def snapshot(
    to: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The folder; an existing snapshot is added to."
        ),
    ],
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUBJECT|SESSION",
            help="IDs of subjects (with everything that belongs to them) and of sessions.",
        ),
    ] = None,
    project: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="All sessions of a project; may be repeated."),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Levels of names to record in each folder  [default: 2 raw, 3 results]",
        ),
    ] = None,
    names: Annotated[
        bool,
        typer.Option(
            "--names", help="Keep people's names; by default they are replaced by placeholders."
        ),
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Record again what the folder has already.")
    ] = False,
) -> int:
    """Record subjects, sessions or a project, to work offline.

    Records their assets, metadata records of schema 1.x and 2.x, sorting computations, the names
    in their folders and the small files that lookups read, as JSON Lines. An interrupted snapshot
    resumes where it stopped. Use it with `aind-session --sandbox FOLDER ...`,
    `aind_session.sandbox(FOLDER)` or AIND_SESSION_SANDBOX=FOLDER.
    """
    from aind_session.sandbox import record

    study = record(
        what or (), project=project or None, to=to, depth=depth, names=names, refresh=refresh
    )
    recorded = study.extra["recorded"]
    counts = {
        "subjects": len(recorded["subjects"]),
        "sessions of other subjects": len(recorded["sessions"]),
        "data assets": len(study.data_assets),
        "records": len(study.docdb_v1) + len(study.docdb_v2),
        "computations": len(study.computations),
        "names of files": len(study.objects),
    }
    output.write_facts(to, {name: number for name, number in counts.items() if number})
    for gap in recorded.get("failures") or ():
        output.write_line(f"not recorded: {gap}")
    for one in _unknown(what or (), study):
        output.note(f"Nothing was found for {one}, and that is what was recorded.")
    return 0


def _unknown(what: Sequence[str], study: Catalogue) -> list[str]:
    """Return the given IDs without a trace in a snapshot: misspelled, mostly."""
    from aind_session.identifiers import find_session_id

    traces = "\n".join(
        [
            *(str(asset.get("name")) for asset in study.data_assets),
            *(str(asset.get("custom_metadata")) for asset in study.data_assets),
            *(str(record.get("name")) for record in (*study.docdb_v1, *study.docdb_v2)),
            *(str(record.get("subject")) for record in (*study.docdb_v1, *study.docdb_v2)),
            *(str(stored["key"]) for stored in study.objects),
        ]
    )
    named = [getattr(find_session_id(one), "id", one) for one in what]
    return [
        one
        for one in named
        if not re.search(rf"(?<![A-Za-z0-9]){re.escape(one)}(?![A-Za-z0-9])", traces)
    ]
