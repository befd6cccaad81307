"""Resampling and padding spelled as loops. Taps are those of taps.py."""

from __future__ import annotations

import numpy as np


def interpolate(x, taps):
    """Return ``y[o1, o2, ..] = sum over s1, s2, .. of w1[o1, s1] w2[o2, s2] .. x[i1, i2, ..]``.

    Axis by axis: position i of an axis is ``index[o, s]`` of its taps, w its ``weight[o, s]``.
    """
    y = x.astype(np.float64)
    for axis, t in enumerate(taps, 2):
        lines = np.moveaxis(y, axis, 0)
        sums = np.zeros((len(t), *lines.shape[1:]))
        for o, s in np.ndindex(*t.index.shape):
            if t.weight[o, s] != 0:
                sums[o] += float(t.weight[o, s]) * lines[t.index[o, s]]
        y = np.moveaxis(sums, 0, axis)
    return y.astype(x.dtype)


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
