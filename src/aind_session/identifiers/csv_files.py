"""CSV files with one session per line."""

from __future__ import annotations

import csv
import logging
from typing import NamedTuple

from aind_session.errors import InvalidContentError, in_words
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
        reader = csv.reader(file)
        # Not the number of the row: a cell can have line breaks.
        lines = [(reader.line_num, row) for row in reader if any(row)]
    index, first = _find_column(lines, column, path)
    rest = f")[{lines[0][1][index]!r}].dropna())" if first else f", header=None)[{index}].dropna())"
    advice = f"\nIn pandas, skip such lines with Sessions(pandas.read_csv({path!r}, na_values="
    cells, blank = [], []
    for number, row in lines[first:]:
        text = row[index] if row[index:] else ""
        cell = Cell(text, f"line {number} of {path}", f"{advice}[{text!r}]{rest}")
        if text.strip():
            cells.append(cell)
        elif other := next((value for value in row if find_session_id(value) is not None), None):
            problem = f"has no value in the column with session IDs, but {other!r} in another"
            raise InvalidContentError(f"{cell.where} {problem}{cell.advice}")
        else:
            blank.append(number)
    if blank:
        reason = "no value in the column with session IDs"
        logger.warning("%s of %s skipped: %s", _in_words(blank), path, reason)
    return cells


def _in_words(numbers: list[int]) -> str:
    """Return the numbers of lines in words: if there are many, the first ones."""
    some = [str(number) for number in numbers]
    if len(some) > 6:
        some[5:] = [f"{len(some) - 5} others"]
    return f"{'Line' if len(some) == 1 else 'Lines'} {in_words(some)}"


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
