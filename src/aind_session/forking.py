"""Forks: what a child process must not inherit half done, or held by a thread that it has not."""

from __future__ import annotations

import os
from collections.abc import Callable


def when_forked(do: Callable[[], None]) -> None:
    """Do something in each child process that `os.fork` makes."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=do)
