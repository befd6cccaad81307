"""Resampling and padding spelled as loops. Taps are those of taps.py."""

from __future__ import annotations

import numpy as np


def interpolate(x, row_taps, column_taps):
    """Return ``y[i, j] = sum_s sum_t a[i, s] * b[j, t] * x[rows[i, s], columns[j, t]]``."""
    (rows, a), (columns, b) = row_taps, column_taps
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for n, c, i, j in np.ndindex(*y.shape):
        for s, t in np.ndindex(a.shape[1], b.shape[1]):
            y[n, c, i, j] += float(a[i, s]) * float(b[j, t]) * x[n, c, rows[i, s], columns[j, t]]
    return y.astype(x.dtype)


def interpolate_input_grad(dy, row_taps, column_taps, input_size):
    """Return dx, the transposed map: each dy is added where its output was read."""
    (rows, a), (columns, b) = row_taps, column_taps
    dx = np.zeros((*dy.shape[:2], *input_size))
    for n, c, i, j in np.ndindex(*dy.shape):
        for s, t in np.ndindex(a.shape[1], b.shape[1]):
            dx[n, c, rows[i, s], columns[j, t]] += float(a[i, s]) * float(b[j, t]) * dy[n, c, i, j]
    return dx.astype(dy.dtype)


def pad(x, widths, value):
    """Return `x` with ``widths[axis] = (before, after)`` more entries; negative ones crop."""
    shape = [n + before + after for n, (before, after) in zip(x.shape, widths)]
    y = np.full(shape, value, x.dtype)
    for position in np.ndindex(*shape):
        source = tuple(p - before for p, (before, _) in zip(position, widths))
        if all(0 <= p < n for p, n in zip(source, x.shape)):
            y[position] = x[source]
    return y
