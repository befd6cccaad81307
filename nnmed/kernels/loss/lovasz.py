"""Weights of the Lovasz extension of the Jaccard loss."""

from __future__ import annotations

import numpy as np

from nnmed.backend.threads import parallel_for


def lovasz_weights(errors, truth, kept):
    """Return how much each pixel's error counts, given the order of all errors in its row.

    With the pixels by falling error, a pixel counts by how much it raises 1 - Jaccard when
    it is wrong together with all before it; of equal errors, the first comes first.

    Parameters
    ----------
    errors : array, (R, P)
    truth : array of bool, (R, P)
        The reference mask.
    kept : array of bool, (R, P)
        Pixels that take part; others weigh 0.
    """
    weights = np.zeros(errors.shape, errors.dtype)

    def task(row):
        here = np.flatnonzero(kept[row])
        order = here[np.argsort(-errors[row, here], kind="stable")]
        if not order.size:
            return
        inside = truth[row, order]
        found = np.cumsum(inside)
        total = found[-1]
        union = total + np.arange(1, order.size + 1) - found
        jaccard = 1 - (total - found) / union
        weights[row, order] = np.diff(jaccard, prepend=0.0)

    parallel_for(task, len(errors))
    return weights
