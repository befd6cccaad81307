"""Cutting pictures into windows and back with NumPy; formulas in reference.py.

The windows are a matrix, (C * kh * kw, L) for each picture, in row-major memory: the rows of
one tap are then a strided copy of the picture's planes.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last
from nnmed.backend.threads import parallel_for


def unfold(x, windows):
    """Return the windows of (N, C, H, W) pictures as columns, (N, C * kh * kw, L)."""
    n, c, *size = x.shape
    counts = windows.counts(size)
    y = np.empty((n, c, *windows.kernel, *counts), x.dtype)

    def task(image):
        planes, inner = _padded(c, size, windows, x.dtype)
        planes[inner] = x[image]
        for tap in np.ndindex(*windows.kernel):
            y[(image, slice(None), *tap)] = planes[windows.read(tap, counts)]

    parallel_for(task, n)
    return y.reshape(n, c * windows.kernel[0] * windows.kernel[1], counts[0] * counts[1])


def fold(x, windows, size):
    """Return the pictures (N, C, *size) in which each window is added where it was read."""
    n, counts, (kh, kw) = len(x), windows.counts(size), windows.kernel
    c = x.shape[1] // (kh * kw)
    y = empty_channels_last((n, c, *size), x.dtype)

    def task(image):
        planes, inner = _padded(c, size, windows, x.dtype)
        columns = x[image].reshape(c, kh, kw, *counts)
        for tap in np.ndindex(kh, kw):
            planes[windows.read(tap, counts)] += columns[(slice(None), *tap)]
        y[image] = planes[inner]

    parallel_for(task, n)
    return y


def _padded(channels, size, windows, dtype):
    """Return zeroed planes with room for the padding, and the index of the picture in them."""
    planes = np.zeros((channels, *(n + 2 * p for n, p in zip(size, windows.padding))), dtype)
    return planes, (slice(None), *(slice(p, p + n) for n, p in zip(size, windows.padding)))
