"""Losses of segmentation as formulas, in float64: one image, one class at a time.

p holds probabilities, t the reference (0 or 1), both 1-d over the pixels that count. The
losses of ``nnmed.ops`` are made of ops and have no kernels; the tests hold them to these.
"""

from __future__ import annotations

import numpy as np


def probabilities(logits):
    """p_c = exp(x_c) / sum exp(x_k) of (C, P) logits; the sigmoid of a single one."""
    x = np.asarray(logits, np.float64)
    if len(x) == 1:
        return 1 / (1 + np.exp(-x))
    powers = np.exp(x - x.max(0))
    return powers / powers.sum(0)


def dice(p, t, smooth):
    """1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s): MONAI's default soft Dice."""
    return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def squared_dice(p, t, smooth):
    """1 - (2 sum(p t) + s) / (sum(p^2) + sum(t^2) + s): Milletari 2016, section 3."""
    return 1 - (2 * (p * t).sum() + smooth) / ((p * p).sum() + (t * t).sum() + smooth)


def generalized_dice(p, t, smooth):
    """1 - 2 sum(w p t) / sum(w (p + t)), w_c = 1 / sum(t_c)^2, of (C, P): Sudre 2017."""
    volumes = t.sum(1)
    present = volumes[volumes > 0]
    largest = (1 / present**2).max() if present.size else 1.0
    weights = np.array([1 / v**2 if v else largest for v in volumes])
    weights /= weights.sum()
    above = 2 * (weights * (p * t).sum(1)).sum()
    return 1 - (above + smooth) / ((weights * (p + t).sum(1)).sum() + smooth)


def tversky(p, t, alpha, beta, smooth):
    """1 - TP / (TP + alpha FP + beta FN), smoothed: Salehi 2017, equation 4."""
    hits, false_alarms, misses = (p * t).sum(), (p * (1 - t)).sum(), ((1 - p) * t).sum()
    return 1 - (hits + smooth) / (hits + alpha * false_alarms + beta * misses + smooth)


def focal_tversky(p, t, alpha, beta, gamma, smooth):
    """(1 - Tversky index)^(1 / gamma): Abraham 2019, equation 4."""
    return tversky(p, t, alpha, beta, smooth) ** (1 / gamma)


def focal(p, gamma, alpha=1.0):
    """-alpha (1 - p)^gamma log(p), p the probability of the label: Lin 2017, equation 5."""
    return -alpha * (1 - p) ** gamma * np.log(p)


def lovasz(errors, t):
    """sum of errors g(errors), g the steps of 1 - Jaccard: Berman 2018, equations 6 to 9."""
    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    inside = {i for i in order if t[i] == 1}
    costs = [0.0] + [
        len(order[:n]) / len(inside | set(order[:n])) for n in range(1, len(order) + 1)
    ]
    return sum(errors[i] * (costs[n + 1] - costs[n]) for n, i in enumerate(order))


def lovasz_hinge(logits, t):
    """The extension for max(0, 1 - x (2 t - 1)): Berman 2018, section 3.1."""
    return lovasz(np.maximum(1 - logits * (2 * t - 1), 0), t)


def lovasz_softmax(p, t):
    """The extension for 1 - p inside and p outside: Berman 2018, equations 11 and 12."""
    return lovasz(np.where(t == 1, 1 - p, p), t)


def boundary(p, phi):
    """mean(p phi), phi the signed distance to the boundary: Kervadec 2019, equation 5."""
    return (p * phi).mean()
