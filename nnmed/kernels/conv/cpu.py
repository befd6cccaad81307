"""Convolution on the CPU, the same functions as in :mod:`nnmed.kernels.conv.reference`.

Each call takes the faster of two forms: winograd.py, which multiplies less but serves only
3x3 windows at stride 1 in float32, and im2col.py, which does everything.
"""

from __future__ import annotations

from functools import partial

from nnmed.kernels.conv import im2col, volume, winograd


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Return the convolution (strictly, the correlation) of `x` with `weight`."""
    windows = stride, padding, dilation, groups
    size = [x.shape[axis + 2] + sum(padding[axis]) - 2 for axis in (0, 1)]  # of a 3x3 window
    form = _form(x, weight.shape, (len(x), *size), *windows)
    return form.conv2d(x, weight, bias, *windows)


def conv2d_input_grad(dy, weight, input_size, stride, padding, dilation, groups):
    """Return dx (N, C, H, W) for `input_size` (H, W)."""
    windows = stride, padding, dilation, groups
    outputs, channels, *kernel = weight.shape  # which change roles
    form = _form(dy, (channels, outputs, *kernel), (len(dy), *input_size), *windows)
    return form.conv2d_input_grad(dy, weight, input_size, *windows)


def conv2d_weight_grad(dy, x, kernel_size, stride, padding, dilation, groups):
    """Return dweight (O, C/groups, kh, kw): the sum of ``dy * window`` over all windows."""
    windows = stride, padding, dilation, groups
    shape = dy.shape[1], x.shape[1] // groups, *kernel_size
    form = _form(x, shape, (len(dy), *dy.shape[2:]), *windows)
    return form.conv2d_weight_grad(dy, x, kernel_size, *windows)


conv3d = partial(volume.conv3d, conv2d)
conv3d_input_grad = partial(volume.conv3d_input_grad, conv2d_input_grad)
conv3d_weight_grad = partial(volume.conv3d_weight_grad, conv2d_weight_grad)


def _form(x, weight_shape, output_shape, stride, padding, dilation, groups):
    outputs, channels, *kernel = weight_shape
    if winograd.applies(x.dtype, kernel, stride, padding, dilation, groups) and winograd.pays(
        output_shape, channels, outputs
    ):
        return winograd
    return im2col
