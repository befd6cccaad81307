"""softmax and log_softmax along one axis, in blocks of rows."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_like
from nnmed.kernels.rows import Rows

# Between -30 and 30, exp neither overflows nor loses digits: no maximum is needed.
_NEAR = 30.0


def softmax(x, dim):
    """Return exp(x - m) / sum(exp(x - m)) along `dim`, m the row's maximum."""

    def of_block(rows, y, x):
        if max(x.max(), -x.min()) < _NEAR:
            np.exp(x, out=y)
        else:
            np.subtract(x, rows.along(rows.max(x)), out=y)
            np.exp(y, out=y)
        # A quotient, not a product with 1 / sum, which could be more than 1.
        np.divide(y, rows.along(rows.sum(y)), out=y)

    return _map_rows(of_block, dim, x)


def softmax_grad(dy, y, dim):
    """Return y * (dy - sum(dy * y)) along `dim`."""

    def of_block(rows, dx, y, dy):
        np.multiply(y, dy, out=dx)
        np.subtract(dy, rows.along(rows.sum(dx)), out=dx)
        np.multiply(dx, y, out=dx)

    return _map_rows(of_block, dim, y, dy)


def log_softmax(x, dim):
    """Return x - m - log(sum(exp(x - m))) along `dim`, m the row's maximum."""

    def of_block(rows, y, x):
        np.subtract(x, rows.along(rows.max(x)), out=y)
        powers = np.exp(y, out=rows.scratch(y))
        np.subtract(y, rows.along(np.log(rows.sum(powers))), out=y)

    return _map_rows(of_block, dim, x)


def log_softmax_grad(dy, y, dim):
    """Return dy - exp(y) * sum(dy) along `dim`."""

    def of_block(rows, dx, y, dy):
        np.exp(y, out=dx)
        np.multiply(dx, rows.along(rows.sum(dy)), out=dx)
        np.subtract(dy, dx, out=dx)

    return _map_rows(of_block, dim, y, dy)


def _map_rows(function, dim, *arrays):
    """Return the array that ``function(rows, result, *arrays)`` fills, block by block."""
    if arrays[0].ndim == 0:  # a row of one number
        return _map_rows(function, 0, *(a.reshape(1) for a in arrays)).reshape(())
    if arrays[0].size == 0:
        return empty_like(arrays[0])
    rows = Rows(arrays[0], dim, many=1)
    result = rows.empty()
    target, *sources = (rows.view(a) for a in (result, rows.x, *arrays[1:]))

    def task(_, block):
        out = rows.part(target, block)
        if out is not None:
            function(rows, out, *(rows.part(source, block) for source in sources))
        else:
            blocks = [rows.read(source, block, slot) for slot, source in enumerate(sources)]
            out = rows.temporary(block, result.dtype, len(blocks))
            function(rows, out, *blocks)
            rows.write(target, block, out)

    rows.for_blocks(task)
    return result
