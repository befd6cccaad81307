"""Convolutions with one input channel a group, where a matrix product has nothing to share.

They are kh * kw element-wise products instead. Columns and channels are taken together as
rows of W * C numbers, so that the inner loops of einsum are long. With M output channels a
group, output channel c * M + m belongs to input channel c; `weight` is (C, M, kh, kw) here,
and `dy` and `y` are (N, H, W, C, M).
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.threads import parallel_for
from nnmed.kernels.conv.blocks import Geometry, scratch, split, windows

ONE_PIXEL = Geometry((1, 1), (1, 1), (0, 0), (1, 1))
# A channel's windows at one pixel take as long as so many multiplications of a matrix product.
WORK = 75
MAX_PARTS = 16


def correlate(x, weight, y, geometry: Geometry, bias=None):
    """Set y[n,i,j,c,m] = bias[c,m] + sum over u,v of weight[c,m,u,v] * window[u,v,c].

    `x` is (N, H, W, C) in C order.
    """
    columns, channels, multiplier = y.shape[2:]
    rows = [np.tile(weight[:, m].transpose(1, 2, 0), columns) for m in range(multiplier)]
    blocks = split(y.shape[:3], channels, WORK, ONE_PIXEL)

    def task(index):
        n0, n1, i0, i1 = block = blocks[index]
        seen = _windows_in_rows(x, block, columns, geometry)
        for m in range(multiplier):
            target = y[n0:n1, i0:i1, :, :, m]
            dense = target.flags.c_contiguous
            total = target if dense else scratch("total", target.shape, x.dtype)
            by_row = total.reshape(n1 - n0, i1 - i0, -1)
            np.einsum("niuvw,uvw->niw", seen, rows[m], out=by_row)
            if bias is not None:
                by_row += np.tile(bias[:, m], columns)
            if not dense:
                np.copyto(target, total)

    parallel_for(task, len(blocks))


def weight_grad(dy, x, geometry: Geometry):
    """Return dweight (C, M, kh, kw): the sum over pixels of ``dy * window``.

    `x` is (N, H, W, C) in C order. The partial sums of a fixed number of parts are added
    in order, so the result does not depend on the number of threads.
    """
    columns, channels, multiplier = dy.shape[2:]
    blocks = split(dy.shape[:3], channels, WORK, ONE_PIXEL)
    parts = min(MAX_PARTS, len(blocks))
    partial = np.zeros((parts, multiplier, *geometry.kernel, columns * channels), x.dtype)

    def task(part):
        for n0, n1, i0, i1 in blocks[part::parts]:
            seen = _windows_in_rows(x, (n0, n1, i0, i1), columns, geometry)
            for m in range(multiplier):
                gradient = dy[n0:n1, i0:i1, :, :, m].reshape(n1 - n0, i1 - i0, -1)
                # Tap by tap: the sum, a row, then stays in the first level of cache.
                for u, v in np.ndindex(*geometry.kernel):
                    tap = np.einsum("niw,niw->w", seen[:, :, u, v], gradient)
                    partial[part, m, u, v] += tap

    parallel_for(task, parts)
    per_column = partial.sum(axis=0).reshape(*partial.shape[1:4], columns, channels)
    return per_column.sum(axis=3).transpose(3, 0, 1, 2)


def _windows_in_rows(x, block, columns: int, geometry: Geometry):
    """Return the block's windows as (images, rows, kh, kw, columns * C).

    At horizontal stride 1 that is a view, else a copy.
    """
    seen = windows(x, block, columns, geometry).transpose(0, 1, 3, 4, 2, 5)
    return seen.reshape(*seen.shape[:4], -1)
