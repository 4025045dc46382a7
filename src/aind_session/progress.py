"""Progress of what takes long: shown where somebody looks, silent elsewhere."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

#: Seconds before a bar shows: what is over by then needs none.
DELAY = 1.0


class Bar(Protocol):
    """What moves a bar."""

    def update(self, n: float = 1) -> object:
        """Move on by `n`."""


def is_wanted() -> bool:
    """Tell whether the environment lets progress be shown."""
    return os.environ.get("AIND_SESSION_PROGRESS", "").strip() not in ("0", "false", "no")


def _is_watched() -> bool:
    """Tell whether there is a terminal or a notebook."""
    if not is_wanted():
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and type(shell).__name__ == "ZMQInteractiveShell":
        return True
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress(total: int, what: str, shown: bool = True) -> Iterator[Bar]:
    """Show how far something is, once it has taken a second.

    Parameters
    ----------
    total
        Number of steps.
    what
        Stands before the bar.
    shown
        False for no bar at all; ``AIND_SESSION_PROGRESS=0`` does the same everywhere.
    """
    if not (shown and total > 1 and _is_watched()):
        yield _Silent()
        return
    with warnings.catch_warnings():
        # A notebook without ipywidgets gets a bar of text, which needs no advice.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    with tqdm(total=total, desc=what, delay=DELAY, leave=False) as bar:
        yield bar


class _Silent:
    def update(self, n: float = 1) -> None:
        """Show nothing."""
