"""Softmax and cross-entropy in one: no array of probabilities is ever made.

Logits are (N, C, ...), class indices (N, ...), class probabilities (N, C, ...). Forward
keeps one number a row, log(sum(exp(x))); with it the gradient needs one exp an element.
"""

from __future__ import annotations

import numpy as np

from nnmed.kernels.elementwise import finish
from nnmed.kernels.rows import Rows


def cross_entropy(x, target, weight, ignore_index, label_smoothing, reduction):
    """Return the loss of class indices.

    Returns
    -------
    loss : array
        (N, ...) for ``"none"``, else 0-d.
    log_sum : array
        (N, ...), log(sum(exp(x))) over the classes.
    divisor : float
        What the mean divides by: the sum of the weights of the targets not ignored.
    """
    rows = Rows(x, 1)
    logits, labels = rows.view(rows.x), rows.view_per_row(target)
    log_sum, loss = np.empty(rows.shape, x.dtype), np.empty(rows.shape, x.dtype)
    sums, divisors = np.zeros(len(rows.blocks)), np.zeros(len(rows.blocks))
    per_class, weights_sum = _class_weights(weight, rows, x.dtype)

    def task(index, block):
        shifted, largest, log_total = _shifted(rows, logits, block)
        labels_here = labels[block].reshape(-1)
        row_weight, safe = _row_weights(labels_here, weight, ignore_index, x.dtype)
        picked = shifted[_at(rows, safe)]
        value = (log_total - picked) * row_weight
        if label_smoothing:
            value *= 1 - label_smoothing
            spread = weights_sum * log_total - _sum(rows, shifted, per_class)
            spread *= label_smoothing / rows.classes
            value += spread
        value[labels_here == ignore_index] = 0
        log_sum[block] = (log_total + largest).reshape(log_sum[block].shape)
        loss[block] = value.reshape(loss[block].shape)
        sums[index], divisors[index] = value.sum(), row_weight.sum()

    rows.for_blocks(task)
    log_sum, divisor = rows.from_per_row(log_sum), float(divisors.sum())
    if reduction == "none":
        return rows.from_per_row(loss), log_sum, divisor
    return finish(sums.sum(), divisor, reduction, x.dtype), log_sum, divisor


def cross_entropy_grad(
    dy, x, log_sum, target, weight, ignore_index, label_smoothing, reduction, divisor
):
    """Return the gradient by x; ignored rows get exactly 0."""
    rows = Rows(x, 1)
    logits, labels = rows.view(rows.x), rows.view_per_row(target)
    log_sums, gradients = rows.view_per_row(log_sum), _row_gradients(dy, rows, reduction, divisor)
    result = rows.empty()
    output = rows.view(result)
    per_class, weights_sum = _class_weights(weight, rows, x.dtype)
    share = label_smoothing / rows.classes

    def task(_, block):
        p = rows.read(logits, block)
        np.subtract(p, rows.along(log_sums[block]), out=p)
        np.exp(p, out=p)
        labels_here = labels[block].reshape(-1)
        row_weight, safe = _row_weights(labels_here, weight, ignore_index, x.dtype)
        row_weight *= 1 - label_smoothing
        here = np.where(labels_here == ignore_index, 0, gradients[block].reshape(-1))
        here = here.astype(x.dtype, copy=False)
        np.multiply(p, rows.along((row_weight + share * weights_sum) * here), out=p)
        if label_smoothing:
            p -= rows.along(here) * (per_class * share)
        p[_at(rows, safe)] -= row_weight * here
        rows.write(output, block, p)

    rows.for_blocks(task)
    return result


def soft_cross_entropy(x, target, weight, label_smoothing, reduction):
    """Return the loss of class probabilities, and log(sum(exp(x))) over the classes."""
    rows = Rows(x, 1)
    logits, probabilities = rows.view(rows.x), rows.view(target)
    log_sum, loss = np.empty(rows.shape, x.dtype), np.empty(rows.shape, x.dtype)
    sums = np.zeros(len(rows.blocks))
    per_class, _ = _class_weights(weight, rows, x.dtype)

    def task(index, block):
        shifted, largest, log_total = _shifted(rows, logits, block)
        np.subtract(shifted, rows.along(log_total), out=shifted)
        q = _smoothed(rows, probabilities, block, per_class, label_smoothing)
        value = -_sum(rows, shifted, q)
        log_sum[block] = (log_total + largest).reshape(log_sum[block].shape)
        loss[block] = value.reshape(loss[block].shape)
        sums[index] = value.sum()

    rows.for_blocks(task)
    log_sum = rows.from_per_row(log_sum)
    if reduction == "none":
        return rows.from_per_row(loss), log_sum
    return finish(sums.sum(), loss.size, reduction, x.dtype), log_sum


def soft_cross_entropy_grad(dy, x, log_sum, target, weight, label_smoothing, reduction):
    """Return the gradient of :func:`soft_cross_entropy` by x."""
    rows = Rows(x, 1)
    probabilities = rows.view(target)
    per_class, _ = _class_weights(weight, rows, x.dtype)

    def gradient(log_p, here, block):
        q = _smoothed(rows, probabilities, block, per_class, label_smoothing)
        np.exp(log_p, out=log_p)
        np.multiply(log_p, q.sum(rows.axis, keepdims=True), out=log_p)
        np.subtract(log_p, q, out=log_p)
        return np.multiply(log_p, here, out=log_p)

    return _soft_gradient(gradient, rows, dy, log_sum, reduction)


def soft_cross_entropy_target_grad(dy, x, log_sum, weight, label_smoothing, reduction):
    """Return the gradient of :func:`soft_cross_entropy` by the probabilities."""
    rows = Rows(x, 1)
    per_class, _ = _class_weights(weight, rows, x.dtype)
    factor = per_class * (label_smoothing - 1)

    def gradient(log_p, here, block):
        np.multiply(log_p, factor, out=log_p)
        return np.multiply(log_p, here, out=log_p)

    return _soft_gradient(gradient, rows, dy, log_sum, reduction)


def _soft_gradient(gradient, rows, dy, log_sum, reduction):
    logits, log_sums = rows.view(rows.x), rows.view_per_row(log_sum)
    here = _row_gradients(dy, rows, reduction, log_sum.size)
    result = rows.empty()
    output = rows.view(result)

    def task(_, block):
        log_p = rows.read(logits, block)
        np.subtract(log_p, rows.along(log_sums[block]), out=log_p)
        rows.write(output, block, gradient(log_p, rows.along(here[block]), block))

    rows.for_blocks(task)
    return result


def _shifted(rows, logits, block):
    """Return x - max, max, and log(sum(exp(x - max))) of a block's rows."""
    shifted = rows.read(logits, block)
    largest = shifted.max(rows.axis)
    np.subtract(shifted, rows.along(largest), out=shifted)
    powers = rows.temporary(block, shifted.dtype, slot=1)
    np.exp(shifted, out=powers)
    return shifted, largest, np.log(powers.sum(rows.axis))


def _smoothed(rows, probabilities, block, per_class, label_smoothing):
    q = rows.read(probabilities, block, slot=1)
    if label_smoothing:
        np.multiply(q, 1 - label_smoothing, out=q)
        np.add(q, label_smoothing / rows.classes, out=q)
    return np.multiply(q, per_class, out=q)


def _class_weights(weight, rows, dtype):
    """Return the weights so that they broadcast against a block, and their sum."""
    if weight is None:
        return dtype.type(1), float(rows.classes)
    shape = (-1, 1) if rows.axis == 0 else (1, -1)
    return np.ascontiguousarray(weight).reshape(shape), float(weight.sum(dtype=np.float64))


def _row_weights(labels, weight, ignore_index, dtype):
    """Return each row's weight (0 where ignored), and the labels with 0 where ignored."""
    ignored = labels == ignore_index
    safe = np.where(ignored, 0, labels)
    if weight is None:
        return (~ignored).astype(dtype), safe
    return np.where(ignored, dtype.type(0), weight[safe]), safe


def _row_gradients(dy, rows, reduction, divisor):
    """Return the gradient that reaches each row's loss, (outer, inner)."""
    if reduction == "none":
        return rows.view_per_row(dy)
    scale = 1.0 if reduction == "sum" else 1 / (divisor or 1)
    return np.broadcast_to(np.asarray(dy * scale, dy.dtype), rows.shape)


def _at(rows, labels):
    """Return the index, in a block, of each row's label."""
    numbers = np.arange(labels.size)
    return (labels, numbers) if rows.axis == 0 else (numbers, labels)


def _sum(rows, values, factors):
    """Return the sum over the classes of values * factors, a number a row."""
    return np.multiply(values, factors).sum(rows.axis)
