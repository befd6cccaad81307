"""Convolutions with one input channel a group, where a matrix product has nothing to share.

They are kh * kw element-wise products instead, each over long rows of neighbouring pixels
and channels. With M output channels a group, output channel c * M + m belongs to input
channel c; `weight` is (C, M, kh, kw) here, and `dy` and `y` are (N, H, W, C, M).
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.threads import parallel_for
from nnmed.kernels.conv.blocks import Geometry, scratch, split, windows

# Numbers in one channel's worth of block: with its product and source it stays in L2.
NUMBERS_PER_PIXEL = 4
ONE_PIXEL = Geometry((1, 1), (1, 1), (0, 0), (1, 1))
MAX_PARTS = 16


def correlate(x, weight, y, geometry: Geometry, bias=None):
    """Set y[n,i,j,c,m] = bias[c,m] + sum over u,v of weight[c,m,u,v] * window[u,v,c].

    `x` is (N, H, W, C) in C order.
    """
    columns, channels, multiplier = y.shape[2:]
    rows = [np.tile(weight[:, m].transpose(1, 2, 0), columns) for m in range(multiplier)]
    blocks = split(y.shape[:3], NUMBERS_PER_PIXEL * channels, ONE_PIXEL)

    taps = list(np.ndindex(geometry.kernel))

    def task(index):
        n0, n1, i0, i1 = block = blocks[index]
        seen = windows(x, block, columns, geometry)
        shape = (n1 - n0, i1 - i0, columns * channels)
        total, product = (scratch(name, shape, x.dtype) for name in ("total", "product"))
        for m in range(multiplier):
            for u, v in taps:
                window = seen[:, :, :, u, v]
                into = total if u == v == 0 else product
                np.multiply(window, rows[m][u, v].reshape(columns, channels), out=_px(into, window))
                if into is product:
                    total += product
            target = y[n0:n1, i0:i1, :, :, m]
            if bias is None:
                np.copyto(target, _px(total, target))
            else:
                np.add(_px(total, target), bias[:, m], out=target)

    parallel_for(task, len(blocks))


def weight_grad(dy, x, geometry: Geometry):
    """Return dweight (C, M, kh, kw): the sum over pixels of ``dy * window``.

    `x` is (N, H, W, C) in C order. The partial sums of a fixed number of parts are added
    in order, so the result does not depend on the number of threads.
    """
    columns, channels, multiplier = dy.shape[2:]
    blocks = split(dy.shape[:3], NUMBERS_PER_PIXEL * channels, ONE_PIXEL)
    parts = min(MAX_PARTS, len(blocks))
    partial = np.zeros((parts, channels, multiplier, *geometry.kernel), x.dtype)

    taps = list(np.ndindex(geometry.kernel))

    def task(part):
        for n0, n1, i0, i1 in blocks[part::parts]:
            seen = windows(x, (n0, n1, i0, i1), columns, geometry)
            shape = ((n1 - n0) * (i1 - i0), columns * channels)
            product = scratch("product", shape, x.dtype)
            ones = np.ones(shape[0], x.dtype)
            for u, v in taps:
                window = seen[:, :, :, u, v]
                for m in range(multiplier):
                    gradient = dy[n0:n1, i0:i1, :, :, m]
                    np.multiply(window, gradient, out=product.reshape(window.shape))
                    # As a product, since a sum over the first axis of short rows is slow.
                    per_column = (ones @ product).reshape(columns, channels)
                    partial[part, :, m, u, v] += per_column.sum(axis=0)

    parallel_for(task, parts)
    return partial.sum(axis=0)


def _px(buffer, like):
    """Return `buffer` in the shape of `like`."""
    return buffer.reshape(like.shape)
