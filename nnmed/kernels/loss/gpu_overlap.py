"""Sums of soft overlap on the GPU: overlap.cu."""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed.backend.arrays import array_module, as_channels_last, empty_channels_last
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.columns import blocks_of_columns, grid_of_warps

_source = Source(__file__, "overlap.cu")


def overlap(p, labels, kept, squared):
    """Return sum(p [label = c]) and sum(p), or sum(p^2), over the pixels of each image."""
    xp, (images, channels), pixels = array_module(p), p.shape[:2], prod(p.shape[2:])
    if not p.size:
        return xp.zeros((2, images, channels), p.dtype)
    lanes, length, grid = blocks_of_columns(images, pixels, channels)
    labels, kept = _marks(labels, kept)
    parts, sums = xp.empty((images, channels, grid[1], 2)), xp.empty((2, *p.shape[:2]), p.dtype)
    _source.launch(
        f"overlap_{labels.itemsize}", p.dtype, grid, (THREADS,), as_channels_last(p), labels, kept,
        parts, bool(squared), pixels, channels, lanes, length,
    )  # fmt: skip
    count = images * channels
    _source.launch(
        "add_overlaps", p.dtype, grid_of_warps(count), (THREADS,), parts, sums, grid[1], count
    )
    return sums


def overlap_grad(dy, p, labels, kept, squared):
    """Return the gradient of :func:`overlap` by p: dy_0 [label = c] + dy_1, or + 2 p dy_1."""
    xp, (images, channels) = array_module(p), p.shape[:2]
    dp = empty_channels_last(p.shape, p.dtype, xp)
    labels, kept = _marks(labels, kept)
    _source.for_each(
        f"overlap_grad_{labels.itemsize}", p.dtype, p.size, xp.ascontiguousarray(dy),
        as_channels_last(p), labels, kept, dp, bool(squared), prod(p.shape[2:]), channels, images,
    )  # fmt: skip
    return dp


def _marks(labels, kept):
    """Return labels of one byte or of four, and flags, in the order of the pixels."""
    xp = array_module(labels)
    if labels.dtype != np.uint8:
        labels = labels.astype(np.int32, copy=False)
    return xp.ascontiguousarray(labels), None if kept is None else xp.ascontiguousarray(kept)
