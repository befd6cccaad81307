"""Scores of decided classes: accuracy and its kin, two classes and more.

All take ``(y_true, y_pred, sample_weight=None)``: class indices, one entry a case, and a
weight a case. All equal scikit-learn's wherever the score exists; where it does not (no
positive case, say), they return :class:`~nnmed.metrics.score.Undefined`, a NaN with the
reason, and warn of nothing.
"""

from __future__ import annotations

import numpy as np

from nnmed.errors import DataError
from nnmed.metrics import cells, inputs
from nnmed.metrics.cells import Cells, why_undefined
from nnmed.metrics.score import Undefined, ratio


def confusion_matrix(y_true, y_pred, sample_weight=None, num_classes: int | None = None):
    """Return the ``(K, K)`` weights of true class (row) against predicted class (column).

    Parameters
    ----------
    num_classes : int, optional
        K; by default the largest class found plus one, and at least 2.

    Returns
    -------
    numpy.ndarray
        int64 without weights, else float64.

    Raises
    ------
    DataError, ShapeError
        If classes or weights make no sense.
    """
    y_true, y_pred, count = _class_pairs(y_true, y_pred, num_classes)
    weight = None if sample_weight is None else inputs.weights(sample_weight, len(y_true))
    flat = np.bincount(y_true * count + y_pred, weight, minlength=count * count)
    return flat.reshape(count, count)


def accuracy(y_true, y_pred, sample_weight=None) -> float:
    """Share of the cases whose class was found; two classes or more."""
    y_true = inputs.classes(y_true, "y_true")
    y_pred = inputs.classes(y_pred, "y_pred", len(y_true))
    weight = inputs.weights(sample_weight, len(y_true))
    if not weight.sum() > 0:
        return Undefined("no cases")
    return float(weight[y_true == y_pred].sum() / weight.sum())


def balanced_accuracy(y_true, y_pred, sample_weight=None, num_classes: int | None = None) -> float:
    """Mean over the classes of the share found (Brodersen et al., ICPR 2010).

    Undefined if a class has no case: a class that was predicted but never occurs, or one
    below `num_classes`. (scikit-learn leaves such classes out and warns.)
    """
    matrix, seen = _matrix_of_seen(y_true, y_pred, sample_weight, num_classes)
    each = ratio(np.diagonal(matrix), matrix.sum(axis=1))
    return _mean_over_classes(each, seen, "no case of class")


def macro_f1(y_true, y_pred, sample_weight=None, num_classes: int | None = None) -> float:
    """Unweighted mean of the F1 of each class against the rest.

    Undefined if a class below `num_classes` neither occurs nor was predicted.
    """
    matrix, seen = _matrix_of_seen(y_true, y_pred, sample_weight, num_classes)
    each = ratio(2 * np.diagonal(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))
    return _mean_over_classes(each, seen, "no case, true or predicted, of class")


def precision(y_true, y_pred, sample_weight=None) -> float:
    """Share of the cases predicted positive that are positive (two classes)."""
    return _binary("precision", y_true, y_pred, sample_weight)


def sensitivity(y_true, y_pred, sample_weight=None) -> float:
    """Share of the positive cases that were predicted positive (two classes)."""
    return _binary("sensitivity", y_true, y_pred, sample_weight)


recall = sensitivity


def specificity(y_true, y_pred, sample_weight=None) -> float:
    """Share of the negative cases that were predicted negative (two classes)."""
    return _binary("specificity", y_true, y_pred, sample_weight)


def negative_predictive_value(y_true, y_pred, sample_weight=None) -> float:
    """Share of the cases predicted negative that are negative (two classes)."""
    return _binary("negative_predictive_value", y_true, y_pred, sample_weight)


def f1(y_true, y_pred, sample_weight=None) -> float:
    """Harmonic mean of precision and sensitivity, 2 TP / (2 TP + FP + FN) (two classes)."""
    return _binary("f1", y_true, y_pred, sample_weight)


def matthews_correlation(y_true, y_pred, sample_weight=None) -> float:
    """Correlation of truth and prediction (Matthews, 1975; two classes).

    Undefined where either is constant. (scikit-learn returns 0 there.)
    """
    return _binary("matthews_correlation", y_true, y_pred, sample_weight)


def _binary(name, y_true, y_pred, sample_weight) -> float:
    y_true = inputs.binary(y_true, "y_true")
    y_pred = inputs.binary(y_pred, "y_pred", len(y_true))
    weight = inputs.weights(sample_weight, len(y_true))
    (tn, fp), (fn, tp) = confusion_matrix(y_true, y_pred, weight, num_classes=2)
    table = Cells(tp, fp, fn, tn)
    reason = why_undefined(name, table)
    return Undefined(reason) if reason else float(getattr(cells, name)(table))


def _class_pairs(y_true, y_pred, num_classes):
    y_true = inputs.classes(y_true, "y_true")
    y_pred = inputs.classes(y_pred, "y_pred", len(y_true))
    largest = int(max(y_true.max(initial=0), y_pred.max(initial=0)))
    if num_classes is not None and largest >= num_classes:
        raise DataError(f"class {largest} was found, but num_classes is {num_classes}")
    return y_true, y_pred, num_classes or max(largest + 1, 2)


def _matrix_of_seen(y_true, y_pred, sample_weight, num_classes):
    """Weighted confusion matrix and its classes: those that occur, or all `num_classes`."""
    y_true, y_pred, _ = _class_pairs(y_true, y_pred, num_classes)
    weight = inputs.weights(sample_weight, len(y_true))
    if num_classes is not None:
        return confusion_matrix(y_true, y_pred, weight, num_classes), np.arange(num_classes)
    counts = weight > 0
    seen = np.union1d(y_true[counts], y_pred[counts])
    y_true, y_pred = (np.searchsorted(seen, y[counts]) for y in (y_true, y_pred))
    matrix = confusion_matrix(y_true, y_pred, weight[counts], max(len(seen), 1))
    return matrix[: len(seen), : len(seen)], seen


def _mean_over_classes(each, seen, lacking: str) -> float:
    if each.size == 0:
        return Undefined("no cases")
    missing = seen[np.isnan(each)]
    if missing.size:
        return Undefined(f"{lacking} {', '.join(map(str, missing))}")
    return float(each.mean())
