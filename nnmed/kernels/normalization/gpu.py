"""Normalisation on the GPU; formulas in reference.py, kernels in channels.cu and layer.cu.

Batch normalisation is group normalisation of one image, the whole batch, by groups of one channel.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from nnmed.backend.arrays import array_module, as_channels_last, empty_channels_last
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.columns import blocks_of_columns, grid_of_warps
from nnmed.kernels.normalization.gpu_layer import layer_norm, layer_norm_grad
from nnmed.kernels.packs import numbers_a_thread

__all__ = [
    "batch_moments", "batch_norm", "batch_norm_grad", "group_moments", "group_norm",
    "group_norm_grad", "layer_norm", "layer_norm_grad",
]  # fmt: skip

_source = Source(__file__, "channels.cu")


class _View(NamedTuple):
    """How an array (N, C, H, W) is read: images of pixels with channels, in groups."""

    images: int
    pixels: int
    channels: int
    of_group: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """The matrices that columns.cuh is about."""
        return self.images, self.pixels, self.channels

    @property
    def all_channels(self) -> int:
        """Number of channels of all images."""
        return self.images * self.channels

    @property
    def groups(self) -> tuple[int, int]:
        """Number of images, and of groups of each."""
        return self.images, self.channels // max(1, self.of_group)


def batch_moments(x):
    """Return each channel's mean and its variance (divided by m), both float64 ``(C,)``."""
    mean, var = _moments(x, _over_batch(x))
    return mean[0], var[0]


def batch_norm(x, mean, var, weight, bias, eps, relu=False):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, channel by channel.

    With `relu`, what is negative becomes 0.
    """
    return _normalize(x, _over_batch(x), _double(mean), _double(var), weight, bias, eps, relu)


def batch_norm_grad(dy, x, mean, var, weight, eps, training, y=None):
    """Return dx and, both float64 ``(C,)``, dweight and dbias; see reference.py."""
    view, dy, x = _over_batch(x), as_channels_last(dy), as_channels_last(x)
    y, mean, var = None if y is None else as_channels_last(y), _double(mean), _double(var)
    totals = _totals(dy, x, y, view, mean, var, eps)
    dx = _combine(dy, x if training else None, y, view, totals, mean, var, weight, eps)
    dbias, dweight = totals[:, 0]
    return dx, dweight, dbias


def group_moments(x, groups):
    """Return mean and variance (divided by m) of each group of channels, float64 ``(N, G)``."""
    return _moments(x, _over_images(x, groups))


def group_norm(x, mean, var, weight, bias, eps):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` with a mean for each group."""
    view = _over_images(x, mean.shape[1])
    return _normalize(x, view, _double(mean), _double(var), weight, bias, eps)


def group_norm_grad(dy, x, mean, var, weight, eps):
    """Return dx and, both float64 ``(C,)``, dweight and dbias; see reference.py."""
    view, dy, x = _over_images(x, mean.shape[1]), as_channels_last(dy), as_channels_last(x)
    mean, var = _double(mean), _double(var)
    totals = _totals(dy, x, None, view, mean, var, eps)
    dx = _combine(dy, x, None, view, totals, mean, var, weight, eps)
    dbias, dweight = totals.sum(axis=1)
    return dx, dweight, dbias


def _over_batch(x):
    return _View(1, x.size // max(1, x.shape[1]), x.shape[1], 1)


def _over_images(x, groups):
    return _View(len(x), prod(x.shape[2:]), x.shape[1], x.shape[1] // max(1, groups))


def _moments(x, view):
    """Return mean and variance of each group of each image, (images, groups)."""
    xp = array_module(x)
    if not x.size:
        return xp.zeros(view.groups), xp.zeros(view.groups)
    x, mean, var = as_channels_last(x), xp.empty(view.groups), xp.empty(view.groups)
    parts, length = _parts("moments", view, (x,))
    _for_each_warp(
        "merge_moments", x.dtype, mean.size, parts, mean, var, view.pixels, length,
        parts.shape[1], view.of_group,
    )  # fmt: skip
    return mean, var


def _totals(dy, x, y, view, mean, var, eps):
    """Return the sums of dy and of dy times the normalised x, (2, images, C).

    Where there is a `y`, only what belongs to a positive one counts.
    """
    xp, shape = array_module(x), (2, view.images, view.channels)
    if not x.size:
        return xp.zeros(shape)
    totals = xp.empty(shape)
    parts, _ = _parts("sums", view, (dy, x, y), mean, view.of_group)
    _for_each_warp(
        "add_sums", x.dtype, view.all_channels, parts, mean, var, totals, float(eps),
        view.of_group, parts.shape[1],
    )  # fmt: skip
    return totals


def _parts(kernel, view, arrays, *settings):
    """Return what a kernel finds in parts of the pixels, (channels, parts, 2), and their length.

    An array that is None is one that the kernel can do without.
    """
    each = numbers_a_thread(view.channels, *arrays)
    lanes, length, grid = blocks_of_columns(*view.shape, each)
    parts = array_module(arrays[0]).empty((view.all_channels, grid[1], 2))
    _source.launch(
        kernel, arrays[0].dtype, grid, (THREADS,), *arrays, parts, *settings, view.pixels,
        view.channels, lanes, length, each,
    )  # fmt: skip
    return parts, length


def _normalize(x, view, mean, var, weight, bias, eps, relu=False):
    """Return the output; the statistics are (images, groups), in any shape."""
    xp = array_module(x)
    x, y = as_channels_last(x), empty_channels_last(x.shape, x.dtype, xp)
    numbers = xp.empty((3, view.all_channels), x.dtype)
    _source.for_each(
        "coefficients", x.dtype, view.all_channels, mean, var, weight, bias, numbers, float(eps),
        view.channels, view.of_group,
    )  # fmt: skip
    _for_each_pack("normalize", view, (x, numbers, y), relu)
    return y


def _combine(dy, x, y, view, totals, mean, var, weight, eps):
    """Return dx; `x` is None where the statistics are constants, `y` where all of dy counts."""
    xp = array_module(dy)
    dx = empty_channels_last(dy.shape, dy.dtype, xp)
    numbers = xp.empty((4, view.all_channels), dy.dtype)
    _for_each_warp(
        "gradient_coefficients", dy.dtype, prod(view.groups), totals, mean, var, weight, numbers,
        float(eps), view.pixels, view.channels, view.of_group,
    )  # fmt: skip
    _for_each_pack("combine", view, (dy, x, y, numbers, dx))
    return dx


def _for_each_pack(kernel, view, arrays, *settings):
    """Run a kernel with a thread for one or more numbers of the arrays; see packs.cuh."""
    result, each = arrays[-1], numbers_a_thread(view.channels, *arrays)
    _source.for_each(
        kernel, result.dtype, result.size // each, *arrays, *settings, view.pixels, view.channels,
        view.all_channels, each,
    )  # fmt: skip


def _for_each_warp(kernel, dtype, count, *arguments):
    """Run a kernel with a warp for each of `count` results."""
    _source.launch(kernel, dtype, grid_of_warps(count), (THREADS,), *arguments, count)


def _double(numbers):
    return array_module(numbers).ascontiguousarray(numbers, dtype=np.float64)
