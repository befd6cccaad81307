"""Cases in the order of their scores: what ROC and PR curves and their areas are made of.

The cases are sorted once. A score of a weighted resample then needs only running sums, so
thousands of resamples are a few passes over a matrix with one row a resample. Equal scores
are one step of every curve: no threshold can tell them apart.
"""

from __future__ import annotations

import numpy as np

from nnmed.metrics.cells import Cells
from nnmed.metrics.score import ratio

# A specificity of exactly 0.9 must not be missed because 9/10 is not a binary fraction.
ROUNDING = 1e-9


class Ranking:
    """Cases sorted by falling score.

    Attributes
    ----------
    order : (n,) int
        Case at each rank.
    labels : (n,) int
        Label 0 or 1 at each rank.
    ends : (K,) int
        Last rank of each group of equal scores.
    thresholds : (K,) float
        The distinct scores, falling.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray):
        self.order = np.argsort(-scores, kind="stable")
        self.labels = labels[self.order]
        ranked = scores[self.order]
        self.ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], len(ranked) > 0))
        self.thresholds = ranked[self.ends]

    def cumulate(self, weights: np.ndarray):
        """Return the weight of true and of false positives at each distinct score.

        Parameters
        ----------
        weights : (R, n) float64
            A weight for each case (in the order given, not in rank), one row a resample.

        Returns
        -------
        tp, fp : (R, K) float64
            Positives and negatives among the cases that score at least that much.
        """
        ranked = np.take(weights, self.order, axis=1)
        positive = ranked * self.labels
        tp = np.cumsum(positive, axis=1)[:, self.ends]
        np.subtract(ranked, positive, out=positive)
        fp = np.cumsum(positive, axis=1)[:, self.ends]
        return tp, fp


def cells_at(labels: np.ndarray, decisions: np.ndarray, weights: np.ndarray) -> Cells:
    """Return the cells of boolean `decisions` (n,) for each row of `weights` (R, n)."""
    positive = labels == 1

    def total(cases):
        # One column a case: a plain sum, since differences of running sums would cancel.
        return np.take(weights, np.flatnonzero(cases), axis=1).sum(axis=1)

    return Cells(
        tp=total(positive & decisions),
        fp=total(~positive & decisions),
        fn=total(positive & ~decisions),
        tn=total(~positive & ~decisions),
    )


def roc_auc(tp, fp):
    """Area under the ROC curve by trapezoids: ties of positives with negatives count half.

    Equals the Mann-Whitney statistic over the product of the class sizes (Hanley and
    McNeil, Radiology 143, 1982). Arguments as returned by :meth:`Ranking.cumulate`.
    """
    area = (np.diff(fp, axis=1) * (tp[:, 1:] + tp[:, :-1])).sum(axis=1)
    return ratio(area + fp[:, 0] * tp[:, 0], 2 * tp[:, -1] * fp[:, -1])


def average_precision(tp, fp):
    """Sum over the steps of the PR curve of the rise in recall times the precision there.

    No interpolation, which would be too optimistic (Davis and Goadrich, ICML 2006).
    """
    rise = np.diff(tp, axis=1, prepend=0)
    found = tp + fp
    # A resample may leave out the first ranks: no rise there, whatever the precision.
    precision = np.divide(tp, found, out=np.zeros_like(tp), where=found > 0)
    return ratio((rise * precision).sum(axis=1), tp[:, -1])


def sensitivity_at_specificity(tp, fp, specificity: float):
    """Largest sensitivity of any threshold whose specificity is at least `specificity`."""
    allowed = fp <= (1 - specificity + ROUNDING) * fp[:, -1:]
    best = np.where(allowed, tp, 0).max(axis=1)
    return np.where(fp[:, -1] > 0, ratio(best, tp[:, -1]), np.nan)
