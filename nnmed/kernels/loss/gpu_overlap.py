"""Sums of soft overlap on the GPU (overlap.cu), and the weights of the Lovasz extension."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from nnmed.backend.arrays import array_module, as_channels_last, empty_channels_last
from nnmed.backend.cuda import THREADS, Source

BLOCKS, LEAST_PIXELS = 512, 1024

_source = Source(__file__, "overlap.cu")


def overlap(p, labels, kept, squared):
    """Return sum(p [label = c]) and sum(p), or sum(p^2), over the pixels of each image."""
    xp, (images, channels), pixels = array_module(p), p.shape[:2], prod(p.shape[2:])
    sums = xp.zeros((2, images, channels), p.dtype)
    if not p.size:
        return sums
    blocks = max(1, min(BLOCKS // (images * channels), pixels // LEAST_PIXELS))
    each = ceil(pixels / blocks)
    parts = xp.empty((ceil(pixels / each), images, channels, 2), np.float64)
    grid = len(parts), channels, images
    _source.launch(
        "overlap", p.dtype, grid, (THREADS,), as_channels_last(p), *_marks(labels, kept), parts,
        bool(squared), pixels, channels, each,
    )  # fmt: skip
    _source.for_each("add_overlaps", p.dtype, images * channels, parts, sums, len(parts))
    return sums


def overlap_grad(dy, p, labels, kept, squared):
    """Return the gradient of :func:`overlap` by p: dy_0 [label = c] + dy_1, or + 2 p dy_1."""
    xp, (images, channels) = array_module(p), p.shape[:2]
    dp = empty_channels_last(p.shape, p.dtype, xp)
    _source.for_each(
        "overlap_grad", p.dtype, p.size, xp.ascontiguousarray(dy), as_channels_last(p),
        *_marks(labels, kept), dp, bool(squared), prod(p.shape[2:]), channels, images,
    )  # fmt: skip
    return dp


def lovasz_weights(errors, truth, kept):
    """Return how much each pixel's error counts, given the order of all errors in its row.

    CuPy sorts; see cpu.py for the arguments.
    """
    xp = array_module(errors)
    if not errors.size:
        return xp.zeros(errors.shape, errors.dtype)
    order = xp.argsort(xp.where(kept, -errors, np.inf), axis=1, kind="stable")
    inside = xp.take_along_axis(truth & kept, order, axis=1)
    found = xp.cumsum(inside, axis=1)
    total = found[:, -1:]
    union = total + xp.arange(1, errors.shape[1] + 1) - found
    jaccard = 1 - (total - found) / union
    steps = jaccard.copy()
    steps[:, 1:] -= jaccard[:, :-1]
    weights = xp.take_along_axis(steps, xp.argsort(order, axis=1), axis=1)
    return xp.where(kept, weights, 0.0).astype(errors.dtype)


def _marks(labels, kept):
    xp = array_module(labels)
    labels = xp.ascontiguousarray(labels.astype(np.int32))
    return labels, None if kept is None else xp.ascontiguousarray(kept)
