"""Convolution, its transpose, and the gradient with respect to the weight, as ops.

Pictures and volumes have the same formulas: i, a and u below are positions (of an output
pixel, an input pixel, a tap of the kernel), which are pairs (row, column) in a picture and
triples (slice, row, column) in a volume. With the window ``x[n,c, i*s+u*d-p]`` that output
pixel i sees through tap u, the three are the partial derivatives of one trilinear sum over
all indices::

    S(dy, x, weight) = sum of  dy[n,o,i] * x[n,c, i*s+u*d-p] * weight[o,c,u]

    convolution   y[n,o,i]           = dS/d dy        function of x and weight
    transpose     dx[n,c,a]          = dS/d x         function of dy and weight
    weight grad   dweight[o,c,u]     = dS/d weight    function of dy and x

Each is linear in both of its arguments, so its gradients are the other two: the family is
closed, and derivatives of any order need no further op.
"""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op
from nnmed.autograd.side_by_side import side_by_side
from nnmed.backend.precision import rounded
from nnmed.ops.reduction import sum as sum_over

# Floating point operations from which it pays to let another thread begin.
WORTH_THREADS = 10_000_000

_WINDOW = r"_{nc,\,is+ud-p}"
# Which output pixels and taps meet input pixel a.
_MEET = r"(i,u):\,is+ud-p=a"
_DY = r"\frac{\partial L}{\partial y_{noi}}"
_DW = r"\frac{\partial L}{\partial w_{ocu}} = "
_DX = r"\frac{\partial L}{\partial x_{nca}} = "


class _Convolution(Op):
    """What the three ops share: how windows are laid.

    Parameters
    ----------
    stride, dilation : tuple of int
        Rows, columns; slices before them.
    padding : tuple of (int, int)
        (top, bottom), (left, right), and (front, back) before them; a negative number crops.
    groups : int
        Channels are split into this many groups that do not see each other.
    """

    def __init__(self, stride, padding, dilation, groups):
        self.windows = stride, padding, dilation, groups

    def notation(self):
        # The formulas are those of one group of channels.
        strides, paddings, dilations, groups = self.windows
        values = {"s": strides, "d": dilations, "p": [before for before, _ in paddings]}
        values = {symbol: np.array(number) for symbol, number in values.items()}

        def channels(array):
            return np.stack(np.split(array, groups, axis=1))

        def filters(array):
            return np.stack(np.split(array, groups))

        return Notation(
            values if len(self.input_shapes) > 2 else {**values, "b": 0},
            views={"x": channels, "y": channels, "w": filters, "b": filters},
            positions=dict.fromkeys("iua", len(strides)),
            rows=True,
        )

    def _keep_for_bilinear(self):
        # The gradient of one argument needs the other argument.
        self.keep(inputs=[i for i in (0, 1) if self.needs[1 - i]])

    def _gradients(self, dy, first, second):
        """Return what the two calls return, or None where that gradient is not wanted."""
        work = self.flops(self.input_shapes, dy.shape)
        if self.needs[0] and self.needs[1] and dy.device == "cpu" and work >= WORTH_THREADS:
            return side_by_side(first, second)
        return first() if self.needs[0] else None, second() if self.needs[1] else None


class Conv(_Convolution):
    """Weighted sum over a window, for each output channel and pixel.

    y[n,o,i] = bias[o] + sum over c,u of weight[o,c,u] * x[n,c, i*s+u*d-p]
    dx[n,c,a] = sum over o,u of dy[n,o,i] * weight[o,c,u]   where i*s+u*d-p = a
    dweight[o,c,u] = sum over n,i of dy[n,o,i] * x[n,c, i*s+u*d-p]
    dbias[o] = sum over n,i of dy[n,o,i]

    i, u, a: positions, (row, column) or (slice, row, column). s: stride, d: dilation, p:
    padding. Strictly it is a correlation: the kernel is not flipped.
    """

    forward_latex = r"y_{noi} = b_o + \sum_{c,u} w_{ocu}\, x" + _WINDOW
    backward_latex = {
        "x": _DX + r"\sum_{o} \sum_{" + _MEET + r"} " + _DY + r"\, w_{ocu}",
        "weight": _DW + r"\sum_{n,i} " + _DY + r"\, x" + _WINDOW,
        "bias": r"\frac{\partial L}{\partial b_o} = \sum_{n,i} " + _DY,
    }

    def forward(self, x, weight, bias=None):
        self._keep_for_bilinear()
        kernel = kernels.select("conv", x, weight)
        convolve = kernel.conv2d if x.ndim == 4 else kernel.conv3d
        return convolve(rounded(x), rounded(weight), bias, *self.windows)

    def backward(self, dy):
        x, weight = self.inputs[:2]
        shape_x, shape_weight = self.input_shapes[:2]
        dx, dweight = self._gradients(
            dy,
            lambda: ConvTranspose(shape_x[2:], *self.windows)(dy, weight),
            lambda: ConvWeightGrad(shape_weight[2:], *self.windows)(dy, x),
        )
        if len(self.needs) == 2:
            return dx, dweight
        return dx, dweight, sum_over(dy, (0, *range(2, dy.ndim))) if self.needs[2] else None

    def flops(self, inputs, output):
        return 2 * math.prod(output) * math.prod(inputs[1][1:])


class ConvTranspose(_Convolution):
    """The gradient of a convolution with respect to its input, as an op of its own.

    y[n,c,a] = sum over o,u of x[n,o,i] * weight[o,c,u]   where i*s+u*d-p = a
    dx[n,o,i] = sum over c,u of weight[o,c,u] * dy[n,c, i*s+u*d-p]
    dweight[o,c,u] = sum over n,i of x[n,o,i] * dy[n,c, i*s+u*d-p]

    Every input pixel adds its multiple of the kernel to the output. `output_size` (H, W), or
    (D, H, W), and the padding must be those of a convolution that makes x's size of it.
    """

    forward_latex = r"y_{nca} = \sum_{o} \sum_{" + _MEET + r"} x_{noi}\, w_{ocu}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{noi}} = \sum_{c,u} w_{ocu}\, "
        r"\frac{\partial L}{\partial y" + _WINDOW + r"}",
        "weight": _DW + r"\sum_{n,i} x_{noi}\, \frac{\partial L}{\partial y" + _WINDOW + r"}",
    }

    def __init__(self, output_size, stride, padding, dilation, groups):
        super().__init__(stride, padding, dilation, groups)
        self.output_size = output_size

    def forward(self, x, weight):
        self._keep_for_bilinear()
        kernel = kernels.select("conv", x, weight)
        input_grad = kernel.conv2d_input_grad if x.ndim == 4 else kernel.conv3d_input_grad
        return input_grad(rounded(x), rounded(weight), self.output_size, *self.windows)

    def backward(self, dy):
        x, weight = self.inputs
        return self._gradients(
            dy,
            lambda: Conv(*self.windows)(dy, weight),
            lambda: ConvWeightGrad(self.input_shapes[1][2:], *self.windows)(x, dy),
        )

    def flops(self, inputs, output):
        return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


class ConvWeightGrad(_Convolution):
    """The gradient of a convolution with respect to its weight, as an op of its own.

    w[o,c,u] = sum over n,i of y[n,o,i] * x[n,c, i*s+u*d-p]
    dy[n,o,i] = sum over c,u of dw[o,c,u] * x[n,c, i*s+u*d-p]
    dx[n,c,a] = sum over o,u of y[n,o,i] * dw[o,c,u]   where i*s+u*d-p = a

    y stands for the gradient of the convolution's output; dw is the gradient that flows in.
    """

    forward_latex = r"w_{ocu} = \sum_{n,i} y_{noi}\, x" + _WINDOW
    backward_latex = {
        "y": _DY + r" = \sum_{c,u} \frac{\partial L}{\partial w_{ocu}}\, x" + _WINDOW,
        "x": _DX + r"\sum_{o} \sum_{" + _MEET + r"} y_{noi}\, \frac{\partial L}{\partial w_{ocu}}",
    }

    def __init__(self, kernel_size, stride, padding, dilation, groups):
        super().__init__(stride, padding, dilation, groups)
        self.kernel_size = kernel_size

    def forward(self, y, x):
        self._keep_for_bilinear()
        kernel = kernels.select("conv", y, x)
        weight_grad = kernel.conv2d_weight_grad if x.ndim == 4 else kernel.conv3d_weight_grad
        return weight_grad(rounded(y), rounded(x), self.kernel_size, *self.windows)

    def backward(self, dw):
        y, x = self.inputs
        return self._gradients(
            dw,
            lambda: Conv(*self.windows)(x, dw),
            lambda: ConvTranspose(self.input_shapes[1][2:], *self.windows)(y, dw),
        )

    def flops(self, inputs, output):
        return 2 * math.prod(inputs[0]) * math.prod(output[1:])
