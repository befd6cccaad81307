"""Average pooling with NumPy on channels-last memory; formulas in reference.py.

Sums of windows are separable: down the columns first, whose rows are long, then along the rows.
"""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc, zeros_channels_last
from nnmed.backend.threads import parallel_for
from nnmed.kernels.blocks import hit
from nnmed.kernels.elementwise import temporaries
from nnmed.kernels.pooling.phases import cut, every, grid_of, on_rows, pixels


def avg_pool2d(x, kernel, stride, padding, output_size, count_include_pad, divisor_override):
    """Return the sum of each window over its divisor; padding counts as 0."""
    (n, c, h, w), (oh, ow) = x.shape, output_size
    y = empty_channels_last((n, c, oh, ow), x.dtype)
    divisor = _divisor(
        (h, w), kernel, stride, padding, output_size, count_include_pad, divisor_override, y
    )
    source, target = nhwc(x), nhwc(y)
    pieces = cut(n, oh, stride[0] * stride[1] * ow * c)

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        lines = n1 - n0, r1 - r0, w, c
        grid = grid_of(n1 - n0, r1 - r0, ow, c, (1, kernel[1]), (1, stride[1]), (1, 1))
        *buffers, down = temporaries(len(grid.phases) + 2, max(grid.size, prod(lines)), x.dtype)
        *buffers, total = (buffer[: grid.size] for buffer in buffers)
        down = down[: prod(lines)].reshape(lines)
        _sum_rows(source[n0:n1], r0 * stride[0] - padding[0], kernel[0], stride[0], down)
        buffers = grid.read(down, (0, -padding[1]), 0, buffers)
        (across,) = grid.along_rows(_sum(grid.along_columns(buffers), total))
        out = target[n0:n1, r0:r1].reshape(n1 - n0, r1 - r0, -1)
        np.divide(across, divisor[r0:r1], out=out)

    parallel_for(lambda index: on_rows(task, index), len(pieces))
    return y


def _sum_rows(x, top, count, stride, out):
    """Set row i of `out` to the sum of `count` rows of `x` (N, H, W, C) from top + i * stride on.

    Rows outside the picture count as 0.
    """
    flat = x.reshape(*x.shape[:2], -1)
    out = out.reshape(*out.shape[:2], -1)
    spans = [hit(top + u, stride, 0, x.shape[1], out.shape[1]) for u in range(count)]
    taps = [
        (slice(i0, i1), flat[:, every(top + u + i0 * stride, stride, i1 - i0)])
        for u, (i0, i1) in enumerate(spans)
    ]
    # Rows that all windows have come first: they need no zeros to be added to.
    whole = [values for (_, values), span in zip(taps, spans) if span == (0, out.shape[1])]
    parts = [tap for tap, span in zip(taps, spans) if span != (0, out.shape[1])]
    if len(whole) > 1:
        np.add(whole[0], whole[1], out=out)
    elif whole:
        np.copyto(out, whole[0])
    else:
        out.fill(0)
    for values in whole[2:]:
        np.add(out, values, out=out)
    for rows, values in parts:
        np.add(out[:, rows], values, out=out[:, rows])


def _sum(runs, out):
    """Return the sum of the runs: the only one, or `out`, filled from its beginning."""
    total = runs[0]
    for run in runs[1:]:
        total = np.add(total, run, out=out[: len(run)])
    return out if len(runs) > 1 else total


def avg_pool2d_input_grad(
    dy, input_size, kernel, stride, padding, count_include_pad, divisor_override
):
    """Return dx: each dy over its divisor is added to all cells of its window."""
    (n, c, oh, ow), (h, w), (kh, kw), (sh, sw) = dy.shape, input_size, kernel, stride
    divisor = _divisor(
        input_size, kernel, stride, padding, (oh, ow), count_include_pad, divisor_override, dy
    )
    if kernel == stride and padding == (0, 0) and (oh * kh, ow * kw) == (h, w):
        return _spread(dy, kernel, divisor)
    reached = kw >= sw and (ow - 1) * sw + kw - padding[1] >= w
    dx = (empty_channels_last if reached else zeros_channels_last)((n, c, h, w), dy.dtype)
    source, target = nhwc(dy), pixels(nhwc(dx))
    margin = (kw - 1) // sw  # pixels of zeros after each row, and before the first
    width = ow + margin
    pieces = cut(n, h, w * c)

    def task(index):
        n0, n1, a, b = pieces[index]
        spans = [hit(u - padding[0], sh, a, b, oh) for u in range(kh)]
        start = min(s[0] for s in spans)
        stop = max(start, *(s[1] for s in spans))
        values = source[n0:n1, start:stop].reshape(n1 - n0, stop - start, ow * c)
        size = (n1 - n0) * (b - a) * width * c
        rows, total = temporaries(2, size + margin * c, dy.dtype)
        share = values / divisor[start:stop]
        rows.fill(0)
        lines = rows[margin * c :].reshape(n1 - n0, b - a, width * c)[:, :, : ow * c]
        for u, (i0, i1) in enumerate(spans):
            line = lines[:, every(i0 * sh + u - padding[0] - a, sh, i1 - i0)]
            np.add(line, share[:, i0 - start : i1 - start], out=line)
        for phase in range(min(kw, sw)):
            # Window j gives to the pixels j + v // sw of the phase, for v = phase, phase + sw, ...
            shifts = [(margin - v // sw) * c for v in range(phase, kw, sw)]
            runs = [rows[shift : shift + size] for shift in shifts]
            part = _sum(runs, total)[:size]
            part = part.view(target.dtype).reshape(n1 - n0, b - a, width, *target.shape[3:])
            j0, j1 = hit(phase - padding[1], sw, 0, w, width)
            columns = every(phase - padding[1] + j0 * sw, sw, j1 - j0)
            np.copyto(target[n0:n1, a:b, columns], part[:, :, j0:j1])

    parallel_for(lambda index: on_rows(task, index), len(pieces))
    return dx


def _spread(dy, kernel, divisor):
    """Return each dy over its divisor, repeated over a window that overlaps no other."""
    (n, c, oh, ow), (kh, kw) = dy.shape, kernel
    dx = empty_channels_last((n, c, oh * kh, ow * kw), dy.dtype)
    source, target = nhwc(dy), nhwc(dx)
    pieces = cut(n, oh, kh * ow * kw * c)

    def task(index):
        n0, n1, a, b = pieces[index]
        values = source[n0:n1, a:b].reshape(n1 - n0, b - a, ow * c)
        (share,) = temporaries(1, values.size, dy.dtype)
        np.divide(values, divisor[a:b], out=share.reshape(values.shape))
        share = pixels(share.reshape(n1 - n0, b - a, ow, c))
        block = target[n0:n1, a * kh : b * kh]
        block = pixels(block).reshape(n1 - n0, b - a, kh, ow, kw, *share.shape[3:])
        for v in range(kw):
            np.copyto(block[:, :, :, :, v], share[:, :, None])

    parallel_for(task, len(pieces))
    return dx


def _divisor(size, kernel, stride, padding, output_size, count_include_pad, override, like):
    """Return what the sums are divided by, shaped (OH, OW * C) or (OH, 1) like rows of `like`."""
    if override:
        return np.full((output_size[0], 1), override, like.dtype)
    lengths = []
    for n, k, s, p, o in zip(size, kernel, stride, padding, output_size):
        start = np.arange(o) * s - p
        stop = np.minimum(start + k, n + p)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, n)
        lengths.append(stop - start)
    divisor = np.maximum(1, lengths[0][:, None] * lengths[1]).astype(like.dtype)
    if output_size[1] and (divisor == divisor[:, :1]).all():
        return divisor[:, :1]
    return np.repeat(divisor, like.shape[1], axis=1)
