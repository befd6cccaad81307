"""2-d convolution as loops: the page to read, and what the fast form is tested against.

One output element is a weighted sum over one window of the padded input::

    y[n,o,i,j] = bias[o] + sum over c,u,v of  weight[o,c,u,v] * window[c,u,v]
    window[c,u,v] = padded x[n, c, i*stride_h + u*dilation_h, j*stride_w + v*dilation_w]

The sum is bilinear in weight and window, so by the chain rule each ``dy[n,o,i,j]`` sends
``dy * weight`` back to the window and ``dy * window`` back to the weight; both gradients
add these up over all windows.

Everywhere: `x` (N, C, H, W); `weight` (O, C/groups, kh, kw); `bias` (O,) or None; `dy` and
the result (N, O, Ho, Wo); `stride`, `dilation`: pairs (vertical, horizontal); `padding`:
((top, bottom), (left, right)) in pixels, where a negative number crops. With groups, the
first O/groups output channels see the first C/groups input channels, and so on.
"""

from __future__ import annotations

import itertools

import numpy as np


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Return the convolution (strictly, the correlation) of `x` with `weight`."""
    padded = _pad(x, padding)
    kernel = weight.shape[2:]
    size = [
        (padded.shape[axis + 2] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis in (0, 1)
    ]
    y = np.zeros((x.shape[0], weight.shape[0], *size))
    for n, o, i, j in itertools.product(*map(range, y.shape)):
        window = _window(weight.shape, o, i, j, stride, dilation, groups)
        y[n, o, i, j] = np.sum(padded[n][window] * weight[o].astype(np.float64))
        if bias is not None:
            y[n, o, i, j] += bias[o]
    return y.astype(x.dtype)


def conv2d_input_grad(dy, weight, input_size, stride, padding, dilation, groups):
    """Return dx (N, C, H, W) for `input_size` (H, W): each window gets ``dy * weight``."""
    shape = (dy.shape[0], weight.shape[1] * groups, *input_size)
    (top, bottom), (left, right) = padding
    padded = np.zeros((*shape[:2], shape[2] + top + bottom, shape[3] + left + right))
    for n, o, i, j in itertools.product(*map(range, dy.shape)):
        window = _window(weight.shape, o, i, j, stride, dilation, groups)
        padded[n][window] += dy[n, o, i, j] * weight[o].astype(np.float64)
    return _pad(padded, ((-top, -bottom), (-left, -right))).astype(dy.dtype)


def conv2d_weight_grad(dy, x, kernel_size, stride, padding, dilation, groups):
    """Return dweight (O, C/groups, kh, kw): the sum of ``dy * window`` over all windows."""
    padded = _pad(x, padding)
    dweight = np.zeros((dy.shape[1], x.shape[1] // groups, *kernel_size))
    for n, o, i, j in itertools.product(*map(range, dy.shape)):
        window = _window(dweight.shape, o, i, j, stride, dilation, groups)
        dweight[o] += dy[n, o, i, j] * padded[n][window]
    return dweight.astype(x.dtype)


def _window(weight_shape, o, i, j, stride, dilation, groups):
    """Return the index of the (C/groups, kh, kw) window that output element (o, i, j) sees."""
    outputs, channels, kh, kw = weight_shape
    first = o // (outputs // groups) * channels
    top, left = i * stride[0], j * stride[1]
    return (
        slice(first, first + channels),
        slice(top, top + dilation[0] * (kh - 1) + 1, dilation[0]),
        slice(left, left + dilation[1] * (kw - 1) + 1, dilation[1]),
    )


def _pad(x, padding):
    """Return `x` in float64 with zeros around it, or cropped where `padding` is negative."""
    before, after = zip(*padding)
    widths = [(max(a, 0), max(b, 0)) for a, b in padding]
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *widths])
    height, width = padded.shape[2:]
    top, left = (max(-a, 0) for a in before)
    bottom, right = (max(-b, 0) for b in after)
    return padded[:, :, top : height - bottom, left : width - right]
