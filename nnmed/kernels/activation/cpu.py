"""Activation functions on the CPU, in chunks over flat memory.

The signatures are those of ``reference.py``. A gradient function takes what is cheapest to
keep: the output where the derivative is a function of it, else the input.
"""

from __future__ import annotations

import numpy as np

from nnmed.kernels.activation.dropout import dropout, dropout_grad
from nnmed.kernels.activation.erf import erf_chunk, normal_cdf_chunk
from nnmed.kernels.activation.softmax import (
    log_softmax,
    log_softmax_grad,
    softmax,
    softmax_grad,
)
from nnmed.kernels.elementwise import apply, zeros

__all__ = [
    "dropout", "dropout_grad", "elu", "elu_grad", "erf", "gelu", "gelu_grad", "leaky_relu",
    "leaky_relu_grad", "log_softmax", "log_softmax_grad", "relu", "relu_grad", "sigmoid",
    "sigmoid_grad", "silu", "silu_grad", "softmax", "softmax_grad", "tanh", "tanh_grad",
]  # fmt: skip

_TANH_GELU_SLOPE = float(np.sqrt(2 / np.pi))
_TANH_GELU_CUBIC = 0.044715
_FLAT = 10.0  # beyond, gelu's derivative is 0 or 1 to the last bit of float64
_DENSITY = float(np.sqrt(0.5 / np.pi))


def relu(x):
    """Return max(x, 0)."""
    return apply(lambda y, x: np.maximum(x, zeros(x.size, x.dtype), out=y), x)


def relu_grad(dy, y):
    """Return dy where the output `y` is positive (or NaN), 0 elsewhere."""
    bits = np.int32 if y.dtype == np.float32 else np.int64

    def chunk(dx, y, dy):
        # All ones in the integer -1 keep dy as it is; a product would turn inf into NaN.
        keep = np.less_equal(y, 0)
        np.subtract(keep.view(np.int8), np.int8(1), out=dx.view(bits))
        np.bitwise_and(dx.view(bits), dy.view(bits), out=dx.view(bits))

    return apply(chunk, y, dy)


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

    def chunk(dx, x, dy, positive):
        _select(dx, x, negative_slope, positive)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, dy, scratch=1)


def elu(x, alpha):
    """Return x where positive, alpha * (exp(x) - 1) elsewhere."""

    def chunk(y, x, positive):
        zero = zeros(x.size, x.dtype)
        np.minimum(x, zero, out=y)
        np.expm1(y, out=y)
        if alpha != 1:
            np.multiply(y, alpha, out=y)
        np.maximum(x, zero, out=positive)
        np.add(y, positive, out=y)

    return apply(chunk, x, scratch=1)


def elu_grad(dy, x, alpha):
    """Return dy times 1 where x is positive, times alpha * exp(x) elsewhere."""

    def chunk(dx, x, dy, positive):
        np.minimum(x, zeros(x.size, x.dtype), out=dx)
        np.exp(dx, out=dx)
        if alpha != 1:
            # exp gave exactly 1 where x > 0; keep that 1 out of the product with alpha.
            np.copyto(positive, np.greater(x, 0))
            np.subtract(dx, positive, out=dx)
            np.multiply(dx, alpha, out=dx)
            np.add(dx, positive, out=dx)
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


def silu(x):
    """Return x / (1 + exp(-x))."""

    def chunk(y, x):
        _one_plus_exp_minus(y, x)
        np.divide(x, y, out=y)

    return apply(chunk, x)


def silu_grad(dy, x):
    """Return dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""

    def chunk(dx, x, dy, s):
        _one_plus_exp_minus(s, x)
        np.divide(1, s, out=s)
        np.subtract(1, s, out=dx)
        np.multiply(dx, x, out=dx)
        np.add(dx, 1, out=dx)
        np.multiply(dx, s, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, dy, scratch=1)


def erf(x):
    """Return the error function of x."""
    return apply(erf_chunk, x, scratch=1)


def gelu(x, approximate):
    """Return x * Phi(x), or its tanh approximation."""

    def exact(y, x, scratch):
        normal_cdf_chunk(y, x, scratch)
        np.multiply(y, x, out=y)

    def tanh_form(y, x):
        _gelu_tanh(y, x)
        np.add(y, 1, out=y)
        np.multiply(y, 0.5, out=y)
        np.multiply(y, x, out=y)

    if approximate == "tanh":
        return apply(tanh_form, x)
    return apply(exact, x, scratch=1)


def gelu_grad(dy, x, approximate):
    """Return dy times the derivative of :func:`gelu`."""

    def exact(dx, x, dy, cdf):
        normal_cdf_chunk(cdf, x, dx)
        np.square(x, out=dx)
        np.multiply(dx, -0.5, out=dx)
        np.exp(dx, out=dx)
        np.multiply(dx, _DENSITY, out=dx)
        np.multiply(dx, x, out=dx)
        np.add(dx, cdf, out=dx)
        np.multiply(dx, dy, out=dx)

    def tanh_form(dx, x, dy, t, clipped, slope):
        np.clip(x, -_FLAT, _FLAT, out=clipped)
        _gelu_tanh(t, clipped)
        np.square(clipped, out=slope)
        np.multiply(slope, 1.5 * _TANH_GELU_CUBIC * _TANH_GELU_SLOPE, out=slope)
        np.add(slope, 0.5 * _TANH_GELU_SLOPE, out=slope)
        np.multiply(slope, clipped, out=slope)
        np.square(t, out=dx)
        np.subtract(1, dx, out=dx)
        np.multiply(dx, slope, out=dx)
        np.multiply(t, 0.5, out=t)
        np.add(t, 0.5, out=t)
        np.add(dx, t, out=dx)
        np.multiply(dx, dy, out=dx)

    if approximate == "tanh":
        return apply(tanh_form, x, dy, scratch=3)
    return apply(exact, x, dy, scratch=1)


def _one_plus_exp_minus(y, x):
    np.negative(x, out=y)
    np.exp(y, out=y)
    np.add(y, 1, out=y)


def _select(y, x, otherwise, scratch):
    """Write 1 into `y` where x > 0, the number `otherwise` elsewhere, both exactly."""
    np.copyto(scratch, np.greater(x, 0))
    np.subtract(1, scratch, out=y)
    np.multiply(y, otherwise, out=y)
    np.add(y, scratch, out=y)


def _gelu_tanh(y, x):
    """Write tanh(sqrt(2/pi) * (x + 0.044715 x**3)) into `y`."""
    np.square(x, out=y)
    np.multiply(y, _TANH_GELU_CUBIC * _TANH_GELU_SLOPE, out=y)
    np.add(y, _TANH_GELU_SLOPE, out=y)
    np.multiply(y, x, out=y)
    np.tanh(y, out=y)
