"""Older import path of `subject.neuroglancer` and `subject.ibl_data_converter`."""

from __future__ import annotations

from typing import Any

from aind_session.extensions.ibl import scratch
from aind_session.extensions.ibl.converter import (
    IBLDataConverterExtension as IBLDataConverterExtension,
)
from aind_session.extensions.ibl.neuroglancer import NeuroglancerExtension as NeuroglancerExtension
from aind_session.extensions.ibl.neuroglancer import NeuroglancerState as NeuroglancerState
from aind_session.services import s3

__all__ = ["IBLDataConverterExtension", "NeuroglancerExtension", "NeuroglancerState"]


def __getattr__(name: str) -> Any:
    # Created on access: a path keeps the credentials and endpoint of the settings.
    if name == "SCRATCH_STORAGE_DIR":
        return s3.path(scratch.BUCKET, scratch.ROOT)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
