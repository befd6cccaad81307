"""2-d convolution, its transpose, and the gradient with respect to the weight.

With the window ``x[n,c, i*s+u*d-p, j*s+v*d-p]`` that output pixel (i, j) sees through tap
(u, v), the three are the partial derivatives of one trilinear sum over all indices::

    S(dy, x, weight) = sum of  dy[n,o,i,j] * x[n,c, i*s+u*d-p, j*s+v*d-p] * weight[o,c,u,v]

    convolution   y[n,o,i,j]           = dS/d dy        function of x and weight
    transpose     dx[n,c,a,b]          = dS/d x         function of dy and weight
    weight grad   dweight[o,c,u,v]     = dS/d weight    function of dy and x

Each is linear in both of its arguments, so its gradients are the other two: the family is
closed, and derivatives of any order need no further op.
"""

from __future__ import annotations

import math

from nnmed import kernels
from nnmed.autograd import Op, Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_positive, check_same_dtype, pair
from nnmed.ops.pictures import pictures
from nnmed.ops.reduction import sum as sum_over
from nnmed.ops.shape import reshape

_WINDOW = r"_{nc,\,is+ud-p,\,js+vd-p}"
# Which output pixels and taps meet input pixel (a, b).
_MEET = r"(i,u):\,is+ud-p=a \atop (j,v):\,js+vd-p=b"
_DY = r"\frac{\partial L}{\partial y_{noij}}"
_DW = r"\frac{\partial L}{\partial w_{ocuv}} = "
_DX = r"\frac{\partial L}{\partial x_{ncab}} = "


class _Convolution(Op):
    """What the three ops share: how windows are laid, and what they cost.

    Parameters
    ----------
    stride, dilation : (int, int)
        Rows, columns.
    padding : ((int, int), (int, int))
        (top, bottom), (left, right); a negative number crops.
    groups : int
        Channels are split into this many groups that do not see each other.
    """

    def __init__(self, stride, padding, dilation, groups):
        self.windows = stride, padding, dilation, groups

    def _keep_for_bilinear(self):
        # The gradient of one argument needs the other argument.
        self.keep(inputs=[i for i in (0, 1) if self.needs[1 - i]])


class Conv2d(_Convolution):
    """Weighted sum over a window, for each output channel and pixel.

    y[n,o,i,j] = bias[o] + sum over c,u,v of weight[o,c,u,v] * x[n,c, i*s+u*d-p, j*s+v*d-p]
    dx[n,c,a,b] = sum over o,u,v of dy[n,o,i,j] * weight[o,c,u,v]   where i*s+u*d-p = a, j... = b
    dweight[o,c,u,v] = sum over n,i,j of dy[n,o,i,j] * x[n,c, i*s+u*d-p, j*s+v*d-p]
    dbias[o] = sum over n,i,j of dy[n,o,i,j]

    s: stride, d: dilation, p: padding. Strictly it is a correlation: the kernel is not flipped.
    """

    forward_latex = r"y_{noij} = b_o + \sum_{c,u,v} w_{ocuv}\, x" + _WINDOW
    backward_latex = {
        "x": _DX + r"\sum_{o} \sum_{" + _MEET + r"} " + _DY + r"\, w_{ocuv}",
        "weight": _DW + r"\sum_{n,i,j} " + _DY + r"\, x" + _WINDOW,
        "bias": r"\frac{\partial L}{\partial b_o} = \sum_{n,i,j} " + _DY,
    }

    def forward(self, x, weight, bias=None):
        self._keep_for_bilinear()
        return kernels.select("conv", x, weight).conv2d(x, weight, bias, *self.windows)

    def backward(self, dy):
        x, weight = self.inputs[:2]
        shape_x, shape_weight = self.input_shapes[:2]
        dx = dweight = dbias = None
        if self.needs[0]:
            dx = ConvTranspose2d(shape_x[2:], *self.windows)(dy, weight)
        if self.needs[1]:
            dweight = ConvWeightGrad(shape_weight[2:], *self.windows)(dy, x)
        if len(self.needs) == 3 and self.needs[2]:
            dbias = sum_over(dy, (0, 2, 3))
        return (dx, dweight, dbias)[: len(self.needs)]

    def flops(self, inputs, output):
        return 2 * math.prod(output) * math.prod(inputs[1][1:])


class ConvTranspose2d(_Convolution):
    """The gradient of a convolution with respect to its input, as an op of its own.

    y[n,c,a,b] = sum over o,u,v of x[n,o,i,j] * weight[o,c,u,v]   where i*s+u*d-p = a, j... = b
    dx[n,o,i,j] = sum over c,u,v of weight[o,c,u,v] * dy[n,c, i*s+u*d-p, j*s+v*d-p]
    dweight[o,c,u,v] = sum over n,i,j of x[n,o,i,j] * dy[n,c, i*s+u*d-p, j*s+v*d-p]

    Every input pixel adds its multiple of the kernel to the output. `output_size` (H, W) and
    the padding must be those of a convolution that makes x's size of it.
    """

    forward_latex = r"y_{ncab} = \sum_{o} \sum_{" + _MEET + r"} x_{noij}\, w_{ocuv}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{noij}} = \sum_{c,u,v} w_{ocuv}\, "
        r"\frac{\partial L}{\partial y" + _WINDOW + r"}",
        "weight": _DW + r"\sum_{n,i,j} x_{noij}\, \frac{\partial L}{\partial y" + _WINDOW + r"}",
    }

    def __init__(self, output_size, stride, padding, dilation, groups):
        super().__init__(stride, padding, dilation, groups)
        self.output_size = output_size

    def forward(self, x, weight):
        self._keep_for_bilinear()
        kernel = kernels.select("conv", x, weight)
        return kernel.conv2d_input_grad(x, weight, self.output_size, *self.windows)

    def backward(self, dy):
        x, weight = self.inputs
        dx = Conv2d(*self.windows)(dy, weight) if self.needs[0] else None
        if not self.needs[1]:
            return dx, None
        return dx, ConvWeightGrad(self.input_shapes[1][2:], *self.windows)(x, dy)

    def flops(self, inputs, output):
        return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


class ConvWeightGrad(_Convolution):
    """The gradient of a convolution with respect to its weight, as an op of its own.

    w[o,c,u,v] = sum over n,i,j of y[n,o,i,j] * x[n,c, i*s+u*d-p, j*s+v*d-p]
    dy[n,o,i,j] = sum over c,u,v of dw[o,c,u,v] * x[n,c, i*s+u*d-p, j*s+v*d-p]
    dx[n,c,a,b] = sum over o,u,v of y[n,o,i,j] * dw[o,c,u,v]   where i*s+u*d-p = a, j... = b

    y stands for the gradient of the convolution's output; dw is the gradient that flows in.
    """

    forward_latex = r"w_{ocuv} = \sum_{n,i,j} y_{noij}\, x" + _WINDOW
    backward_latex = {
        "y": _DY + r" = \sum_{c,u,v} \frac{\partial L}{\partial w_{ocuv}}\, x" + _WINDOW,
        "x": _DX
        + r"\sum_{o} \sum_{"
        + _MEET
        + r"} y_{noij}\, \frac{\partial L}{\partial w_{ocuv}}",
    }

    def __init__(self, kernel_size, stride, padding, dilation, groups):
        super().__init__(stride, padding, dilation, groups)
        self.kernel_size = kernel_size

    def forward(self, y, x):
        self._keep_for_bilinear()
        kernel = kernels.select("conv", y, x)
        return kernel.conv2d_weight_grad(y, x, self.kernel_size, *self.windows)

    def backward(self, dw):
        y, x = self.inputs
        dy = Conv2d(*self.windows)(x, dw) if self.needs[0] else None
        if not self.needs[1]:
            return dy, None
        return dy, ConvTranspose2d(self.input_shapes[1][2:], *self.windows)(y, dw)

    def flops(self, inputs, output):
        return 2 * math.prod(inputs[0]) * math.prod(output[1:])


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Return the 2-d convolution of a picture with a bank of kernels.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    weight : Tensor
        ``(O, C / groups, kh, kw)``.
    bias : Tensor, optional
        ``(O,)``, added to every pixel of its channel.
    stride, dilation : int or pair of int
        Pixels between neighbouring windows, and between neighbouring taps of one window.
    padding : int, pair of int, "valid" or "same"
        Rows and columns of zeros on each side. "valid" is none; "same" is what gives the
        output the size of the input, at stride 1, with the odd row below and to the right.
    groups : int
        The first O/groups output channels see the first C/groups input channels, and so on.

    Returns
    -------
    Tensor
        ``(N, O, Ho, Wo)``, or ``(O, Ho, Wo)`` for a single picture, with
        Ho = floor((H + top + bottom - dilation * (kh - 1) - 1) / stride) + 1.

    Raises
    ------
    ShapeError
        If the shapes do not fit together, or the padded picture is smaller than a window.
    UsageError
        If an argument is out of its range.
    """
    x, batched = pictures("conv2d", input)
    weight, bias = _parameters("conv2d", x, weight, bias)
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    check_positive("conv2d", stride=stride, dilation=dilation, groups=(groups,))
    padding = _padding(padding, weight.shape[2:], stride, dilation)
    outputs, channels = weight.shape[:2]
    if x.shape[1] != channels * groups:
        raise ShapeError(
            f"conv2d: weight expects {channels * groups} input channels, x has {x.shape[1]}: "
            f"{_shapes(x, weight)}" + (f", groups {groups}" if groups > 1 else "")
        )
    if outputs % groups:
        raise ShapeError(
            f"conv2d: the {outputs} output channels cannot be split into {groups} groups: "
            f"{_shapes(x, weight)}"
        )
    _check_bias("conv2d", bias, outputs)
    for name, size, before_after, reach in zip(
        ("high", "wide"), x.shape[2:], padding, _reach(weight, dilation)
    ):
        if size + sum(before_after) < reach:
            raise ShapeError(
                f"conv2d: a window is {reach} pixels {name}, but x only {size} plus "
                f"{sum(before_after)} of padding: {_shapes(x, weight)}, dilation {dilation}"
            )
    operands = (x, weight) if bias is None else (x, weight, bias)
    return batched(Conv2d(stride, padding, dilation, groups)(*operands))


def conv_transpose2d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
) -> Tensor:
    """Return the 2-d transposed convolution: each pixel adds its multiple of the kernel.

    It is the gradient of :func:`conv2d` with respect to its input, and undoes the change of
    size that a convolution of the same arguments makes.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    weight : Tensor
        ``(C, O / groups, kh, kw)``.
    bias : Tensor, optional
        ``(O,)``, added to every pixel of its channel.
    stride, dilation : int or pair of int
        Pixels between the kernels of neighbouring input pixels, and between taps.
    padding : int or pair of int
        Rows and columns cut off the output on each side.
    output_padding : int or pair of int
        Rows and columns added to the output below and to the right, fewer than `stride` or
        `dilation`: a strided convolution maps several sizes to one, and this picks one.
    groups : int
        The first C/groups input channels make the first O/groups output channels, and so on.

    Returns
    -------
    Tensor
        ``(N, O, Ho, Wo)``, or ``(O, Ho, Wo)`` for a single picture, with
        Ho = (H - 1) * stride - 2 * padding + dilation * (kh - 1) + output_padding + 1.

    Raises
    ------
    ShapeError
        If the shapes do not fit together, or nothing is left of the output.
    UsageError
        If an argument is out of its range.
    """
    x, batched = pictures("conv_transpose2d", input)
    weight, bias = _parameters("conv_transpose2d", x, weight, bias)
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    cut, extra = pair(padding, "padding"), pair(output_padding, "output_padding")
    check_positive("conv_transpose2d", stride=stride, dilation=dilation, groups=(groups,))
    if min(cut + extra) < 0 or any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise UsageError(
            f"conv_transpose2d: padding {cut} must not be negative, and output_padding {extra} "
            f"must be less than stride {stride} or dilation {dilation}"
        )
    if x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise ShapeError(
            f"conv_transpose2d: weight expects {weight.shape[0]} input channels in {groups} "
            f"groups, x has {x.shape[1]}: {_shapes(x, weight)}"
        )
    _check_bias("conv_transpose2d", bias, weight.shape[1] * groups)
    full = [(n - 1) * s + r for n, s, r in zip(x.shape[2:], stride, _reach(weight, dilation))]
    size = tuple(f - 2 * c + e for f, c, e in zip(full, cut, extra))
    if min(size) < 1:
        raise ShapeError(
            f"conv_transpose2d: padding {cut} leaves an output of {size}: {_shapes(x, weight)}"
        )
    # The padding with which a convolution makes exactly x's size of the output.
    exact = tuple((c, f - n - c) for f, n, c in zip(full, size, cut))
    y = ConvTranspose2d(size, stride, exact, dilation, groups)(x, weight)
    if bias is not None:
        y = y + reshape(bias, (-1, 1, 1))
    return batched(y)


def _parameters(name, x, weight, bias):
    """Return weight and bias as tensors of the right rank and dtype."""
    weight = as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    check_same_dtype(name, input=x, weight=weight, bias=bias)
    if weight.ndim != 4 or 0 in weight.shape:
        raise ShapeError(
            f"{name}: weight must have four dimensions, none empty: {_shapes(x, weight)}"
        )
    return weight, bias


def _padding(padding, kernel, stride, dilation):
    """Return `padding` as ((top, bottom), (left, right))."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise UsageError(f"conv2d: padding 'same' needs stride 1, got {stride}")
        missing = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple((m // 2, m - m // 2) for m in missing)
    if isinstance(padding, str):
        raise UsageError(f"conv2d: padding must be numbers, 'same' or 'valid', got {padding!r}")
    vertical, horizontal = pair(padding, "padding")
    if min(vertical, horizontal) < 0:
        raise UsageError(f"conv2d: padding must not be negative, got {padding}")
    return (vertical, vertical), (horizontal, horizontal)


def _check_bias(name, bias, outputs):
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"{name}: bias must be ({outputs},), got {bias.shape}")


def _reach(weight, dilation):
    """Return the height and width of a window in pixels."""
    return [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation)]


def _shapes(x, weight) -> str:
    return f"x {x.shape}, weight {weight.shape}"
