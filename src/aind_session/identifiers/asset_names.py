"""Names of derived data assets: a session ID, then `_<label>_<date>_<time>`, once or more."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from aind_session.identifiers.dates import is_calendar_day
from aind_session.identifiers.ids import DATE, TIME, SessionID, locate

# The date of one step of processing, with or without time, after its label.
_STEP_STAMP = re.compile(rf"_{DATE}(?:[_T]{TIME})?(?![0-9])")
_RAW_LABELS = {"raw", "raw-data"}
_LABEL_FAMILIES = re.compile(r"(sorted|curated|dlc|processed|stitched)(?=[a-z0-9])")


class Step(NamedTuple):
    """One step of processing in a derived asset's name."""

    label: str | None
    dt: datetime.datetime | None


class AssetName(NamedTuple):
    """The parts of a data asset's name.

    Attributes
    ----------
    session : SessionID or None
        The session in the name.
    steps : tuple of Step
        The parts after the session ID, in order: each step's label and date-time.
    is_session_name : bool
        The name is a session ID without any other part: the name of a raw asset.
    """

    session: SessionID | None
    steps: tuple[Step, ...]
    is_session_name: bool

    @property
    def label(self) -> str | None:
        """Label of the last step, as written: `sorted-ks2.5`, `dlc_face`, `raw_data`."""
        return self.steps[-1].label if self.steps else None

    @property
    def dt(self) -> datetime.datetime | None:
        """Date-time of the last step; names do not contain its time zone."""
        return self.steps[-1].dt if self.steps else None

    @property
    def is_raw(self) -> bool:
        """Whether it names raw data: a session ID, alone or with the label `raw` or `raw_data`."""
        labels = {normalise_label(step.label or "") for step in self.steps}
        return self.is_session_name or (bool(labels) and labels <= _RAW_LABELS)


@functools.lru_cache(maxsize=65_536)
def split_asset_name(name: str) -> AssetName:
    """Split a data asset's name into its session and its processing steps.

    Parameters
    ----------
    name
        A data asset's name, or a path or URL with it.

    Returns
    -------
    AssetName
        Without session and steps if the name has no session.

    Examples
    --------
    >>> raw = "ecephys_676909_2023-12-13_13-43-40"
    >>> name = split_asset_name(f"{raw}_sorted-ks2.5_2024-03-01_16-02-45")
    >>> name.session.id == raw, name.label, name.dt.isoformat()
    (True, 'sorted-ks2.5', '2024-03-01T16:02:45')
    >>> split_asset_name("828418_2026-02-13_18-31-13").is_session_name
    True
    """
    located = locate(name)
    if located is None:
        return AssetName(None, (), False)
    session, start, end = located
    after = re.split(r"[/\\]", name[end:], maxsplit=1)[0].rstrip()
    clear_before = not name[:start].strip() or name[start - 1] in "/\\"
    return AssetName(session, tuple(_steps(after)), clear_before and not after)


def session_in_name(name: str) -> SessionID | None:
    """Return the session in the name of an asset or a record."""
    return split_asset_name(name).session


def _steps(text: str) -> Iterator[Step]:
    """Yield the steps in the text after a session ID."""
    position = 0
    for stamp in _STEP_STAMP.finditer(text):
        year, _, month, day, hour, _, minute, second = stamp.groups()
        if is_calendar_day(year, month, day):
            label = text[position : stamp.start()].strip("_ ") or None
            clock = int(hour or 0), int(minute or 0), int(second or 0)
            yield Step(label, datetime.datetime(int(year), int(month), int(day), *clock))
            position = stamp.end()
    rest = text[position:]
    # A file extension is not a label: `..._15-47-10.json`.
    if rest.startswith("_") and rest.strip("_ "):
        yield Step(rest.strip("_ "), None)


def normalise_label(label: str) -> str:
    """Normalize a label, so that its spellings compare equal.

    Parameters
    ----------
    label
        As written in a name.

    Returns
    -------
    str
        In lower case, hyphens between words, no dots.

    Examples
    --------
    >>> normalise_label("dlc_eye") == normalise_label("dlc-eye")
    True
    >>> normalise_label("sorted-ks2.5"), normalise_label("sortedKS4")
    ('sorted-ks25', 'sorted-ks4')
    """
    plain = re.sub(r"[-_\s]+", "-", label.strip("-_ ").lower().replace(".", ""))
    return _LABEL_FAMILIES.sub(r"\1-", plain, count=1) if _LABEL_FAMILIES.match(plain) else plain


def label_family(label: str) -> str:
    """Return the first word of a label: the kind of processing, without the tool.

    Parameters
    ----------
    label
        As written in a name.

    Returns
    -------
    str
        In lower case.

    Examples
    --------
    >>> {label_family(label) for label in ("sorted", "sorted-ks2.5", "sortedKS4", "sorted_curated")}
    {'sorted'}
    """
    return normalise_label(label).partition("-")[0]
