"""Softmax and cross-entropy in one: value and gradient in one pass over the logits.

Logits are (N, C, ...), class indices (N, ...), class probabilities (N, C, ...). If `gradient`
is true, the gradient by the logits for dy = 1 comes with the loss, else None: it costs
little beyond the softmax, which the loss needs.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import zeros_like
from nnmed.kernels.loss.one_pass import finish
from nnmed.kernels.rows import Rows


def cross_entropy(x, target, weight, ignore_index, label_smoothing, reduction, gradient):
    """Return the loss of class indices, its gradient, and what the mean divides by.

    That is the sum of the weights of the targets that are not ignored. Ignored rows have
    no loss and a gradient of exactly 0.
    """
    rows = Rows(x, 1)
    labels = rows.view_per_row(target)
    divisor = _divisor(target, weight, ignore_index) if reduction == "mean" else 1.0
    scale, share = 1 / (divisor or 1), label_smoothing / rows.classes
    per_class, weights_sum = _class_weights(weight, rows, x.dtype)

    def of_block(block, shifted, powers):
        safe, ignored = without_ignored(labels[block].reshape(-1), ignore_index)
        hit = (1 - label_smoothing) * (1 if weight is None else weight[safe])
        place, total = places(rows, safe), powers.sum(rows.axis)
        log_total = np.log(total)
        value = (log_total - shifted.take(place)) * hit
        if label_smoothing:
            spread = weights_sum * log_total - np.multiply(shifted, per_class).sum(rows.axis)
            value += spread * share
        if ignored is not None:
            value[ignored] = 0
        if gradient:
            hit = hit * scale
            np.multiply(powers, rows.along((hit + weights_sum * share * scale) / total), out=powers)
            if label_smoothing:
                np.subtract(powers, per_class * (share * scale), out=powers)
            powers.reshape(-1)[place] -= hit
            if ignored is not None:
                np.copyto(powers, 0, where=rows.along(ignored))
        return value, powers

    loss, dx = walk(of_block, rows, reduction, gradient, divisor)
    return loss, dx, divisor


def soft_cross_entropy(x, target, weight, label_smoothing, reduction, gradient):
    """Return the loss of class probabilities, and its gradient by the logits."""
    rows = Rows(x, 1)
    probabilities = rows.view(target)
    count = x.size // rows.classes
    scale = 1 / max(count, 1) if reduction == "mean" else 1.0
    per_class, _ = _class_weights(weight, rows, x.dtype)

    def of_block(block, shifted, powers):
        q = rows.read(probabilities, block, slot=2)
        if label_smoothing:
            np.multiply(q, 1 - label_smoothing, out=q)
            np.add(q, label_smoothing / rows.classes, out=q)
        if weight is not None:
            np.multiply(q, per_class, out=q)
        total = powers.sum(rows.axis, keepdims=True)
        np.subtract(shifted, np.log(total), out=shifted)
        value = -np.multiply(shifted, q, out=shifted).sum(rows.axis)
        if gradient:
            np.multiply(powers, q.sum(rows.axis, keepdims=True) / total, out=powers)
            np.subtract(powers, q, out=powers)
            np.multiply(powers, scale, out=powers)
        return value, powers

    return walk(of_block, rows, reduction, gradient, count)


def nll_loss(x, target, weight, ignore_index, reduction, gradient):
    """Return minus the label's element of x, its gradient, and what the mean divides by."""
    rows = Rows(x, 1)
    logs, labels = rows.view(rows.x), rows.view_per_row(target)
    divisor = _divisor(target, weight, ignore_index) if reduction == "mean" else 1.0
    losses = np.empty(rows.shape, x.dtype)
    dx = zeros_like(rows.x) if gradient else None
    output = rows.view(dx) if gradient else None

    def task(_, block):
        safe, ignored = without_ignored(labels[block], ignore_index)
        minus = x.dtype.type(-1) if weight is None else -weight[safe]
        if ignored is not None:
            minus = np.where(ignored, x.dtype.type(0), minus)
        outer, inner = (np.arange(n)[s] for n, s in zip(rows.shape, block))
        place = (outer[:, None], inner, safe)
        value = logs[place] * minus
        if ignored is not None:
            value[ignored] = 0
        losses[block] = value
        if gradient:
            output[place] = minus * x.dtype.type(1 / (divisor or 1))

    rows.for_blocks(task)
    if reduction == "none":
        return rows.from_per_row(losses), dx, divisor
    total = losses.sum(dtype=np.float64)
    return finish(total, divisor, reduction, x.dtype), dx, divisor


def _divisor(target, weight, ignore_index) -> float:
    """Return the sum of the weights of the labels that are not ignored."""
    kept = target != ignore_index
    if weight is None:
        return float(np.count_nonzero(kept))
    return float(np.bincount(target[kept], minlength=weight.size) @ weight.astype(np.float64))


def without_ignored(labels, ignore_index):
    """Return the labels with 0 where ignored, and where that is (None for nowhere)."""
    ignored = labels == ignore_index
    if not ignored.any():
        return labels, None
    return np.where(ignored, 0, labels), ignored


def walk(of_block, rows, reduction, gradient, divisor):
    """Return loss and gradient of ``value, dx = of_block(block, x - max, exp(x - max))``."""
    logits = rows.view(rows.x)
    losses = np.empty(rows.shape, rows.x.dtype) if reduction == "none" else None
    dx = rows.empty() if gradient else None
    output = None if dx is None else rows.view(dx)
    sums = np.zeros(len(rows.blocks))

    def task(index, block):
        shifted = rows.read(logits, block)
        np.subtract(shifted, shifted.max(rows.axis, keepdims=True), out=shifted)
        powers = np.exp(shifted, out=rows.temporary(block, shifted.dtype, slot=1))
        value, gradients = of_block(block, shifted, powers)
        if losses is None:
            sums[index] = np.sum(value)
        else:
            losses[block] = value.reshape(losses[block].shape)
        if gradient:
            rows.write(output, block, gradients)

    rows.for_blocks(task)
    if losses is not None:
        return rows.from_per_row(losses), dx
    return finish(sums.sum(), divisor, reduction, rows.x.dtype), dx


def _class_weights(weight, rows, dtype):
    """Return the weights so that they broadcast against a block, and their sum."""
    if weight is None:
        return dtype.type(1), float(rows.classes)
    shape = (-1, 1) if rows.axis == 0 else (1, -1)
    return np.ascontiguousarray(weight).reshape(shape), float(weight.sum(dtype=np.float64))


def places(rows, labels):
    """Return where the label of each row stands in a flattened block."""
    labels = labels.astype(np.intp, copy=False)
    numbers = np.arange(labels.size)
    return labels * labels.size + numbers if rows.axis == 0 else numbers * rows.classes + labels
