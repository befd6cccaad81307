"""Convolutions with few output pixels and large weights, as at the end of a network.

The time goes into reading the weights, so they are read as they lie in memory, (O, C * kh * kw):
all windows of the batch are copied side by side into one matrix of patches, in the same order,
and the three passes are::

    y^T = W P^T        dP = dy W        dW = dy^T P

dP is added up into dx, tap by tap. The work is cut by output or input channels.
"""

from __future__ import annotations

import math

import numpy as np

from nnmed.backend.threads import chunks, parallel_for
from nnmed.kernels.conv.blocks import Geometry, scratch, windows
from nnmed.kernels.conv.products import SMALL_PRODUCT

# More pixels are worth rearranging the weights for; patches are a megabyte at most.
MAX_PIXELS, MAX_NUMBERS = 512, 1 << 20
TINY = 1 << 15
# The channels are cut into so many ranges, for the threads to share, unless they get small:
# BLAS wants some rows to be worth its start.
RANGES, MIN_CHANNELS = 4, 32
# Rows and columns of a piece of the weights that is multiplied at a time, where a few pixels
# leave room for it below SMALL_PRODUCT; and the least multiplications that are worth a piece.
PIECE, MIN_PIECE = (64, 256), 1 << 17


def applies(shape, weight_shape, groups: int) -> bool:
    """Tell whether an (N, H, W) output has few pixels beside its weights (O, C, kh, kw).

    So is an output so small that all other ways would take longer to prepare than to do.
    """
    pixels = math.prod(shape)
    numbers = pixels * math.prod(weight_shape[1:])
    is_few = pixels <= min(MAX_PIXELS, weight_shape[0]) and numbers <= MAX_NUMBERS
    return groups == 1 and numbers > 0 and (is_few or numbers <= TINY)


def correlate(x, weight, y, geometry: Geometry, bias=None):
    """Set `y` (N, H, W, O) to `x` (N, H', W', C) convolved with `weight` (O, C, kh, kw)."""
    columns, rows = _columns(x, y.shape, geometry), weight.reshape(len(weight), -1)
    ranges, (n, h, w) = _ranges(len(rows)), y.shape[:3]

    def task(index):
        part = slice(*ranges[index])
        result = _product(rows[part], columns).reshape(-1, h, w, n).transpose(3, 1, 2, 0)
        np.add(result, 0 if bias is None else bias[part], out=y[..., part])

    parallel_for(task, len(ranges))


def input_grad(dy, weight, dx, geometry: Geometry):
    """Set `dx` (N, H', W', C) to the gradient of :func:`correlate` with respect to `x`."""
    outputs, channels, *kernel = weight.shape
    n, h, w = dy.shape[:3]
    flat = dy.reshape(-1, outputs)
    ranges = _ranges(channels)
    taps = [_tap(geometry, u, v, (h, w), dx.shape[1:3]) for u, v in np.ndindex(*kernel)]

    def task(index):
        part = slice(*ranges[index])
        target = dx[..., part]
        target[...] = 0
        columns = weight[:, part].reshape(outputs, -1)
        patches = (flat @ columns).reshape(n, h, w, -1, len(taps))
        for number, (inside, seen) in enumerate(taps):
            target[(slice(None), *inside)] += patches[(slice(None), *seen)][..., number]

    parallel_for(task, len(ranges))


def weight_grad(dy, x, geometry: Geometry):
    """Return dweight (O, C, kh, kw), the sum of ``dy * window`` over all windows."""
    patches = _patches(x, dy.shape, geometry)
    flat = dy.reshape(len(patches), -1)
    rows = np.empty((flat.shape[1], patches.shape[1]), dy.dtype)
    ranges = _ranges(len(rows))

    def task(index):
        part = slice(*ranges[index])
        np.matmul(flat[:, part].T, patches, out=rows[part])

    parallel_for(task, len(ranges))
    return rows.reshape(len(rows), x.shape[3], *geometry.kernel)


def _ranges(channels: int):
    return chunks(channels, max(MIN_CHANNELS, math.ceil(channels / RANGES)))


def _patches(x, shape, geometry: Geometry):
    """Return all windows as a matrix (N * H * W, C * kh * kw), a view of scratch."""
    n, h, w = shape[:3]
    seen = windows(x, (0, n, 0, h), w, geometry).transpose(0, 1, 2, 5, 3, 4)
    patches = scratch("patches", seen.shape, x.dtype)
    np.copyto(patches, seen)
    return patches.reshape(n * h * w, -1)


def _columns(x, shape, geometry: Geometry):
    """Return all windows as a matrix (C * kh * kw, H * W * N), a view of scratch."""
    n, h, w = shape[:3]
    # Images innermost: what a tap reads in a row of pixels then lies side by side.
    inner = np.ascontiguousarray(x.transpose(3, 1, 2, 0))
    seen = windows(inner, (0, len(inner), 0, h), w, geometry).transpose(0, 3, 4, 1, 2, 5)
    columns = scratch("patches", seen.shape, x.dtype)
    np.copyto(columns, seen)
    return columns.reshape(-1, h * w * n)


def _product(left, right):
    """Return ``left @ right``; few columns in pieces that BLAS multiplies without packing."""
    (height, length), width = left.shape, right.shape[1]
    rows, terms = _divisor(height, PIECE[0]), _divisor(length, PIECE[1])
    if not MIN_PIECE <= rows * terms * width <= SMALL_PRODUCT:
        return left @ right
    pieces = left.reshape(height // rows, rows, -1, terms).swapaxes(1, 2)
    products = np.matmul(pieces, right.reshape(-1, terms, width))
    return products.sum(axis=1).reshape(height, width)


def _divisor(number: int, most: int) -> int:
    return next(k for k in range(min(number, most), 0, -1) if number % k == 0)


def _tap(geometry: Geometry, u: int, v: int, outputs, inputs):
    """Return the input pixels that tap (u, v) reads, and the output pixels that read them."""
    inside, seen = [], []
    for axis, tap in enumerate((u, v)):
        stride = geometry.stride[axis]
        offset = tap * geometry.dilation[axis] - geometry.before[axis]
        first = max(0, -(offset // stride))
        stop = max(first, min(outputs[axis], (inputs[axis] - 1 - offset) // stride + 1))
        start = first * stride + offset
        inside.append(slice(start, start + (stop - first) * stride, stride))
        seen.append(slice(first, stop))
    return inside, seen
