"""Loss functions as loops: one number, or one row of logits, at a time, in float64."""

from __future__ import annotations

import math

import numpy as np


def times(dx, dy):
    """dx dy, with dy broadcast."""
    result = np.zeros_like(dx)
    for index in np.ndindex(*dx.shape):
        result[index] = float(dx[index]) * float(np.broadcast_to(dy, dx.shape)[index])
    return result


def mse_loss(x, target, reduction, gradient):
    """L = (x - t)**2, reduced; dx = 2 (x - t)."""
    loss = _reduced(lambda x, t: (x - t) ** 2, reduction, x, target)
    return loss, _gradient(gradient, lambda x, t: 2 * (x - t), reduction, x, target)


def l1_loss(x, target, reduction, gradient):
    """L = |x - t|, reduced; dx = sign(x - t)."""
    loss = _reduced(lambda x, t: abs(x - t), reduction, x, target)
    return loss, _gradient(gradient, lambda x, t: float(x > t) - float(x < t), reduction, x, target)


def smooth_l1_loss(x, target, beta, reduction, gradient):
    """L = d**2 / (2 beta) if d < beta, else d - beta / 2, reduced; d = |x - t|.

    dx = (x - t) / beta if d < beta, else sign(x - t).
    """

    def one(x, t):
        d = abs(x - t)
        return d * d / (2 * beta) if d < beta else d - beta / 2

    def slope(x, t):
        d = x - t
        return d / beta if abs(d) < beta else math.copysign(1, d)

    loss = _reduced(one, reduction, x, target)
    return loss, _gradient(gradient, slope, reduction, x, target)


def binary_cross_entropy_with_logits(x, target, weight, pos_weight, reduction, gradient):
    """L = -w (v t log(s) + (1 - t) log(1 - s)), reduced; s = sigmoid(x), v = pos_weight.

    dx = w ((1 - t) s - v t (1 - s)).
    """

    def one(x, t, w, v):
        return w * (v * t * _softplus(-x) + (1 - t) * _softplus(x))

    def slope(x, t, w, v):
        return w * ((1 - t) * _sigmoid(x) - v * t * _sigmoid(-x))

    arrays = x, target, *_weights(x, weight, pos_weight)
    return _reduced(one, reduction, *arrays), _gradient(gradient, slope, reduction, *arrays)


def binary_cross_entropy(x, target, weight, reduction, gradient):
    """L = -w (t log(x) + (1 - t) log(1 - x)), reduced; dx = w ((1 - t) / (1 - x) - t / x).

    With 0 log(0) = 0 and 0 / 0 = 0.
    """

    def one(x, t, w):
        return -w * ((t and t * _log(x)) + ((1 - t) and (1 - t) * _log1p(-x)))

    def slope(x, t, w):
        return w * (_ratio(1 - t, 1 - x) - _ratio(t, x))

    arrays = x, target, *_weights(x, weight)
    return _reduced(one, reduction, *arrays), _gradient(gradient, slope, reduction, *arrays)


def cross_entropy(x, target, weight, ignore_index, label_smoothing, reduction, gradient):
    """L = -sum over c of q_c log(p_c), with p = softmax(x) and q of :func:`_target_row`.

    dx_c = sum(q) p_c - q_c. The mean divides by the sum of the weights of the targets that
    are not ignored, which is returned as well.
    """
    losses, dx = np.zeros(target.shape), np.zeros(x.shape)
    divisor = 0.0
    for place in np.ndindex(*target.shape):
        label = int(target[place])
        if label != ignore_index:
            q = _target_row(label, x.shape[1], weight, label_smoothing)
            losses[place] = _row_loss(q, x, place, dx)
            divisor += 1.0 if weight is None else float(weight[label])
    divisor = divisor if reduction == "mean" else 1.0
    loss = _finish(losses, divisor, reduction, x.dtype)
    return loss, (dx / (divisor or 1)).astype(x.dtype) if gradient else None, divisor


def soft_cross_entropy(x, target, weight, label_smoothing, reduction, gradient):
    """L = -sum over c of w_c q_c log(p_c), q the smoothed probabilities, p = softmax(x).

    dx_c = sum(w q) p_c - w_c q_c.
    """
    losses, dx = np.zeros(_places(x)), np.zeros(x.shape)
    for place in np.ndindex(*losses.shape):
        q = _soft_row(_row(target, place), weight, label_smoothing)
        losses[place] = _row_loss(q, x, place, dx)
    divisor = max(losses.size, 1) if reduction == "mean" else 1
    loss = _finish(losses, losses.size, reduction, x.dtype)
    return loss, (dx / divisor).astype(x.dtype) if gradient else None


def nll_loss(x, target, weight, ignore_index, reduction, gradient):
    """L = -w_t x_t, reduced; dx_c = -w_t [c = t]; the mean as for :func:`cross_entropy`."""
    losses, dx = np.zeros(target.shape), np.zeros(x.shape)
    divisor = 0.0
    for place in np.ndindex(*target.shape):
        label = int(target[place])
        if label != ignore_index:
            w = 1.0 if weight is None else float(weight[label])
            losses[place] = -w * float(x[_class(place, label)])
            dx[_class(place, label)] = -w
            divisor += w
    divisor = divisor if reduction == "mean" else 1.0
    loss = _finish(losses, divisor, reduction, x.dtype)
    return loss, (dx / (divisor or 1)).astype(x.dtype) if gradient else None, divisor


def focal_loss(x, target, weight, ignore_index, gamma, reduction, gradient):
    """L = -w_t (1 - p_t)**gamma log(p_t), reduced; p = softmax(x).

    dx_c = w_t ((1 - p_t)**gamma - gamma (1 - p_t)**(gamma - 1) p_t log(p_t)) (p_c - [c = t]).
    The mean divides by the number of rows that are not ignored.
    """
    losses, dx = np.zeros(target.shape), np.zeros(x.shape)
    count = 0
    for place in np.ndindex(*target.shape):
        label = int(target[place])
        if label == ignore_index:
            continue
        count += 1
        row, w = _row(x, place), 1.0 if weight is None else float(weight[label])
        others = math.exp(_log_sum_exp(row[:label] + row[label + 1 :]) - _log_sum_exp(row))
        entropy = _softplus(_log_sum_exp(row[:label] + row[label + 1 :]) - row[label])
        losses[place] = w * others**gamma * entropy
        ratio = entropy / others if others else 1.0
        slope = w * others**gamma * (1 + gamma * ratio * math.exp(-entropy))
        for c, value in enumerate(row):
            p = math.exp(value - _log_sum_exp(row))
            dx[_class(place, c)] = slope * (p if c != label else -others)
    divisor = max(count, 1) if reduction == "mean" else 1
    loss = _finish(losses, max(count, 1), reduction, x.dtype)
    return loss, (dx / divisor).astype(x.dtype) if gradient else None


def lovasz_weights(errors, truth, kept):
    """How much 1 - Jaccard grows when each pixel is wrong too, by falling error.

    A wrong set M costs |M| / |truth or M|: Berman et al., CVPR 2018, equations 6 and 8.
    """
    weights = np.zeros(errors.shape, errors.dtype)
    for r, row in enumerate(errors):
        pixels = sorted(np.flatnonzero(kept[r]).tolist(), key=lambda i: -float(row[i]))
        inside = {i for i in pixels if truth[r, i]}
        wrong, before = set(), 0.0
        for i in pixels:
            wrong.add(i)
            cost = len(wrong) / len(inside | wrong)
            weights[r, i], before = cost - before, cost
    return weights


def overlap(p, labels, kept, squared):
    """y_0 = sum of p [label = c], y_1 = sum of p (or p**2), over the pixels of an image."""
    sums = np.zeros((2, *p.shape[:2]))
    for n, c in np.ndindex(*p.shape[:2]):
        for place in np.ndindex(*p.shape[2:]):
            if kept is None or kept[(n, *place)]:
                value, name = float(p[(n, c, *place)]), 1 if p.shape[1] == 1 else c
                sums[0, n, c] += value * (labels[(n, *place)] == name)
                sums[1, n, c] += value**2 if squared else value
    return sums.astype(p.dtype)


def overlap_grad(dy, p, labels, kept, squared):
    """dp = dy_0 [label = c] + dy_1 (or 2 p dy_1); 0 in pixels that do not count."""
    dp = np.zeros(p.shape, p.dtype)
    for n, c, *place in np.ndindex(*p.shape):
        if kept is None or kept[(n, *place)]:
            here, name = (n, c, *place), 1 if p.shape[1] == 1 else c
            slope = 2 * float(p[here]) if squared else 1.0
            hit = float(labels[(n, *place)] == name)
            dp[here] = hit * float(dy[0, n, c]) + slope * float(dy[1, n, c])
    return dp


def _row_loss(q, x, place, dx):
    """Return -sum of q log(p) in one row; write its gradient, sum(q) p - q, into dx."""
    row = _row(x, place)
    log_sum = _log_sum_exp(row)
    for c, value in enumerate(row):
        dx[_class(place, c)] = math.fsum(q) * math.exp(value - log_sum) - q[c]
    return math.fsum(a * (log_sum - b) for a, b in zip(q, row) if a)


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


def _log(x):
    return math.log(x) if x > 0 else -math.inf


def _log1p(x):
    return math.log1p(x) if x > -1 else -math.inf


def _ratio(a, b):
    return a / b if b else math.copysign(math.inf, a) if a else 0.0


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


def _gradient(wanted, function, reduction, *arrays):
    """Apply `function` to the numbers at each place, or return None; the mean divides by n."""
    if not wanted:
        return None
    x = arrays[0]
    dx = np.zeros(x.shape, x.dtype)
    for index in np.ndindex(*dx.shape):
        dx[index] = function(*(float(a[index]) for a in arrays))
        dx[index] /= x.size if reduction == "mean" else 1
    return dx
