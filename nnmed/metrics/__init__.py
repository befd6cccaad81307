"""Scores of classifiers, honest ones: undefined is NaN with the reason, never a guess.

Pure NumPy functions on ``(y_true, y_pred or y_score, sample_weight=None)``, equal to
scikit-learn's wherever the score exists; :func:`evaluate_binary` gives them all with
intervals that resample patients.
"""

from nnmed.metrics.binary_curves import binary_curves
from nnmed.metrics.bootstrap import bootstrap, interval
from nnmed.metrics.calibration import brier, expected_calibration_error, reliability_curve
from nnmed.metrics.confusion import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    f1,
    macro_f1,
    matthews_correlation,
    negative_predictive_value,
    precision,
    recall,
    sensitivity,
    specificity,
)
from nnmed.metrics.curves import (
    average_precision,
    precision_recall_curve,
    roc_auc,
    roc_curve,
    sensitivity_at_specificity,
)
from nnmed.metrics.evaluate import (
    BINARY_SCORES,
    describe_cases,
    evaluate_binary,
    evaluate_multiclass,
)
from nnmed.metrics.score import Score, Undefined, to_json, to_plain
from nnmed.metrics.threshold import Threshold, bagged_threshold, choose_threshold

__all__ = [
    "BINARY_SCORES",
    "Score",
    "Threshold",
    "Undefined",
    "accuracy",
    "average_precision",
    "bagged_threshold",
    "balanced_accuracy",
    "binary_curves",
    "bootstrap",
    "brier",
    "choose_threshold",
    "confusion_matrix",
    "describe_cases",
    "evaluate_binary",
    "evaluate_multiclass",
    "expected_calibration_error",
    "f1",
    "interval",
    "macro_f1",
    "matthews_correlation",
    "negative_predictive_value",
    "precision",
    "precision_recall_curve",
    "recall",
    "reliability_curve",
    "roc_auc",
    "roc_curve",
    "sensitivity",
    "sensitivity_at_specificity",
    "specificity",
    "to_json",
    "to_plain",
]
