"""Import path of `aind_session.extensions.ibl.neuroglancer` up to version 0.4."""

from __future__ import annotations

from aind_session.extensions.ibl.neuroglancer import NeuroglancerExtension as NeuroglancerExtension
from aind_session.extensions.ibl.neuroglancer import NeuroglancerState as NeuroglancerState

__all__ = ["NeuroglancerExtension", "NeuroglancerState"]
