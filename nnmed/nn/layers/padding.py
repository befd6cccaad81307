"""Layers that pad signals, pictures and volumes, as ``nnmed.functional.pad`` does.

`padding` is a number for all sides, or ``(left, right)``, then top and bottom, then front and
back. Negative numbers crop.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nnmed import functional as F
from nnmed.errors import UsageError
from nnmed.nn.module import Module


class _Pad(Module):
    """What all share; a subclass says for how many dimensions, and with what mode."""

    _dims: int
    _mode = "constant"

    def __init__(self, padding):
        super().__init__()
        sides = 2 * self._dims
        self.padding = tuple(padding) if isinstance(padding, Iterable) else (padding,) * sides
        if len(self.padding) != sides or not all(
            isinstance(width, (int, np.integer)) for width in self.padding
        ):
            raise UsageError(
                f"{type(self).__name__}: padding must be an integer or {sides} of them, "
                f"got {padding}"
            )

    def forward(self, input):
        """Map (..., H, W) to (..., H', W'), or likewise."""
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        """Return the arguments."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        """Map (..., H, W) to (..., H', W'), or likewise."""
        return F.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self):
        """Return the arguments."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Surrounds signals by `value`."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Surrounds pictures by `value`."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Surrounds volumes by `value`."""

    _dims = 3


class ZeroPad1d(_Pad):
    """Surrounds signals by zeros."""

    _dims = 1


class ZeroPad2d(_Pad):
    """Surrounds pictures by zeros."""

    _dims = 2


class ZeroPad3d(_Pad):
    """Surrounds volumes by zeros."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """Mirrors signals about their first and last values."""

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Mirrors pictures about their edge pixels."""

    _dims, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Mirrors volumes about their edge voxels."""

    _dims, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Repeats the first and last values of signals."""

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Repeats the edge pixels of pictures."""

    _dims, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Repeats the edge voxels of volumes."""

    _dims, _mode = 3, "replicate"


class CircularPad1d(_Pad):
    """Continues signals with their other end."""

    _dims, _mode = 1, "circular"


class CircularPad2d(_Pad):
    """Continues pictures with their other side."""

    _dims, _mode = 2, "circular"


class CircularPad3d(_Pad):
    """Continues volumes with their other side."""

    _dims, _mode = 3, "circular"
