"""Convolution and its weight gradient as matrix products over blocks of patches."""

from __future__ import annotations

import math

import numpy as np

from nnmed.backend.threads import parallel_for
from nnmed.kernels.conv.blocks import Geometry, patches, scratch, split

# Partial sums of the weight gradient: enough for many threads to share the work, but
# fewer where the weight is large, so that together they take at most 32 MiB or two copies.
MAX_PARTS, MIN_PARTS, PARTIAL_BYTES = 16, 2, 32 << 20


def correlate(x, weight, y, geometry: Geometry, bias=None):
    """Set y[n,i,j,g,o] = bias[g,o] + sum over u,v,c of weight[g,o,c,u,v] * window[u,v,g,c].

    `x` is (N, H, W, C) in C order; `y` may be any strided view.
    """
    columns, groups, outputs = y.shape[2:]
    matrix = np.ascontiguousarray(weight.transpose(0, 3, 4, 2, 1)).reshape(groups, -1, outputs)
    blocks = split(y.shape[:3], groups * matrix.shape[1])
    # Along a whole row, so that the addition runs over long rows.
    bias_row = None if bias is None else np.tile(bias.reshape(-1), columns)

    def task(index):
        n0, n1, i0, i1 = block = blocks[index]
        left = patches(x, block, columns, groups, geometry)
        target = y[n0:n1, i0:i1]
        dense = target.flags.c_contiguous
        into = target if dense else scratch("product", target.shape, y.dtype)
        by_group = into.reshape(-1, groups, outputs).transpose(1, 0, 2)
        np.matmul(left.transpose(1, 0, 2), matrix, out=by_group)
        if bias_row is not None:
            rows = into.reshape(-1, bias_row.size)
            rows += bias_row
        if not dense:
            np.copyto(target, into)

    parallel_for(task, len(blocks))


def weight_grad(dy, x, geometry: Geometry):
    """Return dweight (groups, O/groups, C/groups, kh, kw): the sum of ``dy * window``.

    `x` is (N, H, W, C) and `dy` (N, H, W, groups, O/groups), both in C order. A fixed number
    of parts sum their own blocks, and the sums are added in order, so the result does not
    depend on the number of threads.
    """
    columns, groups, outputs = dy.shape[2:]
    channels = x.shape[3] // groups
    rows = channels * math.prod(geometry.kernel)
    blocks = split(dy.shape[:3], groups * rows)
    parts = min(len(blocks), _part_count(groups * rows * outputs * x.itemsize))
    partial = np.zeros((parts, groups, rows, outputs), x.dtype)

    def task(part):
        product = scratch("product", partial.shape[1:], x.dtype)
        for n0, n1, i0, i1 in blocks[part::parts]:
            left = patches(x, (n0, n1, i0, i1), columns, groups, geometry)
            right = dy[n0:n1, i0:i1].reshape(-1, groups, outputs)
            np.matmul(left.transpose(1, 2, 0), right.transpose(1, 0, 2), out=product)
            partial[part] += product

    parallel_for(task, parts)
    for other in partial[1:]:
        partial[0] += other
    kernel = (groups, *geometry.kernel, channels, outputs)
    total = partial[0] if parts else np.zeros(kernel, x.dtype)
    return total.reshape(kernel).transpose(0, 4, 3, 1, 2)


def _part_count(size: int) -> int:
    return max(MIN_PARTS, min(MAX_PARTS, PARTIAL_BYTES // max(size, 1)))
