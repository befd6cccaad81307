"""Comparisons and bool logic: tensors of bool, without a gradient."""

from __future__ import annotations

import operator

import numpy as np

from nnmed.autograd import Tensor
from nnmed.ops.arguments import as_tensor, operands


def _compare(function, description):
    def compare(a, b) -> Tensor:
        a, b = operands(a, b)
        return _wrap(function(a._array, b._array))

    compare.__name__, compare.__doc__ = function.__name__, f"Return where ``{description}``."
    return compare


eq = _compare(operator.eq, "a == b")
ne = _compare(operator.ne, "a != b")
lt = _compare(operator.lt, "a < b")
le = _compare(operator.le, "a <= b")
gt = _compare(operator.gt, "a > b")
ge = _compare(operator.ge, "a >= b")
logical_and = _compare(operator.and_, "a & b")
logical_or = _compare(operator.or_, "a | b")


def logical_not(x) -> Tensor:
    """Return where the bool tensor `x` does not hold."""
    return _wrap(~as_tensor(x)._array)


def _wrap(value) -> Tensor:
    # NumPy compares 0-d arrays to scalars.
    return Tensor._wrap(np.asarray(value) if isinstance(value, np.generic) else value)
