"""Pooling by windows that cover a picture evenly; they may overlap by a row or a column.

Where the windows tile the picture, this is pooling with windows of one size.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc, zeros_channels_last
from nnmed.backend.threads import parallel_for
from nnmed.kernels.elementwise import temporaries
from nnmed.kernels.pooling.cpu_average import avg_pool2d, avg_pool2d_input_grad
from nnmed.kernels.pooling.cpu_max import (
    along_columns,
    along_rows,
    greater_or_nan,
    max_pool2d,
    max_pool2d_indices,
    offsets_of,
)
from nnmed.kernels.pooling.phases import cut, on_rows, pixels


def adaptive_max_pool2d(x, output_size):
    """Return the largest value of each of ``output_size`` windows, and its index."""
    (n, c, h, w), (oh, ow) = x.shape, output_size
    if h % oh == 0 and w % ow == 0 and oh * ow > 1:
        kernel = h // oh, w // ow
        windows = kernel, kernel, (0, 0), (1, 1)
        y, codes = max_pool2d(x, *windows, output_size)
        return y, max_pool2d_indices(codes, (h, w), *windows)
    rows, columns = adaptive_windows(h, oh), adaptive_windows(w, ow)
    kernel = tuple(max(b - a for a, b in spans) for spans in (rows, columns))
    y = empty_channels_last((n, c, oh, ow), x.dtype)
    codes = empty_channels_last(y.shape, np.min_scalar_type(kernel[0] * kernel[1] - 1))
    indices = empty_channels_last(y.shape, np.int64)
    offsets = offsets_of(kernel, (1, 1), w)
    corners = np.array([[a * w + left for left, _ in columns] for a, _ in rows])[..., None]
    source, target, marks = pixels(nhwc(x)), nhwc(y), nhwc(codes)
    pieces = cut(n, 1, h * w * c)

    def task(index):
        n0, n1 = pieces[index][:2]
        block = target[n0:n1], marks[n0:n1]
        _max_and_code(source[n0:n1], rows, columns, *block, np.greater)
        if np.isnan(block[0].max()):
            _max_and_code(source[n0:n1], rows, columns, *block, greater_or_nan)
        out = nhwc(indices)[n0:n1]
        np.take(offsets, block[1], out=out, mode="clip")
        np.add(out, corners, out=out)

    parallel_for(lambda index: on_rows(task, index), len(pieces))
    return y, indices


def _max_and_code(x, rows, columns, y, codes, greater):
    """Fill `y` and `codes`; a code is ``u * (largest width of a window) + v``.

    Columns, then rows, are the outermost axis, so that each is one run for all windows.
    """
    (n, h, w), c, ow = x.shape[:3], y.shape[3], len(columns)
    line = n * c
    (tile,) = temporaries(1, w * h * line, y.dtype)
    np.copyto(tile.view(x.dtype).reshape(w, h, n, *x.shape[3:]), x.swapaxes(0, 2))
    tile = tile.reshape(w, h * line)
    best = np.empty((ow, h * line), y.dtype)
    place, later = np.empty(best.shape, codes.dtype), np.empty(best.size, codes.dtype)
    flag = np.empty(best.size, bool)
    for j, (left, right) in enumerate(columns):
        scratch = later[: h * line], flag[: h * line]
        value = along_columns(list(tile[left:right]), best[j], place[j], *scratch, greater)
        if right - left == 1:
            np.copyto(best[j], value)
    best, place = (a.reshape(ow, h, line) for a in (best, place))
    later, flag = (a[: ow * line].reshape(ow, line) for a in (later, flag))
    value, code = np.empty((ow, line), y.dtype), np.empty((ow, line), codes.dtype)
    width = max(right - left for left, right in columns)
    for i, (a, b) in enumerate(rows):
        candidates = [(best[:, row], place[:, row]) for row in range(a, b)]
        along_rows(*zip(*candidates), width, value, code, later, flag, greater)
        y[:, i] = value.reshape(ow, n, c).swapaxes(0, 1)
        codes[:, i] = code.reshape(ow, n, c).swapaxes(0, 1)


def adaptive_avg_pool2d(x, output_size):
    """Return the mean of each of ``output_size`` windows."""
    (n, c, h, w), (oh, ow) = x.shape, output_size
    if (oh, ow) == (1, 1):
        return _mean_of_all(x)
    if h % oh == 0 and w % ow == 0:
        kernel = h // oh, w // ow
        return avg_pool2d(x, kernel, kernel, (0, 0), output_size, True, None)
    y = empty_channels_last((n, c, oh, ow), x.dtype)
    rows, columns = adaptive_windows(h, oh), adaptive_windows(w, ow)
    sizes = np.outer(*([b - a for a, b in spans] for spans in (rows, columns)))[..., None]
    ones = np.ones((1, max(h, w)), x.dtype)
    source, target = nhwc(x), nhwc(y)
    pieces = cut(n, oh, -(-h // oh) * w * c)

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        first = rows[r0][0]
        tile = source[n0:n1, first : rows[r1 - 1][1]]
        tile = tile.reshape(*tile.shape[:2], w * c)
        down = np.empty((n1 - n0, r1 - r0, w * c), x.dtype)
        for i in range(r0, r1):
            a, b = rows[i]
            # A product with ones is the fastest sum over pixels.
            part = tile[:, a - first : b - first]
            np.matmul(ones[:, : b - a], part, out=down[:, i - r0, None])
        down = down.reshape(n1 - n0, r1 - r0, w, c)
        out = target[n0:n1, r0:r1]
        for j, (left, right) in enumerate(columns):
            np.matmul(ones[:, : right - left], down[:, :, left:right], out=out[:, :, j, None])
        np.divide(out, sizes[r0:r1].astype(x.dtype), out=out)

    parallel_for(task, len(pieces))
    return y


def _mean_of_all(x):
    n, c, h, w = x.shape
    y = empty_channels_last((n, c, 1, 1), x.dtype)
    source, target = nhwc(x), nhwc(y)
    ones = np.ones((1, h * w), x.dtype)
    pieces = cut(n, 1, h * w * c)

    def task(index):
        n0, n1 = pieces[index][:2]
        out = target[n0:n1, 0]
        np.matmul(ones, source[n0:n1].reshape(n1 - n0, h * w, c), out=out)
        np.divide(out, h * w, out=out)

    parallel_for(task, len(pieces))
    return y


def adaptive_avg_pool2d_input_grad(dy, input_size):
    """Return dx: each dy over the size of its window is added to all cells of it."""
    (n, c, oh, ow), (h, w) = dy.shape, input_size
    if h % oh == 0 and w % ow == 0:
        kernel = h // oh, w // ow
        return avg_pool2d_input_grad(dy, input_size, kernel, kernel, (0, 0), True, None)
    dx = zeros_channels_last((n, c, h, w), dy.dtype)
    rows, columns = adaptive_windows(h, oh), adaptive_windows(w, ow)
    sizes = np.outer(*([b - a for a, b in spans] for spans in (rows, columns)))[..., None]
    source, target = nhwc(dy), nhwc(dx)
    pieces = cut(n, 1, h * w * c)  # neighbouring windows may overlap: whole images only

    def task(index):
        n0, n1 = pieces[index][:2]
        share = source[n0:n1] / sizes.astype(dy.dtype)
        across = np.zeros((n1 - n0, oh, w, c), dy.dtype)
        for j, (left, right) in enumerate(columns):
            across[:, :, left:right] += share[:, :, j, None]
        block = target[n0:n1]
        for i, (a, b) in enumerate(rows):
            block[:, a:b] += across[:, i, None]

    parallel_for(lambda index: on_rows(task, index), len(pieces))
    return dx


def adaptive_windows(size, count):
    """Return where each of `count` windows over ``range(size)`` starts and stops."""
    return [(i * size // count, -((i + 1) * size // -count)) for i in range(count)]
