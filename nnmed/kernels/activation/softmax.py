"""softmax and log_softmax along one axis, in blocks of rows."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_like
from nnmed.kernels.rows import Rows


def softmax(x, dim):
    """Return exp(x - m) / sum(exp(x - m)) along `dim`, m the row's maximum."""

    def chunk(s, axis):
        _exp_shifted(s, axis)
        np.divide(s, s.sum(axis, keepdims=True), out=s)
        return s

    return _map_rows(chunk, dim, x)


def softmax_grad(dy, y, dim):
    """Return y * (dy - sum(dy * y)) along `dim`."""

    def chunk(y, dy, axis):
        total = np.multiply(y, dy).sum(axis, keepdims=True)
        np.subtract(dy, total, out=dy)
        return np.multiply(dy, y, out=dy)

    return _map_rows(chunk, dim, y, dy)


def log_softmax(x, dim):
    """Return x - m - log(sum(exp(x - m))) along `dim`, m the row's maximum."""

    def chunk(s, axis):
        np.subtract(s, s.max(axis, keepdims=True), out=s)
        total = np.exp(s).sum(axis, keepdims=True)
        return np.subtract(s, np.log(total), out=s)

    return _map_rows(chunk, dim, x)


def log_softmax_grad(dy, y, dim):
    """Return dy - exp(y) * sum(dy) along `dim`."""

    def chunk(y, dy, axis):
        np.exp(y, out=y)
        np.multiply(y, dy.sum(axis, keepdims=True), out=y)
        return np.subtract(dy, y, out=dy)

    return _map_rows(chunk, dim, y, dy)


def _exp_shifted(s, axis):
    # Without its maximum a row cannot overflow.
    np.subtract(s, s.max(axis, keepdims=True), out=s)
    np.exp(s, out=s)


def _map_rows(function, dim, *arrays):
    """Apply ``function(*blocks, axis) -> block`` to all rows along `dim`."""
    if arrays[0].ndim == 0:  # a row of one number
        return _map_rows(function, 0, *(a.reshape(1) for a in arrays)).reshape(())
    if arrays[0].size == 0:
        return empty_like(arrays[0])
    rows = Rows(arrays[0], dim)
    result = rows.empty()
    target = rows.view(result)
    sources = [rows.view(rows.x), *(rows.view(a) for a in arrays[1:])]

    def task(_, block):
        blocks = [rows.read(source, block, slot) for slot, source in enumerate(sources)]
        rows.write(target, block, function(*blocks, rows.axis))

    rows.for_blocks(task)
    return result
