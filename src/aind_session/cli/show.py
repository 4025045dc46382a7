"""`aind-session show` and `explain`: what is found for a session or a subject, and how."""

from __future__ import annotations

import datetime
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aind_session.cli import app as cli
from aind_session.cli import output
from aind_session.cli.output import AsCsv, AsJson
from aind_session.cli.sessions import SessionArgument, words_of
from aind_session.errors import (
    CredentialsError,
    InvalidIdentifierError,
    NotFoundError,
    ServiceError,
    first_line,
)

if TYPE_CHECKING:
    from codeocean.data_asset import DataAsset

    from aind_session.session import Session
    from aind_session.subject import Subject

logger = logging.getLogger("aind_session")

#: Any of these shows that the session exists.
_EXISTENCE: tuple[str, ...] = (
    "raw_data_asset",
    "raw_data_dir",
    "metadata",
    "data_assets",
    "is_uploaded",
)


def show(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="SESSION",
            help="Session IDs or anything with one in it (a path, an asset's name), or subject "
            "IDs; - reads them from standard input.",
            show_default=False,
        ),
    ],
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> int:
    """Show what is found for sessions or subjects.

    For a session: platform, subject, time, whether it is uploaded, raw asset, folder, modalities,
    project, genotype, sorting, assets. For a subject: its sessions and assets.

    If a service fails, or no Code Ocean token is set, the answers of the other services are
    shown, with a line on what is missing and why.
    """
    words = words_of(what)
    code = cli.FOUND
    values: list[dict[str, Any]] = []
    for number, word in enumerate(words):
        if number and not (as_json or as_csv):
            output.write_line()
        try:
            value = _show_one(word, as_json, as_csv, is_first=not values)
        except (NotFoundError, ServiceError) as error:
            if len(words) == 1:
                raise
            output.note(f"{word}: {first_line(error)}")
            code = cli.NOT_FOUND if isinstance(error, NotFoundError) else cli.UNKNOWN
            continue
        values.append(value)
    if as_json:
        output.write_json(values[0] if len(words) == 1 else values)
    return code


def _show_one(word: str, as_json: bool, as_csv: bool, is_first: bool) -> dict[str, Any]:
    item = _session_or_subject(word)
    with warnings.catch_warnings(record=True) as caught, output.waiting(f"looking up {item.id}"):
        warnings.simplefilter("always")
        if hasattr(item, "subject_id"):
            facts_of, title, exists = OF_SESSION, item.id, _EXISTENCE
            advice = ("list", item.subject_id)
        else:
            facts_of, title, exists = OF_SUBJECT, f"subject {item.id}", tuple(OF_SUBJECT)
            advice = ("list", "--help")
        found = look_up(item, facts_of)
        gaps = cli.partial(caught)
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if not any(_is_something(found.values.get(name)) for name in exists):
        _raise_nothing(found, title, advice)
    titles = {name: fact_title for name, (fact_title, _) in facts_of.items()}
    _write(item.id, titles, found, gaps, (as_json, as_csv, is_first))
    missing = {why: some for (_, why), some in gaps.items()}
    return {"id": item.id, **found.values, "unknown": found.unknown, "may_be_missing": missing}


def _session_or_subject(word: str) -> Any:
    from aind_session.identifiers import find_session_id, parse_session_id, parse_subject_id
    from aind_session.session import Session
    from aind_session.subject import Subject

    if find_session_id(word) is not None:
        return Session(word)
    try:
        # Not Subject(word), which takes the subject out of any text.
        return Subject(parse_subject_id(word))
    except InvalidIdentifierError as no_subject:
        # A subject with a day, or an asset ID, is reported as such; else it is not a subject.
        try:
            parse_session_id(word)
        except InvalidIdentifierError as no_session:
            is_vague = str(no_session).startswith("No session ID")
            raise (no_subject if is_vague else no_session) from None
        raise


# -- looking up ------------------------------------------------------------------------------------


@dataclass
class Facts:
    """What was found, and what was not.

    Attributes
    ----------
    values : dict
        Value by name; None or empty if there is none.
    absent, unknown : dict
        By name, in one line: why there is none; why it could not be looked up.
    """

    values: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def by_reason(self) -> dict[str, list[str]]:
        """Return the names of what could not be looked up, by reason."""
        reasons: dict[str, list[str]] = {}
        for name, reason in self.unknown.items():
            reasons.setdefault(reason, []).append(name)
        return reasons


def look_up(item: Any, facts_of: FactsOf) -> Facts:
    """Look up several facts concurrently."""
    from aind_session.threads import outcomes

    cli.import_services()
    calls = (partial(get, item) for _, get in facts_of.values())
    facts = Facts()
    for name, outcome in zip(facts_of, outcomes(*calls), strict=True):
        error = outcome.error
        if isinstance(error, ServiceError | CredentialsError):
            facts.unknown[name] = first_line(error)
        elif isinstance(error, NotFoundError):
            facts.values[name] = None
            facts.absent[name] = first_line(error)
        elif error is not None:
            # A fault in one lookup does not hide the others.
            logger.debug("Looking up %s failed", name, exc_info=error)
            reason = f"{type(error).__name__}: {first_line(error)} (--debug shows more)"
            facts.unknown[name] = reason
        else:
            facts.values[name] = outcome.unwrap()
    return facts


def one_asset(asset: DataAsset) -> dict[str, Any]:
    """Describe a data asset."""
    try:
        moment = datetime.datetime.fromtimestamp(asset.created, datetime.timezone.utc)
        created = moment.isoformat()
    except (ValueError, OverflowError, OSError):
        # Milliseconds, or out of range: shown as it is.
        created = str(asset.created)[:20]
    return {"id": asset.id, "name": asset.name, "created": created}


def sorting(session: Session) -> dict[str, Any]:
    """Describe the session's spike sorting; sends requests only if there are sorted assets."""
    assets = session.ecephys.sorted_data_assets
    return {
        "is_sorted": bool(assets) and session.ecephys.is_sorted,
        "count": len(assets),
        "newest": one_asset(assets[-1]) if assets else None,
    }


def by_label(assets: Iterable[DataAsset]) -> dict[str, Any]:
    """Count data assets by label, with the newest of each; they come ascending by creation."""
    from aind_session.identifiers import split_asset_name
    from aind_session.lookup.rules import is_raw

    counts: Counter[str] = Counter()
    newest: dict[str, DataAsset] = {}
    for asset in assets:
        label = "raw" if is_raw(asset) else split_asset_name(asset.name).label or "other"
        counts[label] += 1
        newest[label] = asset
    labels = [
        {"label": label, "count": counts[label], "newest": one_asset(asset)}
        for label, asset in sorted(newest.items(), key=lambda p: (p[0] != "raw", p[0].casefold()))
    ]
    return {"count": counts.total(), "labels": labels}


def sessions_of(subject: Subject) -> dict[str, Any]:
    """Describe a subject's sessions, one row each, from what the search returned."""
    from aind_session.table import as_rows, table

    ids = [session._id for session in subject.sessions]
    return {
        "count": len(ids),
        "rows": as_rows(table(ids, ["id", "platform", "uploaded", "n_assets"])),
    }


#: By the name in JSON: the title for people, and the lookup.
FactsOf = Mapping[str, tuple[str, Callable[[Any], Any]]]
OF_SESSION: FactsOf = {
    "platform": ("platform", lambda session: session.platform),
    "subject_id": ("subject", lambda session: session.subject_id),
    "dt": ("time", lambda session: session.dt.isoformat()),
    "is_uploaded": ("uploaded", lambda session: session.is_uploaded),
    "raw_data_asset": ("raw asset", lambda session: one_asset(session.raw_data_asset)),
    "raw_data_dir": ("folder", lambda session: session.raw_data_dir.as_posix()),
    "modalities": ("modalities", lambda session: list(session.modalities)),
    "project": ("project", lambda session: session.docdb.project),
    "genotype": ("genotype", lambda session: session.docdb.genotype),
    "metadata": (
        "metadata",
        lambda session: [schema for schema in ("v1", "v2") if getattr(session.docdb, schema)],
    ),
    "sorting": ("sorted", sorting),
    "data_assets": ("assets", lambda session: by_label(session.data_assets)),
}
OF_SUBJECT: FactsOf = {
    "genotype": ("genotype", lambda subject: subject.docdb.genotype),
    "sex": ("sex", lambda subject: subject.docdb.sex),
    "date_of_birth": ("date of birth", lambda subject: subject.docdb.date_of_birth),
    "sessions": ("sessions", sessions_of),
    "data_assets": ("assets", lambda subject: by_label(subject.data_assets)),
}


# -- writing ---------------------------------------------------------------------------------------


def _is_something(value: Any) -> bool:
    return bool(value.get("count", True)) if isinstance(value, dict) else bool(value)


def _raise_nothing(found: Facts, title: str, advice: tuple[str, ...]) -> None:
    if found.unknown:
        reasons = "; ".join(reason.rstrip(".") for reason in found.by_reason())
        raise ServiceError(f"Nothing could be looked up for {title}: {reasons}")
    reason = found.absent.get("raw_data_asset") or f"Nothing was found for {title}."
    raise NotFoundError(reason, advice=advice)


def _write(
    item_id: str,
    titles: dict[str, str],
    found: Facts,
    partly: dict[tuple[str, str], list[str]],
    form: tuple[bool, bool, bool],
) -> None:
    as_json, as_csv, is_first = form
    if as_csv:
        row = {name: _brief(found.values.get(name)) for name in titles}
        names = ["id", *titles]
        # With several sessions the column names are written once.
        output.write_csv([{"id": item_id, **row}], names, header=is_first)
    elif not as_json:
        facts = {title: _text(item_id, name, found) for name, title in titles.items()}
        output.write_facts(item_id, facts)
        for name in ("sessions", "data_assets"):
            _write_table(name, found.values.get(name))
    for line in _gaps(titles, found, partly):
        print(output.printable(line), file=sys.stderr if as_json or as_csv else sys.stdout)


def _brief(value: Any) -> Any:
    """Return a fact in one cell, for programs."""
    if isinstance(value, dict):
        return value.get("is_sorted", value.get("id", value.get("count")))
    return value


def _text(item_id: str, name: str, found: Facts) -> object:
    """Return a fact in one line, for people."""
    from aind_session.records.modalities import modality_abbreviation

    if name in found.unknown:
        return "unknown"
    value = found.values.get(name)
    if value is None or value == []:
        return "none"
    if name == "dt":
        return value.replace("T", " ")
    if name == "sorting":
        return _sorting_text(value)
    if name == "modalities":
        return sorted(set(map(modality_abbreviation, value)))
    if name == "metadata":
        return ", ".join(f"DocDB {schema}" for schema in value)
    if name == "raw_data_asset":
        # Most are named like their session.
        return value["id"] if value["name"] == item_id else f"{value['id']} ({value['name']})"
    return value["count"] if isinstance(value, dict) else value


def _sorting_text(value: dict[str, Any]) -> str:
    if not value["count"]:
        return "no"
    newest = f"the newest of {value['count']} is {value['newest']['name']}"
    return f"yes, {newest}" if value["is_sorted"] else f"no, sorting failed; {newest}"


def _write_table(name: str, value: Any) -> None:
    if name == "data_assets" and value and value["labels"]:
        output.write_line()
        rows = [
            (one["label"], one["count"], one["newest"]["name"], one["newest"]["created"][:10])
            for one in value["labels"]
        ]
        output.write_table(["label", "assets", "newest", "created"], rows)
    if name == "sessions" and value and value["rows"]:
        output.write_line()
        output.write_table(list(value["rows"][0]), [list(row.values()) for row in value["rows"]])


def _gaps(
    titles: dict[str, str], found: Facts, partly: dict[tuple[str, str], list[str]]
) -> list[str]:
    """Return one line per reason, with everything that is unknown or may be missing for it."""
    lines = []
    by_reason = {why: (service, missing) for (service, why), missing in partly.items()}
    for why, names in found.by_reason().items():
        unknown = ", ".join(titles.get(name, name) for name in names)
        _, missing = by_reason.pop(why, ("", []))
        maybe = f"; may be missing: {', '.join(missing)}" if missing else ""
        lines.append(f"Unknown: {unknown}{maybe}. {why}")
    for why, (service, missing) in by_reason.items():
        lines.append(f"May be missing: {', '.join(missing)}. {service} failed: {why}")
    return lines


# -- explain ---------------------------------------------------------------------------------------


def explain(session_id: SessionArgument, as_json: AsJson = False) -> int:
    """Explain how each fact about a session was found, or not found.

    Lists every request to a service, in order, with the answer and the time that it took. Send
    this along when you ask for help: it contains no secret.
    """
    from aind_session import trace
    from aind_session.lookup import explain as explain_lookups
    from aind_session.session import Session

    session = Session(session_id)
    with output.waiting(f"looking up {session.id}"):
        text = explain_lookups.of_session(session._id)
    if as_json:
        output.write_json(
            {"id": session.id, "lookups": [_as_json(one) for one in trace.kept(session.id)]}
        )
        return cli.FOUND
    for line in text.splitlines():
        output.write_line(line, **({} if line.startswith(" ") else {"bold": True}))
    return cli.FOUND


def _as_json(one: Any) -> dict[str, Any]:
    return {
        "what": one.what,
        "steps": [
            {
                "service": request.service or None,
                "question": request.title,
                "answer": request.answer,
                "seconds": round(request.seconds, 4),
                "known_already": request.cached,
            }
            for request in one.requests
        ],
    }
