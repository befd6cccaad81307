"""Batch normalisation with NumPy on channels-last memory; formulas in reference.py.

The batch is read as long rows of several pixels, ``(rows, pixels * C)``: a sum over rows is
a product with a row of ones, and a factor per channel is a vector repeated to the length
of a row. A block of rows stays in the cache between steps. The sums of the blocks are
added in float64 in a fixed order.

Float32 needs care where a channel's mean is large against its spread, since
``E[x^2] - E[x]^2`` and ``x * scale + shift`` then cancel: both give way to forms that first
subtract the mean.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import as_channels_last, empty_channels_last, nhwc
from nnmed.backend.threads import chunks, parallel_for

_ROW = 1024  # numbers in a long row
_BLOCK = 1 << 17  # numbers in a block: larger than elsewhere, since there is little scratch
# Largest |mean| / spread for the short forms, which lose its square in relative accuracy
# of the variance and itself in absolute accuracy of the normalised value.
_FAR = 4.0


def batch_moments(x):
    """Return each channel's mean and its variance (divided by m), both float64 ``(C,)``."""
    rows = _Rows(x.shape)
    body = rows.of(x)

    def about(centre):
        tiled = None if centre is None else rows.repeat(centre, x.dtype)

        def task(index):
            block = rows.block(body, index)
            if tiled is not None:
                block = block - tiled
            rows.add_up(block, sums[index])
            rows.add_up_product(block, block, squares[index])

        sums, squares = np.empty((2, len(rows.blocks), rows.length), x.dtype)
        parallel_for(task, len(rows.blocks))
        mean = rows.fold(sums) / rows.count
        return mean, np.maximum(rows.fold(squares) / rows.count - mean**2, 0)

    with np.errstate(all="ignore"):  # what is not finite shows in the result
        mean, var = about(None)
        if (mean**2 > _FAR**2 * var).any():
            centre = mean.astype(x.dtype)
            rest, var = about(centre)
            mean = centre + rest
    return mean, var


def batch_norm(x, mean, var, weight, bias, eps):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, channel by channel."""
    rows = _Rows(x.shape)
    y = empty_channels_last(x.shape, x.dtype)
    source, target = rows.of(x), rows.of(y)
    scale, inverse = _scale(var, weight, eps)
    shift, centre = _centre(mean, inverse, rows, x.dtype)
    offset = rows.repeat((0.0 if bias is None else bias) - shift * scale, x.dtype)
    scale = rows.repeat(scale, x.dtype)

    def task(index):
        block, out = rows.block(source, index), rows.block(target, index)
        if centre is not None:
            block = np.subtract(block, centre, out=out)
        np.multiply(block, scale, out=out)
        np.add(out, offset, out=out)

    parallel_for(task, len(rows.blocks))
    return y


def batch_norm_grad(dy, x, mean, var, weight, eps, training):
    """Return dx and, both float64 ``(C,)``, dweight and dbias; see reference.py."""
    rows = _Rows(x.shape)
    dx = empty_channels_last(x.shape, x.dtype)
    gradient, source, target = rows.of(dy), rows.of(x), rows.of(dx)
    scale, inverse = _scale(var, weight, eps)
    shift, centre = _centre(mean, inverse, rows, x.dtype)
    sums, products = np.empty((2, len(rows.blocks), rows.length), x.dtype)

    def add_up(index):
        block, values = rows.block(gradient, index), rows.block(source, index)
        if centre is not None:
            values = values - centre
        rows.add_up(block, sums[index])
        rows.add_up_product(values, block, products[index])

    parallel_for(add_up, len(rows.blocks))
    with np.errstate(all="ignore"):
        dbias = rows.fold(sums)
        dweight = (rows.fold(products) - shift * dbias) * inverse
        # dx = scale * (dy + slope * (x - mean) + level)
        slope = -inverse * dweight / rows.count
        level = rows.repeat(-dbias / rows.count - slope * shift, x.dtype)
        scale, slope = rows.repeat(scale, x.dtype), rows.repeat(slope, x.dtype)

    def write(index):
        block, out = rows.block(gradient, index), rows.block(target, index)
        if training:
            values = rows.block(source, index)
            if centre is not None:
                values = np.subtract(values, centre, out=out)
            np.multiply(values, slope, out=out)
            np.add(out, level, out=out)
            block = np.add(out, block, out=out)
        np.multiply(block, scale, out=out)

    parallel_for(write, len(rows.blocks))
    return dx, dweight, dbias


def _scale(var, weight, eps):
    inverse = 1 / np.sqrt(np.asarray(var, np.float64) + eps)
    return (inverse if weight is None else inverse * weight), inverse


def _centre(mean, inverse, rows, dtype):
    """Return what is still to subtract after `centre`, and `centre` as a long row or None.

    The centre is rounded to `dtype`, so that x - centre is exact where it matters.
    """
    mean = np.asarray(mean, np.float64)
    if not (np.abs(mean) * inverse > _FAR).any():
        return mean, None
    centre = mean.astype(dtype)
    return mean - centre, rows.repeat(centre, dtype)


class _Rows:
    """How the pixels of an (N, C, H, W) array make long rows, and rows make blocks."""

    def __init__(self, shape):
        n, self.channels, h, w = shape
        self.count = max(1, n * h * w)
        # Whole rows only: as many pixels as divide their number and fit.
        fit = max(1, min(_ROW // max(1, self.channels), self.count))
        self.pixels = next(k for k in range(fit, 0, -1) if self.count % k == 0)
        self.length = self.pixels * self.channels
        height = n * h * w // self.pixels
        self.blocks = chunks(height, max(1, _BLOCK // self.length)) if self.length else []

    def of(self, x):
        """Return `x` as long rows: a view of channels-last memory, else a copy."""
        return nhwc(as_channels_last(x)).reshape(-1, self.length)

    def block(self, body, index):
        """Return block `index` of the long rows `body`."""
        start, stop = self.blocks[index]
        return body[start:stop]

    def repeat(self, vector, dtype):
        """Return a number a channel as a long row."""
        return np.tile(np.asarray(vector).astype(dtype), self.pixels)

    def add_up(self, block, out):
        """Write the sum of the rows of `block`."""
        ones = np.ones((1, len(block)), block.dtype)
        np.matmul(ones, block, out=out[None])

    def add_up_product(self, a, b, out):
        """Write the sum of the rows of ``a * b``."""
        np.einsum("ij,ij->j", a, b, out=out)

    def fold(self, sums):
        """Return the sum of each channel over blocks of long rows, float64."""
        total = sums.sum(axis=0, dtype=np.float64)
        return total.reshape(self.pixels, self.channels).sum(axis=0)
