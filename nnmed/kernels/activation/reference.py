"""Activation functions as loops: one number, or one row, at a time, in float64."""

from __future__ import annotations

import math

import numpy as np

from nnmed.backend.random import philox_uint32
from nnmed.kernels.activation.dropout import element_order, threshold


def relu(x):
    """y = x if x > 0, else 0."""
    return _each(lambda x: 0.0 if x <= 0 else x, x)


def relu_grad(dy, y):
    """dx = dy where y > 0, else 0."""
    return _each(lambda y, dy: 0.0 if y <= 0 else dy, y, dy)


def leaky_relu(x, negative_slope):
    """y = x if x > 0, else negative_slope * x."""
    return _each(lambda x: x if x > 0 else negative_slope * x, x)


def leaky_relu_grad(dy, x, negative_slope):
    """dx = dy * (1 if x > 0, else negative_slope)."""
    return _each(lambda x, dy: dy * (1.0 if x > 0 else negative_slope), x, dy)


def elu(x, alpha):
    """y = x if x > 0, else alpha * (exp(x) - 1)."""
    return _each(lambda x: x if x > 0 else alpha * math.expm1(x), x)


def elu_grad(dy, x, alpha):
    """dx = dy * (1 if x > 0, else alpha * exp(x))."""
    return _each(lambda x, dy: dy * (1.0 if x > 0 else alpha * math.exp(x)), x, dy)


def sigmoid(x):
    """y = 1 / (1 + exp(-x))."""
    return _each(_sigmoid, x)


def sigmoid_grad(dy, y):
    """dx = dy * y * (1 - y)."""
    return _each(lambda y, dy: dy * y * (1 - y), y, dy)


def tanh(x):
    """y = tanh(x)."""
    return _each(math.tanh, x)


def tanh_grad(dy, y):
    """dx = dy * (1 - y**2)."""
    return _each(lambda y, dy: dy * (1 - y * y), y, dy)


def silu(x):
    """y = x * sigmoid(x)."""
    return _each(lambda x: x * _sigmoid(x), x)


def silu_grad(dy, x):
    """dx = dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""

    def one(x, dy):
        s = _sigmoid(x)
        return dy * s * (1 + x * (1 - s))

    return _each(one, x, dy)


def erf(x):
    """y = erf(x)."""
    return _each(math.erf, x)


def gelu(x, approximate):
    """y = x * Phi(x); "tanh": Phi(x) = (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))) / 2."""
    return _each(lambda x: x * _gate(x, approximate)[0], x)


def gelu_grad(dy, x, approximate):
    """dx = dy * (Phi(x) + x * Phi'(x))."""

    def one(x, dy):
        gate, slope = _gate(x, approximate)
        return dy * (gate + x * slope)

    return _each(one, x, dy)


def softmax(x, dim):
    """y_c = exp(x_c) / sum over k of exp(x_k), along dim."""

    def row(x):
        largest = max(x, key=lambda v: math.inf if math.isnan(v) else v)
        powers = [math.exp(v - largest) for v in x]
        return [power / math.fsum(powers) for power in powers]

    return _each_row(row, dim, x)


def softmax_grad(dy, y, dim):
    """dx_c = y_c * (dy_c - sum over k of dy_k y_k), along dim."""

    def row(y, dy):
        total = math.fsum(a * b for a, b in zip(y, dy))
        return [a * (b - total) for a, b in zip(y, dy)]

    return _each_row(row, dim, y, dy)


def log_softmax(x, dim):
    """y_c = x_c - log(sum over k of exp(x_k)), along dim."""

    def row(x):
        largest = max(x, key=lambda v: math.inf if math.isnan(v) else v)
        total = math.log(math.fsum(math.exp(v - largest) for v in x))
        return [v - largest - total for v in x]

    return _each_row(row, dim, x)


def log_softmax_grad(dy, y, dim):
    """dx_c = dy_c - exp(y_c) * sum over k of dy_k, along dim."""

    def row(y, dy):
        total = math.fsum(dy)
        return [b - math.exp(a) * total for a, b in zip(y, dy)]

    return _each_row(row, dim, y, dy)


def dropout(x, p, key):
    """y = x / (1 - p) where the element's random word reaches p * 2**32, else 0 * x."""
    words = philox_uint32(key, 0, x.size)
    bits = np.zeros(-(-x.size // 8), np.uint8)
    for i, word in enumerate(words):
        if int(word) >= threshold(p):
            bits[i // 8] |= np.uint8(1 << (i % 8))
    return dropout_grad(x, bits, p), bits


def dropout_grad(dy, bits, p):
    """dx = dy / (1 - p) where the element's bit is set, else 0 * dy."""
    order = element_order(dy.ndim)
    dx = np.empty(dy.shape, dy.dtype)
    for i, place in enumerate(np.ndindex(*(dy.shape[axis] for axis in order))):
        index = tuple(place[order.index(axis)] for axis in range(dy.ndim))
        kept = bits[i // 8] >> (i % 8) & 1
        dx[index] = float(dy[index]) * (1 / (1 - p) if kept else 0.0)
    return dx


def _sigmoid(x):
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


def _gate(x, approximate):
    """Return Phi(x) and its derivative."""
    if approximate == "tanh":
        k = math.sqrt(2 / math.pi)
        t = math.tanh(k * (x + 0.044715 * x**3))
        return (1 + t) / 2, (1 - t * t) / 2 * k * (1 + 3 * 0.044715 * x * x)
    return math.erfc(-x / math.sqrt(2)) / 2, math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _each(function, *arrays):
    """Apply `function` to the numbers at each place of the arrays."""
    result = np.empty(arrays[0].shape, arrays[0].dtype)
    for index in np.ndindex(*result.shape):
        result[index] = function(*(float(a[index]) for a in arrays))
    return result


def _each_row(function, dim, *arrays):
    """Apply `function` to the lists of numbers along `dim` at each place of the other axes."""
    if arrays[0].ndim == 0:
        return _each_row(function, 0, *(a.reshape(1) for a in arrays)).reshape(())
    result = np.empty(arrays[0].shape, arrays[0].dtype)
    if result.size == 0:
        return result
    rows = [np.moveaxis(a, dim, -1) for a in (result, *arrays)]
    for index in np.ndindex(*rows[0].shape[:-1]):
        rows[0][index] = function(*(row[index].astype(np.float64).tolist() for row in rows[1:]))
    return result
