"""Import path of `aind_session.extensions.ibl.converter` up to version 0.4."""

from __future__ import annotations

from aind_session.extensions.ibl.converter import (
    IBLDataConverterExtension as IBLDataConverterExtension,
)

__all__ = ["IBLDataConverterExtension"]
