"""Sums, means, variances and extrema over some or all dimensions."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from nnmed.autograd import Notation, Op, Tensor
from nnmed.backend.arrays import array_module, in_memory_order
from nnmed.backend.products import channel_sums
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.kernels.elementwise import quietly
from nnmed.ops.arguments import as_tensor, dimension, dimensions
from nnmed.ops.elementwise import clone
from nnmed.ops.indexing import getitem
from nnmed.ops.shape import broadcast_to, reshape


class ValuesAndIndices(NamedTuple):
    """Extreme values along a dimension, and where they stand."""

    values: Tensor
    indices: Tensor


class _Reduction(Op):
    """What the ops share: the dimensions that are left out, and how their formulas are read."""

    def __init__(self, dims, keepdim: bool):
        self.dims, self.keepdim = dims, keepdim

    def latex(self):
        forward, backward = super().latex()
        if len(self.dims) == len(self.input_shapes[0]):
            change = _without_j  # of all elements: no index is kept
        elif self._sums_rows():
            change = _in_rows
        else:
            return forward, backward
        return change(forward), {name: change(latex) for name, latex in backward.items()}

    def _sums_rows(self) -> bool:
        """Tell whether what is kept comes before all that is summed: x_ji, and not x_ij."""
        return sorted(self.dims) == [*range(len(self._dims_kept()), len(self.input_shapes[0]))]

    def _dims_kept(self) -> list[int]:
        return [dim for dim in range(len(self.input_shapes[0])) if dim not in self.dims]

    def notation(self):
        kept, shape = self._dims_kept(), self.input_shapes[0]
        count = math.prod([shape[dim] for dim in kept])

        def apart(x):
            if not kept:
                return x.ravel()
            if self._sums_rows():
                return x.reshape(count, -1)
            return x.transpose(*self.dims, *kept).reshape(-1, count)

        return Notation(
            {"n": math.prod([shape[dim] for dim in self.dims])},
            views={"x": apart, "y": np.ravel if kept else np.squeeze},
        )


def _without_j(latex: str) -> str:
    return re.sub(r"_j|_\{(\w)j\}", lambda found: f"_{found[1]}" if found[1] else "", latex)


def _in_rows(latex: str) -> str:
    return re.sub(r"_\{(\w)j\}", r"_{j\1}", latex)


class Sum(_Reduction):
    """y = sum of x over some dimensions,   dx = dy repeated over them"""

    forward_latex = r"y_j = \sum_i x_{ij}"
    backward_latex = {"x": r"\frac{\partial L}{\partial x_{ij}} = \frac{\partial L}{\partial y_j}"}

    def forward(self, x):
        if x.ndim == 4 and self.dims == (0, 2, 3) and x.dtype.kind == "f":
            y = channel_sums(x)
            return y.reshape(1, -1, 1, 1) if self.keepdim else y
        dtype = x.dtype if x.dtype.kind == "f" else np.int64
        return x.sum(axis=self.dims, dtype=dtype, keepdims=self.keepdim)

    def backward(self, dy):
        return _repeat(dy, self.input_shapes[0], self.dims)

    def fused_backward(self, dy):
        shape = self.input_shapes[0]
        return np.broadcast_to(dy.reshape(_with_ones(shape, self.dims)), shape)

    def flops(self, inputs, output):
        return int(np.prod(inputs[0], dtype=np.int64))


class Mean(_Reduction):
    """y = (1/n) sum of x over some dimensions,   dx = dy / n repeated over them"""

    forward_latex = r"y_j = \frac{1}{n} \sum_i x_{ij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ij}} = "
        r"\frac{1}{n} \frac{\partial L}{\partial y_j}"
    }

    def forward(self, x):
        self.count = math.prod([x.shape[d] for d in self.dims])
        # 0 / 0 is NaN here, as in PyTorch, without NumPy's warning for an empty mean.
        return quietly(self._divided, x.sum(axis=self.dims, keepdims=self.keepdim))

    def _divided(self, total):
        return np.true_divide(total, self.count, dtype=total.dtype)

    def backward(self, dy):
        return _repeat(dy / (self.count or 1), self.input_shapes[0], self.dims)

    def fused_backward(self, dy):
        shape = self.input_shapes[0]
        share = dy.reshape(_with_ones(shape, self.dims)) / (self.count or 1)
        return np.broadcast_to(share, shape)

    def flops(self, inputs, output):
        return int(np.prod(inputs[0], dtype=np.int64))


class Extremum(_Reduction):
    """y = max (or min) of x over some dimensions,   dx = dy [x = y] / number of ties

    All elements that attain the extremum share the gradient equally.
    """

    forward_latex = (
        r"y_j = \operatorname*{ext}_i x_{ij}, \quad \operatorname{ext} \in \{\max, \min\}"
    )
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ij}} = "
        r"\frac{[x_{ij} = y_j]}{\sum_k [x_{kj} = y_j]} \frac{\partial L}{\partial y_j}"
    }

    def __init__(self, largest: bool, dims, keepdim: bool):
        super().__init__(dims, keepdim)
        self.largest = largest

    def latex(self):
        forward, backward = super().latex()
        forward, _ = forward.split(r", \quad")
        name = r"\max" if self.largest else r"\min"
        return forward.replace(r"\operatorname*{ext}", name), backward

    def forward(self, x):
        y = (x.max if self.largest else x.min)(axis=self.dims, keepdims=True)
        self.keep(attained=in_memory_order(_same, x, y))
        return y if self.keepdim else y.reshape([
            n for i, n in enumerate(x.shape) if i not in self.dims
        ])  # fmt: skip

    def backward(self, dy):
        attained = self.kept["attained"]
        count = attained.sum(axis=self.dims, keepdims=True)
        share = in_memory_order(lambda a, n: (a / n).astype(dy.dtype), attained, count)
        return _repeat(dy, self.input_shapes[0], self.dims) * Tensor._wrap(share)

    def flops(self, inputs, output):
        return int(np.prod(inputs[0], dtype=np.int64))


def _same(x, y):
    return (x == y) | ((x != x) & (y != y))


def sum(x, dim=None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
    """Return the sum over `dim` (one, several or all); bool and integers give int64."""
    x = as_tensor(x)
    return Sum(_dims(x, dim, axis), _keep(keepdim, keepdims))(x)


def mean(x, dim=None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
    """Return the mean over `dim` (one, several or all); NaN over no elements."""
    x = as_tensor(x)
    if x.dtype.kind != "f":
        raise DTypeError(f"mean needs a float tensor, got {x.dtype}: convert it with .float()")
    return Mean(_dims(x, dim, axis), _keep(keepdim, keepdims))(x)


def var(x, dim=None, *, correction: float = 1, keepdim=False, axis=None, keepdims=False) -> Tensor:
    """Return the variance over `dim`: squared distances from the mean over n - correction.

    Where n - correction is not positive, that is a division by 0.
    """
    x = as_tensor(x)
    dims = _dims(x, dim, axis)
    centred = x - mean(x, dims, keepdim=True)
    freedom = int(np.prod([x.shape[d] for d in dims], dtype=np.int64)) - correction
    return sum(centred * centred, dims, _keep(keepdim, keepdims)) / (freedom if freedom > 0 else 0)


def max(x, dim=None, keepdim=False, *, axis=None, keepdims=False):
    """Return the largest element, or (values, indices) along one dimension.

    For the larger of two tensors, which PyTorch's function gives as well, see
    :func:`~nnmed.ops.selection.maximum`.

    Without `dim`, equal maxima share the gradient; with `dim`, it goes to the element whose
    index is returned, the first of the equal ones.
    """
    return _extremum(x, True, dim if axis is None else axis, _keep(keepdim, keepdims))


def min(x, dim=None, keepdim=False, *, axis=None, keepdims=False):
    """Return the smallest element, or (values, indices) along one dimension; see :func:`max`.

    For the smaller of two tensors, see :func:`~nnmed.ops.selection.minimum`.
    """
    return _extremum(x, False, dim if axis is None else axis, _keep(keepdim, keepdims))


def amax(x, dim=None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
    """Return the maximum over `dim` (one, several or all); ties share the gradient."""
    return _shared_extremum(x, True, dim if axis is None else axis, _keep(keepdim, keepdims))


def amin(x, dim=None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
    """Return the minimum over `dim` (one, several or all); ties share the gradient."""
    return _shared_extremum(x, False, dim if axis is None else axis, _keep(keepdim, keepdims))


def argmax(x, dim: int | None = None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
    """Return the index of the first maximum along `dim`, or in the flattened tensor."""
    return _arg_extremum(x, True, dim if axis is None else axis, _keep(keepdim, keepdims))


def argmin(x, dim: int | None = None, keepdim=False, *, axis=None, keepdims=False) -> Tensor:
    """Return the index of the first minimum along `dim`, or in the flattened tensor."""
    return _arg_extremum(x, False, dim if axis is None else axis, _keep(keepdim, keepdims))


def _extremum(x, largest, dim, keepdim):
    x = as_tensor(x)
    if dim is None:
        return _shared_extremum(x, largest, None, keepdim)
    dim = dimension(dim, x.ndim)
    if x.ndim == 0:
        zero = array_module(x._array).zeros((), np.int64)
        return ValuesAndIndices(clone(x), Tensor._wrap(zero))
    indices = _arg_extremum(x, largest, dim, True)._array
    grid = [_along(axis, indices) for axis in range(x.ndim)]
    grid[dim] = Tensor._wrap(indices)
    values, indices = getitem(x, tuple(grid)), Tensor._wrap(indices)
    if not keepdim:
        shape = x.shape[:dim] + x.shape[dim + 1 :]
        values, indices = reshape(values, shape), reshape(indices, shape)
    return ValuesAndIndices(values, indices)


def _along(axis: int, array) -> Tensor:
    """Return the positions along an axis of `array`, to be broadcast."""
    shape = [1] * array.ndim
    shape[axis] = -1
    return Tensor._wrap(array_module(array).arange(array.shape[axis]).reshape(shape))


def _shared_extremum(x, largest, dim, keepdim) -> Tensor:
    x = as_tensor(x)
    dims = _dims(x, dim)
    _check_not_empty(x, dims, "maximum" if largest else "minimum")
    return Extremum(largest, dims, keepdim)(x) if x.ndim else clone(x)


def _arg_extremum(x, largest, dim, keepdim) -> Tensor:
    x = as_tensor(x)
    xp = array_module(x._array)
    axis = None if dim is None else dimension(dim, x.ndim)
    _check_not_empty(x, _dims(x, dim), "maximum" if largest else "minimum")
    function = xp.argmax if largest else xp.argmin
    return Tensor._wrap(xp.asarray(function(x._array, axis=axis, keepdims=keepdim), np.int64))


def _check_not_empty(x, dims, name) -> None:
    if any(x.shape[d] == 0 for d in dims):
        raise ShapeError(f"there is no {name} over dimensions {dims} of shape {x.shape}: no values")


def _dims(x: Tensor, dim, axis=None) -> tuple[int, ...]:
    """Return the dimensions to reduce; an empty tuple means all, as in PyTorch."""
    dim = dim if axis is None else axis
    return dimensions(None if isinstance(dim, (tuple, list)) and not dim else dim, x.ndim)


def _keep(keepdim, keepdims) -> bool:
    """Return whether the dimensions stay; a number here is a dimension in the wrong place."""
    if type(keepdim) is not bool or type(keepdims) is not bool:
        value = keepdims if type(keepdim) is bool else keepdim
        raise UsageError(
            f"keepdim must be True or False, got {value!r}: give several dimensions as a tuple"
        )
    return keepdim or keepdims


def _repeat(dy: Tensor, shape, dims) -> Tensor:
    """Repeat `dy` to `shape` over the reduced `dims`."""
    return broadcast_to(reshape(dy, _with_ones(shape, dims)), shape)


def _with_ones(shape, dims) -> list[int]:
    return [1 if i in dims else n for i, n in enumerate(shape)]
