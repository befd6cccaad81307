"""Max and average pooling of signals, pictures and volumes to a given output size."""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, Tensor
from nnmed.ops.arguments import check_positive, per_axis
from nnmed.ops.pictures import pictures
from nnmed.ops.pooling_axes import pool_axes
from nnmed.ops.pooling_ops import TO_MAXIMUM, ScatterPlane

_DX = r"\frac{\partial L}{\partial x_{nca}} = "
_DY = r"\frac{\partial L}{\partial y_{nci}}"
# The region that window i covers; i and a are positions, H and O sizes: (rows, columns).
_REGION = (
    r"\left\{a : \lfloor \tfrac{iH}{O} \rfloor \le a < \lceil \tfrac{(i+1)H}{O} \rceil\right\}"
)
_WHERE = r", \quad R_i = " + _REGION
_COVERING = r"\sum_{i:\,a \in R_i} \frac{1}{|R_i|}\, "
_MEAN = r"\frac{1}{|R_i|} \sum_{a \in R_i} "


def _notation(size, output_size) -> Notation:
    """Return what the symbols stand for where O windows cover H pixels."""
    values = {"H": np.array(size), "O": np.array(output_size)}
    return Notation(values, positions={"i": len(size), "a": len(size)})


class AdaptiveMaxPool2d(Op):
    """Largest value in each of O windows that cover a side of length H evenly.

    y[n,c,i,j] = max of x[n,c,a,b] over floor(i H/O) <= a < ceil((i+1) H/O), b likewise
    dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows (i,j) whose maximum is at (a,b)

    Ties and NaN as in max pooling.
    """

    forward_latex = r"y_{nci} = \max_{a \in R_i} x_{nca}" + _WHERE
    backward_latex = {"x": TO_MAXIMUM + _REGION}

    def __init__(self, output_size):
        self.output_size = output_size

    def notation(self):
        return _notation(self.input_shapes[0][2:], self.output_size)

    def forward(self, x):
        y, self.indices = kernels.select("pooling", x).adaptive_max_pool2d(x, self.output_size)
        self.keep(indices=self.indices)
        return y

    def backward(self, dy):
        return ScatterPlane(self.kept["indices"], self.input_shapes[0][2:])(dy)

    def flops(self, inputs, output):
        return math.prod(inputs[0])


class AdaptiveAvgPool2d(Op):
    """Mean of each of O windows that cover a side of length H evenly.

    y[n,c,i,j] = mean of x[n,c,a,b] over floor(i H/O) <= a < ceil((i+1) H/O), b likewise
    dx[n,c,a,b] = sum of dy[n,c,i,j] / size of (i,j) over the windows (i,j) that contain (a,b)
    """

    forward_latex = r"y_{nci} = " + _MEAN + r"x_{nca}" + _WHERE
    backward_latex = {"x": _DX + _COVERING + _DY + _WHERE}

    def __init__(self, output_size):
        self.output_size = output_size

    def notation(self):
        return _notation(self.input_shapes[0][2:], self.output_size)

    def forward(self, x):
        return kernels.select("pooling", x).adaptive_avg_pool2d(x, self.output_size)

    def backward(self, dy):
        return AdaptiveAvgPool2dInputGrad(self.input_shapes[0][2:])(dy)

    def flops(self, inputs, output):
        return math.prod(inputs[0])


class AdaptiveAvgPool2dInputGrad(Op):
    """The gradient of adaptive average pooling, as an op of its own.

    y[n,c,a,b] = sum of x[n,c,i,j] / size of (i,j) over the windows (i,j) that contain (a,b)
    dx = adaptive average pooling of dy
    """

    forward_latex = r"y_{nca} = " + _COVERING + r"x_{nci}" + _WHERE
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nci}} = "
        + _MEAN
        + r"\frac{\partial L}{\partial y_{nca}}"
        + _WHERE
    }

    def __init__(self, size):
        self.size = size

    def notation(self):
        return _notation(self.size, self.input_shapes[0][2:])

    def forward(self, x):
        return kernels.select("pooling", x).adaptive_avg_pool2d_input_grad(x, self.size)

    def backward(self, dy):
        return AdaptiveAvgPool2d(self.input_shapes[0][2:])(dy)


def adaptive_max_pool1d(input, output_size, return_indices=False):
    """Return the largest value of each of `output_size` windows that cover a signal.

    Arguments, result and errors are those of :func:`adaptive_max_pool2d` with one axis: `input`
    is ``(N, C, L)`` or ``(C, L)``, and a position is counted along L.
    """
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """Return the largest value of each of `output_size` windows that cover a picture.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    output_size : int or pair of (int or None)
        Rows and columns of the result; None keeps those of the input.
    return_indices : bool
        Return also the positions ``row * W + column`` of the maxima, int64.
    """
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input, output_size, return_indices=False):
    """Return the largest value of each of `output_size` windows that cover a volume.

    Arguments, result and errors are those of :func:`adaptive_max_pool2d` with three axes:
    `input` is ``(N, C, D, H, W)`` or ``(C, D, H, W)``, and a position is
    ``(depth * H + row) * W + column``.
    """
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


def adaptive_avg_pool1d(input, output_size) -> Tensor:
    """Return the mean of each of `output_size` windows that cover a signal.

    Arguments, result and errors are those of :func:`adaptive_avg_pool2d` with one axis: `input`
    is ``(N, C, L)`` or ``(C, L)``.
    """
    return _adaptive_avg_pool("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input, output_size) -> Tensor:
    """Return the mean of each of `output_size` windows that cover a picture.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    output_size : int or pair of (int or None)
        Rows and columns of the result; None keeps those of the input.
    """
    return _adaptive_avg_pool("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input, output_size) -> Tensor:
    """Return the mean of each of `output_size` windows that cover a volume.

    Arguments, result and errors are those of :func:`adaptive_avg_pool2d` with three axes:
    `input` is ``(N, C, D, H, W)`` or ``(C, D, H, W)``.
    """
    return _adaptive_avg_pool("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max_pool(name, dims, input, output_size, return_indices):
    x, batched = pictures(name, input, dims)
    size = _adaptive_size(name, dims, output_size, x.shape)
    y, indices = pool_axes(x, lambda along: AdaptiveMaxPool2d(along(size, 1)))
    return (batched(y), batched(Tensor._wrap(indices))) if return_indices else batched(y)


def _adaptive_avg_pool(name, dims, input, output_size):
    x, batched = pictures(name, input, dims)
    size = _adaptive_size(name, dims, output_size, x.shape)
    return batched(pool_axes(x, lambda along: AdaptiveAvgPool2d(along(size, 1)))[0])


def _adaptive_size(name, dims, output_size, shape):
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * dims
    if len(sizes) == dims:
        sizes = [n if size is None else size for n, size in zip(shape[2:], sizes)]
    size = per_axis(sizes, dims, "output_size")
    check_positive(name, output_size=size)
    return size
