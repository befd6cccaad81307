"""Losses of rows of logits on the GPU: rows.cu."""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed.backend.arrays import array_module, empty_like
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.elementwise import dense, in_order
from nnmed.kernels.loss.gpu_sums import finished, shares, summed

WARP = 32

_source = Source(__file__, "rows.cu")


def cross_entropy(x, target, weight, ignore_index, label_smoothing, reduction, gradient):
    """Return the loss of class indices, its gradient, and what the mean divides by."""
    rows = _Rows(x)
    labels = rows.per_row(target)
    divisor = rows.divisor(labels, weight, ignore_index) if reduction == "mean" else None
    arguments = labels, weight, divisor, np.int64(ignore_index), float(label_smoothing)
    loss, dx = rows.loss("cross_entropy", reduction, gradient, arguments, divisor)
    return loss, dx, 1.0 if divisor is None else divisor


def soft_cross_entropy(x, target, weight, label_smoothing, reduction, gradient):
    """Return the loss of class probabilities, and its gradient by the logits."""
    rows = _Rows(x)
    count = rows.count if reduction == "mean" else 1
    arguments = in_order(target, rows.order), weight, float(label_smoothing), 1 / max(count, 1)
    return rows.loss("soft_cross_entropy", reduction, gradient, arguments, fixed=count)


def nll_loss(x, target, weight, ignore_index, reduction, gradient):
    """Return minus the label's element of x, its gradient, and what the mean divides by."""
    rows = _Rows(x)
    labels = rows.per_row(target)
    divisor = rows.divisor(labels, weight, ignore_index) if reduction == "mean" else None
    arguments = labels, weight, divisor, np.int64(ignore_index)
    loss, dx = rows.loss("nll_loss", reduction, gradient, arguments, divisor)
    return loss, dx, 1.0 if divisor is None else divisor


def focal_loss(x, target, weight, ignore_index, gamma, reduction, gradient):
    """Return -w_t (1 - p_t)**gamma log(p_t) of class indices, reduced, and its gradient."""
    rows = _Rows(x)
    labels, divisor = rows.per_row(target), None
    if reduction == "mean":
        divisor = rows.divisor(labels, None, ignore_index, least=1)
    tiny = float(np.finfo(x.dtype).tiny)
    arguments = labels, weight, divisor, np.int64(ignore_index), float(gamma), tiny
    return rows.loss("focal_loss", reduction, gradient, arguments, divisor)


class _Rows:
    """The rows of logits (N, C, ...) along the classes, in the order of memory."""

    def __init__(self, x):
        self.x, self.order = dense(x)
        position = self.order.index(1)
        lengths = [x.shape[axis] for axis in self.order]
        self.classes, self.inner = x.shape[1], prod(lengths[position + 1 :])
        self.count = prod(lengths[:position]) * self.inner
        self.lanes = WARP if self.inner == 1 and self.classes >= WARP else 1
        # The axes of an array without the classes.
        self.row_order = [axis - (axis > 1) for axis in self.order if axis != 1]

    def per_row(self, labels):
        """Return the labels, (N, ...), as int64 in the order of the rows."""
        ordered = labels.transpose(self.row_order).astype(np.int64, copy=False)
        return array_module(labels).ascontiguousarray(ordered)

    def divisor(self, labels, weight, ignore_index, least=0):
        """Return the sum of the weights of the labels that are not ignored, on the card."""
        blocks, each = shares(self.count)
        parts = array_module(labels).empty(blocks, np.float64)
        arguments = labels, weight, parts, np.int64(ignore_index), each, self.count, self.classes
        _source.launch("label_weights", self.x.dtype, (blocks,), (THREADS,), *arguments)
        return summed(parts, least)

    def loss(self, kernel, reduction, gradient, arguments, divisor=None, fixed=1):
        """Return the reduced loss, and its gradient by the logits if wanted."""
        xp, x = array_module(self.x), self.x
        lengths = [x.shape[axis] for axis in self.order if axis != 1]
        losses = xp.empty(lengths, x.dtype) if reduction == "none" else None
        dx = empty_like(x) if gradient else None
        blocks, each = shares(self.count * self.lanes)
        parts = None if losses is not None else xp.empty(blocks, np.float64)
        _source.launch(
            kernel, x.dtype, (blocks,), (THREADS,), x, *arguments, losses, dx, parts, each,
            self.count, self.classes, self.inner, self.lanes,
        )  # fmt: skip
        if losses is None:
            return finished(parts, x.dtype, divisor, fixed), dx
        back = [self.row_order.index(axis) for axis in range(len(lengths))]
        return losses.transpose(back), dx
