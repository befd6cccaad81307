"""Loss functions on the CPU: values and gradients in one pass, reduced chunk by chunk.

The signatures are those of ``reference.py``. `reduction` is ``"none"``, ``"mean"`` or
``"sum"``; dy is a 0-d array unless it is ``"none"``.
"""

from __future__ import annotations

import numpy as np

from nnmed.kernels.elementwise import apply, reduce, zeros
from nnmed.kernels.loss.cross_entropy import (
    cross_entropy,
    cross_entropy_grad,
    soft_cross_entropy,
    soft_cross_entropy_grad,
    soft_cross_entropy_target_grad,
)

__all__ = [
    "binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits_grad",
    "binary_cross_entropy_with_logits_target_grad", "cross_entropy", "cross_entropy_grad",
    "l1_loss", "l1_loss_grad", "mse_loss", "mse_loss_grad", "smooth_l1_loss",
    "smooth_l1_loss_grad", "soft_cross_entropy", "soft_cross_entropy_grad",
    "soft_cross_entropy_target_grad",
]  # fmt: skip


def mse_loss(x, target, reduction):
    """Return (x - target)**2, reduced."""

    def chunk(y, x, target):
        np.subtract(x, target, out=y)
        np.square(y, out=y)

    return reduce(chunk, reduction, x, target)


def mse_loss_grad(dy, x, target, reduction):
    """Return the gradient by x; the one by target is its negative."""
    dy = _per_element(dy, x, reduction, factor=2.0)

    def chunk(dx, x, target, dy):
        np.subtract(x, target, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, target, dy)


def l1_loss(x, target, reduction):
    """Return abs(x - target), reduced."""

    def chunk(y, x, target):
        np.subtract(x, target, out=y)
        np.abs(y, out=y)

    return reduce(chunk, reduction, x, target)


def l1_loss_grad(dy, x, target, reduction):
    """Return the gradient by x, 0 where x equals target; by target it is the negative."""
    dy = _per_element(dy, x, reduction)
    # Twice this factor takes the smallest number beyond 1. np.sign is ten times slower.
    large = 1e23 if x.dtype == np.float32 else 1e162

    def chunk(dx, x, target, dy):
        np.subtract(x, target, out=dx)
        np.multiply(dx, large, out=dx)
        np.multiply(dx, large, out=dx)
        np.clip(dx, -1, 1, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, target, dy)


def smooth_l1_loss(x, target, beta, reduction):
    """Return d**2 / (2 beta) where d = abs(x - target) < beta, else d - beta / 2, reduced."""

    def chunk(y, x, target, near, half):
        # With n = min(d, beta), both cases are n (d - n / 2) / beta.
        np.subtract(x, target, out=y)
        np.abs(y, out=y)
        np.clip(y, 0, beta, out=near)  # minimum with a number takes twice as long
        np.multiply(near, -0.5, out=half)
        np.add(y, half, out=y)
        np.multiply(near, 1 / beta, out=near)
        np.multiply(y, near, out=y)

    return reduce(chunk, reduction, x, target, scratch=2)


def smooth_l1_loss_grad(dy, x, target, beta, reduction):
    """Return dy * clip((x - target) / beta, -1, 1); by target it is the negative."""
    dy = _per_element(dy, x, reduction)

    def chunk(dx, x, target, dy):
        np.subtract(x, target, out=dx)
        np.divide(dx, beta, out=dx)
        np.clip(dx, -1, 1, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, target, dy)


def binary_cross_entropy_with_logits(x, target, weight, pos_weight, reduction):
    """Return w ((1 - t) softplus(x) + v t softplus(-x)), reduced; softplus = log(1 + exp).

    Each term is exact far from 0, where the usual ``(1 - t) x + softplus(-x)`` cancels.
    """
    weight, pos_weight = _spread(weight, x), _spread(pos_weight, x)

    def chunk(y, x, target, weight, pos_weight, tail, other):
        zero = zeros(x.size, x.dtype)
        _log1p_exp_minus_abs(tail, x)
        np.maximum(x, zero, out=y)
        np.add(y, tail, out=y)
        np.subtract(1, target, out=other)
        np.multiply(y, other, out=y)
        np.minimum(x, zero, out=other)
        np.subtract(tail, other, out=other)
        np.multiply(other, target, out=other)
        np.multiply(other, pos_weight, out=other)
        np.add(y, other, out=y)
        np.multiply(y, weight, out=y)

    return reduce(chunk, reduction, x, target, weight, pos_weight, scratch=2)


def binary_cross_entropy_with_logits_grad(dy, x, target, weight, pos_weight, reduction):
    """Return dy w ((1 - t) sigmoid(x) - v t sigmoid(-x)), the gradient by x."""
    weight, pos_weight = _spread(weight, x), _spread(pos_weight, x)
    dy = _per_element(dy, x, reduction)

    def chunk(dx, x, target, weight, pos_weight, dy, other):
        np.negative(x, out=dx)
        np.exp(dx, out=dx)
        np.add(dx, 1, out=dx)
        np.subtract(1, target, out=other)
        np.divide(other, dx, out=dx)
        np.exp(x, out=other)
        np.add(other, 1, out=other)
        np.divide(target, other, out=other)
        np.multiply(other, pos_weight, out=other)
        np.subtract(dx, other, out=dx)
        np.multiply(dx, weight, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, target, weight, pos_weight, dy, scratch=1)


def binary_cross_entropy_with_logits_target_grad(dy, x, weight, pos_weight, reduction):
    """Return dy w (v softplus(-x) - softplus(x)), the gradient by target."""
    weight, pos_weight = _spread(weight, x), _spread(pos_weight, x)
    dy = _per_element(dy, x, reduction)

    def chunk(dt, x, weight, pos_weight, dy, tail):
        # = v' (tail - min(x, 0)) - x with v' = v - 1: exactly -x for v = 1.
        _log1p_exp_minus_abs(tail, x)
        np.minimum(x, zeros(x.size, x.dtype), out=dt)
        np.subtract(tail, dt, out=dt)
        np.multiply(dt, pos_weight - 1, out=dt)
        np.subtract(dt, x, out=dt)
        np.multiply(dt, weight, out=dt)
        np.multiply(dt, dy, out=dt)

    return apply(chunk, x, weight, pos_weight, dy, scratch=1)


def _log1p_exp_minus_abs(y, x):
    np.abs(x, out=y)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)


def _per_element(dy, x, reduction, factor=1.0):
    """Return the gradient that reaches each element's value, times `factor`."""
    if reduction == "none":
        return dy if factor == 1 else dy * x.dtype.type(factor)
    scale = factor / max(x.size, 1) if reduction == "mean" else factor
    return np.broadcast_to(np.asarray(dy * scale, x.dtype), x.shape)


def _spread(weight, x):
    """Return `weight` (None is 1) in the shape of x, without a copy."""
    one = x.dtype.type(1) if weight is None else weight
    return np.broadcast_to(one, x.shape)
