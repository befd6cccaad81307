"""Pooling with NumPy on channels-last memory; formulas in reference.py."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc, zeros_channels_last
from nnmed.backend.threads import parallel_for
from nnmed.kernels.pooling.cpu_average import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_input_grad,
    avg_pool2d,
    avg_pool2d_input_grad,
)
from nnmed.kernels.pooling.cpu_max import max_pool2d, max_pool2d_indices, max_pool2d_input_grad
from nnmed.kernels.pooling.phases import cut

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_input_grad",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "avg_pool2d_input_grad",
    "gather_plane",
    "max_pool2d",
    "max_pool2d_indices",
    "max_pool2d_input_grad",
    "place_plane",
    "scatter_plane",
]


def adaptive_max_pool2d(x, output_size):
    """Return the largest value of each of ``output_size`` windows, and its index."""
    (n, c, h, w), (oh, ow) = x.shape, output_size
    if h % oh == 0 and w % ow == 0 and oh * ow > 1:
        kernel = h // oh, w // ow
        windows = kernel, kernel, (0, 0), (1, 1)
        y, codes = max_pool2d(x, *windows, output_size)
        return y, max_pool2d_indices(codes, (h, w), *windows)
    y = empty_channels_last((n, c, oh, ow), x.dtype)
    indices = empty_channels_last(y.shape, np.int64)
    source = nhwc(x)
    pieces = cut(n, 1, h * w * c)

    def task(index):
        n0, n1 = pieces[index][:2]
        for i in range(oh):
            a, b = i * h // oh, -((i + 1) * h // -oh)
            for j in range(ow):
                left, right = j * w // ow, -((j + 1) * w // -ow)
                window = source[n0:n1, a:b, left:right].reshape(n1 - n0, -1, c)
                place = window.argmax(axis=1)
                value = np.take_along_axis(window, place[:, None], axis=1)[:, 0]
                if np.isnan(value).any():  # argmax finds the first NaN, PyTorch the last
                    last = window.shape[1] - 1 - np.isnan(window[:, ::-1]).argmax(axis=1)
                    place = np.where(np.isnan(value), last, place)
                nhwc(y)[n0:n1, i, j] = value
                u, v = np.divmod(place, right - left)
                nhwc(indices)[n0:n1, i, j] = (u + a) * w + (v + left)

    parallel_for(task, len(pieces))
    return y, indices


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
