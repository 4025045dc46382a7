"""Output: colored in a terminal, plain and complete in a pipe, JSON and CSV for programs."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from aind_session.progress import is_wanted

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Write CSV, with a line of column names.")]

#: How this command was called, for suggested commands.
command = ["aind-session"]


def is_terminal() -> bool:
    """Return True if the output is a terminal."""
    return sys.stdout.isatty()


def width() -> int:
    """Return the number of columns of the terminal."""
    return max(20, shutil.get_terminal_size().columns)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show in a terminal that requests are under way."""
    if not (is_wanted() and is_terminal() and sys.stderr.isatty()):
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} ..."):
        yield


def write_json(value: object) -> None:
    """Write a value as JSON; control and formatting characters only as JSON escapes."""
    text = json.dumps(value, indent=1, ensure_ascii=False, default=_plain)
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    safe = (
        c if c == "\n" or (c.isprintable() and (is_utf8 or c.isascii())) else json.dumps(c)[1:-1]
        for c in text
    )
    print("".join(safe))


def _plain(value: object) -> object:
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return str(value)


def write_csv(rows: Sequence[Mapping[str, Any]], names: Sequence[str], header: bool = True) -> None:
    """Write rows as CSV; several values in a cell are separated by semicolons."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if header:
        writer.writerow(names)
    writer.writerows([_in_csv(row.get(name)) for name in names] for row in rows)


def _in_csv(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ";".join(_in_csv(one) for one in value)
    # Escaped here, too: the csv module leaves a lone carriage return, which ends a line for many.
    return "" if value is None else printable(str(_plain(value)))


def in_a_cell(value: object) -> str:
    """Return a value as text for people.

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
    r"""Escape what would move a terminal's cursor or change its colors.

    Examples
    --------
    >>> print(printable("a name\nwith \x1b[31mred"))
    a name\nwith \x1b[31mred
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write_line(text: str = "", **style: Any) -> None:
    """Write a line, in a terminal with a style as `typer.style` takes it."""
    text = printable(text)
    colored = bool(style) and is_terminal() and not _no_color()
    print(typer.style(text, **style) if colored else text)


def _no_color() -> bool:
    return bool(os.environ.get("NO_COLOR"))


def write_facts(title: str, facts: Mapping[str, object]) -> None:
    """Write a title, and one line per name and value; wrapped at spaces in a terminal."""
    write_line(title, bold=True)
    indent = max(map(len, facts), default=0) + 4
    for name, value in facts.items():
        lines = _wrapped(in_a_cell(value), width() - indent) or [""]
        write_line(f"  {name:<{indent - 2}}{lines[0]}".rstrip())
        for line in lines[1:]:
            write_line(" " * indent + line)


def _wrapped(text: str, columns: int) -> list[str]:
    if not is_terminal():
        return [text]
    # A path or an ID is never broken: the terminal shows what is longer than a line.
    return textwrap.wrap(text, max(columns, 20), break_long_words=False, break_on_hyphens=False)


def write_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table; in a terminal that is too narrow for it, one block of lines per row."""
    cells = [[in_a_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in (names, *cells)) for i in range(len(names))]
    if is_terminal() and sum(widths) + 2 * (len(names) - 1) > width():
        for row in cells:
            write_facts(row[0], {n: v for n, v in zip(names[1:], row[1:], strict=True) if v})
        return
    for number, line in enumerate((names, *cells)):
        text = "  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)).rstrip()
        write_line(text, **({"fg": "cyan"} if number == 0 else {}))


def write_rows(
    rows: Sequence[Mapping[str, Any]],
    as_json: bool,
    as_csv: bool,
    names: Sequence[str] = (),
) -> None:
    """Write rows as JSON, as CSV or as a table; `names` are the columns, by default all."""
    columns = list(names or (rows[0] if rows else ()))
    if as_json:
        write_json(rows)
    elif as_csv:
        write_csv(rows, columns)
    elif rows:
        write_table(columns, [[row[name] for name in columns] for row in rows])


_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


def write_checks(checks: Sequence[Any]) -> None:
    """Write the results of checks: state, name, text, and the next step if there is one."""
    names = max(len(check.check) for check in checks)
    indent = 6 + names + 2
    for check in checks:
        lines = _wrapped(printable(check.text), width() - indent) or [""]
        state = f"{check.state:<4}"
        if is_terminal() and not _no_color():
            state = typer.style(state, fg=_COLORS[check.state])
        print(f"{state}  {check.check:<{names}}  {lines[0]}".rstrip())
        for line in lines[1:]:
            print(" " * indent + line)
        if check.next:
            print(f"{'':<{indent}}next: {printable(check.next)}")


def note(text: str) -> None:
    """Write a note beside the answer."""
    print(f"note: {printable(text)}", file=sys.stderr)


def complain(text: str, *advice: str) -> None:
    """Print why a command failed, and the command to try next."""
    print(f"aind-session: {printable(text)}", file=sys.stderr)
    print(f"Try: {printable(shlex.join([*command, *advice]))}", file=sys.stderr)
