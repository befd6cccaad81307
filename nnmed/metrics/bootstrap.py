"""Bootstrap over patients: how far a score might have come out otherwise.

Images of one patient are alike, so patients are drawn, not images: each resample takes as
many patients as there are, with replacement, and every image of a patient comes along as
often as the patient was drawn (cluster bootstrap; Field and Welsh, JRSS B 69, 2007). The
interval is the percentile interval (Efron and Tibshirani, 1993, chapter 13).

A resample is written as weights of the cases, since every score here takes weights. One
matrix, a row a resample, replaces thousands of loops.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnmed.backend import random, threads
from nnmed.errors import UsageError
from nnmed.metrics import inputs
from nnmed.metrics.score import Score

RESAMPLES = 2000
COVERAGE = 0.95
# More undefined resamples than this, and what is left is no longer a sample of the population.
MAX_UNDEFINED = 0.05
_BLOCK = 2**18  # weights in a block of resamples: 2 MiB of float64, about a core's cache


def patient_index(groups, length: int) -> np.ndarray:
    """Return a number 0, 1, ... for the patient of each case.

    Parameters
    ----------
    groups : sequence or None
        A patient (or any group) a case. None stands for "every case is a patient", and a
        None, empty or NaN entry for a patient of its own.
    """
    if groups is None:
        return np.arange(length)
    if isinstance(groups, np.ndarray) and groups.dtype.kind in "iu":
        return np.unique(inputs.vector(groups, "groups", length), return_inverse=True)[1]
    groups = list(groups)
    inputs.vector(np.arange(len(groups)), "groups", length)
    known = [not (group is None or group == "" or group != group) for group in groups]
    names = [
        f"known {group}" if is_known else f"unknown {case}"
        for case, (group, is_known) in enumerate(zip(groups, known))
    ]
    return np.unique(names, return_inverse=True)[1] if names else np.arange(0)


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    groups,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    sample_weight=None,
) -> np.ndarray:
    """Return `statistic` of resamples of the patients.

    Parameters
    ----------
    statistic : callable
        Takes weights (B, n), a row a resample, and returns (B,) or (B, S) values. It is
        called for blocks of rows, from several threads at once, and must not keep state.
    groups : sequence of n
        The patient of each case, as :func:`patient_index` takes it.
    seed : int
        Resamples depend on it, on :func:`nnmed.seed` and on the patients, on nothing else.
    sample_weight : (n,) array, optional
        Weights of the cases, multiplied by how often each was drawn.

    Returns
    -------
    numpy.ndarray
        (resamples,) or (resamples, S) float64.
    """
    if resamples < 1:
        raise UsageError(f"resamples must be at least 1, got {resamples}")
    patient = patient_index(groups, len(groups))
    weight = inputs.weights(sample_weight, len(patient))
    if len(patient) == 0:
        raise UsageError("bootstrap needs at least one case")
    count = int(patient.max()) + 1
    blocks = threads.chunks(resamples, max(1, _BLOCK // len(patient)))
    results: list = [None] * len(blocks)

    def run(block):
        start, stop = blocks[block]
        draw = random.generator("bootstrap", seed, block)
        drawn = _draw(draw, stop - start, count)
        results[block] = statistic(np.take(drawn, patient, axis=1) * weight)

    threads.parallel_for(run, len(blocks))
    return np.concatenate(results)


def _draw(generator, rows: int, count: int) -> np.ndarray:
    """Draw `count` patients with replacement, `rows` times; how often each was drawn."""
    drawn = generator.integers(0, count, size=(rows, count))
    drawn += np.arange(rows)[:, None] * count
    return np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the bounds of the middle 95% of the defined values; NaN where there are none."""
    defined = values[~np.isnan(values)]
    if defined.size == 0:
        return float("nan"), float("nan")
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def with_interval(value: float, resampled: np.ndarray, patients: int, n: int) -> Score:
    """Return the defined score `value` with the interval of its resamples, if they give one.

    No interval is given for fewer than two patients, or where more than 5% of the resamples
    leave the score undefined.
    """
    undefined = int(np.isnan(resampled).sum())
    none = float("nan")
    if patients < 2:
        return Score(value, none, none, n, "one patient gives no interval", undefined)
    if undefined > MAX_UNDEFINED * len(resampled):
        reason = f"undefined in {undefined} of {len(resampled)} resamples"
        return Score(value, none, none, n, reason, undefined)
    low, high = interval(resampled)
    reason = None
    if low == high:
        reason = "all resamples agree: the true uncertainty is larger than the interval"
    return Score(value, low, high, n, reason, undefined)
