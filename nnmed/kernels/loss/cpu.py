"""Loss functions on the CPU.

The signatures are those of ``reference.py``. A function returns the loss and, if `gradient`
is true, its gradient by the first input for dy = 1 (else None), which is cheap while the
inputs are in the cache. `reduction` is ``"none"``, ``"mean"`` or ``"sum"``.
"""

from __future__ import annotations

import numpy as np

from nnmed.kernels.elementwise import flatten, for_chunks, memory_order, take, zeros
from nnmed.kernels.loss.cross_entropy import cross_entropy, nll_loss, soft_cross_entropy
from nnmed.kernels.loss.focal import focal_loss
from nnmed.kernels.loss.lovasz import lovasz_weights
from nnmed.kernels.loss.one_pass import one_pass
from nnmed.kernels.loss.overlap import overlap, overlap_grad

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "focal_loss",
    "l1_loss", "lovasz_weights", "mse_loss", "nll_loss", "overlap", "overlap_grad",
    "smooth_l1_loss", "soft_cross_entropy", "times",
]  # fmt: skip


def times(dx, dy):
    """Multiply the gradient `dx`, dense in memory, by `dy`, broadcast; in place."""
    if dy.ndim == 0 and dy == 1:
        return dx
    order = memory_order(dx)
    flat_dx, flat_dy = flatten(dx, order), flatten(np.broadcast_to(dy, dx.shape), order)

    def task(_, start, stop):
        here = flat_dx[start:stop]
        np.multiply(here, take(flat_dy, start, stop), out=here)

    for_chunks(task, dx.size)
    return dx


def mse_loss(x, target, reduction, gradient):
    """Return (x - target)**2, reduced."""

    def chunk(dx, x, target):
        np.subtract(x, target, out=dx)
        return [(1.0, dx, dx)]

    return one_pass(chunk, reduction, gradient, x, target, slope=2.0)


def l1_loss(x, target, reduction, gradient):
    """Return abs(x - target), reduced; the gradient is 0 where x equals target."""
    # Twice this factor takes the smallest number beyond 1. np.sign is ten times slower.
    large = 1e23 if x.dtype == np.float32 else 1e162

    def chunk(dx, x, target, distance):
        np.subtract(x, target, out=dx)
        np.abs(dx, out=distance)
        np.multiply(dx, large, out=dx)
        np.multiply(dx, large, out=dx)
        np.clip(dx, -1, 1, out=dx)
        return [(1.0, distance, None)]

    return one_pass(chunk, reduction, gradient, x, target, scratch=1)


def smooth_l1_loss(x, target, beta, reduction, gradient):
    """Return d**2 / (2 beta) where abs(d) < beta, else abs(d) - beta / 2; d = x - target."""

    def chunk(dx, x, target, difference):
        # With n = clip(d, -beta, beta), both cases are (n d - n n / 2) / beta.
        np.subtract(x, target, out=difference)
        np.clip(difference, -beta, beta, out=dx)
        return [(1 / beta, difference, dx), (-0.5 / beta, dx, dx)]

    return one_pass(chunk, reduction, gradient, x, target, scratch=1, slope=1 / beta)


def binary_cross_entropy_with_logits(x, target, weight, pos_weight, reduction, gradient):
    """Return w ((1 - t) softplus(x) + v t softplus(-x)), reduced; softplus = log(1 + exp).

    Each term is exact far from 0, where the usual ``(1 - t) x + softplus(-x)`` cancels. So
    is the gradient, w ((1 - t) sigmoid(x) - v t sigmoid(-x)).
    """
    weights = [np.broadcast_to(w, x.shape) for w in (weight, pos_weight) if w is not None]

    def chunk(dx, x, target, *rest):
        above, below, up, down, negatives, positives = rest[len(weights) :]
        zero, factor = zeros(x.size, x.dtype), None if weight is None else rest[0]
        np.maximum(x, zero, out=above)
        np.minimum(x, zero, out=below)
        np.subtract(1, target, out=negatives)
        np.multiply(target, 1 if pos_weight is None else rest[len(weights) - 1], out=positives)
        # sigmoid(x) = up / (1 + up down) and sigmoid(-x) = down / (1 + up down)
        np.exp(below, out=up)
        np.negative(above, out=down)
        np.exp(down, out=down)
        np.multiply(negatives, up, out=dx)
        np.multiply(up, down, out=up)
        np.multiply(positives, down, out=down)
        np.subtract(dx, down, out=dx)
        np.add(up, 1, out=down)
        np.divide(dx, down, out=dx)
        if factor is not None:
            np.multiply(dx, factor, out=dx)
        # softplus(x) = log1p(up down) + max(x, 0)
        np.log1p(up, out=up)
        np.add(above, up, out=above)
        np.multiply(above, negatives, out=above)
        np.subtract(up, below, out=up)
        np.multiply(up, positives, out=up)
        return [(1.0, np.add(above, up, out=above), factor)]

    return one_pass(chunk, reduction, gradient, x, target, *weights, scratch=6)


def binary_cross_entropy(x, target, weight, reduction, gradient):
    """Return -w (t log(x) + (1 - t) log(1 - x)), reduced, with 0 log(0) = 0.

    The gradient is w ((1 - t) / (1 - x) - t / x) with 0 / 0 = 0.
    """
    weights = [] if weight is None else [np.broadcast_to(weight, x.shape)]

    def chunk(dx, x, target, *rest):
        *factor, above, below, negatives, value, other = rest
        # Where a factor is 0, its logarithm is taken of 1.
        np.copyto(above, np.equal(target, 0))
        np.maximum(above, x, out=above)
        np.copyto(below, np.not_equal(target, 1))
        np.minimum(below, x, out=below)
        np.negative(below, out=below)
        np.subtract(1, target, out=negatives)
        np.log(above, out=value)
        np.multiply(value, target, out=value)
        np.log1p(below, out=other)
        np.multiply(other, negatives, out=other)
        np.add(value, other, out=value)
        np.add(below, 1, out=below)
        np.divide(negatives, below, out=dx)
        np.divide(target, above, out=above)
        np.subtract(dx, above, out=dx)
        if factor:
            np.multiply(dx, *factor, out=dx)
        return [(-1.0, value, *(factor or [None]))]

    return one_pass(chunk, reduction, gradient, x, target, *weights, scratch=5)
