"""The focal loss of a softmax: value and gradient in one pass over the logits."""

from __future__ import annotations

import numpy as np

from nnmed.kernels.loss.cross_entropy import places, walk, without_ignored
from nnmed.kernels.rows import Rows


def focal_loss(x, target, weight, ignore_index, gamma, reduction, gradient):
    """Return -w_t (1 - p_t)**gamma log(p_t) of class indices, reduced, and its gradient.

    Arguments are those of ``cross_entropy``; the mean divides by the number of rows that are
    not ignored, 0 if all are. 1 - p_t is the sum of the other probabilities, so nothing
    cancels for p_t near 1.
    """
    rows = Rows(x, 1)
    labels = rows.view_per_row(target)
    count = max(np.count_nonzero(target != ignore_index), 1)
    scale = 1 / count if reduction == "mean" else 1.0

    def of_block(block, shifted, powers):
        safe, ignored = without_ignored(labels[block].reshape(-1), ignore_index)
        place, flat = places(rows, safe), powers.reshape(-1)
        right, ahead = flat.take(place), shifted.take(place)
        flat[place] = 0
        others = rows.sum(powers)
        total = others + right
        wrong = others / total
        entropy = np.where(ahead == 0, np.log1p(others), np.log(total) - ahead)
        value = wrong**gamma * (1 if weight is None else weight[safe])
        # From here to the gradient by the entropy: d wrong = p_t d entropy.
        ratio = np.where(wrong == 0, 1, entropy / wrong)
        slope = value * (1 + gamma * ratio * (right / total)) * scale
        value *= entropy
        if ignored is not None:
            value[ignored] = 0
        if gradient:
            np.multiply(powers, rows.along(slope / total), out=powers)
            flat[place] = -slope * wrong
            if ignored is not None:
                np.copyto(powers, 0, where=rows.along(ignored))
        return value, powers

    return walk(of_block, rows, reduction, gradient, count)
