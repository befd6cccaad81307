"""Convolution and its weight gradient as matrix products over blocks of patches."""

from __future__ import annotations

import math

import numpy as np

from nnmed.backend.threads import parallel_for
from nnmed.kernels.conv.blocks import Geometry, patches, scratch, split, takes_ones

# OpenBLAS multiplies without packing up to 100^3 (x86 with AVX-512, release 0.3.17 on).
SMALL_PRODUCT, MIN_PIECE = 1_000_000, 48
# Adding up a block's weight gradient costs as much as some tens of pixels: have many.
MIN_SUMMED_PIXELS = 512

# Partial sums of the weight gradient: enough for many threads to share the work, but
# fewer where the weight is large, so that together they take at most 32 MiB or two copies.
MAX_PARTS, MIN_PARTS, PARTIAL_BYTES = 16, 2, 32 << 20


def correlate(x, weight, y, geometry: Geometry, bias=None):
    """Set y[n,i,j,g,o] = bias[g,o] + sum over u,v,c of weight[g,o,c,u,v] * window[u,v,g,c].

    `x` is (N, H, W, C) in C order; `y` may be any strided view.
    """
    columns, groups, outputs = y.shape[2:]
    matrix = np.ascontiguousarray(weight.transpose(0, 3, 4, 2, 1)).reshape(groups, -1, outputs)
    shape = y.shape[:3]
    blocks = split(shape, x.shape[3], outputs, geometry)
    ones, bias_row = False, None
    if bias is not None and takes_ones(shape, x.shape[3], geometry):
        ones, matrix = True, np.concatenate((matrix, bias[:, np.newaxis]), axis=1)
    elif bias is not None:  # along a whole row, so that the addition runs over long rows
        bias_row = np.tile(bias.reshape(-1), columns)

    def task(index):
        n0, n1, i0, i1 = block = blocks[index]
        target = y[n0:n1, i0:i1]
        dense = target.flags.c_contiguous
        total = target if dense else scratch("total", target.shape, y.dtype)
        by_pixel = total.reshape(-1, groups, outputs)
        for taps, left in patches(x, block, shape, groups, geometry, ones):
            if taps.start:
                product = scratch("product", by_pixel.shape, y.dtype)
                multiply(left, matrix[:, taps], product)
                by_pixel += product
            else:
                multiply(left, matrix[:, taps], by_pixel)
        if bias_row is not None:
            rows = total.reshape(-1, bias_row.size)
            rows += bias_row
        if not dense:
            np.copyto(target, total)

    parallel_for(task, len(blocks))


def multiply(left, right, out):
    """Set ``out[p,g,o] = sum over k of left[p,g,k] * right[g,k,o]``."""
    for a, b in _pieces(left, out):
        np.matmul(a, right, out=b)


def add_transposed_product(left, right, out):
    """Add ``sum over p of left[p,g,k] * right[p,g,o]`` to ``out[g,k,o]``."""
    for a, b in _pieces(left, right):
        product = scratch("product", (len(a), *out.shape), out.dtype)
        np.matmul(a.swapaxes(2, 3), b, out=product)
        out += product.sum(axis=0) if len(a) > 1 else product[0]


def _pieces(left, right):
    """Cut (pixels, groups, K) and (pixels, groups, O) alike into (pieces, groups, pixels, .).

    OpenBLAS multiplies thin matrices a third faster while all is below SMALL_PRODUCT.
    """
    pixels, _, k = left.shape
    fit = SMALL_PRODUCT // (k * right.shape[2])
    for start, stop, each in even_pieces(pixels, pixels if fit < MIN_PIECE else fit):
        yield [m[start:stop].reshape(-1, each, *m.shape[1:]).swapaxes(1, 2) for m in (left, right)]


def even_pieces(total: int, most: int):
    """Yield (start, stop, each): start..stop in pieces of `each`, at most `most`; then the rest."""
    if total:
        each = math.ceil(total / math.ceil(total / most))
        whole = total // each * each
        yield 0, whole, each
        if whole < total:
            yield whole, total, total - whole


def weight_grad(dy, x, geometry: Geometry):
    """Return dweight (groups, O/groups, C/groups, kh, kw): the sum of ``dy * window``.

    `x` is (N, H, W, C) and `dy` (N, H, W, groups, O/groups), both in C order. A fixed number
    of parts sum their own blocks, and the sums are added in order, so the result does not
    depend on the number of threads.
    """
    groups, outputs = dy.shape[3:]
    channels = x.shape[3] // groups
    rows = channels * math.prod(geometry.kernel)
    shape = dy.shape[:3]
    blocks = split(shape, x.shape[3], outputs, geometry, MIN_SUMMED_PIXELS)
    parts = min(len(blocks), _part_count(groups * rows * outputs * x.itemsize))
    partial = np.zeros((parts, groups, rows, outputs), x.dtype)

    def task(part):
        for block in blocks[part::parts]:
            n0, n1, i0, i1 = block
            right = dy[n0:n1, i0:i1].reshape(-1, groups, outputs)
            for taps, left in patches(x, block, shape, groups, geometry):
                add_transposed_product(left, right, partial[part][:, taps])

    parallel_for(task, parts)
    for other in partial[1:]:
        partial[0] += other
    kernel = (groups, *geometry.kernel, channels, outputs)
    total = partial[0] if parts else np.zeros(kernel, x.dtype)
    return total.reshape(kernel).transpose(0, 4, 3, 1, 2)


def _part_count(size: int) -> int:
    return max(MIN_PARTS, min(MAX_PARTS, PARTIAL_BYTES // max(size, 1)))
