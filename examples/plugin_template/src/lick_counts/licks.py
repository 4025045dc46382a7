"""Licks of one session: `session.licks`."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import aind_session

if TYPE_CHECKING:
    from upath import UPath


class Licks(aind_session.ExtensionBaseClass):
    """Licks of a session, from `behavior/licks.csv`.

    Creating it sends no request: each property reads the file when it is accessed.
    """

    _base: aind_session.Session

    @property
    def path(self) -> UPath:
        """File of the licks.

        Raises
        ------
        AttributeError
            There is none, so `getattr(session.licks, "path", None)` is None.
        """
        path = self._base.raw_data_dir / "behavior" / "licks.csv"
        if not path.exists():
            raise AttributeError(f"{self._base.id} has no licks: {path} does not exist")
        return path

    @property
    def times(self) -> tuple[float, ...]:
        """Times of the licks, in seconds."""
        rows = csv.DictReader(self.path.read_text().splitlines())
        return tuple(float(row["seconds"]) for row in rows)

    @property
    def count(self) -> int:
        """Number of licks."""
        return len(self.times)
