"""Forgetting: what is known of a session or subject, so that the next look asks again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from aind_session.identifiers import SessionID
from aind_session.lookup import questions, trail
from aind_session.services import s3
from aind_session.services.cache import Key, answers, newer_than


def forget(session: SessionID) -> None:
    """Forget a session's entries, its assets', and its subject's searches."""
    trail.forget(session.id)
    beginning = session.id[: questions.NAME_QUERY_LENGTH]
    ids = _found_by(("assets by name", f"name:{beginning}"))
    ids |= _linked_by("rows of session", session.id)
    forget_subject(session.subject_id, ids)


def forget_subject(subject_id: str, asset_ids: Iterable[str] = ()) -> None:
    """Forget a subject's searches, and the entries of its sessions and assets."""
    trail.forget(subject_id)
    ids = _asset_ids(subject_id) | set(asset_ids)

    def concerns(key: Key) -> bool:
        # Of the files in a result's folder, the key begins with the asset's ID.
        return any(subject_id in part or part.partition("/")[0] in ids for part in key[2:])

    answers.forget(concerns)
    s3.forget_listings()


def forget_asset(asset_id: str) -> None:
    """Forget a data asset, and its files."""
    answers.forget(lambda key: any(part.partition("/")[0] == asset_id for part in key[2:]))


@contextlib.contextmanager
def at_hash(ttl_hash: int | None, *question: str) -> Iterator[None]:
    """Ask anew where a question comes with a hash that it did not come with before.

    Parameters
    ----------
    ttl_hash
        As `get_ttl_hash` gives it, or any number; None: whatever is known is good enough.
    *question
        Names the question.
    """
    if ttl_hash is None:
        yield
        return
    # What was answered before the hash was first seen is too old for it.
    first_seen = answers.get(("ttl hash", *question, str(ttl_hash)), answers.clock)
    with newer_than(first_seen):
        yield


def _asset_ids(subject_id: str) -> set[str]:
    """Name the known assets of a subject: their listings and files are keyed by asset ID."""
    return (
        _found_by(("assets by text", subject_id))
        | _found_by(("assets by field", subject_id))
        | _linked_by("rows of subject", subject_id)
    )


def _found_by(search: Key) -> set[str]:
    return {asset.id for asset in trail.peek(questions.CODE_OCEAN, search) or ()}


def _linked_by(search: str, whose: str) -> set[str]:
    found = (
        trail.peek(questions.DOCDB, (search, generation, whose)) or ()
        for generation in questions.GENERATIONS
    )
    return {asset_id for rows in found for row in rows for asset_id in row.linked}


def forget_everything() -> None:
    """Forget every cached answer."""
    answers.clear()
    s3.forget_listings()
