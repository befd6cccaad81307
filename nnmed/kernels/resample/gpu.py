"""Resampling, padding and windows on the GPU; formulas in reference.py."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from weakref import WeakKeyDictionary

import numpy as np

from nnmed.backend.arrays import array_module, as_channels_last, empty_channels_last
from nnmed.backend.cuda import Source
from nnmed.kernels.elementwise import dense
from nnmed.kernels.resample.taps import Taps

__all__ = [
    "fold", "interpolate", "pad", "pad_input_grad", "sample", "sample_input_grad",
    "sample_weight_grad", "unfold",
]  # fmt: skip

_taps, _sample, _fold = (Source(__file__, f"{name}.cu") for name in ("taps", "sample", "fold"))
_on_card: WeakKeyDictionary = WeakKeyDictionary()  # copies of taps, by device and dtype


def interpolate(x, taps):
    """Return `x` resampled along each of its last axes by the taps of that axis."""
    for axis, taps_of_axis in enumerate(taps, 2):
        if not taps_of_axis.is_identity:
            x = _along(x, axis, taps_of_axis)
    return x


def pad(x, widths, mode, value):
    """Return `x` with ``widths[axis] = (before, after)`` more entries; negative ones crop."""
    for axis, width in enumerate(widths):
        if tuple(width) != (0, 0):
            x = _along(x, axis, _pad_taps(x.shape[axis], *width, mode), value or 0.0)
    return x


def pad_input_grad(dy, widths, mode):
    """Return dx: each dy is added where its value was read."""
    for axis, (before, after) in enumerate(widths):
        if (before, after) != (0, 0):
            dy = _along(dy, axis, _pad_taps(dy.shape[axis] - before - after, before, after, mode).T)
    return dy


def sample(x, index, weight):
    """Return ``y[n, c, p] = sum_k weight[k, n, p] * x[n, c, index[k, n, p]]``."""
    taps, images, places = index.shape
    y = empty_channels_last((images, x.shape[1], places), x.dtype, array_module(x))
    _sample.for_each(
        "sample", x.dtype, y.size, as_channels_last(x), *_contiguous(index, weight), y, taps,
        images, x.shape[2], places, x.shape[1],
    )  # fmt: skip
    return y


def sample_input_grad(dy, index, weight, size):
    """Return dx, (N, C, size): each dy is added where its value was read, times the weight."""
    xp, (_, images, places), channels = array_module(dy), index.shape, dy.shape[1]
    dx = empty_channels_last((images, channels, size), dy.dtype, xp)
    image = xp.arange(images).reshape(1, -1, 1)
    target = xp.where(index < 0, images * size, index + image * size).reshape(-1)
    order = xp.argsort(target, kind="stable")
    start = xp.searchsorted(target[order], xp.arange(images * size + 1))
    order, start = order.astype(np.int64), start.astype(np.int64)
    _sample.for_each(
        "sample_input_grad", dy.dtype, dx.size, as_channels_last(dy), order, start,
        *_contiguous(weight), dx, images, places, channels,
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


def _along(x, axis, taps, fill=0.0):
    """Return ``taps @ x`` along an axis, in the memory order of x."""
    x, order = dense(x)
    xp, position = array_module(x), order.index(axis)
    lengths = [x.shape[a] for a in order]
    lengths[position] = len(taps)
    y = xp.empty(lengths, x.dtype)
    index, weight = _copies(taps, xp, x.dtype)
    _taps.for_each(
        "apply_taps", x.dtype, y.size, x, index, weight, y, float(fill), taps.most,
        x.shape[axis], len(taps), prod(lengths[position + 1 :]),
    )  # fmt: skip
    return y.transpose([order.index(a) for a in range(x.ndim)])


def _copies(taps, xp, dtype):
    """Return index and weight of the taps on the card, copied once."""
    copies = _on_card.setdefault(taps, {})
    key = xp.cuda.Device().id, dtype
    if key not in copies:
        weight = np.ascontiguousarray(taps.weight, dtype)
        copies[key] = xp.asarray(taps.index.astype(np.int32)), xp.asarray(weight)
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
