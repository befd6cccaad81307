"""ROC and precision-recall curves, their areas, and sensitivity at a fixed specificity.

All take ``(y_true, y_score, sample_weight=None)``: labels 0 and 1, scores that rise with the
likelihood of class 1, and a weight a case. All equal scikit-learn's, ties and weights
included, wherever the score exists.
"""

from __future__ import annotations

import numpy as np

from nnmed.errors import UsageError
from nnmed.metrics import inputs, ranking
from nnmed.metrics.cells import Cells, why_undefined
from nnmed.metrics.ranking import Ranking
from nnmed.metrics.score import Undefined, ratio


def roc_curve(y_true, y_score, sample_weight=None):
    """Return false-positive rate, true-positive rate and thresholds, from (0, 0) to (1, 1).

    Every distinct score is a point, as in scikit-learn with ``drop_intermediate=False``;
    the first threshold is infinite. A rate whose class has no case is NaN.

    Returns
    -------
    fpr, tpr, thresholds : (K + 1,) float64
    """
    tp, fp, thresholds = _counts(y_true, y_score, sample_weight)
    tp, fp = np.append(0, tp), np.append(0, fp)
    return ratio(fp, fp[-1]), ratio(tp, tp[-1]), np.append(np.inf, thresholds)


def roc_auc(y_true, y_score, sample_weight=None) -> float:
    """Area under the ROC curve; undefined with one class only."""
    return _area("roc_auc", ranking.roc_auc, y_true, y_score, sample_weight)


def precision_recall_curve(y_true, y_score, sample_weight=None):
    """Return precision, recall and thresholds in scikit-learn's order: thresholds rise.

    A last point (precision 1, recall 0), which has no threshold, closes the curve. Recall
    without a positive case is NaN.

    Returns
    -------
    precision, recall : (K + 1,) float64
    thresholds : (K,) float64
    """
    tp, fp, thresholds = _counts(y_true, y_score, sample_weight)
    total = tp[-1] if tp.size else 0.0
    precision = np.append(ratio(tp, tp + fp)[::-1], 1.0)
    return precision, np.append(ratio(tp, total)[::-1], 0.0), thresholds[::-1]


def average_precision(y_true, y_score, sample_weight=None) -> float:
    """Area under the PR curve as average precision; undefined without positive cases."""
    return _area("average_precision", ranking.average_precision, y_true, y_score, sample_weight)


def sensitivity_at_specificity(y_true, y_score, specificity, sample_weight=None) -> float:
    """Largest sensitivity of any threshold whose specificity is at least `specificity`.

    Only thresholds that the scores offer count; nothing is interpolated. Undefined with
    one class only.
    """
    if not 0 <= specificity <= 1:
        raise UsageError(f"specificity must lie in [0, 1], got {specificity}")

    def area(tp, fp):
        return ranking.sensitivity_at_specificity(tp, fp, specificity)

    return _area("sensitivity_at_specificity", area, y_true, y_score, sample_weight)


def _counts(y_true, y_score, sample_weight):
    """Running weights of positives and negatives, without the cases of no weight."""
    y_true = inputs.binary(y_true, "y_true")
    y_score = inputs.scores(y_score, "y_score", len(y_true))
    weight = inputs.weights(sample_weight, len(y_true))
    kept = weight > 0
    ranked = Ranking(y_true[kept], y_score[kept])
    tp, fp = ranked.cumulate(weight[None, kept])
    return tp[0], fp[0], ranked.thresholds


def _area(name, function, y_true, y_score, sample_weight) -> float:
    tp, fp, _ = _counts(y_true, y_score, sample_weight)
    last_tp, last_fp = (tp[-1], fp[-1]) if tp.size else (0.0, 0.0)
    reason = why_undefined(name, Cells(tp=last_tp, fp=last_fp, fn=0.0, tn=0.0))
    return Undefined(reason) if reason else float(function(tp[None], fp[None])[0])
