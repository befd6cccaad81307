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


def pad(x, widths, mode, value):
    """Return `x` with ``widths[axis] = (before, after)`` more entries; negative ones crop."""
    y = np.full([n + before + after for n, (before, after) in zip(x.shape, widths)], value, x.dtype)
    for position in np.ndindex(*y.shape):
        source = _source(position, x.shape, widths, mode)
        if source is not None:
            y[position] = x[source]
    return y


def pad_input_grad(dy, widths, mode):
    """Return dx: each dy is added where its value was read."""
    dx = np.zeros([n - before - after for n, (before, after) in zip(dy.shape, widths)])
    for position in np.ndindex(*dy.shape):
        source = _source(position, dx.shape, widths, mode)
        if source is not None:
            dx[source] += dy[position]
    return dx.astype(dy.dtype)


def _source(position, shape, widths, mode):
    """Return where a padded array reads at `position`, None where it is the constant."""
    source = []
    for p, n, (before, after) in zip(position, shape, widths):
        i = p - before
        if mode == "reflect":
            i = n - 1 - abs(n - 1 - abs(i))
        elif mode == "replicate":
            i = min(max(i, 0), n - 1)
        elif mode == "circular":  # what is cropped on one side does not come back on the other
            low, high = max(-before, 0), n - max(-after, 0)
            i = low + (i - low) % (high - low)
        elif not 0 <= i < n:
            return None
        source.append(i)
    return tuple(source)
