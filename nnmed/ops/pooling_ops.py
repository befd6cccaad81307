"""The ops of max and average pooling, on pictures; volumes and signals are made of them."""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, made_when_read
from nnmed.backend.arrays import to_device

# In formulas i, u and a are positions: (row, column).
_DX = r"\frac{\partial L}{\partial x_{nca}} = "
_DY = r"\frac{\partial L}{\partial y_{nci}}"
_MAXIMUM_AT = r"\sum_{i:\,m_{nci}=a} "
# The gradient goes to the maximum of the region R that a window covers.
_ARGMAX = r", \quad m_{nci} = \arg\max_{a \in R_i} x_{nca}, \quad R_i = "
TO_MAXIMUM = _DX + _MAXIMUM_AT + _DY + _ARGMAX
# The windows that cover pixel a, each with the tap that does.
_COVERING = r"\sum_{(i,u):\,is+u-p=a} \frac{1}{q_i}\, "
_MEAN = r"\frac{1}{q_i} \sum_u "


def _notation(kernel, stride, padding, dilation=None, **values) -> Notation:
    """Return what the symbols of windows stand for."""
    values |= {"s": np.array(stride), "p": np.array(padding)}
    if dilation is not None:
        values["d"] = np.array(dilation)
    return Notation(
        values,
        ranges={"u": tuple(kernel)},
        positions={"i": 2, "a": 2},
        outside=-math.inf if dilation is not None else 0,
    )


class MaxPool2d(Op):
    """Largest value in each window.

    y[n,c,i,j] = max over u,v of x[n,c, i*s+u*d-p, j*s+v*d-p]      (padding counts as -inf)
    dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows (i,j) whose maximum is at (a,b)

    Ties: the first maximum in row-major order takes the whole gradient. A NaN counts as
    larger than any number.
    """

    forward_latex = r"y_{nci} = \max_u x_{nc,\,is+ud-p}"
    backward_latex = {"x": TO_MAXIMUM + r"\{is+ud-p\}"}

    def __init__(self, kernel, stride, padding, dilation, output_size, with_indices=False):
        self.windows = kernel, stride, padding, dilation
        self.output_size, self.with_indices = output_size, with_indices
        self.indices = None

    def notation(self):
        return _notation(*self.windows)

    def forward(self, x):
        kernel = kernels.select("pooling", x)
        need = self.needs[0] or self.with_indices
        y, codes = kernel.max_pool2d(x, *self.windows, self.output_size, need)
        self.keep(codes=codes)
        if self.with_indices:
            self.indices = kernel.max_pool2d_indices(codes, x.shape[2:], *self.windows)
        return y

    def backward(self, dy):
        size = self.input_shapes[0][2:]
        return MaxPool2dInputGrad(self.kept["codes"], size, *self.windows)(dy)

    def flops(self, inputs, output):
        return math.prod(output) * math.prod(self.windows[0])


class MaxPool2dInputGrad(Op):
    """The gradient of max pooling, as an op of its own: it adds values where maxima were.

    y[n,c,a,b] = sum of x[n,c,i,j] over the windows (i,j) whose maximum is at (a,b)
    dx[n,c,i,j] = dy[n,c, m[n,c,i,j]], m the position of the maximum of window (i,j)
    """

    forward_latex = r"y_{nca} = " + _MAXIMUM_AT + r"x_{nci}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nci}} = "
        r"\frac{\partial L}{\partial y_{nc,\,m_{nci}}}"
    }

    def __init__(self, codes, size, kernel, stride, padding, dilation):
        self.codes, self.size = codes, size
        self.windows = kernel, stride, padding, dilation

    def notation(self):
        def maxima():
            codes = to_device(self.codes, "cpu")
            kernel = kernels.select("pooling", codes)
            numbers = kernel.max_pool2d_indices(codes, self.size, *self.windows)
            return np.stack(np.unravel_index(numbers, self.size), axis=-1)

        return Notation({"m": made_when_read(maxima)}, positions={"i": 2, "a": 2})

    def forward(self, x):
        kernel = kernels.select("pooling", x)
        return kernel.max_pool2d_input_grad(x, self.codes, self.size, *self.windows)

    def backward(self, dy):
        kernel = kernels.select("pooling", self.codes)
        return GatherPlane(kernel.max_pool2d_indices(self.codes, self.size, *self.windows))(dy)


def _plane_notation(indices, plane: str) -> Notation:
    """Return how formulas are read in which the pixels of a plane are numbered."""
    return Notation(
        {"m": made_when_read(lambda: to_device(indices, "cpu"))},
        views={plane: lambda array: array.reshape(*array.shape[:2], -1)},
        positions={"i": 2},
    )


class ScatterPlane(Op):
    """Add values at positions: y[n,c,m[n,c,i,j]] += x[n,c,i,j],   dx[n,c,i,j] = dy[n,c,m[n,c,i,j]]

    A position m is ``row * W + column``.
    """

    forward_latex = r"y_{nck} = \sum_{i:\,m_{nci}=k} x_{nci}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nci}} = "
        r"\frac{\partial L}{\partial y_{nc,\,m_{nci}}}"
    }

    def __init__(self, indices, size):
        self.indices, self.size = indices, size

    def notation(self):
        return _plane_notation(self.indices, "y")

    def forward(self, x):
        return kernels.select("pooling", x).scatter_plane(x, self.indices, self.size)

    def backward(self, dy):
        return GatherPlane(self.indices)(dy)


class GatherPlane(Op):
    """Read values at positions: y[n,c,i,j] = x[n,c,m[n,c,i,j]],   dx[n,c,m[n,c,i,j]] += dy[n,c,i,j]

    A position m is ``row * W + column``.
    """

    forward_latex = r"y_{nci} = x_{nc,\,m_{nci}}"
    backward_latex = {"x": r"\frac{\partial L}{\partial x_{nck}} = \sum_{i:\,m_{nci}=k} " + _DY}

    def __init__(self, indices):
        self.indices = indices

    def notation(self):
        return _plane_notation(self.indices, "x")

    def forward(self, x):
        return kernels.select("pooling", x).gather_plane(x, self.indices)

    def backward(self, dy):
        return ScatterPlane(self.indices, self.input_shapes[0][2:])(dy)

    def flops(self, inputs, output):
        return 0


class PlacePlane(Op):
    """Write values at positions of zeros: y[n,c,m[n,c,i,j]] = x[n,c,i,j]

    dx[n,c,i,j] = dy[n,c,m[n,c,i,j]]. Where a position repeats, the last value stays, and
    every one gets the gradient, as in PyTorch.
    """

    forward_latex = r"y_{nc,\,m_{nci}} = x_{nci}"
    backward_latex = ScatterPlane.backward_latex

    def __init__(self, indices, size):
        self.indices, self.size = indices, size

    def notation(self):
        return _plane_notation(self.indices, "y")

    def forward(self, x):
        return kernels.select("pooling", x).place_plane(x, self.indices, self.size)

    def backward(self, dy):
        return GatherPlane(self.indices)(dy)

    def flops(self, inputs, output):
        return 0


def _average_notation(windows, size, divisor) -> Notation:
    """Return what the symbols of windows over a picture of a size stand for."""
    count_include_pad, given = divisor

    def cells(i):
        if given is not None:
            return given
        counts = []
        for place, kernel, stride, pad, n in zip(i, *windows, size):
            start = place * stride - pad
            low, high = (-pad, n + pad) if count_include_pad else (0, n)
            counts.append(min(start + kernel, high) - max(start, low))
        return math.prod(counts)

    return _notation(*windows, q=cells)


class AvgPool2d(Op):
    """Mean of each window.

    y[n,c,i,j] = (1/q[i,j]) sum over u,v of x[n,c, i*s+u-p, j*s+v-p]      (padding counts as 0)
    dx[n,c,a,b] = sum of dy[n,c,i,j] / q[i,j] over the windows (i,j) that contain (a,b)

    q is the size of the window, with the padding in it or without, or a number given.
    """

    forward_latex = r"y_{nci} = " + _MEAN + r"x_{nc,\,is+u-p}"
    backward_latex = {"x": _DX + _COVERING + _DY}

    def __init__(self, kernel, stride, padding, output_size, *divisor):
        self.windows, self.output_size, self.divisor = (
            (kernel, stride, padding), output_size, divisor,
        )  # fmt: skip

    def notation(self):
        return _average_notation(self.windows, self.input_shapes[0][2:], self.divisor)

    def forward(self, x):
        kernel = kernels.select("pooling", x)
        return kernel.avg_pool2d(x, *self.windows, self.output_size, *self.divisor)

    def backward(self, dy):
        return AvgPool2dInputGrad(self.input_shapes[0][2:], *self.windows, *self.divisor)(dy)

    def flops(self, inputs, output):
        return math.prod(output) * math.prod(self.windows[0])


class AvgPool2dInputGrad(Op):
    """The gradient of average pooling, as an op of its own.

    y[n,c,a,b] = sum of x[n,c,i,j] / q[i,j] over the windows (i,j) that contain (a,b)
    dx = average pooling of dy
    """

    forward_latex = r"y_{nca} = " + _COVERING + r"x_{nci}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nci}} = "
        + _MEAN
        + r"\frac{\partial L}{\partial y_{nc,\,is+u-p}}"
    }

    def __init__(self, size, kernel, stride, padding, *divisor):
        self.size, self.windows, self.divisor = size, (kernel, stride, padding), divisor

    def notation(self):
        return _average_notation(self.windows, self.size, self.divisor)

    def forward(self, x):
        kernel = kernels.select("pooling", x)
        return kernel.avg_pool2d_input_grad(x, self.size, *self.windows, *self.divisor)

    def backward(self, dy):
        return AvgPool2d(*self.windows, self.input_shapes[0][2:], *self.divisor)(dy)

    def flops(self, inputs, output):
        return math.prod(inputs[0]) * math.prod(self.windows[0])
