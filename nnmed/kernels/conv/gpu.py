"""Convolution on the GPU, the same functions as in :mod:`nnmed.kernels.conv.reference`.

A call takes the form that serves its sizes best: gpu_product.py for windows of one pixel,
gpu_winograd.py for 3x3 windows at stride 1 and many channels, gpu_few_channels.py for groups of
few channels, and gpu_direct.py for the rest. A picture is a volume of depth 1.

Where products multiply in fewer bits (:mod:`nnmed.backend.precision`), gpu_direct.py serves in
place of gpu_product.py, since cuBLAS knows nothing of it, and of gpu_winograd.py, whose transformed
numbers lose more by rounding than the convolution's own. gpu_few_channels.py remains, in
float32: it has no product that would fill a tensor core.
"""

from __future__ import annotations

from nnmed.backend import cuda
from nnmed.backend.arrays import (
    array_module,
    as_channels_last,
    empty_channels_last,
    zeros_channels_last,
)
from nnmed.kernels.conv import gpu_direct, gpu_few_channels, gpu_product, gpu_winograd

__all__ = [
    "conv2d", "conv2d_input_grad", "conv2d_weight_grad", "conv3d", "conv3d_input_grad",
    "conv3d_weight_grad",
]  # fmt: skip


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Return the convolution (strictly, the correlation) of `x` with `weight`."""
    size = [
        (length + sum(ends) - d * (k - 1) - 1) // s + 1
        for length, ends, k, s, d in zip(x.shape[2:], padding, weight.shape[2:], stride, dilation)
    ]
    y = empty_channels_last((len(x), len(weight), *size), x.dtype, array_module(x))
    if y.size:
        windows = stride, padding, dilation, groups
        form = _form(y, x, weight.shape[2:], *windows)
        form.correlate(as_channels_last(x), weight, bias, y, *windows)
    return y


def conv2d_input_grad(dy, weight, input_size, stride, padding, dilation, groups):
    """Return dx for `input_size`: each window gets ``dy * weight``."""
    shape = len(dy), weight.shape[1] * groups, *input_size
    make = empty_channels_last if dy.size else zeros_channels_last
    dx = make(shape, dy.dtype, array_module(dy))
    if dy.size:
        windows = stride, padding, dilation, groups
        form = _form(dx, dy, weight.shape[2:], *windows)
        form.input_grad(as_channels_last(dy), weight, dx, *windows)
    return dx


def conv2d_weight_grad(dy, x, kernel_size, stride, padding, dilation, groups):
    """Return dweight (O, C/groups, ...): the sum of ``dy * window`` over all windows."""
    xp = array_module(x)
    dweight = (xp.empty if dy.size else xp.zeros)(
        (dy.shape[1], x.shape[1] // groups, *kernel_size), x.dtype
    )
    if dy.size:
        windows = stride, padding, dilation, groups
        form = _form(dy, x, kernel_size, *windows)
        form.weight_grad(as_channels_last(dy), as_channels_last(x), dweight, *windows)
    return dweight


conv3d, conv3d_input_grad, conv3d_weight_grad = conv2d, conv2d_input_grad, conv2d_weight_grad


def _form(result, source, kernel, stride, padding, dilation, groups):
    """Return the module that makes `result` of `source`."""
    channels, outputs = source.shape[1], result.shape[1]
    if gpu_product.applies(source.dtype, kernel, stride, padding, groups):
        return gpu_product
    if gpu_few_channels.pays(channels // groups, outputs // groups, groups):
        return gpu_few_channels
    shape = len(result), *result.shape[2:]
    if (
        cuda.product_format(source.dtype) == "float32"
        and gpu_winograd.applies(source.dtype, kernel, stride, padding, dilation, groups)
        and gpu_winograd.pays(shape, channels, outputs)
    ):
        return gpu_winograd
    return gpu_direct
