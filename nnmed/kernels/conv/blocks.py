"""What the fast convolution kernels share: blocks of output pixels and their patches.

A kernel walks over blocks of output pixels: some rows of one image, or some whole small
images. For a block it copies the windows side by side into a matrix (*im2col*: Chellapilla,
Puri and Simard, "High performance convolutional neural networks for document processing",
2006), one row an output pixel, small enough to stay in the cache until BLAS has used it.
Memory is channels-last, so a copy moves runs of kw * C neighbouring numbers.
"""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass, replace

import numpy as np

# Numbers in a block's patch matrix: two megabytes of float32. Smaller ones stay in the L2 cache,
# but make more calls, which cost more than that is worth, most of all on several threads.
PATCH_NUMBERS = 1 << 19
# A product with fewer rows spends its time packing the weights; more no longer help.
MIN_PIXELS, MAX_PIXELS = 192, 16384
# Blocks into which even a small batch is cut, for the threads to share: up to so many, if each
# has so many multiplications. A thread that comes to help is late by some 50 microseconds, and
# calls that are short make threads wait for each other's Python. So little work is not shared.
SHARES, SHARE_WORK, LEAST_WORK = 8, 20_000_000, 8_000_000
# Numbers in a patch's row below which a product is too thin to be cut by kernel row.
MIN_ROW = 48
# Numbers in a patch's row from which a one beside them no longer pays.
MAX_ROW_WITH_ONE = 64

# A larger buffer is not kept: to get it anew costs little beside the work that needs it.
KEPT_BYTES = 32 << 20

_scratch = threading.local()


@dataclass(frozen=True)
class Geometry:
    """How output pixel (i, j) and tap (u, v) pick an input pixel, row by row:

    input row = i * stride + u * dilation - before; rows outside the image read as zero.
    All fields are pairs (vertical, horizontal).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    dilation: tuple[int, int]

    def reach(self, axis: int, count: int) -> int:
        """Return how many input rows `count` neighbouring output rows look at."""
        return (count - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis] + 1


def scratch(name: str, shape, dtype):
    """Return this thread's buffer `name`, uninitialised.

    The next call of that name hands it out again, so a function may hold a buffer only across
    calls that do not use its name. The thread keeps it, if it has at most KEPT_BYTES.
    """
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    buffers = vars(_scratch)
    buffer = buffers.get(name)
    if buffer is None or buffer.nbytes < needed:
        buffer = np.empty(needed, np.uint8)
        if needed <= KEPT_BYTES:
            buffers[name] = buffer
    return buffer[:needed].view(dtype).reshape(shape)


def by_kernel_rows(shape, channels: int, geometry: Geometry) -> bool:
    """Tell whether the patches of an (N, H, W) output are better cut by kernel row.

    At vertical stride 1 the patches of kernel row u are those of row 0, some image rows
    further down, so one copy of kw instead of kh * kw pixels serves all kernel rows. The
    price is kh shorter products whose results must be added: not for a handful of channels.
    """
    (kh, kw), small = geometry.kernel, shape[1] * shape[2] < MIN_PIXELS
    return kh > 1 and geometry.stride[0] == 1 and kw * channels >= MIN_ROW and not small


def split(shape, channels: int, outputs: int, geometry: Geometry, least: int = MIN_PIXELS):
    """Cut an (N, H, W) output into blocks (n0, n1, i0, i1): images n0..n1, rows i0..i1.

    A block has at least about `least` pixels, of `outputs` sums over windows of `channels`. The
    blocks depend on sizes alone, never on the number of threads.
    """
    (n, h, w), (kh, kw) = shape, geometry.kernel
    in_rows = by_kernel_rows(shape, channels, geometry)
    numbers = channels * (kw if in_rows else kh * kw)
    fair = share(n * h * w, channels * kh * kw * outputs)
    pixels = max(min(PATCH_NUMBERS // max(numbers, 1), MAX_PIXELS, fair), least)
    return cut(shape, min(pixels, h * w) if in_rows else pixels)


def share(count: int, work: int) -> int:
    """Return how many of `count` pixels or tiles make a block, of `work` multiplications each.

    It aims at an even number of blocks, so that two threads have equal parts; whole images or
    rows may make it odd.
    """
    if count * work < LEAST_WORK:
        return count
    shares = min(SHARES, max(2, count * work // SHARE_WORK // 2 * 2))
    return math.ceil(count / shares)


def cut(shape, pixels: int):
    """Cut (N, H, W) into blocks of about `pixels`: some rows of an image, or some whole images."""
    n, h, w = shape
    if h * w <= pixels:
        return [(a, b, 0, h) for a, b in _evenly(n, pixels // max(h * w, 1))]
    return [(k, k + 1, a, b) for k in range(n) for a, b in _evenly(h, pixels // w)]


def _evenly(total: int, most: int):
    """Cut ``range(total)`` into (start, stop) of at most `most`, all of about one length."""
    pieces = math.ceil(total / max(most, 1))
    return itertools.pairwise(total * k // max(pieces, 1) for k in range(pieces + 1))


def takes_ones(shape, channels: int, geometry: Geometry) -> bool:
    """Tell whether :func:`patches` may add a column of ones, which multiplies the bias.

    Beside a short row of copied numbers it costs less than a pass over the result.
    """
    taps = math.prod(geometry.kernel)
    short = taps > 1 and taps * channels < MAX_ROW_WITH_ONE
    return short and not by_kernel_rows(shape, channels, geometry)


def patches(x, block, shape, groups: int, geometry: Geometry, ones: bool = False):
    """Return the patches of a block of an (N, H, W) output as matrices.

    The result is a list of (taps, matrix): `matrix` is (pixels, groups, taps * C/groups), a
    view of scratch or of `x`, and `taps` the slice of a weight matrix (kh * kw * C/groups,
    ...) that goes with it. `x` is (N, H, W, C) in C order. With `ones`, which
    :func:`takes_ones` must allow, there is a column of ones at the end.
    """
    (kh, kw), columns = geometry.kernel, shape[2]
    if not by_kernel_rows(shape, x.shape[3], geometry):
        return [(slice(None), _patch_matrix(x, block, columns, groups, geometry, ones))]
    n0, n1, i0, i1 = block
    one_row = replace(geometry, kernel=(1, kw))
    below = (n0, n1, i0, i0 + geometry.reach(0, i1 - i0))
    matrix = _patch_matrix(x, below, columns, groups, one_row)
    pixels, taps = (i1 - i0) * columns, kw * x.shape[3] // groups
    starts = [u * geometry.dilation[0] * columns for u in range(kh)]
    return [
        (slice(u * taps, (u + 1) * taps), matrix[start : start + pixels])
        for u, start in enumerate(starts)
    ]


def _patch_matrix(x, block, columns: int, groups: int, geometry: Geometry, ones: bool = False):
    """Return the block's windows side by side: (pixels, groups, kh * kw * C/groups), or 1 more."""
    seen = windows(x, block, columns, geometry)
    if groups > 1:
        by_group = (*seen.shape[:5], groups, seen.shape[5] // groups)
        seen = seen.reshape(by_group).transpose(0, 1, 2, 5, 3, 4, 6)
    pixels = math.prod(seen.shape[:3])
    if seen.flags.c_contiguous and not ones:  # those of a 1x1 convolution lie side by side in x
        return seen.reshape(pixels, groups, -1)
    taps = seen.size // max(pixels * groups, 1)
    matrix = scratch("patches", (pixels, groups, taps + ones), x.dtype)
    matrix[..., taps:] = 1
    np.copyto(matrix[..., :taps].reshape(seen.shape), seen)  # cut further, it stays a view
    return matrix


def windows(x, block, columns: int, geometry: Geometry):
    """Return the block's windows as a view, (images, rows, columns, kh, kw, C).

    The view is one of `x`, which is (N, H, W, C) in C order, or, where windows reach
    beyond the image, one of a zero-padded copy in scratch.
    """
    n0, n1, i0, i1 = block
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    top, left = i0 * sh - geometry.before[0], -geometry.before[1]
    bottom, right = top + geometry.reach(0, i1 - i0), left + geometry.reach(1, columns)
    if top >= 0 and left >= 0 and bottom <= x.shape[1] and right <= x.shape[2]:
        source = x
        offset = n0 * x.strides[0] + top * x.strides[1] + left * x.strides[2]
    else:
        source, offset = _padded(x[n0:n1], top, bottom, left, right), 0
    image, row, pixel, number = source.strides
    shape = (n1 - n0, i1 - i0, columns, *geometry.kernel, x.shape[3])
    strides = (image, sh * row, sw * pixel, dh * row, dw * pixel, number)
    # as_strided would take as long as a small block's product.
    return np.ndarray(shape, x.dtype, source, offset, strides)


def _padded(x, top: int, bottom: int, left: int, right: int):
    """Return a copy of rows top..bottom, columns left..right; zero outside the images."""
    padded = scratch("padded", (len(x), bottom - top, right - left, x.shape[3]), x.dtype)
    r0, r1 = _clip(top, bottom, x.shape[1])
    c0, c1 = _clip(left, right, x.shape[2])
    padded[:, : r0 - top] = 0
    padded[:, r1 - top :] = 0
    middle = padded[:, r0 - top : r1 - top]
    middle[:, :, : c0 - left] = 0
    middle[:, :, c1 - left :] = 0
    middle[:, :, c0 - left : c1 - left] = x[:, r0:r1, c0:c1]
    return padded


def _clip(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return the part of start..stop inside 0..size; an empty part still lies in start..stop."""
    first = min(max(start, 0), stop)
    return first, max(min(stop, size), first)
