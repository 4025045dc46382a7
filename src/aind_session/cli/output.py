"""Output: rich in a terminal, plain and whole in a pipe, JSON and CSV for programs."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from aind_session.errors import InvalidFilterError
from aind_session.progress import is_wanted

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Write CSV, with a line of names.")]


def checked(as_json: bool, as_csv: bool) -> None:
    """Refuse two formats at once."""
    if as_json and as_csv:
        raise InvalidFilterError("--json and --csv exclude each other.")


def is_terminal() -> bool:
    """Tell whether people look at the output."""
    return sys.stdout.isatty()


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show in a terminal that something is under way."""
    if not (is_wanted() and is_terminal() and sys.stderr.isatty()):
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield


def write_json(value: object) -> None:
    """Write a value as JSON."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=1, ensure_ascii=not is_utf8, default=_plain))


def _plain(value: object) -> object:
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return str(value)


def write_csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Write rows as CSV; several values in a cell are separated by semicolons."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_in_csv(row.get(name)) for name in names] for row in rows)


def _in_csv(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ";".join(_in_csv(one) for one in value)
    # Spelled out here too: the csv module leaves a lone carriage return, a line's end to many.
    return "" if value is None else printable(str(_plain(value)))


def in_a_cell(value: object) -> str:
    """Put a value in words, for people.

    Examples
    --------
    >>> in_a_cell(True), in_a_cell(None), in_a_cell(("ecephys", "behavior"))
    ('yes', '', 'ecephys, behavior')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, list | tuple):
        return ", ".join(in_a_cell(one) for one in value)
    return printable(str(value))


def printable(text: str) -> str:
    r"""Spell out what would move a terminal's cursor or change its colours: names are people's own.

    Examples
    --------
    >>> print(printable("a name\nwith \x1b[31mred"))
    a name\nwith \x1b[31mred
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write_facts(title: str, facts: Mapping[str, object]) -> None:
    """Write names and values, one a line."""
    cells = {name: in_a_cell(value) for name, value in facts.items()}
    if is_terminal():
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, cell in cells.items():
            table.add_row(name, Text(cell))
        _rich(Text(printable(title), style="bold"), table)
        return
    width = max((len(name) for name in cells), default=0)
    print(printable(title))
    for name, cell in cells.items():
        print(f"{name:<{width}}  {cell}".rstrip())


def write_checks(checks: Sequence[Any]) -> None:
    """Write the checks of `doctor`: state, name, what is told, and below what to do next."""
    if is_terminal():
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for check in checks:
            table.add_row(
                Text(check.state, style=_COLOURS[check.state]),
                Text(check.check),
                Text(printable(check.told), overflow="fold"),
            )
            if check.next:
                table.add_row("", "", Text(printable(check.next), style="italic"))
        _rich(table)
        return
    width = max(len(check.check) for check in checks)
    for check in checks:
        print(f"{check.state:<4}  {check.check:<{width}}  {printable(check.told)}")
        if check.next:
            print(f"{'':<6}{'':<{width}}  next: {printable(check.next)}")


_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def note(text: str) -> None:
    """Tell something beside the answer."""
    print(f"note: {printable(text)}", file=sys.stderr)


#: How this command was called, for commands that are suggested.
command = ["aind-session"]


def complain(text: str, *advice: str) -> None:
    """Tell why there is no answer, and the next command to try, by its words."""
    print(f"aind-session: {printable(text)}", file=sys.stderr)
    print(f"Try: {printable(shlex.join([*command, *advice]))}", file=sys.stderr)


def write_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table."""
    cells = [[in_a_cell(value) for value in row] for row in rows]
    if is_terminal():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console(highlight=False)
        # The longest word of each column: an ID is one word, and is never broken.
        longest = [
            max(
                len(word)
                for text in (name, *(row[i] for row in cells))
                for word in [*text.split(), ""]
            )
            for i, name in enumerate(names)
        ]
        if sum(longest) + 2 * len(names) > console.width:
            _write_blocks(console, names, cells)
            return
        table = Table(box=None, header_style="cyan", padding=(0, 2, 0, 0))
        for name, width in zip(names, longest, strict=True):
            table.add_column(name, overflow="fold", min_width=width)
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        return
    lines = [list(names), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    for line in lines:
        print("  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip())


def _write_blocks(console: Any, names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Write one block per row, in a terminal that is too narrow for a table."""
    from rich.padding import Padding
    from rich.text import Text

    room = console.width - 2
    for first, *rest in cells:
        console.print(Text(first, style="bold"), overflow="fold")
        for name, cell in zip(names[1:], rest, strict=True):
            # A mount and its data asset are broken between the two names.
            words = [w if len(w) <= room else w.replace("=", "=\n") for w in cell.split(" ")]
            if cell:
                text = Text.assemble((f"{name}: ", "cyan"), " ".join(words), overflow="fold")
                console.print(Padding(text, (0, 0, 0, 2)))


def write_line(text: str = "", style: str = "") -> None:
    """Write a line of text."""
    if is_terminal():
        from rich.text import Text

        _rich(Text(printable(text), style=style))
    else:
        print(printable(text))


def _rich(*things: Any) -> None:
    from rich.console import Console

    Console(highlight=False).print(*things, sep="\n")
