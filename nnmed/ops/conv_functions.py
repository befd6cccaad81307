"""Convolutions and transposed convolutions of signals, pictures and volumes.

A signal is a picture one column wide.
"""

from __future__ import annotations

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_positive, check_same_dtype, per_axis
from nnmed.ops.conv import Conv, ConvTranspose
from nnmed.ops.pictures import pictures
from nnmed.ops.shape import reshape

_ALONG = {1: ("long",), 2: ("high", "wide"), 3: ("deep", "high", "wide")}


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Return the 1-d convolution of a signal with a bank of kernels.

    Arguments, result and errors are those of :func:`conv2d` with one axis: `input` is
    ``(N, C, L)`` or ``(C, L)``, `weight` ``(O, C / groups, k)``, the result ``(N, O, Lo)`` or
    ``(O, Lo)``.
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Return the 2-d convolution of a picture with a bank of kernels.

    The fast kernels multiply by zeros as well: a NaN or an infinity in the input may reach
    outputs beside those that see it, and those of other groups.

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
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1) -> Tensor:
    """Return the 3-d convolution of a volume with a bank of kernels.

    Arguments, result and errors are those of :func:`conv2d` with three axes: `input` is
    ``(N, C, D, H, W)`` or ``(C, D, H, W)``, `weight` ``(O, C / groups, kd, kh, kw)``, the
    result ``(N, O, Do, Ho, Wo)`` or ``(O, Do, Ho, Wo)``.
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
) -> Tensor:
    """Return the 1-d transposed convolution: each value adds its multiple of the kernel.

    Arguments, result and errors are those of :func:`conv_transpose2d` with one axis: `input`
    is ``(N, C, L)`` or ``(C, L)``, `weight` ``(C, O / groups, k)``, the result ``(N, O, Lo)``
    or ``(O, Lo)``.
    """
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


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
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def conv_transpose3d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
) -> Tensor:
    """Return the 3-d transposed convolution: each voxel adds its multiple of the kernel.

    Arguments, result and errors are those of :func:`conv_transpose2d` with three axes: `input`
    is ``(N, C, D, H, W)`` or ``(C, D, H, W)``, `weight` ``(C, O / groups, kd, kh, kw)``, the
    result ``(N, O, Do, Ho, Wo)`` or ``(O, Do, Ho, Wo)``.
    """
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def _conv(name, dims, input, weight, bias, stride, padding, dilation, groups):
    x, batched = pictures(name, input, dims)
    weight, bias = _parameters(name, dims, x, weight, bias)
    stride, dilation = per_axis(stride, dims, "stride"), per_axis(dilation, dims, "dilation")
    check_positive(name, stride=stride, dilation=dilation, groups=(groups,))
    padding = _padding(name, padding, weight.shape[2:], stride, dilation)
    outputs, channels = weight.shape[:2]
    if x.shape[1] != channels * groups:
        raise ShapeError(
            f"{name}: weight expects {channels * groups} input channels, x has {x.shape[1]}: "
            f"{_shapes(x, weight)}" + (f", groups {groups}" if groups > 1 else "")
        )
    if outputs % groups:
        raise ShapeError(
            f"{name}: the {outputs} output channels cannot be split into {groups} groups: "
            f"{_shapes(x, weight)}"
        )
    _check_bias(name, bias, outputs)
    for along, size, ends, reach in zip(
        _ALONG[dims], x.shape[2:], padding, _reach(weight, dilation)
    ):
        if size + sum(ends) < reach:
            raise ShapeError(
                f"{name}: a window is {reach} pixels {along}, but x only {size} plus "
                f"{sum(ends)} of padding: {_shapes(x, weight)}, dilation {dilation}"
            )
    x, weight, *windows = _at_least_2d(x, weight, stride, padding, dilation)
    operands = (x, weight) if bias is None else (x, weight, bias)
    y = Conv(*windows, groups)(*operands)
    return batched(reshape(y, y.shape[:3]) if dims == 1 else y)


def _conv_transpose(
    name, dims, input, weight, bias, stride, padding, output_padding, groups, dilation
):
    x, batched = pictures(name, input, dims)
    weight, bias = _parameters(name, dims, x, weight, bias)
    stride, dilation = per_axis(stride, dims, "stride"), per_axis(dilation, dims, "dilation")
    cut = per_axis(padding, dims, "padding")
    extra = per_axis(output_padding, dims, "output_padding")
    check_positive(name, stride=stride, dilation=dilation, groups=(groups,))
    if min(cut + extra) < 0 or any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise UsageError(
            f"{name}: padding {cut} must not be negative, and output_padding {extra} "
            f"must be less than stride {stride} or dilation {dilation}"
        )
    if x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise ShapeError(
            f"{name}: weight expects {weight.shape[0]} input channels in {groups} "
            f"groups, x has {x.shape[1]}: {_shapes(x, weight)}"
        )
    _check_bias(name, bias, weight.shape[1] * groups)
    full = [(n - 1) * s + r for n, s, r in zip(x.shape[2:], stride, _reach(weight, dilation))]
    size = tuple(f - 2 * c + e for f, c, e in zip(full, cut, extra))
    if min(size) < 1:
        raise ShapeError(f"{name}: padding {cut} leaves an output of {size}: {_shapes(x, weight)}")
    # The padding with which a convolution makes exactly x's size of the output.
    exact = tuple((c, f - n - c) for f, n, c in zip(full, size, cut))
    x, weight, *windows = _at_least_2d(x, weight, stride, exact, dilation)
    y = ConvTranspose((*size, 1) if dims == 1 else size, *windows, groups)(x, weight)
    y = reshape(y, y.shape[:3]) if dims == 1 else y
    if bias is not None:
        y = y + reshape(bias, (-1, *(1,) * dims))
    return batched(y)


def _parameters(name, dims, x, weight, bias):
    """Return weight and bias as tensors of the right rank and dtype."""
    weight = as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    check_same_dtype(name, input=x, weight=weight, bias=bias)
    if weight.ndim != dims + 2 or 0 in weight.shape:
        raise ShapeError(
            f"{name}: weight must have {dims + 2} dimensions, none empty: {_shapes(x, weight)}"
        )
    return weight, bias


def _padding(name, padding, kernel, stride, dilation):
    """Return `padding` as (before, after) for each axis."""
    if not isinstance(padding, str):
        numbers = per_axis(padding, len(kernel), "padding")
        if min(numbers) < 0:
            raise UsageError(f"{name}: padding must not be negative, got {padding}")
        return tuple((number, number) for number in numbers)
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding != "same":
        raise UsageError(f"{name}: padding must be numbers, 'same' or 'valid', got {padding!r}")
    if max(stride) > 1:
        raise UsageError(f"{name}: padding 'same' needs stride 1, got {stride}")
    missing = [d * (k - 1) for k, d in zip(kernel, dilation)]
    return tuple((m // 2, m - m // 2) for m in missing)


def _at_least_2d(x, weight, stride, padding, dilation):
    """Return the arguments, those of a signal as of a picture one column wide.

    Its length stays the first axis, along which the kernels cut their work.
    """
    if x.ndim > 3:
        return x, weight, stride, padding, dilation
    x, weight = (reshape(tensor, (*tensor.shape, 1)) for tensor in (x, weight))
    return x, weight, (*stride, 1), (*padding, (0, 0)), (*dilation, 1)


def _check_bias(name, bias, outputs):
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"{name}: bias must be ({outputs},), got {bias.shape}")


def _reach(weight, dilation):
    """Return how many pixels a window spans along each axis."""
    return [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation)]


def _shapes(x, weight) -> str:
    return f"x {x.shape}, weight {weight.shape}"
