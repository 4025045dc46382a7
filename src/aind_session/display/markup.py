"""HTML of sessions, subjects and data assets: escaped, self-contained, made of what is known."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from aind_session.display import known
from aind_session.display.style import STYLE

if TYPE_CHECKING:
    from aind_session.session import Session
    from aind_session.subject import Subject

#: Rows that a table shows; the first and the last of more.
SHOWN = 20


def session_html(session: Session) -> str:
    """Make the HTML of a session, of what is known by now.

    Parameters
    ----------
    session
        The session.

    Returns
    -------
    str
        Self-contained HTML; nothing is asked of any service.

    Examples
    --------
    >>> import aind_session
    >>> html = session_html(aind_session.Session("ecephys_676909_2023-12-13_13-43-40"))
    >>> "676909" in html
    True
    """
    found = known.of_session(session._id)
    line = found.line
    facts: dict[str, object] = {
        "platform": session._id.platform,
        "subject": session._id.subject_id,
        "time": f"{session._id.date} {session._id.time}",
    }
    if line is not None:
        facts["platform"] = facts["platform"] or _platform(line)
        facts["project"] = line.told("project")
        facts["genotype"] = line.told_of_subject("genotype")
        facts["raw asset"] = line.raw_asset.id if line.raw_asset else None
        facts["folder"] = line.folder
        facts["modalities"] = ", ".join(found.modalities or line.told("modalities") or ())
    body = _facts({name: value for name, value in facts.items() if value})
    if found.assets:
        body += _details(_count(len(found.assets), "data asset"), _assets_table(found.assets))
    unasked = [] if found.assets is not None else ["data assets"]
    unasked += [] if found.has_rows else ["records"]
    if unasked:
        body += _hint(f"Not looked up yet: {', '.join(unasked)}.")
    return _card("Session", session.id, body)


def _platform(line: Any) -> str | None:
    from aind_session.table import COLUMNS

    told: str | None = COLUMNS["platform"].read(line)
    return told


def subject_html(subject: Subject) -> str:
    """Make the HTML of a subject, of what is known by now.

    Parameters
    ----------
    subject
        The subject.

    Returns
    -------
    str
        Self-contained HTML; nothing is asked of any service.
    """
    found = known.of_subject(subject.id)
    if found is None:
        return _card("Subject", subject.id, _hint("Not looked up yet: sessions, data assets."))
    from aind_session.lookup.belonging import session_of

    per_session = Counter(s.id if (s := session_of(a.name)) else "" for a in found)
    unnamed = per_session.pop("", 0)
    by_date = sorted(per_session.items(), key=lambda pair: (pair[0][-19:], pair[0]))
    table = _table(["session", "data assets"], by_date, ["aind-name", "aind-number"])
    body = _details(_count(len(by_date), "session"), table, is_open=True) if by_date else ""
    body += _hint(
        f"{_count(len(found), 'data asset')}"
        + (f", {unnamed} without a session in the name." if unnamed else ".")
    )
    return _card("Subject", subject.id, body)


def sessions_html(sessions: Sequence[Session]) -> str:
    """Make the HTML of sessions: a table, of what is known by now.

    Parameters
    ----------
    sessions
        The sessions; of more than 20 the first and the last are shown.

    Returns
    -------
    str
        Self-contained HTML; nothing is asked of any service.
    """
    subjects = len({session._id.subject_id for session in sessions})
    title = _count(len(sessions), "session")
    if not sessions:
        return _card("Sessions", "none", "")
    rows = [_session_row(session) for session in _ends(sessions)]
    # A column that nobody has anything in tells nothing.
    names = ["session", "platform", "project", "modalities", "data assets"]
    kept = [i for i in range(len(names)) if any(row[i] not in (None, "") for row in rows)]
    table = _table(
        [names[i] for i in kept],
        [[row[i] for i in kept] for row in rows],
        [("aind-name", "", "", "", "aind-number")[i] for i in kept],
        len(sessions),
    )
    return _card("Sessions", f"{title} of {_count(subjects, 'subject')}", table)


def _session_row(session: Session) -> list[object]:
    found = known.of_session(session._id)
    line = found.line
    return [
        session.id,
        session._id.platform or (_platform(line) if line else None),
        line.told("project") if line else None,
        ", ".join(line.told("modalities") or ()) if line else None,
        len(found.assets) if found.assets is not None else None,
    ]


def assets_html(assets: Iterable[Any]) -> str:
    """Make the HTML of data assets: a table with each one's label, name, ID and creation.

    Parameters
    ----------
    assets
        Data assets, as `session.data_assets` gives them.

    Returns
    -------
    str
        Self-contained HTML; nothing is asked of any service.

    Examples
    --------
    >>> import aind_session
    >>> session = aind_session.Session("ecephys_676909_2023-12-13_13-43-40")
    >>> "16d46411-540a-4122-b47f-8cb2a15d593a" in assets_html(session.data_assets)
    True
    """
    every = list(assets)
    body = _assets_table(every) if every else ""
    return _card("Data assets", _count(len(every), "data asset"), body)


def _assets_table(assets: Sequence[Any]) -> str:
    from aind_session.lookup.belonging import is_raw, named

    rows = [
        (
            "raw" if is_raw(asset) else named(asset.name).label or "",
            asset.name,
            asset.id,
            _day(asset.created),
        )
        for asset in _ends(assets)
    ]
    classes = ["", "aind-name", "aind-name", ""]
    return _table(["label", "name", "ID", "created"], rows, classes, len(assets))


def _day(created: float) -> str:
    try:
        at = datetime.datetime.fromtimestamp(created, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        # Milliseconds, or nonsense: shown as it is.
        return str(created)[:20]
    return at.date().isoformat()


# -- pieces ----------------------------------------------------------------------------------------


def _ends(things: Sequence[Any]) -> list[Any]:
    if len(things) <= SHOWN:
        return list(things)
    return [*things[: SHOWN // 2], *things[-SHOWN // 2 :]]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _card(kind: str, title: str, body: str) -> str:
    head = (
        f'<div><span class="aind-kind">{escape(kind)}</span>'
        f'<b class="aind-name">{escape(title)}</b></div>'
    )
    return f'<div class="aind-session">{STYLE}{head}{body}</div>'


def _facts(facts: dict[str, object]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="aind-name">{escape(str(value))}</td>'
        "</tr>"
        for name, value in facts.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _table(
    names: Sequence[str],
    rows: Sequence[Sequence[object]],
    classes: Sequence[str],
    total: int | None = None,
) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    lines = []
    for number, row in enumerate(rows):
        if total is not None and total > len(rows) and number == len(rows) // 2:
            left_out = f"... {total - len(rows)} more ..."
            lines.append(f'<tr><td colspan="{len(names)}">{left_out}</td></tr>')
        cells = "".join(
            f'<td class="{cls}">{escape("" if value is None else str(value))}</td>'
            for value, cls in zip(row, classes, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _details(title: str, inside: str, is_open: bool = False) -> str:
    state = " open" if is_open else ""
    return f"<details{state}><summary>{escape(title)}</summary>{inside}</details>"


def _hint(text: str) -> str:
    return f'<div class="aind-hint">{escape(text)}</div>'
