"""What the fast convolution kernels share: blocks of output pixels and their patches.

A kernel walks over blocks of output pixels: some rows of one image, or some whole small
images. For a block it copies the windows side by side into a matrix (*im2col*: Chellapilla,
Puri and Simard, "High performance convolutional neural networks for document processing",
2006), one row an output pixel, small enough to stay in the L2 cache until BLAS has used it.
Memory is channels-last, so a copy moves runs of kw * C neighbouring numbers.
"""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import dataclass

import numpy as np

# Numbers in a block's patch matrix: half a megabyte of float32, half of a common L2 cache.
PATCH_NUMBERS = 1 << 17
# A product with fewer rows spends its time packing the weights; more no longer help.
MIN_PIXELS, MAX_PIXELS = 192, 2048

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

    def is_pointwise(self) -> bool:
        """Tell whether neighbouring output pixels see one input pixel each, neighbours too."""
        return self.kernel == (1, 1) and self.stride == (1, 1)


def scratch(name: str, shape, dtype):
    """Return this thread's buffer `name`, uninitialised; the next call hands it out again."""
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    buffers = vars(_scratch)
    if name not in buffers or buffers[name].nbytes < needed:
        buffers[name] = np.empty(needed, np.uint8)
    return buffers[name][:needed].view(dtype).reshape(shape)


def split(shape, numbers_per_pixel: int) -> list[tuple[int, int, int, int]]:
    """Cut an (N, H, W) output into blocks (n0, n1, i0, i1): images n0..n1, rows i0..i1.

    The blocks depend on sizes alone, never on the number of threads.
    """
    n, h, w = shape
    pixels = min(max(PATCH_NUMBERS // max(numbers_per_pixel, 1), MIN_PIXELS), MAX_PIXELS)
    if h * w <= pixels:
        images = max(pixels // max(h * w, 1), 1)
        return [(k, min(k + images, n), 0, h) for k in range(0, n, images)]
    pieces = math.ceil(h / max(pixels // w, 1))
    cuts = [h * k // pieces for k in range(pieces + 1)]
    return [(k, k + 1, a, b) for k in range(n) for a, b in itertools.pairwise(cuts)]


def patches(x, block, columns: int, groups: int, geometry: Geometry):
    """Return the block's patch matrix, (pixels, groups, kh * kw * C/groups), in scratch.

    `x` is (N, H, W, C) in C order. A pointwise convolution needs no copy: its patches are the
    pixels themselves.
    """
    n0, n1, i0, i1 = block
    channels = x.shape[3] // groups
    kh, kw = geometry.kernel
    source = window_source(x, block, columns, geometry)
    if geometry.is_pointwise():
        return source.reshape(-1, groups, channels)
    images, row, pixel, number = source.strides
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    shape = (n1 - n0, i1 - i0, columns, groups, kh, kw, channels)
    strides = (images, sh * row, sw * pixel, channels * number, dh * row, dw * pixel, number)
    windows = np.lib.stride_tricks.as_strided(source, shape, strides, writeable=False)
    matrix = scratch("patches", shape, x.dtype)
    np.copyto(matrix, windows)
    return matrix.reshape(-1, groups, kh * kw * channels)


def window_source(x, block, columns: int, geometry: Geometry):
    """Return the pixels that a block's windows look at, (images, rows, columns, C).

    That is a view of `x` where all of them exist, else a zero-padded copy in scratch.
    """
    n0, n1, i0, i1 = block
    top, left = i0 * geometry.stride[0] - geometry.before[0], -geometry.before[1]
    height, width = geometry.reach(0, i1 - i0), geometry.reach(1, columns)
    r0, r1 = _clip(top, top + height, x.shape[1])
    c0, c1 = _clip(left, left + width, x.shape[2])
    inside = x[n0:n1, r0:r1, c0:c1]
    if inside.shape[1:3] == (height, width):
        return inside
    padded = scratch("padded", (n1 - n0, height, width, x.shape[3]), x.dtype)
    padded[:, : r0 - top] = 0
    padded[:, r1 - top :] = 0
    middle = padded[:, r0 - top : r1 - top]
    middle[:, :, : c0 - left] = 0
    middle[:, :, c1 - left :] = 0
    middle[:, :, c0 - left : c1 - left] = inside
    return padded


def _clip(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return the part of start..stop inside 0..size; an empty part still lies in start..stop."""
    first = min(max(start, 0), stop)
    return first, max(min(stop, size), first)
