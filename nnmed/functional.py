"""The flat face of ops: functions with the names and arguments of ``torch.nn.functional``."""

from __future__ import annotations

from nnmed.ops.linalg import linear

__all__ = [
    "linear",
]
