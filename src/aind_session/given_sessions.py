"""Reading sessions from values that users have: IDs, paths, records, lists of them, CSV files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from typing import Any

from aind_session.errors import InvalidContentError, InvalidIdentifierError
from aind_session.identifiers import find_session_id
from aind_session.session import Session


def read(sessions: object) -> Iterable[Session]:
    """Read one session or several, each from anything that has a session ID."""
    is_one = isinstance(sessions, Session | str | os.PathLike | Mapping)
    if is_one or not isinstance(sessions, Iterable):
        return (_session(sessions, "the value"),)
    return [
        item if isinstance(item, Session) else _session(item, f"item {position}")
        for position, item in enumerate(sessions)
    ]


def _session(value: Any, where: str) -> Session:
    if isinstance(value, Session):
        return value
    try:
        return Session(value)
    except ValueError as error:
        raise InvalidIdentifierError(
            f"{where} ({value!r:.80}) has no session ID: {error}"
        ) from error


def read_csv(path: str, column: str | None) -> list[Session]:
    """Read one session per line of a CSV file; see `Sessions.from_csv`."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        lines = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(row)]
    index, first = _column(lines, column, path)
    return [
        _session(row[index] if index < len(row) else "", f"line {number} of {path}")
        for number, row in lines[first:]
    ]


def _column(lines: list[tuple[int, list[str]]], column: str | None, path: str) -> tuple[int, int]:
    """Return the index of the column with session IDs, and of the first line of values."""
    if not lines:
        raise InvalidContentError(f"{path} is empty")
    header = [name.strip() for name in lines[0][1]]
    if column is not None:
        if column not in header:
            raise InvalidContentError(f"{path} has no column {column!r}: {', '.join(header)}")
        return header.index(column), 1
    for first, (_, row) in enumerate(lines[:2]):
        for index, value in enumerate(row):
            if find_session_id(value) is not None:
                return index, first
    raise InvalidContentError(f"{path} has no column with session IDs; name it with `column`")
