"""The built-in namespaces. They use the package in the same way as a plug-in does."""

from __future__ import annotations

from typing import Any

# Modules that are there after `import aind_session` alone.
_MODULES = frozenset({"docdb", "ecephys", "ibl", "lims", "smartspim_neuropixels"})


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module 'aind_session.extensions' has no attribute {name!r}")
    return importlib.import_module(f"aind_session.extensions.{name}")
