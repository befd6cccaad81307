"""Loss functions as loops: one number, or one row of logits, at a time, in float64."""

from __future__ import annotations

import math

import numpy as np


def mse_loss(x, target, reduction):
    """L = (x - t)**2, reduced."""
    return _reduced(lambda x, t: (x - t) ** 2, reduction, x, target)


def mse_loss_grad(dy, x, target, reduction):
    """dx = 2 (x - t) dy."""
    return _gradient(lambda x, t: 2 * (x - t), dy, reduction, x, target)


def l1_loss(x, target, reduction):
    """L = |x - t|, reduced."""
    return _reduced(lambda x, t: abs(x - t), reduction, x, target)


def l1_loss_grad(dy, x, target, reduction):
    """dx = sign(x - t) dy."""
    return _gradient(lambda x, t: float(x > t) - float(x < t), dy, reduction, x, target)


def smooth_l1_loss(x, target, beta, reduction):
    """L = d**2 / (2 beta) if d < beta, else d - beta / 2, reduced; d = |x - t|."""

    def one(x, t):
        d = abs(x - t)
        return d * d / (2 * beta) if d < beta else d - beta / 2

    return _reduced(one, reduction, x, target)


def smooth_l1_loss_grad(dy, x, target, beta, reduction):
    """dx = (x - t) / beta dy if |x - t| < beta, else sign(x - t) dy."""

    def one(x, t):
        d = x - t
        return d / beta if abs(d) < beta else math.copysign(1, d)

    return _gradient(one, dy, reduction, x, target)


def binary_cross_entropy_with_logits(x, target, weight, pos_weight, reduction):
    """L = -w (v t log(s) + (1 - t) log(1 - s)), reduced; s = sigmoid(x), v = pos_weight."""

    def one(x, t, w, v):
        return w * (v * t * _softplus(-x) + (1 - t) * _softplus(x))

    return _reduced(one, reduction, x, target, *_weights(x, weight, pos_weight))


def binary_cross_entropy_with_logits_grad(dy, x, target, weight, pos_weight, reduction):
    """dx = w ((1 - t) s - v t (1 - s)) dy, s = sigmoid(x)."""

    def one(x, t, w, v):
        return w * ((1 - t) * _sigmoid(x) - v * t * _sigmoid(-x))

    return _gradient(one, dy, reduction, x, target, *_weights(x, weight, pos_weight))


def binary_cross_entropy_with_logits_target_grad(dy, x, weight, pos_weight, reduction):
    """dt = w (log(1 - s) - v log(s)) dy, s = sigmoid(x)."""

    def one(x, w, v):
        return w * (v * _softplus(-x) - _softplus(x))

    return _gradient(one, dy, reduction, x, *_weights(x, weight, pos_weight))


def cross_entropy(x, target, weight, ignore_index, label_smoothing, reduction):
    """L = -sum over c of q_c log(softmax(x)_c), with q of :func:`_target_row`.

    The mean divides by the sum of the weights of the targets that are not ignored.
    """
    losses, log_sum = np.zeros(target.shape), np.zeros(target.shape)
    divisor = 0.0
    for place in np.ndindex(*target.shape):
        row, label = _row(x, place), int(target[place])
        log_sum[place] = _log_sum_exp(row)
        if label != ignore_index:
            q = _target_row(label, x.shape[1], weight, label_smoothing)
            losses[place] = math.fsum(a * (log_sum[place] - b) for a, b in zip(q, row) if a)
            divisor += 1.0 if weight is None else float(weight[label])
    loss = _finish(losses, divisor, reduction, x.dtype)
    return loss, log_sum.astype(x.dtype), divisor


def cross_entropy_grad(
    dy, x, log_sum, target, weight, ignore_index, label_smoothing, reduction, divisor
):
    """dx_c = (sum(q) softmax(x)_c - q_c) dy; 0 in ignored rows."""
    dx = np.zeros(x.shape, x.dtype)
    for place in np.ndindex(*target.shape):
        label = int(target[place])
        if label == ignore_index:
            continue
        q = _target_row(label, x.shape[1], weight, label_smoothing)
        here = _row_gradient(dy, place, reduction, divisor)
        for c, value in enumerate(_row(x, place)):
            p = math.exp(value - float(log_sum[place]))
            dx[_class(place, c)] = (math.fsum(q) * p - q[c]) * here
    return dx


def soft_cross_entropy(x, target, weight, label_smoothing, reduction):
    """L = -sum over c of w_c q_c log(softmax(x)_c), q the smoothed probabilities."""
    losses, log_sum = np.zeros(_places(x)), np.zeros(_places(x))
    for place in np.ndindex(*losses.shape):
        row = _row(x, place)
        log_sum[place] = _log_sum_exp(row)
        q = _soft_row(_row(target, place), weight, label_smoothing)
        losses[place] = math.fsum(a * (log_sum[place] - b) for a, b in zip(q, row))
    return _finish(losses, losses.size, reduction, x.dtype), log_sum.astype(x.dtype)


def soft_cross_entropy_grad(dy, x, log_sum, target, weight, label_smoothing, reduction):
    """dx_c = (sum(w q) softmax(x)_c - w_c q_c) dy."""
    dx = np.zeros(x.shape, x.dtype)
    for place in np.ndindex(*_places(x)):
        q = _soft_row(_row(target, place), weight, label_smoothing)
        here = _row_gradient(dy, place, reduction, log_sum.size)
        for c, value in enumerate(_row(x, place)):
            p = math.exp(value - float(log_sum[place]))
            dx[_class(place, c)] = (math.fsum(q) * p - q[c]) * here
    return dx


def soft_cross_entropy_target_grad(dy, x, log_sum, weight, label_smoothing, reduction):
    """dt_c = -(1 - label_smoothing) w_c log(softmax(x)_c) dy."""
    dt = np.zeros(x.shape, x.dtype)
    for place in np.ndindex(*_places(x)):
        here = _row_gradient(dy, place, reduction, log_sum.size)
        for c, value in enumerate(_row(x, place)):
            w = 1.0 if weight is None else float(weight[c])
            log_p = value - float(log_sum[place])
            dt[_class(place, c)] = (label_smoothing - 1) * w * log_p * here
    return dt


def _target_row(label, classes, weight, label_smoothing):
    """q_c = w_c ((1 - e) [c = label] + e / C)."""
    one_hot = [1.0 if c == label else 0.0 for c in range(classes)]
    return _soft_row(one_hot, weight, label_smoothing)


def _soft_row(probabilities, weight, label_smoothing):
    classes = len(probabilities)
    smoothed = [(1 - label_smoothing) * p + label_smoothing / classes for p in probabilities]
    return [q * (1.0 if weight is None else float(weight[c])) for c, q in enumerate(smoothed)]


def _class(place, c):
    """Return the index of class `c` at `place`, the index without the class axis."""
    return (place[0], c, *place[1:])


def _row(x, place):
    return [float(x[_class(place, c)]) for c in range(x.shape[1])]


def _places(x):
    return (x.shape[0], *x.shape[2:])


def _log_sum_exp(row):
    largest = max(row, key=lambda v: math.inf if math.isnan(v) else v)
    return largest + math.log(math.fsum(math.exp(v - largest) for v in row))


def _softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _weights(x, *weights):
    return [np.broadcast_to(1.0 if w is None else w, x.shape) for w in weights]


def _reduced(function, reduction, *arrays):
    """Apply `function` to the numbers at each place, and reduce."""
    losses = np.zeros(arrays[0].shape)
    for index in np.ndindex(*losses.shape):
        losses[index] = function(*(float(a[index]) for a in arrays))
    return _finish(losses, losses.size, reduction, arrays[0].dtype)


def _finish(losses, count, reduction, dtype):
    if reduction == "none":
        return losses.astype(dtype)
    total = math.fsum(losses.flat)
    if reduction == "mean":
        total = total / count if count else math.nan
    return np.asarray(total, dtype)


def _gradient(function, dy, reduction, *arrays):
    """Apply `function` to the numbers at each place, times the gradient that reaches it."""
    dx = np.zeros(arrays[0].shape, arrays[0].dtype)
    for index in np.ndindex(*dx.shape):
        here = _row_gradient(dy, index, reduction, dx.size)
        dx[index] = function(*(float(a[index]) for a in arrays)) * here
    return dx


def _row_gradient(dy, place, reduction, divisor):
    if reduction == "none":
        return float(dy[place])
    return float(dy) / divisor if reduction == "mean" else float(dy)
