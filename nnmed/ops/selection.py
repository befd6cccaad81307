"""Ops that choose between values: maximum, minimum, clip, where."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Notation, Op, Tensor
from nnmed.backend.arrays import in_memory_order
from nnmed.errors import UsageError
from nnmed.ops.arguments import as_float, as_tensor, broadcast_shapes, operands, plain_number
from nnmed.ops.shape import broadcast_operands, broadcast_to

_DY = r"\frac{\partial L}{\partial y}"
_BY_A = r"\frac{\partial L}{\partial a} = " + _DY
_BY_B = r"\frac{\partial L}{\partial b} = " + _DY
_BY_X = r"\frac{\partial L}{\partial x} = " + _DY


class Maximum(Op):
    """y = max(a, b),   da = dy [a > b],   db = dy [b > a];   ties share dy in halves

    Beside a NaN, which is the result, both take dy.
    """

    forward_latex = r"y = \max(a, b)"
    backward_latex = {
        "a": _BY_A + r"\, \left([a > b] + \tfrac{1}{2} [a = b]\right)",
        "b": _BY_B + r"\, \left([b > a] + \tfrac{1}{2} [a = b]\right)",
    }

    def forward(self, a, b):
        self.keep(inputs=(0, 1))
        return in_memory_order(np.maximum, a, b)

    def backward(self, dy):
        a, b = self.inputs
        return _share(self.needs, dy, a, b, a < b, a > b)


class Minimum(Op):
    """y = min(a, b),   da = dy [a < b],   db = dy [b < a];   ties share dy in halves

    Beside a NaN, which is the result, both take dy.
    """

    forward_latex = r"y = \min(a, b)"
    backward_latex = {
        "a": _BY_A + r"\, \left([a < b] + \tfrac{1}{2} [a = b]\right)",
        "b": _BY_B + r"\, \left([b < a] + \tfrac{1}{2} [a = b]\right)",
    }

    def forward(self, a, b):
        self.keep(inputs=(0, 1))
        return in_memory_order(np.minimum, a, b)

    def backward(self, dy):
        a, b = self.inputs
        return _share(self.needs, dy, a, b, a > b, a < b)


class Clip(Op):
    """y = min(max(x, low), high),   dx = dy [low <= x <= high]"""

    forward_latex = r"y = \min(\max(x, l), h)"
    backward_latex = {"x": _BY_X + r"\, [\,l \le x \le h\,]"}

    def __init__(self, low: float | None, high: float | None):
        self.low, self.high = low, high

    def notation(self):
        low = -math.inf if self.low is None else self.low
        return Notation(values={"l": low, "h": math.inf if self.high is None else self.high})

    def forward(self, x):
        self.keep(inside=in_memory_order(self._is_inside, x))
        return in_memory_order(lambda x: np.clip(x, self.low, self.high), x)

    def _is_inside(self, x):
        inside = np.ones_like(x, bool)
        if self.low is not None:
            inside &= x >= self.low
        if self.high is not None:
            inside &= x <= self.high
        return inside

    def backward(self, dy):
        # Not a product: 0 times an infinite dy would be NaN.
        return where(Tensor._wrap(self.kept["inside"]), dy, 0.0)


class Where(Op):
    """y = a where the condition holds, else b;   da = dy [c],   db = dy [not c]"""

    forward_latex = r"y = c\, a + (1 - c)\, b, \quad c \in \{0, 1\}"
    backward_latex = {"a": _BY_A + r"\, c", "b": _BY_B + r"\, (1 - c)"}

    def notation(self):
        return Notation(symbols={"condition": "c"})

    def forward(self, condition, a, b):
        self.keep(inputs=(0,))
        return in_memory_order(np.where, condition, a, b)

    def backward(self, dy):
        condition = self.inputs[0]
        da = where(condition, dy, 0.0) if self.needs[1] else None
        return None, da, where(condition, 0.0, dy) if self.needs[2] else None


def maximum(a, b) -> Tensor:
    """Return the larger of `a` and `b`, broadcast."""
    return Maximum()(*broadcast_operands(*operands(a, b)))


def minimum(a, b) -> Tensor:
    """Return the smaller of `a` and `b`, broadcast."""
    return Minimum()(*broadcast_operands(*operands(a, b)))


def clip(x, min: float | None = None, max: float | None = None) -> Tensor:
    """Return `x` limited to [min, max]; the gradient is 0 outside and 1 on the limits.

    The limits are numbers; for tensors as limits, see :func:`maximum` and :func:`minimum`.
    An integer tensor with a float limit becomes float32.
    """
    limits = [plain_number(limit) for limit in (min, max)]
    given = [limit for limit in limits if limit is not None]
    if not given or not all(isinstance(limit, (int, float)) for limit in given):
        raise UsageError(f"clip: min, max or both must be numbers, got {min!r} and {max!r}")
    is_float = any(isinstance(limit, float) for limit in given)
    return Clip(*limits)(as_float(x) if is_float else as_tensor(x))


def where(condition, a, b) -> Tensor:
    """Return `a` where `condition` holds and `b` elsewhere, broadcast."""
    condition = as_tensor(condition)
    a, b = operands(a, b, beside=condition)
    condition = condition if condition.dtype == bool else condition != 0
    shape = broadcast_shapes(condition.shape, a.shape, b.shape)
    return Where()(condition, *(broadcast_to(t, shape) if t._requires_grad else t for t in (a, b)))


def _share(needs, dy, a, b, b_wins, a_wins):
    dy = where(a == b, dy * 0.5, dy)
    da = where(b_wins, 0.0, dy) if needs[0] else None
    return da, where(a_wins, 0.0, dy) if needs[1] else None
