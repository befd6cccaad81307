"""Comparisons and bool logic: tensors of bool, without a gradient."""

from __future__ import annotations

import operator

import numpy as np

from nnmed.autograd import Tensor
from nnmed.errors import DTypeError
from nnmed.ops.arguments import as_tensor, broadcast_shapes, operands


def _compare(function, description):
    def compare(a, b) -> Tensor:
        if b is None:
            return NotImplemented  # ``x == None`` is Python's False
        a, b = operands(a, b)
        if a._array.shape != b._array.shape:
            broadcast_shapes(a._array.shape, b._array.shape)  # or a ShapeError
        return _wrap(function(a._array, b._array))

    compare.__name__, compare.__doc__ = function.__name__, f"Return where ``{description}``."
    return compare


eq = _compare(operator.eq, "a == b")
ne = _compare(operator.ne, "a != b")
lt = _compare(operator.lt, "a < b")
le = _compare(operator.le, "a <= b")
gt = _compare(operator.gt, "a > b")
ge = _compare(operator.ge, "a >= b")


def logical_and(a, b) -> Tensor:
    """Return where the bool tensors `a` and `b` both hold; integers are combined bit by bit."""
    return _and(*map(_no_float, operands(a, b)))


def logical_or(a, b) -> Tensor:
    """Return where `a` or `b` holds; integers are combined bit by bit."""
    return _or(*map(_no_float, operands(a, b)))


def logical_not(x) -> Tensor:
    """Return where the bool tensor `x` does not hold; integers have their bits inverted."""
    return _wrap(~_no_float(as_tensor(x))._array)


_and = _compare(operator.and_, "a & b")
_or = _compare(operator.or_, "a | b")


def _no_float(x: Tensor) -> Tensor:
    if x.dtype.kind == "f":
        raise DTypeError(f"&, | and ~ are for bool and integer tensors, not {x.dtype}")
    return x


def _wrap(value) -> Tensor:
    # NumPy compares 0-d arrays to scalars.
    return Tensor._wrap(np.asarray(value) if isinstance(value, np.generic) else value)
