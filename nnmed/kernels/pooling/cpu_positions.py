"""Values and their positions in a picture: adding, writing and reading them."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc, zeros_channels_last
from nnmed.backend.threads import parallel_for


def scatter_plane(values, indices, size):
    """Return a picture of `size` in which each value is added at its index."""
    n, c = values.shape[:2]
    result = zeros_channels_last((n, c, *size), values.dtype)
    source, marks, target = nhwc(values), nhwc(indices), nhwc(result)
    channel = np.arange(c)

    def task(image):
        flat = target[image].reshape(-1)
        np.add.at(flat, (marks[image] * c + channel).reshape(-1), source[image].reshape(-1))

    parallel_for(task, n)
    return result


def place_plane(values, indices, size):
    """Return zeros of `size` with each value written at its index, the last where it repeats."""
    n, c = values.shape[:2]
    result = zeros_channels_last((n, c, *size), values.dtype)
    source, marks, target = nhwc(values), nhwc(indices), nhwc(result)
    channel = np.arange(c)

    def task(image):
        flat = target[image].reshape(-1)
        flat[(marks[image] * c + channel).reshape(-1)] = source[image].reshape(-1)

    parallel_for(task, n)
    return result


def gather_plane(x, indices):
    """Return the values of `x` at the indices: the adjoint of :func:`scatter_plane`."""
    n, c = x.shape[:2]
    result = empty_channels_last(indices.shape, x.dtype)
    source, marks, target = nhwc(x), nhwc(indices), nhwc(result)
    channel = np.arange(c)

    def task(image):
        target[image] = source[image].reshape(-1)[marks[image] * c + channel]

    parallel_for(task, n)
    return result
