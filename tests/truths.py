"""The lookups of an invented session, and their true answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aind_session
from aind_session import Session
from worlds import SessionTruth, Truth

Look = Callable[[Session], Any]


def _attribute(name: str) -> Look:
    return lambda session: getattr(session, name, None)


#: Lookups of every session.
BASIC: dict[str, Look] = {
    "assets": lambda session: {asset.id for asset in session.data_assets},
    "raw asset": lambda session: getattr(_attribute("raw_data_asset")(session), "id", None),
    "folder": lambda session: (d := _attribute("raw_data_dir")(session)) and d.as_posix(),
    "uploaded": _attribute("is_uploaded"),
    "modalities": _attribute("modalities"),
    "recorded": lambda session: bool(session.docdb),
    "genotype": lambda session: session.docdb.genotype,
}
#: And what costs more.
LOOKS: dict[str, Look] = {
    **BASIC,
    "sorted assets": lambda session: {a.id for a in session.ecephys.sorted_data_assets},
    "sorted": lambda session: session.ecephys.is_sorted,
    "sorters": lambda session: set(session.ecephys.sorter.names),
    "sessions": lambda session: {s.id for s in aind_session.get_sessions(session.subject_id)},
}


def truth(what: str, of: SessionTruth, world: Truth) -> Any:
    """Return the true answer."""
    return {
        "assets": of.assets,
        "raw asset": of.raw_asset,
        "folder": of.location,
        "uploaded": of.uploaded,
        "modalities": of.modalities,
        "recorded": of.recorded,
        "genotype": of.genotype,
        "sorted assets": set(of.sorted_assets),
        "sorted": bool(set(of.sorted_assets) - of.failed_sortings),
        "sorters": set(of.sorters.values()),
        "sessions": set(world.subjects[of.subject_id].sessions),
    }[what]


def is_right(what: str, answer: Any, of: SessionTruth, world: Truth) -> bool:
    """Whether an answer is the whole truth."""
    if what == "assets":
        # Assets that a search lists and that cannot be read: a lookup may show them or not.
        answer = answer - of.listed_but_closed
    return bool(answer == truth(what, of, world))


def is_partial(what: str, answer: Any, of: SessionTruth, world: Truth) -> bool:
    """Whether a partial answer claims nothing that is false."""
    expected = truth(what, of, world)
    if what == "raw asset":
        return answer is None or answer in of.assets
    if what == "folder":
        return answer is None or answer.endswith(f"/{of.id}")
    if what == "assets":
        return bool(answer <= expected | of.listed_but_closed)
    if isinstance(expected, set | bool):
        return bool(answer <= expected)
    return answer in (None, (), expected)
