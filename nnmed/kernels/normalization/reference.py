"""Batch normalisation spelled as loops over the channels, after Ioffe and Szegedy (2015).

All functions take ``(N, C, H, W)`` arrays; m = N * H * W values share a channel.
"""

from __future__ import annotations

import numpy as np


def batch_moments(x):
    """Return each channel's mean and its variance (divided by m), both float64 ``(C,)``."""
    mean, var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for k in range(x.shape[1]):
        values = x[:, k].astype(np.float64)
        mean[k] = values.sum() / values.size
        var[k] = ((values - mean[k]) ** 2).sum() / values.size
    return mean, var


def batch_norm(x, mean, var, weight, bias, eps):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, channel by channel."""
    y = np.zeros(x.shape)
    for k in range(x.shape[1]):
        normal = (x[:, k].astype(np.float64) - mean[k]) / np.sqrt(var[k] + eps)
        scale = 1.0 if weight is None else float(weight[k])
        y[:, k] = normal * scale + (0.0 if bias is None else float(bias[k]))
    return y.astype(x.dtype)


def batch_norm_grad(dy, x, mean, var, weight, eps, training):
    """Return dx and, both float64 ``(C,)``, dweight and dbias.

    With n = (x - mean) / sqrt(var + eps), the normalised input::

        dbias = sum dy,    dweight = sum dy * n
        dx = weight / sqrt(var + eps) * (dy - dbias / m - n * dweight / m)   in training
        dx = weight / sqrt(var + eps) * dy                                   otherwise

    since in training mean and var are functions of x too.
    """
    dx = np.zeros(x.shape)
    dweight, dbias = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for k in range(x.shape[1]):
        gradient = dy[:, k].astype(np.float64)
        inverse = 1 / np.sqrt(var[k] + eps)
        normal = (x[:, k].astype(np.float64) - mean[k]) * inverse
        scale = inverse if weight is None else inverse * float(weight[k])
        dbias[k] = gradient.sum()
        dweight[k] = (gradient * normal).sum()
        if training:
            gradient = gradient - dbias[k] / normal.size - normal * dweight[k] / normal.size
        dx[:, k] = scale * gradient
    return dx.astype(x.dtype), dweight, dbias
