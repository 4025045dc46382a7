"""Sessions that were found together: what a plain loop asks of one is fetched for all of them."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable

from aind_session.identifiers import SessionID
from aind_session.lookup import belonging, trail
from aind_session.lookup.questions import DOCDB, Rows

#: Sessions remembered with those that were found with them.
KEPT = 20_000
#: Sessions whose full records are fetched at once: a record has 100 kB on average, the gateway's
#: limit is 10 MB.
AT_ONCE = 50

_groups: OrderedDict[str, tuple[str, ...]] = OrderedDict()
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def remember(session_ids: Iterable[str]) -> None:
    """Note that some sessions were found together."""
    ids = tuple(session_ids)
    chunks = [ids[i : i + AT_ONCE] for i in range(0, len(ids), AT_ONCE)]
    with _lock:
        for chunk in chunks:
            for session_id in chunk:
                _groups[session_id] = chunk
                _groups.move_to_end(session_id)
        while len(_groups) > KEPT:
            _groups.popitem(last=False)


def forget(session_id: str) -> None:
    """Look this session up on its own from now on."""
    with _lock:
        _groups.pop(session_id, None)


def clear() -> None:
    """Forget all."""
    with _lock:
        _groups.clear()


def names_with(session: SessionID, generation: str) -> list[str]:
    """Name the records worth fetching together with a session's, itself included.

    Where the rows of the subject are known, only records that exist are named.
    """
    with _lock:
        group = _groups.get(session.id, ())
    if len(group) < 2:
        return [session.id]
    rows: Rows | None = trail.peek(DOCDB, ("rows of subject", generation, session.subject_id))
    if rows is None:
        return list(group)
    here = {row.name for row in rows if belonging.named(row.name).is_session_name}
    subject_mates = [name for name in group if f"{session.subject_id}_" in name]
    others = [name for name in group if name not in subject_mates]
    return [name for name in (*subject_mates, *others) if name in here or name in others]
