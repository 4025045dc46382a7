"""HTML of sessions, subjects, data assets and tables for notebooks: escaped, self-contained.

It shows what is cached, and never sends a request.
"""

from __future__ import annotations

import datetime
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aind_session.lookup.explain import Cached
    from aind_session.session import Session
    from aind_session.subject import Subject

#: Rows that a table shows; of more, the first and the last, unless only a few would be hidden.
MAX_ROWS = 20
FEW_ROWS = 5

# Every selector begins with the class three times: notebooks style tables with up to two classes
# and an element (JupyterLab aligns every cell to the right), and the stronger selector wins.
# Background and text color are always set by the same rule, so that they come from one theme:
# JupyterLab's and VS Code's own colors if these are defined, else those of the page or the system.
_CLASS = ".aind-session.aind-session.aind-session"
STYLE = (
    """<style>
@{--aind-light-bg:#fff;--aind-light-fg:#1f2328;--aind-dark-bg:#1c1f24;--aind-dark-fg:#dfe3e8;
--aind-bg:var(--jp-layout-color1,var(--vscode-editor-background,var(--aind-light-bg)));
--aind-fg:var(--jp-content-font-color1,var(--vscode-editor-foreground,var(--aind-light-fg)))}
@media (prefers-color-scheme:dark){@{
--aind-bg:var(--jp-layout-color1,var(--vscode-editor-background,var(--aind-dark-bg)));
--aind-fg:var(--jp-content-font-color1,var(--vscode-editor-foreground,var(--aind-dark-fg)))}}
html[data-theme=dark] @,body[data-theme=dark] @,html[theme=dark] @{
--aind-bg:var(--aind-dark-bg);--aind-fg:var(--aind-dark-fg)}
html[data-theme=light] @,body[data-theme=light] @,html[theme=light] @{
--aind-bg:var(--aind-light-bg);--aind-fg:var(--aind-light-fg)}
@{background:var(--aind-bg);color:var(--aind-fg);border:1px solid rgba(128,128,128,.4);
border-radius:6px;padding:.6em .9em;margin:.3em 0;display:inline-block;max-width:100%;
overflow-x:auto;font-size:13px;line-height:1.45;text-align:left;box-sizing:border-box}
@ .aind-kind{opacity:.7;margin-right:.5em}
@ .aind-hint{opacity:.7;margin-top:.4em}
@ a{color:inherit;text-decoration:underline}
@ table{border-collapse:collapse;margin:.4em 0 0;border:0;font-size:inherit;
color:inherit;background:none;width:auto;display:table;table-layout:auto}
@ th,@ td{text-align:left;vertical-align:baseline;padding:.12em .9em .12em 0;border:0;
background:none;color:inherit;font-size:inherit;white-space:normal;max-width:none}
@ th{font-weight:600;opacity:.75}
@ thead th{border-bottom:1px solid rgba(128,128,128,.4)}
@ tr,@ tr:hover,@ tr:nth-child(even){background:none}
@ .aind-name{font-family:var(--jp-code-font-family,ui-monospace,monospace);
font-size:.95em;overflow-wrap:anywhere}
@ thead th,@ thead+tbody td{white-space:nowrap}
@ .aind-text div{width:max-content;max-width:24em;white-space:normal;overflow-wrap:anywhere}
@ td.aind-number{text-align:right}
@ summary{cursor:pointer;margin-top:.4em}
</style>""".replace("@media", "\0")
    .replace("@", _CLASS)
    .replace("\0", "@media")
)


def of_session(session: Session) -> str:
    """Return the HTML of a session: what is cached of it."""
    facts: dict[str, object] = {
        "platform": session._id.platform,
        "subject": session._id.subject_id,
        "time": f"{session._id.date} {session._id.time}",
    }
    found = _cached(session)
    if found is not None and (found.assets is not None or found.records is not None):
        from aind_session.lookup import results
        from aind_session.records.modalities import modality_abbreviation

        row = _row(session, found)
        facts["platform"] = facts["platform"] or row.platform
        facts["project"] = row.value("project")
        facts["genotype"] = row.subject_value("genotype")
        facts["raw asset"] = _link(row.raw_asset.id, row.url) if row.raw_asset else None
        facts["folder"] = row.folder
        modalities = found.modalities or row.value("modalities") or ()
        facts["modalities"] = ", ".join(sorted(set(map(modality_abbreviation, modalities))))
        is_sorted = results.cached_is_sorted(session._id)
        facts["sorted"] = None if is_sorted is None else "yes" if is_sorted else "no"
    body = facts_table(facts)
    if found is not None and found.assets:
        body += details(_count(len(found.assets), "data asset"), _assets_table(found.assets))
    parts = {"data assets": found and found.assets, "records": found and found.records}
    missing = [name for name, value in parts.items() if value is None]
    if missing:
        body += hint(f"Not looked up yet: {', '.join(missing)}.")
    return card("Session", session.id, body)


def _cached(session: Session) -> Cached | None:
    # Before the first lookup nothing is cached, and displaying a session loads no client.
    if "aind_session.lookup.evidence" not in sys.modules:
        return None
    from aind_session.lookup import explain

    return explain.cached_of(session._id)


def _row(session: Session, found: Cached) -> Any:
    from aind_session.table import FirstValues, Row

    return Row(session._id, found.evidence, FirstValues(found.of_subject))


def of_subject(subject: Subject) -> str:
    """Return the HTML of a subject: what is cached of it."""
    found = None
    if "aind_session.lookup.evidence" in sys.modules:
        from aind_session.lookup import explain

        found = explain.cached_of_subject(subject.id)
    if found is None:
        return card("Subject", subject.id, hint("Not looked up yet: sessions, data assets."))
    from aind_session.identifiers import session_in_name

    counts = Counter(s.id if (s := session_in_name(asset.name)) else "" for asset in found)
    unnamed = counts.pop("", 0)
    by_date = sorted(counts.items(), key=lambda pair: (pair[0][-19:], pair[0]))
    rows = table(["session", "data assets"], by_date, ["aind-name", "aind-number"])
    body = details(_count(len(by_date), "session"), rows, is_open=True) if by_date else ""
    rest = f", {unnamed} without a session in the name." if unnamed else "."
    return card("Subject", subject.id, body + hint(_count(len(found), "data asset") + rest))


def of_sessions(sessions: Sequence[Session]) -> str:
    """Return the HTML of sessions: a table of what is cached, the first and last of many."""
    if not sessions:
        return card("Sessions", "none", "")
    rows = [_cells(session) for session in ends(sessions)]
    names = ["session", "platform", "project", "modalities", "data assets"]
    classes = ["aind-name", "", "aind-text", "aind-text", "aind-number"]
    # A column without any value is left out.
    kept = [i for i in range(len(names)) if any(row[i] not in (None, "") for row in rows)]
    body = table(
        [names[i] for i in kept],
        [[row[i] for i in kept] for row in rows],
        [classes[i] for i in kept],
        len(sessions),
    )
    subjects = _count(len({session._id.subject_id for session in sessions}), "subject")
    return card("Sessions", f"{_count(len(sessions), 'session')} of {subjects}", body)


def _cells(session: Session) -> list[object]:
    found = _cached(session)
    if found is None:
        return [session.id, session._id.platform, None, None, None]
    row = _row(session, found)
    return [
        session.id,
        row.platform,
        row.value("project"),
        ", ".join(row.value("modalities") or ()),
        None if found.assets is None else len(found.assets),
    ]


def of_asset(kind: str, asset: Any, facts: Mapping[str, object]) -> str:
    """Return the HTML of one data asset with some facts about it."""
    known = {"ID": _link(asset.id, asset.url), "created": _day(asset.created), **facts}
    return card(kind, asset.name, facts_table(known))


def _assets_table(assets: Sequence[Any]) -> str:
    from aind_session.identifiers import split_asset_name
    from aind_session.lookup.rules import is_raw
    from aind_session.services.assets import asset_url

    rows = [
        (
            "raw" if is_raw(asset) else split_asset_name(asset.name).label or "",
            asset.name,
            _link(asset.id, asset_url(asset.id)),
            _day(asset.created),
        )
        for asset in ends(assets)
    ]
    classes = ["", "aind-name", "aind-name", ""]
    return table(["label", "name", "ID", "created"], rows, classes, len(assets))


def _day(created: float) -> str:
    try:
        at = datetime.datetime.fromtimestamp(created, datetime.timezone.utc)
    except (ValueError, OverflowError, OSError):
        # Milliseconds, or out of range: shown as it is.
        return str(created)[:20]
    return at.date().isoformat()


# -- parts -----------------------------------------------------------------------------------------


class _Markup(str):
    """HTML that is escaped already."""

    __slots__ = ()


def _link(text: str, url: str | None) -> str:
    if not url:
        return text
    return _Markup(
        f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{escape(text)}</a>'
    )


def _cell(value: object) -> str:
    return value if isinstance(value, _Markup) else escape("" if value is None else str(value))


def ends(items: Sequence[Any]) -> list[Any]:
    """Return the items that a table shows: all, or the first and the last of many."""
    if len(items) <= MAX_ROWS + FEW_ROWS:
        return list(items)
    return [*items[: MAX_ROWS // 2], *items[-MAX_ROWS // 2 :]]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def card(kind: str, title: str, body: str) -> str:
    """Return a framed view with a title; `body` is HTML."""
    head = (
        f'<div><span class="aind-kind">{escape(kind)}</span>'
        f'<b class="aind-name">{escape(title)}</b></div>'
    )
    return f'<div class="aind-session">{STYLE}{head}{body}</div>'


def facts_table(facts: Mapping[str, object]) -> str:
    """Return a table with one line per fact that is known."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="aind-name">{_cell(value)}</td></tr>'
        for name, value in facts.items()
        if value
    )
    return f"<table><tbody>{rows}</tbody></table>"


def table(
    names: Sequence[str],
    rows: Sequence[Sequence[object]],
    classes: Sequence[str],
    total: int | None = None,
) -> str:
    """Return a table; with a larger `total`, a line in its middle counts the rows left out.

    Only cells of the class `aind-text` wrap, at a readable width.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    lines = []
    for number, row in enumerate(rows):
        if total is not None and total > len(rows) and number == len(rows) // 2:
            left_out = f"... {total - len(rows)} more ..."
            lines.append(f'<tr><td colspan="{len(names)}">{left_out}</td></tr>')
        cells = "".join(
            # A cell ignores a maximum width; a box in it does not.
            f'<td class="{css}"><div>{_cell(value)}</div></td>'
            if css == "aind-text"
            else f'<td class="{css}">{_cell(value)}</td>'
            for value, css in zip(row, classes, strict=True)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def details(title: str, inside: str, is_open: bool = False) -> str:
    """Return a part that can be folded; `inside` is HTML."""
    state = " open" if is_open else ""
    return f"<details{state}><summary>{escape(title)}</summary>{inside}</details>"


def hint(text: str) -> str:
    """Return a line in a lighter color."""
    return f'<div class="aind-hint">{escape(text)}</div>'
