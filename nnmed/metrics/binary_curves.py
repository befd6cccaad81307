"""The curves of a two-class evaluation with their bands, ready to draw or to write down."""

from __future__ import annotations

import numpy as np

from nnmed.metrics import inputs
from nnmed.metrics.bootstrap import COVERAGE, bootstrap, patient_index
from nnmed.metrics.calibration import reliability_curve
from nnmed.metrics.confusion import confusion_matrix
from nnmed.metrics.curves import precision_recall_curve, roc_curve
from nnmed.metrics.ranking import ROUNDING, Ranking

GRID = np.linspace(0, 1, 101)
BAND_RESAMPLES = 1000


def binary_curves(
    labels, probabilities, threshold: float, groups=None, seed: int = 0, *, resamples=BAND_RESAMPLES
) -> dict:
    """Return the curves of a classifier as a dict of arrays.

    Parameters are those of :func:`~nnmed.metrics.evaluate.evaluate_binary`.

    Returns
    -------
    dict
        ``roc``: ``fpr``, ``tpr``, ``thresholds`` and the band ``grid`` (of fpr), ``low``,
        ``high``. ``pr``: ``recall``, ``precision``, ``thresholds`` and the band over a grid
        of recall. Bands are pointwise 95% bootstrap intervals over patients, NaN where
        there is none. ``reliability``: see
        :func:`~nnmed.metrics.calibration.reliability_curve`. ``confusion_matrix``: (2, 2)
        counts, true class by row. ``operating_point``: ``threshold``, ``fpr``, ``tpr``,
        ``precision``. ``prevalence``: share of positive cases.
    """
    labels = inputs.binary(labels, "labels")
    probabilities = inputs.probabilities(probabilities, "probabilities", len(labels))
    fpr, tpr, roc_thresholds = roc_curve(labels, probabilities)
    precision, recall, pr_thresholds = precision_recall_curve(labels, probabilities)
    matrix = confusion_matrix(labels, (probabilities >= threshold).astype(int), num_classes=2)
    bands = _bands(labels, probabilities, groups, seed, resamples)
    (tn, fp), (fn, tp) = matrix.tolist()
    return {
        "roc": {"fpr": fpr, "tpr": tpr, "thresholds": roc_thresholds, "grid": GRID, **bands[0]},
        "pr": {
            "recall": recall,
            "precision": precision,
            "thresholds": pr_thresholds,
            "grid": GRID,
            **bands[1],
        },
        "reliability": reliability_curve(labels, probabilities),
        "confusion_matrix": matrix,
        "operating_point": {
            "threshold": float(threshold),
            "fpr": _share(fp, fp + tn),
            "tpr": _share(tp, tp + fn),
            "precision": _share(tp, tp + fp),
        },
        "prevalence": _share(tp + fn, len(labels)),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _bands(labels, probabilities, groups, seed, resamples) -> list[dict]:
    """Pointwise bands of sensitivity over fpr and of precision over recall."""
    nothing = [{"low": np.full(GRID.shape, np.nan), "high": np.full(GRID.shape, np.nan)}] * 2
    if len(np.unique(labels)) < 2:
        return nothing
    patient = patient_index(groups, len(labels))
    ranked = Ranking(labels, probabilities)

    def statistic(weights):
        tp, fp = ranked.cumulate(weights)
        return np.stack([_on_grid(*row) for row in zip(tp, fp)])

    rows = bootstrap(statistic, patient, seed=seed, resamples=resamples)
    rows = rows[~np.isnan(rows).any(axis=(1, 2))]
    if len(rows) == 0 or patient.max() == 0:
        return nothing
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(rows, [tail, 1 - tail], axis=0)
    return [{"low": low[i], "high": high[i]} for i in range(2)]


def _on_grid(tp, fp) -> np.ndarray:
    """Sensitivity at each fpr and precision at each recall of the grid; (2, len(GRID))."""
    if not (tp[-1] > 0 and fp[-1] > 0):
        return np.full((2, len(GRID)), np.nan)
    tpr, fpr = np.append(0, tp / tp[-1]), np.append(0, fp / fp[-1])
    reached = np.searchsorted(tp / tp[-1], np.maximum(GRID - ROUNDING, ROUNDING))
    return np.stack([np.interp(GRID, fpr, tpr), tp[reached] / (tp + fp)[reached]])
