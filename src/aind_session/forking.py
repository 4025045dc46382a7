"""Forks: what a child process must not inherit half done, or held by a thread that it has not."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable


def when_forked(do: Callable[[], None]) -> None:
    """Do something in each child process that `os.fork` makes."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=do)


def _forget_half_imports() -> None:
    """Have a child import anew what another thread was importing at the moment of the fork.

    Python leaves the lock of such a module as it is: held for ever, and the child would wait as
    long. There is no public way to mend that. Waiting before the fork until all is imported is
    none: an import may need a lock that is held for the fork already, that of `logging`.
    """
    locks = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    for name, reference in list(locks.items()):
        if getattr(reference(), "owner", None) not in (None, threading.get_ident()):
            del locks[name]
            if getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False):
                # With what it had imported of itself: a package that is made anew would not have
                # modules that are there already for its attributes.
                for part in [n for n in sys.modules if f"{n}.".startswith(f"{name}.")]:
                    del sys.modules[part]


when_forked(_forget_half_imports)
