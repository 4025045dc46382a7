"""Brain images and probes of a subject: the namespaces for them, from one place."""

from __future__ import annotations

from aind_session.extensions.ibl_data_converter import (
    IBLDataConverterExtension as IBLDataConverterExtension,
)
from aind_session.extensions.neuroglancer import NeuroglancerExtension as NeuroglancerExtension
from aind_session.extensions.neuroglancer import NeuroglancerState as NeuroglancerState

__all__ = ["IBLDataConverterExtension", "NeuroglancerExtension", "NeuroglancerState"]
