"""Smooth activation functions: made of exp, log and tanh.

No step overflows where the result is finite, and small results keep their digits. exp, log
and tanh are what NumPy has vector code for on every processor: its expm1 and log1p have some
for AVX-512 only, and take 13 ns a number elsewhere, ten times as long as exp.
"""

from __future__ import annotations

import numpy as np

from nnmed.kernels.activation.piecewise import choose, keep
from nnmed.kernels.elementwise import apply, zeros

_MISH_FLAT = 20.0  # beyond, mish(x) is x to the last bit of float64


def elu(x, alpha, scale=1.0, input_scale=1.0):
    """Return scale * x where positive, scale * alpha * (exp(input_scale * x) - 1) elsewhere.

    exp(z) - 1 = 2 t / (1 - t) with t = tanh(z / 2), which loses no digits near 0. For a negative
    input_scale z is positive, 1 - t cancels, and 2 / (1 - t) is exp(z) + 1.
    """

    def chunk(y, x, t):
        zero = zeros(x.size, x.dtype)
        np.minimum(x, zero, out=t)
        np.multiply(t, input_scale / 2, out=t)
        if input_scale < 0:
            np.multiply(t, 2, out=y)
            np.exp(y, out=y)
            np.add(y, 1, out=y)
            np.tanh(t, out=t)
            np.multiply(t, y, out=t)
            np.multiply(t, alpha * scale, out=t)
        else:
            np.tanh(t, out=t)
            np.subtract(1, t, out=y)
            np.divide(t, y, out=t)
            np.multiply(t, 2 * alpha * scale, out=t)
        np.maximum(x, zero, out=y)
        _scale(y, scale)
        np.add(y, t, out=y)

    return apply(chunk, x, scratch=1)


def elu_grad(dy, x, alpha, scale=1.0, input_scale=1.0):
    """Return dy times scale, or scale * alpha * input_scale * exp(input_scale * x)."""
    below = scale * alpha * input_scale

    def chunk(dx, x, dy, factor):
        np.minimum(x, zeros(x.size, x.dtype), out=dx)
        _scale(dx, input_scale)
        np.exp(dx, out=dx)
        if below == scale:
            _scale(dx, scale)
        else:
            choose(factor, x, scale, below)
            np.multiply(dx, factor, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, dy, scratch=1)


def sigmoid(x):
    """Return 1 / (1 + exp(-x)); for very negative x, exp gives inf and that 0."""

    def chunk(y, x):
        _one_plus_exp_minus(y, x)
        np.divide(1, y, out=y)

    return apply(chunk, x)


def sigmoid_grad(dy, y):
    """Return dy * y * (1 - y)."""

    def chunk(dx, y, dy):
        np.subtract(1, y, out=dx)
        np.multiply(dx, y, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, y, dy)


def logsigmoid(x):
    """Return log(sigmoid(x)) = min(x, 0) - log(1 + exp(-abs(x)))."""

    def chunk(y, x, tail):
        _log_one_plus_exp_minus_abs(tail, x, y)
        np.minimum(x, zeros(x.size, x.dtype), out=y)
        np.subtract(y, tail, out=y)

    return apply(chunk, x, scratch=1)


def logsigmoid_grad(dy, x):
    """Return dy / (1 + exp(x))."""

    def chunk(dx, x, dy):
        np.exp(x, out=dx)
        np.add(dx, 1, out=dx)
        np.divide(dy, dx, out=dx)

    return apply(chunk, x, dy)


def softplus(x, beta, threshold):
    """Return log(1 + exp(beta * x)) / beta, and x where beta * x > threshold."""

    def chunk(y, x, z, scratch):
        np.multiply(x, beta, out=z)
        _log_one_plus_exp_minus_abs(y, z, scratch)
        _scale(y, 1 / beta)
        if _matters(threshold, x.dtype):
            keep(y, y, ~np.greater(z, threshold))
        keep(z, x, ~np.less_equal(z, min(threshold, 0)))
        np.add(y, z, out=y)

    return apply(chunk, x, scratch=2)


def softplus_grad(dy, x, beta, threshold):
    """Return dy / (1 + exp(-beta * x)), and dy where beta * x > threshold."""

    def chunk(dx, x, dy, z):
        np.multiply(x, -beta, out=z)
        np.exp(z, out=dx)
        if _matters(threshold, x.dtype):
            keep(dx, dx, ~np.less(z, -threshold))
        np.add(dx, 1, out=dx)
        np.divide(dy, dx, out=dx)

    return apply(chunk, x, dy, scratch=1)


def tanh(x):
    """Return tanh(x)."""
    return apply(lambda y, x: np.tanh(x, out=y), x)


def tanh_grad(dy, y):
    """Return dy * (1 - y**2)."""

    def chunk(dx, y, dy):
        np.square(y, out=dx)
        np.subtract(1, dx, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, y, dy)


def tanhshrink(x):
    """Return x - tanh(x)."""

    def chunk(y, x):
        np.tanh(x, out=y)
        np.subtract(x, y, out=y)

    return apply(chunk, x)


def tanhshrink_grad(dy, x):
    """Return dy * tanh(x)**2."""

    def chunk(dx, x, dy):
        np.tanh(x, out=dx)
        np.square(dx, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, dy)


def softsign(x):
    """Return x / (1 + abs(x))."""

    def chunk(y, x):
        _one_plus_abs(y, x)
        np.divide(x, y, out=y)

    return apply(chunk, x)


def softsign_grad(dy, x):
    """Return dy / (1 + abs(x))**2."""

    def chunk(dx, x, dy):
        _one_plus_abs(dx, x)
        np.square(dx, out=dx)
        np.divide(dy, dx, out=dx)

    return apply(chunk, x, dy)


def silu(x):
    """Return x / (1 + exp(-x))."""

    def chunk(y, x):
        _one_plus_exp_minus(y, x)
        np.divide(x, y, out=y)

    return apply(chunk, x)


def silu_grad(dy, x):
    """Return dy * s * (1 + x * (1 - s)), s = sigmoid(x), as dy * (1 + x - x / d) / d, d = 1 / s."""

    def chunk(dx, x, dy, d):
        _one_plus_exp_minus(d, x)
        np.divide(x, d, out=dx)
        np.subtract(x, dx, out=dx)
        np.add(dx, 1, out=dx)
        np.divide(dx, d, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, dy, scratch=1)


def mish(x):
    """Return x * tanh(log(1 + e)), e = exp(x), as x * n / (n + 2) with n = e * (e + 2)."""

    def chunk(y, x, n):
        _exp_limited(y, x, n)
        np.add(y, 2, out=n)
        np.multiply(n, y, out=n)
        np.add(n, 2, out=y)
        np.divide(n, y, out=y)
        np.multiply(y, x, out=y)

    return apply(chunk, x, scratch=1)


def mish_grad(dy, x):
    """Return dy * (n + 4 * x * e * (e + 1) / (n + 2)) / (n + 2), with n as in :func:`mish`."""

    def chunk(dx, x, dy, e, limited, n):
        _exp_limited(e, x, limited)
        np.add(e, 2, out=n)
        np.multiply(n, e, out=n)
        np.add(e, 1, out=dx)
        np.multiply(dx, e, out=dx)
        np.multiply(dx, limited, out=dx)
        np.multiply(dx, 4, out=dx)
        np.add(n, 2, out=e)
        np.divide(dx, e, out=dx)
        np.add(dx, n, out=dx)
        np.divide(dx, e, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, dy, scratch=3)


def glu(a, b):
    """Return a * sigmoid(b)."""

    def chunk(y, a, b):
        _one_plus_exp_minus(y, b)
        np.divide(a, y, out=y)

    return apply(chunk, a, b)


def glu_grad(dy, a, b):
    """Return dy * s and dy * a * s * (1 - s), s = sigmoid(b)."""
    da = sigmoid(b)

    def chunk(db, s, a, dy):
        np.subtract(1, s, out=db)
        np.multiply(db, s, out=db)
        np.multiply(db, a, out=db)
        np.multiply(db, dy, out=db)

    db = apply(chunk, da, a, dy)
    return apply(lambda da, s, dy: np.multiply(s, dy, out=da), da, dy), db


def _one_plus_exp_minus(y, x) -> None:
    np.negative(x, out=y)
    np.exp(y, out=y)
    np.add(y, 1, out=y)


def _log_one_plus_exp_minus_abs(y, x, u) -> None:
    """Write log(1 + e), e = exp(-abs(x)), into `y`; `u` is scratch.

    It is log(u) and what e has lost where u = 1 + e was rounded, e - (u - 1), which is all of
    a small e. That should be divided by u, but then counts for less than a rounding error.
    """
    np.abs(x, out=y)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.add(y, 1, out=u)
    np.subtract(u, 1, out=u)
    np.subtract(y, u, out=y)
    np.add(u, 1, out=u)
    np.log(u, out=u)
    np.add(y, u, out=y)


def _matters(threshold, dtype) -> bool:
    """Tell whether softplus differs from its argument beyond `threshold`."""
    return np.exp(-threshold) > np.finfo(dtype).eps / 4


def _one_plus_abs(y, x) -> None:
    np.abs(x, out=y)
    np.add(y, 1, out=y)


def _exp_limited(y, x, limited) -> None:
    """Write x, where it is not beyond the flat part of mish, into `limited`; exp of it to `y`."""
    np.clip(x, x.dtype.type(-np.inf), x.dtype.type(_MISH_FLAT), out=limited)
    np.exp(limited, out=y)


def _scale(y, factor) -> None:
    if factor != 1:
        np.multiply(y, factor, out=y)
