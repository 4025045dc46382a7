"""Progress bars: shown in a terminal or a notebook, silent elsewhere."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

#: Seconds before a bar shows.
DELAY = 1.0


class Bar(Protocol):
    """A progress bar."""

    def update(self, n: float = 1) -> object:
        """Advance by `n`."""

    def set_postfix_str(self, s: str) -> object:
        """Show a text behind the bar, and draw it with its current count."""


def is_wanted() -> bool:
    """Return False if the environment switches progress bars off."""
    return os.environ.get("AIND_SESSION_PROGRESS", "").strip() not in ("0", "false", "no")


def is_watched() -> bool:
    """Return True in a terminal or a notebook."""
    if not is_wanted():
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and type(shell).__name__ == "ZMQInteractiveShell":
        return True
    return sys.stderr is not None and sys.stderr.isatty()


def size_text(size: float) -> str:
    """Return a number of bytes in the unit that fits.

    Examples
    --------
    >>> size_text(38_412)
    '38.4 kB'
    """
    if size < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        # 999.96 would be rounded to 1000.0.
        if size < 999.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1000:,.1f} TB"


@contextmanager
def progress(
    total: int, what: str, shown: bool = True, unit: str = "it", *, at_once: bool = False
) -> Iterator[Bar]:
    """Show a bar of `total` steps after a second; ``AIND_SESSION_PROGRESS=0`` shows none.

    With `at_once` it is shown at once, also for a single step.
    """
    least, delay = (1, 0.0) if at_once else (2, DELAY)
    if not (shown and total >= least and is_watched()):
        yield _Silent()
        return
    with warnings.catch_warnings():
        # A notebook without ipywidgets gets a bar of text, which needs no advice.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    with tqdm(
        total=total, desc=what, delay=delay, leave=False, unit=unit, unit_scale=unit == "B"
    ) as bar:
        yield bar


class _Silent:
    def update(self, n: float = 1) -> None:
        """Do nothing."""

    def set_postfix_str(self, s: str) -> None:
        """Do nothing."""
