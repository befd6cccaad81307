"""Max pooling with NumPy on channels-last memory, block by block; formulas in reference.py.

The maximum is separable: first along each row, then down the columns. Row-major order of
ties survives, since the first row that holds the maximum wins and in it the first column.
The position is tracked beside the value as a code of one byte.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc, zeros_channels_last
from nnmed.backend.threads import parallel_for
from nnmed.kernels.blocks import cut, hit, read_tile
from nnmed.kernels.pooling.cpu_average import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_input_grad,
    avg_pool2d,
    avg_pool2d_input_grad,
)

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
    "scatter_plane",
]

# Above this many positions, one pass over dy for each of them loses to adding at indices.
_MANY_POSITIONS = 64


def max_pool2d(x, kernel, stride, padding, dilation, output_size, need_codes=True):
    """Return the largest value of each window, and its code; see reference.py."""
    n, c = x.shape[:2]
    (kh, kw), (sh, sw), (ph, pw), (dh, dw), (oh, ow) = (
        kernel, stride, padding, dilation, output_size,
    )  # fmt: skip
    y = empty_channels_last((n, c, oh, ow), x.dtype)
    codes = empty_channels_last(y.shape, np.min_scalar_type(kh * kw - 1)) if need_codes else None
    first = _first_codes(kernel, padding, stride, dilation, output_size) if need_codes else None
    source, target = nhwc(x), nhwc(y)
    columns = -pw, (ow - 1) * sw - pw + (kw - 1) * dw + 1
    pieces = cut(n, oh, sh * sw * ow * c)

    def task(index):
        n0, n1, r0, r1 = pieces[index]
        rows = r0 * sh - ph, (r1 - 1) * sh - ph + (kh - 1) * dh + 1
        tile = read_tile(source, (n0, n1), rows, columns, -np.inf)
        out = target[n0:n1, r0:r1]
        if not need_codes:
            wide = _running_max(tile, 2, kw, dw, sw, ow, None)
            _running_max(wide, 1, kh, dh, sh, r1 - r0, out)
            return
        code = nhwc(codes)[n0:n1, r0:r1]
        _max_and_code(tile, kernel, stride, dilation, out, code, np.greater)
        if out.size and np.isnan(out.max()):
            _max_and_code(tile, kernel, stride, dilation, out, code, _greater_or_nan)
        _raise_to(code, first[r0:r1].astype(code.dtype))

    parallel_for(task, len(pieces))
    return y, codes


def _along(axis, offset, stride, count):
    index = [slice(None)] * 4
    index[axis] = slice(offset, offset + (count - 1) * stride + 1, stride)
    return tuple(index)


def _running_max(tile, axis, size, dilation, stride, count, out):
    best = tile[_along(axis, 0, stride, count)]
    if size == 1 and out is not None:
        np.copyto(out, best)
        return out
    for k in range(1, size):
        best = out = np.maximum(best, tile[_along(axis, k * dilation, stride, count)], out=out)
    return best


def _max_and_code(tile, kernel, stride, dilation, out, code, greater):
    (kh, kw), (sh, sw), (dh, dw) = kernel, stride, dilation
    oh, ow = out.shape[1:3]
    best = tile[_along(2, 0, sw, ow)]
    place = None
    for v in range(1, kw):
        candidate = tile[_along(2, v * dw, sw, ow)]
        later = _times(greater(candidate, best), v, code.dtype)
        # Positions only grow along the window, so the last winner has the largest code.
        place = later if place is None else np.maximum(place, later, out=place)
        best = np.maximum(best, candidate, out=None if v == 1 else best)
    if place is None:
        place = np.zeros(best.shape, code.dtype)
    top = _along(1, 0, sh, oh)
    value, position = best[top], place[top]
    if kh == 1:
        np.copyto(out, value)
        np.copyto(code, position)
    for u in range(1, kh):
        here = _along(1, u * dh, sh, oh)
        later = place[here] + code.dtype.type(u * kw)
        later *= greater(best[here], value).view(np.uint8)
        position = np.maximum(position, later, out=code)
        value = np.maximum(value, best[here], out=out)


def _times(mask, number, dtype):
    result = mask.view(np.uint8).astype(dtype, copy=False)
    if number != 1:
        result *= dtype.type(number)
    return result


def _greater_or_nan(candidate, best):
    return (candidate > best) | np.isnan(candidate)


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
    for i in np.flatnonzero(first[:, -1]):
        np.maximum(code[:, i], first[i, :, None], out=code[:, i])
    for j in np.flatnonzero(first[-1]):
        np.maximum(code[:, :, j], first[:, j, None], out=code[:, :, j])


def max_pool2d_indices(codes, input_size, kernel, stride, padding, dilation):
    """Return the index ``row * W + column`` of each code, int64, channels-last."""
    oh, ow = codes.shape[2:]
    rows = (np.arange(oh) * stride[0] - padding[0])[:, None, None]
    columns = (np.arange(ow) * stride[1] - padding[1])[:, None]
    u, v = np.divmod(nhwc(codes).astype(np.int64), kernel[1])
    indices = (u * dilation[0] + rows) * input_size[1] + (v * dilation[1] + columns)
    return indices.transpose(0, 3, 1, 2)


def max_pool2d_input_grad(dy, codes, input_size, kernel, stride, padding, dilation):
    """Return dx: each dy is added where the maximum of its window was.

    Each block of dx gathers from the windows that touch it, so blocks never overlap and
    the order of sums is that of the positions in the window.
    """
    if kernel[0] * kernel[1] > _MANY_POSITIONS:
        indices = max_pool2d_indices(codes, input_size, kernel, stride, padding, dilation)
        return scatter_plane(dy, indices, input_size)
    (n, c, oh, ow), (h, w) = dy.shape, input_size
    disjoint = all(s > (k - 1) * d for s, k, d in zip(stride, kernel, dilation))
    tiled = (
        disjoint
        and kernel == stride
        and padding == (0, 0)
        and (oh * kernel[0], ow * kernel[1]) == (h, w)
    )
    allocate = empty_channels_last if tiled else zeros_channels_last
    dx = allocate((n, c, h, w), dy.dtype)
    source, marks, target = nhwc(dy), nhwc(codes), nhwc(dx)
    bits = np.dtype(f"i{dy.itemsize}")
    pieces = cut(n, h, w * c)
    columns = [hit(v * dilation[1] - padding[1], stride[1], 0, w, ow) for v in range(kernel[1])]

    def task(index):
        n0, n1, a, b = pieces[index]
        spans = [hit(u * dilation[0] - padding[0], stride[0], a, b, oh) for u in range(kernel[0])]
        start, stop = min(s[0] for s in spans), max(s[1] for s in spans)
        values = read_tile(source, (n0, n1), (start, stop), (0, ow), 0).view(bits)
        code = read_tile(marks, (n0, n1), (start, stop), (0, ow), 0)
        block = target[n0:n1, a:b]
        for u, (i0, i1) in enumerate(spans):
            for v, (j0, j1) in enumerate(columns):
                if i0 >= i1 or j0 >= j1:
                    continue
                row = i0 * stride[0] - padding[0] + u * dilation[0] - a
                column = j0 * stride[1] - padding[1] + v * dilation[1]
                place = block[_along(1, row, stride[0], i1 - i0)][
                    _along(2, column, stride[1], j1 - j0)
                ]
                chosen = np.equal(code[:, i0 - start : i1 - start], u * kernel[1] + v)
                # -1 has all bits set: `value & -1` is value and `value & 0` is 0, even
                # where the value is infinite or NaN and a product would not be 0.
                mask = np.negative(chosen.view(np.int8)).astype(bits)[:, :, j0:j1]
                part = values[:, i0 - start : i1 - start, j0:j1]
                if disjoint:
                    np.bitwise_and(part, mask, out=place.view(bits))
                else:
                    place += np.bitwise_and(part, mask).view(dy.dtype)

    parallel_for(task, len(pieces))
    return dx


def adaptive_max_pool2d(x, output_size):
    """Return the largest value of each of ``output_size`` windows, and its index."""
    (n, c, h, w), (oh, ow) = x.shape, output_size
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
