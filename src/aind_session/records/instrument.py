"""Answers of the core files `rig` and `instrument`, which describe the same thing.

`rig` is the 1.x name of what was used for physiology and behavior, `instrument` the 1.x name for
microscopes and the 2.x name for all.
"""

from __future__ import annotations

from typing import Any

from aind_session.records.shape import at, text


def instrument_id(rig: Any, instrument: Any) -> str | None:
    """Read the ID of the instrument from the file that describes it."""
    for core in (rig, instrument):
        for key in ("rig_id", "instrument_id"):
            found = text(at(core, key))
            if found is not None:
                return found
    return None
