"""Weights of the Lovasz extension of the Jaccard loss on the GPU: lovasz.cu."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import Source

_source = Source(__file__, "lovasz.cu")


def lovasz_weights(errors, truth, kept):
    """Return how much each pixel's error counts, given the order of all errors in its row.

    CuPy sorts and counts; see lovasz.py for the arguments.
    """
    xp = array_module(errors)
    weights = xp.empty(errors.shape, errors.dtype)
    if errors.size:
        order = xp.argsort(xp.where(kept, -errors, np.inf), axis=1, kind="stable")
        inside = xp.take_along_axis(truth & kept, order, axis=1)
        found = xp.cumsum(inside, axis=1, dtype=np.int32)
        _source.for_each(
            "lovasz_weights", errors.dtype, errors.size, order, found, xp.ascontiguousarray(kept),
            weights, errors.shape[1],
        )  # fmt: skip
    return weights
