"""Comparisons and bool logic: tensors of bool, without a gradient."""

from __future__ import annotations

import operator

from nnmed.autograd import Tensor
from nnmed.backend.arrays import in_memory_order
from nnmed.errors import DeviceError, DTypeError
from nnmed.ops.arguments import as_tensor, broadcast_shapes, operands, wrap


def _compare(function, description):
    def compare(a, b) -> Tensor:
        if b is None:
            return NotImplemented  # ``x == None`` is Python's False
        a, b = operands(a, b)
        if type(a._array) is not type(b._array):
            raise DeviceError(
                f"{function.__name__}: operands live on different devices ({a.device}, "
                f"{b.device}); move them to one with .to(device)"
            )
        if a._array.shape != b._array.shape:
            broadcast_shapes(a._array.shape, b._array.shape)  # or a ShapeError
        return wrap(in_memory_order(function, a._array, b._array))

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
    return wrap(in_memory_order(operator.invert, _no_float(as_tensor(x))._array))


_and = _compare(operator.and_, "a & b")
_or = _compare(operator.or_, "a | b")


def _no_float(x: Tensor) -> Tensor:
    if x.dtype.kind == "f":
        raise DTypeError(f"&, | and ~ are for bool and integer tensors, not {x.dtype}")
    return x
