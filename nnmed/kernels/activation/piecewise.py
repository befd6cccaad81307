"""Activation functions made of straight pieces.

Pieces are joined without a branch. A value is kept or dropped as an integer: the bits of a
float times 1 or 0 are the float or zero, where the float itself times 0 would turn an
infinity into NaN.
"""

from __future__ import annotations

import numpy as np

from nnmed.kernels.elementwise import apply, as_integers, keep_positive, zeros


def relu(x):
    """Return max(x, 0)."""
    return hardtanh(x, 0.0, np.inf)


def relu_grad(dy, y):
    """Return dy where the output `y` is positive, 0 elsewhere.

    Where `y` is NaN its sign decides: one pass more, which would keep dy there, takes half as
    long again.
    """
    return apply(keep_positive, y, dy)


def leaky_relu(x, negative_slope):
    """Return x where positive, negative_slope * x elsewhere."""
    if negative_slope == 0:  # the product with an infinite x would be NaN
        return relu(x)
    larger = np.maximum if negative_slope <= 1 else np.minimum

    def chunk(y, x):
        np.multiply(x, negative_slope, out=y)
        larger(x, y, out=y)

    return apply(chunk, x)


def leaky_relu_grad(dy, x, negative_slope):
    """Return dy times 1 where x is positive, times negative_slope elsewhere."""

    def chunk(dx, x, dy):
        choose(dx, x, 1, negative_slope)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, dy)


def prelu(x, w):
    """Return x where positive, w * x elsewhere."""

    def chunk(y, x, w):
        choose(y, x, 1, w)
        np.multiply(y, x, out=y)

    return apply(chunk, x, w)


def prelu_grad(dy, x, w):
    """Return dy times 1 or w, and dy times 0 or x, where x is positive or not."""

    def chunk_x(dx, x, dy, w):
        choose(dx, x, 1, w)
        np.multiply(dx, dy, out=dx)

    def chunk_w(dw, x, dy):
        np.multiply(x, dy, out=dw)
        keep(dw, dw, ~np.greater(x, 0))

    return apply(chunk_x, x, dy, w), apply(chunk_w, x, dy)


def threshold(x, threshold, value):
    """Return x unless it is at most `threshold`: there `value`."""
    number = _as_integer(value, x.dtype)

    def chunk(y, x):
        low = np.less_equal(x, threshold)
        keep(y, x, ~low)
        if number:
            bits = as_integers(y)
            np.add(bits, np.multiply(low, number, dtype=bits.dtype), out=bits)

    return apply(chunk, x)


def threshold_grad(dy, x, threshold, value):
    """Return dy unless x is at most `threshold`: there 0."""
    return apply(lambda dx, x, dy: keep(dx, dy, ~np.less_equal(x, threshold)), x, dy)


def hardtanh(x, low, high):
    """Return min(max(x, low), high)."""
    low, high = x.dtype.type(low), x.dtype.type(high)
    return apply(lambda y, x: np.clip(x, low, high, out=y), x)


def hardtanh_grad(dy, x, low, high):
    """Return dy unless x is at most `low` or at least `high`: there 0."""

    def chunk(dx, x, dy):
        outside = np.less_equal(x, low)
        outside |= np.greater_equal(x, high)
        keep(dx, dy, ~outside)

    return apply(chunk, x, dy)


def hardsigmoid(x):
    """Return min(max(x + 3, 0), 6) / 6."""

    def chunk(y, x):
        _clipped_plus_3(y, x)
        np.multiply(y, 1 / 6, out=y)

    return apply(chunk, x)


def hardsigmoid_grad(dy, x):
    """Return dy / 6 where -3 < x < 3, 0 elsewhere."""

    def chunk(dx, x, dy):
        np.abs(x, out=dx)
        keep(dx, dy, np.less(dx, 3))
        np.multiply(dx, 1 / 6, out=dx)

    return apply(chunk, x, dy)


def hardswish(x):
    """Return x * min(max(x + 3, 0), 6) / 6."""

    def chunk(y, x):
        _clipped_plus_3(y, x)
        np.multiply(y, x, out=y)
        np.multiply(y, 1 / 6, out=y)

    return apply(chunk, x)


def hardswish_grad(dy, x):
    """Return dy times 0 up to -3, x / 3 + 1/2 up to 3, and 1 from there."""

    def chunk(dx, x, dy, slope):
        np.multiply(x, 1 / 3, out=slope)
        np.add(slope, 0.5, out=slope)
        np.abs(x, out=dx)
        keep(slope, slope, ~np.greater_equal(dx, 3))
        np.add(slope, np.greater_equal(x, 3), out=slope)
        np.multiply(slope, dy, out=dx)

    return apply(chunk, x, dy, scratch=1)


def hardshrink(x, lambd):
    """Return x unless abs(x) <= lambd: there 0."""
    return hardshrink_grad(x, x, lambd)


def hardshrink_grad(dy, x, lambd):
    """Return dy unless abs(x) <= lambd: there 0."""

    def chunk(dx, x, dy):
        keep(dx, dy, ~np.less_equal(np.abs(x, out=dx), lambd))

    return apply(chunk, x, dy)


def softshrink(x, lambd):
    """Return x, moved towards 0 by `lambd` and no further than 0."""
    low, high = x.dtype.type(-lambd), x.dtype.type(lambd)

    def chunk(y, x):
        np.clip(x, low, high, out=y)
        np.subtract(x, y, out=y)

    return apply(chunk, x)


softshrink_grad = hardshrink_grad


def keep(y, x, condition) -> None:
    """Write x into `y` where the condition holds, 0 elsewhere; all are 1-d."""
    np.multiply(as_integers(x), condition, out=as_integers(y))


def choose(y, x, above, below) -> None:
    """Write `above` into `y` where x > 0, `below` elsewhere, both exactly.

    `x` and `y` are 1-d arrays of one float dtype, `above` and `below` numbers or such arrays.
    NaN is not above 0.
    """
    above, below = (_as_integer(number, x.dtype) for number in (above, below))
    np.fmax(x, zeros(x.size, x.dtype), out=y)  # 0 where NaN; perhaps -0, a negative integer
    np.clip(as_integers(y), 0, 1, out=as_integers(y))
    np.multiply(as_integers(y), above - below, out=as_integers(y))
    np.add(as_integers(y), below, out=as_integers(y))


def _clipped_plus_3(y, x) -> None:
    np.add(x, 3, out=y)
    np.clip(y, y.dtype.type(0), y.dtype.type(6), out=y)


def _as_integer(number, dtype):
    return as_integers(np.asarray(number, dtype))[()]
