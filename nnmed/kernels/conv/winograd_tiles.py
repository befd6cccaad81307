"""Tiles of Winograd's convolution, read and written, and the products of many of them.

A matrix has a row for each position in a tile and a column for each tile and channel, so that
a transform is a product with one small matrix, and the rest one product for each position.
"""

from __future__ import annotations

import math

import numpy as np

from nnmed.kernels.conv.blocks import Geometry, cut, scratch, share, windows
from nnmed.kernels.conv.products import SMALL_PRODUCT, even_pieces
from nnmed.kernels.conv.toom_cook import Form

# Columns (tiles * channels) of a block: its matrices take a megabyte each.
BLOCK_COLUMNS = 8192
# Fewer tiles than this do not make a product of their own.
MIN_PRODUCT_TILES = 8
# Rows that start a power of two apart would compete for the same few places in the cache.
GAP = 48


class Tiles:
    """The tiles that cover `shape` (N, H, W, ...), and how blocks of them are read and written.

    A block (n0, n1, i0, i1) is rows i0..i1 of tiles of images n0..n1. Read, it is a matrix with
    a row for each position in the tile and a column for each tile and channel.
    """

    def __init__(self, form: Form, shape, before):
        self.n, self.height, self.width = shape[:3]
        self.m, self.positions = form.m, form.t**2
        self.rows, self.columns = -(-self.height // form.m), -(-self.width // form.m)
        stride = form.m, form.m
        self._read = Geometry((form.t, form.t), stride, before, (1, 1))
        self._cover = Geometry(stride, stride, (0, 0), (1, 1))

    def blocks(self, channels: int, outputs: int, least: int):
        """Cut the tiles into blocks, by sizes alone: `outputs` results a channel and position."""
        fair = share(self.n * self.rows * self.columns, self.positions * channels * outputs)
        size = max(min(BLOCK_COLUMNS // max(channels, outputs), fair), least)
        return cut((self.n, self.rows, self.columns), size)

    def inputs(self, x, block, matrix, out=None):
        """Return ``matrix @`` the block's t x t input tiles, in `out` or a view of scratch."""
        return self._transformed(x, block, self._read, matrix, "transformed", out)

    def gradients(self, dy, block, matrix, out=None):
        """Return ``matrix @`` the block's m x m output tiles, in `out` or a view of scratch."""
        return self._transformed(dy, block, self._cover, matrix, "gradients", out)

    def count(self, block) -> int:
        """Return how many tiles a block has."""
        n0, n1, i0, i1 = block
        return (n1 - n0) * (i1 - i0) * self.columns

    def _transformed(self, x, block, geometry, matrix, name, out):
        seen = windows(x, block, self.columns, geometry).transpose(3, 4, 0, 1, 2, 5)
        columns = math.prod(seen.shape[2:])
        gathered = matrix_scratch("gathered", matrix.shape[1], columns, x.dtype)
        np.copyto(gathered.reshape(seen.shape), seen)
        result = matrix_scratch(name, len(matrix), columns, x.dtype) if out is None else out
        transform(matrix, gathered, result)
        return result

    def put(self, result, y, block):
        """Write a block's outputs (m*m, tiles * O) where they belong in `y`."""
        n0, n1, i0, i1 = block
        m, shape = self.m, (n1 - n0, i1 - i0, self.columns, y.shape[3])
        result = result.reshape(m, m, *shape).transpose(2, 3, 0, 4, 1, 5)
        target = y[n0:n1, i0 * m : i1 * m]
        if target.shape[1:3] == (shape[1] * m, shape[2] * m):
            np.copyto(target.reshape(result.shape), result)
            return
        whole = scratch("whole", result.shape, y.dtype)
        np.copyto(whole, result)
        whole = whole.reshape(shape[0], shape[1] * m, shape[2] * m, shape[3])
        np.copyto(target, whole[:, : target.shape[1], : target.shape[2]])


def transform(matrix, source, out):
    """Set ``out = matrix @ source``: a few rows, many columns, in pieces that BLAS likes."""
    count = source.shape[1]
    each = SMALL_PRODUCT // matrix.size // 64 * 64
    whole = count // each * each
    if whole:
        left, right = (a[:, :whole].reshape(len(a), -1, each).swapaxes(0, 1) for a in (source, out))
        np.matmul(matrix, left, out=right)
    if whole < count:
        np.matmul(matrix, source[:, whole:], out=out[:, whole:])


def multiply(inputs, filters, out):
    """Set ``out[k] = inputs[k] @ filters[k]`` for each position k."""
    channels, outputs = filters.shape[1:]
    count, fit = inputs.shape[1], SMALL_PRODUCT // (channels * outputs)
    for start, stop, each in even_pieces(count, fit if fit >= MIN_PRODUCT_TILES else count):
        left = inputs[:, start:stop].reshape(len(inputs), -1, each, channels)
        right = out[:, start:stop].reshape(len(out), -1, each, outputs)
        np.matmul(left, filters[:, np.newaxis], out=right)


def matrix_scratch(name: str, rows: int, columns: int, dtype):
    """Return this thread's matrix `name`, with a gap between its rows."""
    return scratch(name, (rows, columns + GAP), dtype)[:, :columns]
