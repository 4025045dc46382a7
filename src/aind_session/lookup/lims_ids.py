"""LIMS2 IDs of legacy sessions: in the names of files inside the modality folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from aind_session.errors import MissingLimsError, NotFoundError
from aind_session.identifiers import SessionID
from aind_session.lookup import facts, folders, questions, trail
from aind_session.lookup.partial import Gaps
from aind_session.lookup.questions import S3
from aind_session.services import pool, storage

#: Keys that are looked at below each modality's folder.
KEYS = 1000

# LIMS2 counts up: its IDs of sessions have had 9 digits, then 10, and have no leading zero.
_ID = re.compile(r"[1-9][0-9]{8,30}")
_TIMES = {12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f", 20: "%Y%m%d%H%M%S%f"}


def extract(text: str) -> int | None:
    """Give the LIMS2 ID in a file's name, or in any text that has one.

    Parameters
    ----------
    text
        The integer of 9 digits or more between underscores, dots or slashes, that is no date-time,
        is the ID; the first one in the last part of a path counts.

    Examples
    --------
    >>> extract("behavior/1386750279_747816_20240814.sync")
    1386750279
    >>> extract("747816_20240814135737.h5")
    """
    name = re.split(r"[/\\]+", text.strip(" /"))[-1]
    for part in re.split(r"[_.\s]", name):
        if _ID.fullmatch(part) and not is_time(part):
            return int(part)
    return None


def is_time(digits: str) -> bool:
    """Tell whether digits are a date and time, written without separators."""
    layout = _TIMES.get(len(digits))
    if layout is None or not digits.startswith("20"):
        return False
    try:
        datetime.strptime(digits, layout)
    except ValueError:
        return False
    return True


def choose(names: Iterable[str]) -> int | None:
    """Give the ID that most files carry; of several the one that comes first."""
    counted = Counter(found for name in names if (found := extract(name)) is not None)
    if len(counted) > 1:
        trail.tell("Several LIMS IDs in file names: %s", ", ".join(map(str, counted)))
    return counted.most_common(1)[0][0] if counted else None


def of_session(session: SessionID) -> int | None:
    """Give the LIMS2 ID of a session, None where no file's name has one.

    One listing for each modality, of its first keys: never a walk through everything.

    Raises
    ------
    MissingAttributeError
        There is no folder of raw data.
    ServiceError, CredentialsError
        None was found, and a folder could not be listed.
    """
    with trail.following(session.id, "LIMS ID"):
        raw = facts.raw_folder(session)
        inside = [
            name
            for name in questions.listing(raw.bucket, raw.prefix).folders
            if "metadata" not in name and name not in folders.NO_MODALITY
        ]
        gaps = Gaps("a LIMS ID")
        asked = pool.outcomes(
            *(lambda n=n: _keys(raw.bucket, f"{raw.prefix}/{n}/") for n in inside)
        )
        found = choose(key for outcome in asked for key in gaps.fill(S3, outcome, ()))
        if found is None:
            gaps.raise_first()
            trail.tell("No file of %s has a LIMS ID in its name", raw)
        return found


def _keys(bucket: str, prefix: str) -> tuple[str, ...]:
    return trail.ask(
        S3,
        f"list all keys below s3://{bucket}/{prefix}",
        ("keys", bucket, prefix),
        lambda: storage.list_keys(bucket, prefix, KEYS),
        lambda found: f"{len(found)} keys",
    )


def required(session: SessionID) -> int:
    """Give the LIMS2 ID of a session.

    Raises
    ------
    MissingLimsError
        It has none (an `AttributeError` and a `ValueError`).
    """
    with trail.following(session.id, "LIMS ID"):
        try:
            found = of_session(session)
        except NotFoundError as error:
            raise MissingLimsError(str(error), name="id", trail=error.trail) from error
        if found is None:
            raise MissingLimsError(
                f"{session.id} has no LIMS2 ID: no file in its modality folders carries one in its "
                "name, as those of legacy sessions do (1386750279_747816_20240814.sync).",
                name="id",
                trail=trail.lines(),
            )
        return found
