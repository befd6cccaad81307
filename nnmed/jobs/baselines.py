"""Baselines that a network has to beat: logistic regression on simple features.

They tell how much of the task can be had without looking for a tumour at all, for instance
from brightness alone.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.threads import blas_single_thread
from nnmed.data.sample import Sample
from nnmed.metrics import roc_auc
from nnmed.preprocessing import Resize

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_ITERATIONS = 30


def pixel_features(samples: list[Sample]) -> np.ndarray:
    """Return the mean of the channels at 28 x 28 pixels, (N, 784)."""
    resize = Resize(28)
    return np.stack([resize(sample).image.mean(0).ravel() for sample in samples]).astype(float)


def histogram_features(samples: list[Sample], low: float, high: float) -> np.ndarray:
    """Return the share of pixels in each of 32 bins between `low` and `high`, (N, 32)."""
    edges = np.linspace(low, high, 33)
    edges[0], edges[-1] = -np.inf, np.inf
    counts = [np.histogram(sample.image, edges)[0] / sample.image.size for sample in samples]
    return np.stack(counts)


class LogisticRegression:
    """Logistic regression with an L2 penalty on standardised features, by Newton's method.

    Minimises sum log(1 + exp(-s (X w + b))) + penalty n / 2 |w|^2, s = +-1 (Hastie,
    Tibshirani and Friedman, "The elements of statistical learning", section 4.4).
    """

    def __init__(self, penalty: float):
        self.penalty = penalty

    def fit(self, features: np.ndarray, labels: np.ndarray) -> LogisticRegression:
        """Fit to ``features`` (N, D) and ``labels`` (N,) of 0 and 1."""
        self.mean, spread = features.mean(0), features.std(0)
        self.scale = np.where(spread > 1e-9, spread, 1.0)
        x = self._design(features)
        self.weight = np.zeros(x.shape[1])
        penalty = np.full(x.shape[1], self.penalty * len(x))
        penalty[-1] = 1e-9  # the intercept is free
        with blas_single_thread():
            for _ in range(_ITERATIONS):
                p = _sigmoid(x @ self.weight)
                gradient = x.T @ (p - labels) + penalty * self.weight
                hessian = (x.T * (p * (1 - p))) @ x + np.diag(penalty)
                step = np.linalg.solve(hessian, gradient)
                self.weight -= step
                if np.abs(step).max() < 1e-8:
                    break
        return self

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of class 1, (N,)."""
        with blas_single_thread():
            return _sigmoid(self._design(features) @ self.weight)

    def _design(self, features):
        standard = (features - self.mean) / self.scale
        return np.hstack([standard, np.ones((len(standard), 1))])


def fit_best(train, train_labels, val, val_labels) -> LogisticRegression:
    """Return the regression whose penalty gives the best ROC-AUC on validation data."""
    models = [LogisticRegression(penalty).fit(train, train_labels) for penalty in PENALTIES]
    scores = [roc_auc(val_labels, model.probabilities(val)) for model in models]
    return models[int(np.argmax(scores))]


def _sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))
