"""All scores of a classifier on a set of cases, each with its interval over patients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nnmed.errors import ShapeError, UsageError
from nnmed.metrics import calibration, cells, inputs, ranking
from nnmed.metrics.bootstrap import RESAMPLES, bootstrap, patient_index, with_interval
from nnmed.metrics.cells import Cells, why_undefined
from nnmed.metrics.ranking import Ranking, cells_at
from nnmed.metrics.score import Score

_DECISION = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "negative_predictive_value",
    "f1",
    "matthews_correlation",
)
BINARY_SCORES = (
    "roc_auc",
    "average_precision",
    *_DECISION,
    "sensitivity_at_90_specificity",
    "sensitivity_at_95_specificity",
    "brier",
    "expected_calibration_error",
)


def evaluate_binary(
    labels,
    probabilities,
    threshold: float,
    groups=None,
    seed: int = 0,
    *,
    sample_weight=None,
    resamples: int = RESAMPLES,
) -> dict[str, Score]:
    """Score probabilities of the positive class against labels.

    Parameters
    ----------
    labels : (n,) array
        0 (negative) or 1 (positive).
    probabilities : (n,) array
        Predicted probability of class 1.
    threshold : float
        A case is decided positive where its probability is at least this. Choose it on
        validation data (:func:`~nnmed.metrics.threshold.choose_threshold`).
    groups : sequence of n, optional
        The patient of each case; resamples draw patients. None: a patient a case.
    seed : int
        Seed of the resamples.

    Returns
    -------
    dict
        A :class:`~nnmed.metrics.score.Score` for each name in ``BINARY_SCORES``.

    Raises
    ------
    DataError, ShapeError, UsageError
        If labels, probabilities, weights or threshold make no sense.
    """
    labels = inputs.binary(labels, "labels")
    probabilities = inputs.probabilities(probabilities, "probabilities", len(labels))
    weight = inputs.weights(sample_weight, len(labels))
    if not np.isfinite(threshold):
        raise UsageError(f"threshold must be a finite number, got {threshold}")
    patient = patient_index(groups, len(labels))
    cases = len(labels)
    if not weight.sum() > 0:
        return {name: _undefined("no cases", cases) for name in BINARY_SCORES}

    decisions = probabilities >= threshold
    statistic = _binary_statistic(labels, probabilities, decisions)
    point = statistic(weight[None])[0]
    resampled = bootstrap(statistic, patient, seed=seed, resamples=resamples, sample_weight=weight)
    table = cells_at(labels, decisions, weight[None])
    table = Cells(table.tp[0], table.fp[0], table.fn[0], table.tn[0])
    result = {}
    for column, name in enumerate(BINARY_SCORES):
        reason = why_undefined(_kind(name), table)
        result[name] = (
            _undefined(reason, cases, resamples)
            if reason
            else with_interval(
                float(point[column]), resampled[:, column], len(np.unique(patient)), cases
            )
        )
    return result


def evaluate_multiclass(
    labels, probabilities, groups=None, seed: int = 0, *, resamples: int = RESAMPLES
) -> dict[str, Score]:
    """Score class probabilities ``(n, K)``; the class decided for is the most probable one.

    Returns
    -------
    dict
        ``accuracy``, ``balanced_accuracy``, ``macro_f1`` and ``macro_roc_auc`` (mean over
        the classes of the ROC-AUC of each against the rest). A mean over classes is
        undefined where one of its terms is.
    """
    labels = inputs.classes(labels, "labels")
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ShapeError(
            f"probabilities must be (cases, classes) = ({len(labels)}, K), "
            f"got shape {probabilities.shape}"
        )
    count = probabilities.shape[1]
    columns = [inputs.probabilities(column, "probabilities") for column in probabilities.T]
    if count < 2 or labels.max(initial=0) >= count:
        raise ShapeError(f"labels go up to {labels.max(initial=0)}, probabilities have {count}")
    names = ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc")
    cases = len(labels)
    if cases == 0:
        return {name: _undefined("no cases", cases) for name in names}

    statistic = _multiclass_statistic(labels, columns)
    patient = patient_index(groups, cases)
    point = statistic(np.ones((1, cases)))[0]
    resampled = bootstrap(statistic, patient, seed=seed, resamples=resamples)
    absent = sorted(set(range(count)) - set(labels.tolist()))
    reason = f"no case of class {', '.join(map(str, absent))}"
    return {
        name: _undefined(reason, cases, resamples)
        if np.isnan(point[i])
        else with_interval(float(point[i]), resampled[:, i], len(np.unique(patient)), cases)
        for i, name in enumerate(names)
    }


def describe_cases(labels, groups=None) -> dict:
    """Return ``n``, ``n_positive``, ``n_negative``, ``prevalence`` and ``n_patients``."""
    labels = inputs.binary(labels, "labels")
    positive = int(labels.sum())
    return {
        "n": len(labels),
        "n_positive": positive,
        "n_negative": len(labels) - positive,
        "prevalence": positive / len(labels) if len(labels) else float("nan"),
        "n_patients": len(np.unique(patient_index(groups, len(labels)))),
    }


def _undefined(reason: str, cases: int, resamples: int = 0) -> Score:
    nothing = float("nan")
    return Score(nothing, nothing, nothing, cases, reason, resamples)


def _kind(name: str) -> str:
    return "sensitivity_at_specificity" if name.startswith("sensitivity_at_") else name


def _binary_statistic(labels, probabilities, decisions) -> Callable:
    """Return the function from weights (B, n) to scores (B, len(BINARY_SCORES))."""
    ranked = Ranking(labels, probabilities)
    at = ranking.sensitivity_at_specificity
    of_curve = {
        "roc_auc": ranking.roc_auc,
        "average_precision": ranking.average_precision,
        "sensitivity_at_90_specificity": partial(at, specificity=0.90),
        "sensitivity_at_95_specificity": partial(at, specificity=0.95),
    }

    def statistic(weights):
        tp, fp = ranked.cumulate(weights)
        table = cells_at(labels, decisions, weights)
        values = {name: function(tp, fp) for name, function in of_curve.items()}
        values.update((name, getattr(cells, name)(table)) for name in _DECISION)
        values["brier"] = calibration.brier_rows(labels, probabilities, weights)
        values["expected_calibration_error"] = calibration.calibration_error_rows(
            labels, probabilities, weights
        )
        return np.stack([values[name] for name in BINARY_SCORES], axis=1)

    return statistic


def _multiclass_statistic(labels, columns) -> Callable:
    decided = np.argmax(np.stack(columns), axis=0)
    rankings = [Ranking((labels == k).astype(np.int64), p) for k, p in enumerate(columns)]

    def statistic(weights):
        tables = [cells_at(labels == k, decided == k, weights) for k in range(len(columns))]
        found = sum(table.tp for table in tables)
        return np.stack(
            [
                found / weights.sum(axis=1),
                np.mean([cells.sensitivity(table) for table in tables], axis=0),
                np.mean([cells.f1(table) for table in tables], axis=0),
                np.mean([ranking.roc_auc(*r.cumulate(weights)) for r in rankings], axis=0),
            ],
            axis=1,
        )

    return statistic
