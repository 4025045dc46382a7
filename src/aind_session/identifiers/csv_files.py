"""CSV files with one session per line."""

from __future__ import annotations

import csv
import logging
from typing import NamedTuple

from aind_session.errors import InvalidContentError
from aind_session.identifiers.ids import find_session_id

logger = logging.getLogger("aind_session")


class Cell(NamedTuple):
    """A cell that should have a session ID; `advice` is how to skip such cells if it has none."""

    text: str
    where: str
    advice: str


def read_csv(path: str, column: str | None) -> list[Cell]:
    """Read the cells of a column, by default the first one with session IDs; blank ones not."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(row)]
    index, first = _find_column(lines, column, path)
    cells = [(n, row[index]) for n, row in lines[first:] if row[index:] and row[index].strip()]
    blank = len(lines) - first - len(cells)
    if blank:
        some = "1 line" if blank == 1 else f"{blank} lines"
        logger.info("%s of %s skipped: no value in the column with session IDs", some, path)
    rest = f")[{lines[0][1][index]!r}].dropna())" if first else f", header=None)[{index}].dropna())"
    advice = f"\nIn pandas, skip such lines with Sessions(pandas.read_csv({path!r}, na_values="
    return [Cell(cell, f"line {n} of {path}", f"{advice}[{cell!r}]{rest}") for n, cell in cells]


def _find_column(
    lines: list[tuple[int, list[str]]], column: str | None, path: str
) -> tuple[int, int]:
    """Return the index of the column with session IDs, and of the first line of values."""
    if not lines:
        raise InvalidContentError(f"{path} is empty")
    header = [name.strip() for name in lines[0][1]]
    if column is not None:
        if column not in header:
            raise InvalidContentError(f"{path} has no column {column!r}: {', '.join(header)}")
        return header.index(column), 1
    for number, (_, row) in enumerate(lines):
        for index, value in enumerate(row):
            if find_session_id(value) is not None:
                return index, min(number, 1)
    raise InvalidContentError(f"{path} has no column with session IDs; name it with `column`")
