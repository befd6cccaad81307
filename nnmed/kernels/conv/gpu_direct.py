"""Convolution on the GPU as products of matrices that are never written: all sizes.

The kernels are in gather.cu and weight_grad.cu, which multiply float32 in the thread's format:
see :mod:`nnmed.backend.precision`, and tensor_cores.cuh. gpu_windows.py says how windows lie, and
how the input gradient is a sum over windows too.
"""

from __future__ import annotations

from functools import partial
from math import ceil, prod
from typing import NamedTuple

from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import Source
from nnmed.kernels.conv import gpu_windows
from nnmed.kernels.conv.gpu_windows import Axis, flat, seen, strides


class Tile(NamedTuple):
    """Rows, columns and threads of a tile in gemm.cuh."""

    name: str
    rows: int
    columns: int
    threads: int


SMALL = Tile("small", 32, 32, 64)
TILES = Tile("wide", 128, 128, 256), Tile("middle", 128, 64, 128), Tile("thin", 128, 32, 128), SMALL
# Blocks that keep a large card busy: two for each of its multiprocessors. The same on all cards,
# since it decides how sums are split.
BLOCKS = 264
# Pixels of a part of the weight gradient, at least.
LEAST_PIXELS = 512

_gather = Source(__file__, "gather.cu", products=True)
_weight_grad = Source(__file__, "weight_grad.cu", products=True)


def weight_grad(dy, x, dweight, stride, padding, dilation, groups):
    """Set `dweight` to the gradient of the convolution by its weight."""
    axes = seen(dy, x, dweight.shape[2:], stride, padding, dilation)
    channels, outputs = x.shape[1], dy.shape[1]
    shape = groups, channels // groups, outputs // groups
    apart = channels, channels // groups, outputs, outputs // groups
    add_parts(_sum_pixels(dy, x, axes, shape, len(x), apart), dweight)


def part_length(count: int, least: int, blocks: int) -> int:
    """Return how many of `count` rows or pixels to add up in a part, of so many blocks.

    It depends on sizes alone.
    """
    return ceil(count / max(1, min(2 * BLOCKS // blocks, count // least)))


def add_parts(sums, dweight):
    """Set `dweight` (O, C/groups, ...) to the sum of `sums` (parts, groups, taps * C/groups, O)."""
    parts, _, _, outputs = sums.shape
    taps, channels = prod(dweight.shape[2:]), dweight.shape[1]
    _weight_grad.launch(
        "add_parts", sums.dtype, (ceil(dweight.size / 32),), (32, 8), sums, dweight, parts, taps,
        channels, outputs, dweight.size,
    )  # fmt: skip


def multiply(left, right, out):
    """Set ``out[k] = left[k] @ right[k]``: a convolution in groups, one pixel a row."""
    count, rows, inner = left.shape
    columns = right.shape[2]
    axes = [Axis(rows, rows, 1, 1, 1, 0)]
    apart = inner, rows * inner, rows * columns
    _gather_windows(left, right, None, out, axes, (0, 0, 0, columns), count, 1, apart)


def multiply_transposed(left, right):
    """Return the sums (parts, count, inner, columns) that add up to ``left[k].T @ right[k]``."""
    count, rows, inner = left.shape
    columns = right.shape[2]
    axes = [Axis(rows, rows, 1, 1, 1, 0)]
    apart = inner, rows * inner, columns, rows * columns
    return _sum_pixels(right, left, axes, (count, inner, columns), 1, apart)


def sum_windows(x, weight, bias, y, axes, groups):
    """Set `y`, which may lie apart in memory, to the sums over windows of `x` times `weight`."""
    outputs, channels = len(weight) // groups, weight.shape[1]
    by_group = weight.reshape(groups, outputs, channels, -1).transpose(0, 3, 2, 1)
    matrices = array_module(x).ascontiguousarray(by_group).reshape(groups, -1, outputs)
    apart = x.shape[1], channels, outputs
    _gather_windows(x, matrices, bias, y, axes, strides(y, axes), groups, len(x), apart)


correlate = partial(gpu_windows.correlate, sum_windows)
input_grad = partial(gpu_windows.input_grad, sum_windows)


def _gather_windows(x, matrices, bias, y, axes, y_strides, groups, images, apart):
    """Launch gather.cu: `matrices` are (groups, taps * channels, outputs).

    `apart` are the numbers from a pixel of x, a group of x and a group of y to the next.
    """
    outputs, channels = matrices.shape[2], matrices.shape[1] // prod(axis.taps for axis in axes)
    rows = images * prod(axis.positions for axis in axes)
    for tile in _tiles(rows, outputs):
        blocks = ceil(rows / tile.rows) * ceil(outputs / tile.columns)
        if 2 * blocks * groups >= BLOCKS:
            break  # each multiprocessor has one; smaller tiles would read more
    _gather.launch(
        f"gather_{tile.name}", x.dtype, (blocks, groups), (tile.threads,), x, matrices, bias, y,
        images, channels, outputs, *apart, *y_strides, *flat(axes),
    )  # fmt: skip


def _sum_pixels(dy, x, axes, shape, images, apart):
    """Return sums (parts, groups, taps * channels, outputs) over parts of the pixels of `dy`.

    `shape` is (groups, channels, outputs); `apart` are the numbers from a pixel and a group of
    x, and then of dy, to the next.
    """
    groups, channels, outputs = shape
    rows = prod(axis.taps for axis in axes) * channels
    pixels = images * prod(axis.positions for axis in axes)
    tile = _tiles(rows, outputs)[0]
    grid = ceil(rows / tile.rows), ceil(outputs / tile.columns)
    each = part_length(pixels, LEAST_PIXELS, prod(grid) * groups)
    parts = ceil(pixels / each)
    sums = array_module(x).empty((parts, groups, rows, outputs), x.dtype)
    _weight_grad.launch(
        f"weight_grad_{tile.name}", x.dtype, (*grid, parts * groups), (tile.threads,), dy, x, sums,
        images, groups, channels, outputs, each, *apart, *flat(axes),
    )  # fmt: skip
    return sums


def _tiles(rows: int, columns: int) -> list[Tile]:
    """Return the tiles that a result fills by more than half, and small ones; largest first."""
    rows, columns = max(rows, SMALL.rows), max(columns, SMALL.columns)
    return [tile for tile in TILES if tile.rows < 2 * rows and tile.columns < 2 * columns]
