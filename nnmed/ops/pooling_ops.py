"""The ops of max and average pooling, on pictures; volumes and signals are made of them."""

from __future__ import annotations

import math

from nnmed import kernels
from nnmed.autograd import Op

_DX = r"\frac{\partial L}{\partial x_{ncab}} = "
_DY = r"\frac{\partial L}{\partial y_{ncij}}"
_MAXIMUM_AT = r"\sum_{(i,j):\,m_{ncij}=(a,b)} "
# The gradient goes to the maximum of the region R that a window covers.
_ARGMAX = r", \quad m_{ncij} = \arg\max_{(a,b) \in R_{ij}} x_{ncab}, \quad R_{ij} = "
TO_MAXIMUM = _DX + _MAXIMUM_AT + _DY + _ARGMAX
# The windows that cover pixel (a, b), each with the tap that does.
_COVERING = r"\sum_{(i,u):\,is+u-p=a} \sum_{(j,v):\,js+v-p=b} \frac{1}{q_{ij}}\, "
_MEAN = r"\frac{1}{q_{ij}} \sum_{u,v} "


class MaxPool2d(Op):
    """Largest value in each window.

    y[n,c,i,j] = max over u,v of x[n,c, i*s+u*d-p, j*s+v*d-p]      (padding counts as -inf)
    dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows (i,j) whose maximum is at (a,b)

    Ties: the first maximum in row-major order takes the whole gradient. A NaN counts as
    larger than any number.
    """

    forward_latex = r"y_{ncij} = \max_{u,v} x_{nc,\,is+ud-p,\,js+vd-p}"
    backward_latex = {"x": TO_MAXIMUM + r"\{(is+ud-p,\, js+vd-p)\}"}

    def __init__(self, kernel, stride, padding, dilation, output_size, with_indices=False):
        self.windows = kernel, stride, padding, dilation
        self.output_size, self.with_indices = output_size, with_indices
        self.indices = None

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

    forward_latex = r"y_{ncab} = " + _MAXIMUM_AT + r"x_{ncij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncij}} = "
        r"\frac{\partial L}{\partial y_{nc,\,m_{ncij}}}"
    }

    def __init__(self, codes, size, kernel, stride, padding, dilation):
        self.codes, self.size = codes, size
        self.windows = kernel, stride, padding, dilation

    def forward(self, x):
        kernel = kernels.select("pooling", x)
        return kernel.max_pool2d_input_grad(x, self.codes, self.size, *self.windows)

    def backward(self, dy):
        kernel = kernels.select("pooling", self.codes)
        return GatherPlane(kernel.max_pool2d_indices(self.codes, self.size, *self.windows))(dy)


class ScatterPlane(Op):
    """Add values at positions: y[n,c,m[n,c,i,j]] += x[n,c,i,j],   dx[n,c,i,j] = dy[n,c,m[n,c,i,j]]

    A position m is ``row * W + column``.
    """

    forward_latex = r"y_{nck} = \sum_{(i,j):\,m_{ncij}=k} x_{ncij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncij}} = "
        r"\frac{\partial L}{\partial y_{nc,\,m_{ncij}}}"
    }

    def __init__(self, indices, size):
        self.indices, self.size = indices, size

    def forward(self, x):
        return kernels.select("pooling", x).scatter_plane(x, self.indices, self.size)

    def backward(self, dy):
        return GatherPlane(self.indices)(dy)


class GatherPlane(Op):
    """Read values at positions: y[n,c,i,j] = x[n,c,m[n,c,i,j]],   dx[n,c,m[n,c,i,j]] += dy[n,c,i,j]

    A position m is ``row * W + column``.
    """

    forward_latex = r"y_{ncij} = x_{nc,\,m_{ncij}}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nck}} = \sum_{(i,j):\,m_{ncij}=k} " + _DY
    }

    def __init__(self, indices):
        self.indices = indices

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

    forward_latex = r"y_{nc,\,m_{ncij}} = x_{ncij}"
    backward_latex = ScatterPlane.backward_latex

    def __init__(self, indices, size):
        self.indices, self.size = indices, size

    def forward(self, x):
        return kernels.select("pooling", x).place_plane(x, self.indices, self.size)

    def backward(self, dy):
        return GatherPlane(self.indices)(dy)

    def flops(self, inputs, output):
        return 0


class AvgPool2d(Op):
    """Mean of each window.

    y[n,c,i,j] = (1/q[i,j]) sum over u,v of x[n,c, i*s+u-p, j*s+v-p]      (padding counts as 0)
    dx[n,c,a,b] = sum of dy[n,c,i,j] / q[i,j] over the windows (i,j) that contain (a,b)

    q is the size of the window, with the padding in it or without, or a number given.
    """

    forward_latex = r"y_{ncij} = " + _MEAN + r"x_{nc,\,is+u-p,\,js+v-p}"
    backward_latex = {"x": _DX + _COVERING + _DY}

    def __init__(self, kernel, stride, padding, output_size, *divisor):
        self.windows, self.output_size, self.divisor = (
            (kernel, stride, padding), output_size, divisor,
        )  # fmt: skip

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

    forward_latex = r"y_{ncab} = " + _COVERING + r"x_{ncij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncij}} = "
        + _MEAN
        + r"\frac{\partial L}{\partial y_{nc,\,is+u-p,\,js+v-p}}"
    }

    def __init__(self, size, kernel, stride, padding, *divisor):
        self.size, self.windows, self.divisor = size, (kernel, stride, padding), divisor

    def forward(self, x):
        kernel = kernels.select("pooling", x)
        return kernel.avg_pool2d_input_grad(x, self.size, *self.windows, *self.divisor)

    def backward(self, dy):
        return AvgPool2d(*self.windows, self.input_shapes[0][2:], *self.divisor)(dy)

    def flops(self, inputs, output):
        return math.prod(inputs[0]) * math.prod(self.windows[0])
