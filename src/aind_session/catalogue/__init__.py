"""Catalogues and the sandbox: sessions as a folder of files, served to the real clients.

A *catalogue* is a folder: the Code Ocean assets, DocDB records and S3 listings of some sessions.
The *sandbox* serves one over HTTP on loopback, in place of the three services.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aind_session.catalogue.format import Catalogue
    from aind_session.catalogue.recorder import record
    from aind_session.catalogue.serving import Sandbox, sandbox

_WHERE = {
    "Catalogue": "format",
    "Sandbox": "serving",
    "record": "recorder",
    "sandbox": "serving",
}

__all__ = ["Catalogue", "Sandbox", "record", "sandbox"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
