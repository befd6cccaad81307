"""Max and average pooling with windows of one size."""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Op, Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import check_positive, pair
from nnmed.ops.pictures import pictures

_DX = r"\frac{\partial L}{\partial x_{ncab}} = "
_DY = r"\frac{\partial L}{\partial y_{ncij}}"


class MaxPool2d(Op):
    """Largest value in each window.

    y[n,c,i,j] = max over u,v of x[n,c, i*s+u*d-p, j*s+v*d-p]      (padding counts as -inf)
    dx[n,c,a,b] = sum of dy[n,c,i,j] over the windows (i,j) whose maximum is at (a,b)

    Ties: the first maximum in row-major order takes the whole gradient. A NaN counts as
    larger than any number.
    """

    forward_latex = r"y_{ncij} = \max_{u,v} x_{nc,\,is+ud-p,\,js+vd-p}"
    backward_latex = {"x": _DX + r"\sum_{(i,j):\,\arg\max=(a,b)} " + _DY}

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
    dx[n,c,i,j] = dy[n,c, position of the maximum of window (i,j)]
    """

    forward_latex = r"y_{ncab} = \sum_{(i,j):\,\arg\max=(a,b)} x_{ncij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncij}} = "
        r"\frac{\partial L}{\partial y_{nc,\,\arg\max(i,j)}}"
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
    """Add values at positions: y[n,c,k[n,c,i,j]] += x[n,c,i,j],   dx[n,c,i,j] = dy[n,c,k[n,c,i,j]]

    A position k is ``row * W + column``.
    """

    forward_latex = r"y_{nck} = \sum_{(i,j):\,k_{ncij}=k} x_{ncij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncij}} = \frac{\partial L}{\partial y_{nc,k_{ncij}}}"
    }

    def __init__(self, indices, size):
        self.indices, self.size = indices, size

    def forward(self, x):
        return kernels.select("pooling", x).scatter_plane(x, self.indices, self.size)

    def backward(self, dy):
        return GatherPlane(self.indices)(dy)


class GatherPlane(Op):
    """Read values at positions: y[n,c,i,j] = x[n,c,k[n,c,i,j]],   dx[n,c,k[n,c,i,j]] += dy[n,c,i,j]

    A position k is ``row * W + column``.
    """

    forward_latex = r"y_{ncij} = x_{nc,k_{ncij}}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nck}} = \sum_{(i,j):\,k_{ncij}=k} " + _DY
    }

    def __init__(self, indices):
        self.indices = indices

    def forward(self, x):
        return kernels.select("pooling", x).gather_plane(x, self.indices)

    def backward(self, dy):
        return ScatterPlane(self.indices, self.input_shapes[0][2:])(dy)

    def flops(self, inputs, output):
        return 0


class AvgPool2d(Op):
    """Mean of each window.

    y[n,c,i,j] = (1/q[i,j]) sum over u,v of x[n,c, i*s+u-p, j*s+v-p]      (padding counts as 0)
    dx[n,c,a,b] = sum of dy[n,c,i,j] / q[i,j] over the windows (i,j) that contain (a,b)

    q is the size of the window, with the padding in it or without, or a number given.
    """

    forward_latex = r"y_{ncij} = \frac{1}{q_{ij}} \sum_{u,v} x_{nc,\,is+u-p,\,js+v-p}"
    backward_latex = {"x": _DX + r"\sum_{(i,j):\,(a,b) \in W_{ij}} \frac{1}{q_{ij}} " + _DY}

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

    forward_latex = r"y_{ncab} = \sum_{(i,j):\,(a,b) \in W_{ij}} \frac{1}{q_{ij}} x_{ncij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncij}} = \frac{1}{q_{ij}} \sum_{(a,b) \in W_{ij}} "
        r"\frac{\partial L}{\partial y_{ncab}}"
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


def max_pool2d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """Return the largest value in each window of a picture.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size, stride, padding, dilation : int or pair of int
        Rows and columns; `stride` is `kernel_size` by default. Padding counts as -inf and
        is at most half of the kernel.
    ceil_mode : bool
        Round the output size up, so that windows may reach over the edge.
    return_indices : bool
        Return also the positions ``row * W + column`` of the maxima, int64.

    Raises
    ------
    ShapeError
        If the picture is smaller than a window, or a window lies in the padding alone.
    """
    kernel, stride = _kernel_and_stride("max_pool2d", kernel_size, stride)
    padding, dilation = pair(padding, "padding"), pair(dilation, "dilation")
    check_positive("max_pool2d", dilation=dilation)
    x, batched = pictures("max_pool2d", input)
    size = _output_size("max_pool2d", x.shape, kernel, stride, padding, dilation, ceil_mode)
    _check_windows_touch("max_pool2d", x.shape, kernel, stride, padding, dilation, size)
    op = MaxPool2d(kernel, stride, padding, dilation, size, return_indices)
    y = batched(op(x))
    indices, op.indices = op.indices, None  # the graph need not hold them
    return (y, batched(Tensor._wrap(indices))) if return_indices else y


def avg_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
) -> Tensor:
    """Return the mean of each window of a picture.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size, stride, padding : int or pair of int
        Rows and columns; `stride` is `kernel_size` by default. Padding counts as 0.
    ceil_mode : bool
        Round the output size up, so that windows may reach over the edge.
    count_include_pad : bool
        Whether the padding counts in the size that the sum is divided by.
    divisor_override : int, optional
        Divide every sum by this number instead.
    """
    if divisor_override == 0:
        raise UsageError("avg_pool2d: divisor_override must not be 0")
    kernel, stride = _kernel_and_stride("avg_pool2d", kernel_size, stride)
    padding = pair(padding, "padding")
    x, batched = pictures("avg_pool2d", input)
    size = _output_size("avg_pool2d", x.shape, kernel, stride, padding, (1, 1), ceil_mode)
    divisor = bool(count_include_pad), divisor_override
    return batched(AvgPool2d(kernel, stride, padding, size, *divisor)(x))


def _kernel_and_stride(name, kernel_size, stride):
    kernel = pair(kernel_size, "kernel_size")
    stride = kernel if stride is None else pair(stride, "stride")
    check_positive(name, kernel_size=kernel, stride=stride)
    return kernel, stride


def _output_size(name, shape, kernel, stride, padding, dilation, ceil_mode):
    """Return how many rows and columns of windows fit, by PyTorch's rule."""
    if any(p < 0 or p > k // 2 for p, k in zip(padding, kernel)):
        raise UsageError(f"{name}: padding {padding} must be at most half of kernel_size {kernel}")
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    sizes = []
    for n, r, s, p in zip(shape[2:], reach, stride, padding):
        room = n + 2 * p - r
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:  # no window starts in the right padding
            count -= 1
        sizes.append(count)
    if min(sizes) < 1:
        raise ShapeError(
            f"{name}: a window of {tuple(reach)} does not fit into a picture of {shape[2:]} "
            f"with padding {padding}: input {shape}"
        )
    return tuple(sizes)


def _check_windows_touch(name, shape, kernel, stride, padding, dilation, size):
    # Only dilation can step from the padding on one side over the picture to the other.
    for n, k, s, p, d, count in zip(shape[2:], kernel, stride, padding, dilation, size):
        cells = np.arange(count)[:, None] * s - p + np.arange(k) * d
        if d > 1 and p and not ((cells >= 0) & (cells < n)).any(axis=1).all():
            raise ShapeError(
                f"{name}: with padding {padding} and dilation {dilation}, a window lies outside "
                f"the picture of {shape[2:]}: input {shape}; use less padding"
            )
