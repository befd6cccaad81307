"""Choice of a decision threshold, on validation data and never on test data.

A case is positive where its probability is at least the threshold. Candidates lie midway
between neighbouring distinct probabilities, so that no case sits on the threshold and
rounding cannot turn a decision, plus one below all of them (everything positive).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from nnmed.errors import UsageError
from nnmed.metrics import cells, inputs
from nnmed.metrics.bootstrap import bootstrap
from nnmed.metrics.ranking import ROUNDING, Ranking, cells_at
from nnmed.metrics.score import ratio

METHODS = ("youden", "f1", "sensitivity")
DEFAULT = 0.5


@dataclass(frozen=True)
class Threshold:
    """A threshold and how it came about.

    Attributes
    ----------
    value : float
        Positive means probability >= value.
    method : str
        ``"youden"``, ``"f1"`` or ``"sensitivity"``.
    description : str
        The method in words, for reports.
    sensitivity, specificity, f1 : float
        What the threshold gives on the data that chose it (optimistic); NaN if undefined.
    n : int
        Number of cases that chose it.
    reason : str or None
        Why nothing could be chosen and the value is 0.5.
    """

    value: float
    method: str
    description: str
    sensitivity: float
    specificity: float
    f1: float
    n: int
    reason: str | None = None


def choose_threshold(
    y_true, y_prob, method: str = "youden", *, target: float = 0.9, sample_weight=None
) -> Threshold:
    """Choose the decision threshold on validation data.

    Parameters
    ----------
    method : {"youden", "f1", "sensitivity"}
        ``"youden"`` makes sensitivity + specificity - 1 largest (Youden, Cancer 3, 1950);
        ``"f1"`` makes F1 largest; ``"sensitivity"`` makes specificity largest among the
        thresholds whose sensitivity is at least `target`.
    target : float
        The sensitivity wanted, in (0, 1], for ``"sensitivity"``.

    Returns
    -------
    Threshold
        Of equally good thresholds the lowest: a tumour missed is worse than a false alarm.
        With one class only, 0.5 and the reason.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    if not 0 < target <= 1:
        raise UsageError(f"target must lie in (0, 1], got {target}")
    y_true = inputs.binary(y_true, "y_true")
    y_prob = inputs.probabilities(y_prob, "y_prob", len(y_true))
    weight = inputs.weights(sample_weight, len(y_true))
    kept = weight > 0
    lacking = [
        f"no {name} case" for label, name in ((1, "positive"), (0, "negative"))
        if not (y_true[kept] == label).any()
    ]  # fmt: skip
    if lacking:
        nothing = float("nan")
        reason = f"{' and '.join(lacking)} to choose it on, so it is {DEFAULT}"
        return Threshold(
            DEFAULT, method, "default", nothing, nothing, nothing, int(kept.sum()), reason
        )
    ranked = Ranking(y_true[kept], y_prob[kept])
    tp, fp = (counts[0] for counts in ranked.cumulate(weight[None, kept]))
    best = _last_best(_merit(method, tp, fp, target))
    return Threshold(
        value=_midway(ranked.thresholds, best),
        method=method,
        description=_describe(method, target),
        sensitivity=float(tp[best] / tp[-1]),
        specificity=float(1 - fp[best] / fp[-1]),
        f1=float(2 * tp[best] / (tp[-1] + tp[best] + fp[best])),
        n=int(kept.sum()),
    )


def bagged_threshold(
    y_true,
    y_prob,
    method: str = "youden",
    groups=None,
    seed: int = 0,
    *,
    target: float = 0.9,
    resamples: int = 500,
) -> Threshold:
    """Choose the threshold as the mean of those of bootstrap resamples of the patients.

    On some ten or twenty positive cases the best threshold hangs on one or two of them, and
    falls apart on other data. The mean over resamples moves little when a case does
    (bagging; Breiman, Machine Learning 24, 1996).

    Parameters
    ----------
    groups : sequence of n, optional
        The patient of each case, as in :func:`~nnmed.metrics.bootstrap.bootstrap`.

    Returns
    -------
    Threshold
        As :func:`choose_threshold` gives it, for the mean.
    """
    single = choose_threshold(y_true, y_prob, method, target=target)
    if single.reason is not None:
        return single
    y_true, y_prob = inputs.binary(y_true, "y_true"), np.asarray(y_prob, np.float64)
    ranked = Ranking(y_true, y_prob)
    cuts = [_midway(ranked.thresholds, index) for index in range(len(ranked.thresholds))]

    def best(tp, fp) -> float:
        both = tp[-1] > 0 and fp[-1] > 0
        return cuts[_last_best(_merit(method, tp, fp, target))] if both else float("nan")

    def statistic(weights):
        return np.array([best(tp, fp) for tp, fp in zip(*ranked.cumulate(weights))])

    groups = range(len(y_true)) if groups is None else groups
    value = float(np.nanmean(bootstrap(statistic, groups, seed=seed, resamples=resamples)))
    table = cells_at(y_true, y_prob >= value, np.ones((1, len(y_true))))
    scores = {
        f.__name__: float(f(table)[0]) for f in (cells.sensitivity, cells.specificity, cells.f1)
    }
    description = f"{single.description}, mean over {resamples} resamples of patients"
    return dataclasses.replace(single, value=value, description=description, **scores)


def _merit(method, tp, fp, target):
    positives, negatives = tp[-1], fp[-1]
    if method == "youden":
        # Times both class sizes: whole numbers without weights, so ties are exact.
        return tp * negatives - fp * positives
    if method == "f1":
        return ratio(2 * tp, positives + tp + fp)
    return np.where(tp >= (target - ROUNDING) * positives, -fp, -np.inf)


def _last_best(merit) -> int:
    return len(merit) - 1 - int(np.argmax(merit[::-1]))


def _midway(scores, index: int) -> float:
    """Return a threshold that scores[index] reaches and scores[index + 1] does not."""
    upper = scores[index]
    lower = scores[index + 1] if index + 1 < len(scores) else 0.0
    middle = lower + (upper - lower) / 2
    # Between neighbouring floating-point numbers there is nothing: take the upper one.
    return float(middle if middle > lower else upper)


def _describe(method, target) -> str:
    if method == "youden":
        return "largest sensitivity + specificity - 1 (Youden's J)"
    if method == "f1":
        return "largest F1"
    return f"largest specificity with sensitivity of at least {target:g}"
