"""What `show` writes: facts, tables, and a line for each reason why something is not known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aind_session.cli import notes, output
from aind_session.cli.exits import FOUND
from aind_session.cli.facts import Facts
from aind_session.errors import NotFoundError, ServiceError

if TYPE_CHECKING:
    from aind_session.session import Session
    from aind_session.subject import Subject

#: What each fact is called, in the order in which they are told.
OF_SESSION = {
    "platform": "platform",
    "subject_id": "subject",
    "dt": "time",
    "is_uploaded": "uploaded",
    "raw_data_asset": "raw asset",
    "raw_data_dir": "folder",
    "modalities": "modalities",
    "project": "project",
    "genotype": "genotype",
    "metadata": "metadata",
    "sorting": "sorted",
    "data_assets": "assets",
}
OF_SUBJECT = {
    "genotype": "genotype",
    "sex": "sex",
    "date_of_birth": "date of birth",
    "sessions": "sessions",
    "data_assets": "assets",
}
#: Any of these shows that some service knows the session.
_EVIDENCE = ("raw_data_asset", "raw_data_dir", "metadata", "data_assets", "is_uploaded")


def session(session: Session, found: Facts, as_json: bool, as_csv: bool) -> int:
    """Write the facts of a session.

    Raises
    ------
    NotFoundError, ServiceError
        Nothing is known of it; or nothing could be found out.
    """
    if not any(_something(found.known.get(name)) for name in _EVIDENCE):
        _raise_nothing(found, session.id, ("list", session.subject_id))
    _write(session.id, OF_SESSION, found, as_json, as_csv)
    return FOUND


def subject(subject: Subject, found: Facts, as_json: bool, as_csv: bool) -> int:
    """Write the facts of a subject; raises as `session` does."""
    if not any(_something(found.known.get(name)) for name in OF_SUBJECT):
        _raise_nothing(found, f"subject {subject.id}", ("list", "--help"))
    _write(subject.id, OF_SUBJECT, found, as_json, as_csv)
    return FOUND


def _something(value: Any) -> bool:
    return bool(value.get("count", True)) if isinstance(value, dict) else bool(value)


def _raise_nothing(found: Facts, what: str, advice: tuple[str, ...]) -> None:
    if found.unknown:
        reasons = "; ".join(reason.rstrip(".") for reason in found.reasons())
        raise ServiceError(f"Nothing could be found out about {what}: {reasons}")
    why = found.absent.get("raw_data_asset") or f"Nothing is known of {what}."
    raise NotFoundError(why, advice=advice)


def _write(title: str, words: dict[str, str], found: Facts, as_json: bool, as_csv: bool) -> None:
    partial = notes.partial()
    if as_json:
        gaps = {why: missing for (_, why), missing in partial.items()}
        value = {"id": title, **found.known, "unknown": found.unknown, "may_be_missing": gaps}
        output.write_json(value)
    elif as_csv:
        row = {name: _brief(name, found.known.get(name)) for name in words}
        output.write_csv([{"id": title, **row}], ["id", *words])
    else:
        output.write_facts(title, {word: _told(title, name, found) for name, word in words.items()})
        for name in ("sessions", "data_assets"):
            _write_table(name, found.known.get(name))
    to = sys.stderr if as_json or as_csv else sys.stdout
    for line in _gaps(words, found, partial):
        print(output.printable(line), file=to)


def _brief(name: str, value: Any) -> Any:
    """Give a fact in one cell, for programs."""
    if isinstance(value, dict):
        return value.get("is_sorted", value.get("id", value.get("count")))
    return value


def _told(title: str, name: str, found: Facts) -> object:
    """Give a fact in one line, for people."""
    if name in found.unknown:
        return "not known"
    value = found.known.get(name)
    if name in _IN_WORDS and value is not None:
        return _IN_WORDS[name](value)
    if name == "raw_data_asset" and value is not None:
        # Most are named as their session is.
        return value["id"] if value["name"] == title else f"{value['id']} ({value['name']})"
    return "none" if value is None or value == [] else value


def _sorted(value: dict[str, Any]) -> str:
    if not value["count"]:
        return "no"
    newest = f"the newest of {value['count']} is {value['newest']['name']}"
    return f"yes, {newest}" if value["is_sorted"] else f"no, sorting failed; {newest}"


_IN_WORDS: dict[str, Callable[[Any], object]] = {
    "dt": lambda value: value.replace("T", " "),
    "sorting": _sorted,
    "data_assets": lambda value: value["count"],
    "sessions": lambda value: value["count"],
    "metadata": lambda value: ", ".join(f"DocDB {name}" for name in value) or "none",
}


def _write_table(name: str, value: Any) -> None:
    if name == "data_assets" and value and value["labels"]:
        output.write_line()
        output.write_table(
            ["label", "assets", "newest", "created"],
            [
                (one["label"], one["count"], one["newest"]["name"], one["newest"]["created"][:10])
                for one in value["labels"]
            ],
        )
    if name == "sessions" and value and value["rows"]:
        output.write_line()
        names = list(value["rows"][0])
        output.write_table(names, [list(row.values()) for row in value["rows"]])


def _gaps(
    words: dict[str, str], found: Facts, partial: dict[tuple[str, str], list[str]]
) -> list[str]:
    """Tell each reason once, with everything that is not known or may be missing for it."""
    lines = []
    by_why = {why: (service, missing) for (service, why), missing in partial.items()}
    for why, names in found.reasons().items():
        unknown = ", ".join(words.get(name, name) for name in names)
        service, missing = by_why.pop(why, ("", []))
        maybe = f"; may be missing: {', '.join(missing)}" if missing else ""
        lines.append(f"Not known: {unknown}{maybe}. {why}")
    for why, (service, missing) in by_why.items():
        lines.append(f"May be missing: {', '.join(missing)}. {service} did not answer: {why}")
    return lines
