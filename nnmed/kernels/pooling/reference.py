"""Pooling spelled as loops: window (i, j) covers rows ``i*s - p + u*d`` and the like.

Indices come in two forms. A *code* is the position of the maximum in its window,
``u * kernel_width + v``; an *index* is its position in the picture, ``row * W + column``.
"""

from __future__ import annotations

import math

import numpy as np


def max_pool2d(x, kernel, stride, padding, dilation, output_size, need_codes=True):
    """Return the largest value of each window, and its code; padding counts as -inf.

    The first maximum in row-major order wins; a NaN wins over everything (the last one).
    """
    (n, c, h, w), (oh, ow) = x.shape, output_size
    y = np.full((n, c, oh, ow), -np.inf)
    codes = np.zeros((n, c, oh, ow), np.int64)
    for b, k, i, j in np.ndindex(n, c, oh, ow):
        code, best = None, -math.inf
        for u, v in np.ndindex(*kernel):
            row = i * stride[0] - padding[0] + u * dilation[0]
            column = j * stride[1] - padding[1] + v * dilation[1]
            if 0 <= row < h and 0 <= column < w:
                value = float(x[b, k, row, column])
                if code is None or value > best or math.isnan(value):
                    code, best = u * kernel[1] + v, value
        y[b, k, i, j], codes[b, k, i, j] = best, code or 0
    return y.astype(x.dtype), codes if need_codes else None


def max_pool2d_indices(codes, input_size, kernel, stride, padding, dilation):
    """Return the index ``row * W + column`` of each code, int64."""
    indices = np.zeros(codes.shape, np.int64)
    for b, k, i, j in np.ndindex(*codes.shape):
        u, v = divmod(int(codes[b, k, i, j]), kernel[1])
        row = i * stride[0] - padding[0] + u * dilation[0]
        column = j * stride[1] - padding[1] + v * dilation[1]
        indices[b, k, i, j] = row * input_size[1] + column
    return indices


def max_pool2d_input_grad(dy, codes, input_size, kernel, stride, padding, dilation):
    """Return dx: each dy is added where the maximum of its window was."""
    indices = max_pool2d_indices(codes, input_size, kernel, stride, padding, dilation)
    return scatter_plane(dy, indices, input_size)


def adaptive_max_pool2d(x, output_size):
    """Return the largest value of each of ``output_size`` windows, and its index."""
    n, c, h, w = x.shape
    y = np.zeros((n, c, *output_size))
    indices = np.zeros(y.shape, np.int64)
    for b, k, i, j in np.ndindex(*y.shape):
        index, best = None, -math.inf
        for row in range(*_adaptive_window(i, h, output_size[0])):
            for column in range(*_adaptive_window(j, w, output_size[1])):
                value = float(x[b, k, row, column])
                if index is None or value > best or math.isnan(value):
                    index, best = row * w + column, value
        y[b, k, i, j], indices[b, k, i, j] = best, index
    return y.astype(x.dtype), indices


def scatter_plane(values, indices, size):
    """Return a picture of `size` in which each value is added at its index."""
    result = np.zeros((*values.shape[:2], *size))
    for b, k, i, j in np.ndindex(*values.shape):
        row, column = divmod(int(indices[b, k, i, j]), size[1])
        result[b, k, row, column] += values[b, k, i, j]
    return result.astype(values.dtype)


def place_plane(values, indices, size):
    """Return zeros of `size` with each value written at its index, the last where it repeats."""
    result = np.zeros((*values.shape[:2], *size), values.dtype)
    for b, k, i, j in np.ndindex(*values.shape):
        row, column = divmod(int(indices[b, k, i, j]), size[1])
        result[b, k, row, column] = values[b, k, i, j]
    return result


def gather_plane(x, indices):
    """Return the values of `x` at the indices: the adjoint of :func:`scatter_plane`."""
    result = np.zeros(indices.shape, x.dtype)
    for b, k, i, j in np.ndindex(*indices.shape):
        row, column = divmod(int(indices[b, k, i, j]), x.shape[3])
        result[b, k, i, j] = x[b, k, row, column]
    return result


def avg_pool2d(x, kernel, stride, padding, output_size, count_include_pad, divisor_override):
    """Return the sum of each window over its divisor; padding counts as 0."""
    (n, c, h, w), (oh, ow) = x.shape, output_size
    y = np.zeros((n, c, oh, ow))
    for b, k, i, j in np.ndindex(n, c, oh, ow):
        cells, divisor = _average_window(
            (i, j), (h, w), kernel, stride, padding, count_include_pad, divisor_override
        )
        y[b, k, i, j] = sum(float(x[b, k, row, column]) for row, column in cells) / divisor
    return y.astype(x.dtype)


def avg_pool2d_input_grad(
    dy, input_size, kernel, stride, padding, count_include_pad, divisor_override
):
    """Return dx: each dy over its divisor is added to all cells of its window."""
    dx = np.zeros((*dy.shape[:2], *input_size))
    for b, k, i, j in np.ndindex(*dy.shape):
        cells, divisor = _average_window(
            (i, j), input_size, kernel, stride, padding, count_include_pad, divisor_override
        )
        for row, column in cells:
            dx[b, k, row, column] += float(dy[b, k, i, j]) / divisor
    return dx.astype(dy.dtype)


def adaptive_avg_pool2d(x, output_size):
    """Return the mean of each of ``output_size`` windows."""
    n, c, h, w = x.shape
    y = np.zeros((n, c, *output_size))
    for b, k, i, j in np.ndindex(*y.shape):
        rows = slice(*_adaptive_window(i, h, output_size[0]))
        columns = slice(*_adaptive_window(j, w, output_size[1]))
        y[b, k, i, j] = x[b, k, rows, columns].astype(float).mean()
    return y.astype(x.dtype)


def adaptive_avg_pool2d_input_grad(dy, input_size):
    """Return dx: each dy over the size of its window is added to all cells of it."""
    dx = np.zeros((*dy.shape[:2], *input_size))
    for b, k, i, j in np.ndindex(*dy.shape):
        rows = slice(*_adaptive_window(i, input_size[0], dy.shape[2]))
        columns = slice(*_adaptive_window(j, input_size[1], dy.shape[3]))
        window = dx[b, k, rows, columns]
        window += float(dy[b, k, i, j]) / window.size
    return dx.astype(dy.dtype)


def _adaptive_window(i, size, count):
    return i * size // count, -((i + 1) * size // -count)


def _average_window(position, size, kernel, stride, padding, count_include_pad, override):
    """Return the cells of a window that lie in the picture, and what their sum is divided by."""
    starts = [i * s - p for i, s, p in zip(position, stride, padding)]
    stops = [min(a + k, n + p) for a, k, n, p in zip(starts, kernel, size, padding)]
    padded = (stops[0] - starts[0]) * (stops[1] - starts[1])
    rows, columns = (range(max(a, 0), min(b, n)) for a, b, n in zip(starts, stops, size))
    cells = [(row, column) for row in rows for column in columns]
    return cells, override or (padded if count_include_pad else max(1, len(cells)))
