"""Normalisation on the GPU; formulas in reference.py, kernels in channels.cu and layer.cu.

Batch normalisation is group normalisation of one image, the whole batch, by groups of one channel.
"""

from __future__ import annotations

from math import ceil, prod
from typing import NamedTuple

import numpy as np

from nnmed.backend.arrays import array_module, as_channels_last, empty_channels_last
from nnmed.backend.cuda import THREADS, Source

__all__ = [
    "batch_moments", "batch_norm", "batch_norm_grad", "group_moments", "group_norm",
    "group_norm_grad", "layer_norm", "layer_norm_grad",
]  # fmt: skip

LANES = 32  # channels of a block of channels.cu
# Sums are split for so many blocks, of so many pixels or rows at least.
BLOCKS, LEAST = 512, 64
# From so many columns on, a block takes a row, where there are fewer rows than this.
LONG_ROW, FEW_ROWS = 2048, 512

_channels, _layer = Source(__file__, "channels.cu"), Source(__file__, "layer.cu")


class _View(NamedTuple):
    """How an array (N, C, H, W) is read: images of pixels with channels, in groups."""

    images: int
    pixels: int
    channels: int
    of_group: int

    def parts(self) -> tuple[int, int]:
        """Return in how many parts an image's pixels are summed, and how many each has."""
        blocks = ceil(self.channels / LANES) * self.images
        each = ceil(self.pixels / max(1, min(BLOCKS // blocks, self.pixels // LEAST)))
        return ceil(self.pixels / each), each

    def grid(self, parts: int) -> tuple[int, int, int]:
        """Return the blocks of a sum over pixels."""
        return ceil(self.channels / LANES), parts, self.images


def batch_moments(x):
    """Return each channel's mean and its variance (divided by m), both float64 ``(C,)``."""
    mean, var = _moments(x, _over_batch(x))
    return mean[0], var[0]


def batch_norm(x, mean, var, weight, bias, eps):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, channel by channel."""
    return _normalize(x, _over_batch(x), mean, var, weight, bias, eps)


def batch_norm_grad(dy, x, mean, var, weight, eps, training):
    """Return dx and, both float64 ``(C,)``, dweight and dbias; see reference.py."""
    dx, (sums, products) = _gradient(dy, x, _over_batch(x), mean, var, weight, eps, not training)
    return dx, products[0], sums[0]


def group_moments(x, groups):
    """Return mean and variance (divided by m) of each group of channels, float64 ``(N, G)``."""
    return _moments(x, _over_images(x, groups))


def group_norm(x, mean, var, weight, bias, eps):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` with a mean for each group."""
    return _normalize(x, _over_images(x, mean.shape[1]), mean, var, weight, bias, eps)


def group_norm_grad(dy, x, mean, var, weight, eps):
    """Return dx and, both float64 ``(C,)``, dweight and dbias; see reference.py."""
    view = _over_images(x, mean.shape[1])
    dx, (sums, products) = _gradient(dy, x, view, mean, var, weight, eps, False)
    return dx, products.sum(axis=0), sums.sum(axis=0)


def layer_norm(x, weight, bias, eps, centred):
    """Return y, each row's mean and 1 / sqrt(var + eps), both ``(M,)``; see reference.py."""
    xp = array_module(x)
    y, mean, inverse = xp.empty(x.shape, x.dtype), *(xp.empty(len(x), x.dtype) for _ in range(2))
    arguments = xp.ascontiguousarray(x), weight, bias, y, mean, inverse, float(eps), centred
    _launch_rows("layer_norm", x, *arguments)
    return y, mean, inverse


def layer_norm_grad(dy, x, mean, inverse, weight, centred):
    """Return dx and, both float64 ``(D,)``, dweight and dbias; see reference.py."""
    xp, (rows, width) = array_module(x), x.shape
    dy, x, dx = xp.ascontiguousarray(dy), xp.ascontiguousarray(x), xp.empty(x.shape, x.dtype)
    _launch_rows("layer_norm_grad", x, dy, x, mean, inverse, weight, dx, centred)
    blocks = ceil(width / THREADS)
    each = ceil(rows / max(1, min(BLOCKS // max(1, blocks), rows // LEAST)))
    parts = xp.zeros((ceil(rows / max(1, each)), 2, width), np.float64)
    _layer.launch(
        "column_sums", x.dtype, (blocks, len(parts)), (THREADS,), dy, x, mean, inverse, parts,
        rows, width, each,
    )  # fmt: skip
    dbias, dweight = parts.sum(axis=0)
    return dx, dweight, dbias


def _launch_rows(kernel, x, *arguments):
    """Run a kernel of layer.cu that takes a warp, or a block, for each row."""
    rows, width = x.shape
    lanes = THREADS if width >= LONG_ROW and rows < FEW_ROWS else 32
    grid = (ceil(rows * lanes / THREADS) if width else 0,)
    _layer.launch(kernel, x.dtype, grid, (THREADS,), *arguments, rows, width, lanes)


def _over_batch(x):
    return _View(1, x.size // max(1, x.shape[1]), x.shape[1], 1)


def _over_images(x, groups):
    return _View(len(x), prod(x.shape[2:]), x.shape[1], x.shape[1] // max(1, groups))


def _moments(x, view):
    """Return mean and variance of each group of each image, (images, groups)."""
    xp, groups = array_module(x), view.channels // max(1, view.of_group)
    mean, var = xp.zeros((view.images, groups)), xp.zeros((view.images, groups))
    if not x.size:
        return mean, var
    count, each = view.parts()
    parts = xp.empty((view.images, count, view.channels, 2), np.float64)
    _channels.launch(
        "moments", x.dtype, view.grid(count), (THREADS,), as_channels_last(x), parts, view.pixels,
        view.channels, each,
    )  # fmt: skip
    _channels.for_each(
        "merge_moments", x.dtype, mean.size, parts, mean, var, view.pixels, view.channels, each,
        count, view.of_group,
    )  # fmt: skip
    return mean, var


def _normalize(x, view, mean, var, weight, bias, eps):
    """Return the output; statistics are (images, groups), in any shape."""
    xp, all_numbers = array_module(x), view.images * view.channels
    y = empty_channels_last(x.shape, x.dtype, xp)
    numbers = xp.empty((3, all_numbers), x.dtype)
    _channels.for_each(
        "coefficients", x.dtype, all_numbers, _double(mean), _double(var), weight, bias, numbers,
        float(eps), view.channels, view.of_group,
    )  # fmt: skip
    _channels.for_each(
        "normalize", x.dtype, x.size, as_channels_last(x), numbers, y, view.pixels, view.channels,
        all_numbers,
    )  # fmt: skip
    return y


def _gradient(dy, x, view, mean, var, weight, eps, constant):
    """Return dx, and the sums of dy and of dy * n for each image and channel."""
    xp, all_numbers = array_module(x), view.images * view.channels
    dx = empty_channels_last(x.shape, x.dtype, xp)
    totals = xp.zeros((2, view.images, view.channels))
    if not x.size:
        return dx, totals
    dy, x, mean, var = as_channels_last(dy), as_channels_last(x), _double(mean), _double(var)
    count, each = view.parts()
    parts = xp.empty((view.images, count, view.channels, 2), np.float64)
    numbers = xp.empty((4, all_numbers), x.dtype)
    _channels.launch(
        "sums", x.dtype, view.grid(count), (THREADS,), dy, x, mean, parts, view.pixels,
        view.channels, each, view.of_group,
    )  # fmt: skip
    _channels.for_each(
        "gradient_coefficients", x.dtype, all_numbers // view.of_group, parts, mean, var, weight,
        totals, numbers, float(eps), bool(constant), view.pixels, view.channels, count,
        view.of_group,
    )  # fmt: skip
    _channels.for_each(
        "combine", x.dtype, x.size, dy, x, numbers, dx, view.pixels, view.channels, all_numbers
    )
    return dx, totals


def _double(numbers):
    return array_module(numbers).ascontiguousarray(numbers, dtype=np.float64)
