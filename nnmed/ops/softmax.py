"""softmax and its logarithm along one dimension."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Notation, Op, Tensor
from nnmed.backend.arrays import array_module
from nnmed.kernels import select
from nnmed.ops.arguments import as_tensor, cast, check_same_dtype, dimension
from nnmed.ops.elementwise import exp


def _of_one_row(dim: int) -> Notation:
    """Return how formulas are read that speak of one row along a dimension."""

    def rows(array):
        array = np.moveaxis(np.atleast_1d(array), dim, -1)
        return array.reshape(-1, array.shape[-1])

    return Notation(views={"x": rows, "y": rows}, rows=True)


class Softmax(Op):
    """y_c = exp(x_c) / sum_k exp(x_k),   dx_c = y_c (dy_c - sum_k dy_k y_k)"""

    forward_latex = r"y_c = \frac{e^{x_c}}{\sum_k e^{x_k}}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_c} = y_c \left(\frac{\partial L}{\partial y_c} - "
        r"\sum_k \frac{\partial L}{\partial y_k}\, y_k\right)"
    }

    def __init__(self, dim: int):
        self.dim = dim

    def notation(self):
        return _of_one_row(self.dim)

    def forward(self, x):
        self.keep(output=True)
        return select("activation", x).softmax(x, self.dim)

    def backward(self, dy):
        y = self.output
        return y * (dy - (dy * y).sum(self.dim, keepdim=True))

    def fused_backward(self, dy):
        return select("activation", dy).softmax_grad(dy, self.output._array, self.dim)

    def flops(self, inputs, output):
        return 5 * math.prod(output)  # maximum, subtract, exp, sum, divide


class LogSoftmax(Op):
    """y_c = x_c - log sum_k exp(x_k),   dx_c = dy_c - exp(y_c) sum_k dy_k"""

    forward_latex = r"y_c = x_c - \ln \sum_k e^{x_k}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_c} = \frac{\partial L}{\partial y_c} - "
        r"e^{y_c} \sum_k \frac{\partial L}{\partial y_k}"
    }

    def __init__(self, dim: int):
        self.dim = dim

    def notation(self):
        return _of_one_row(self.dim)

    def forward(self, x):
        self.keep(output=True)
        return select("activation", x).log_softmax(x, self.dim)

    def backward(self, dy):
        return dy - exp(self.output) * dy.sum(self.dim, keepdim=True)

    def fused_backward(self, dy):
        return select("activation", dy).log_softmax_grad(dy, self.output._array, self.dim)

    def flops(self, inputs, output):
        return 5 * math.prod(output)


def logsumexp(input, dim, keepdim: bool = False) -> Tensor:
    """Return ln sum exp(x) along a dimension, as ``torch.logsumexp``; its gradient is softmax.

    It is computed as m + ln sum exp(x - m), m the largest element if that is finite, else 0,
    which does not overflow. Of nothing it is -inf.

    Raises
    ------
    ShapeError
        If there is no such dimension.
    """
    x = as_tensor(input)
    dim = dimension(dim, x.ndim)
    largest = Tensor._wrap(_largest(x._array, dim))
    total = exp(x - largest).sum(dim, keepdim=True).log() + largest
    return total if keepdim else total.squeeze(dim)


def _largest(x, dim):
    """Return the largest numbers along `dim`, and 0 where they are infinite or there are none."""
    if not x.size:
        shape = (*x.shape[:dim], 1, *x.shape[dim + 1 :])
        return array_module(x).zeros(shape, x.dtype)
    largest = x.max(axis=dim if x.ndim else None, keepdims=True)
    return np.where(np.isfinite(largest), largest, 0).astype(x.dtype)


def softmax(input, dim: int | None = None, *, dtype=None) -> Tensor:
    """Return exp(input), scaled to sum 1 along `dim`, as ``torch.nn.functional.softmax``.

    Parameters
    ----------
    input : Tensor
        Any shape.
    dim : int, optional
        Without it: 1 for 2 dimensions and from 4 on, 0 for none, 1 and 3, as PyTorch does.
    dtype : dtype, optional
        Convert the input to this float dtype first.
    """
    x, dim = _prepared("softmax", input, dim, dtype)
    return Softmax(dim)(x)


def log_softmax(input, dim: int | None = None, *, dtype=None) -> Tensor:
    """Return the logarithm of :func:`softmax`, exact where the softmax itself rounds to 0."""
    x, dim = _prepared("log_softmax", input, dim, dtype)
    return LogSoftmax(dim)(x)


def softmin(input, dim: int | None = None, *, dtype=None) -> Tensor:
    """Return the :func:`softmax` of the negative input."""
    x, dim = _prepared("softmin", input, dim, dtype)
    return Softmax(dim)(-x)


def _prepared(name, input, dim, dtype):
    x = as_tensor(input)
    if dtype is not None:
        x = cast(x, dtype)
    check_same_dtype(name, input=x)
    if dim is None:
        dim = 0 if x.ndim in (0, 1, 3) else 1
    return x, dimension(dim, x.ndim)
