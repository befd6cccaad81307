"""Layer and root-mean-square normalisation on the GPU: layer.cu."""

from __future__ import annotations

from math import ceil

from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.columns import WARP, blocks_of_columns, grid_of_warps
from nnmed.kernels.packs import numbers_a_thread

_KEPT = 8  # packs that a thread keeps, as layer.cu has it

_source = Source(__file__, "layer.cu")


def layer_norm(x, weight, bias, eps, centred):
    """Return y, each row's mean and 1 / sqrt(var + eps), both ``(M,)``; see reference.py."""
    xp = array_module(x)
    x, y = xp.ascontiguousarray(x), xp.empty(x.shape, x.dtype)
    mean, inverse = xp.empty(len(x), x.dtype), xp.empty(len(x), x.dtype)
    _for_each_row(
        "layer_norm", _each(x, weight, bias), x, weight, bias, y, mean, inverse, float(eps), centred
    )
    return y, mean, inverse


def layer_norm_grad(dy, x, mean, inverse, weight, centred):
    """Return dx and, both float64 ``(D,)``, dweight and dbias; see reference.py."""
    xp = array_module(x)
    dy, x, dx = xp.ascontiguousarray(dy), xp.ascontiguousarray(x), xp.empty(x.shape, x.dtype)
    _for_each_row(
        "layer_norm_grad", _each(dy, x, weight), dy, x, mean, inverse, weight, dx, centred
    )
    dbias, dweight = _column_sums(dy, x, mean, inverse)
    return dx, dweight, dbias


def _column_sums(dy, x, mean, inverse):
    """Return the sums over the rows of dy and of dy times the normalised x, (2, D)."""
    xp, (rows, width), each = array_module(x), x.shape, _each(dy, x)
    if not x.size:
        return xp.zeros((2, width))
    lanes, length, grid = blocks_of_columns(1, rows, width, each)
    parts, totals = xp.empty((width, grid[1], 2)), xp.empty((2, width))
    _source.launch(
        "column_sums", x.dtype, grid, (THREADS,), dy, x, mean, inverse, parts, rows, width, lanes,
        length, each,
    )  # fmt: skip
    _source.launch(
        "add_sums", x.dtype, grid_of_warps(width), (THREADS,), parts, totals, grid[1], width
    )
    return totals


def _each(*arrays):
    """Return how many numbers of a row a thread moves at a time; some arrays may be missing."""
    present = [a for a in arrays if a is not None]
    return numbers_a_thread(present[0].shape[1], *present)


def _for_each_row(kernel, each, *arguments):
    """Run a kernel with a warp for each row, or a block where rows are longer than it keeps."""
    rows, width = arguments[0].shape
    lanes = WARP if width <= WARP * each * _KEPT else THREADS
    grid = (ceil(rows * lanes / THREADS),)
    dtype = arguments[0].dtype
    _source.launch(kernel, dtype, grid, (THREADS,), *arguments, rows, width, lanes, each)
