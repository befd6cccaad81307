"""Max and average pooling to a given output size."""

from __future__ import annotations

import math

from nnmed import kernels
from nnmed.autograd import Op, Tensor
from nnmed.ops.arguments import check_positive, pair
from nnmed.ops.pictures import pictures
from nnmed.ops.pooling import MaxPool2d, ScatterPlane

_DX = r"\frac{\partial L}{\partial x_{ncab}} = "
_DY = r"\frac{\partial L}{\partial y_{ncij}}"


class AdaptiveMaxPool2d(Op):
    """Largest value in each of O windows that cover a side of length H evenly.

    y[n,c,i,j] = max of x[n,c,a,b] over floor(i H/O) <= a < ceil((i+1) H/O), b likewise
    dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows (i,j) whose maximum is at (a,b)

    Ties and NaN as in max pooling.
    """

    forward_latex = (
        r"y_{ncij} = \max_{(a,b) \in W_{ij}} x_{ncab}, \quad W_{ij} = "
        r"\left[\lfloor \tfrac{iH}{O} \rfloor, \lceil \tfrac{(i+1)H}{O} \rceil\right) \times "
        r"\left[\lfloor \tfrac{jW}{P} \rfloor, \lceil \tfrac{(j+1)W}{P} \rceil\right)"
    )
    backward_latex = MaxPool2d.backward_latex

    def __init__(self, output_size):
        self.output_size = output_size

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

    forward_latex = r"y_{ncij} = \frac{1}{|W_{ij}|} \sum_{(a,b) \in W_{ij}} x_{ncab}"
    backward_latex = {"x": _DX + r"\sum_{(i,j):\,(a,b) \in W_{ij}} \frac{1}{|W_{ij}|} " + _DY}

    def __init__(self, output_size):
        self.output_size = output_size

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

    forward_latex = r"y_{ncab} = \sum_{(i,j):\,(a,b) \in W_{ij}} \frac{1}{|W_{ij}|} x_{ncij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncij}} = \frac{1}{|W_{ij}|} \sum_{(a,b) \in W_{ij}} "
        r"\frac{\partial L}{\partial y_{ncab}}"
    }

    def __init__(self, size):
        self.size = size

    def forward(self, x):
        return kernels.select("pooling", x).adaptive_avg_pool2d_input_grad(x, self.size)

    def backward(self, dy):
        return AdaptiveAvgPool2d(self.input_shapes[0][2:])(dy)


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """Return the largest value of each of ``output_size`` windows that cover a picture.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    output_size : int or pair of (int or None)
        Rows and columns of the result; None keeps those of the input.
    return_indices : bool
        Return also the positions ``row * W + column`` of the maxima, int64.
    """
    x, batched = pictures("adaptive_max_pool2d", input)
    op = AdaptiveMaxPool2d(_adaptive_size("adaptive_max_pool2d", output_size, x.shape))
    y = batched(op(x))
    indices, op.indices = op.indices, None  # the graph need not hold them
    return (y, batched(Tensor._wrap(indices))) if return_indices else y


def adaptive_avg_pool2d(input, output_size) -> Tensor:
    """Return the mean of each of ``output_size`` windows that cover a picture.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    output_size : int or pair of (int or None)
        Rows and columns of the result; None keeps those of the input.
    """
    x, batched = pictures("adaptive_avg_pool2d", input)
    size = _adaptive_size("adaptive_avg_pool2d", output_size, x.shape)
    return batched(AdaptiveAvgPool2d(size)(x))


def _adaptive_size(name, output_size, shape):
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
    if len(sizes) == 2:
        sizes = [n if size is None else size for n, size in zip(shape[2:], sizes)]
    size = pair(sizes, "output_size")
    check_positive(name, output_size=size)
    return size
