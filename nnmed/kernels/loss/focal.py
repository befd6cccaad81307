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
    tiny = np.finfo(x.dtype).tiny

    def of_block(block, shifted, powers):
        safe, ignored = without_ignored(labels[block].reshape(-1), ignore_index)
        place, flat = places(rows, safe), powers.reshape(-1)
        right, ahead = flat.take(place), shifted.take(place)
        flat[place] = 0
        others = rows.sum(powers)
        # log(total) = log1p(others + right - 1), where right is 1 if the label is ahead
        entropy = right - 1
        entropy += others
        np.log1p(entropy, out=entropy)
        entropy -= ahead
        total = others + right
        wrong = np.divide(others, total, out=others)
        value = wrong**gamma
        if weight is not None:
            value *= weight[safe]
        if gradient:
            # w (wrong**gamma + gamma wrong**(gamma - 1) p_t entropy); 0 if nothing is wrong
            slope = np.maximum(wrong, tiny)
            np.divide(entropy, slope, out=slope)
            slope *= np.divide(right, total, out=right)
            slope *= gamma
            slope += 1
            slope *= value
            slope *= scale
            np.multiply(powers, rows.along(np.divide(slope, total, out=total)), out=powers)
            slope *= wrong
            flat[place] = np.negative(slope, out=slope)
            if ignored is not None:
                np.copyto(powers, 0, where=rows.along(ignored))
        value *= entropy
        if ignored is not None:
            value[ignored] = 0
        return value, powers

    return walk(of_block, rows, reduction, gradient, count)
