"""Resampling, padding and windows on the GPU; formulas in reference.py."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from weakref import WeakKeyDictionary

import numpy as np

from nnmed.backend import cuda
from nnmed.backend.arrays import (
    array_module,
    as_channels_last,
    empty_channels_last,
    is_channels_last,
    nhwc,
    to_device,
)
from nnmed.backend.cuda import Source
from nnmed.kernels.packs import numbers_a_thread
from nnmed.kernels.resample.taps import Taps

__all__ = [
    "fold", "interpolate", "pad", "pad_input_grad", "sample", "sample_input_grad",
    "sample_weight_grad", "unfold",
]  # fmt: skip

_taps, _pad, _sample, _fold = (
    Source(__file__, f"{name}.cu") for name in ("taps", "pad", "sample", "fold")
)
_on_card: WeakKeyDictionary = WeakKeyDictionary()  # copies of taps, by device and dtype


def interpolate(x, taps):
    """Return `x` resampled along each of its last axes by the taps of that axis."""
    y = nhwc(as_channels_last(x))
    axes = [axis for axis, of_axis in enumerate(taps, 1) if not of_axis.is_identity]
    # The axes that shrink come first, so that as little as possible is worked on.
    for axis in sorted(axes, key=lambda axis: len(taps[axis - 1]) / taps[axis - 1].size):
        y = _times(taps[axis - 1], y, axis)
    return y.transpose(0, y.ndim - 1, *range(1, y.ndim - 1))


def pad(x, widths, mode, value):
    """Return `x` with ``widths[axis] = (before, after)`` more entries; negative ones crop."""
    order, bits = _order(x), f"u{x.itemsize}"
    fill = np.full((), value or 0, x.dtype).view(bits)[()]
    y = array_module(x).ascontiguousarray(x.transpose(order)).view(bits)
    for position, axis in enumerate(order):
        if tuple(widths[axis]) != (0, 0):
            taps = _pad_taps(x.shape[axis], *widths[axis], mode)
            y = _along(y, position, taps, _pad, f"pad_{x.itemsize}", np.float32, fill)
    return y.view(x.dtype).transpose([order.index(axis) for axis in range(x.ndim)])


def pad_input_grad(dy, widths, mode):
    """Return dx: each dy is added where its value was read."""
    order = _order(dy)
    dx = array_module(dy).ascontiguousarray(dy.transpose(order))
    for position, axis in enumerate(order):
        before, after = widths[axis]
        if (before, after) != (0, 0):
            taps = _pad_taps(dy.shape[axis] - before - after, before, after, mode)
            dx = _times(taps.T, dx, position)
    return dx.transpose([order.index(axis) for axis in range(dy.ndim)])


def sample(x, index, weight):
    """Return ``y[n, c, p] = sum_k weight[k, n, p] * x[n, c, index[k, n, p]]``."""
    x, (taps, images, places), channels = as_channels_last(x), index.shape, x.shape[1]
    y = empty_channels_last((images, channels, places), x.dtype, array_module(x))
    each = numbers_a_thread(channels, x)
    _sample.for_each(
        "sample", x.dtype, y.size // each, x, *_contiguous(index, weight), y, taps, images,
        x.shape[2], places, channels, each,
    )  # fmt: skip
    return y


def sample_input_grad(dy, index, weight, size):
    """Return dx, (N, C, size): each dy is added where its value was read, times the weight."""
    dy, (_, images, places), channels = as_channels_last(dy), index.shape, dy.shape[1]
    xp = array_module(dy)
    dx = empty_channels_last((images, channels, size), dy.dtype, xp)
    image = xp.arange(images).reshape(1, -1, 1)
    target = xp.where(index < 0, images * size, index + image * size).reshape(-1)
    order = xp.argsort(target, kind="stable")
    start = xp.searchsorted(target[order], xp.arange(images * size + 1))
    each = numbers_a_thread(channels, dy)
    _sample.for_each(
        "sample_input_grad", dy.dtype, dx.size // each, dy, order, start, *_contiguous(weight), dx,
        images * places, channels, each,
    )  # fmt: skip
    return dx


def sample_weight_grad(dy, x, index):
    """Return ``dweight[k, n, p] = sum_c dy[n, c, p] * x[n, c, index[k, n, p]]``."""
    dweight = array_module(x).empty(index.shape, x.dtype)
    _sample.for_each(
        "sample_weight_grad", x.dtype, index.size, as_channels_last(dy), as_channels_last(x),
        *_contiguous(index), dweight, len(x), x.shape[2], index.shape[2], x.shape[1],
    )  # fmt: skip
    return dweight


def unfold(x, windows):
    """Return what the windows read, (N, C * kh * kw, windows), 0 outside of the picture."""
    (n, c, *size), taps = x.shape, prod(windows.kernel)
    counts = windows.counts(size)
    y = array_module(x).empty((n, c * taps, prod(counts)), x.dtype)
    _fold.for_each(
        "unfold", x.dtype, y.size, as_channels_last(x), y, c, *_geometry(windows, size, counts)
    )
    return y


def fold(x, windows, size):
    """Return the pictures (N, C, *size) in which each window is added where it was read."""
    channels = x.shape[1] // prod(windows.kernel)
    y = empty_channels_last((len(x), channels, *size), x.dtype, array_module(x))
    geometry = _geometry(windows, size, windows.counts(size))
    _fold.for_each("fold", x.dtype, y.size, *_contiguous(x), y, channels, *geometry)
    return y


def _geometry(windows, size, counts):
    return *size, *counts, *windows.kernel, *windows.stride, *windows.padding, *windows.dilation


def _order(x):
    """Return the axes of x as they lie in memory: channels last in a batch."""
    # Without a batch, (C, H, W) has nothing that says which axis the channels are.
    is_batch = x.ndim > 3 or is_channels_last(x)
    return [0, *range(2, x.ndim), 1] if is_batch else list(range(x.ndim))


def _times(taps, x, axis):
    """Return the matrix `taps` times x along an axis."""
    return _along(x, axis, taps, _taps, "apply_taps", x.dtype, taps.most)


def _along(x, axis, taps, source, kernel, real, parameter):
    """Return what a kernel makes of x by the taps of an axis; both lie in C order."""
    xp, inner = array_module(x), prod(x.shape[axis + 1 :])
    y = xp.empty((*x.shape[:axis], len(taps), *x.shape[axis + 1 :]), x.dtype)
    each = numbers_a_thread(inner, x)
    source.for_each(
        kernel, real, y.size // each, x, *_copies(taps, xp, real), y, parameter, x.shape[axis],
        len(taps), inner, each,
    )  # fmt: skip
    return y


def _copies(taps, xp, dtype):
    """Return index and weight of the taps on the card, copied once."""
    copies = _on_card.setdefault(taps, {})
    key = xp.cuda.Device().id, dtype
    if key not in copies:
        arrays = taps.index.astype(np.int32), np.ascontiguousarray(taps.weight, dtype)
        copies[key] = [to_device(array, "gpu") for array in arrays]
    cuda.hold(*copies[key])
    return copies[key]


@lru_cache(maxsize=512)
def _pad_taps(size: int, before: int, after: int, mode: str) -> Taps:
    """Return what each entry of a padded axis reads; with weight 0, where it is the constant."""
    index = np.arange(-before, size + after)
    if mode == "reflect":
        index = size - 1 - np.abs(size - 1 - np.abs(index))
    elif mode == "circular":  # what is cropped on one side does not come back on the other
        low, high = max(-before, 0), size - max(-after, 0)
        index = low + (index - low) % (high - low)
    inside = (index >= 0) & (index < size)
    index = np.clip(index, 0, max(size - 1, 0))
    weight = inside if mode == "constant" else np.ones_like(inside)
    return Taps(index[:, None], weight[:, None].astype(np.float64), size)


def _contiguous(*arrays):
    return [array_module(array).ascontiguousarray(array) for array in arrays]
