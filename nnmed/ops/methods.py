"""Attach the ops to Tensor as operators and methods.

The engine knows no op, so that it need not import upward; importing nnmed.ops brings both
together.
"""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Tensor, is_grad_enabled
from nnmed.backend.arrays import DEVICES
from nnmed.errors import GradientError
from nnmed.ops import (
    comparison,
    elementwise,
    indexing,
    linalg,
    reduction,
    selection,
    shape,
    softmax,
)
from nnmed.ops.arguments import cast
from nnmed.ops.device import ToDevice


def _swapped(function):
    def reflected(self, other):
        return function(other, self)

    return reflected


def _in_place(function, sign):
    def assign(self: Tensor, other):
        if not (self._requires_grad and self.is_leaf):
            return NotImplemented  # Python then makes a new tensor by the plain operator
        if is_grad_enabled():
            raise GradientError(
                f"w {sign} ... would overwrite a leaf that requires a gradient: write "
                f"w = w {sign[0]} ... for a new tensor, or, to update w itself, put the line "
                "into nnmed.no_grad()"
            )
        self.data = function(self, other)
        return self

    return assign


def _to(self: Tensor, target) -> Tensor:
    """Return the tensor on a device (``"cpu"``, ``"gpu"``) or with a dtype."""
    if isinstance(target, str) and (target in DEVICES or target.startswith("cuda")):
        return self if target == self.device else ToDevice(target)(self)
    return cast(self, target)


def _cpu(self: Tensor) -> Tensor:
    """Return the tensor on the CPU."""
    return _to(self, "cpu")


def _cuda(self: Tensor) -> Tensor:
    """Return the tensor on the GPU."""
    return _to(self, "gpu")


def _float(self: Tensor) -> Tensor:
    """Return the tensor as float32."""
    return cast(self, np.float32)


def _double(self: Tensor) -> Tensor:
    """Return the tensor as float64."""
    return cast(self, np.float64)


def _long(self: Tensor) -> Tensor:
    """Return the tensor as int64."""
    return cast(self, np.int64)


def _transposed(self: Tensor) -> Tensor:
    """The tensor with its dimensions in reverse order: of a matrix, the transpose. A view."""
    return shape.Permute(tuple(range(self.ndim))[::-1])(self) if self.ndim > 1 else self


_OPERATORS = {
    "add": elementwise.add, "sub": elementwise.sub, "mul": elementwise.mul,
    "truediv": elementwise.div, "pow": elementwise.pow, "matmul": linalg.matmul,
}  # fmt: skip
_COMPARISONS = {
    "eq": comparison.eq, "ne": comparison.ne, "lt": comparison.lt, "le": comparison.le,
    "gt": comparison.gt, "ge": comparison.ge,
}  # fmt: skip
_METHODS = (
    elementwise.exp, elementwise.log, elementwise.sqrt, elementwise.abs, elementwise.sin,
    elementwise.cos, elementwise.pow, selection.clip, elementwise.clone, elementwise.sign,
    reduction.sum, reduction.mean, reduction.var, reduction.max, reduction.min,
    reduction.amax, reduction.amin, reduction.argmax, reduction.argmin,
    shape.reshape, shape.flatten, shape.squeeze, shape.unsqueeze, shape.permute,
    shape.transpose, shape.expand, shape.broadcast_to, shape.split, linalg.matmul,
    softmax.logsumexp,
)  # fmt: skip


def attach() -> None:
    """Give Tensor its operators and methods."""
    for name, function in _OPERATORS.items():
        setattr(Tensor, f"__{name}__", function)
        setattr(Tensor, f"__r{name}__", _swapped(function))
    for name, sign in (("add", "+="), ("sub", "-="), ("mul", "*="), ("truediv", "/=")):
        setattr(Tensor, f"__i{name}__", _in_place(_OPERATORS[name], sign))
    for name, function in _COMPARISONS.items():
        setattr(Tensor, f"__{name}__", function)
    for function in _METHODS:
        setattr(Tensor, function.__name__, function)
    Tensor.__neg__, Tensor.__abs__ = elementwise.neg, elementwise.abs
    Tensor.__invert__ = comparison.logical_not
    Tensor.__and__, Tensor.__or__ = comparison.logical_and, comparison.logical_or
    Tensor.__getitem__, Tensor.view, Tensor.clamp = (
        indexing.getitem,
        shape.reshape,
        selection.clip,
    )
    Tensor.to, Tensor.cpu, Tensor.cuda = _to, _cpu, _cuda
    Tensor.float, Tensor.double, Tensor.long = _float, _double, _long
    Tensor.T = property(_transposed)
