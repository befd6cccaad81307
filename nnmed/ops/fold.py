"""Cutting pictures into windows, and adding windows up to pictures."""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels.resample.windows import Windows
from nnmed.ops.arguments import as_tensor, check_positive, check_same_dtype, pair
from nnmed.ops.pictures import pictures
from nnmed.ops.shape import reshape

# In formulas i, u and a are positions: (row, column).
_WINDOW = r"_{nc,\,is+ud-p}"
# The windows and taps that meet pixel a.
_MEET = r"\sum_{(i,u):\,is+ud-p=a} "


def _notation(windows: Windows, size, columns: str) -> Notation:
    """Return how formulas are read; a picture's windows i stand in columns (c, u)."""
    counts = windows.counts(size)

    def apart(array):
        return array.reshape(len(array), -1, *windows.kernel, *counts)

    values = {"s": windows.stride, "d": windows.dilation, "p": windows.padding}
    return Notation(
        {symbol: np.array(number) for symbol, number in values.items()},
        views={columns: apart},
        positions=dict.fromkeys("iua", len(counts)),
    )


class Unfold(Op):
    """The windows of a picture as columns; the opposite direction of :class:`Fold`.

    y[n, (c,u,v), (i,j)] = x[n,c, i*s+u*d-p, j*s+v*d-p]      (padding counts as 0)
    dx[n,c,a,b] = sum of dy[n, (c,u,v), (i,j)]   where i*s+u*d-p = a, j*s+v*d-p = b
    """

    forward_latex = r"y_{n,\,(c,u),\,i} = x" + _WINDOW
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nca}} = "
        + _MEET
        + r"\frac{\partial L}{\partial y_{n,\,(c,u),\,i}}"
    }

    def __init__(self, windows: Windows):
        self.windows = windows

    def notation(self):
        return _notation(self.windows, self.input_shapes[0][2:], "y")

    def forward(self, x):
        return kernels.select("resample", x).unfold(x, self.windows)

    def backward(self, dy):
        return Fold(self.windows, self.input_shapes[0][2:])(dy)

    def flops(self, inputs, output):
        return 0


class Fold(Op):
    """The picture in which every window is added at its place.

    y[n,c,a,b] = sum of x[n, (c,u,v), (i,j)]   where i*s+u*d-p = a, j*s+v*d-p = b
    dx[n, (c,u,v), (i,j)] = dy[n,c, i*s+u*d-p, j*s+v*d-p]
    """

    forward_latex = r"y_{nca} = " + _MEET + r"x_{n,\,(c,u),\,i}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{n,\,(c,u),\,i}} = "
        r"\frac{\partial L}{\partial y" + _WINDOW + r"}"
    }

    def __init__(self, windows: Windows, size):
        self.windows, self.size = windows, size

    def notation(self):
        return _notation(self.windows, self.size, "x")

    def forward(self, x):
        return kernels.select("resample", x).fold(x, self.windows, self.size)

    def backward(self, dy):
        return Unfold(self.windows)(dy)

    def flops(self, inputs, output):
        return math.prod(inputs[0])


def unfold(input, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """Return the windows of a picture as columns.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size, dilation, stride : int or pair of int
        Size of a window, pixels between its taps, and between neighbouring windows.
    padding : int or pair of int
        Rows and columns of zeros on each side.

    Returns
    -------
    Tensor
        ``(N, C * kh * kw, L)`` for L windows in row-major order, or without N.
    """
    windows = _windows("unfold", kernel_size, dilation, padding, stride)
    x, batched = pictures("unfold", input)
    _counts("unfold", windows, x.shape[2:])
    return batched(Unfold(windows)(x))


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1) -> Tensor:
    """Return the picture in which every column of `input`, a window, is added at its place.

    It is the gradient of :func:`unfold`, not its inverse: where windows overlap, they add up.

    Parameters
    ----------
    input : Tensor
        ``(N, C * kh * kw, L)`` or ``(C * kh * kw, L)``.
    output_size : int or pair of int
        Rows and columns of the result, those from which :func:`unfold` makes L windows.
    kernel_size, dilation, padding, stride : int or pair of int
        As for :func:`unfold`.

    Returns
    -------
    Tensor
        ``(N, C, *output_size)``, or without N.
    """
    windows = _windows("fold", kernel_size, dilation, padding, stride)
    size = pair(output_size, "output_size")
    check_positive("fold", output_size=size)
    x = as_tensor(input)
    check_same_dtype("fold", input=x)
    taps, count = math.prod(windows.kernel), math.prod(_counts("fold", windows, size))
    if x.ndim not in (2, 3) or x.shape[-2] % taps or not x.shape[-2] or x.shape[-1] != count:
        raise ShapeError(
            f"fold: expected (N, C * {taps}, {count}) or without N for output_size {size}, "
            f"kernel_size {windows.kernel}, dilation {windows.dilation}, padding "
            f"{windows.padding} and stride {windows.stride}; got {x.shape}"
        )
    if x.ndim == 3:
        return Fold(windows, size)(x)
    y = Fold(windows, size)(reshape(x, (1, *x.shape)))
    return reshape(y, y.shape[1:])


def _windows(name, kernel_size, dilation, padding, stride) -> Windows:
    kernel, dilation = pair(kernel_size, "kernel_size"), pair(dilation, "dilation")
    padding, stride = pair(padding, "padding"), pair(stride, "stride")
    check_positive(name, kernel_size=kernel, dilation=dilation, stride=stride)
    if min(padding) < 0:
        raise UsageError(f"{name}: padding must not be negative, got {padding}")
    return Windows(kernel, dilation, padding, stride)


def _counts(name, windows, size):
    counts = windows.counts(size)
    if min(counts) < 1:
        raise ShapeError(
            f"{name}: a window of {windows.kernel} with dilation {windows.dilation} does not fit "
            f"into a picture of {tuple(size)} with padding {windows.padding}"
        )
    return counts
