"""Whether two results are the same, but for rounding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Error(NamedTuple):
    """Largest and mean difference, in standard deviations of the true result."""

    largest: float
    mean: float


def error(result, truth) -> Error:
    """Return how far `result` is from `truth`.

    A result that is one number, or the same everywhere, is measured by its size. Where one
    is not finite and the other is, the error is infinite.
    """
    result, truth = (np.asarray(a, np.float64) for a in (result, truth))
    if result.shape != truth.shape:
        raise ValueError(f"a result has shape {result.shape}, the true one {truth.shape}")
    if not truth.size:
        return Error(0.0, 0.0)
    scale = truth.std() if truth.size > 1 else 0.0
    if scale <= 1e-6 * np.abs(truth).max():  # the same everywhere, but for rounding
        scale = np.abs(truth).max()
    difference = np.abs(result - truth) / (scale or 1.0)
    if not np.isfinite(difference).all():
        return Error(np.inf, np.inf)
    return Error(float(difference.max()), float(difference.mean()))


def worst(results: dict, truths: dict) -> tuple[float, str]:
    """Return the largest error among results of the same names, and its name."""
    return max((error(results[name], truth).largest, name) for name, truth in truths.items())
