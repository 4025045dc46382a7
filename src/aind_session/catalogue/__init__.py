"""Deprecated: the old import path of `aind_session.sandbox`, kept for one release."""

from __future__ import annotations

import warnings
from typing import Any

#: Where each name that was public or documented lives now, below `aind_session.sandbox`.
_MOVED = {
    "Catalogue": "catalogue",
    "CatalogueFormatError": "catalogue",
    "Sandbox": "",
    "invent": "factory:",
    "invent_session": "factory",
    "record": "recorder",
    "sandbox": "",
}

__all__ = ["Catalogue", "Sandbox", "record", "sandbox"]


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, whole, _ = _MOVED[name].partition(":")
    where = f"aind_session.sandbox.{module}".rstrip(".")
    new = where if whole else f"{where}.{name}"
    warnings.warn(f"{__name__}.{name} has moved to {new}", DeprecationWarning, stacklevel=2)
    found = importlib.import_module(where)
    return found if whole else getattr(found, name)


def __dir__() -> list[str]:
    return sorted(__all__)
