"""The four cells of a two-class decision, and the scores that are made of them.

Every function here works on arrays, one entry a resample, so that a score and its bootstrap
interval come from the same lines. Where a denominator is 0 the score is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnmed.metrics.score import ratio


@dataclass(frozen=True)
class Cells:
    """Weight of the true and false positives and negatives; float64 arrays of one shape."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    @property
    def positives(self):
        return self.tp + self.fn

    @property
    def negatives(self):
        return self.fp + self.tn

    @property
    def predicted_positives(self):
        return self.tp + self.fp

    @property
    def predicted_negatives(self):
        return self.fn + self.tn

    @property
    def cases(self):
        return self.positives + self.negatives


def accuracy(c: Cells):
    """(TP + TN) / all."""
    return ratio(c.tp + c.tn, c.cases)


def sensitivity(c: Cells):
    """TP / (TP + FN), also called recall."""
    return ratio(c.tp, c.positives)


def specificity(c: Cells):
    """TN / (TN + FP)."""
    return ratio(c.tn, c.negatives)


def balanced_accuracy(c: Cells):
    """Mean of sensitivity and specificity."""
    return (sensitivity(c) + specificity(c)) / 2


def precision(c: Cells):
    """TP / (TP + FP), also called positive predictive value."""
    return ratio(c.tp, c.predicted_positives)


def negative_predictive_value(c: Cells):
    """TN / (TN + FN)."""
    return ratio(c.tn, c.predicted_negatives)


def f1(c: Cells):
    """2 TP / (2 TP + FP + FN): 0 where nothing was found, NaN where nothing was there either."""
    return ratio(2 * c.tp, c.positives + c.predicted_positives)


def matthews_correlation(c: Cells):
    """(TP TN - FP FN) / sqrt of the product of the four margins (Matthews, 1975)."""
    margins = np.sqrt(c.positives) * np.sqrt(c.negatives)
    margins = margins * np.sqrt(c.predicted_positives) * np.sqrt(c.predicted_negatives)
    return ratio(c.tp * c.tn - c.fp * c.fn, margins)


# What must not be zero for a score to exist.
NEEDS = {
    "accuracy": ("cases",),
    "balanced_accuracy": ("positives", "negatives"),
    "sensitivity": ("positives",),
    "specificity": ("negatives",),
    "precision": ("predicted_positives",),
    "negative_predictive_value": ("predicted_negatives",),
    "f1": ("positives_or_predicted",),
    "matthews_correlation": (
        "positives",
        "negatives",
        "predicted_positives",
        "predicted_negatives",
    ),
    "roc_auc": ("positives", "negatives"),
    "average_precision": ("positives",),
    "sensitivity_at_specificity": ("positives", "negatives"),
    "brier": ("cases",),
    "expected_calibration_error": ("cases",),
}

_LACKING = {
    "cases": "no cases",
    "positives": "no positive case",
    "negatives": "no negative case",
    "predicted_positives": "no case was predicted positive",
    "predicted_negatives": "no case was predicted negative",
    "positives_or_predicted": "no positive case, and none was predicted positive",
}


def why_undefined(name: str, c: Cells) -> str | None:
    """Return why the score `name` does not exist for these cells (one entry), or None.

    Examples
    --------
    >>> why_undefined("precision", Cells(0, 0, 3, 7))
    'no case was predicted positive'
    """
    totals = {
        "cases": c.cases,
        "positives": c.positives,
        "negatives": c.negatives,
        "predicted_positives": c.predicted_positives,
        "predicted_negatives": c.predicted_negatives,
        "positives_or_predicted": c.positives + c.predicted_positives,
    }
    if not totals["cases"] > 0:
        return _LACKING["cases"]
    lacking = [_LACKING[need] for need in NEEDS[name] if not totals[need] > 0]
    return " and ".join(lacking) or None
