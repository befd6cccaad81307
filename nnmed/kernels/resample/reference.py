"""Resampling, padding and windows spelled as loops. Taps are those of taps.py."""

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


def sample(x, index, weight):
    """Return ``y[n, c, p] = sum_k weight[k, n, p] * x[n, c, index[k, n, p]]``.

    `x` is (N, C, size) and `index` (K, N, P); where it is negative, x counts as 0.
    """
    y = np.zeros((*x.shape[:2], index.shape[2]))
    for k, n, p in np.ndindex(*index.shape):
        if index[k, n, p] >= 0:
            y[n, :, p] += float(weight[k, n, p]) * x[n, :, index[k, n, p]]
    return y.astype(x.dtype)


def sample_input_grad(dy, index, weight, size):
    """Return dx, (N, C, size): each dy is added where its value was read, times the weight."""
    dx = np.zeros((*dy.shape[:2], size))
    for k, n, p in np.ndindex(*index.shape):
        if index[k, n, p] >= 0:
            dx[n, :, index[k, n, p]] += float(weight[k, n, p]) * dy[n, :, p]
    return dx.astype(dy.dtype)


def sample_weight_grad(dy, x, index):
    """Return ``dweight[k, n, p] = sum_c dy[n, c, p] * x[n, c, index[k, n, p]]``."""
    dweight = np.zeros(index.shape)
    for k, n, p in np.ndindex(*index.shape):
        if index[k, n, p] >= 0:
            for c in range(x.shape[1]):
                dweight[k, n, p] += float(dy[n, c, p]) * float(x[n, c, index[k, n, p]])
    return dweight.astype(x.dtype)


def unfold(x, windows):
    """Return ``y[n, (c, u, v), (i, j)] = x[n, c, i*s + u*d - p, j*s + v*d - p]``, 0 outside."""
    n, c, *size = x.shape
    counts = windows.counts(size)
    y = np.zeros((n, c, *windows.kernel, *counts), x.dtype)
    for u, v, i, j in np.ndindex(*windows.kernel, *counts):
        place = _read_by((u, v), (i, j), windows, size)
        if place is not None:
            y[:, :, u, v, i, j] = x[(slice(None), slice(None), *place)]
    return y.reshape(n, c * windows.kernel[0] * windows.kernel[1], counts[0] * counts[1])


def fold(x, windows, size):
    """Return the pictures (N, C, *size) in which each window is added where it was read."""
    (kh, kw), counts = windows.kernel, windows.counts(size)
    channels = x.shape[1] // (kh * kw)
    columns = x.reshape(len(x), channels, kh, kw, *counts)
    y = np.zeros((len(x), channels, *size))
    for u, v, i, j in np.ndindex(kh, kw, *counts):
        place = _read_by((u, v), (i, j), windows, size)
        if place is not None:
            y[(slice(None), slice(None), *place)] += columns[:, :, u, v, i, j]
    return y.astype(x.dtype)


def _read_by(tap, window, windows, size):
    """Return the pixel that a tap of a window reads, None in the padding."""
    place = tuple(
        w * s + t * d - p
        for t, w, s, d, p in zip(tap, window, windows.stride, windows.dilation, windows.padding)
    )
    return place if all(0 <= a < n for a, n in zip(place, size)) else None
