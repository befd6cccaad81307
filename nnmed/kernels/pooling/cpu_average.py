"""Average pooling with NumPy on channels-last memory; formulas in reference.py.

Sums of windows are separable: down the columns first, where a row of all pixels and
channels is one long run, then along the rows.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc, zeros_channels_last
from nnmed.backend.threads import parallel_for
from nnmed.kernels.blocks import cut, hit, read_tile


def avg_pool2d(x, kernel, stride, padding, output_size, count_include_pad, divisor_override):
    """Return the sum of each window over its divisor; padding counts as 0."""
    (n, c, h, w), (kh, kw), (sh, sw), (ph, pw), (oh, ow) = (
        x.shape, kernel, stride, padding, output_size,
    )  # fmt: skip
    y = empty_channels_last((n, c, oh, ow), x.dtype)
    divisor = _divisor(
        (h, w), kernel, stride, padding, output_size, count_include_pad, divisor_override, x.dtype
    )
    source, target = nhwc(x), nhwc(y)
    columns = -pw, (ow - 1) * sw - pw + kw
    pieces = cut(n, oh, sh * sw * ow * c)

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        rows = r0 * sh - ph, (r1 - 1) * sh - ph + kh
        tile = read_tile(source, (n0, n1), rows, columns, 0)
        down = _sum_of_slices([tile[:, u : u + (r1 - r0 - 1) * sh + 1 : sh] for u in range(kh)])
        out = target[n0:n1, r0:r1]
        total = _sum_of_slices([down[:, :, v : v + (ow - 1) * sw + 1 : sw] for v in range(kw)])
        np.divide(total, divisor[r0:r1], out=out)

    parallel_for(task, len(pieces))
    return y


def avg_pool2d_input_grad(
    dy, input_size, kernel, stride, padding, count_include_pad, divisor_override
):
    """Return dx: each dy over its divisor is added to all cells of its window."""
    (n, c, oh, ow), (h, w) = dy.shape, input_size
    (kh, kw), (sh, sw), (ph, pw) = kernel, stride, padding
    divisor = _divisor(
        input_size, kernel, stride, padding, (oh, ow), count_include_pad, divisor_override, dy.dtype
    )
    if kernel == stride and padding == (0, 0) and (oh * kh, ow * kw) == (h, w):
        return _spread(dy, kernel, divisor)
    dx = zeros_channels_last((n, c, h, w), dy.dtype)
    source, target = nhwc(dy), nhwc(dx)
    columns = [(v - pw, *hit(v - pw, sw, 0, w, ow)) for v in range(kw)]
    pieces = cut(n, h, w * c)

    def task(index):
        n0, n1, a, b = pieces[index]
        spans = [(u - ph, *hit(u - ph, sh, a, b, oh)) for u in range(kh)]
        start, stop = min(s[1] for s in spans), max(s[2] for s in spans)
        if start >= stop:
            return
        share = read_tile(source, (n0, n1), (start, stop), (0, ow), 0) / divisor[start:stop]
        rows = np.zeros((n1 - n0, b - a, ow, c), dy.dtype)
        for offset, i0, i1 in spans:
            if i0 < i1:
                first = i0 * sh + offset - a
                rows[:, first : first + (i1 - i0 - 1) * sh + 1 : sh] += share[
                    :, i0 - start : i1 - start
                ]
        block = target[n0:n1, a:b]
        for offset, j0, j1 in columns:
            if j0 < j1:
                first = j0 * sw + offset
                block[:, :, first : first + (j1 - j0 - 1) * sw + 1 : sw] += rows[:, :, j0:j1]

    parallel_for(task, len(pieces))
    return dx


def _spread(dy, kernel, divisor):
    """Return each dy over its divisor, repeated over a window that overlaps no other."""
    (n, c, oh, ow), (kh, kw) = dy.shape, kernel
    dx = empty_channels_last((n, c, oh * kh, ow * kw), dy.dtype)
    source, target = nhwc(dy), nhwc(dx)
    pieces = cut(n, oh, kh * ow * kw * c)

    def task(index):
        n0, n1, a, b = pieces[index]
        lines = np.repeat(source[n0:n1, a:b] / divisor[a:b], kw, axis=2)
        block = target[n0:n1, a * kh : b * kh].reshape(n1 - n0, b - a, kh, ow * kw, c)
        block[...] = lines[:, :, None]

    parallel_for(task, len(pieces))
    return dx


def adaptive_avg_pool2d(x, output_size):
    """Return the mean of each of ``output_size`` windows."""
    (n, c, h, w), (oh, ow) = x.shape, output_size
    if h % oh == 0 and w % ow == 0 and oh * ow > 1:
        kernel = h // oh, w // ow
        return avg_pool2d(x, kernel, kernel, (0, 0), output_size, True, None)
    y = empty_channels_last((n, c, oh, ow), x.dtype)
    rows, columns = _adaptive_windows(h, oh), _adaptive_windows(w, ow)
    source, target = nhwc(x), nhwc(y)
    pieces = cut(n, oh, -(-h // oh) * w * c)

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        for i in range(r0, r1):
            a, b = rows[i]
            tile = read_tile(source, (n0, n1), (a, b), (0, w), 0)
            down = tile.sum(axis=1)
            for j, (left, right) in enumerate(columns):
                total = down[:, left:right].sum(axis=1)
                np.divide(total, (b - a) * (right - left), out=target[n0:n1, i, j])

    parallel_for(task, len(pieces))
    return y


def adaptive_avg_pool2d_input_grad(dy, input_size):
    """Return dx: each dy over the size of its window is added to all cells of it."""
    (n, c, oh, ow), (h, w) = dy.shape, input_size
    if h % oh == 0 and w % ow == 0:
        kernel = h // oh, w // ow
        return avg_pool2d_input_grad(dy, input_size, kernel, kernel, (0, 0), True, None)
    dx = zeros_channels_last((n, c, h, w), dy.dtype)
    rows, columns = _adaptive_windows(h, oh), _adaptive_windows(w, ow)
    source, target = nhwc(dy), nhwc(dx)
    pieces = cut(n, 1, h * w * c)  # neighbouring windows may overlap: whole images only

    def task(index):
        n0, n1 = pieces[index][:2]
        for i, (a, b) in enumerate(rows):
            line = np.zeros((n1 - n0, w, c), dy.dtype)
            for j, (left, right) in enumerate(columns):
                share = source[n0:n1, i, j] / ((b - a) * (right - left))
                line[:, left:right] += share[:, None]
            target[n0:n1, a:b] += line[:, None]

    parallel_for(task, len(pieces))
    return dx


def _sum_of_slices(slices):
    if len(slices) == 1:
        return slices[0]
    total = slices[0] + slices[1]
    for part in slices[2:]:
        total += part
    return total


def _adaptive_windows(size, count):
    return [(i * size // count, -((i + 1) * size // -count)) for i in range(count)]


def _divisor(size, kernel, stride, padding, output_size, count_include_pad, override, dtype):
    """Return what the sums are divided by, shaped (OH, OW or 1, 1)."""
    if override:
        return np.full((output_size[0], 1, 1), override, dtype)
    lengths = []
    for n, k, s, p, o in zip(size, kernel, stride, padding, output_size):
        start = np.arange(o) * s - p
        stop = np.minimum(start + k, n + p)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        lengths.append(stop - start)
    divisor = np.maximum(1, lengths[0][:, None] * lengths[1]).astype(dtype)
    if output_size[1] and (divisor == divisor[:, :1]).all():
        divisor = divisor[:, :1]  # one number a row keeps the inner loop long
    return divisor[:, :, None]
