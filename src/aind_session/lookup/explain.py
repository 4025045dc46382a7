"""The text of `Session.explain()`: each answer, and the requests behind it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from aind_session import settings, trace
from aind_session.errors import AindSessionError, PartialAnswerWarning, first_line
from aind_session.identifiers import SessionID
from aind_session.lookup import evidence, folders, metadata, results
from aind_session.lookup.failures import limit_of_rest
from aind_session.services import docdb, http
from aind_session.trace import Request, Trace


def of_session(session: SessionID) -> str:
    """Look up the common attributes of a session, and describe how each answer was obtained."""
    lookups: dict[str, Callable[[], str]] = {
        "data assets": lambda: f"{len(evidence.all_assets(session))}",
        "raw data asset": lambda: folders.raw_asset(session).id,
        "raw data folder": lambda: str(folders.raw(session)),
        "uploaded": lambda: "yes" if folders.is_uploaded(session) else "no",
        "modalities": lambda: ", ".join(folders.modalities(session)) or "none",
        "metadata records": lambda: ", ".join(metadata.records(session)) or "none",
        "sorted": lambda: results.why_sorted(session)[1],
    }
    answers = _answers(lookups)
    traces = {one.what: one for one in trace.kept(session.id)}
    lines = [session.id, _services(), *unavailable()]
    shown: set[Request] = set()
    for what, answer in answers.items():
        lines.append(f"{what}: {answer}")
        if what in traces:
            lines += _requests(traces[what], shown)
    for what, one in traces.items():
        if what not in answers:
            lines += [f"{what}:", *_requests(one, shown)]
    return "\n".join(lines)


def _requests(one: Trace, shown: set[Request]) -> list[str]:
    """Return the lines of a trace; requests shown before with the same answer are only counted."""
    lines, repeated = [], 0
    for request in one.requests:
        bare = replace(request, seconds=0.0, cached=True)
        if bare in shown:
            repeated += 1
        else:
            lines.append(f"  {request}")
        shown.add(bare)
    if repeated:
        lines.append(f"  and {repeated} as above")
    return lines


def _services() -> str:
    now = settings.current()
    token = f"token from {now.token.place}" if now.token else "no token"
    return f"services: {now.domain.shown} ({token}), {now.docdb_host.shown}"


def unavailable() -> list[str]:
    """Return a line for each part of a service that is not contacted at present."""
    retired = (
        f"DocDB schema {one} is not queried: it is retired" for one in docdb.retired_schemas()
    )
    return [*http.open_circuits(), *retired]


def _answers(lookups: dict[str, Callable[[], str]]) -> dict[str, str]:
    """Look everything up; after one has used up the limit, the others end soon."""
    answers: dict[str, str] = {}
    with ExitStack() as limits, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PartialAnswerWarning)
        for what, look_up in lookups.items():
            try:
                answer = look_up()
            except AindSessionError as error:
                answer = f"{type(error).__name__}: {first_line(error)}"
                if isinstance(error, TimeoutError):
                    limits.enter_context(limit_of_rest())
            answers[what] = "; ".join([answer, *(str(warning.message) for warning in caught)])
            caught.clear()
    return answers
