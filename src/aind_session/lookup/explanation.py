"""What each service said of a session, in order, with times."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

from aind_session import settings
from aind_session.errors import AindSessionError, PartialAnswerWarning
from aind_session.identifiers import SessionID
from aind_session.lookup import assets, facts, folders, metadata, results, trail


def of_session(session: SessionID) -> str:
    """Look up the common attributes of a session, and tell how each answer came about."""
    looked_up: dict[str, Callable[[], str]] = {
        "data assets": lambda: f"{len(assets.session_assets(session))}",
        "raw data asset": lambda: facts.raw_asset(session).id,
        "raw data folder": lambda: str(facts.raw_folder(session)),
        "uploaded": lambda: "yes" if folders.is_uploaded(session) else "no",
        "modalities": lambda: ", ".join(facts.modalities(session)) or "none",
        "sorted": lambda: results.why_sorted(session)[1],
        "metadata records": lambda: ", ".join(metadata.records(session)) or "none",
    }
    answers = {what: _answer(look) for what, look in looked_up.items()}
    trails = {t.what: t for t in trail.kept(session.id)}
    lines = [session.id, _asked_with()]
    told: set[trail.Step] = set()
    for what, answer in answers.items():
        lines.append(f"{what}: {answer}")
        if what in trails:
            lines += _steps(trails[what], told)
    for what, followed in trails.items():
        if what not in answers:
            lines += [f"{what}:", *_steps(followed, told)]
    return "\n".join(lines)


def _steps(followed: trail.Trail, told: set[trail.Step]) -> list[str]:
    """Give the lines of a trail; what stands above already is only counted."""
    lines, repeated = [], 0
    for step in followed.steps:
        bare = replace(step, seconds=0.0, known=True)
        if step.known and bare in told:
            repeated += 1
        else:
            lines.append(f"  {step}")
        told.add(bare)
    if repeated:
        lines.append(f"  and {repeated} known already, as above")
    return lines


def _asked_with() -> str:
    now = settings.current()
    token = f"token from {now.token.place}" if now.token else "no token"
    return f"asked of {now.domain.value} ({token}) and {now.docdb_host.value}"


def _answer(look: Callable[[], str]) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PartialAnswerWarning)
        try:
            said = look()
        except AindSessionError as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "; ".join([said, *(str(w.message) for w in caught)])
