"""Resampling and padding with NumPy on channels-last memory; formulas in reference.py.

Along the rows a tap is a copy of whole lines, along the columns a copy of runs of C; the
weights are repeated to the length of a line, so all arithmetic is on long runs.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc
from nnmed.backend.threads import parallel_for
from nnmed.kernels.blocks import cut, read_tile
from nnmed.kernels.resample.cpu_pad import pad, pad_input_grad
from nnmed.kernels.resample.taps import transposed_taps

__all__ = ["interpolate", "interpolate_input_grad", "pad", "pad_input_grad"]


def interpolate(x, row_taps, column_taps):
    """Return the weighted sums that the taps ask for; see reference.py."""
    (n, c, _, w), (rows, _), (columns, _) = x.shape, row_taps, column_taps
    y = empty_channels_last((n, c, len(rows), len(columns)), x.dtype)
    source, target = nhwc(x), nhwc(y)
    pieces = cut(n, len(rows), max(w, len(columns)) * c)
    # The smaller number of lines goes through the columns, which are the dearer pass.
    columns_first = len(rows) > x.shape[2]
    line_weights = np.repeat(column_taps[1].T, c, axis=1)

    def across(block):
        return _gather_columns(block, columns, column_taps[1], line_weights)

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        wanted = rows[r0:r1]
        a, b = int(wanted.min()), int(wanted.max()) + 1
        block = read_tile(source, (n0, n1), (a, b), (0, w), 0)
        if columns_first:
            block = across(block)
        block = _gather_rows(block, wanted - a, row_taps[1][r0:r1])
        target[n0:n1, r0:r1] = block if columns_first else across(block)

    parallel_for(task, len(pieces))
    return y


def interpolate_input_grad(dy, row_taps, column_taps, input_size):
    """Return dx, the transposed map: each dy is added where its output was read."""
    return interpolate(
        dy, transposed_taps(*row_taps, input_size[0]), transposed_taps(*column_taps, input_size[1])
    )


def _gather_rows(block, index, weight):
    total = _weighted(
        block.take(index[:, 0], axis=1), weight[:, 0, None, None], (weight[:, 0] == 1).all()
    )
    for t in range(1, index.shape[1]):
        part = block.take(index[:, t], axis=1)
        part *= weight[:, t, None, None]
        total += part
    return _without_unused(total, weight, 1)


def _gather_columns(block, index, weight, line_weights):
    images, height, _, c = block.shape
    lines = images, height, len(index) * c
    plain = (weight[:, 0] == 1).all()
    total = _weighted(block.take(index[:, 0], axis=2).reshape(lines), line_weights[0], plain)
    for t in range(1, index.shape[1]):
        part = block.take(index[:, t], axis=2).reshape(lines)
        part *= line_weights[t]
        total += part
    return _without_unused(total.reshape(images, height, len(index), c), weight, 2)


def _weighted(part, weight, plain):
    if not plain:
        part *= weight
    return part


def _without_unused(total, weight, axis):
    # What no tap reads is 0, also where the output that the idle taps point to is NaN.
    unused = np.flatnonzero(~weight.any(axis=1))
    if len(unused):
        total[(slice(None),) * axis + (unused,)] = 0
    return total
