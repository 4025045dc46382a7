"""Deprecated: the old import path of `aind_session.sandbox`, kept for one release."""

import sys
import warnings

from aind_session.sandbox import Catalogue, Sandbox, factory, record, sandbox
from aind_session.sandbox.catalogue import CatalogueFormatError

__all__ = ["Catalogue", "CatalogueFormatError", "Sandbox", "record", "sandbox"]

warnings.warn(
    "aind_session.catalogue has moved to aind_session.sandbox (its invent to sandbox.factory)",
    DeprecationWarning,
    stacklevel=2,
)
# The documented path of `invent_session`.
sys.modules[f"{__name__}.invent"] = factory
