"""Convolution as loops: the page to read, and what the fast form is tested against.

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

The loops take a position (i, j) as one thing, so they do volumes as well: there `x` is
(N, C, D, H, W), and whatever has two numbers for a picture has three, depth first.
"""

from __future__ import annotations

import numpy as np


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Return the convolution (strictly, the correlation) of `x` with `weight`."""
    padded = _pad(x, padding)
    size = [
        (length - d * (k - 1) - 1) // s + 1
        for length, k, s, d in zip(padded.shape[2:], weight.shape[2:], stride, dilation)
    ]
    y = np.zeros((x.shape[0], weight.shape[0], *size))
    for n, o, position in _outputs(y):
        window = _window(weight.shape, o, position, stride, dilation, groups)
        y[n, o][position] = np.sum(padded[n][window] * weight[o].astype(np.float64))
        if bias is not None:
            y[n, o][position] += bias[o]
    return y.astype(x.dtype)


def conv2d_input_grad(dy, weight, input_size, stride, padding, dilation, groups):
    """Return dx (N, C, H, W) for `input_size` (H, W): each window gets ``dy * weight``."""
    size = [length + sum(ends) for length, ends in zip(input_size, padding)]
    padded = np.zeros((dy.shape[0], weight.shape[1] * groups, *size))
    for n, o, position in _outputs(dy):
        window = _window(weight.shape, o, position, stride, dilation, groups)
        padded[n][window] += dy[n, o][position] * weight[o].astype(np.float64)
    return _pad(padded, [(-before, -after) for before, after in padding]).astype(dy.dtype)


def conv2d_weight_grad(dy, x, kernel_size, stride, padding, dilation, groups):
    """Return dweight (O, C/groups, kh, kw): the sum of ``dy * window`` over all windows."""
    padded = _pad(x, padding)
    dweight = np.zeros((dy.shape[1], x.shape[1] // groups, *kernel_size))
    for n, o, position in _outputs(dy):
        window = _window(dweight.shape, o, position, stride, dilation, groups)
        dweight[o] += dy[n, o][position] * padded[n][window]
    return dweight.astype(x.dtype)


conv3d, conv3d_input_grad, conv3d_weight_grad = conv2d, conv2d_input_grad, conv2d_weight_grad


def _outputs(y):
    """Yield image, channel and position (i, j) of every element of an output."""
    for n, o, *position in np.ndindex(y.shape):
        yield n, o, tuple(position)


def _window(weight_shape, o, position, stride, dilation, groups):
    """Return the index of the (C/groups, kh, kw) window that output element (o, i, j) sees."""
    outputs, channels, *kernel = weight_shape
    first = o // (outputs // groups) * channels
    pixels = [
        slice(i * s, i * s + d * (k - 1) + 1, d)
        for i, s, d, k in zip(position, stride, dilation, kernel)
    ]
    return (slice(first, first + channels), *pixels)


def _pad(x, padding):
    """Return `x` in float64 with zeros around it, or cropped where `padding` is negative."""
    widths = [(max(before, 0), max(after, 0)) for before, after in padding]
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *widths])
    inside = [
        slice(max(-before, 0), length - max(-after, 0))
        for (before, after), length in zip(padding, padded.shape[2:])
    ]
    return padded[(..., *inside)]
