"""Max pooling with NumPy on channels-last memory, block by block; formulas in reference.py.

The maximum is separable: first along each row, then down the columns. Row-major order of
ties survives, since the first row that holds the maximum wins and in it the first column.
The position is tracked beside the value as a code of one byte.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc, zeros_channels_last
from nnmed.backend.threads import parallel_for
from nnmed.kernels.blocks import hit
from nnmed.kernels.elementwise import temporaries
from nnmed.kernels.pooling.phases import cut, every, grid_of, on_rows, pixels

SCATTERED = 1 << 14  # elements of dy that np.add.at takes at a time
# With more cells in a window, a pass for each takes longer than scattering (on one thread).
MANY_CELLS = 9


def max_pool2d(x, kernel, stride, padding, dilation, output_size, need_codes=True):
    """Return the largest value of each window, and its code; see reference.py."""
    (n, c), (oh, ow) = x.shape[:2], output_size
    y = empty_channels_last((n, c, oh, ow), x.dtype)
    source, target = nhwc(x), nhwc(y)
    codes = marks = first = None
    if need_codes:
        codes = empty_channels_last(y.shape, np.min_scalar_type(kernel[0] * kernel[1] - 1))
        first = _first_codes(kernel, padding, stride, dilation, output_size).astype(codes.dtype)
        marks = nhwc(codes)
    pieces = cut(n, oh, stride[0] * stride[1] * ow * c)

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        grid = grid_of(n1 - n0, r1 - r0, ow, c, kernel, stride, dilation)
        *buffers, best = temporaries(len(grid.phases) + 1, grid.size, x.dtype)
        corner = r0 * stride[0] - padding[0], -padding[1]
        buffers = grid.read(source[n0:n1], corner, -np.inf, buffers)
        out = target[n0:n1, r0:r1].reshape(n1 - n0, r1 - r0, -1)
        if not need_codes:
            along = _running_max(grid.along_columns(buffers), best)
            down = _running_max(grid.along_rows(along), out)
            if down is not out:
                np.copyto(out, down)
            return
        code = marks[n0:n1, r0:r1]
        flat = code.reshape(out.shape)
        _max_and_code(grid, buffers, best, out, flat, np.greater)
        if np.isnan(out.max()):
            _max_and_code(grid, buffers, best, out, flat, greater_or_nan)
        _raise_to(code, first[r0:r1])

    parallel_for(lambda index: on_rows(task, index), len(pieces))
    return y, codes


def _running_max(runs, out):
    """Return the maximum of the runs: the only one, or `out`, filled from its beginning."""
    best = runs[0]
    for run in runs[1:]:
        best = np.maximum(best, run, out=out[: len(run)])
    return out if len(runs) > 1 else best


def _max_and_code(grid, buffers, best, out, code, greater):
    place, later = temporaries(2, grid.size, code.dtype)
    (flag,) = temporaries(1, grid.size, bool)
    best = along_columns(grid.along_columns(buffers), best, place, later, flag, greater)
    later, flag = (a[: out.size].reshape(out.shape) for a in (later, flag))
    values, places = grid.along_rows(best), grid.along_rows(place)
    along_rows(values, places, grid.columns, out, code, later, flag, greater)


def along_columns(runs, best, place, later, flag, greater):
    """Return the maxima of rows of the windows; `place` receives their columns.

    A single run is returned itself, several fill `best`.
    """
    value, size = runs[0], runs[0].size
    if len(runs) == 1:
        place.fill(0)
        return value
    for v, run in enumerate(runs[1:], 1):
        won = greater(run, value, out=flag[:size]).view(np.uint8)
        # Positions only grow along the window, so the last winner has the largest.
        if v == 1:
            np.copyto(place[:size], won)
        else:
            np.multiply(won, v, out=later[:size], dtype=later.dtype)
            np.maximum(place, later, out=place)
        value = np.maximum(value, run, out=best[:size])
    return best


def along_rows(values, places, columns, out, code, later, flag, greater):
    """Fill `out` and `code` from the maxima of rows and their columns."""
    value, position = values[0], places[0]
    if len(values) == 1:
        np.copyto(out, value)
        np.copyto(code, position)
    for u, (candidate, place) in enumerate(zip(values[1:], places[1:]), 1):
        won = greater(candidate, value, out=flag).view(np.uint8)
        np.add(place, later.dtype.type(u * columns), out=later)
        np.multiply(later, won, out=later)
        position = np.maximum(position, later, out=code)
        value = np.maximum(value, candidate, out=out)


def greater_or_nan(candidate, best, out):
    """Tell where `candidate` wins when NaN is the largest number, and the last NaN wins."""
    np.greater(candidate, best, out=out)
    return np.logical_or(out, np.isnan(candidate), out=out)


def _first_codes(kernel, padding, stride, dilation, output_size):
    """Return, for each window, the code of its first cell that is not padding.

    Nothing but a window full of -inf can yield a smaller code.
    """
    down, across = (
        np.maximum(0, -((np.arange(o) * s - p) // d))
        for o, s, p, d in zip(output_size, stride, padding, dilation)
    )
    return down[:, None] * kernel[1] + across


def _raise_to(code, first):
    if not first.any():
        return
    for i in np.flatnonzero(first[:, -1]):
        np.maximum(code[:, i], first[i, :, None], out=code[:, i])
    for j in np.flatnonzero(first[-1]):
        np.maximum(code[:, :, j], first[:, j, None], out=code[:, :, j])


def max_pool2d_indices(codes, input_size, kernel, stride, padding, dilation):
    """Return the index ``row * W + column`` of each code, int64, channels-last."""
    n, c, oh, ow = codes.shape
    indices = empty_channels_last(codes.shape, np.int64)
    source, target = nhwc(codes), nhwc(indices)
    offsets = offsets_of(kernel, dilation, input_size[1])
    corners = _corners((oh, ow), stride, input_size[1]) - (padding[0] * input_size[1] + padding[1])
    pieces = cut(n, oh, ow * c)

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        out = target[n0:n1, r0:r1]
        np.take(offsets, source[n0:n1, r0:r1], out=out, mode="clip")
        np.add(out, corners[r0:r1, :, None], out=out)

    parallel_for(task, len(pieces))
    return indices


def offsets_of(kernel, dilation, width):
    """Return how far the cell of each code is from the first cell of its window."""
    rows, columns = (np.arange(k) * d for k, d in zip(kernel, dilation))
    return (rows[:, None] * width + columns).reshape(-1)


def _corners(count, stride, width):
    """Return how far the first cell of each window is from that of the first window."""
    rows, columns = (np.arange(o) * s for o, s in zip(count, stride))
    return rows[:, None] * width + columns


def max_pool2d_input_grad(dy, codes, input_size, kernel, stride, padding, dilation):
    """Return dx: each dy is added where the maximum of its window was."""
    windows = input_size, kernel, stride, padding, dilation
    disjoint = all(s > (k - 1) * d for s, k, d in zip(stride, kernel, dilation))
    if disjoint and kernel[0] * kernel[1] <= MANY_CELLS:
        return _place(dy, codes, *windows)
    return _scatter(dy, codes, *windows)


def _place(dy, codes, input_size, kernel, stride, padding, dilation):
    """Return dx where windows do not overlap: each cell has one window at most."""
    (n, c, oh, ow), (h, w) = dy.shape, input_size
    covered = oh * kernel[0], ow * kernel[1]
    tiled = kernel == stride and padding == (0, 0) and covered == (h, w)
    dx = (empty_channels_last if tiled else zeros_channels_last)((n, c, h, w), dy.dtype)
    source, marks, target = nhwc(dy), nhwc(codes), pixels(nhwc(dx))
    bits = np.dtype(f"i{dy.itemsize}")
    pieces = cut(n, oh, stride[0] * stride[1] * ow * c)
    columns = [_reach(v * dilation[1] - padding[1], stride[1], w, ow) for v in range(kernel[1])]

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        values = np.ascontiguousarray(source[n0:n1, r0:r1]).view(bits)
        code = np.ascontiguousarray(marks[n0:n1, r0:r1])
        (chosen,) = temporaries(1, values.size, bits)
        (flag,) = temporaries(1, values.size, bool)
        chosen, flag = chosen.reshape(values.shape), flag.reshape(values.shape)
        cells = pixels(chosen.view(dy.dtype))
        for u in range(kernel[0]):
            start = r0 * stride[0] + u * dilation[0] - padding[0]
            rows, places = _reach(start, stride[0], h, r1 - r0)
            for v in range(kernel[1]):
                # A product of integers: 0 times the bits of infinity or NaN is 0.
                np.equal(code, u * kernel[1] + v, out=flag)
                np.copyto(chosen, flag)
                np.multiply(chosen, values, out=chosen)
                np.copyto(target[n0:n1, places, columns[v][1]], cells[:, rows, columns[v][0]])

    parallel_for(task, len(pieces))
    return dx


def _reach(start, stride, size, count):
    """Return which of `count` places from `start` on lie in ``range(size)``, and where."""
    i0, i1 = hit(start, stride, 0, size, count)
    return slice(i0, i1), every(start + i0 * stride, stride, i1 - i0)


def _scatter(dy, codes, input_size, kernel, stride, padding, dilation):
    """Return dx for any windows: each dy is added at the index of its maximum."""
    (n, c, oh, ow), (h, w) = dy.shape, input_size
    dx = zeros_channels_last((n, c, h, w), dy.dtype)
    source, marks, target = nhwc(dy), nhwc(codes), nhwc(dx)
    step = max(1, SCATTERED // (ow * c))
    corners = (_corners((min(step, oh), ow), stride, w)[..., None] * c + np.arange(c)).reshape(-1)
    offsets = offsets_of(kernel, dilation, w) * c

    def task(image):
        flat = target[image].reshape(-1)
        (index,) = temporaries(1, corners.size, np.intp)
        for row in range(0, oh, step):
            values = source[image, row : row + step].reshape(-1)
            code = marks[image, row : row + step].reshape(-1)
            start = ((row * stride[0] - padding[0]) * w - padding[1]) * c
            place = np.take(offsets + start, code, out=index[: code.size], mode="clip")
            np.add(place, corners[: code.size], out=place)
            np.add.at(flat, place, values)

    parallel_for(task, n)
    return dx
