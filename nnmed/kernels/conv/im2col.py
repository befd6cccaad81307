"""The direct form of convolution: sums over windows, which are copied side by side.

All three functions are sums over windows, so two routines do the work: ``correlate`` (a sum over
taps and input channels, one output pixel at a time) and ``weight_grad`` (a sum over pixels).
They exist as matrix products over blocks of pixels (products.py), which few channels share
by the column (columns.py), and for one channel a group as element-wise products
(depthwise.py). Few pixels beside large weights have ways of their own (few_pixels.py).
"""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np

from nnmed.backend.arrays import as_channels_last, empty_channels_last, nhwc
from nnmed.kernels.conv import columns, depthwise, few_pixels, merged_groups, products, volume
from nnmed.kernels.conv.blocks import Geometry


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Return the convolution (strictly, the correlation) of `x` with `weight`."""
    kernel = weight.shape[2:]
    size = [
        (x.shape[axis + 2] + sum(padding[axis]) - dilation[axis] * (kernel[axis] - 1) - 1)
        // stride[axis]
        + 1
        for axis in (0, 1)
    ]
    y = empty_channels_last((x.shape[0], weight.shape[0], *size), x.dtype)
    geometry = Geometry(kernel, stride, (padding[0][0], padding[1][0]), dilation)
    x = nhwc(as_channels_last(x))
    if few_pixels.applies((len(x), *size), weight.shape, groups):
        few_pixels.correlate(x, weight, nhwc(y), geometry, bias)
        return y
    if bias is not None:
        bias = bias.reshape(groups, -1)
    weight = weight.reshape(groups, -1, *weight.shape[1:])
    _correlate(x, weight, nhwc(y), geometry, bias)
    return y


def conv2d_input_grad(dy, weight, input_size, stride, padding, dilation, groups):
    """Return dx (N, C, H, W) for `input_size` (H, W).

    Input pixel a takes part in output pixel i through tap u where
    ``i * stride + u * dilation - before = a``, so::

        dx[a] = sum over u of  dy[(a + before - u * dilation) / stride] * weight[u]

    over the taps for which the division leaves no remainder. Those taps depend only on the
    phase of a, its remainder by the stride, and for one phase the sum is a convolution of
    `dy` at stride 1 with these taps in reverse order: no scattering.
    """
    channels = weight.shape[1]
    dx = empty_channels_last((dy.shape[0], channels * groups, *input_size), dy.dtype)
    dy = nhwc(as_channels_last(dy))
    if few_pixels.applies(dy.shape[:3], weight.shape, groups):
        geometry = Geometry(weight.shape[2:], stride, (padding[0][0], padding[1][0]), dilation)
        few_pixels.input_grad(dy, weight, nhwc(dx), geometry)
        return dx
    # (groups, C/groups, O/groups, kh, kw): the channels change roles.
    swapped = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    for a, b in itertools.product(range(stride[0]), range(stride[1])):
        part = nhwc(dx)[:, a :: stride[0], b :: stride[1]]
        rows, top, step_down = _phase(a, weight.shape[2], stride[0], padding[0][0], dilation[0])
        cols, left, step_right = _phase(b, weight.shape[3], stride[1], padding[1][0], dilation[1])
        if rows and cols and part.size:
            taps = swapped[:, :, :, rows][..., cols]
            geometry = Geometry(taps.shape[3:], (1, 1), (top, left), (step_down, step_right))
            _correlate(dy, taps, part, geometry)
        else:
            part[...] = 0
    return dx


def conv2d_weight_grad(dy, x, kernel_size, stride, padding, dilation, groups):
    """Return dweight (O, C/groups, kh, kw): the sum of ``dy * window`` over all windows."""
    geometry = Geometry(kernel_size, stride, (padding[0][0], padding[1][0]), dilation)
    x, dy = nhwc(as_channels_last(x)), nhwc(as_channels_last(dy))
    shape = dy.shape[3], x.shape[3] // groups, *kernel_size
    if few_pixels.applies(dy.shape[:3], shape, groups):
        return few_pixels.weight_grad(dy, x, geometry)
    dy = dy.reshape(*dy.shape[:3], groups, dy.shape[3] // groups)
    return np.ascontiguousarray(_weight_grad(dy, x, geometry).reshape(shape))


conv3d = partial(volume.conv3d, conv2d)
conv3d_input_grad = partial(volume.conv3d_input_grad, conv2d_input_grad)
conv3d_weight_grad = partial(volume.conv3d_weight_grad, conv2d_weight_grad)


def _phase(phase: int, kernel: int, stride: int, before: int, dilation: int):
    """Return the taps that reach input rows of this phase, last first, and how they do.

    The result is (taps, before, dilation): row k of the phase is the sum over t of
    ``dy[k + t * dilation - before] * weight[taps[t]]``.
    """
    taps = [u for u in range(kernel) if (phase + before - u * dilation) % stride == 0][::-1]
    rows = [(phase + before - u * dilation) // stride for u in taps]
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    return taps, -rows[0] if rows else 0, step


def _correlate(x, weight, y, geometry, bias=None):
    """Convolve `x` (N, H, W, C) with `weight` (groups, O/groups, C/groups, kh, kw) into `y`."""
    groups, outputs, channels = weight.shape[:3]
    y = y.reshape(*y.shape[:3], groups, outputs)
    if _is_depthwise(x.shape[3], groups):
        depthwise.correlate(x, weight[:, :, 0], y, geometry, bias)
        return
    together = merged_groups.merged(groups, channels, outputs)
    if together > 1:
        weight = merged_groups.merge(weight, together)
        groups, outputs = weight.shape[:2]
        y = y.reshape(*y.shape[:3], groups, outputs)
        bias = None if bias is None else bias.reshape(groups, outputs)
    m = columns.grouped(x.shape[3], outputs, groups, geometry)
    if m > 1 and y.strides[2] == outputs * y.itemsize:
        columns.correlate(x, weight, y, geometry, bias, m)
    else:
        products.correlate(x, weight, y, geometry, bias)


def _weight_grad(dy, x, geometry):
    """Return dweight (groups, O/groups, C/groups, kh, kw) for `dy` (N, H, W, groups, O/groups)."""
    groups, outputs = dy.shape[3:]
    if _is_depthwise(x.shape[3], groups):
        return depthwise.weight_grad(dy, x, geometry)
    together = merged_groups.merged(groups, x.shape[3] // groups, outputs)
    if together > 1:
        dy = dy.reshape(*dy.shape[:3], groups // together, outputs * together)
        return merged_groups.split(_weight_grad(dy, x, geometry), together)
    m = columns.grouped(x.shape[3], outputs, groups, geometry)
    if m > 1:
        return columns.weight_grad(dy, x, geometry, m)
    return products.weight_grad(dy, x, geometry)


def _is_depthwise(channels: int, groups: int) -> bool:
    return groups > 1 and channels == groups
