"""gelu, exact and in its tanh form, and the error function."""

from __future__ import annotations

import numpy as np

from nnmed.kernels.activation.erf import erf_chunk, normal_cdf_chunk
from nnmed.kernels.elementwise import apply

_TANH_GELU_SLOPE = float(np.sqrt(2 / np.pi))
_TANH_GELU_CUBIC = 0.044715
_FLAT = 10.0  # beyond, gelu's derivative is 0 or 1 to the last bit of float64
_DENSITY = float(np.sqrt(0.5 / np.pi))
_ERF_SLOPE = float(np.sqrt(4 / np.pi))


def erf(x):
    """Return the error function of x."""
    return apply(erf_chunk, x, scratch=1)


def erf_grad(dy, x):
    """Return dy * 2/sqrt(pi) * exp(-x**2)."""

    def chunk(dx, x, dy):
        np.square(x, out=dx)
        np.negative(dx, out=dx)
        np.exp(dx, out=dx)
        np.multiply(dx, _ERF_SLOPE, out=dx)
        np.multiply(dx, dy, out=dx)

    return apply(chunk, x, dy)


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


def _gelu_tanh(y, x):
    """Write tanh(sqrt(2/pi) * (x + 0.044715 x**3)) into `y`."""
    np.square(x, out=y)
    np.multiply(y, _TANH_GELU_CUBIC * _TANH_GELU_SLOPE, out=y)
    np.add(y, _TANH_GELU_SLOPE, out=y)
    np.multiply(y, x, out=y)
    np.tanh(y, out=y)
