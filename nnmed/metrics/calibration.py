"""Do probabilities mean what they say: Brier score, calibration error, reliability curve."""

from __future__ import annotations

import numpy as np

from nnmed.metrics import inputs
from nnmed.metrics.score import Undefined, ratio

BINS = 10


def brier(y_true, y_prob, sample_weight=None) -> float:
    """Mean squared difference of probability and label (Brier, 1950); 0 is best."""
    y_true, y_prob, weight = _checked(y_true, y_prob, sample_weight)
    if not weight.sum() > 0:
        return Undefined("no cases")
    return float(brier_rows(y_true, y_prob, weight[None])[0])


def expected_calibration_error(y_true, y_prob, sample_weight=None, bins: int = BINS) -> float:
    """Mean distance between probability and frequency of the positive class, over bins.

    The sum over bins of the bin's share of the cases times the distance between the share of
    positive cases and the mean probability (Naeini et al., AAAI 2015). The bins are of equal
    width and closed on the right, (0.1, 0.2], as in Guo et al. (ICML 2017); 0 falls into the
    first. It is the probability of class 1 that is binned, not the confidence of the predicted
    class.

    Chance alone makes it larger in small sets, and resampling adds chance once more: its
    bootstrap interval lies too high, and can even leave out the value itself.
    """
    y_true, y_prob, weight = _checked(y_true, y_prob, sample_weight)
    if not weight.sum() > 0:
        return Undefined("no cases")
    return float(calibration_error_rows(y_true, y_prob, weight[None], bins)[0])


def reliability_curve(y_true, y_prob, sample_weight=None, bins: int = BINS) -> dict:
    """Return what a reliability diagram shows, one entry a bin.

    Returns
    -------
    dict
        ``edges`` (bins + 1,), ``count`` (bins,) weight of the cases, ``probability`` (bins,)
        mean predicted probability and ``frequency`` (bins,) share of positive cases, both
        NaN in an empty bin.
    """
    y_true, y_prob, weight = _checked(y_true, y_prob, sample_weight)
    index = _bin_index(y_prob, bins)
    count, probability, positive = (
        np.bincount(index, w, minlength=bins) for w in (weight, weight * y_prob, weight * y_true)
    )
    return {
        "edges": np.linspace(0, 1, bins + 1),
        "count": count,
        "probability": ratio(probability, count),
        "frequency": ratio(positive, count),
    }


def brier_rows(y_true, y_prob, weights):
    """Brier score for each row of `weights` (R, n); (R,), NaN for a row of zeros."""
    return ratio((weights * (y_prob - y_true) ** 2).sum(axis=1), weights.sum(axis=1))


def calibration_error_rows(y_true, y_prob, weights, bins: int = BINS):
    """Expected calibration error for each row of `weights` (R, n); (R,)."""
    index = _bin_index(y_prob, bins)
    order = np.argsort(index, kind="stable")
    starts = np.flatnonzero(np.diff(index[order], prepend=-1))
    # Within a bin, share * |frequency - probability| is |sum of w (y - p)| over all weight.
    excess = np.take(weights, order, axis=1) * (y_true - y_prob)[order]
    gaps = np.abs(np.add.reduceat(excess, starts, axis=1))
    return ratio(gaps.sum(axis=1), weights.sum(axis=1))


def _bin_index(y_prob, bins: int):
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], y_prob, side="left")


def _checked(y_true, y_prob, sample_weight):
    y_true = inputs.binary(y_true, "y_true")
    y_prob = inputs.probabilities(y_prob, "y_prob", len(y_true))
    return y_true, y_prob, inputs.weights(sample_weight, len(y_true))
