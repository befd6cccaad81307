"""Batch and group normalisation spelled as loops.

After Ioffe and Szegedy (2015), Wu and He (2018), and Ba et al. (2016). Batches are
``(N, C, H, W)`` arrays; in batch normalisation m = N * H * W values share a channel.
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


def batch_norm(x, mean, var, weight, bias, eps, relu=False):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, channel by channel.

    With `relu`, what is negative becomes 0.
    """
    y = np.zeros(x.shape)
    for k in range(x.shape[1]):
        normal = (x[:, k].astype(np.float64) - mean[k]) / np.sqrt(var[k] + eps)
        scale = 1.0 if weight is None else float(weight[k])
        y[:, k] = normal * scale + (0.0 if bias is None else float(bias[k]))
        if relu:
            y[:, k] = np.maximum(y[:, k], 0.0)
    return y.astype(x.dtype)


def batch_norm_grad(dy, x, mean, var, weight, eps, training, y=None):
    """Return dx and, both float64 ``(C,)``, dweight and dbias.

    With n = (x - mean) / sqrt(var + eps), the normalised input::

        dbias = sum dy,    dweight = sum dy * n
        dx = weight / sqrt(var + eps) * (dy - dbias / m - n * dweight / m)   in training
        dx = weight / sqrt(var + eps) * dy                                   otherwise

    since in training mean and var are functions of x too. `y` is the output where that ends in
    relu: dy then counts where it is positive, and is 0 elsewhere.
    """
    if y is not None:
        dy = np.where(y > 0, dy, 0.0)
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


def group_moments(x, groups):
    """Return mean and variance (divided by m) of each group of channels, float64 ``(N, G)``.

    The m values of a group are those of C / G channels at all places of one image.
    """
    mean, var = np.zeros((2, len(x), groups))
    each = x.shape[1] // groups
    for n in range(len(x)):
        for g in range(groups):
            values = x[n, g * each : (g + 1) * each].astype(np.float64)
            mean[n, g] = values.sum() / values.size
            var[n, g] = ((values - mean[n, g]) ** 2).sum() / values.size
    return mean, var


def group_norm(x, mean, var, weight, bias, eps):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` with a mean for each group."""
    y = np.zeros(x.shape)
    each = x.shape[1] // mean.shape[1]
    for n in range(len(x)):
        for k in range(x.shape[1]):
            g = k // each
            normal = (x[n, k].astype(np.float64) - mean[n, g]) / np.sqrt(var[n, g] + eps)
            scale = 1.0 if weight is None else float(weight[k])
            y[n, k] = normal * scale + (0.0 if bias is None else float(bias[k]))
    return y.astype(x.dtype)


def group_norm_grad(dy, x, mean, var, weight, eps):
    """Return dx and, both float64 ``(C,)``, dweight and dbias.

    With n = (x - mean) / sqrt(var + eps) and g = dy * weight, over the m values of a group::

        dbias = sum dy,    dweight = sum dy * n          over images and places
        dx = (g - sum g / m - n * sum(g * n) / m) / sqrt(var + eps)
    """
    dx = np.zeros(x.shape)
    dweight, dbias = np.zeros((2, x.shape[1]))
    each = x.shape[1] // mean.shape[1]
    for n in range(len(x)):
        for g in range(mean.shape[1]):
            part = slice(g * each, (g + 1) * each)
            inverse = 1 / np.sqrt(var[n, g] + eps)
            normal = (x[n, part].astype(np.float64) - mean[n, g]) * inverse
            scaled = dy[n, part].astype(np.float64)
            for k in range(each):
                dbias[g * each + k] += scaled[k].sum()
                dweight[g * each + k] += (scaled[k] * normal[k]).sum()
                if weight is not None:
                    scaled[k] *= float(weight[g * each + k])
            m = normal.size
            centred = scaled - scaled.sum() / m - normal * (scaled * normal).sum() / m
            dx[n, part] = centred * inverse
    return dx.astype(x.dtype), dweight, dbias


def layer_norm(x, weight, bias, eps, centred):
    """Return y of (M, D), each row's mean and inverse = 1 / sqrt(var + eps), both ``(M,)``.

    ``y = (x - mean) * inverse * weight + bias`` with var = sum (x - mean)^2 / D. Without
    `centred` the mean is taken to be 0: root-mean-square normalisation.
    """
    y = np.zeros(x.shape)
    mean, inverse = np.zeros((2, len(x)))
    for i in range(len(x)):
        row = x[i].astype(np.float64)
        if centred:
            mean[i] = row.sum() / row.size
        inverse[i] = 1 / np.sqrt(((row - mean[i]) ** 2).sum() / row.size + eps)
        y[i] = (row - mean[i]) * inverse[i]
        if weight is not None:
            y[i] *= weight
        if bias is not None:
            y[i] += bias
    return y.astype(x.dtype), mean.astype(x.dtype), inverse.astype(x.dtype)


def layer_norm_grad(dy, x, mean, inverse, weight, centred):
    """Return dx and, both float64 ``(D,)``, dweight and dbias.

    With n = (x - mean) * inverse and g = dy * weight, sums over a row::

        dbias = sum dy,    dweight = sum dy * n          over the rows
        dx = inverse * (g - sum g / D - n * sum(g * n) / D)

    Without `centred` the term sum g / D, which is due to the mean, is not there.
    """
    dx = np.zeros(x.shape)
    dweight, dbias = np.zeros((2, x.shape[1]))
    for i in range(len(x)):
        normal = (x[i].astype(np.float64) - mean[i]) * inverse[i]
        dbias += dy[i]
        dweight += dy[i] * normal
        g = dy[i].astype(np.float64) if weight is None else dy[i].astype(np.float64) * weight
        due_to_mean = g.sum() / g.size if centred else 0.0
        dx[i] = inverse[i] * (g - due_to_mean - normal * (g * normal).sum() / g.size)
    return dx.astype(x.dtype), dweight, dbias
