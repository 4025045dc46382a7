"""Catalogues and the sandbox: sessions as a folder of files, served to the real clients.

A *catalogue* is a folder: the Code Ocean assets, DocDB records and S3 listings of some sessions.
The *sandbox* serves one over HTTP on loopback, in place of the three services.
"""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aind_session.sandbox.box import Sandbox, autostart, sandbox
    from aind_session.sandbox.catalogue import Catalogue
    from aind_session.sandbox.recorder import record

_WHERE = {
    "Catalogue": "catalogue",
    "Sandbox": "box",
    "autostart": "box",
    "record": "recorder",
    "sandbox": "box",
}

__all__ = ["Catalogue", "Sandbox", "autostart", "record", "sandbox"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _CallableModule(types.ModuleType):
    """A module that can be called: `aind_session.sandbox(...)` starts a sandbox."""

    def __call__(self, *args: Any, **kwargs: Any) -> Sandbox:
        return sandbox_function(*args, **kwargs)


def sandbox_function(*args: Any, **kwargs: Any) -> Sandbox:
    from aind_session.sandbox.box import sandbox

    return sandbox(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
